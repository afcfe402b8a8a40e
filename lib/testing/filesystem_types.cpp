// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "testing/filesystem_types.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "testing/overlay.hpp"
#include "testing/path_walk.hpp"
#include "testing/permissions.hpp"
#include "testing/procfs.hpp"

namespace rootprep::testing::model {
namespace {

// Fields: name, magic, behaviour, in_user_namespace, needs_device, idmap, host_only, namespace_kind, revealing.
// Who may be mounted in a user namespace: measured on 6.18.
constexpr std::array<FilesystemType, 28> types{{
    {"tmpfs", abi::tmpfs_magic, Behaviour::memory, true, false, true, false, 0, false},
    {"ramfs", 0x858458f6, Behaviour::memory, true, false, true, false, 0, false},
    {"proc", abi::proc_super_magic, Behaviour::proc, true, false, false, false, abi::clone_newpid, true},
    {"sysfs", abi::sysfs_magic, Behaviour::sysfs, true, false, false, false, abi::clone_newnet, true},
    {"devpts", abi::devpts_super_magic, Behaviour::devpts, true, false, false, false, 0, false},
    {"mqueue", abi::mqueue_magic, Behaviour::mqueue, true, false, false, false, abi::clone_newipc, false},
    {"cgroup2", abi::cgroup2_super_magic, Behaviour::cgroup2, true, false, false, false, abi::clone_newcgroup, false},
    {"overlay", abi::overlayfs_super_magic, Behaviour::overlay, true, false, false, false, 0, false},
    {"devtmpfs", abi::tmpfs_magic, Behaviour::memory, false, false, false, false, 0, false},
    {"ext4", 0xef53, Behaviour::memory, false, true, true, false, 0, false},
    {"ext3", 0xef53, Behaviour::memory, false, true, true, false, 0, false},
    {"ext2", 0xef53, Behaviour::memory, false, true, true, false, 0, false},
    {"xfs", 0x58465342, Behaviour::memory, false, true, true, false, 0, false},
    {"btrfs", 0x9123683e, Behaviour::memory, false, true, true, false, 0, false},
    {"vfat", 0x4d44, Behaviour::memory, false, true, true, false, 0, false},
    {"squashfs", 0x73717368, Behaviour::memory, false, true, true, false, 0, false},
    {"erofs", 0xe0f5e1e2, Behaviour::memory, false, true, true, false, 0, false},
    {"iso9660", 0x9660, Behaviour::memory, false, true, false, false, 0, false},
    {"debugfs", 0x64626720, Behaviour::sysfs, false, false, false, false, 0, false},
    {"tracefs", 0x74726163, Behaviour::sysfs, false, false, false, false, 0, false},
    {"bpf", 0xcafe4a11, Behaviour::sysfs, false, false, false, false, 0, false},
    {"fuse", 0x65735546, Behaviour::sysfs, true, false, false, false, 0, false},
    {"securityfs", 0x73636673, Behaviour::sysfs, false, false, false, false, 0, false},
    {"hugetlbfs", 0x958458f6, Behaviour::memory, false, false, false, false, 0, false},
    {"rootfs", abi::tmpfs_magic, Behaviour::memory, false, false, false, true, 0, false},
    {"nsfs", 0x6e736673, Behaviour::nsfs, false, false, false, true, 0, false},
    {"anon_inodefs", 0x09041934, Behaviour::anonymous, false, false, false, true, 0, false},
    {"testfs", 0x74657374, Behaviour::memory, true, false, true, false, 0, false},
}};

long complain(World& world, FilesystemContext& context, int error, const char* rule, const std::string& text) {
  context.log.push_back("e " + std::string(context.type->name) + ": " + text);
  return world.refuse(error, rule);
}

bool number(const std::string& text, unsigned base, std::uint64_t& value) {
  if (text.empty()) return false;
  value = 0;
  for (const char c : text) {
    if (c < '0' || c >= static_cast<char>('0' + base)) return false;
    value = value * base + static_cast<std::uint64_t>(c - '0');
    if (value > (std::uint64_t{1} << 60U)) return false;
  }
  return true;
}

bool size_number(std::string text, std::uint64_t& value, bool percent) {
  std::uint64_t unit = 1;
  if (text.empty()) return false;
  switch (text.back()) {
    case 'k':
    case 'K': unit = 1ULL << 10U; break;
    case 'm':
    case 'M': unit = 1ULL << 20U; break;
    case 'g':
    case 'G': unit = 1ULL << 30U; break;
    case 't':
    case 'T': unit = 1ULL << 40U; break;
    case '%': unit = 167'772'160; break;  // a hundredth of 16 GiB, the memory of this machine
    default: unit = 0; break;
  }
  if (unit == 167'772'160 && !percent) return false;
  if (unit != 0) text.pop_back();
  if (!number(text, 10, value)) return false;
  if (unit != 0) value *= unit;
  return true;
}

enum class Value : std::uint8_t { flag, octal, decimal, size, percent_size, uid, gid, text };
struct OptionRule {
  std::string_view key{};
  Value value = Value::flag;
  int since = 0;
};
constexpr std::array<OptionRule, 13> tmpfs_options{{{"size", Value::percent_size, 0},
                                                    {"nr_blocks", Value::size, 0},
                                                    {"nr_inodes", Value::size, 0},
                                                    {"mode", Value::octal, 0},
                                                    {"uid", Value::uid, 0},
                                                    {"gid", Value::gid, 0},
                                                    {"huge", Value::text, 0},
                                                    {"mpol", Value::text, 0},
                                                    {"inode32", Value::flag, 5009},
                                                    {"inode64", Value::flag, 5009},
                                                    {"noswap", Value::flag, 6004},
                                                    {"usrquota", Value::flag, 6006},
                                                    {"grpquota", Value::flag, 6006}}};
constexpr std::array<OptionRule, 6> devpts_options{{{"uid", Value::uid, 0},
                                                    {"gid", Value::gid, 0},
                                                    {"mode", Value::octal, 0},
                                                    {"ptmxmode", Value::octal, 0},
                                                    {"newinstance", Value::flag, 0},
                                                    {"max", Value::decimal, 0}}};
constexpr std::array<OptionRule, 4> proc_options{
    {{"hidepid", Value::text, 0}, {"gid", Value::gid, 0}, {"subset", Value::text, 5008}, {"pidns", Value::text, 6017}}};
constexpr std::array<OptionRule, 6> cgroup2_options{{{"nsdelegate", Value::flag, 0},
                                                     {"favordynmods", Value::flag, 6000},
                                                     {"memory_localevents", Value::flag, 5002},
                                                     {"memory_recursiveprot", Value::flag, 5007},
                                                     {"memory_hugetlb_accounting", Value::flag, 6006},
                                                     {"pids_localevents", Value::flag, 6011}}};

template <std::size_t Count>
const OptionRule* find_rule(const std::array<OptionRule, Count>& rules, std::string_view key, int version) {
  for (const auto& rule : rules) {
    if (rule.key == key && rule.since <= version) return &rule;
  }
  return nullptr;
}

const OptionRule* find_rule(const FilesystemType& type, std::string_view key, int version) {
  if (type.name == "tmpfs") return find_rule(tmpfs_options, key, version);
  switch (type.behaviour) {
    case Behaviour::devpts: return find_rule(devpts_options, key, version);
    case Behaviour::proc: return find_rule(proc_options, key, version);
    case Behaviour::cgroup2: return find_rule(cgroup2_options, key, version);
    default: return nullptr;
  }
}

bool good_value(const Task& task, const FilesystemType& type, const OptionRule& rule, const std::string& value) {
  std::uint64_t n = 0;
  switch (rule.value) {
    case Value::flag: return true;
    case Value::octal: return number(value, 8, n);
    case Value::decimal: return number(value, 10, n);
    case Value::size: return size_number(value, n, false);
    case Value::percent_size: return size_number(value, n, true);
    case Value::uid: return number(value, 10, n) && to_kernel_uid(task.user, static_cast<unsigned>(n)) != unmapped_id;
    case Value::gid: return number(value, 10, n) && to_kernel_gid(task.user, static_cast<unsigned>(n)) != unmapped_id;
    case Value::text: break;
  }
  if (type.behaviour == Behaviour::proc) {
    if (rule.key == "subset") return value == "pid";
    if (rule.key == "hidepid") {
      if (value == "0" || value == "1" || value == "2") return true;
      if (!task.world->has(Quirk::hidepid_by_name)) return false;
      return value == "4" || value == "off" || value == "noaccess" || value == "invisible" || value == "ptraceable";
    }
  }
  if (rule.key == "huge") return value == "never" || value == "always" || value == "within_size" || value == "advise";
  return !value.empty();
}

std::uint64_t option_number(const FilesystemContext& context, std::string_view key, unsigned base, std::uint64_t otherwise) {
  std::uint64_t value = otherwise;
  for (const auto& [name, text] : context.options) {
    if (name == key) {
      std::uint64_t n = 0;
      if (base == 8 ? number(text, 8, n) : size_number(text, n, true)) value = n;
    }
  }
  return value;
}
bool has_option(const FilesystemContext& context, std::string_view key) {
  return std::any_of(context.options.begin(), context.options.end(), [&](const auto& o) { return o.first == key; });
}

std::string octal(std::uint64_t value) {
  char text[16] = {};
  std::snprintf(text, sizeof text, "%03o", static_cast<unsigned>(value));
  return text;
}

void add_option_text(Superblock& superblock, const std::string& text) {
  superblock.options += (superblock.options.empty() ? "" : ",") + text;
}

void fill_tmpfs(Task& task, const FilesystemContext& context, Superblock& superblock) {
  World& world = *task.world;
  const bool ramfs = superblock.type->name == "ramfs";
  const auto mode = static_cast<unsigned>(option_number(context, "mode", 8, ramfs ? 0755 : 01777)) & 07777U;
  unsigned uid = task.uid, gid = task.gid;
  if (has_option(context, "uid")) uid = to_kernel_uid(task.user, static_cast<unsigned>(option_number(context, "uid", 10, 0)));
  if (has_option(context, "gid")) gid = to_kernel_gid(task.user, static_cast<unsigned>(option_number(context, "gid", 10, 0)));
  superblock.root = new_dentry(world, &superblock, nullptr, "", new_inode(world, Kind::directory, mode, uid, gid));
  if (ramfs) return;
  superblock.size_limit = option_number(context, "size", 10, 0);
  if (has_option(context, "nr_blocks")) superblock.size_limit = option_number(context, "nr_blocks", 10, 0) * 4096;
  superblock.size_limit = (superblock.size_limit + 4095) / 4096 * 4096;
  superblock.inode_limit = option_number(context, "nr_inodes", 10, 0);
  superblock.inodes = 1;
  if (superblock.size_limit != 0) add_option_text(superblock, "size=" + std::to_string(superblock.size_limit / 1024) + "k");
  if (superblock.inode_limit != 0) add_option_text(superblock, "nr_inodes=" + std::to_string(superblock.inode_limit));
  if (mode != 01777) add_option_text(superblock, "mode=" + octal(mode));
  if (uid != 0) add_option_text(superblock, "uid=" + std::to_string(from_kernel_uid(world.initial_user, uid)));
  if (gid != 0) add_option_text(superblock, "gid=" + std::to_string(from_kernel_gid(world.initial_user, gid)));
}

void fill_devpts(Task& task, const FilesystemContext& context, Superblock& superblock) {
  World& world = *task.world;
  superblock.ptmx_mode = static_cast<unsigned>(option_number(context, "ptmxmode", 8, 0));
  superblock.pts_mode = static_cast<unsigned>(option_number(context, "mode", 8, 0600));
  superblock.pts_gid = to_kernel_gid(task.user, static_cast<unsigned>(option_number(context, "gid", 10, 0)));
  superblock.root = new_dentry(world, &superblock, nullptr, "",
                               new_inode(world, Kind::directory, 0755, to_kernel_uid(task.user, 0), to_kernel_gid(task.user, 0)));
  Dentry* ptmx = add_file(world, superblock.root, "ptmx", "", superblock.ptmx_mode);
  ptmx->inode->kind = Kind::character;
  ptmx->inode->rdev = abi::device_number(5, 2);
  ptmx->inode->uid = superblock.root->inode->uid;
  ptmx->inode->gid = superblock.root->inode->gid;
  if (has_option(context, "gid")) add_option_text(superblock, "gid=" + std::to_string(superblock.pts_gid));
  add_option_text(superblock, "mode=" + octal(superblock.pts_mode));
  add_option_text(superblock, "ptmxmode=" + octal(superblock.ptmx_mode));
}

void populate_sysfs(World& world, Superblock& superblock) {
  superblock.root = new_dentry(world, &superblock, nullptr, "", new_inode(world, Kind::directory, 0555, 0, 0));
  for (const char* directory : {"block", "bus", "class", "dev", "devices", "firmware", "fs", "kernel", "module", "power"}) {
    add_directory(world, superblock.root, directory);
  }
  // sysfs_create_mount_point(): a mount there hides nothing.
  Dentry* fs = superblock.root->children.find("fs")->second;
  for (const char* directory : {"bpf", "cgroup", "fuse"}) add_directory(world, fs, directory)->permanently_empty = true;
  fs->children.find("fuse")->second->permanently_empty = false;
  Dentry* kernel = superblock.root->children.find("kernel")->second;
  for (const char* directory : {"config", "debug", "security", "tracing"})
    add_directory(world, kernel, directory, 0700)->permanently_empty = true;
  Dentry* firmware = superblock.root->children.find("firmware")->second;
  add_directory(world, firmware, "dmi");
}

}  // namespace

const FilesystemType* find_filesystem_type(std::string_view name) {
  for (const auto& type : types) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

std::string known_filesystem_types() {
  std::string text;
  for (const auto& type : types) {
    if (!type.host_only) text += (type.needs_device ? "\t" : "nodev\t") + std::string(type.name) + "\n";
  }
  return text;
}

UserNamespace* context_owner(const Task& task, const FilesystemType& type) {
  if (type.namespace_kind == 0) return task.user;
  return task.namespaces.at(type.namespace_kind)->owner;
}

bool mount_capable(const Task& task, const FilesystemType& type, const UserNamespace* owner) {
  if (type.behaviour == Behaviour::overlay && !task.world->has(Quirk::overlay_in_user_namespaces)) return capable(task, cap_sys_admin);
  if (!type.in_user_namespace) return capable(task, cap_sys_admin);
  return capable_in(task, owner, cap_sys_admin);
}

namespace {

// vfs_parse_sb_flag(), fs/fs_context.c, looks at the key alone.
bool superblock_flag(FilesystemContext& context, const std::string& key) {
  if (key == "ro" || key == "rw") {
    context.read_only = key == "ro";
    context.keeps_read_only = false;
    return true;
  }
  for (const char* flag : {"dirsync", "lazytime", "mand", "sync", "async", "nolazytime", "nomand"}) {
    if (key == flag) return true;
  }
  return false;
}

bool takes_anything(const FilesystemType& type) {
  return type.name == "testfs" || type.needs_device || type.name == "ramfs" ||
         type.name == "fuse";  // the block file systems stop at their device
}

}  // namespace

long refuse_value(Task& task, FilesystemContext& context, const std::string& key) {
  World& world = *task.world;
  const FilesystemType& type = *context.type;
  if (key.empty()) return complain(world, context, EINVAL, "option.unnamed", "Unnamed parameter");
  if (superblock_flag(context, key)) return 0;
  if (key == "source") {
    context.log.emplace_back("e Non-string source");
    return world.refuse(EINVAL, "option.source-is-no-string");
  }
  if (takes_anything(type)) return 0;
  const OptionRule* rule = find_rule(type, key, world.profile.version);
  const bool known = rule != nullptr || (type.behaviour == Behaviour::overlay && overlay_knows(world, key));
  if (!known) return complain(world, context, EINVAL, "option.unknown", "Unknown parameter '" + key + "'");
  const bool flag = rule != nullptr && rule->value == Value::flag;
  return complain(world, context, EINVAL, "option.bad-value", (flag ? "Unexpected value for '" : "Bad value for '") + key + "'");
}

bool is_legacy(const World& world, const FilesystemType& type) {
  return (type.behaviour == Behaviour::overlay && !world.has(Quirk::overlay_parses_each_parameter)) ||
         (type.behaviour == Behaviour::devpts && !world.has(Quirk::devpts_parses_each_parameter));
}

namespace {

long parse_typed_option(Task& task, FilesystemContext& context, const std::string& key, const std::string& value, bool has_value);

// legacy_parse_param(), fs/fs_context.c
long keep_legacy_option(World& world, FilesystemContext& context, const std::string& key, const std::string& value, bool has_value) {
  const std::string option = has_value ? key + "=" + value : key;
  if (context.legacy_options.size() + option.size() + 2 > 4096) {
    context.log.emplace_back("e VFS: Legacy: Cumulative options too large");
    return world.refuse(EINVAL, "option.legacy-too-large");
  }
  if (option.find(',') != std::string::npos) {
    context.log.push_back("e VFS: Legacy: Option '" + key + "' contained comma");
    return world.refuse(EINVAL, "option.legacy-with-comma");
  }
  context.legacy_options += (context.legacy_options.empty() ? "" : ",") + option;
  return 0;
}

}  // namespace

long parse_option(Task& task, FilesystemContext& context, const std::string& key, const std::string& value, bool has_value) {
  World& world = *task.world;
  const FilesystemType& type = *context.type;
  if (key.empty()) return complain(world, context, EINVAL, "option.unnamed", "Unnamed parameter");
  if (superblock_flag(context, key)) return 0;
  if (type.behaviour == Behaviour::overlay && key != "source" && !is_legacy(world, type))
    return overlay_option(task, context, key, value, has_value);
  if (key == "source") {
    // vfs_parse_fs_param_source(), fs/fs_context.c: messages without the type's name.
    if (!has_value || context.has_source) {
      context.log.emplace_back(has_value ? "e Multiple sources" : "e Non-string source");
      return world.refuse(EINVAL, has_value ? "option.two-sources" : "option.source-is-no-string");
    }
    context.source = value;
    context.has_source = true;
    return 0;
  }
  if (is_legacy(world, type)) return keep_legacy_option(world, context, key, value, has_value);
  return parse_typed_option(task, context, key, value, has_value);
}

namespace {

long parse_typed_option(Task& task, FilesystemContext& context, const std::string& key, const std::string& value, bool has_value) {
  World& world = *task.world;
  const FilesystemType& type = *context.type;
  if (takes_anything(type)) {
    context.options.emplace_back(key, value);
    return 0;
  }
  const OptionRule* rule = find_rule(type, key, world.profile.version);
  if (rule == nullptr) return complain(world, context, EINVAL, "option.unknown", "Unknown parameter '" + key + "'");
  if (rule->value != Value::flag && !has_value) return complain(world, context, EINVAL, "option.bad-value", "Bad value for '" + key + "'");
  if (rule->value == Value::flag && has_value)
    return complain(world, context, EINVAL, "option.bad-value", "Unexpected value for '" + key + "'");
  if (type.behaviour == Behaviour::proc && rule->value == Value::text && !good_value(task, type, *rule, value)) {
    return complain(world, context, EINVAL, "option.bad-value",
                    (key == "hidepid" ? "unknown value of hidepid - " : "unsupported " + key + " option - ") + value + "\n");
  }
  if (!good_value(task, type, *rule, value)) return complain(world, context, EINVAL, "option.bad-value", "Bad value for '" + key + "'");
  if (key == "noswap" && task.user != world.initial_user) {
    return complain(world, context, EINVAL, "tmpfs.noswap-in-user-namespace", "Turning off swap in unprivileged tmpfs mounts unsupported");
  }
  context.options.emplace_back(key, value);
  return 0;
}

// Overlay lets a backslash take the meaning from a comma; both stay in the option.
std::vector<std::string> split_options(const FilesystemType& type, std::string_view data) {
  const bool escapes = type.behaviour == Behaviour::overlay;
  std::vector<std::string> all(1);
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (data[i] == ',') {
      all.emplace_back();
      continue;
    }
    if (escapes && data[i] == '\\' && i + 1 < data.size()) all.back() += data[i++];
    all.back() += data[i];
  }
  all.erase(std::remove(all.begin(), all.end(), ""), all.end());
  return all;
}

long parse_options(Task& task, FilesystemContext& context, const std::vector<std::string>& options) {
  for (const std::string& option : options) {
    const std::size_t equals = option.find('=');
    if (equals == 0 && context.type->behaviour != Behaviour::overlay) continue;
    const bool has_value = equals != std::string::npos;
    if (const long error = parse_option(task, context, option.substr(0, equals), has_value ? option.substr(equals + 1) : "", has_value);
        error != 0)
      return error;
  }
  return 0;
}

long parse_legacy_options(Task& task, FilesystemContext& context) {
  const auto options = split_options(*context.type, context.legacy_options);
  const auto log = context.log;  // a type of that age writes to the kernel's log
  long error = 0;
  if (context.type->behaviour == Behaviour::overlay) {
    error = overlay_legacy_options(task, context, options);
  } else {
    for (const std::string& option : options) {
      const std::size_t equals = option.find('=');
      const bool has_value = equals != std::string::npos;
      if (error == 0)
        error = parse_typed_option(task, context, option.substr(0, equals), has_value ? option.substr(equals + 1) : "", has_value);
    }
  }
  context.log = log;
  return error;
}

}  // namespace

long parse_monolithic(Task& task, FilesystemContext& context, std::string_view data) {
  if (!is_legacy(*task.world, *context.type)) return parse_options(task, context, split_options(*context.type, data));
  context.legacy_options = data;
  return 0;
}

namespace {

long find_block_device(Task& task, FilesystemContext& context) {
  World& world = *task.world;
  if (context.source.empty()) {
    context.log.emplace_back("e No source specified");
    return world.refuse(EINVAL, "block.no-source");
  }
  Path device;
  if (const long error = walk(task, abi::at_fdcwd, context.source.c_str(), {}, device); error != 0) return error;
  if (attributes(device.dentry).kind != Kind::block) {
    if (context.type->name == "erofs" && world.has(Quirk::erofs_on_regular_files) && attributes(device.dentry).kind == Kind::regular) {
      return world.unmodelled("mount: erofs from a regular file");
    }
    return world.refuse(ENOTBLK, "block.not-a-block-device");
  }
  if (device.mount->flags.nodev || device.dentry->superblock->owner != world.initial_user)
    return world.refuse(EACCES, "block.node-on-nodev-mount");
  return world.unmodelled("mount: " + std::string(context.type->name) + " from a block device");
}

}  // namespace

long create_superblock(Task& task, FilesystemContext& context, bool exclusive) {
  World& world = *task.world;
  const FilesystemType& type = *context.type;
  if (is_legacy(world, type)) {
    if (const long error = parse_legacy_options(task, context); error != 0) return error;
  }
  if (type.needs_device) return find_block_device(task, context);
  Superblock** shared = nullptr;
  PlainNamespace* shown = type.namespace_kind != 0 ? task.namespaces.at(type.namespace_kind) : nullptr;
  if (context.shown != nullptr) shown = context.shown;
  switch (type.behaviour) {
    case Behaviour::overlay: return overlay_superblock(task, context);
    case Behaviour::mqueue:
    case Behaviour::cgroup2: shared = &shown->superblock; break;
    case Behaviour::sysfs:
      if (type.name == "fuse") return world.refuse(EINVAL, "fuse.no-server");
      if (shown == nullptr) return world.unmodelled("mount: type " + std::string(type.name));
      shared = &shown->superblock;
      break;
    case Behaviour::proc:
      // One superblock for each pid namespace until 5.8, one for each mount since.
      if (!world.has(Quirk::proc_of_its_own_each_mount)) shared = &shown->superblock;
      break;
    default:
      if (type.name == "devtmpfs") shared = &world.devtmpfs;
      break;
  }
  if (shared != nullptr && *shared != nullptr) {
    if (exclusive) return world.refuse(EBUSY, "fscontext.superblock-exists");
    context.superblock = *shared;
    return 0;
  }
  Superblock* superblock = new_superblock(world, &type, context.owner, context.source);
  superblock->read_only = context.read_only;
  superblock->shown = shown;
  switch (type.behaviour) {
    case Behaviour::proc: {
      superblock->root = new_dentry(world, superblock, nullptr, "", new_inode(world, Kind::directory, 0555, 0, 0));
      populate_procfs(world, superblock->root);
      for (const auto& [key, value] : context.options) add_option_text(*superblock, key + "=" + value);
      break;
    }
    case Behaviour::sysfs: populate_sysfs(world, *superblock); break;
    case Behaviour::devpts: fill_devpts(task, context, *superblock); break;
    case Behaviour::mqueue:
      superblock->root =
          new_dentry(world, superblock, nullptr, "",
                     new_inode(world, Kind::directory, 01777, to_kernel_uid(context.owner, 0), to_kernel_gid(context.owner, 0)));
      break;
    case Behaviour::cgroup2:
      superblock->root = new_dentry(world, superblock, nullptr, "", new_inode(world, Kind::directory, 0555, 0, 0));
      populate_cgroup(world, superblock->root);
      for (const auto& option : context.options) add_option_text(*superblock, option.first);
      break;
    default: fill_tmpfs(task, context, *superblock); break;
  }
  if (shared != nullptr) *shared = superblock;
  context.superblock = superblock;
  return 0;
}

long reconfigure_superblock(Task& task, FilesystemContext& context, bool read_only) {
  World& world = *task.world;
  Superblock& superblock = *context.superblock;
  if (is_legacy(world, *superblock.type) && superblock.overlay == nullptr) {  // overlay ignores them
    if (const long error = parse_legacy_options(task, context); error != 0) return error;
  }
  if (superblock.type->name == "tmpfs" && has_option(context, "size")) {
    const std::uint64_t size = option_number(context, "size", 10, 0);
    if (size < superblock.used) return complain(world, context, EINVAL, "tmpfs.size-below-use", "Too small a size for current use");
    superblock.size_limit = (size + 4095) / 4096 * 4096;
    superblock.options = "size=" + std::to_string(superblock.size_limit / 1024) + "k";
  }
  if (read_only && !superblock.read_only) {
    for (const auto& other : world.tasks) {
      if (!other->alive) continue;
      for (const auto& fd : other->fds) {
        if (fd.second.file->writes && fd.second.file->path.dentry->superblock == &superblock)
          return world.refuse(EBUSY, "remount.superblock-has-writers");
      }
    }
  }
  // ovl_reconfigure(), fs/overlayfs/super.c: a context that does not say "ro" asks for a writable one.
  if (superblock.overlay != nullptr && superblock.overlay->writes_nowhere && (!read_only || context.keeps_read_only)) {
    return world.refuse(EROFS, "overlay.no-upper-layer");
  }
  superblock.read_only = read_only;
  return 0;
}

Dentry* add_directory(World& world, Dentry* parent, std::string_view name, unsigned mode) {
  Inode& owner = *parent->inode;
  ++owner.links;
  return new_dentry(world, parent->superblock, parent, name, new_inode(world, Kind::directory, mode, owner.uid, owner.gid));
}

Dentry* add_file(World& world, Dentry* parent, std::string_view name, std::string_view contents, unsigned mode) {
  Inode& owner = *parent->inode;
  Inode* inode = new_inode(world, Kind::regular, mode, owner.uid, owner.gid);
  inode->data = contents;
  return new_dentry(world, parent->superblock, parent, name, inode);
}

void populate_cgroup(World& world, Dentry* directory) {
  for (const auto& [name, contents] :
       {std::pair{"cgroup.controllers", "cpuset cpu io memory hugetlb pids\n"}, std::pair{"cgroup.procs", ""},
        std::pair{"cgroup.subtree_control", ""}, std::pair{"cgroup.threads", ""}}) {
    add_file(world, directory, name, contents);
  }
}

Superblock* host_superblock(World& world, std::string_view type, std::string_view source) {
  Superblock* superblock = new_superblock(world, find_filesystem_type(type), world.initial_user, source);
  superblock->root = new_dentry(world, superblock, nullptr, "", new_inode(world, Kind::directory, 0755, 0, 0));
  return superblock;
}

}  // namespace rootprep::testing::model
