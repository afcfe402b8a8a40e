// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
//
// main() of every Catch2 test program, with a guard: a test case that leaves a mount, a descriptor or a child process behind ends the
// program with an error, whatever its assertions said.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#endif
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <string>

#include "catch.hpp"

namespace {

std::set<std::string> mount_table() {
  std::ifstream file{"/proc/self/mountinfo"};
  std::set<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.insert(line);
  return lines;
}

std::map<int, std::string> open_descriptors() {
  std::map<int, std::string> found;
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return found;
  while (const dirent* entry = readdir(directory)) {
    const int descriptor = std::atoi(entry->d_name);
    if (entry->d_name[0] == '.' || descriptor == dirfd(directory)) continue;
    char target[256] = {};
    const std::string link = std::string{"/proc/self/fd/"} + entry->d_name;
    found[descriptor] = readlink(link.c_str(), target, sizeof target - 1) < 0 ? "?" : target;
  }
  closedir(directory);
  return found;
}

// A child that has not been waited for, dead or alive: its process id, or -1.
pid_t forgotten_child() {
  siginfo_t info{};
  if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0) return -1;  // ECHILD: there is none
  return info.si_pid;                                                                // 0: one that still runs
}

#if __has_include(<catch2/catch_all.hpp>)
using Listener = Catch::EventListenerBase;
#else
using Listener = Catch::TestEventListenerBase;
#endif

class Guard final : public Listener {
 public:
  using Listener::Listener;

  // The host of the tests is a mount namespace of their own: nobody else mounts in it, and all its mounts are shared, so that one that gets
  // out of a child shows. What happens to the real host, tests/guard/host.sh sees.
  void testRunStarting(const Catch::TestRunInfo& info) override {
    Listener::testRunStarting(info);
    if (geteuid() != 0) return;
    if (unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) == 0) {
      return;
    }
    std::cerr << "guard: no mount namespace of our own: other programs' mounts will be taken for ours" << std::endl;
  }

  void testCaseStarting(const Catch::TestCaseInfo& info) override {
    Listener::testCaseStarting(info);
    children_ = forgotten_child();
    descriptors_ = open_descriptors();
    mounts_ = mount_table();
  }

  void testCaseEnded(const Catch::TestCaseStats& stats) override {
    Listener::testCaseEnded(stats);
    std::string left;
    const std::set<std::string> mounts = mount_table();
    for (const std::string& line : mounts) {
      if (!mounts_.contains(line)) left += "\n  a mount is new: " + line;
    }
    for (const std::string& line : mounts_) {
      if (!mounts.contains(line)) left += "\n  a mount is gone: " + line;
    }
    for (const auto& [descriptor, target] : open_descriptors()) {
      if (!descriptors_.contains(descriptor)) left += "\n  descriptor " + std::to_string(descriptor) + " is open: " + target;
    }
    for (const auto& [descriptor, target] : descriptors_) {
      if (fcntl(descriptor, F_GETFD) < 0) left += "\n  descriptor " + std::to_string(descriptor) + " was closed: " + target;
    }
    if (children_ < 0 && forgotten_child() >= 0) left += "\n  a child process was not waited for";
    if (left.empty()) return;
    std::cerr << "guard: the test case left something behind" << left << std::endl;
    std::_Exit(EXIT_FAILURE);
  }

 private:
  std::set<std::string> mounts_{};
  std::map<int, std::string> descriptors_{};
  pid_t children_ = -1;
};

}  // namespace

CATCH_REGISTER_LISTENER(Guard)
