// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "testing/permissions.hpp"

#include "testing/inodes.hpp"
#include "testing/mount_tree.hpp"

namespace rootprep::testing::model {

bool capable_in(const Task& task, const UserNamespace* target, Cap capability) {
  for (const UserNamespace* ns = target; ns != nullptr; ns = ns->parent) {
    if (ns == task.user) return (task.capabilities >> capability & 1U) != 0;
    if (ns->level <= task.user->level) return false;
    // The creator of a namespace has all capabilities in it, from its parent.
    if (ns->parent == task.user && ns->owner == task.uid) return true;
  }
  return false;
}
bool capable(const Task& task, Cap capability) { return capable_in(task, task.world->initial_user, capability); }
bool may_mount(const Task& task) { return capable_in(task, task.ns->owner, cap_sys_admin); }

namespace {

using Extents = std::vector<UserNamespace::Extent>;

unsigned inside_to_outside(const Extents& extents, unsigned id) {
  for (const auto& e : extents) {
    if (id >= e.inside && id - e.inside < e.count) return e.outside + (id - e.inside);
  }
  return unmapped_id;
}
unsigned outside_to_inside(const Extents& extents, unsigned id) {
  for (const auto& e : extents) {
    if (id >= e.outside && id - e.outside < e.count) return e.inside + (id - e.outside);
  }
  return unmapped_id;
}

}  // namespace

unsigned to_kernel_uid(const UserNamespace* ns, unsigned uid) { return inside_to_outside(ns->uids, uid); }
unsigned to_kernel_gid(const UserNamespace* ns, unsigned gid) { return inside_to_outside(ns->gids, gid); }
unsigned from_kernel_uid(const UserNamespace* ns, unsigned uid) {
  const unsigned id = outside_to_inside(ns->uids, uid);
  return id == unmapped_id ? 65534U : id;  // /proc/sys/kernel/overflowuid
}
unsigned from_kernel_gid(const UserNamespace* ns, unsigned gid) {
  const unsigned id = outside_to_inside(ns->gids, gid);
  return id == unmapped_id ? 65534U : id;
}
bool uid_mapped(const UserNamespace* ns, unsigned uid) { return outside_to_inside(ns->uids, uid) != unmapped_id; }
bool gid_mapped(const UserNamespace* ns, unsigned gid) { return outside_to_inside(ns->gids, gid) != unmapped_id; }

bool capable_over_inode(const Task& task, const Inode& inode, Cap capability) {
  return (task.capabilities >> capability & 1U) != 0 && uid_mapped(task.user, inode.uid) && gid_mapped(task.user, inode.gid);
}
bool owner_or_capable(const Task& task, const Inode& inode) {
  return inode.uid == task.uid || (uid_mapped(task.user, inode.uid) && (task.capabilities >> cap_fowner & 1U) != 0);
}

long permission(const Task& task, const Dentry* dentry, unsigned access) {
  const Inode& inode = attributes(dentry);
  unsigned bits = inode.mode & 7U;
  if (inode.uid == task.uid) {
    bits = inode.mode >> 6U & 7U;
  } else if (inode.gid == task.gid) {
    bits = inode.mode >> 3U & 7U;
  }
  if ((access & ~bits) == 0) return 0;
  if (inode.kind == Kind::directory) {
    if ((access & may_write) == 0 && capable_over_inode(task, inode, cap_dac_read_search)) return 0;
    if (capable_over_inode(task, inode, cap_dac_override)) return 0;
  } else {
    if (access == may_read && capable_over_inode(task, inode, cap_dac_read_search)) return 0;
    if (((access & may_exec) == 0 || (inode.mode & 0111U) != 0) && capable_over_inode(task, inode, cap_dac_override)) return 0;
  }
  return task.world->refuse(EACCES, "access.permission-bits");
}

long want_write(World& world, const Path& path) {
  if (path.mount->superblock->read_only) return world.refuse(EROFS, "write.superblock-read-only");
  if (path.mount->flags.read_only) return world.refuse(EROFS, "write.mount-read-only");
  return 0;
}

long may_create(const Task& task, const Dentry* directory) {
  World& world = *task.world;
  if (directory->dead) return world.refuse(ENOENT, "create.directory-deleted");
  const UserNamespace* owner = directory->superblock->owner;
  if (!uid_mapped(owner, task.uid) || !gid_mapped(owner, task.gid)) {
    return world.refuse(EOVERFLOW, "create.caller-id-not-mapped-in-file-system");
  }
  return permission(task, directory, may_write | may_exec);
}

long may_delete(const Task& task, const Dentry* directory, const Dentry* child, bool want_directory) {
  World& world = *task.world;
  if (const long error = permission(task, directory, may_write | may_exec); error != 0) return error;
  const Inode& inode = attributes(child);
  const Inode& parent = attributes(directory);
  if ((parent.mode & 01000U) != 0 && inode.uid != task.uid && parent.uid != task.uid && !capable_over_inode(task, inode, cap_fowner)) {
    return world.refuse(EPERM, "delete.sticky-directory");
  }
  if (want_directory) {
    if (inode.kind != Kind::directory) return world.refuse(ENOTDIR, "delete.not-a-directory");
  } else if (inode.kind == Kind::directory) {
    return world.refuse(EISDIR, "delete.is-a-directory");
  }
  if (directory->dead) return world.refuse(ENOENT, "delete.directory-deleted");
  return 0;
}

}  // namespace rootprep::testing::model
