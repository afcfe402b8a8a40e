// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// Every call of every shipped pipeline fails once, the process is killed before every call, and somebody else changes the image before
// every call that could notice: in memory. The same on Linux: real_kernel_test.cpp.
#include "rootprep/testing/fault_sweep.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <stdexcept>

#include "catch.hpp"
#include "faults/shipped_pipelines.hpp"
#include "rootprep/steps.hpp"
#include "rootprep/testing/fault_kernel.hpp"
#include "rootprep/testing/interleaving_sweep.hpp"
#include "rootprep/testing/recording_kernel.hpp"
#include "testing/sweep_world.hpp"

namespace {

using namespace rootprep;
using namespace rootprep::testing;

Plan compile(const Pipeline& pipeline) { return pipeline.compile({.features = KernelFeatures::linux_6_18(), .check_host = false}).value(); }

FakeSweepWorlds with_root() {
  FakeSweepWorlds worlds;
  worlds.make_host = [] {
    FakeKernel host = FakeKernel::debian_host();
    shipped::build(host, {"/srv/root/etc/", "/srv/root/proc/", "/srv/data/"});
    return host;
  };
  worlds.may_change = {"/srv/root"};
  return worlds;
}

// --- the shipped pipelines ---

#ifdef ROOTPREP_WITH_EXAMPLES
TEST_CASE("shipped pipelines: every program in examples/ is among them") {
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(ROOTPREP_EXAMPLES_DIR)) {
    std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".cpp") continue;
    files.insert("example " + name.substr(name.find_first_not_of("0123456789_")));
  }
  CHECK(files.size() >= 10);
  std::set<std::string> names;
  for (const shipped::Shipped& shipped : shipped::pipelines()) names.insert(shipped.name);
  for (const std::string& file : files) {
    INFO(file);
    CHECK(names.contains(file));
  }
}
#endif

TEST_CASE("fault sweep: a failed or fatal call is named, and the host is as before, for every shipped pipeline") {
  const auto all = shipped::pipelines();
  for (const shipped::Variant& variant : shipped::variants(all)) {
    INFO(variant.name);
    const SweepResult sweep = sweep_faults(variant.plan, shipped::worlds(variant), {.equal_errors_once = true});
    INFO(sweep.to_text());
    CHECK(sweep.ok());
    CHECK(sweep.failures > sweep.calls);
  }
}

TEST_CASE("fault sweep: with every errno of every call, and on other hosts") {
  const auto all = shipped::pipelines();
  const auto variants = shipped::variants(all);
  REQUIRE(variants.front().name == "canonical, Linux 6.18");
  for (FakeKernel (*make_host)(const KernelProfile&) :
       {FakeKernel::debian_host, FakeKernel::docker_inside_docker, FakeKernel::initramfs_host}) {
    FakeSweepWorlds worlds = shipped::worlds(variants.front());
    worlds.make_host = [&] {
      FakeKernel host = make_host(KernelProfile::linux_6_18());
      shipped::build(host, variants.front().shipped->host);
      return host;
    };
    worlds.may_change.push_back("/var/lib/docker/upper/srv/root");  // the same place, seen from below the overlay
    const bool all_errors = make_host == FakeKernel::debian_host;
    const SweepResult sweep = sweep_faults(variants.front().plan, worlds, {.equal_errors_once = !all_errors});
    INFO(sweep.to_text());
    CHECK(sweep.ok());
    CHECK(sweep.failures > sweep.calls);
  }
}

TEST_CASE("interleaving sweep: whoever changes the image, how and whenever, nothing happens outside the root of any shipped pipeline") {
  const auto all = shipped::pipelines();
  for (const shipped::Variant& variant : shipped::variants(all)) {
    INFO(variant.name);
    const SweepResult sweep = sweep_interleavings(variant.plan, shipped::worlds(variant), variant.shipped->images);
    INFO(sweep.to_text());
    CHECK(sweep.ok());
    CHECK(sweep.runs > 20);
    CHECK(sweep.attacks > sweep.runs * 3 / 4);
  }
}

TEST_CASE("call budget: no shipped pipeline makes more calls than it was given") {
  // With the features of Linux 6.18, and of 5.4. Fewer calls are welcome: then write the new number here.
  const std::map<std::string, std::pair<std::size_t, std::size_t>> budgets{
      {"canonical", {259, 337}},
      {"canonical, rootless", {265, 343}},
      {"the image's own /dev", {149, 153}},
      {"OCI default bundle", {267, 349}},
      {"OCI default bundle, rootless", {260, 0}},
      {"overlay, ephemeral", {133, 128}},
      {"overlay, kept", {120, 116}},
      {"overlay, read-only", {116, 113}},
      {"overlay, rootless", {140, 0}},
      {"example switch_root", {18, 18}},
      {"example overlay", {46, 38}},
      {"example propagation", {68, 64}},
      {"example rescue_shell", {47, 44}},
      {"example your_own_clone", {31, 30}},
      {"example your_own_step", {39, 38}},
      {"example unknown_system_call", {32, 31}},
      {"example your_function_in_the_child", {35, 34}},
      {"example test_without_root", {42, 46}},
      {"example readme", {142, 136}},
      {"rootprep-run, a copy of the system", {171, 169}},
      {"rootprep-run, a copy of the system, rootless", {253, 0}},
      {"rootprep-run --read-only", {172, 174}},
      {"rootprep-run --no-pivot", {186, 184}},
      {"rootprep-run --private-network", {174, 172}},
      {"rootprep-run --image", {136, 133}},
      {"rootprep-run --image --image", {139, 135}},
      {"rootprep-run --image --name", {138, 135}},
      {"rootprep-run --image, rootless", {140, 0}},
      {"rootprep-run --image --no-pivot --read-only", {152, 153}},
      {"rootprep-run --image --bind --tmpfs", {187, 0}},
  };
  const auto all = shipped::pipelines();
  for (const shipped::Variant& variant : shipped::variants(all)) {
    INFO(variant.name);
    const FakeSweepWorlds worlds = shipped::worlds(variant);
    FakeSweepWorld world{worlds};
    std::shared_ptr<const Snapshot> before;
    world.begin(before);
    RecordingKernel kernel{world.kernel()};
    const Report report = Execution{variant.plan, kernel}.run();
    REQUIRE(report.error.domain == Domain::none);
    REQUIRE(budgets.contains(variant.shipped->name));
    const auto& [new_calls, old_calls] = budgets.at(variant.shipped->name);
    const std::size_t changes_of_root = report.entered_by == RootEntry::pivot_root ? 0 : 1;
    CHECK(over_budget(kernel, {.calls = variant.profile.version < 6000 ? old_calls : new_calls,
                               .of = {{"pivot_root", 1}, {"chroot", changes_of_root}}}) == "");
  }
}

// --- that the sweeps and the budget find something ---

// What PrepareRoot is there to prevent: a mount while "/" is still shared with the host.
struct LeakingStep {
  void lower(PlanBuilder& b) const { b.mount("none", "/srv/data", "tmpfs", 0, nullptr); }
  std::string describe() const { return "mount without separating the namespaces"; }
};

TEST_CASE("fault sweep: a mount that reaches the host is found") {
  const SweepResult sweep = sweep_faults(compile({LeakingStep{}}), with_root());
  REQUIRE_FALSE(sweep.ok());
  CHECK(sweep.findings.front().what.find("+ mount namespace 0: /srv/data tmpfs") != std::string::npos);
}

long opens_and_forgets(const ChildContext& context) noexcept {
  return context.kernel.call(
             {find_syscall("openat")->number, {static_cast<std::uint64_t>(context.root), reinterpret_cast<std::uint64_t>("."), 0}}) < 0
             ? -EIO
             : 0;
}
struct StepThatForgets {
  void lower(PlanBuilder& b) const { b.call(opens_and_forgets); }
  std::string describe() const { return "opens a directory and forgets it"; }
};

TEST_CASE("fault sweep: a descriptor that stays open is found") {
  const SweepResult sweep = sweep_faults(compile({PrepareRoot{.path = "/srv/root"}, StepThatForgets{}}), with_root());
  REQUIRE_FALSE(sweep.ok());
  CHECK(sweep.findings.front().what.find("other descriptors are open than before") != std::string::npos);
}

// The classic: looks whether a directory of the image is one, and then uses its name.
struct CheckThenUse {
  void lower(PlanBuilder& b) const {
    Fd checked = b.openat(b.root(), "etc", abi::o_path | abi::o_nofollow | abi::o_directory | abi::o_cloexec);
    b.close(checked);
    b.mkdirat(b.root(), "etc/app", 0755).allow({EEXIST});
  }
  std::string describe() const { return "check a name, then use it"; }
};

TEST_CASE("interleaving sweep: what is checked by name and then used by name is found, and only in that window") {
  const SweepResult sweep = sweep_interleavings(compile({PrepareRoot{.path = "/srv/root"}, CheckThenUse{}}), with_root());
  INFO(sweep.to_text());
  REQUIRE_FALSE(sweep.ok());
  for (const SweepFinding& finding : sweep.findings) {
    CHECK(finding.system_call == "mkdirat");
    CHECK(finding.attack.starts_with("etc: exchanged with a link to "));
    CHECK(finding.what.find("/srv/root.canary/empty/app") != std::string::npos);
  }
}

TEST_CASE("interleaving sweep: attacks of one's own") {
  const Plan plan = compile({PrepareRoot{.path = "/srv/root"}, MountSpec::proc(), EnterRoot{}});
  const FakeSweepWorlds worlds = with_root();
  std::shared_ptr<const Snapshot> before;
  const auto make_world = [&]() -> std::unique_ptr<RaceWorld> {
    auto world = std::make_unique<FakeSweepWorld>(worlds);
    world->begin(before);
    return world;
  };
  std::size_t acted = 0;
  Attack nothing;
  nothing.name = "looks on";
  nothing.act = [&](Kernel&) { return ++acted > 0; };
  nothing.undo = [](Kernel&) {};
  const SweepResult sweep = sweep_interleavings(plan, make_world, {nothing});
  CHECK(sweep.ok());
  CHECK(acted == 2 * sweep.calls);  // a path is not given: before each call, for good and undone
  CHECK(sweep.attacks == acted);
}

TEST_CASE("call budget: says which limit was passed, by which call, and what was called") {
  auto host = FakeKernel::debian_host();
  RecordingKernel kernel{host};
  const auto make = [&](const char* path) {
    (void)kernel.call(
        {find_syscall("mkdirat")->number, {static_cast<std::uint64_t>(abi::at_fdcwd), reinterpret_cast<std::uint64_t>(path), 0755}});
  };
  make("/a");
  (void)kernel.call({find_syscall("umask")->number, {0}});
  make("/b");
  make("/a");
  CHECK(over_budget(kernel, {}) == "");
  CHECK(over_budget(kernel, {.calls = 4, .of = {{"mkdirat", 3}, {"mount", 0}}}) == "");
  CHECK(over_budget(kernel, {.calls = 3, .of = {{"mkdirat", 1}, {"umask", 0}}}) ==
        "4 calls, 3 allowed; the first too many is call 4: mkdirat(-100, \"/a\", 493) = -17\n"
        "3 of mkdirat, 1 allowed; the first too many is call 3: mkdirat(-100, \"/b\", 493) = 0\n"
        "1 of umask, 0 allowed; the first too many is call 2: umask(0) = 18\n"
        "made: 3 mkdirat, 1 umask\n");
  CHECK_THROWS_AS(over_budget(kernel, {.of = {{"no_such_call", 1}}}), std::invalid_argument);
}

}  // namespace
