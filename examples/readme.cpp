// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
//
// The example of README.md, whole. Run as root, with its four directories made, it prints the plan and starts a shell in the new root.
#include <iostream>
#include <rootprep/launch.hpp>
#include <rootprep/pipeline.hpp>
#include <rootprep/print.hpp>
#include <rootprep/steps.hpp>

#include "pipelines.hpp"

using namespace rootprep;

// clang-format off
Pipeline example::readme() {
  // README begins
  const Pipeline pipeline{
      PrepareRoot{.path = "/var/lib/box/root"},
      OverlayMount{.lower = {"/srv/base"}, .upper = "/var/lib/box/upper", .work = "/var/lib/box/work"},
      MountSpec::proc(), MountSpec::tmpfs("/tmp", {.size = 64 << 20}), DeviceSetup{},
      EnterRoot{}, RemountReadonly{},
  };
  // README ends
  return pipeline;
}

int main() {
  const Pipeline pipeline = example::readme();
  // README begins
  const Plan plan = pipeline.compile().value();  // value() throws; a result<Plan> can also be asked
  std::cout << to_text(plan);                    // read it before it runs
  Child child = launch(plan, {.namespaces = Namespace::mount | Namespace::pid, .exec = {"/bin/sh"}}).value();
  return child.wait().value().shell_code();
  // README ends
}
// clang-format on
