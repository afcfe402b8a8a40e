// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "launch/descriptor.hpp"
#include "rootprep/launch.hpp"

namespace rootprep {
namespace {

constexpr int by_pidfd = 3;  // P_PIDFD (waitid(2), Linux 5.4), newer than some C libraries

// waitid(2). By pidfd where there is one: somebody else may have reaped the child, and its id may be that of another. `options`: WEXITED,
// and WNOHANG. No value: it runs.
result<std::optional<ExitStatus>> wait_on(std::int32_t pid, int pidfd, int options) noexcept {
  siginfo_t info{};
  long waited = -EINTR;
  while (waited == -EINTR) {
    waited = pidfd >= 0 ? parent_call(SYS_waitid, by_pidfd, pidfd, &info, options, nullptr)
                        : parent_call(SYS_waitid, P_PID, pid, &info, options, nullptr);
    // Linux 5.2 and 5.3 have pidfds, but cannot wait for one.
    if (waited == -EINVAL && pidfd >= 0) pidfd = -1, waited = -EINTR;
  }
  if (waited < 0) return failed_call(SYS_waitid, waited);
  if (info.si_pid == 0) return std::optional<ExitStatus>{};
  ExitStatus status;
  if (info.si_code == CLD_EXITED) {
    status.code = info.si_status;
  } else {
    status.signal = info.si_status;
    status.core_dumped = info.si_code == CLD_DUMPED;
  }
  return std::optional<ExitStatus>{status};
}

}  // namespace

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), pidfd_(std::exchange(other.pidfd_, -1)), status_(std::exchange(other.status_, std::nullopt)) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    end();
    pid_ = std::exchange(other.pid_, 0);
    pidfd_ = std::exchange(other.pidfd_, -1);
    status_ = std::exchange(other.status_, std::nullopt);
  }
  return *this;
}

Child::~Child() { end(); }

void Child::end() noexcept {
  if (pid_ == 0) return;
  if (!status_) {
    (void)kill();  // it may have ended by itself
    (void)wait();  // ECHILD: somebody else has reaped it
  }
  if (pidfd_ >= 0) (void)parent_call(SYS_close, pidfd_);
  pidfd_ = -1;
  pid_ = 0;
}

result<ExitStatus> Child::wait() noexcept {
  if (status_) return *status_;
  if (pid_ == 0) return Error::from_errno(ECHILD, SYS_waitid);
  const result<std::optional<ExitStatus>> ended = wait_on(pid_, pidfd_, WEXITED);
  if (!ended) return ended.assume_error();
  status_ = ended.assume_value();
  return *status_;
}

result<std::optional<ExitStatus>> Child::try_wait() noexcept {
  if (status_) return status_;
  if (pid_ == 0) return Error::from_errno(ECHILD, SYS_waitid);
  const result<std::optional<ExitStatus>> ended = wait_on(pid_, pidfd_, WEXITED | WNOHANG);
  if (ended) status_ = ended.assume_value();
  return ended;
}

result<void> Child::signal(int number) noexcept {
  if (pid_ == 0) return Error::from_errno(ESRCH, SYS_kill);
  if (pidfd_ >= 0) {
    const long sent = parent_call(SYS_pidfd_send_signal, pidfd_, number, nullptr, 0);
    if (sent < 0) return failed_call(SYS_pidfd_send_signal, sent);
    return outcome::success();
  }
  const long sent = status_ ? -ESRCH : parent_call(SYS_kill, pid_, number);  // until it is reaped its id is its own
  if (sent < 0) return failed_call(SYS_kill, sent);
  return outcome::success();
}

result<void> Child::kill() noexcept { return signal(SIGKILL); }

int Child::release() noexcept {
  pid_ = 0;
  status_.reset();
  return std::exchange(pidfd_, -1);
}

}  // namespace rootprep
