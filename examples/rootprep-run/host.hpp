// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rootprep_run {

// One mount of the running system that can be reached by its path.
struct HostMount {
  std::string path{};
  std::string type{};  // "ext4"
  bool read_only = false;
  bool directory = true;
};

// The visible mounts in the lines of /proc/self/mountinfo, sorted by path, "/" first. Of mounts on one path only the topmost is visible.
std::vector<HostMount> parse_mountinfo(std::string_view text);

// The same for the running process, and without those that a later mount hides. Throws Complaint.
std::vector<HostMount> host_mounts();

// Is `path` the directory itself or below it?
bool is_at_or_below(std::string_view path, std::string_view directory) noexcept;

// What is directly below "/".
struct TopLevelEntry {
  std::string name{};
  std::string link_target{};  // of a symbolic link
  bool directory = false;
};
std::vector<TopLevelEntry> top_level_entries();

// May this process mount in the user namespace of the system itself? Otherwise a user namespace of its own is needed.
bool is_privileged();

// Throws Complaint with the reason if this process cannot make a user namespace and mount in it. Tries it, in a child.
void require_user_namespaces();

}  // namespace rootprep_run
