// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// compile(): what turning steps into a plan costs in the parent.
#include <benchmark/benchmark.h>

#include "canonical.hpp"

namespace {

void compile_canonical(benchmark::State& state) {
  const rootprep::Pipeline pipeline = bench::canonical_pipeline(bench::image());
  for (auto _ : state) benchmark::DoNotOptimize(pipeline.compile());
}
BENCHMARK(compile_canonical)->Name("compile/canonical")->Unit(benchmark::kMicrosecond);

void compile_binds(benchmark::State& state) {
  rootprep::Pipeline pipeline{rootprep::PrepareRoot{.path = bench::image()}};
  for (int i = 0; i < state.range(0); ++i) pipeline.add(rootprep::MountSpec::bind("/usr", "/mnt/" + std::to_string(i)));
  pipeline.add(rootprep::EnterRoot{});
  for (auto _ : state) benchmark::DoNotOptimize(pipeline.compile({.check_host = false}));
}
BENCHMARK(compile_binds)->Name("compile/binds")->Arg(10)->Arg(100)->Arg(1000)->Unit(benchmark::kMicrosecond);

}  // namespace
