// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include "testing/world.hpp"

// The system calls that are more than a few lines. Each is in the file that its room is named after.
namespace rootprep::testing::model {

// mount_calls.cpp
long call_mount(Task& task, const char* source, const char* target, const char* type, unsigned long flags, const void* data);
long call_umount2(Task& task, const char* target, int flags);
long call_pivot_root(Task& task, const char* new_root, const char* put_old);
// Used by both generations of calls.
struct MountPlace {
  Path at{};                 // the exact parent and mountpoint
  Mount* beneath = nullptr;  // MOVE_MOUNT_BENEATH: the mount to go under
};
long lock_place(Task& task, const Path& target, bool beneath, MountPlace& place);
long move_tree(Task& task, const Path& source, const Path& target, bool beneath);
long may_copy(Task& task, const Path& source, bool recursive);
bool flags_are_locked(const Mount& mount, const MountFlags& wanted);
bool too_revealing(const Task& task, const Superblock& superblock, MountFlags& flags, FlagLocks& locks);
long change_propagation_of(Task& task, const Path& path, std::uint64_t type, bool recursive);

// new_mount_api.cpp
long call_open_tree(Task& task, int dirfd, const char* path, unsigned flags, const abi::mount_attr* attr, std::size_t size, bool with_attr);
long call_move_mount(Task& task, int from_dirfd, const char* from_path, int to_dirfd, const char* to_path, unsigned flags);
long call_fsopen(Task& task, const char* name, unsigned flags);
long call_fspick(Task& task, int dirfd, const char* path, unsigned flags);
long call_fsconfig(Task& task, int fd, unsigned command, const char* key, const void* value, int aux);
long call_fsmount(Task& task, int fd, unsigned flags, unsigned attr_flags);
long call_mount_setattr(Task& task, int dirfd, const char* path, unsigned flags, const abi::mount_attr* attr, std::size_t size);
long read_context(Task& task, FilesystemContext& context, void* buffer, std::size_t count);

// file_calls.cpp
long call_open(Task& task, int dirfd, const char* path, const abi::open_how& how);
long call_openat2(Task& task, int dirfd, const char* path, const abi::open_how* how, std::size_t size);
long call_read(Task& task, int fd, void* buffer, std::size_t count);
long call_write(Task& task, int fd, const void* buffer, std::size_t count);
long call_lseek(Task& task, int fd, long offset, int whence);
long call_getdents64(Task& task, int fd, void* buffer, std::size_t count);
long call_ftruncate(Task& task, int fd, long length);
long call_mkdirat(Task& task, int dirfd, const char* path, unsigned mode);
long call_mknodat(Task& task, int dirfd, const char* path, unsigned mode, unsigned device);
long call_symlinkat(Task& task, const char* target, int dirfd, const char* path);
long call_linkat(Task& task, int old_dirfd, const char* old_path, int new_dirfd, const char* new_path, int flags);
long call_unlinkat(Task& task, int dirfd, const char* path, int flags);
long call_renameat2(Task& task, int old_dirfd, const char* old_path, int new_dirfd, const char* new_path, unsigned flags);
long call_readlinkat(Task& task, int dirfd, const char* path, char* buffer, std::size_t size);
long call_statx(Task& task, int dirfd, const char* path, int flags, unsigned mask, abi::statx* result);
long call_fstatfs(Task& task, int fd, abi::statfs* result);
long call_fchmod(Task& task, int fd, unsigned mode);
long call_fchmodat(Task& task, int dirfd, const char* path, unsigned mode);
long call_fchownat(Task& task, int dirfd, const char* path, unsigned owner, unsigned group, int flags);
long call_fsetxattr(Task& task, int fd, const char* name, const void* value, std::size_t size, int flags);
long call_fgetxattr(Task& task, int fd, const char* name, void* value, std::size_t size);
void fill_statx(const Task& task, const Path& path, unsigned mask, abi::statx& result);

// process_calls.cpp
int install(Task& task, std::shared_ptr<OpenFile> file, bool close_on_exec);
long call_close(Task& task, int fd);
long call_close_range(Task& task, unsigned first, unsigned last, unsigned flags);
long call_dup3(Task& task, int from, int to, int flags);
long call_chroot(Task& task, const char* path);
long call_chdir(Task& task, const char* path);
long call_fchdir(Task& task, int fd);
long call_getcwd(Task& task, char* buffer, std::size_t size);
long call_unshare(Task& task, std::uint64_t flags);
long call_setns(Task& task, int fd, int type);
long call_setname(Task& task, const char* name, std::size_t length, bool domain);
Task* fork_task(World& world, Task& parent);
void number_task(Task& task, PlainNamespace* pid_namespace);
void end_task(Task& task);
void collect_namespaces(World& world);
long copy_text(World& world, const char* pointer, std::size_t limit, int too_long, std::string& text);

}  // namespace rootprep::testing::model
