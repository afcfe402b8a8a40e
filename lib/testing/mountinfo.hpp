// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include "testing/world.hpp"

// proc_pid_mountinfo(5), and the forms for tests and people.
namespace rootprep::testing::model {

// The path as seen from a root, "/" for the root itself; "(unreachable)..." and " (deleted)" as the kernel's d_path() writes them.
std::string path_text(const World& world, const Path& path, const Path& root);
bool reachable_path(const Path& path, const Path& root, std::string& text);
std::string mountinfo_of(const World& world, const Task& task);
std::string mounts_of(const World& world, const Task& task);
std::string mount_flags_text(const MountFlags& flags);
std::vector<Mount*> mounts_of_namespace(const World& world, const MountNamespace* ns);  // by id

}  // namespace rootprep::testing::model
