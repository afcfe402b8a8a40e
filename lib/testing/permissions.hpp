// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include "testing/world.hpp"

namespace rootprep::testing::model {

// user_namespaces(7), "Capabilities": does the process have the capability in that user namespace?
bool capable_in(const Task& task, const UserNamespace* target, Cap capability);
bool capable(const Task& task, Cap capability);  // in the initial user namespace
bool may_mount(const Task& task);                // CAP_SYS_ADMIN over the owner of the mount namespace

// Ids: kernel ids are ids of the initial user namespace. -1: not mapped.
constexpr unsigned unmapped_id = ~0U;
unsigned to_kernel_uid(const UserNamespace* ns, unsigned uid);
unsigned to_kernel_gid(const UserNamespace* ns, unsigned gid);
unsigned from_kernel_uid(const UserNamespace* ns, unsigned uid);  // 65534 where it has no name
unsigned from_kernel_gid(const UserNamespace* ns, unsigned gid);
bool uid_mapped(const UserNamespace* ns, unsigned kernel_uid);
bool gid_mapped(const UserNamespace* ns, unsigned kernel_gid);

enum Access : unsigned { may_exec = 1, may_write = 2, may_read = 4 };
// path_resolution(7), "Permissions". 0 or -EACCES.
long permission(const Task& task, const Dentry* dentry, unsigned access);
bool capable_over_inode(const Task& task, const Inode& inode, Cap capability);
bool owner_or_capable(const Task& task, const Inode& inode);
// A change through this mount: EROFS for a read-only mount or superblock.
long want_write(World& world, const Path& path);
// Creating in, or removing from, a directory.
long may_create(const Task& task, const Dentry* directory);
long may_delete(const Task& task, const Dentry* directory, const Dentry* child, bool want_directory);

}  // namespace rootprep::testing::model
