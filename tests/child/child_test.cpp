// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
//
// What the code between clone() and execve() does to the process around it: nothing.
#include <dirent.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "kernel/launch_fixture.hpp"
#include "support/allocations.hpp"

using namespace launch_test;

namespace {

// The child shares our memory: what it writes here, we read.
struct Counts {
  long at_start = -1;
  long at_end = -1;
};
long count_at_start(const ChildContext& context) noexcept {
  Counts* counts = nullptr;
  __builtin_memcpy(&counts, context.data, sizeof counts);
  counts->at_start = test_support::allocations().calls;
  return 0;
}
long count_at_end(const ChildContext& context) noexcept {
  static_cast<Counts*>(const_cast<void*>(context.data))->at_end = test_support::allocations().calls;
  return 0;
}
long allocate_and_count(const ChildContext& context) noexcept {
  void* volatile memory = std::malloc(1);  // the parent has no other thread here: nobody holds the lock
  std::free(memory);
  return count_at_end(context);
}

struct CountAtStart {
  Counts* counts = nullptr;
  std::string describe() const { return "count allocations"; }
  void lower(PlanBuilder& b) const { b.call(count_at_start, std::as_bytes(std::span<Counts* const, 1>{&counts, 1})); }
};

std::size_t lines_of(const char* path) {
  std::ifstream file{path};
  std::size_t count = 0;
  for (std::string line; std::getline(file, line);) ++count;
  return count;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

Plan canonical(const TestRoot& root, bool user_namespace) {
  return Pipeline{PrepareRoot{.path = root.path()}, MountSpec::proc(), DeviceSetup{}, EnterRoot{}}
      .compile({.user_namespace = user_namespace})
      .value();
}

}  // namespace

TEST_CASE("child: nothing is allocated between clone and execve") {
  if (!test_support::allocations_are_counted()) {
    std::cout << "SKIPPED: the sanitizer's allocator cannot be counted\n";
    return;
  }
  const TestRoot root;
  Counts counts;
  const bool user = GENERATE(false, true);
  const Plan plan =
      Pipeline{CountAtStart{&counts}, PrepareRoot{.path = root.path()}, MountSpec::proc(), DeviceSetup{}, MaskPaths{}, EnterRoot{},
               RemountReadonly{}}
          .compile({.user_namespace = user})
          .value();
  REQUIRE(plan.operations().size() > 50);
  LaunchOptions options = probe_options(user);
  options.namespaces |= Namespace::uts | Namespace::ipc;
  options.hostname = "box";
  options.working_directory = "/work";
  options.new_session = true;
  options.credentials = Credentials{};
  options.exec = {"probe", "exit", "0"};
  options.run_in_child = {count_at_end, &counts, sizeof counts};

  LaunchReport report;
  result<Child> child = launch(plan, options, &report);
  INFO(explain(report, plan));
  REQUIRE(child);
  CHECK(child.assume_value().wait().value().success());
  CHECK(counts.at_start > 0);
  CHECK(counts.at_end - counts.at_start == 0);

  // And one that does allocate is seen.
  counts = Counts{};
  options.run_in_child.function = allocate_and_count;
  result<Child> other = launch(plan, options, &report);
  REQUIRE(other);
  CHECK(counts.at_end - counts.at_start == 2);
}

TEST_CASE("child: 1,000 launches beside 8 threads that allocate all the time: no deadlock, no leak") {
  const TestRoot root;
  const Plan plan = canonical(root, false);
  const Plan plan_for_user = canonical(root, true);
  LaunchOptions options = probe_options(false);
  options.exec = {"/bin/probe", "exit", "3"};
  LaunchOptions options_for_user = probe_options(true);
  options_for_user.namespaces |= Namespace::ipc;  // a user namespace may mount an mqueue for an IPC namespace of its own only
  options_for_user.exec = options.exec;
  // Another user in our memory, as one more thing to go wrong.
  LaunchOptions options_for_other = options;
  options_for_other.credentials = Credentials{1000, 1000, {}};

  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int i = 0; i < 8; ++i) {
    busy.emplace_back([&stop] {
      std::list<std::string> strings;
      while (!stop.load(std::memory_order_relaxed)) {
        for (std::size_t size = 1; size < 4096; size = size * 3 + 1) strings.emplace_back(size, 'x');
        if (strings.size() > 64) strings.clear();
      }
    });
  }
  std::atomic<int> good{0};
  std::mutex mutex;
  std::string problems;
  const auto launch_many = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const bool user = i % 4 == 1;
      LaunchReport report;
      result<Child> child = launch(user ? plan_for_user : plan,
                                   user         ? options_for_user
                                   : i % 4 == 3 ? options_for_other
                                                : options,
                                   &report);
      const ExitStatus status = child ? child.assume_value().wait().value() : ExitStatus{};
      if (child && status == ExitStatus{3, 0, false}) {
        ++good;
        continue;
      }
      const std::lock_guard lock{mutex};
      problems = child ? "ended with " + std::to_string(status.shell_code()) : explain(report, user ? plan_for_user : plan);
    }
  };
  // Four at a time: beside eight busy threads each launch waits mostly for its turn.
  const auto launch_from_four = [&](int each) {
    std::vector<std::thread> launching;
    for (int i = 0; i < 4; ++i) launching.emplace_back(launch_many, each);
    for (std::thread& thread : launching) thread.join();
  };
  launch_from_four(10);  // arenas and caches of the allocator are there after that
  CHECK(problems == "");
  CHECK(good == 40);
  good = 0;
  const std::size_t descriptors = open_descriptors();
  const std::size_t mappings = lines_of("/proc/self/maps");
  const auto begin = std::chrono::steady_clock::now();
  launch_from_four(250);
  const auto taken = std::chrono::steady_clock::now() - begin;
  const std::size_t descriptors_after = open_descriptors();
  const std::size_t mappings_after = lines_of("/proc/self/maps");
  stop = true;
  for (std::thread& thread : busy) thread.join();

  CHECK(problems == "");
  CHECK(good == 1000);
  CHECK(descriptors_after == descriptors);
  CHECK(mappings_after <= mappings + 20);               // the allocator's own; a leaked stack would be two a launch
  CHECK(waitpid(-1, nullptr, WNOHANG | __WALL) == -1);  // ECHILD: no child is left
  std::cout << "1,000 launches beside 8 busy threads: " << std::chrono::duration_cast<std::chrono::milliseconds>(taken).count() << " ms\n";
}
