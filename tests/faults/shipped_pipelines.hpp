// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <string>
#include <vector>

#include "rootprep/kernel.hpp"
#include "rootprep/pipeline.hpp"
#include "rootprep/testing/fault_sweep.hpp"

// Every pipeline that this project ships, as it is shipped: those of the examples and of rootprep-run are made by their own code.
namespace shipped {

struct Shipped {
  std::string name{};
  rootprep::Pipeline pipeline{};
  std::vector<std::string> host{};        // what it needs there: see build()
  std::vector<std::string> may_change{};  // where a run may leave what it has made
  std::vector<std::string> images{};      // whose files an attacker can change while it runs
  bool of_the_library = false;            // not of an example or of rootprep-run
  bool user_namespace = false;
  bool network = false;     // needs a network namespace of its own: it mounts sysfs in a user namespace, or configures a device
  bool old_kernels = true;  // also with the features of Linux 5.4
};
std::vector<Shipped> pipelines();

// A shipped pipeline as a plan for one kernel.
struct Variant {
  std::string name{};
  rootprep::Plan plan{};
  rootprep::testing::KernelProfile profile{};
  const Shipped* shipped = nullptr;
};
std::vector<Variant> variants(const std::vector<Shipped>& all);

// Hosts in memory for it.
rootprep::testing::FakeSweepWorlds worlds(const Variant& variant);
// Which namespaces it needs. Always one of cgroups: a cgroup2 that is mounted in the host's gives the host its own mount options.
std::uint64_t namespaces(const Shipped& shipped);

// "/a/directory/", "/a/file=content", "/a/link -> target", "/a/mount: tmpfs", "/a/mount: shared tmpfs"; with missing parents. Everything
// belongs to `owner`. Throws std::system_error.
void build(rootprep::Kernel& kernel, const std::vector<std::string>& entries, unsigned owner = 0);

}  // namespace shipped
