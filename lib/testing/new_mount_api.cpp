// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <algorithm>
#include <cstring>

#include "testing/calls.hpp"
#include "testing/filesystem_types.hpp"
#include "testing/inodes.hpp"
#include "testing/mount_tree.hpp"
#include "testing/overlay.hpp"
#include "testing/path_walk.hpp"
#include "testing/permissions.hpp"
#include "testing/propagation.hpp"

// open_tree(2), move_mount(2), fsopen(2), fsconfig(2), fsmount(2), fspick(2), mount_setattr(2): Linux 5.2 and later.
namespace rootprep::testing::model {
namespace {

constexpr std::size_t page = 4096;

struct AttributeChange {
  std::uint64_t set = 0, clear = 0, propagation = 0;
  UserNamespace* idmap = nullptr;
  bool nothing = false;
};

std::uint64_t known_attributes(const World& world) {
  std::uint64_t known = abi::mount_attr_rdonly | abi::mount_attr_nosuid | abi::mount_attr_nodev | abi::mount_attr_noexec |
                        abi::mount_attr_atime_mask | abi::mount_attr_nodiratime;
  if (world.has(Quirk::mounts_can_be_idmapped)) known |= abi::mount_attr_idmap;
  if (world.has(Quirk::attributes_have_nosymfollow)) known |= abi::mount_attr_nosymfollow;
  return known;
}

MountFlags changed_flags(MountFlags flags, const AttributeChange& change) {
  const auto apply = [&](bool& flag, std::uint64_t bit) {
    if ((change.clear & bit) != 0) flag = false;
    if ((change.set & bit) != 0) flag = true;
  };
  apply(flags.read_only, abi::mount_attr_rdonly);
  apply(flags.nosuid, abi::mount_attr_nosuid);
  apply(flags.nodev, abi::mount_attr_nodev);
  apply(flags.noexec, abi::mount_attr_noexec);
  apply(flags.nodiratime, abi::mount_attr_nodiratime);
  apply(flags.nosymfollow, abi::mount_attr_nosymfollow);
  if ((change.clear & abi::mount_attr_atime_mask) != 0) {
    flags.atime = MountFlags::Atime::relative;
    if ((change.set & abi::mount_attr_noatime) != 0) flags.atime = MountFlags::Atime::none;
    if ((change.set & abi::mount_attr_strictatime) != 0) flags.atime = MountFlags::Atime::strict;
  }
  return flags;
}

// The structure of mount_setattr(2): sizes, unknown bits, the atime field that is changed whole or not at all.
long parse_attributes(Task& task, const abi::mount_attr* attr, std::size_t size, AttributeChange& change) {
  World& world = *task.world;
  if (size > page) return world.refuse(E2BIG, "setattr.size-too-large");
  if (size < sizeof(abi::mount_attr)) return world.refuse(EINVAL, "setattr.size-too-small");
  if (!may_mount(task)) return world.refuse(EPERM, "setattr.needs-sys-admin");
  if (!readable(attr)) return world.refuse(EFAULT, "argument.bad-pointer");
  const auto* bytes = reinterpret_cast<const unsigned char*>(attr);
  if (std::any_of(bytes + sizeof(abi::mount_attr), bytes + size, [](unsigned char b) { return b != 0; }))
    return world.refuse(E2BIG, "setattr.unknown-tail");
  abi::mount_attr wanted;
  std::memcpy(&wanted, attr, sizeof wanted);
  if (wanted.attr_set == 0 && wanted.attr_clr == 0 && wanted.propagation == 0) {
    change.nothing = true;
    return 0;
  }
  const std::uint64_t p = wanted.propagation;
  if (p != 0 && p != abi::ms_shared && p != abi::ms_private && p != abi::ms_slave && p != abi::ms_unbindable) {
    return world.refuse(EINVAL, "setattr.propagation");
  }
  const std::uint64_t known = known_attributes(world);
  if (((wanted.attr_set | wanted.attr_clr) & ~known) != 0) return world.refuse(EINVAL, "setattr.unknown-attribute");
  if ((wanted.attr_clr & abi::mount_attr_atime_mask) != 0) {
    if ((wanted.attr_clr & abi::mount_attr_atime_mask) != abi::mount_attr_atime_mask)
      return world.refuse(EINVAL, "setattr.atime-cleared-in-part");
    const std::uint64_t mode = wanted.attr_set & abi::mount_attr_atime_mask;
    if (mode != 0 && mode != abi::mount_attr_noatime && mode != abi::mount_attr_strictatime)
      return world.refuse(EINVAL, "setattr.atime-modes");
  } else if ((wanted.attr_set & abi::mount_attr_atime_mask) != 0) {
    return world.refuse(EINVAL, "setattr.atime-not-cleared");
  }
  change.set = wanted.attr_set;
  change.clear = wanted.attr_clr;
  change.propagation = p;
  if (((wanted.attr_set | wanted.attr_clr) & abi::mount_attr_idmap) != 0) {
    if ((wanted.attr_clr & abi::mount_attr_idmap) != 0) return world.refuse(EINVAL, "setattr.idmap-cannot-be-cleared");
    if (wanted.userns_fd > 0x7fffffffU) return world.refuse(EINVAL, "setattr.idmap-descriptor");
    std::shared_ptr<OpenFile> file;
    if (const long error = find_file(task, static_cast<int>(wanted.userns_fd), file); error != 0) return error;
    if (file->path_only) return world.refuse(EBADF, "descriptor.is-path-only");
    UserNamespace* user = file->path.dentry->inode->user_namespace;
    if (user == nullptr) return world.refuse(EINVAL, "setattr.idmap-needs-a-user-namespace");
    if (user == world.initial_user) return world.refuse(EPERM, "setattr.idmap-of-initial-user-namespace");
    if (!capable_in(task, user, cap_sys_admin)) return world.refuse(EPERM, "setattr.idmap-of-a-strangers-namespace");
    change.idmap = user;
  }
  return 0;
}

long may_change_attributes(Task& task, const Mount* top, const Mount* mount, const AttributeChange& change) {
  World& world = *task.world;
  if (flags_are_locked(*mount, changed_flags(mount->flags, change))) return world.refuse(EPERM, "setattr.flag-is-locked");
  if (change.idmap != nullptr) {
    if (change.idmap == mount->superblock->owner) return world.refuse(EINVAL, "setattr.idmap-is-that-of-the-superblock");
    if (mount->idmap != nullptr) return world.refuse(EPERM, "setattr.already-idmapped");
    const bool supported =
        mount->superblock->type->idmap && (mount->superblock->type->name != "tmpfs" || world.has(Quirk::tmpfs_can_be_idmapped));
    if (!supported) return world.refuse(EINVAL, "setattr.type-cannot-be-idmapped");
    if (!capable_in(task, mount->superblock->owner, cap_sys_admin))
      return world.refuse(EPERM, "setattr.superblock-of-another-user-namespace");
    if (top->ns == nullptr || !top->ns->anonymous) return world.refuse(EINVAL, "setattr.idmap-of-attached-mount");
  }
  if ((change.set & abi::mount_attr_rdonly) != 0 && !mount->flags.read_only && has_writers(world, mount)) {
    return world.refuse(EBUSY, "setattr.mount-has-writers");
  }
  return 0;
}

long change_attributes(Task& task, const Path& path, const AttributeChange& change, bool recursive) {
  World& world = *task.world;
  Mount* top = path.mount;
  if (!is_mount_root(path)) return world.refuse(EINVAL, "setattr.not-a-mount-point");
  if (top->ns == nullptr) return world.refuse(EINVAL, "setattr.mount-was-unmounted");
  const bool root_of_detached = top->parent == nullptr && top->ns->anonymous;
  if (!root_of_detached && !in_my_namespace(task, top)) return world.refuse(EINVAL, "setattr.mount-of-another-namespace");
  // All or nothing over the tree.
  for (const Mount* m = top; m != nullptr; m = recursive ? next_in_tree(const_cast<Mount*>(m), top) : nullptr) {
    if (const long error = may_change_attributes(task, top, m, change); error != 0) return error;
  }
  for (Mount* m = top; m != nullptr; m = recursive ? next_in_tree(m, top) : nullptr) {
    m->flags = changed_flags(m->flags, change);
    if (change.idmap != nullptr) m->idmap = change.idmap;
    if (change.propagation != 0) change_propagation(world, m, change.propagation);
  }
  return 0;
}

// open_tree(OPEN_TREE_CLONE): a detached copy.
long clone_detached(Task& task, const Path& source, bool recursive, Mount** tree) {
  World& world = *task.world;
  if (source.mount->unbindable) return world.refuse(EINVAL, "bind.source-is-unbindable");
  if (const long error = may_copy(task, source, recursive); error != 0) return error;
  CopyOptions options;
  options.recursive = recursive;
  options.keep_namespace_files = true;
  if (const long error = copy_tree(world, source.mount, source.dentry, options, tree); error != 0) return error;
  const MountNamespace* from = source.mount->ns;
  detach_into_anonymous(world, task, *tree, from == nullptr ? 0 : from->anonymous ? from->origin_sequence : from->sequence);
  return 0;
}

int install_path(Task& task, const Path& path, bool owns_tree, bool close_on_exec) {
  auto file = std::make_shared<OpenFile>();
  file->world = task.world;
  file->path = path;
  file->path_only = true;
  file->flags = abi::o_path;
  file->owns_tree = owns_tree;
  return install(task, std::move(file), close_on_exec);
}

}  // namespace

long call_open_tree(Task& task, int dirfd, const char* path, unsigned flags, const abi::mount_attr* attr, std::size_t size,
                    bool with_attr) {
  World& world = *task.world;
  constexpr std::uint64_t known = abi::at_empty_path | abi::at_no_automount | abi::at_recursive | abi::at_symlink_nofollow |
                                  abi::open_tree_clone | abi::open_tree_cloexec;
  if ((flags & ~known) != 0) return world.refuse(EINVAL, "open_tree.unknown-flag");
  const bool clone = (flags & abi::open_tree_clone) != 0;
  const bool recursive = (flags & abi::at_recursive) != 0;
  if (recursive && !clone) return world.refuse(EINVAL, "open_tree.recursive-without-clone");
  if (clone && !may_mount(task)) return world.refuse(EPERM, "open_tree.needs-sys-admin");
  if (with_attr && attr == nullptr && size != 0) return world.refuse(EINVAL, "open_tree.size-without-attributes");
  WalkOptions options;
  options.follow = (flags & abi::at_symlink_nofollow) == 0;
  options.empty = (flags & abi::at_empty_path) != 0;
  Path found;
  if (const long error = walk(task, dirfd, path, options, found); error != 0) return error;
  const bool close_on_exec = (flags & abi::open_tree_cloexec) != 0;
  Mount* tree = nullptr;
  if (clone) {
    if (const long error = clone_detached(task, found, recursive, &tree); error != 0) return error;
    found = {tree, found.dentry};
  }
  const int fd = install_path(task, found, clone, close_on_exec);
  if (with_attr && attr != nullptr) {
    AttributeChange change;
    long error = parse_attributes(task, attr, size, change);
    if (error == 0 && !change.nothing) error = change_attributes(task, found, change, recursive);
    if (error != 0) {
      const std::string rule = world.last_rule;
      call_close(task, fd);
      world.last_rule = rule;
      return error;
    }
  }
  return fd;
}

namespace {

// MOVE_MOUNT_SET_GROUP
long set_group(Task& task, const Path& from, const Path& to) {
  World& world = *task.world;
  if (!is_mount_root(from) || !is_mount_root(to)) return world.refuse(EINVAL, "set-group.not-a-mount-point");
  for (const Mount* m : {from.mount, to.mount}) {
    if (m->ns == nullptr) return world.refuse(EINVAL, "set-group.mount-was-unmounted");
    if (!capable_in(task, m->ns->owner, cap_sys_admin)) return world.refuse(EPERM, "set-group.mount-of-another-user-namespace");
  }
  if (from.mount->superblock != to.mount->superblock) return world.refuse(EINVAL, "set-group.another-superblock");
  if (!is_below(to.mount->root, from.mount->root)) return world.refuse(EINVAL, "set-group.target-shows-more");
  if (has_locked_children(from.mount, to.mount->root)) return world.refuse(EINVAL, "set-group.locked-children");
  if (to.mount->shared() || to.mount->pure_master != nullptr) return world.refuse(EINVAL, "set-group.target-has-a-group");
  if (to.mount->unbindable && world.has(Quirk::set_group_refuses_unbindable)) return world.refuse(EINVAL, "set-group.target-unbindable");
  if (!from.mount->shared() && from.mount->pure_master == nullptr) return world.refuse(EINVAL, "set-group.source-is-private");
  if (from.mount->shared()) {
    become_peer(to.mount, from.mount->group);
    to.mount->unbindable = false;
  } else {
    become_slave_of(to.mount, from.mount->pure_master);
  }
  return 0;
}

}  // namespace

long call_move_mount(Task& task, int from_dirfd, const char* from_path, int to_dirfd, const char* to_path, unsigned flags) {
  World& world = *task.world;
  if (!may_mount(task)) return world.refuse(EPERM, "move_mount.needs-sys-admin");
  std::uint64_t known = abi::move_mount_f_symlinks | abi::move_mount_f_automounts | abi::move_mount_f_empty_path |
                        abi::move_mount_t_symlinks | abi::move_mount_t_automounts | abi::move_mount_t_empty_path;
  if (world.has(Quirk::groups_can_be_set)) known |= abi::move_mount_set_group;
  if (world.has(Quirk::mounts_go_beneath)) known |= abi::move_mount_beneath;
  if ((flags & ~known) != 0) return world.refuse(EINVAL, "move_mount.unknown-flag");
  constexpr std::uint64_t exclusive = abi::move_mount_set_group | abi::move_mount_beneath;
  if ((flags & exclusive) == exclusive) return world.refuse(EINVAL, "move_mount.beneath-and-set-group");
  WalkOptions options;
  options.follow = (flags & abi::move_mount_t_symlinks) != 0;
  options.empty = (flags & abi::move_mount_t_empty_path) != 0;
  Path from, to;
  if (const long error = walk(task, to_dirfd, to_path, options, to); error != 0) return error;
  options.follow = (flags & abi::move_mount_f_symlinks) != 0;
  options.empty = (flags & abi::move_mount_f_empty_path) != 0;
  if (const long error = walk(task, from_dirfd, from_path, options, from); error != 0) return error;
  if ((flags & abi::move_mount_set_group) != 0) return set_group(task, from, to);
  return move_tree(task, from, to, (flags & abi::move_mount_beneath) != 0);
}

long call_fsopen(Task& task, const char* name, unsigned flags) {
  World& world = *task.world;
  if (!may_mount(task)) return world.refuse(EPERM, "fsopen.needs-sys-admin");
  if ((flags & ~abi::fsopen_cloexec) != 0) return world.refuse(EINVAL, "fsopen.unknown-flag");
  std::string type_name;
  if (const long error = copy_text(world, name, page, EINVAL, type_name); error != 0) return error;
  const FilesystemType* type = find_filesystem_type(type_name);
  if (type == nullptr || type->host_only) return world.refuse(ENODEV, "mount.unknown-type");
  UserNamespace* owner = context_owner(task, *type);
  // sysfs_init_fs_context(), fs/sysfs/mount.c: asks earlier than all others.
  if (type->behaviour == Behaviour::sysfs && type->namespace_kind != 0 && !capable_in(task, owner, cap_sys_admin)) {
    return world.refuse(EPERM, "mount.type-needs-more-privilege");
  }
  auto file = std::make_shared<OpenFile>();
  file->world = &world;
  file->path = {world.anonymous_files, world.context_file};
  file->reads = true;
  file->flags = abi::o_rdwr;
  file->context = std::make_unique<FilesystemContext>();
  file->context->type = type;
  file->context->owner = owner;
  return install(task, std::move(file), (flags & abi::fsopen_cloexec) != 0);
}

long call_fspick(Task& task, int dirfd, const char* path, unsigned flags) {
  World& world = *task.world;
  if (!may_mount(task)) return world.refuse(EPERM, "fspick.needs-sys-admin");
  constexpr std::uint64_t known = abi::fspick_cloexec | abi::fspick_symlink_nofollow | abi::fspick_no_automount | abi::fspick_empty_path;
  if ((flags & ~known) != 0) return world.refuse(EINVAL, "fspick.unknown-flag");
  WalkOptions options;
  options.follow = (flags & abi::fspick_symlink_nofollow) == 0;
  options.empty = (flags & abi::fspick_empty_path) != 0;
  Path found;
  if (const long error = walk(task, dirfd, path, options, found); error != 0) return error;
  if (!is_mount_root(found)) return world.refuse(EINVAL, "fspick.not-a-mount-point");
  auto file = std::make_shared<OpenFile>();
  file->world = &world;
  file->path = {world.anonymous_files, world.context_file};
  file->reads = true;
  file->flags = abi::o_rdwr;
  file->context = std::make_unique<FilesystemContext>();
  FilesystemContext& context = *file->context;
  context.state = FilesystemContext::State::reconfigure;
  context.superblock = found.mount->superblock;
  context.type = context.superblock->type;
  context.owner = context.superblock->owner;
  context.read_only = context.superblock->read_only;
  context.keeps_read_only = true;
  return install(task, std::move(file), (flags & abi::fspick_cloexec) != 0);
}

namespace {

bool arguments_fit(unsigned command, const char* key, const void* value, int aux) {
  switch (command) {
    case abi::fsconfig_set_flag: return key != nullptr && value == nullptr && aux == 0;
    case abi::fsconfig_set_string: return key != nullptr && value != nullptr && aux == 0;
    case abi::fsconfig_set_binary: return key != nullptr && value != nullptr && aux > 0 && aux <= 1024 * 1024;
    case abi::fsconfig_set_path:
    case abi::fsconfig_set_path_empty: return key != nullptr && value != nullptr && (aux == abi::at_fdcwd || aux >= 0);
    case abi::fsconfig_set_fd: return key != nullptr && value == nullptr && aux >= 0;
    default: return key == nullptr && value == nullptr && aux == 0;
  }
}

long create(Task& task, FilesystemContext& context, bool exclusive) {
  World& world = *task.world;
  using State = FilesystemContext::State;
  if (context.state != State::parameters) return world.refuse(EBUSY, "fscontext.not-taking-parameters");
  if (!mount_capable(task, *context.type, context.owner)) return world.refuse(EPERM, "mount.type-needs-more-privilege");
  context.state = State::failed;
  if (const long error = create_superblock(task, context, exclusive); error != 0) return error;
  context.state = State::created;
  return 0;
}

long reconfigure(Task& task, FilesystemContext& context) {
  World& world = *task.world;
  using State = FilesystemContext::State;
  if (context.state != State::reconfigure) return world.refuse(EBUSY, "fscontext.not-reconfiguring");
  if (!capable_in(task, context.superblock->owner, cap_sys_admin))
    return world.refuse(EPERM, "remount.superblock-of-another-user-namespace");
  context.state = State::failed;
  if (const long error = reconfigure_superblock(task, context, context.read_only); error != 0) return error;
  context.state = State::reconfigure;
  context.options.clear();
  context.legacy_options.clear();
  return 0;
}

long set_descriptor(Task& task, FilesystemContext& context, const std::string& key, const OpenFile& file) {
  World& world = *task.world;
  const bool layer = key == "lowerdir+" || key == "datadir+" || key == "upperdir" || key == "workdir";
  if (context.type->behaviour == Behaviour::overlay && layer && world.has(Quirk::overlay_layers_by_descriptor)) {
    return overlay_layer_by_descriptor(task, context, key, file.path);
  }
  if (context.type->behaviour == Behaviour::proc && key == "pidns" && world.has(Quirk::proc_of_another_pid_namespace)) {
    PlainNamespace* ns = file.path.dentry->inode->plain_namespace;
    if (ns == nullptr || ns->kind != abi::clone_newpid) return world.refuse(EINVAL, "proc.pidns-is-no-pid-namespace");
    context.shown = ns;
    return 0;
  }
  return refuse_value(task, context, key);
}

}  // namespace

long call_fsconfig(Task& task, int fd, unsigned command, const char* key, const void* value, int aux) {
  World& world = *task.world;
  if (fd < 0) return world.refuse(EINVAL, "fsconfig.negative-descriptor");
  const bool known = command <= abi::fsconfig_cmd_reconfigure ||
                     (command == abi::fsconfig_cmd_create_excl && world.has(Quirk::superblocks_created_exclusively));
  if (!known) return world.refuse(EOPNOTSUPP, "fsconfig.unknown-command");
  if (!arguments_fit(command, key, value, aux)) return world.refuse(EINVAL, "fsconfig.arguments-of-the-command");
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (file->path_only) return world.refuse(EBADF, "descriptor.is-path-only");
  if (file->context == nullptr) return world.refuse(EINVAL, "fsconfig.not-a-context");
  FilesystemContext& context = *file->context;
  const bool of_value = command == abi::fsconfig_set_binary || command == abi::fsconfig_set_path ||
                        command == abi::fsconfig_set_path_empty || command == abi::fsconfig_set_fd;
  if (of_value && is_legacy(world, *context.type)) return world.refuse(EOPNOTSUPP, "fsconfig.legacy-type");
  std::string name, text;
  if (key != nullptr) {
    if (const long error = copy_text(world, key, 256, EINVAL, name); error != 0) return error;
  }
  std::shared_ptr<OpenFile> other;
  switch (command) {
    case abi::fsconfig_set_string:
      if (const long error = copy_text(world, static_cast<const char*>(value), 256, EINVAL, text); error != 0) return error;
      break;
    case abi::fsconfig_set_fd:
      if (const long error = find_file(task, aux, other); error != 0) return error;
      if (other->path_only && !world.has(Quirk::fsconfig_takes_path_descriptors)) return world.refuse(EBADF, "descriptor.is-path-only");
      break;
    case abi::fsconfig_set_binary:
      if (!readable(value)) return world.refuse(EFAULT, "argument.bad-pointer");
      break;
    case abi::fsconfig_set_path:  // only read; no option of the types here takes one
    case abi::fsconfig_set_path_empty:
      if (const long error = copy_path(world, static_cast<const char*>(value), text); error != 0) return error;
      if (text.empty() && command == abi::fsconfig_set_path) return world.refuse(ENOENT, "path.empty");
      break;
    case abi::fsconfig_cmd_create: return create(task, context, false);
    case abi::fsconfig_cmd_create_excl: return create(task, context, true);
    case abi::fsconfig_cmd_reconfigure: return reconfigure(task, context);
    default: break;
  }
  using State = FilesystemContext::State;
  if (context.state != State::parameters && context.state != State::reconfigure)
    return world.refuse(EBUSY, "fscontext.not-taking-parameters");
  if (command == abi::fsconfig_set_binary || command == abi::fsconfig_set_path || command == abi::fsconfig_set_path_empty) {
    return refuse_value(task, context, name);
  }
  if (other != nullptr) return set_descriptor(task, context, name, *other);
  if (context.state == State::reconfigure && context.type->behaviour == Behaviour::overlay && !is_legacy(world, *context.type) &&
      name != "ro" && name != "rw") {
    context.log.emplace_back("e overlay: No changes allowed in reconfigure");
    return world.refuse(EINVAL, "overlay.options-fixed-at-mount");
  }
  return parse_option(task, context, name, text, command == abi::fsconfig_set_string);
}

long call_fsmount(Task& task, int fd, unsigned flags, unsigned attr_flags) {
  World& world = *task.world;
  if (!may_mount(task)) return world.refuse(EPERM, "fsmount.needs-sys-admin");
  if ((flags & ~abi::fsmount_cloexec) != 0) return world.refuse(EINVAL, "fsmount.unknown-flag");
  if ((attr_flags & ~(known_attributes(world) & ~abi::mount_attr_idmap)) != 0) return world.refuse(EINVAL, "fsmount.unknown-attribute");
  const std::uint64_t atime = attr_flags & abi::mount_attr_atime_mask;
  if (atime != 0 && atime != abi::mount_attr_noatime && atime != abi::mount_attr_strictatime)
    return world.refuse(EINVAL, "fsmount.atime-modes");
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (file->path_only) return world.refuse(EBADF, "descriptor.is-path-only");
  if (file->context == nullptr) return world.refuse(EINVAL, "fsmount.not-a-context");
  FilesystemContext& context = *file->context;
  using State = FilesystemContext::State;
  if (context.superblock == nullptr) return world.refuse(EINVAL, "fsmount.before-create");
  AttributeChange change;
  change.set = attr_flags;
  change.clear = abi::mount_attr_atime_mask;
  MountFlags mount_flags = changed_flags({}, change);
  FlagLocks locks;
  if (too_revealing(task, *context.superblock, mount_flags, locks)) return world.refuse(EPERM, "mount.too-revealing");
  if (context.state != State::created) return world.refuse(EBUSY, "fsmount.once-only");
  Mount* mount = new_mount(world, context.superblock, context.superblock->root, mount_flags, context.source);
  mount->locks = locks;
  detach_into_anonymous(world, task, mount, 0);
  // The context can now only reconfigure (vfs_clean_context(), fs/fs_context.c).
  context.state = State::reconfigure;
  context.options.clear();
  context.legacy_options.clear();
  return install_path(task, {mount, mount->root}, true, (flags & abi::fsmount_cloexec) != 0);
}

long call_mount_setattr(Task& task, int dirfd, const char* path, unsigned flags, const abi::mount_attr* attr, std::size_t size) {
  World& world = *task.world;
  constexpr std::uint64_t known = abi::at_empty_path | abi::at_recursive | abi::at_symlink_nofollow | abi::at_no_automount;
  if ((flags & ~known) != 0) return world.refuse(EINVAL, "setattr.unknown-at-flag");
  AttributeChange change;
  if (const long error = parse_attributes(task, attr, size, change); error != 0) return error;
  if (change.nothing) return 0;
  WalkOptions options;
  options.follow = (flags & abi::at_symlink_nofollow) == 0;
  options.empty = (flags & abi::at_empty_path) != 0;
  Path found;
  if (const long error = walk(task, dirfd, path, options, found); error != 0) return error;
  return change_attributes(task, found, change, (flags & abi::at_recursive) != 0);
}

// One message a read, the oldest first, each with a newline at its end.
long read_context(Task& task, FilesystemContext& context, void* buffer, std::size_t count) {
  World& world = *task.world;
  if (context.log.empty()) return world.refuse(ENODATA, "fscontext.log-is-empty");
  const std::string message = context.log.front() + "\n";
  if (message.size() > count) return world.refuse(EMSGSIZE, "fscontext.buffer-too-small");
  context.log.erase(context.log.begin());
  if (!readable(buffer)) return world.refuse(EFAULT, "argument.bad-pointer");
  std::memcpy(buffer, message.data(), message.size());
  return static_cast<long>(message.size());
}

}  // namespace rootprep::testing::model
