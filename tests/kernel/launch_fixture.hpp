// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include "rootprep/launch.hpp"
#include "rootprep/pipeline.hpp"
#include "rootprep/steps.hpp"

// A root that holds the probe (launch_probe.cpp) and little else, plans for it, and what the probe says. ROOTPREP_LAUNCH_PROBE is its path.
namespace launch_test {

using namespace rootprep;

class TestRoot {
 public:
  TestRoot() {
    char name[] = "/tmp/rootprep-launch-XXXXXX";
    if (mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
    chmod(name, 0755);
    for (const char* directory : {"bin", "proc", "dev", "work", "noexec"}) std::filesystem::create_directory(path_ + "/" + directory);
    std::filesystem::copy_file(ROOTPREP_LAUNCH_PROBE, path_ + "/bin/probe");
  }
  TestRoot(const TestRoot&) = delete;
  TestRoot& operator=(const TestRoot&) = delete;
  ~TestRoot() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  Plan plan(bool user_namespace = false) const {
    return Pipeline{PrepareRoot{.path = path_}, MountSpec::proc(), EnterRoot{}}.compile({.user_namespace = user_namespace}).value();
  }

 private:
  std::string path_;
};

// Everything that a launch of the probe can be asked for afterwards.
struct Outcome {
  result<void> launched = outcome::success();
  LaunchReport report{};
  ExitStatus status{};
  std::map<std::string, std::string> facts{};
  std::string environment{};  // all of it, one a line

  const std::string& operator[](const std::string& name) const {
    static const std::string nothing;
    const auto found = facts.find(name);
    return found == facts.end() ? nothing : found->second;
  }
};

// PID namespace too: without one of its own, a user namespace may not mount a procfs.
inline LaunchOptions probe_options(bool user_namespace = false) {
  LaunchOptions options;
  options.namespaces = Namespace::mount | Namespace::pid | (user_namespace ? Namespace::user : Namespace::none);
  options.exec = {"/bin/probe"};
  return options;
}

inline Outcome launch_probe(const Plan& plan, LaunchOptions options) {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  for (int& end : ends) {  // away from 0, 1 and 2, which a test may have closed
    const int moved = fcntl(end, F_DUPFD_CLOEXEC, 10);
    close(end);
    end = moved;
  }
  options.pass_descriptors.push_back({ends[1], 1});
  Outcome outcome;
  {
    result<Child> child = launch(plan, options, &outcome.report);
    close(ends[1]);
    if (!child) outcome.launched = child.assume_error();
    std::string text;
    char buffer[4096];
    for (ssize_t got = 0; (got = read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(got));
    close(ends[0]);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      const std::string line = text.substr(at, end - at);
      const std::size_t equals = line.find('=');
      if (line.starts_with("environment=")) outcome.environment += line.substr(equals + 1) + "\n";
      outcome.facts[line.substr(0, equals)] = line.substr(equals + 1);
      at = end + 1;
    }
    if (child) outcome.status = child.assume_value().wait().value();
  }
  return outcome;
}

}  // namespace launch_test
