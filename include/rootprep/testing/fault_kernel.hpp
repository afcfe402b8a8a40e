// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "rootprep/kernel.hpp"

namespace rootprep::testing {

// Passes calls on to another kernel, but for those that shall fail.
//
//   rootprep::testing::FaultKernel kernel{fake};
//   kernel.fail_nth("mount", 2, ENOSPC);                  // the second mount(2)
//   kernel.fail_call(17, EPERM);                          // the 17th call of all
//   kernel.fail_when([](const SysCall& c) { ... }, EIO);  // every call like this
//   kernel.kill_at(30);                                   // the process dies before its 30th call
//   rootprep::Execution{plan, kernel}.run();
//   REQUIRE(kernel.fired() == 1);
//
// Calls are counted from 1. A faulty call never reaches the inner kernel. Setting faults allocates; call() does not, if your predicates
// do not, so it works in a cloned child too.
class FaultKernel final : public Kernel {
 public:
  explicit FaultKernel(Kernel& inner) noexcept : inner_(inner) {}

  using Predicate = std::function<bool(const SysCall&)>;
  void fail_call(std::uint64_t n, int error_number);
  void fail_from(std::uint64_t n, int error_number);  // this call and all after it
  void fail_nth(std::string_view system_call, std::uint64_t n, int error_number);
  void fail_all(std::string_view system_call, int error_number);  // a kernel without this call: ENOSYS
  void fail_when(Predicate predicate, int error_number);
  // The process is killed before the n-th call. With linux_kernel() inside it really is (SIGKILL to itself); with another kernel every
  // later call answers -ESRCH and has no effect, and killed() is true.
  void kill_at(std::uint64_t n);

  long call(const SysCall& call) noexcept override;

  std::uint64_t calls() const noexcept { return calls_; }
  std::uint64_t fired() const noexcept { return fired_; }
  const SysCall& last_fault() const noexcept { return last_fault_; }
  bool killed() const noexcept { return killed_; }

 private:
  struct Fault {
    std::uint64_t at = 0;  // of all calls, or of those of `number`; 0: every one
    bool and_after = false;
    bool kill = false;
    long number = -1;        // -1: any
    std::uint64_t seen = 0;  // calls of `number` so far
    Predicate predicate{};
    int error_number = 0;
  };
  bool matches(Fault& fault, const SysCall& call) const;
  void die() noexcept;

  Kernel& inner_;
  std::vector<Fault> faults_{};
  std::uint64_t calls_ = 0;
  std::uint64_t fired_ = 0;
  SysCall last_fault_{};
  bool killed_ = false;
};

}  // namespace rootprep::testing
