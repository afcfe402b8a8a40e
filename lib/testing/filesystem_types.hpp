// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include "testing/inodes.hpp"
#include "testing/world.hpp"

namespace rootprep::testing::model {

enum class Behaviour : std::uint8_t { memory, proc, sysfs, devpts, mqueue, cgroup2, overlay, nsfs, anonymous };

struct FilesystemType {
  std::string_view name{};
  std::uint64_t magic = 0;
  Behaviour behaviour = Behaviour::memory;
  bool in_user_namespace = false;    // FS_USERNS_MOUNT
  bool needs_device = false;         // FS_REQUIRES_DEV
  bool idmap = false;                // FS_ALLOW_IDMAP
  bool host_only = false;            // not mountable, only part of the builders' hosts
  std::uint64_t namespace_kind = 0;  // whose owner decides who may mount it: CLONE_NEW*
  bool revealing = false;            // SB_I_USERNS_VISIBLE: proc, sysfs
};

const FilesystemType* find_filesystem_type(std::string_view name);
std::string known_filesystem_types();

// The user namespace whose CAP_SYS_ADMIN a context of this type needs (fs_context.user_ns).
UserNamespace* context_owner(const Task& task, const FilesystemType& type);
bool mount_capable(const Task& task, const FilesystemType& type, const UserNamespace* owner);

// One option, as the parameter parser sees it. Appends to the context's log on refusal. has_value: "size=" has one, "volatile" has not.
long parse_option(Task& task, FilesystemContext& context, const std::string& key, const std::string& value, bool has_value);
// A type that was not ported to fs_context yet: its options are text until the superblock is made (legacy_fs_context_ops, fs/fs_context.c).
bool is_legacy(const World& world, const FilesystemType& type);
// FSCONFIG_SET_PATH, SET_BINARY and SET_FD for an option that takes none of them.
long refuse_value(Task& task, FilesystemContext& context, const std::string& key);
// The data of mount(2), split as the type splits it.
long parse_monolithic(Task& task, FilesystemContext& context, std::string_view data);
// Find or make the superblock (vfs_get_tree).
long create_superblock(Task& task, FilesystemContext& context, bool exclusive);
long reconfigure_superblock(Task& task, FilesystemContext& context, bool read_only);

void populate_cgroup(World& world, Dentry* directory);
Dentry* add_directory(World& world, Dentry* parent, std::string_view name, unsigned mode = 0755);
Dentry* add_file(World& world, Dentry* parent, std::string_view name, std::string_view contents, unsigned mode = 0644);
// A superblock of any type for the builders' hosts, no questions asked.
Superblock* host_superblock(World& world, std::string_view type, std::string_view source);

}  // namespace rootprep::testing::model
