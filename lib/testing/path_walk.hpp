// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include "testing/world.hpp"

// path_resolution(7) and openat2(2).
namespace rootprep::testing::model {

// What a program passed: nullptr and addresses that no program maps answer EFAULT.
bool readable(const void* pointer);
long copy_path(World& world, const char* path, std::string& text);  // EFAULT, ENAMETOOLONG

struct WalkOptions {
  bool follow = true;      // a symbolic link in the last component
  bool directory = false;  // the result must be one
  bool empty = false;      // "" means the descriptor itself
  std::uint64_t resolve = 0;
  bool keep_expiry = false;
};
long walk(Task& task, int dirfd, const char* path, const WalkOptions& options, Path& result);

enum class Last : std::uint8_t { name, dot, dotdot, root };
struct Parent {
  Path directory{};
  std::string name{};
  Last last = Last::name;
  bool trailing_slash = false;
  unsigned links = 0;
  Path scope{};  // the root that the walk used
};
long walk_to_parent(Task& task, int dirfd, const char* path, std::uint64_t resolve, Parent& parent);

// From a parent on: the last component of open(2) with O_CREAT, which may be a symbolic link to a place that is not there yet.
long follow_to_parent(Task& task, const Path& link, std::uint64_t resolve, Parent& parent);

// The name in the directory, mounts on it crossed; `found` is empty if there is none. NO_XDEV is checked.
long look_up(Task& task, const Path& directory, std::string_view name, std::uint64_t resolve, Path& found);

long find_file(Task& task, int fd, std::shared_ptr<OpenFile>& file);  // EBADF
bool is_magic_link(const Dentry* dentry);
long magic_link_target(Task& task, const Dentry* link, Path& target);

}  // namespace rootprep::testing::model
