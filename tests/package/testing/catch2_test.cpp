// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_test_macros.hpp>
#else
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
#include <rootprep/execution.hpp>
#include <rootprep/pipeline.hpp>
#include <rootprep/steps.hpp>
#include <rootprep/testing/fake_kernel.hpp>

TEST_CASE("my container has a private /tmp, and the host sees nothing of it") {
  using namespace rootprep;
  auto host = testing::FakeKernel::debian_host();
  host.make_directory("/srv/root/tmp");
  const testing::Snapshot before = host.snapshot();
  const Pipeline pipeline{PrepareRoot{.path = "/srv/root"}, MountSpec::tmpfs("/tmp", {.size = 1 << 20}), EnterRoot{}};
  const Plan plan = pipeline.compile({.features = KernelFeatures::linux_6_18(), .check_host = false}).value();

  testing::FakeProcess& child = host.clone(abi::clone_newns);
  REQUIRE(Execution{plan, child}.run().error.domain == Domain::none);
  CHECK(child.mount_table().find("/tmp tmpfs tmpfs rw,nosuid,nodev,relatime") != std::string::npos);
  child.exit();
  CHECK(difference(before, host.snapshot()).empty());
}
