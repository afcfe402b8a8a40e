// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/execution.hpp"

#include <algorithm>

#include "launch/connect_frame.hpp"

namespace rootprep {

Execution::Execution(const Plan& plan, Kernel& kernel) : frame_(std::make_unique<child::Frame>()) {
  connect_frame(*frame_, plan, kernel, slots_, scratch_);
}
Execution::~Execution() = default;

const Report& Execution::run() & noexcept {
  child::execute(*frame_);
  return frame_->report;
}
Report Execution::run() && noexcept {
  child::execute(*frame_);
  return frame_->report;
}
const Report& Execution::report() const noexcept { return frame_->report; }

std::vector<Deviation> deviations(const Plan& plan, const Report& report) {
  std::vector<Deviation> result;
  const std::size_t known = std::min<std::size_t>(report.event_count, std::size(report.events));
  for (std::size_t i = 0; i < known; ++i) {
    const Event& event = report.events[i];
    if (event.operation >= plan.operations().size()) continue;
    const Operation& operation = plan.operations()[event.operation];
    result.push_back({event.operation, operation.step, event.error_number, std::string{plan.string_at(operation.note)}});
  }
  return result;
}

result<void> prepare_here(const Plan& plan, Report* report) {
  Execution execution{plan};
  const Report& done = execution.run();
  if (report != nullptr) *report = done;
  if (done.error.domain != Domain::none) return done.error;
  return outcome::success();
}

}  // namespace rootprep
