// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// The kernel in memory: a whole container, and how it grows with the number of mounts. Each size costs in proportion, not its square.
#include <benchmark/benchmark.h>

#include <string>

#include "canonical.hpp"
#include "rootprep/execution.hpp"
#include "rootprep/testing/fake_kernel.hpp"

namespace {

using namespace rootprep;

void fake_canonical(benchmark::State& state) {
  const Plan plan = bench::canonical_pipeline("/srv/root").compile({.features = KernelFeatures::linux_6_18(), .check_host = false}).value();
  for (auto _ : state) {
    state.PauseTiming();
    auto host = testing::FakeKernel::debian_host();
    for (const char* below : {"proc", "sys", "dev", "etc", "tmp"}) host.make_directory(std::string("/srv/root/") + below);
    testing::FakeProcess& child = host.clone(abi::clone_newns | abi::clone_newpid | abi::clone_newuts | abi::clone_newipc);
    state.ResumeTiming();
    if (Execution{plan, child}.run().error.domain != Domain::none) state.SkipWithError("the plan fails");
  }
}
BENCHMARK(fake_canonical)->Name("fake/canonical")->Unit(benchmark::kMicrosecond);

void mount_many(testing::FakeKernel& kernel, benchmark::State& state) {
  for (int i = 0; i < state.range(0); ++i) {
    const std::string target = "/many/" + std::to_string(i);
    kernel.mkdirat(abi::at_fdcwd, target.c_str(), 0755);
    if (kernel.mount("none", target.c_str(), "tmpfs", 0, nullptr) != 0) state.SkipWithError("a mount fails");
  }
}

void fake_mounts(benchmark::State& state) {
  for (auto _ : state) {
    testing::FakeKernel kernel;
    kernel.set_mount_max(1'000'000).make_directory("/many");
    mount_many(kernel, state);
  }
  state.SetComplexityN(state.range(0));
}
BENCHMARK(fake_mounts)->Name("fake/mounts")->Arg(1000)->Arg(10'000)->Arg(100'000)->Complexity()->Unit(benchmark::kMillisecond);

// A new namespace with a copy of all, and the umount of all of it.
void fake_namespace(benchmark::State& state) {
  testing::FakeKernel kernel;
  kernel.set_mount_max(1'000'000).make_directory("/many");
  mount_many(kernel, state);
  for (auto _ : state) {
    testing::FakeProcess& child = kernel.clone(abi::clone_newns);
    child.mount("none", "/", nullptr, abi::ms_rec | abi::ms_private, nullptr);
    child.exit();
  }
  state.SetComplexityN(state.range(0));
}
BENCHMARK(fake_namespace)
    ->Name("fake/namespace")
    ->Arg(1000)
    ->Arg(10'000)
    ->Arg(100'000)
    ->Complexity()
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

void fake_mountinfo(benchmark::State& state) {
  testing::FakeKernel kernel;
  kernel.set_mount_max(1'000'000).make_directory("/many");
  mount_many(kernel, state);
  for (auto _ : state) benchmark::DoNotOptimize(kernel.mountinfo());
  state.SetComplexityN(state.range(0));
}
BENCHMARK(fake_mountinfo)->Name("fake/mountinfo")->Arg(1000)->Arg(10'000)->Arg(100'000)->Complexity()->Unit(benchmark::kMillisecond);

}  // namespace
