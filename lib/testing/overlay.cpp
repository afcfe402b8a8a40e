// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "testing/overlay.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "testing/filesystem_types.hpp"
#include "testing/mount_tree.hpp"
#include "testing/mountinfo.hpp"
#include "testing/path_walk.hpp"
#include "testing/permissions.hpp"

namespace rootprep::testing::model {
namespace {

constexpr std::size_t max_lower_layers = 500;  // OVL_MAX_STACK
constexpr int max_depth = 2;                   // FILESYSTEM_MAX_STACK_DEPTH

bool is_whiteout(const Dentry* dentry) {
  const Inode& inode = attributes(dentry);
  return inode.kind == Kind::character && inode.rdev == 0;
}
bool is_opaque(const OverlayLayers& layers, const Dentry* dentry) {
  const Inode& inode = attributes(dentry);
  const auto found = inode.xattrs.find(layers.opaque_name());
  return found != inode.xattrs.end() && found->second == "y";
}

// A name in a layer. Mounts in the layer are not crossed: they are invisible in the view.
Dentry* layer_child(World& world, Dentry* directory, std::string_view name) {
  long error = 0;
  if (directory->superblock->type->behaviour == Behaviour::overlay) return overlay_lookup(world, directory, name, error);
  const auto found = directory->children.find(name);
  return found == directory->children.end() ? nullptr : found->second;
}
std::vector<std::string> layer_names(World& world, Dentry* directory) {
  if (directory->superblock->type->behaviour == Behaviour::overlay) return overlay_names(world, directory);
  std::vector<std::string> names;
  for (const auto& child : directory->children) names.push_back(child.first);
  return names;
}

// Does a lower layer show the name, were it not for the upper one?
bool lower_has(World& world, const Inode& directory, std::string_view name) {
  for (Dentry* layer : directory.lower) {
    if (Dentry* found = layer_child(world, layer, name)) return !is_whiteout(found);
  }
  return false;
}

bool find_in_layers(World& world, const OverlayLayers& layers, const Inode& directory, std::string_view name, Inode& result) {
  if (directory.upper != nullptr) {
    if (Dentry* found = layer_child(world, directory.upper, name)) {
      if (is_whiteout(found)) return false;
      result.upper = found;
      if (!is_directory(found) || is_opaque(layers, found)) return true;
    }
  }
  for (Dentry* layer : directory.lower) {
    Dentry* found = layer_child(world, layer, name);
    if (found == nullptr) continue;
    if (is_whiteout(found)) break;
    if (!is_directory(found)) {
      if (result.upper == nullptr && result.lower.empty()) result.lower.push_back(found);
      break;
    }
    result.lower.push_back(found);
    if (is_opaque(layers, found)) break;
  }
  return result.upper != nullptr || !result.lower.empty();
}

Dentry* view_of(World& world, Dentry* directory, std::string_view name, const Inode& found) {
  Inode* inode = new_inode(world, Kind::regular, 0, 0, 0);
  inode->upper = found.upper;
  inode->lower = found.lower;
  return new_dentry(world, directory->superblock, directory, name, inode);
}

long make_whiteout(World& world, Dentry* upper_directory, std::string_view name) {
  NewNode node;
  node.kind = Kind::character;
  Dentry* made = nullptr;
  return create_child(world, upper_directory, name, node, &made);
}

}  // namespace

Dentry* overlay_lookup(World& world, Dentry* directory, std::string_view name, long& error) {
  const auto cached = directory->children.find(name);
  if (cached != directory->children.end()) return cached->second;
  const OverlayLayers& layers = *directory->superblock->overlay;
  Inode found;
  if (!find_in_layers(world, layers, *directory->inode, name, found)) return nullptr;
  if (found.upper != nullptr && !found.lower.empty()) {
    // ovl_fix_origin(), fs/overlayfs/namei.c: whoever sees a merged directory first writes into the upper one what it was merged with.
    Inode& upper = attributes(found.upper);
    if (!upper.has_origin && layers.can_mark && found.upper->superblock->read_only) {
      error = world.refuse(EROFS, "overlay.origin-cannot-be-written");
      return nullptr;
    }
    upper.has_origin = true;
  }
  return view_of(world, directory, name, found);
}

std::vector<std::string> overlay_names(World& world, Dentry* directory) {
  std::set<std::string> names;
  const Inode& inode = *directory->inode;
  if (inode.upper != nullptr) {
    for (const auto& name : layer_names(world, inode.upper)) names.insert(name);
  }
  for (Dentry* layer : inode.lower) {
    for (const auto& name : layer_names(world, layer)) names.insert(name);
  }
  std::vector<std::string> visible;
  for (const auto& name : names) {
    long error = 0;
    if (overlay_lookup(world, directory, name, error) != nullptr || error != 0) visible.push_back(name);
  }
  return visible;
}

long overlay_copy_up(World& world, Dentry* dentry) {
  // ovl_want_write(), fs/overlayfs/util.c: the upper file system is asked last, when the overlay itself has found nothing wrong.
  const OverlayLayers* layers = dentry->superblock->overlay.get();
  if (layers != nullptr && layers->upper != nullptr && layers->upper->superblock->read_only)
    return world.refuse(EROFS, "write.superblock-read-only");
  Inode& inode = *dentry->inode;
  if (inode.upper != nullptr) return 0;
  if (dentry->parent == nullptr) return world.refuse(EROFS, "overlay.no-upper-layer");
  if (const long error = overlay_copy_up(world, dentry->parent); error != 0) return error;
  const Inode& source = attributes(dentry);
  // ovl_set_attr(), fs/overlayfs/copy_up.c: the copy gets the owner of the original, which the upper file system must be able to name.
  const UserNamespace* owner = dentry->parent->inode->upper->superblock->owner;
  if (!uid_mapped(owner, source.uid) || !gid_mapped(owner, source.gid)) return world.refuse(EOVERFLOW, "overlay.copy-up-of-unmapped-owner");
  NewNode node;
  node.kind = source.kind;
  node.mode = source.mode;
  node.uid = source.uid;
  node.gid = source.gid;
  node.rdev = source.rdev;
  node.data = source.data;
  const auto xattrs = source.xattrs;
  Dentry* made = nullptr;
  if (const long error = create_child(world, dentry->parent->inode->upper, dentry->name, node, &made); error != 0) return error;
  Inode& copy = attributes(made);
  copy.uid = node.uid;
  copy.gid = node.gid;
  copy.mode = node.mode;
  copy.xattrs = xattrs;
  copy.has_origin = true;
  inode.upper = made;
  if (node.kind != Kind::directory) inode.lower.clear();  // a hard link breaks here
  return 0;
}

long overlay_create(World& world, Dentry* directory, std::string_view name, const NewNode& node, Dentry** made) {
  if (node.kind == Kind::character && node.rdev == 0) return world.refuse(EPERM, "overlay.whiteout-through-the-view");
  if (const long error = overlay_copy_up(world, directory); error != 0) return error;
  const OverlayLayers& layers = *directory->superblock->overlay;
  Dentry* upper_directory = directory->inode->upper;
  const bool covers_lower = lower_has(world, *directory->inode, name);
  if (covers_lower && node.kind == Kind::directory && !layers.can_mark) {
    // trusted.* cannot be set in a user namespace, and the new directory must be opaque.
    return world.refuse(EIO, "overlay.opaque-needs-userxattr");
  }
  if (Dentry* whiteout = layer_child(world, upper_directory, name)) {
    if (const long error = remove_child(world, whiteout); error != 0) return error;
  }
  Dentry* real = nullptr;
  if (const long error = create_child(world, upper_directory, name, node, &real); error != 0) return error;
  if (covers_lower && node.kind == Kind::directory) attributes(real).xattrs[layers.opaque_name()] = "y";
  Inode found;
  found.upper = real;
  *made = view_of(world, directory, name, found);
  return 0;
}

long overlay_remove(World& world, Dentry* child) {
  Dentry* directory = child->parent;
  if (const long error = overlay_copy_up(world, directory); error != 0) return error;
  const bool covers_lower = lower_has(world, *directory->inode, child->name);
  const Superblock& superblock = *child->superblock;
  if (Dentry* real = child->inode->upper) {
    // A directory whose whiteouts have to go is first exchanged for an opaque one (ovl_clear_empty(), fs/overlayfs/dir.c).
    if (is_directory(real) && !real->children.empty() && !superblock.overlay->can_mark) {
      return world.refuse(EIO, "overlay.opaque-needs-userxattr");
    }
    if (is_directory(real)) {  // only whiteouts are left in it
      while (!real->children.empty()) {
        if (const long error = remove_child(world, real->children.begin()->second); error != 0) return error;
      }
    }
    if (!real->dead) {
      if (const long error = remove_child(world, real); error != 0) return error;
    }
  }
  if (covers_lower) {
    if (const long error = make_whiteout(world, directory->inode->upper, child->name); error != 0) return error;
  }
  directory->children.erase(child->name);
  child->dead = true;
  return 0;
}

long overlay_rename(World& world, Dentry* from, Dentry* to_directory, std::string_view name, bool exchange) {
  if (exchange) return world.unmodelled("renameat2: RENAME_EXCHANGE on overlay");
  if (is_directory(from) && !from->inode->lower.empty()) return world.refuse(EXDEV, "overlay.rename-of-lower-directory");
  if (const long error = overlay_copy_up(world, from); error != 0) return error;
  if (const long error = overlay_copy_up(world, to_directory); error != 0) return error;
  Dentry* from_directory = from->parent;
  const OverlayLayers& layers = *from->superblock->overlay;
  // Below a merged directory the one that moves must be opaque: ovl_rename(), fs/overlayfs/dir.c, gives EXDEV where it cannot be.
  if (is_directory(from) && !to_directory->inode->lower.empty() && !layers.can_mark) {
    return world.refuse(EXDEV, "overlay.rename-needs-userxattr");
  }
  long none = 0;  // the walk has seen it already
  if (Dentry* target = overlay_lookup(world, to_directory, name, none)) {
    if (const long error = overlay_remove(world, target); error != 0) return error;
  }
  Dentry* real = from->inode->upper;
  if (const long error = rename_child(world, real, to_directory->inode->upper, name, false); error != 0) return error;
  if (is_directory(real) && lower_has(world, *to_directory->inode, name)) attributes(real).xattrs[layers.opaque_name()] = "y";
  if (lower_has(world, *from_directory->inode, from->name)) {
    if (const long error = make_whiteout(world, from_directory->inode->upper, from->name); error != 0) return error;
  }
  from_directory->children.erase(from->name);
  from->name = name;
  from->parent = to_directory;
  to_directory->children.emplace(std::string(name), from);
  return 0;
}

long overlay_link(World& world, Dentry* existing, Dentry* to_directory, std::string_view name) {
  if (const long error = overlay_copy_up(world, existing); error != 0) return error;
  if (const long error = overlay_copy_up(world, to_directory); error != 0) return error;
  if (Dentry* whiteout = layer_child(world, to_directory->inode->upper, name)) {
    if (const long error = remove_child(world, whiteout); error != 0) return error;
  }
  if (const long error = link_child(world, existing->inode->upper, to_directory->inode->upper, name); error != 0) return error;
  new_dentry(world, existing->superblock, to_directory, name, existing->inode);
  return 0;
}

namespace {

// For what the parameter parser refuses. Later refusals go to the kernel's own log, not to the context's (measured on 6.18).
long complain(World& world, FilesystemContext& context, int error, const char* rule, const std::string& text) {
  context.log.push_back("e overlay: " + text);
  return world.refuse(error, rule);
}

std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    plain += text[i];
  }
  return plain;
}

long resolve_layer(Task& task, FilesystemContext& context, const std::string& key, const std::string& path) {
  World& world = *task.world;
  Path found;
  if (path.empty()) return complain(world, context, EINVAL, "overlay.empty-layer", "Bad value for '" + key + "'");
  if (const long error = walk(task, abi::at_fdcwd, path.c_str(), {}, found); error != 0) return error;
  if (!is_directory(found.dentry)) return complain(world, context, EINVAL, "overlay.layer-is-no-directory", path + " is not a directory");
  return overlay_layer_by_descriptor(task, context, key, found);
}

struct Choice {
  std::string_view key{};
  std::string_view values{};  // separated by '|'; "" = a flag
  int since = 0;
};
constexpr std::array<Choice, 11> choices{{{"redirect_dir", "on|off|follow|nofollow", 0},
                                          {"index", "on|off", 0},
                                          {"uuid", "on|off|null|auto", 5012},
                                          {"nfs_export", "on|off", 0},
                                          {"xino", "on|off|auto", 0},
                                          {"metacopy", "on|off", 0},
                                          {"verity", "on|off|require", 6006},
                                          {"volatile", "", 5010},
                                          {"userxattr", "", 5011},
                                          {"default_permissions", "", 0},
                                          {"override_creds", "", 6015}}};

bool has_option(const FilesystemContext& context, std::string_view key, std::string_view value) {
  return std::any_of(context.options.begin(), context.options.end(), [&](const auto& o) { return o.first == key && o.second == value; });
}

}  // namespace

long overlay_layer_by_descriptor(Task& task, FilesystemContext& context, const std::string& key, const Path& path) {
  World& world = *task.world;
  // Checked as each layer comes in (ovl_mount_dir_check(), fs/overlayfs/params.c).
  if (!is_directory(path.dentry)) return complain(world, context, EINVAL, "overlay.layer-is-no-directory", "layer is not a directory");
  if (key == "upperdir" || key == "workdir") {
    if (path.dentry->superblock->type->behaviour == Behaviour::overlay) {
      return world.refuse(EINVAL, "overlay.upper-on-overlay");
    }
    if (path.mount->flags.read_only || path.mount->superblock->read_only) {
      return world.refuse(EINVAL, "overlay.upper-read-only");
    }
    for (auto& layer : context.layer_paths) {
      if (layer.first == key) layer.second = path;
    }
  }
  const std::string stored = key == "lowerdir+" ? "lowerdir" : key;
  if (stored == "lowerdir" || key == "datadir+") {
    const auto count = std::count_if(context.layer_paths.begin(), context.layer_paths.end(),
                                     [](const auto& l) { return l.first != "upperdir" && l.first != "workdir"; });
    if (static_cast<std::size_t>(count) >= max_lower_layers) {
      return complain(world, context, EINVAL, "overlay.too-many-lower-layers", "too many lower directories, limit is 500");
    }
    if (stored == "lowerdir" &&
        std::any_of(context.layer_paths.begin(), context.layer_paths.end(), [](const auto& l) { return l.first == "datadir+"; })) {
      return complain(world, context, EINVAL, "overlay.lower-after-data-layer", "regular lower layers cannot follow data layers");
    }
  }
  context.layer_paths.emplace_back(stored, path);
  return 0;
}

bool overlay_knows(const World& world, std::string_view key) {
  if (key == "lowerdir" || key == "upperdir" || key == "workdir") return true;
  if (key == "lowerdir+" || key == "datadir+") return world.has(Quirk::overlay_layers_one_by_one);
  return std::any_of(choices.begin(), choices.end(),
                     [&](const Choice& choice) { return choice.key == key && choice.since <= world.profile.version; });
}

long overlay_option(Task& task, FilesystemContext& context, const std::string& key, const std::string& value, bool has_value) {
  World& world = *task.world;
  if (key == "lowerdir") {
    // lowerdir= replaces what earlier ones said, lowerdir+ too.
    auto& layers = context.layer_paths;
    layers.erase(std::remove_if(layers.begin(), layers.end(), [](const auto& l) { return l.first == "lowerdir"; }), layers.end());
    if (value.empty()) return 0;
    std::string layer;
    for (std::size_t i = 0; i <= value.size(); ++i) {
      if (i < value.size() && value[i] == '\\' && i + 1 < value.size()) {
        layer += value[++i];
        continue;
      }
      if (i < value.size() && value[i] != ':') {
        layer += value[i];
        continue;
      }
      if (const long error = resolve_layer(task, context, "lowerdir", layer); error != 0) return error;
      layer.clear();
    }
    context.options.emplace_back("lowerdir", "");
    return 0;
  }
  if (key == "upperdir" || key == "workdir") {
    const std::string path = unescape(value);
    auto& layers = context.layer_paths;
    layers.erase(std::remove_if(layers.begin(), layers.end(), [&](const auto& l) { return l.first == key; }), layers.end());
    return resolve_layer(task, context, key, path);
  }
  if ((key == "lowerdir+" || key == "datadir+") && world.has(Quirk::overlay_layers_one_by_one)) {
    if (has_option(context, "lowerdir", ""))
      return complain(world, context, EINVAL, "overlay.mixes-lowerdir-forms", "lowerdir+ and datadir+ cannot follow lowerdir");
    if (const long error = resolve_layer(task, context, key, value); error != 0) return error;
    if (!has_option(context, "lowerdir+", "")) context.options.emplace_back("lowerdir+", "");
    return 0;
  }
  for (const Choice& choice : choices) {
    if (choice.key != key) continue;
    if (choice.since > world.profile.version) break;
    if (choice.values.empty()) {
      if (has_value) return complain(world, context, EINVAL, "option.bad-value", "Unexpected value for '" + key + "'");
      context.options.emplace_back(key, "");
      return 0;
    }
    const std::string all = "|" + std::string(choice.values) + "|";
    if (value.empty() || value.find('|') != std::string::npos || all.find("|" + value + "|") == std::string::npos) {
      return complain(world, context, EINVAL, "option.bad-value", "Bad value for '" + key + "'");
    }
    context.options.emplace_back(key, value);
    return 0;
  }
  return complain(world, context, EINVAL, "option.unknown", "Unknown parameter '" + key + "'");
}

// ovl_parse_opt() and what ovl_fill_super() looks up then, fs/overlayfs/super.c of 6.1. What it has to say goes to the kernel's log.
long overlay_legacy_options(Task& task, FilesystemContext& context, const std::vector<std::string>& options) {
  World& world = *task.world;
  std::map<std::string, std::string> directories;
  for (const std::string& option : options) {
    const std::size_t equals = option.find('=');
    const bool has_value = equals != std::string::npos;
    const std::string key = option.substr(0, equals), value = has_value ? option.substr(equals + 1) : "";
    if (key == "lowerdir" || key == "upperdir" || key == "workdir") {
      if (value.empty()) return world.refuse(EINVAL, "option.bad-value");
      directories[key] = value;
    } else if (const long error = overlay_option(task, context, key, value, has_value); error != 0) {
      return error;
    }
  }
  if (directories.count("lowerdir") == 0) return world.refuse(EINVAL, "overlay.no-lower-layer");
  if (directories.count("upperdir") == 0) directories.erase("workdir");  // without a word to the caller
  if (directories.count("upperdir") > directories.count("workdir")) return world.refuse(EINVAL, "overlay.no-workdir");
  for (const char* key : {"upperdir", "workdir", "lowerdir"}) {
    const auto found = directories.find(key);
    if (found == directories.end()) continue;
    if (const long error = overlay_option(task, context, key, found->second, true); error != 0) return error;
  }
  return 0;
}

namespace {

// clone_private_mount(), fs/namespace.c
long clone_layer(Task& task, const Path& path) {
  World& world = *task.world;
  if (path.mount->unbindable) return world.refuse(EINVAL, "overlay.layer-unbindable");
  const bool mine = in_my_namespace(task, path.mount);
  const bool detached = path.mount->ns != nullptr && path.mount->ns->anonymous && world.has(Quirk::detached_trees_are_usable);
  if (!mine && !detached) return world.refuse(EINVAL, "overlay.layer-in-another-namespace");
  if (has_locked_children(path.mount, path.dentry)) {
    return world.refuse(EINVAL, "overlay.layer-has-locked-mounts");
  }
  return 0;
}

int stacking_depth(const Superblock* superblock) { return superblock->overlay != nullptr ? superblock->overlay->depth : 0; }

// The last word on it, "" if there is none.
std::string option_value(const FilesystemContext& context, std::string_view key) {
  std::string value;
  for (const auto& option : context.options) {
    if (option.first == key) value = option.second;
  }
  return value;
}

// What the options come to. redirect_dir=off follows redirects all the same (module parameter redirect_always_follow, on by default).
struct Features {
  bool redirects = false, follows = false;
  bool metacopy = false, verity = false, nfs_export = false, index = false;

  Features(const FilesystemContext& context, bool has_upper) {
    const std::string redirect = option_value(context, "redirect_dir");
    redirects = redirect == "on" || (!has_upper && redirect != "nofollow" && !redirect.empty());
    follows = !redirect.empty() && redirect != "nofollow";
    metacopy = option_value(context, "metacopy") == "on";
    const std::string verified = option_value(context, "verity");
    verity = verified == "on" || verified == "require";
    nfs_export = option_value(context, "nfs_export") == "on";
    index = has_upper && option_value(context, "index") == "on";
  }
};

// ovl_fs_params_verify(), fs/overlayfs/params.c. Only options that were given conflict; a default gives way without a word.
long check_option_conflicts(Task& task, const FilesystemContext& context, bool has_upper) {
  World& world = *task.world;
  Features wants(context, has_upper);
  const bool says_redirect = !option_value(context, "redirect_dir").empty();
  const bool says_metacopy = !option_value(context, "metacopy").empty();
  const bool verity_alone = world.has(Quirk::overlay_verity_without_metacopy);
  const bool says_index = option_value(context, "index") == "off" || (has_upper && wants.index);
  const auto conflict = [&]() -> long { return world.refuse(EINVAL, "overlay.options-conflict"); };
  if (wants.verity && !wants.metacopy && !verity_alone) {
    if (says_metacopy) return conflict();
    wants.metacopy = true;
  }
  if (wants.metacopy && !wants.redirects && says_redirect) return conflict();
  const bool follows = wants.follows || wants.metacopy;
  if (wants.nfs_export && !wants.index) {
    // Without an upper layer nfs_export=on wants redirect_dir=nofollow, and is forgotten otherwise.
    if (!has_upper && (follows || !says_redirect)) {
      wants.nfs_export = false;
    } else if (says_index) {
      return conflict();
    }
  }
  if (wants.nfs_export && wants.metacopy && says_metacopy) return conflict();
  const bool marks_files = (says_redirect && follows) || wants.metacopy;
  if (has_option(context, "userxattr", "")) return marks_files ? conflict() : 0;
  const bool needs_real_root = world.has(Quirk::overlay_features_need_real_root);
  if (needs_real_root && (marks_files || wants.verity) && !capable(task, cap_sys_admin))
    return world.refuse(EPERM, "overlay.option-needs-real-root");
  return 0;
}

// ovl_make_workdir(), fs/overlayfs/super.c: workdir/work is made new each time, with mode 0. Where that is not possible `made` stays
// null: the overlay mounts read-only, and says so only in the log.
long renew_work_directory(Task& task, const Path& work, Dentry** made) {
  World& world = *task.world;
  const auto found = work.dentry->children.find("work");
  if (found != work.dentry->children.end()) {
    const auto incompat = found->second->children.find("incompat");
    if (incompat != found->second->children.end() && incompat->second->children.count("volatile") != 0) {
      return world.refuse(EINVAL, "overlay.volatile-left-behind");
    }
  }
  if (may_create(task, work.dentry) != 0 || want_write(world, work) != 0) return 0;
  Dentry* fresh = nullptr;
  if (found != work.dentry->children.end()) {
    fresh = found->second;
    fresh->inode->mode = 0;
    fresh->inode->uid = task.uid;
    fresh->inode->gid = task.gid;
  } else {
    NewNode node;
    node.kind = Kind::directory;
    node.uid = task.uid;
    node.gid = task.gid;
    if (create_child(world, work.dentry, "work", node, &fresh) != 0) return 0;
  }
  // It is then read, which takes a capability over its owner: none in a user namespace that has no name for him (measured on 6.18).
  if (permission(task, fresh, may_read) != 0) return world.refuse(EACCES, "overlay.workdir-unreadable-for-the-mounter");
  *made = fresh;
  return 0;
}

// overlayfs.rst, "Sharing and copying layers": with index=on an upper layer or work directory belongs to one mounted overlay.
bool is_used_by_another_overlay(const World& world, const Dentry* upper, const Dentry* work) {
  return std::any_of(world.mounts.begin(), world.mounts.end(), [&](const auto& mount) {
    const OverlayLayers* layers = mount->superblock->overlay.get();
    return layers != nullptr && !mount->unmounted && (layers->upper == upper || layers->work == work);
  });
}

}  // namespace

long overlay_superblock(Task& task, FilesystemContext& context) {
  World& world = *task.world;
  const bool has_upper =
      std::any_of(context.layer_paths.begin(), context.layer_paths.end(), [](const auto& l) { return l.first == "upperdir"; });
  if (const long error = check_option_conflicts(task, context, has_upper); error != 0) return error;
  auto layers = std::make_unique<OverlayLayers>();
  layers->userxattr = has_option(context, "userxattr", "");
  layers->can_mark = layers->userxattr ? world.has(Quirk::tmpfs_has_user_attributes) : context.owner == world.initial_user;
  Path upper, work;
  std::vector<Path> lower;
  for (const auto& [key, path] : context.layer_paths) {
    if (key == "upperdir") {
      upper = path;
    } else if (key == "workdir") {
      work = path;
    } else {
      lower.push_back(path);
    }
  }
  if (lower.empty()) return world.refuse(EINVAL, "overlay.no-lower-layer");
  const bool has_data =
      std::any_of(context.layer_paths.begin(), context.layer_paths.end(), [](const auto& l) { return l.first == "datadir+"; });
  if (has_data && !world.has(Quirk::overlay_verity_without_metacopy) && option_value(context, "metacopy") != "on")
    return world.refuse(EINVAL, "overlay.data-layer-needs-metacopy");
  if (!upper && lower.size() < 2) return world.refuse(EINVAL, "overlay.one-layer-only");
  if (upper && !work) return world.refuse(EINVAL, "overlay.no-workdir");
  bool read_only = !upper;
  if (upper) {
    if (const long error = clone_layer(task, upper); error != 0) return error;
    if (work.mount != upper.mount) return world.refuse(EINVAL, "overlay.workdir-on-another-mount");
    if (is_below(work.dentry, upper.dentry) || is_below(upper.dentry, work.dentry)) {
      return world.refuse(EINVAL, "overlay.workdir-overlaps-upperdir");
    }
    layers->upper = upper.dentry;
    layers->work = work.dentry;
    layers->depth = std::max(layers->depth, stacking_depth(upper.mount->superblock) + 1);
  }
  for (const Path& path : lower) layers->depth = std::max(layers->depth, stacking_depth(path.mount->superblock) + 1);
  if (layers->depth > max_depth) return world.refuse(EINVAL, "overlay.stacked-too-deep");
  if (upper) {
    if (option_value(context, "index") == "on" && is_used_by_another_overlay(world, upper.dentry, work.dentry))
      return world.refuse(EBUSY, "overlay.in-use-with-index");
    Dentry* made = nullptr;
    if (const long error = renew_work_directory(task, work, &made); error != 0) return error;
    if (made == nullptr) read_only = true;
    if (made != nullptr && has_option(context, "volatile", ""))
      add_file(world, add_directory(world, add_directory(world, made, "incompat"), "volatile"), "dirty", "");
  }
  for (std::size_t i = 0; i < lower.size(); ++i) {
    if (const long error = clone_layer(task, lower[i]); error != 0) return error;
    layers->lower.push_back(lower[i].dentry);
  }
  for (std::size_t i = 0; i < lower.size(); ++i) {
    for (std::size_t j = 0; j < lower.size(); ++j) {
      if (i != j && lower[i].dentry->superblock == lower[j].dentry->superblock && is_below(lower[i].dentry, lower[j].dentry)) {
        return world.refuse(ELOOP, "overlay.lower-layers-overlap");
      }
    }
  }
  layers->writes_nowhere = read_only;
  Superblock* superblock = new_superblock(world, context.type, context.owner, context.source);
  superblock->read_only = read_only || context.read_only;
  Inode* inode = new_inode(world, Kind::directory, 0755, 0, 0);
  inode->upper = layers->upper;
  inode->lower = layers->lower;
  superblock->root = new_dentry(world, superblock, nullptr, "", inode);
  std::string options = "lowerdir=";
  for (std::size_t i = 0; i < lower.size(); ++i) options += (i == 0 ? "" : ":") + path_text(world, lower[i], task.root);
  if (upper) options += ",upperdir=" + path_text(world, upper, task.root) + ",workdir=" + path_text(world, work, task.root);
  for (const auto& [key, value] : context.options) {
    if (key == "lowerdir" || key == "lowerdir+") continue;
    options += "," + key + (value.empty() ? "" : "=" + value);
  }
  superblock->options = options;
  superblock->overlay = std::move(layers);
  context.superblock = superblock;
  return 0;
}

}  // namespace rootprep::testing::model
