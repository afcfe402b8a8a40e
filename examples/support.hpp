// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

// What the examples need and none of them is about: a place to play in that leaves no trace, and a small image.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "pipelines.hpp"
#include "rootprep/explain.hpp"
#include "rootprep/launch.hpp"
#include "rootprep/pipeline.hpp"

namespace example {

inline void write_file(const std::string& path, const std::string& content) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path) << content;
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Gives this process a mount namespace of its own, with nothing in /tmp: the host sees no mount and no file of what follows, and the kernel
// removes all of it when the process ends. Ends the program with status 77, which the tests take for "not here", if that is forbidden.
inline void use_private_tmp() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("example", "/tmp", "tmpfs", 0, "mode=0755") != 0) {
    std::cerr << "SKIPPED: this example mounts, and that needs CAP_SYS_ADMIN (" << std::strerror(errno)
              << "). Run it as root, or in a user namespace: unshare --user --map-root-user PROGRAM\n";
    std::exit(77);
  }
}

// A root file system with a shell, of Debian's busybox-static.
inline void make_image(const std::string& directory) {
  std::filesystem::create_directories(directory + "/bin");
  std::error_code error;
  std::filesystem::copy_file("/bin/busybox", directory + "/bin/busybox", error);
  if (error) {
    std::cerr << "SKIPPED: /bin/busybox: " << error.message() << ". Install it: apt-get install busybox-static\n";
    std::exit(77);
  }
  for (const char* tool : {"sh", "cat", "ls", "mount"}) {
    std::filesystem::create_symlink("busybox", directory + "/bin/" + tool, error);
  }
}

inline rootprep::Plan compile_or_exit(const rootprep::Pipeline& pipeline) {
  std::vector<rootprep::Problem> problems;
  rootprep::result<rootprep::Plan> plan = pipeline.compile({}, &problems);
  if (plan) return std::move(plan).assume_value();
  for (const rootprep::Problem& problem : problems) std::cerr << rootprep::explain(problem);
  std::exit(1);
}

// Runs a plan and then a program, and waits for it. Its exit status, or 1.
inline int run(const rootprep::Plan& plan, const rootprep::LaunchOptions& options) {
  std::cout << std::flush;
  rootprep::LaunchReport report;
  rootprep::result<rootprep::Child> child = rootprep::launch(plan, options, &report);
  if (!child) {
    if (report.stage == rootprep::LaunchStage::plan) {
      std::cout << rootprep::explain(report.error, plan, &report.plan) << std::flush;
    } else {
      std::cout << rootprep::explain(report, plan) << std::endl;
    }
    return 1;
  }
  return child.assume_value().wait().value().shell_code();
}

}  // namespace example
