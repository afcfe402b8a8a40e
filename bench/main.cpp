// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
//
// rootprep-bench: side by side with other programs and with a hand-written floor, in one run. Prints medians and, for each group, the ratio
// to its first member. A group is a benchmark with all its sizes, or those of no size that have the part of the name before '/' in common.
// Run it with --benchmark_enable_random_interleaving=true, which alternates the members.
#include <benchmark/benchmark.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "canonical.hpp"

namespace bench {

const std::string& image() {
  static const std::string directory = [] {
    std::string name = (std::filesystem::temp_directory_path() / "rootprep-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      std::perror("mkdtemp");
      std::exit(1);
    }
    namespace fs = std::filesystem;
    for (const char* below : {"bin", "proc", "sys", "dev", "etc", "tmp"}) fs::create_directory(name + '/' + below);
    const char* busybox = "/bin/busybox";
    if (!fs::exists(busybox)) {
      std::fprintf(stderr, "rootprep-bench: %s is missing: apt-get install busybox-static\n", busybox);
      std::exit(1);
    }
    fs::copy_file(busybox, name + "/bin/busybox");
    fs::create_symlink("busybox", name + "/bin/true");
    static std::string to_remove = name;
    std::atexit([] { std::filesystem::remove_all(to_remove); });
    return name;
  }();
  return directory;
}

namespace {

class RatioReporter final : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (const Run& run : runs) {
      if (run.error_occurred || run.report_big_o || run.report_rms) continue;
      if (run.run_type == Run::RT_Aggregate && run.aggregate_name != "median") continue;
      const std::string& function = run.run_name.function_name;
      const std::string& size = run.run_name.args;
      const double microseconds = run.GetAdjustedRealTime() / benchmark::GetTimeUnitMultiplier(run.time_unit) * 1e6;
      medians_[{run.family_index, run.per_family_instance_index}] = {size.empty() ? function.substr(0, function.find('/')) : function,
                                                                     size.empty() ? function : function + "/" + size, microseconds};
    }
  }
  void Finalize() override {
    ConsoleReporter::Finalize();
    std::map<std::string, double> first;
    std::printf("\n%-44s %14s %8s\n", "median", "microseconds", "ratio");
    for (const auto& [place, median] : medians_) {
      const double base = first.emplace(median.group, median.microseconds).first->second;
      std::printf("%-44s %14.1f %8.2f\n", median.name.c_str(), median.microseconds, median.microseconds / base);
    }
  }

 private:
  struct Median {
    std::string group{};
    std::string name{};
    double microseconds = 0;
  };
  std::map<std::pair<std::int64_t, std::int64_t>, Median> medians_{};  // in the order of registration, whatever the order of the runs
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  if (::geteuid() != 0) {
    std::fprintf(stderr, "rootprep-bench: needs root: it creates mount namespaces without a user namespace\n");
    return 1;
  }
  bench::RatioReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  return 0;
}
