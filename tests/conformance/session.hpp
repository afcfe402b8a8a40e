// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "operations.hpp"
#include "rootprep/testing/fake_kernel.hpp"

namespace rootprep::conformance {

// What a sequence of operations did: the result of each, and the mounts of every namespace at the end, namespace 0 first.
struct Outcome {
  std::vector<long> results{};
  std::vector<std::string> rules{};                // the model's, one an operation; empty from a real kernel
  std::map<std::string, std::string> mountinfo{};  // by namespace
  // With `each`: the tables after every operation, as text with renumbered groups.
  std::vector<std::string> states{};
  std::string trouble{};  // why it could not be run at all
};

struct RunOptions {
  bool each = false;      // record the state after every operation
  bool absolute = false;  // states by absolute path
  bool stop_at_failure = false;
};

// Runs sequences, each in a new small world.
class Runner {
 public:
  Runner() = default;
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  virtual ~Runner() = default;
  virtual Outcome run(const std::vector<Operation>& operations, const RunOptions& options) = 0;
};

// "6.1", or any other version: each quirk and call knows since when it is there.
std::optional<testing::KernelProfile> profile_named(const std::string& version);

// `without`: system calls that answer -ENOSYS.
std::unique_ptr<Runner> fake_runner(const testing::KernelProfile& profile, bool user_namespace,
                                    const std::vector<std::string>& without = {});
// The running kernel. In a private mount namespace, in a process of its own; with `user_namespace` in a new user namespace too, and
// then no privilege is needed. nullptr, and the reason, where that is not possible.
std::unique_ptr<Runner> linux_runner(bool user_namespace, std::string& reason, const std::vector<std::string>& without = {});

std::string state_of(const std::map<std::string, std::string>& mountinfo, bool absolute);

}  // namespace rootprep::conformance
