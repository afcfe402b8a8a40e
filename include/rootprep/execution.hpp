// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rootprep/error.hpp"
#include "rootprep/export.hpp"
#include "rootprep/kernel.hpp"
#include "rootprep/plan.hpp"

namespace rootprep {

namespace child {
struct Frame;
}

// A plan about to run: the plan, a kernel and the memory that running needs, all made before clone().
//
//   rootprep::Execution execution{plan};            // in the parent; allocates
//   if (my_clone() == 0) {
//     const rootprep::Report& report = execution.run();   // in the child; does not allocate
//     write(report_pipe, &report, sizeof report);
//     ...
//   }
//
// The plan and the kernel must outlive it. One run at a time; run() may be called again.
class ROOTPREP_EXPORT Execution {
 public:
  explicit Execution(const Plan& plan, Kernel& kernel = linux_kernel());
  ~Execution();
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  // Runs the plan. For the child side: no allocation, locks, errno or exceptions (as far as the kernel given keeps to that), also in a
  // child that shares the parent's memory. The umask is 0 while it runs and the caller's again afterwards. On an error it stops at the
  // failed operation; descriptors that the plan had opened by then are closed.
  const Report& run() & noexcept;
  Report run() && noexcept;  // of a temporary, whose own report is about to go
  const Report& report() const noexcept;

 private:
  std::unique_ptr<child::Frame> frame_;
  std::vector<int> slots_{};
  std::vector<char> scratch_{};
};

// What a run did that the reader of the plan could not know: an optional step that was skipped, an alternative that was taken.
struct Deviation {
  std::uint32_t operation = no_operation;
  std::uint16_t step = no_step;
  int error_number = 0;
  std::string note{};  // "skipped", "entered by moving the root", ...
  bool operator==(const Deviation&) const = default;
};
ROOTPREP_EXPORT std::vector<Deviation> deviations(const Plan& plan, const Report& report);

// Runs a plan in the calling process and namespaces: for a program that is already in a mount namespace of its own. Nothing is undone on
// failure: the caller exits, and the kernel removes the namespace. `report`, if given, gets the whole report.
ROOTPREP_EXPORT result<void> prepare_here(const Plan& plan, Report* report = nullptr);

}  // namespace rootprep
