// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include "testing/world.hpp"

// What of procfs mount code meets: /proc/self/fd/N, ns, root, cwd, mountinfo, the id maps, and directories to hide.
namespace rootprep::testing::model {

void populate_procfs(World& world, Dentry* root);
Dentry* procfs_lookup(Task& task, Dentry* directory, std::string_view name, long& error);
std::vector<std::string> procfs_names(Task& task, Dentry* directory);
std::string procfs_link_text(const Task& task, const Dentry* link);
// What a read of the file gives; decided when it is opened.
std::string procfs_contents(Task& task, const Dentry* file);
// A write to uid_map, gid_map or setgroups. user_namespaces(7).
long procfs_write(Task& task, const Dentry* file, std::string_view text);
// The file of a namespace, as /proc/PID/ns has it.
Path namespace_file(World& world, MountNamespace* ns);
Path namespace_file(World& world, UserNamespace* ns);
Path namespace_file(World& world, PlainNamespace* ns);

}  // namespace rootprep::testing::model
