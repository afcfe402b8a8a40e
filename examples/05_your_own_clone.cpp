// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors

// For programs that have a clone(2) of their own: Execution is made before it, runs in the child, and allocates nothing there. It prints:
//
//   I am process 1, and / holds: bin proc
//   the child had executed all operations of the plan, and entered the root by pivot_root
#include <sys/syscall.h>
#include <sys/wait.h>

#include <csignal>

#include "rootprep/execution.hpp"
#include "rootprep/steps.hpp"
#include "support.hpp"

rootprep::Pipeline example::your_own_clone() {
  using namespace rootprep;
  return {PrepareRoot{.path = "/tmp/root"}, MountSpec::proc(), EnterRoot{}};
}

int main() {
  using namespace rootprep;
  example::use_private_tmp();
  example::make_image("/tmp/root");
  const Plan plan = example::compile_or_exit(example::your_own_clone());

  Execution execution{plan};  // all memory that running needs
  int channel[2] = {-1, -1};
  if (::pipe2(channel, O_CLOEXEC) != 0) return 1;
  const char* const arguments[] = {"sh", "-c", "echo I am process $$, and / holds: $(ls /)", nullptr};

  // A clone(2) that works like fork(2), but for the namespaces.
  const long child = ::syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWPID | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (child < 0) return 1;
  if (child == 0) {
    const Report& report = execution.run();
    if (::write(channel[1], &report, sizeof report) != static_cast<ssize_t>(sizeof report))
      ::_exit(125);  // atomic: it is not larger than PIPE_BUF
    if (report.error.domain == Domain::none) ::execv("/bin/sh", const_cast<char* const*>(arguments));
    ::_exit(125);
  }

  Report report;
  ::close(channel[1]);
  if (::read(channel[0], &report, sizeof report) != static_cast<ssize_t>(sizeof report)) return 1;
  int status = 0;
  ::waitpid(static_cast<pid_t>(child), &status, 0);
  if (report.error.domain != Domain::none) {
    std::cout << explain(report.error, plan, &report);
    return 1;
  }
  const bool all = report.executed > 0 && report.event_count == 0;
  std::cout << "the child had executed " << (all ? "all" : "not all") << " operations of the plan, and entered the root by "
            << (report.entered_by == RootEntry::pivot_root ? "pivot_root" : "something else") << '\n';
  return WEXITSTATUS(status);
}
