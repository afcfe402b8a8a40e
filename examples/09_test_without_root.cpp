// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors

// A unit test of your own pipeline, without root and without a mount: the same plan runs against a kernel in memory. It prints:
//
//   ok:     the plan runs
//   ok:     the root is entered by pivot_root
//   ok:     chroot is never called
//   the mounts in the container:
//   / ext4 /dev/vda1[/srv/box] ro,relatime
//   /proc proc proc rw,nosuid,nodev,noexec,relatime
//   /tmp tmpfs tmpfs rw,nosuid,nodev,relatime
//   ok:     the host is as before
//   ok:     on an initramfs the root is entered by moving it
#include <sched.h>

#include <iostream>

#include "pipelines.hpp"
#include "rootprep/execution.hpp"
#include "rootprep/explain.hpp"
#include "rootprep/pipeline.hpp"
#include "rootprep/steps.hpp"
#include "rootprep/testing/fake_kernel.hpp"
#include "rootprep/testing/recording_kernel.hpp"

using namespace rootprep;

namespace {

int failures = 0;
void check(bool holds, const char* what) {
  std::cout << (holds ? "ok:     " : "FAILED: ") << what << '\n';
  failures += holds ? 0 : 1;
}

}  // namespace

// What is to be tested.
Pipeline example::test_without_root() {
  return {PrepareRoot{.path = "/srv/box"}, MountSpec::proc(), MountSpec::tmpfs("/tmp", {.size = 1 << 20}), EnterRoot{}, RemountReadonly{}};
}

int main() {
  // A machine such as systemd makes it, everything shared; it exists nowhere but here.
  testing::FakeKernel host = testing::FakeKernel::debian_host();
  for (const char* directory : {"/srv/box/proc", "/srv/box/tmp"}) host.make_directory(directory);
  const testing::Snapshot before = host.snapshot();

  // check_host = false: compile() must not look for /srv/box on the real machine.
  CompileOptions options;
  options.features = KernelFeatures::linux_6_18();
  options.check_host = false;
  const Plan plan = example::test_without_root().compile(options).value();

  testing::FakeProcess& child = host.clone(CLONE_NEWNS | CLONE_NEWPID);
  testing::RecordingKernel recorder{child};
  Execution execution{plan, recorder};
  const Report& report = execution.run();
  if (report.error.domain != Domain::none) std::cout << explain(report.error, plan, &report);

  check(report.error.domain == Domain::none, "the plan runs");
  check(report.entered_by == RootEntry::pivot_root, "the root is entered by pivot_root");
  check(recorder.count("chroot") == 0, "chroot is never called");
  std::cout << "the mounts in the container:\n" << child.mount_table();
  child.exit();
  check(testing::difference(before, host.snapshot()).empty(), "the host is as before");

  // The same where pivot_root cannot work.
  testing::FakeKernel initramfs = testing::FakeKernel::initramfs_host();
  for (const char* directory : {"/srv/box/proc", "/srv/box/tmp"}) initramfs.make_directory(directory);
  Execution there{plan, initramfs.clone(CLONE_NEWNS | CLONE_NEWPID)};
  check(there.run().entered_by == RootEntry::move_root, "on an initramfs the root is entered by moving it");
  return failures == 0 ? 0 : 1;
}
