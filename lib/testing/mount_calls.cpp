// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <cstring>

#include "testing/calls.hpp"
#include "testing/filesystem_types.hpp"
#include "testing/inodes.hpp"
#include "testing/mount_tree.hpp"
#include "testing/path_walk.hpp"
#include "testing/permissions.hpp"
#include "testing/propagation.hpp"

// mount(2), umount2(2), pivot_root(2). The order of the checks is the kernel's (fs/namespace.c), measured on 6.18.
namespace rootprep::testing::model {

long copy_text(World& world, const char* pointer, std::size_t limit, int too_long, std::string& text) {
  if (!readable(pointer)) return world.refuse(EFAULT, "argument.bad-pointer");
  const std::size_t length = ::strnlen(pointer, limit);
  if (length >= limit) return world.refuse(too_long, "argument.text-too-long");
  text.assign(pointer, length);
  return 0;
}

// Where something mounted on the target really goes: on the topmost mount of the stack there, or beneath it.
long lock_place(Task& task, const Path& target, bool beneath, MountPlace& place) {
  World& world = *task.world;
  if (beneath) {
    if (!is_mount_root(target)) return world.refuse(EINVAL, "beneath.target-is-no-mount-point");
    Mount* over = topmost(world, target).mount;
    if (over->parent == nullptr) return world.refuse(EINVAL, "beneath.target-has-no-parent");
    place.beneath = over;
    place.at = {over->parent, over->mountpoint};
  } else {
    place.at = topmost(world, target);
  }
  if (place.at.mount->ns == nullptr && world.has(Quirk::detached_targets_are_not_found))
    return world.refuse(ENOENT, "target.mount-was-unmounted");
  if (place.at.dentry->dead) return world.refuse(ENOENT, "target.deleted");
  if (world.has(Quirk::nothing_on_ephemeral_proc_entries)) {
    const ProcEntry proc = place.at.dentry->inode->proc;
    if (proc == ProcEntry::fd_link || proc == ProcEntry::fdinfo || proc == ProcEntry::ns_link)
      return world.refuse(ENOENT, "target.ephemeral-proc-entry");
  }
  return 0;
}

bool flags_are_locked(const Mount& mount, const MountFlags& wanted) {
  const FlagLocks& locks = mount.locks;
  if (locks.read_only && !wanted.read_only) return true;
  if (locks.nosuid && !wanted.nosuid) return true;
  if (locks.nodev && !wanted.nodev) return true;
  if (locks.noexec && !wanted.noexec) return true;
  return locks.atime && (mount.flags.atime != wanted.atime || mount.flags.nodiratime != wanted.nodiratime);
}

// mount_too_revealing(), fs/namespace.c: a new proc or sysfs must not show what this namespace hides.
bool too_revealing(const Task& task, const Superblock& superblock, MountFlags& flags, FlagLocks& locks) {
  if (task.ns->owner == task.world->initial_user || !superblock.type->revealing) return false;
  for (Mount* mount = task.ns->root; mount != nullptr; mount = next_in_tree(mount, task.ns->root)) {
    if (mount->superblock->type != superblock.type || mount->root != mount->superblock->root) continue;
    const bool read_only_locked = mount->locks.read_only || mount->superblock->read_only;
    if (read_only_locked && !flags.read_only) continue;
    if (mount->locks.atime && (mount->flags.atime != flags.atime || mount->flags.nodiratime != flags.nodiratime)) continue;
    bool visible = true;
    for (const Mount* child = mount->first_child; child != nullptr; child = child->next_sibling) {
      if (child->locked && !child->mountpoint->permanently_empty) visible = false;
    }
    if (!visible) continue;
    locks.read_only = locks.read_only || read_only_locked;
    locks.atime = locks.atime || mount->locks.atime;
    return false;
  }
  return true;
}

namespace {

constexpr unsigned long ms_nouser = 1UL << 31U;
constexpr unsigned long ms_magic = 0xC0ED0000UL;  // MS_MGC_VAL: what programs before Linux 2.4 put in the upper half
constexpr unsigned long propagation_types = abi::ms_shared | abi::ms_private | abi::ms_slave | abi::ms_unbindable;

MountFlags mount_flags_from(unsigned long flags) {
  MountFlags result;
  result.read_only = (flags & abi::ms_rdonly) != 0;
  result.nosuid = (flags & abi::ms_nosuid) != 0;
  result.nodev = (flags & abi::ms_nodev) != 0;
  result.noexec = (flags & abi::ms_noexec) != 0;
  result.nosymfollow = (flags & abi::ms_nosymfollow) != 0;
  result.nodiratime = (flags & abi::ms_nodiratime) != 0;
  if ((flags & abi::ms_noatime) != 0) result.atime = MountFlags::Atime::none;
  if ((flags & abi::ms_strictatime) != 0) result.atime = MountFlags::Atime::strict;
  return result;
}

// mount(2): a remount that names no atime mode keeps the one it had.
MountFlags remount_flags(unsigned long flags, const Mount& mount) {
  MountFlags wanted = mount_flags_from(flags);
  if ((flags & (abi::ms_noatime | abi::ms_nodiratime | abi::ms_relatime | abi::ms_strictatime)) == 0) {
    wanted.atime = mount.flags.atime;
    wanted.nodiratime = mount.flags.nodiratime;
  }
  return wanted;
}

// MS_REMOUNT | MS_BIND: replaces the flags of this mount, of no other.
long remount_bind(Task& task, const Path& path, unsigned long flags) {
  World& world = *task.world;
  if (!in_my_namespace(task, path.mount)) return world.refuse(EINVAL, "remount.mount-of-another-namespace");
  if (!is_mount_root(path)) return world.refuse(EINVAL, "remount.not-a-mount-point");
  const MountFlags wanted = remount_flags(flags, *path.mount);
  if (flags_are_locked(*path.mount, wanted)) return world.refuse(EPERM, "remount.flag-is-locked");
  if (wanted.read_only && !path.mount->flags.read_only && has_writers(world, path.mount))
    return world.refuse(EBUSY, "remount.mount-has-writers");
  path.mount->flags = wanted;
  return 0;
}

// MS_REMOUNT alone: the superblock, for every mount of it; and this mount's flags.
long remount_superblock(Task& task, const Path& path, unsigned long flags, std::string_view data) {
  World& world = *task.world;
  if (!in_my_namespace(task, path.mount)) return world.refuse(EINVAL, "remount.mount-of-another-namespace");
  if (!is_mount_root(path)) return world.refuse(EINVAL, "remount.not-a-mount-point");
  const MountFlags wanted = remount_flags(flags, *path.mount);
  if (flags_are_locked(*path.mount, wanted)) return world.refuse(EPERM, "remount.flag-is-locked");
  FilesystemContext context;
  context.type = path.mount->superblock->type;
  context.owner = path.mount->superblock->owner;
  context.superblock = path.mount->superblock;
  context.read_only = (flags & abi::ms_rdonly) != 0;
  if (context.type->behaviour != Behaviour::overlay) {  // overlay ignores all options here (measured on 6.18)
    if (const long error = parse_monolithic(task, context, data); error != 0) return error;
  }
  if (!capable_in(task, context.owner, cap_sys_admin)) return world.refuse(EPERM, "remount.superblock-of-another-user-namespace");
  if (const long error = reconfigure_superblock(task, context, context.read_only); error != 0) return error;
  path.mount->flags = wanted;
  return 0;
}

long bind(Task& task, const char* source, const Path& target, bool recursive) {
  World& world = *task.world;
  if (source == nullptr || *source == '\0') return world.refuse(EINVAL, "bind.no-source");
  Path old;
  if (const long error = walk(task, abi::at_fdcwd, source, {}, old); error != 0) return error;
  const MountNamespace* file = old.dentry->inode->mount_namespace;
  if (file != nullptr && file->sequence <= task.ns->sequence) return world.refuse(EINVAL, "bind.mount-namespace-file-loops");
  MountPlace place;
  if (const long error = lock_place(task, target, false, place); error != 0) return error;
  if (!in_my_namespace(task, place.at.mount)) return world.refuse(EINVAL, "bind.target-in-another-namespace");
  if (const long error = may_copy(task, old, recursive); error != 0) return error;
  CopyOptions options;
  options.recursive = recursive;
  options.keep_namespace_files = true;
  Mount* copy = nullptr;
  if (const long error = copy_tree(world, old.mount, old.dentry, options, &copy); error != 0) return error;
  if (is_directory(place.at.dentry) != is_directory(old.dentry)) {
    forget_tree(world, copy);
    return world.refuse(ENOTDIR, "bind.directory-and-file");
  }
  const long error = attach(task, copy, place.at, {});
  if (error != 0) forget_tree(world, copy);
  return error;
}

long new_filesystem(Task& task, const Path& target, const std::string* source, const std::string* type_name, unsigned long flags,
                    std::string_view data) {
  World& world = *task.world;
  if (type_name == nullptr) return world.refuse(EINVAL, "mount.no-type");
  const FilesystemType* type = find_filesystem_type(*type_name);
  if (type == nullptr || type->host_only) return world.refuse(ENODEV, "mount.unknown-type");
  FilesystemContext context;
  context.type = type;
  context.owner = context_owner(task, *type);
  context.read_only = (flags & abi::ms_rdonly) != 0;
  if (source != nullptr) {
    context.source = *source;
    context.has_source = true;
  }
  if (const long error = parse_monolithic(task, context, data); error != 0) return error;
  if (!mount_capable(task, *type, context.owner)) return world.refuse(EPERM, "mount.type-needs-more-privilege");
  if (const long error = create_superblock(task, context, false); error != 0) return error;
  MountFlags mount_flags = mount_flags_from(flags);
  FlagLocks locks;
  if (too_revealing(task, *context.superblock, mount_flags, locks)) return world.refuse(EPERM, "mount.too-revealing");
  MountPlace place;
  if (const long error = lock_place(task, target, false, place); error != 0) return error;
  if (!in_my_namespace(task, place.at.mount)) return world.refuse(EINVAL, "mount.target-in-another-namespace");
  if (is_mount_root(place.at) && place.at.mount->superblock == context.superblock)
    return world.refuse(EBUSY, "mount.already-mounted-there");
  if (!is_directory(place.at.dentry)) return world.refuse(ENOTDIR, "mount.target-is-no-directory");
  Mount* mount = new_mount(world, context.superblock, context.superblock->root, mount_flags, context.source);
  mount->locks = locks;
  const long error = attach(task, mount, place.at, {});
  if (error != 0) forget_tree(world, mount);
  return error;
}

}  // namespace

// What bind and OPEN_TREE_CLONE ask of a source.
long may_copy(Task& task, const Path& source, bool recursive) {
  World& world = *task.world;
  if (source.mount->unbindable) return world.refuse(EINVAL, "bind.source-is-unbindable");
  const bool namespace_file = source.dentry->superblock->type->behaviour == Behaviour::nsfs;
  if (!in_my_namespace(task, source.mount) && !namespace_file && !in_detached_tree_of_mine(task, source.mount)) {
    return world.refuse(EINVAL, "bind.source-in-another-namespace");
  }
  if (!recursive && has_locked_children(source.mount, source.dentry)) return world.refuse(EINVAL, "bind.source-has-locked-mounts");
  return 0;
}

long change_propagation_of(Task& task, const Path& path, std::uint64_t type, bool recursive) {
  World& world = *task.world;
  if (!is_mount_root(path)) return world.refuse(EINVAL, "propagation.not-a-mount-point");
  if (type != abi::ms_shared && type != abi::ms_private && type != abi::ms_slave && type != abi::ms_unbindable) {
    return world.refuse(EINVAL, "propagation.one-type-and-no-other-flag");
  }
  if (path.mount->ns == nullptr) return world.refuse(EINVAL, "propagation.mount-was-unmounted");
  if (!capable_in(task, path.mount->ns->owner, cap_sys_admin)) return world.refuse(EPERM, "propagation.mount-of-another-user-namespace");
  for (Mount* m = path.mount; m != nullptr; m = recursive ? next_in_tree(m, path.mount) : nullptr) change_propagation(world, m, type);
  return 0;
}

namespace {

bool holds_unbindable(Mount* tree) {
  for (Mount* m = tree; m != nullptr; m = next_in_tree(m, tree)) {
    if (m->unbindable) return true;
  }
  return false;
}

bool holds_looping_namespace_file(const Task& task, Mount* tree) {
  for (Mount* m = tree; m != nullptr; m = next_in_tree(m, tree)) {
    const MountNamespace* file = m->root->inode->mount_namespace;
    if (file != nullptr && file->sequence <= task.ns->sequence) return true;
  }
  return false;
}

// MOVE_MOUNT_BENEATH: `over` is the mount that the tree goes under. can_move_mount_beneath(), fs/namespace.c.
long may_go_beneath(Task& task, const Mount* tree, const MountPlace& place) {
  World& world = *task.world;
  const Mount* over = place.beneath;
  const Mount* parent = place.at.mount;
  if (over->locked && !world.has(Quirk::lock_moves_when_tucked)) return world.refuse(EINVAL, "beneath.target-is-locked");
  if (mounted_at(world, tree, tree->root) != nullptr) return world.refuse(EINVAL, "beneath.source-is-covered");
  if (!world.has(Quirk::lock_moves_when_tucked)) {
    if (over == task.root.mount) return world.refuse(EINVAL, "beneath.target-is-my-root");
    if (parent == task.ns->root) return world.refuse(EINVAL, "beneath.parent-is-namespace-root");
  }
  if (is_at_or_below(tree, over)) return world.refuse(EINVAL, "beneath.source-is-below-target");
  if (parent->shared()) {
    if (over->root == place.at.dentry && reaches(parent->group, over)) return world.refuse(EINVAL, "beneath.would-propagate-onto-target");
    if (in_my_namespace(task, tree) && tree->root == place.at.dentry && reaches(parent->group, tree)) {
      return world.refuse(EINVAL, "beneath.would-propagate-onto-source");
    }
  }
  return 0;
}

}  // namespace

long move_tree(Task& task, const Path& source, const Path& target, bool beneath) {
  World& world = *task.world;
  Mount* tree = source.mount;
  if (!is_mount_root(source)) return world.refuse(EINVAL, "move.source-is-no-mount-point");
  if (is_directory(target.dentry) != is_directory(source.dentry)) return world.refuse(EINVAL, "move.directory-and-file");
  MountPlace place;
  if (const long error = lock_place(task, target, beneath, place); error != 0) return error;
  Mount* parent = place.at.mount;
  if (in_my_namespace(task, tree)) {
    if (tree->parent == nullptr) return world.refuse(EINVAL, "move.source-is-namespace-root");
    if (tree->locked) return world.refuse(EINVAL, "move.source-is-locked");
    if (tree->parent->shared()) return world.refuse(EINVAL, "move.parent-is-shared");
    if (!in_my_namespace(task, parent)) return world.refuse(EINVAL, "move.target-in-another-namespace");
  } else {
    const bool root_of_detached = tree->ns != nullptr && tree->ns->anonymous && tree->ns->root == tree;
    if (!root_of_detached) return world.refuse(EINVAL, "move.source-in-another-namespace");
    if (tree->ns == parent->ns) return world.refuse(EINVAL, "move.target-in-the-same-detached-tree");
    if (!in_my_namespace(task, parent) && !in_detached_tree_of_mine(task, parent))
      return world.refuse(EINVAL, "move.target-in-another-namespace");
  }
  if (beneath) {
    if (const long error = may_go_beneath(task, tree, place); error != 0) return error;
  }
  if (parent->shared() && holds_unbindable(tree)) return world.refuse(EINVAL, "move.unbindable-onto-shared");
  if (holds_looping_namespace_file(task, tree)) return world.refuse(ELOOP, "move.mount-namespace-file-loops");
  if (is_at_or_below(parent, tree)) return world.refuse(ELOOP, "move.target-inside-source");
  MountNamespace* emptied = tree->ns != nullptr && tree->ns->anonymous ? tree->ns : nullptr;
  AttachOptions options;
  options.moving = true;
  options.beneath = beneath;
  const long error = attach(task, tree, place.at, options);
  if (error == 0 && emptied != nullptr) {
    emptied->root = nullptr;
    emptied->dead = true;
  }
  return error;
}

long call_mount(Task& task, const char* source, const char* target, const char* type, unsigned long flags, const void* data) {
  World& world = *task.world;
  std::string type_text, source_text, data_text;
  if (type != nullptr) {
    if (const long error = copy_text(world, type, path_max, EINVAL, type_text); error != 0) return error;
  }
  if (source != nullptr) {
    if (const long error = copy_text(world, source, path_max, EINVAL, source_text); error != 0) return error;
  }
  if (data != nullptr) {
    if (!readable(data)) return world.refuse(EFAULT, "argument.bad-pointer");
    // mount(2), copy_mount_options(): one page, whose last byte is made a NUL. What is longer is cut without a word.
    const char* text = static_cast<const char*>(data);
    data_text.assign(text, ::strnlen(text, 4095));
  }
  Path path;
  if (const long error = walk(task, abi::at_fdcwd, target, {}, path); error != 0) return error;
  if ((flags & 0xffff0000UL) == ms_magic) flags &= 0xffffUL;
  if ((flags & ms_nouser) != 0) return world.refuse(EINVAL, "mount.ms-nouser");
  if (!may_mount(task)) return world.refuse(EPERM, "mount.needs-sys-admin");
  if (!world.has(Quirk::mounts_can_be_nosymfollow)) flags &= ~static_cast<unsigned long>(abi::ms_nosymfollow);
  if ((flags & (abi::ms_remount | abi::ms_bind)) == (abi::ms_remount | abi::ms_bind)) return remount_bind(task, path, flags);
  if ((flags & abi::ms_remount) != 0) return remount_superblock(task, path, flags, data_text);
  if ((flags & abi::ms_bind) != 0) return bind(task, source == nullptr ? nullptr : source_text.c_str(), path, (flags & abi::ms_rec) != 0);
  if ((flags & propagation_types) != 0) {
    return change_propagation_of(task, path, flags & ~(abi::ms_rec | abi::ms_silent), (flags & abi::ms_rec) != 0);
  }
  if ((flags & abi::ms_move) != 0) {
    if (source_text.empty()) return world.refuse(EINVAL, "move.no-source");
    Path old;
    if (const long error = walk(task, abi::at_fdcwd, source_text.c_str(), {}, old); error != 0) return error;
    return move_tree(task, old, path, false);
  }
  return new_filesystem(task, path, source == nullptr ? nullptr : &source_text, type == nullptr ? nullptr : &type_text, flags, data_text);
}

long call_umount2(Task& task, const char* target, int flags) {
  World& world = *task.world;
  constexpr auto known = static_cast<int>(abi::mnt_force | abi::mnt_detach | abi::mnt_expire | abi::umount_nofollow);
  if ((flags & ~known) != 0) return world.refuse(EINVAL, "umount.unknown-flag");
  const auto bits = static_cast<unsigned>(flags);
  const bool lazy = (bits & abi::mnt_detach) != 0;
  WalkOptions options;
  options.follow = (bits & abi::umount_nofollow) == 0;
  options.keep_expiry = (bits & abi::mnt_expire) != 0;
  Path path;
  if (const long error = walk(task, abi::at_fdcwd, target, options, path); error != 0) return error;
  path = topmost(world, path);
  Mount* mount = path.mount;
  if (!may_mount(task)) return world.refuse(EPERM, "umount.needs-sys-admin");
  if (!is_mount_root(path)) return world.refuse(EINVAL, "umount.not-a-mount-point");
  if (!in_my_namespace(task, mount)) return world.refuse(EINVAL, "umount.mount-of-another-namespace");
  if (mount->locked) return world.refuse(EINVAL, "umount.locked");
  if ((bits & abi::mnt_force) != 0 && !capable_in(task, mount->superblock->owner, cap_sys_admin)) {
    return world.refuse(EPERM, "umount.force-needs-superblock-owner");
  }
  if ((bits & abi::mnt_expire) != 0) {
    if (mount == task.root.mount || (bits & (abi::mnt_force | abi::mnt_detach)) != 0)
      return world.refuse(EINVAL, "umount.expire-with-other-flags");
    if (mount->first_child != nullptr || references(world, mount) > 0) return world.refuse(EBUSY, "umount.busy");
    if (!mount->expiring) {
      mount->expiring = true;
      return world.refuse(EAGAIN, "umount.marked-for-expiry");
    }
  }
  if (mount == task.root.mount && !lazy) {
    // do_umount(), fs/namespace.c: the caller's root is not unmounted; its superblock becomes read-only.
    if (!capable_in(task, mount->superblock->owner, cap_sys_admin)) return world.refuse(EPERM, "umount.root-needs-superblock-owner");
    if (mount->superblock->read_only) return 0;
    FilesystemContext context;
    context.type = mount->superblock->type;
    context.superblock = mount->superblock;
    return reconfigure_superblock(task, context, true);
  }
  if (mount->parent == nullptr) return world.refuse(EINVAL, "umount.namespace-root");
  if (!lazy && is_busy(world, mount)) return world.refuse(EBUSY, "umount.busy");
  unmount(world, mount, lazy ? Removal::lazy : Removal::plain);
  return 0;
}

long call_pivot_root(Task& task, const char* new_root, const char* put_old) {
  World& world = *task.world;
  if (world.has(Quirk::pivot_root_checks_permission_first) && !may_mount(task)) return world.refuse(EPERM, "pivot.needs-sys-admin");
  WalkOptions options;
  options.directory = true;
  Path fresh, old;
  if (const long error = walk(task, abi::at_fdcwd, new_root, options, fresh); error != 0) return error;
  if (const long error = walk(task, abi::at_fdcwd, put_old, options, old); error != 0) return error;
  if (!may_mount(task)) return world.refuse(EPERM, "pivot.needs-sys-admin");
  MountPlace place;
  if (const long error = lock_place(task, old, false, place); error != 0) return error;
  const Path root = task.root;
  Mount* new_mount = fresh.mount;
  Mount* root_mount = root.mount;
  Mount* old_mount = place.at.mount;
  const auto parent_is_shared = [](const Mount* m) { return (m->parent != nullptr ? m->parent : m)->shared(); };
  if (old_mount->shared()) return world.refuse(EINVAL, "pivot.put-old-is-on-shared-mount");
  if (parent_is_shared(new_mount)) return world.refuse(EINVAL, "pivot.parent-of-new-root-is-shared");
  if (parent_is_shared(root_mount)) return world.refuse(EINVAL, "pivot.parent-of-root-is-shared");
  if (!in_my_namespace(task, root_mount) || !in_my_namespace(task, new_mount))
    return world.refuse(EINVAL, "pivot.mount-of-another-namespace");
  if (new_mount->locked) return world.refuse(EINVAL, "pivot.new-root-is-locked");
  if (fresh.dentry->dead) return world.refuse(ENOENT, "pivot.new-root-deleted");
  if (new_mount == root_mount) return world.refuse(EBUSY, "pivot.new-root-is-on-the-root-mount");
  if (old_mount == root_mount) return world.refuse(EBUSY, "pivot.put-old-is-on-the-root-mount");
  if (!is_mount_root(root)) return world.refuse(EINVAL, "pivot.root-is-no-mount-point");
  if (root_mount->parent == nullptr) return world.refuse(EINVAL, "pivot.root-is-the-initial-rootfs");
  if (!is_mount_root(fresh)) return world.refuse(EINVAL, "pivot.new-root-not-a-mount");
  if (new_mount->parent == nullptr) return world.refuse(EINVAL, "pivot.new-root-has-no-parent");
  if (!path_is_below(place.at, fresh)) return world.refuse(EINVAL, "pivot.put-old-not-below-new-root");
  if (!path_is_below(fresh, root)) return world.refuse(EINVAL, "pivot.new-root-not-below-root");

  Mount* root_parent = root_mount->parent;
  Dentry* root_mountpoint = root_mount->mountpoint;
  unlink_mount(world, new_mount);
  unlink_mount(world, root_mount);
  if (root_mount->locked) {
    root_mount->locked = false;
    new_mount->locked = true;
  }
  link_mount(world, new_mount, root_parent, root_mountpoint);
  link_mount(world, root_mount, place.at.mount, place.at.dentry);
  new_mount->expiring = false;
  // chroot_fs_refs(): every process whose root or working directory was exactly the old root.
  for (const auto& other : world.tasks) {
    if (other->root == root) other->root = fresh;
    if (other->cwd == root) other->cwd = fresh;
  }
  return 0;
}

}  // namespace rootprep::testing::model
