// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// Every call of every shipped kind of pipeline fails once with every plausible errno, and the process is killed before every call, in
// memory: the error names the call, or a documented other way is taken, and the host is as before.
#include "rootprep/testing/fault_sweep.hpp"

#include "catch.hpp"
#include "rootprep/pipeline.hpp"
#include "rootprep/steps.hpp"
#include "rootprep/testing/interleaving_kernel.hpp"

namespace {

using namespace rootprep;
using namespace rootprep::testing;

FakeKernel with_image(FakeKernel host) {
  for (const char* directory : {"/srv/root/proc", "/srv/root/sys", "/srv/root/dev", "/srv/root/etc", "/srv/root/tmp", "/srv/base/etc",
                                "/srv/base/proc", "/srv/base/dev", "/srv/base/tmp", "/srv/app", "/srv/upper", "/srv/work", "/srv/data"}) {
    host.make_directory(directory);
  }
  host.write_file("/srv/base/etc/os-release", "ID=base\n");
  return host;
}

Pipeline canonical() {
  return {PrepareRoot{.path = "/srv/root"},
          MountSpec::proc(),
          MountSpec::sysfs(),
          DeviceSetup{},
          MountSpec::bind("/srv/data", "/mnt/data").with({.ro = Setting::set}),
          WriteFile{.path = "/etc/hostname", .content = "box\n"},
          MaskPaths{},
          ReadonlyPaths{},
          EnterRoot{},
          RemountReadonly{}};
}
Pipeline overlay(OverlayMount mount) {
  return {PrepareRoot{.path = "/srv/root", .mount = RootMount::none},
          std::move(mount),
          MountSpec::proc(),
          MountSpec::tmpfs("/tmp", {.size = 1 << 20}),
          DeviceSetup{},
          EnterRoot{}};
}

struct Case {
  std::string name;
  Pipeline pipeline;
  KernelFeatures features;
  KernelProfile profile;
  bool user_namespace = false;
};

std::vector<Case> cases() {
  const OverlayMount ephemeral{.lower = {"/srv/app", "/srv/base"}, .ephemeral = EphemeralUpper{}};
  const OverlayMount named{.lower = {"/srv/base"}, .upper = "/srv/upper", .work = "/srv/work"};
  const OverlayMount readonly{.lower = {"/srv/app", "/srv/base"}};
  const auto new_kernel = KernelProfile::linux_6_18();
  const auto old_kernel = KernelProfile::linux_5_4();
  return {
      {"canonical, 6.18", canonical(), KernelFeatures::linux_6_18(), new_kernel},
      {"canonical, 5.4", canonical(), KernelFeatures::linux_5_4(), old_kernel},
      {"overlay with an ephemeral upper, 6.18", overlay(ephemeral), KernelFeatures::linux_6_18(), new_kernel},
      {"overlay with an ephemeral upper, 5.4", overlay(ephemeral), KernelFeatures::linux_5_4(), old_kernel},
      {"overlay with a kept upper", overlay(named), KernelFeatures::linux_6_18(), new_kernel},
      {"overlay without an upper", overlay(readonly), KernelFeatures::linux_6_18(), new_kernel},
      {"overlay in a user namespace", overlay(ephemeral), KernelFeatures::linux_6_18(), new_kernel, true},
  };
}

TEST_CASE("fault sweep: a failed or fatal call is named, and the host is as before") {
  for (const Case& c : cases()) {
    INFO(c.name);
    const auto plan = c.pipeline.compile({.features = c.features, .user_namespace = c.user_namespace, .check_host = false});
    REQUIRE(plan.has_value());
    FakeSweepWorlds worlds;
    worlds.make_host = [&] { return with_image(FakeKernel::debian_host(c.profile)); };
    worlds.may_change = {"/srv/root", "/srv/upper", "/srv/work"};
    worlds.namespaces =
        abi::clone_newns | abi::clone_newpid | abi::clone_newipc | abi::clone_newnet | (c.user_namespace ? abi::clone_newuser : 0);
    const SweepResult sweep = sweep_faults(plan.assume_value(), worlds);
    INFO(sweep.to_text());
    CHECK(sweep.ok());
    CHECK(sweep.calls > 30);
    CHECK(sweep.failures > sweep.calls);
  }
}

// What PrepareRoot is there to prevent: a mount while "/" is still shared with the host.
struct LeakingStep {
  void lower(PlanBuilder& b) const { b.mount("none", "/srv/data", "tmpfs", 0, nullptr); }
  std::string describe() const { return "mount without separating the namespaces"; }
};

TEST_CASE("fault sweep: a mount that reaches the host is found") {
  const auto plan = Pipeline{LeakingStep{}}.compile({.features = KernelFeatures::linux_6_18(), .check_host = false});
  FakeSweepWorlds worlds;
  worlds.make_host = [] { return with_image(FakeKernel::debian_host()); };
  const SweepResult sweep = sweep_faults(plan.value(), worlds);
  REQUIRE_FALSE(sweep.ok());
  CHECK(sweep.findings.front().what.find("+ mount namespace 0: /srv/data tmpfs") != std::string::npos);
}

TEST_CASE("interleaving: whoever swaps a directory of the image for a link to the host, and whenever, nothing happens outside the root") {
  const Pipeline pipeline{PrepareRoot{.path = "/srv/root"},
                          MountSpec::proc(),
                          MountSpec::bind("/srv/data", "/mnt/data"),
                          DeviceSetup{.fresh = false},
                          WriteFile{.path = "/etc/hostname", .content = "box\n"},
                          MakeDirectory{.path = "/etc/app/cache"},
                          EnterRoot{}};
  for (const KernelFeatures& features : {KernelFeatures::linux_6_18(), KernelFeatures::linux_5_4()}) {
    const auto plan = pipeline.compile({.features = features, .check_host = false});
    REQUIRE(plan.has_value());
    for (const char* component : {"/srv/root/etc", "/srv/root/dev", "/srv/root/proc", "/srv/root/mnt"}) {
      for (std::uint64_t n = 1;; ++n) {
        FakeKernel host = with_image(FakeKernel::debian_host());
        host.make_directory("/srv/root/mnt");
        host.make_directory("/canary");
        host.make_symlink("/srv/link", "/canary");
        const Snapshot before = host.snapshot();
        FakeProcess& child = host.clone(abi::clone_newns | abi::clone_newpid);
        InterleavingKernel kernel{
            child, n, [&] {
              const int cwd = abi::at_fdcwd;
              REQUIRE(host.renameat2(cwd, component, cwd, "/srv/link", static_cast<unsigned>(abi::rename_exchange)) == 0);
            }};
        Execution{plan.assume_value(), kernel}.run();
        child.exit();
        CHECK(host.list("/canary").empty());
        const std::string changed = difference(before, host.snapshot());
        INFO("component " << component << ", before call " << n << '\n' << changed);
        CHECK(changed.find("mount namespace 0") == std::string::npos);
        if (!kernel.acted()) break;
      }
    }
  }
}

}  // namespace
