// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <iostream>
#include <rootprep/execution.hpp>
#include <rootprep/pipeline.hpp>
#include <rootprep/print.hpp>
#include <rootprep/steps.hpp>

struct Nothing final : rootprep::TypedKernel {};  // answers every call with -ENOSYS

int main() {
  const rootprep::Pipeline pipeline{rootprep::PrepareRoot{.path = "/"}, rootprep::MountSpec::proc()};
  const rootprep::Plan plan = pipeline.compile({.features = rootprep::KernelFeatures::linux_6_18(), .check_host = false}).value();
  Nothing nothing;
  const rootprep::Report report = rootprep::Execution{plan, nothing}.run();
  std::cout << rootprep::to_text(plan);
  return report.error.is_errno(ENOSYS) && report.error.operation == 0 ? 0 : 1;
}
