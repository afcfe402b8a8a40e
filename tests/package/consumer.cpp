// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <iostream>
#include <rootprep/execution.hpp>
#include <rootprep/pipeline.hpp>
#include <rootprep/steps.hpp>
#include <rootprep/testing/fault_kernel.hpp>

struct Nothing final : rootprep::TypedKernel {};  // answers every call with -ENOSYS

int main() {
  const rootprep::Pipeline pipeline{rootprep::PrepareRoot{.path = "/"}, rootprep::MountSpec::proc()};
  const rootprep::Plan plan = pipeline.compile({.features = rootprep::KernelFeatures::linux_6_18(), .check_host = false}).value();
  Nothing nothing;
  rootprep::testing::FaultKernel kernel{nothing};
  kernel.fail_call(1, EPERM);
  rootprep::Execution{plan, kernel}.run();
  std::cout << plan.operations().size() << " operations, " << kernel.fired() << " fault\n";
  return kernel.fired() == 1 ? 0 : 1;
}
