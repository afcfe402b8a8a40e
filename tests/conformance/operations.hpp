// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <map>
#include <string>
#include <vector>

#include "rootprep/kernel.hpp"

// The operations of a scenario, done through a rootprep::Kernel: the same code drives the kernel in memory and the real one.
// README.md of this folder describes the form.
namespace rootprep::conformance {

using Operation = std::vector<std::string>;  // a name and its arguments: {"bind", "A", "B"}

// Makes the little world that every scenario starts in: '/' is a read-only tmpfs "kxroot", /proc is procfs, /s is the tmpfs "S".
// 0 or -errno. `kernel` must be in a mount namespace of its own, where it may mount; the directory `place` is for its use.
long prepare_world(Kernel& kernel, const std::string& place);

// The system calls younger than Linux 5.1 that the operation makes; empty: none.
std::vector<std::string> young_calls_of(const Operation& operation);

// One process that does operations: the main one, or the helper that stays in namespace 0.
class Actor {
 public:
  explicit Actor(Kernel& kernel) : kernel_(&kernel) {}
  // The same process state, from now on through another door: a child with copies of all descriptors goes on.
  void continue_as(Kernel& kernel) { kernel_ = &kernel; }
  // Opens what later operations need whatever becomes of the root: /proc, and the file of namespace 0.
  long start();
  // What the system call of the operation returned: >= 0 is success. -ENOSYS also for an operation that does not exist.
  long run(const Operation& operation);
  bool known(const Operation& operation) const;

  // Another process's mount namespace, by number.
  long register_namespace(const std::string& name, int pid);
  int namespace_descriptor(const std::string& name) const;
  const std::string& current_namespace() const { return current_; }
  std::string read_mountinfo();  // of this process
  long enter(int descriptor);    // setns(2)

 private:
  long open_at(int directory, const std::string& path, std::uint64_t flags);
  long take(const std::string& slot, long descriptor);
  int slot(const std::string& name) const;
  long run_raw(const Operation& operation);

  Kernel* kernel_;
  std::map<std::string, int> slots_{};
  std::map<std::string, int> namespaces_{};
  std::string current_ = "0";
  int proc_ = -1;
  int mounts_ = 0;
};

// The mounts of one namespace as rows, and all of them as comparable text.
struct Row {
  std::string mountpoint{}, source{}, propagation{}, flags{};
  int parent = -1;
  bool operator==(const Row&) const = default;
};
using Table = std::vector<Row>;
// From mountinfo. `absolute`: every mount, by absolute path; otherwise those at and below /s, relative to it. The groups are renumbered
// in order of appearance over all tables that share `numbers`.
Table table_from(const std::string& mountinfo, bool absolute, std::map<std::string, int>& numbers);
std::string to_text(const Table& table);

}  // namespace rootprep::conformance
