// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "supervise.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

#include "options.hpp"

namespace rootprep_run {
namespace {

constexpr std::array forwarded{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH, SIGCONT};

sigset_t forwarded_set() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : forwarded) ::sigaddset(&set, number);
  return set;
}

struct Dispositions {
  std::uint64_t caught = 0;
  std::uint64_t ignored = 0;
};

// proc(5), /proc/pid/status: SigCgt and SigIgn.
Dispositions dispositions_of(int pid) {
  Dispositions dispositions;
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("SigCgt:")) dispositions.caught = std::stoull(line.substr(7), nullptr, 16);
    if (line.starts_with("SigIgn:")) dispositions.ignored = std::stoull(line.substr(7), nullptr, 16);
  }
  return dispositions;
}

// Returns whether the signal has ended the container.
bool pass_on(rootprep::Child& child, const signalfd_siginfo& received) {
  const int number = static_cast<int>(received.ssi_signo);
  const std::uint64_t bit = std::uint64_t{1} << (received.ssi_signo - 1);
  const Dispositions dispositions = dispositions_of(child.pid());
  if ((dispositions.caught & bit) != 0) {
    // From the keyboard (SI_KERNEL) the whole foreground process group has it already.
    if (received.ssi_code != SI_KERNEL) (void)child.signal(number);
    return false;
  }
  if ((dispositions.ignored & bit) != 0 || number == SIGWINCH || number == SIGCONT) return false;
  (void)child.kill();
  return true;
}

}  // namespace

ForwardedSignals::ForwardedSignals() {
  const sigset_t set = forwarded_set();
  descriptor_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (descriptor_ < 0) throw Complaint(std::string{"signalfd: "} + std::strerror(errno));
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
}

ForwardedSignals::~ForwardedSignals() { ::close(descriptor_); }

int supervise(rootprep::Child& child, const ForwardedSignals& signals) {
  int ended_by = 0;
  for (;;) {
    std::array<pollfd, 2> events{pollfd{child.pidfd(), POLLIN, 0}, pollfd{signals.descriptor(), POLLIN, 0}};
    if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) throw Complaint(std::string{"poll: "} + std::strerror(errno));
    if (events[0].revents != 0) break;
    signalfd_siginfo received{};
    while (::read(signals.descriptor(), &received, sizeof received) == static_cast<ssize_t>(sizeof received)) {
      if (pass_on(child, received)) ended_by = static_cast<int>(received.ssi_signo);
    }
  }
  const rootprep::result<rootprep::ExitStatus> status = child.wait();
  if (!status) throw Complaint("cannot wait for the container: " + rootprep::make_error_code(status.assume_error()).message());
  return ended_by != 0 && status.assume_value().signal == SIGKILL ? 128 + ended_by : status.assume_value().shell_code();
}

}  // namespace rootprep_run
