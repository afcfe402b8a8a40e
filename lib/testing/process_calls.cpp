// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <algorithm>
#include <cstring>

#include "testing/calls.hpp"
#include "testing/filesystem_types.hpp"
#include "testing/inodes.hpp"
#include "testing/mount_tree.hpp"
#include "testing/mountinfo.hpp"
#include "testing/path_walk.hpp"
#include "testing/permissions.hpp"
#include "testing/propagation.hpp"

// Descriptors; root and working directory; unshare(2), setns(2); the birth and death of processes and namespaces.
namespace rootprep::testing::model {

OpenFile::~OpenFile() {
  if (world == nullptr || world->dying || !owns_tree) return;
  // dissolve_on_fput(), fs/namespace.c: only a tree that is still detached, and only by the descriptor of its root.
  Mount* mount = path.mount;
  if (mount->ns == nullptr || !mount->ns->anonymous || mount->ns->root != mount) return;
  mount->ns->dead = true;
  unmount_without_propagation(*world, mount, Removal::connected);
}

int install(Task& task, std::shared_ptr<OpenFile> file, bool close_on_exec) {
  int fd = 0;
  for (const auto& open : task.fds) {
    if (open.first != fd) break;
    ++fd;
  }
  task.fds[fd] = {std::move(file), close_on_exec};
  return fd;
}

long call_close(Task& task, int fd) {
  World& world = *task.world;
  const auto found = task.fds.find(fd);
  if (found == task.fds.end()) return world.refuse(EBADF, "descriptor.not-open");
  const bool namespace_file = found->second.file->path.dentry->inode->mount_namespace != nullptr;
  task.fds.erase(found);
  if (namespace_file) collect_namespaces(world);
  return 0;
}

long call_close_range(Task& task, unsigned first, unsigned last, unsigned flags) {
  World& world = *task.world;
  std::uint64_t known = abi::close_range_unshare;
  if (world.has(Quirk::close_range_sets_cloexec)) known |= abi::close_range_cloexec;
  if ((flags & ~known) != 0) return world.refuse(EINVAL, "close_range.unknown-flag");
  if (first > last) return world.refuse(EINVAL, "close_range.reversed");
  std::vector<int> numbers;
  for (auto& fd : task.fds) {
    if (static_cast<unsigned>(fd.first) < first || static_cast<unsigned>(fd.first) > last) continue;
    if ((flags & abi::close_range_cloexec) != 0) {
      fd.second.close_on_exec = true;
    } else {
      numbers.push_back(fd.first);
    }
  }
  for (const int fd : numbers) call_close(task, fd);
  return 0;
}

long call_dup3(Task& task, int from, int to, int flags) {
  World& world = *task.world;
  if ((static_cast<unsigned>(flags) & ~static_cast<unsigned>(abi::o_cloexec)) != 0) return world.refuse(EINVAL, "dup3.unknown-flag");
  if (from == to) return world.refuse(EINVAL, "dup3.same-descriptor");
  if (to < 0 || to >= 1'048'576) return world.refuse(EBADF, "dup3.descriptor-out-of-range");
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, from, file); error != 0) return error;
  if (task.fds.count(to) != 0) call_close(task, to);
  task.fds[to] = {std::move(file), flags != 0};
  return to;
}

long call_chdir(Task& task, const char* path) {
  WalkOptions options;
  options.directory = true;
  Path found;
  if (const long error = walk(task, abi::at_fdcwd, path, options, found); error != 0) return error;
  if (const long error = permission(task, found.dentry, may_exec); error != 0) return error;
  task.cwd = found;
  return 0;
}

long call_fchdir(Task& task, int fd) {
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (!is_directory(file->path.dentry)) return task.world->refuse(ENOTDIR, "walk.not-a-directory");
  if (const long error = permission(task, file->path.dentry, may_exec); error != 0) return error;
  task.cwd = file->path;
  return 0;
}

long call_chroot(Task& task, const char* path) {
  World& world = *task.world;
  WalkOptions options;
  options.directory = true;
  Path found;
  if (const long error = walk(task, abi::at_fdcwd, path, options, found); error != 0) return error;
  if (const long error = permission(task, found.dentry, may_exec); error != 0) return error;
  if (!capable_in(task, task.user, cap_sys_chroot)) return world.refuse(EPERM, "chroot.needs-sys-chroot");
  task.root = found;  // the working directory stays: chroot(2)
  return 0;
}

long call_getcwd(Task& task, char* buffer, std::size_t size) {
  World& world = *task.world;
  if (task.cwd.dentry->dead) return world.refuse(ENOENT, "getcwd.deleted");
  std::string text;
  if (!reachable_path(task.cwd, task.root, text)) text = "(unreachable)" + path_text(world, task.cwd, task.root);
  if (text.size() + 1 > size) return world.refuse(ERANGE, "getcwd.buffer-too-small");
  if (!readable(buffer)) return world.refuse(EFAULT, "argument.bad-pointer");
  std::memcpy(buffer, text.c_str(), text.size() + 1);
  return static_cast<long>(text.size() + 1);
}

namespace {

constexpr std::uint64_t all_namespaces = abi::clone_newns | abi::clone_newcgroup | abi::clone_newuts | abi::clone_newipc |
                                         abi::clone_newuser | abi::clone_newpid | abi::clone_newnet | abi::clone_newtime;

// current_chrooted(): is the root anything but the top of the namespace's own?
bool is_chrooted(const Task& task) {
  const World& world = *task.world;
  return !(task.root == topmost(world, {task.ns->root, task.ns->root->root}));
}

// mount_namespaces(7): a copy of the whole tree; the process's root and working directory are taken along.
long copy_mount_namespace(Task& task, UserNamespace* owner) {
  World& world = *task.world;
  MountNamespace* old = task.ns;
  CopyOptions options;
  options.as = owner == old->owner ? CopyAs::peer : CopyAs::other_user;
  options.keep_unbindable = true;
  std::unordered_map<const Mount*, Mount*> copies;
  Mount* root = nullptr;
  if (const long error = copy_tree(world, old->root, old->root->root, options, &root, &copies); error != 0) return error;
  if (owner != old->owner) lock_tree(root);
  MountNamespace* ns = new_mount_namespace(world, owner, false);
  ns->root = root;
  enter_namespace(root, ns);
  if (const auto found = copies.find(task.root.mount); found != copies.end()) task.root.mount = found->second;
  if (const auto found = copies.find(task.cwd.mount); found != copies.end()) task.cwd.mount = found->second;
  task.ns = ns;
  return 0;
}

}  // namespace

long call_unshare(Task& task, std::uint64_t flags) {
  World& world = *task.world;
  constexpr std::uint64_t known = all_namespaces | abi::clone_fs | abi::clone_files;
  if ((flags & ~known) != 0) return world.refuse(EINVAL, "unshare.unknown-flag");
  UserNamespace* user = task.user;
  if ((flags & abi::clone_newuser) != 0) {
    if (task.user->level >= 32) return world.refuse(ENOSPC, "unshare.user-namespaces-nested-too-deep");
    if (is_chrooted(task)) return world.refuse(EPERM, "unshare.user-namespace-in-a-chroot");
    if (!uid_mapped(task.user, task.uid) || !gid_mapped(task.user, task.gid)) return world.refuse(EPERM, "unshare.own-id-not-mapped");
    auto made = std::make_unique<UserNamespace>();
    made->parent = task.user;
    made->level = task.user->level + 1;
    made->owner = task.uid;
    made->maker_had_setfcap = (task.capabilities >> cap_setfcap & 1U) != 0;
    made->sequence = world.next_sequence++;
    user = made.get();
    world.user_namespaces.push_back(std::move(made));
  }
  const std::uint64_t wanted = flags & all_namespaces & ~abi::clone_newuser;
  const std::uint64_t capabilities = user == task.user ? task.capabilities : all_capabilities;
  if (wanted != 0 && (capabilities >> cap_sys_admin & 1U) == 0) return world.refuse(EPERM, "unshare.needs-sys-admin");
  if ((flags & abi::clone_newns) != 0) {
    if (const long error = copy_mount_namespace(task, user); error != 0) return error;
  }
  for (const std::uint64_t kind :
       {abi::clone_newcgroup, abi::clone_newuts, abi::clone_newipc, abi::clone_newpid, abi::clone_newnet, abi::clone_newtime}) {
    if ((flags & kind) == 0) continue;
    auto made = std::make_unique<PlainNamespace>();
    made->kind = kind;
    made->owner = user;
    made->sequence = world.next_sequence++;
    if (kind == abi::clone_newuts) {
      made->hostname = task.namespaces[kind]->hostname;
      made->domainname = task.namespaces[kind]->domainname;
    }
    // unshare(2): a new pid or time namespace is for the children.
    if (kind == abi::clone_newpid) {
      made->parent = task.namespaces[kind];
      task.children_pid_namespace = made.get();
    } else if (kind != abi::clone_newtime) {
      task.namespaces[kind] = made.get();
    }
    world.plain_namespaces.push_back(std::move(made));
  }
  task.user = user;
  task.capabilities = capabilities;
  if ((flags & abi::clone_newns) != 0) collect_namespaces(world);
  return 0;
}

long call_setns(Task& task, int fd, int type) {
  World& world = *task.world;
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (file->path_only) return world.refuse(EBADF, "descriptor.is-path-only");
  const Inode& inode = *file->path.dentry->inode;
  const auto wanted = static_cast<std::uint64_t>(static_cast<unsigned>(type));
  if (MountNamespace* ns = inode.mount_namespace) {
    if (type != 0 && wanted != abi::clone_newns) return world.refuse(EINVAL, "setns.type-differs");
    if (!capable_in(task, ns->owner, cap_sys_admin) || !capable_in(task, task.user, cap_sys_chroot) ||
        !capable_in(task, task.user, cap_sys_admin)) {
      return world.refuse(EPERM, "setns.needs-sys-admin");
    }
    if (ns->anonymous) return world.refuse(EINVAL, "setns.detached-tree");
    task.ns = ns;
    task.root = task.cwd = topmost(world, {ns->root, ns->root->root});
    collect_namespaces(world);
    return 0;
  }
  if (UserNamespace* ns = inode.user_namespace) {
    if (type != 0 && wanted != abi::clone_newuser) return world.refuse(EINVAL, "setns.type-differs");
    if (ns == task.user) return world.refuse(EINVAL, "setns.own-user-namespace");
    if (!capable_in(task, ns, cap_sys_admin)) return world.refuse(EPERM, "setns.needs-sys-admin");
    task.user = ns;
    task.capabilities = all_capabilities;
    return 0;
  }
  if (PlainNamespace* ns = inode.plain_namespace) {
    if (type != 0 && wanted != ns->kind) return world.refuse(EINVAL, "setns.type-differs");
    if (!capable_in(task, ns->owner, cap_sys_admin) || !capable_in(task, task.user, cap_sys_admin))
      return world.refuse(EPERM, "setns.needs-sys-admin");
    if (ns->kind == abi::clone_newpid) {
      task.children_pid_namespace = ns;
    } else {
      task.namespaces[ns->kind] = ns;
    }
    return 0;
  }
  return world.refuse(EINVAL, "setns.not-a-namespace");
}

long call_setname(Task& task, const char* name, std::size_t length, bool domain) {
  World& world = *task.world;
  PlainNamespace& uts = *task.namespaces[abi::clone_newuts];
  if (!capable_in(task, uts.owner, cap_sys_admin)) return world.refuse(EPERM, "hostname.needs-sys-admin");
  if (length > 64) return world.refuse(EINVAL, "hostname.too-long");
  if (length != 0 && !readable(name)) return world.refuse(EFAULT, "argument.bad-pointer");
  (domain ? uts.domainname : uts.hostname).assign(length != 0 ? name : "", length);
  return 0;
}

// A number in the namespace and in all above it, as alloc_pid(), kernel/pid.c, gives them.
void number_task(Task& task, PlainNamespace* pid_namespace) {
  for (PlainNamespace* ns = pid_namespace; ns != nullptr; ns = ns->parent) {
    if (task.pids.count(ns) == 0) task.pids[ns] = ++ns->last_pid;
  }
}

Task* fork_task(World& world, Task& parent) {
  auto child = std::make_unique<Task>();
  child->world = &world;
  child->ns = parent.ns;
  child->user = parent.user;
  child->capabilities = parent.capabilities;
  child->uid = parent.uid;
  child->gid = parent.gid;
  child->root = parent.root;
  child->cwd = parent.cwd;
  child->umask = parent.umask;
  child->fds = parent.fds;
  child->namespaces = parent.namespaces;
  if (parent.children_pid_namespace != nullptr) child->namespaces[abi::clone_newpid] = parent.children_pid_namespace;
  number_task(*child, child->namespaces[abi::clone_newpid]);
  child->pid = child->pids[world.tasks.front()->namespaces[abi::clone_newpid]];
  world.tasks.push_back(std::move(child));
  return world.tasks.back().get();
}

void end_task(Task& task) {
  task.fds.clear();
  task.alive = false;
  collect_namespaces(*task.world);
}

namespace {

bool is_used(const World& world, const MountNamespace* ns) {
  for (const auto& task : world.tasks) {
    if (!task->alive) continue;
    if (task->ns == ns) return true;
    for (const auto& fd : task->fds) {
      if (fd.second.file->path.dentry->inode->mount_namespace == ns) return true;
    }
  }
  const auto file = world.namespace_files.find(ns);
  if (file == world.namespace_files.end()) return false;
  return std::any_of(world.mounts.begin(), world.mounts.end(), [&](const auto& m) { return m->root == file->second && m->ns != nullptr; });
}

}  // namespace

// A mount namespace that no process, descriptor or bind mount holds any more takes its mounts along, without propagation.
void collect_namespaces(World& world) {
  for (const auto& ns : world.mount_namespaces) {
    if (ns->dead || ns->anonymous || ns->root == nullptr || is_used(world, ns.get())) continue;
    ns->dead = true;
    unmount_without_propagation(world, ns->root, Removal::lazy);
  }
}

}  // namespace rootprep::testing::model
