// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rootprep/execution.hpp"
#include "rootprep/kernel.hpp"
#include "rootprep/plan.hpp"
#include "rootprep/testing/fake_kernel.hpp"

namespace rootprep::testing {

// A place where a plan can run once: a kernel, and a judge of what a run has left where it must leave nothing.
class SweepWorld {
 public:
  SweepWorld() = default;
  SweepWorld(const SweepWorld&) = delete;
  SweepWorld& operator=(const SweepWorld&) = delete;
  virtual ~SweepWorld() = default;

  virtual Kernel& kernel() = 0;
  // What the process that runs the plan has open: the same before and after a run, unless it was killed.
  virtual std::vector<int> descriptors() { return {}; }
  // After the process has ended: empty if the host is as before, else what differs.
  virtual std::string left_behind() = 0;
};

struct SweepOptions {
  // Every call fails with each of these that is plausible for it; empty: all that plausible_errors() lists.
  std::vector<int> error_numbers{};
  bool kill_too = true;  // also: the process is killed before each call
  // Of the errnos that an operation does not tell apart, only one, another one at each call: three times faster. An operation tells those
  // apart that it allows or has another way for; a composite and a function of yours, all.
  bool equal_errors_once = false;
};

struct SweepFinding {
  std::uint64_t call = 0;  // counted from 1
  std::string system_call{};
  int error_number = 0;  // 0: killed there
  std::string attack{};  // of sweep_interleavings()
  std::string what{};    // what is wrong: a swallowed error, a wrong operation, something left behind
};

struct SweepResult {
  std::uint64_t runs = 0;
  std::uint64_t calls = 0;      // of the plan, when nothing fails
  std::uint64_t fallbacks = 0;  // runs that took a documented other way
  std::uint64_t failures = 0;   // runs that ended with an error
  std::uint64_t attacks = 0;    // of sweep_interleavings(): those that had an effect
  std::vector<SweepFinding> findings{};
  bool ok() const noexcept { return findings.empty(); }
  std::string to_text() const;
};

// What a call may answer on a bad day: errno(3) sections of its man page, as far as mount code meets them.
std::vector<int> plausible_errors(std::string_view system_call);

// Worlds in memory: each run gets a fresh host, the same each time, and a child of it with namespaces of its own.
struct FakeSweepWorlds {
  std::function<FakeKernel()> make_host = [] { return FakeKernel::debian_host(); };
  std::uint64_t namespaces = abi::clone_newns;
  std::vector<std::string> may_change{};  // directories of the host, such as the image, where a run may leave what it has made
  // Calls of your own that FakeKernel does not model: your answer, or nothing to let it answer.
  std::function<std::optional<long>(FakeProcess& child, const SysCall& call)> own_calls{};
};

// Runs the plan once for every call and every plausible errno, each time in a fresh world.
//
//   auto result = rootprep::testing::sweep_faults(plan, [] { return std::make_unique<MyWorld>(); });
//   INFO(result.to_text());
//   REQUIRE(result.ok());
//
// A run is right if it ends with an error that names the operation whose call failed, and its errno, or goes another way that the
// operation documents (allow, otherwise, a bounded retry) and reports it; if the same descriptors are open as before; and if nothing is
// left behind on the host, in all cases. Without a fault the plan must succeed.
SweepResult sweep_faults(const Plan& plan, const std::function<std::unique_ptr<SweepWorld>()>& make_world,
                         const SweepOptions& options = {});

// The same in memory:
//
//   REQUIRE(sweep_faults(plan, FakeSweepWorlds{.make_host = my_host, .may_change = {"/srv/root"}}).ok());
SweepResult sweep_faults(const Plan& plan, const FakeSweepWorlds& worlds, const SweepOptions& options = {});

}  // namespace rootprep::testing
