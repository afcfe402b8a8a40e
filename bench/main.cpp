// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
//
// rootprep-bench: side by side with other programs and with a hand-written floor, in one run. Prints medians and, for each group (the part
// of a name before
// '/'), the ratio to its first member. Run it with --benchmark_enable_random_interleaving=true, which alternates the members.
#include <benchmark/benchmark.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
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
      if (run.error_occurred || (run.run_type == Run::RT_Aggregate && run.aggregate_name != "median")) continue;
      const std::string name = run.run_name.function_name + (run.run_name.args.empty() ? "" : "/" + run.run_name.args);
      if (medians_.emplace(name, run.GetAdjustedRealTime()).second) order_.push_back(name);
      medians_[name] = run.GetAdjustedRealTime();
    }
  }
  void Finalize() override {
    ConsoleReporter::Finalize();
    std::map<std::string, std::string> first;
    std::printf("\n%-44s %12s %8s\n", "median (us)", "time", "ratio");
    for (const std::string& name : order_) {
      const std::string group = name.substr(0, name.find('/'));
      const std::string& base = first.emplace(group, name).first->second;
      std::printf("%-44s %12.1f %8.2f\n", name.c_str(), medians_[name], medians_[name] / medians_[base]);
    }
  }

 private:
  std::map<std::string, double> medians_{};
  std::vector<std::string> order_{};
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
