// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "testing/mountinfo.hpp"

#include <algorithm>
#include <cstdio>

#include "testing/filesystem_types.hpp"
#include "testing/inodes.hpp"
#include "testing/mount_tree.hpp"

namespace rootprep::testing::model {
namespace {

std::string escape(std::string_view text, std::string_view characters) {
  std::string escaped;
  for (const char c : text) {
    if (characters.find(c) == std::string_view::npos) {
      escaped += c;
    } else {
      char octal[8] = {};
      std::snprintf(octal, sizeof octal, "\\%03o", static_cast<unsigned>(static_cast<unsigned char>(c)));
      escaped += octal;
    }
  }
  return escaped;
}
constexpr std::string_view path_escapes = " \t\n\\";
constexpr std::string_view name_escapes = " \t\n\\#";

// The nearest group above the master that has a member which this process can see.
unsigned dominating_group(const Mount* mount, const Task& task) {
  for (const PeerGroup* group = mount->master(); group != nullptr; group = group->master) {
    for (const Mount* member : group->members) {
      std::string text;
      if (member->ns == mount->ns && reachable_path({const_cast<Mount*>(member), member->root}, task.root, text)) return group->number;
    }
  }
  return 0;
}

}  // namespace

bool reachable_path(const Path& path, const Path& root, std::string& text) {
  text.clear();
  std::vector<const std::string*> names;
  Path at = path;
  while (!(at == root)) {
    if (at.dentry == at.mount->root) {
      if (at.mount->parent == nullptr) return false;
      at = {at.mount->parent, at.mount->mountpoint};
      continue;
    }
    if (at.dentry->parent == nullptr) return false;
    names.push_back(&at.dentry->name);
    at.dentry = at.dentry->parent;
  }
  for (auto name = names.rbegin(); name != names.rend(); ++name) text += "/" + **name;
  if (text.empty()) text = "/";
  return true;
}

std::string path_text(const World&, const Path& path, const Path& root) {
  std::string text;
  if (path.dentry->superblock->type->behaviour == Behaviour::nsfs) return path.dentry->name;
  if (!reachable_path(path, root, text)) {
    std::vector<const std::string*> names;
    Path at = path;
    for (;;) {
      if (at.dentry == at.mount->root) {
        if (at.mount->parent == nullptr) break;
        at = {at.mount->parent, at.mount->mountpoint};
        continue;
      }
      if (at.dentry->parent == nullptr) break;
      names.push_back(&at.dentry->name);
      at.dentry = at.dentry->parent;
    }
    text.clear();
    for (auto name = names.rbegin(); name != names.rend(); ++name) text += "/" + **name;
    if (text.empty()) text = "/";
  }
  if (path.dentry->dead) text += " (deleted)";
  return text;
}

std::string mount_flags_text(const MountFlags& flags) {
  std::string text = flags.read_only ? "ro" : "rw";
  if (flags.nosuid) text += ",nosuid";
  if (flags.nodev) text += ",nodev";
  if (flags.noexec) text += ",noexec";
  if (flags.atime == MountFlags::Atime::none) text += ",noatime";
  if (flags.nodiratime) text += ",nodiratime";
  if (flags.atime == MountFlags::Atime::relative) text += ",relatime";
  if (flags.nosymfollow) text += ",nosymfollow";
  return text;
}

std::vector<Mount*> mounts_of_namespace(const World&, const MountNamespace* ns) {
  std::vector<Mount*> mounts;
  for (Mount* m = ns->root; m != nullptr; m = next_in_tree(m, ns->root)) mounts.push_back(m);
  std::sort(mounts.begin(), mounts.end(), ById{});
  return mounts;
}

std::string mountinfo_of(const World& world, const Task& task) {
  std::string text;
  std::string mountpoint;
  for (const Mount* mount : mounts_of_namespace(world, task.ns)) {
    if (!reachable_path({const_cast<Mount*>(mount), mount->root}, task.root, mountpoint)) continue;
    const Superblock& superblock = *mount->superblock;
    const std::uint64_t parent = mount->parent != nullptr ? mount->parent->id : mount->id;
    text += std::to_string(mount->id) + " " + std::to_string(parent) + " " + std::to_string(superblock.device_major) + ":" +
            std::to_string(superblock.device_minor) + " " + escape(path_in_filesystem(mount->root), path_escapes) + " " +
            escape(mountpoint, path_escapes) + " " + mount_flags_text(mount->flags);
    if (mount->idmap != nullptr) text += ",idmapped";
    if (mount->shared()) text += " shared:" + std::to_string(mount->group->number);
    if (const PeerGroup* master = mount->master()) {
      text += " master:" + std::to_string(master->number);
      const unsigned dominating = dominating_group(mount, task);
      if (dominating != 0 && dominating != master->number) text += " propagate_from:" + std::to_string(dominating);
    }
    if (mount->unbindable) text += " unbindable";
    text += " - " + std::string(superblock.type->name) + " " + (mount->source.empty() ? "none" : escape(mount->source, name_escapes)) +
            " " + (superblock.read_only ? "ro" : "rw") + (superblock.options.empty() ? "" : "," + superblock.options) + "\n";
  }
  return text;
}

std::string mounts_of(const World& world, const Task& task) {
  std::string text;
  std::string mountpoint;
  for (const Mount* mount : mounts_of_namespace(world, task.ns)) {
    if (!reachable_path({const_cast<Mount*>(mount), mount->root}, task.root, mountpoint)) continue;
    const Superblock& superblock = *mount->superblock;
    MountFlags flags = mount->flags;
    flags.read_only = flags.read_only || superblock.read_only;
    text += (mount->source.empty() ? "none" : escape(mount->source, name_escapes)) + " " + escape(mountpoint, path_escapes) + " " +
            std::string(superblock.type->name) + " " + mount_flags_text(flags) +
            (superblock.options.empty() ? "" : "," + superblock.options) + " 0 0\n";
  }
  return text;
}

}  // namespace rootprep::testing::model
