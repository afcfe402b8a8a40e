// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <rootprep/execution.hpp>
#include <rootprep/pipeline.hpp>
#include <rootprep/steps.hpp>
#include <rootprep/testing/fake_kernel.hpp>
#include <rootprep/testing/fault_sweep.hpp>
#include <rootprep/testing/interleaving_sweep.hpp>
#include <rootprep/testing/recording_kernel.hpp>

TEST_CASE("whatever fails in my container, the error names it and the host is as before") {
  using namespace rootprep;
  const Pipeline pipeline{PrepareRoot{.path = "/srv/root"}, MountSpec::proc(), EnterRoot{}};
  const Plan plan = pipeline.compile({.features = KernelFeatures::linux_6_18(), .check_host = false}).value();
  testing::FakeSweepWorlds worlds;
  worlds.make_host = [] {
    auto host = testing::FakeKernel::debian_host();
    host.make_directory("/srv/root/proc");
    return host;
  };
  worlds.may_change = {"/srv/root"};
  const testing::SweepResult sweep = testing::sweep_faults(plan, worlds);
  INFO(sweep.to_text());
  CHECK(sweep.ok());
  CHECK(testing::sweep_interleavings(plan, worlds).ok());

  auto host = worlds.make_host();
  testing::RecordingKernel kernel{host.clone(abi::clone_newns | abi::clone_newpid)};
  REQUIRE(Execution{plan, kernel}.run().error.domain == Domain::none);
  CHECK(testing::over_budget(kernel, {.calls = 31, .of = {{"pivot_root", 1}, {"chroot", 0}}}) == "");
}
