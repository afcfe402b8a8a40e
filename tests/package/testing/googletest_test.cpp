// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <gtest/gtest.h>

#include <rootprep/execution.hpp>
#include <rootprep/pipeline.hpp>
#include <rootprep/steps.hpp>
#include <rootprep/testing/fake_kernel.hpp>

// Not `using namespace rootprep`: GoogleTest has a namespace `testing` too, and brings <cxxabi.h> with its `abi`.
namespace rp = rootprep;

TEST(MyContainer, EntersItsRootOnAnInitramfsByMovingIt) {
  auto host = rp::testing::FakeKernel::initramfs_host();
  host.make_directory("/srv/root");
  const rp::Pipeline pipeline{rp::PrepareRoot{.path = "/srv/root"}, rp::EnterRoot{}};
  const rp::Plan plan = pipeline.compile({.features = rp::KernelFeatures::linux_6_18(), .check_host = false}).value();

  rp::testing::FakeProcess& child = host.clone(rp::abi::clone_newns);
  const rp::Report report = rp::Execution{plan, child}.run();
  EXPECT_EQ(report.error.domain, rp::Domain::none) << host.last_rule();
  EXPECT_EQ(report.entered_by, rp::RootEntry::move_root);
  EXPECT_EQ(rp::deviations(plan, report).size(), 1U);
}
