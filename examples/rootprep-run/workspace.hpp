// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <string>
#include <vector>

namespace rootprep_run {

// Where one overlay keeps what changes.
struct LayerDirectories {
  std::string upper{};
  std::string work{};
};

// The directories that a container has outside its mount namespace, which the kernel does not remove by itself.
//
//   DIR/NAME/        a named container: locked (flock(2)) while it runs, so that it runs once
//     root/          empty; the new root is mounted on it, in the mount namespace of the container only
//     layers/L/upper, layers/L/work    what has changed, for each overlay
//     image          the layers below it, one a line: a writable layer fits no others
//     remove         there if the last run was to remove it (--rm) and was killed before it could
//   DIR/box-XXXXXX/  a container without a name: only the place to mount on, empty, locked, removed at the end
//
// A resource: owns directories and a lock. What a killed run has left is removed by the next one: its lock is gone with it.
class Workspace {
 public:
  // Throws Complaint.
  static Workspace named(const std::string& state, const std::string& name, const std::vector<std::string>& images, bool remove_afterwards);
  static Workspace unnamed(const std::string& directory);
  Workspace(Workspace&& other) noexcept;
  Workspace& operator=(Workspace&&) = delete;
  ~Workspace();

  // An empty directory.
  std::string root() const { return named_ ? path_ + "/root" : path_; }
  // Makes what an overlay called `layer` needs. A new upper directory gets the mode and the owner of `top`, the topmost layer below it:
  // overlayfs takes those of the tree's root from there. Throws Complaint.
  LayerDirectories layer(const std::string& layer, const std::string& top) const;
  // The container has started: a new name is a name from now on.
  void keep() noexcept { discard_ = remove_; }

 private:
  Workspace() = default;
  std::string base_{};  // that holds path_
  std::string path_{};
  int lock_ = -1;
  bool named_ = false;
  bool remove_ = false;
  bool discard_ = true;
  bool made_base_ = false;
};

// For names: /var/lib/rootprep for the privileged; else $XDG_STATE_HOME/rootprep or ~/.local/state/rootprep. Throws Complaint.
std::string default_state_directory(bool privileged);

// For containers without a name: /run/rootprep for the privileged; else $XDG_RUNTIME_DIR/rootprep or /tmp/rootprep-UID.
std::string default_run_directory(bool privileged);

// Throws Complaint if overlayfs would refuse an upper directory at `path` (which need not exist), or if it cannot be made.
void require_fit_for_upper(const std::string& path);

}  // namespace rootprep_run
