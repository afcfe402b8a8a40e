// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// launch(): clone to exit of the canonical container, beside the floor; and the same from parents of different sizes.
#include <benchmark/benchmark.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "canonical.hpp"
#include "floor.hpp"
#include "rootprep/launch.hpp"

namespace {

using rootprep::Namespace;

rootprep::LaunchOptions canonical_options() {
  rootprep::LaunchOptions options;
  options.namespaces = Namespace::mount | Namespace::pid | Namespace::uts | Namespace::ipc;
  options.exec = {"/bin/true"};
  return options;
}

bool launch_once(const rootprep::Plan& plan, const rootprep::LaunchOptions& options) {
  rootprep::result<rootprep::Child> child = rootprep::launch(plan, options);
  if (!child) return false;
  auto status = child.assume_value().wait();
  return status && status.assume_value().success();
}

void floor(benchmark::State& state) {
  for (auto _ : state) {
    if (bench::run_floor(bench::image().c_str()) != 0) state.SkipWithError("the floor failed");
  }
}
BENCHMARK(floor)->Name("launch/floor")->Unit(benchmark::kMicrosecond)->UseRealTime();

void launch_compiled(benchmark::State& state) {
  const auto plan = bench::canonical_pipeline(bench::image()).compile();
  for (auto _ : state) {
    if (!launch_once(plan.value(), canonical_options())) state.SkipWithError("launch failed");
  }
}
BENCHMARK(launch_compiled)->Name("launch/rootprep")->Unit(benchmark::kMicrosecond)->UseRealTime();

void launch_with_compile(benchmark::State& state) {
  for (auto _ : state) {
    const auto plan = bench::canonical_pipeline(bench::image()).compile();
    if (!launch_once(plan.value(), canonical_options())) state.SkipWithError("launch failed");
  }
}
BENCHMARK(launch_with_compile)->Name("launch/rootprep_and_compile")->Unit(benchmark::kMicrosecond)->UseRealTime();

// Memory that is really there, so that fork(2) has page tables to copy.
class Ballast {
 public:
  explicit Ballast(std::size_t bytes)
      : size_(bytes), memory_(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ != MAP_FAILED) std::memset(memory_, 1, size_);
  }
  Ballast(const Ballast&) = delete;
  Ballast& operator=(const Ballast&) = delete;
  ~Ballast() { ::munmap(memory_, size_); }

 private:
  std::size_t size_;
  void* memory_;
};

void parent_memory(benchmark::State& state, bool fork_mode) {
  const Ballast ballast{static_cast<std::size_t>(state.range(0)) << 20U};
  const auto plan = bench::canonical_pipeline(bench::image()).compile();
  rootprep::LaunchOptions options = canonical_options();
  options.clone_mode = fork_mode ? rootprep::CloneMode::fork : rootprep::CloneMode::share_memory;
  for (auto _ : state) {
    if (!launch_once(plan.value(), options)) state.SkipWithError("launch failed");
  }
}
void shared_memory(benchmark::State& state) { parent_memory(state, false); }
void forked(benchmark::State& state) { parent_memory(state, true); }
BENCHMARK(shared_memory)->Name("parent_of_MiB/clone_vm")->Arg(10)->Arg(4096)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(forked)->Name("parent_of_MiB/fork_mode")->Arg(10)->Arg(4096)->Iterations(20)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
