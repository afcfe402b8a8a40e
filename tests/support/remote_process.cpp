// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "support/remote_process.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "child/system_calls.hpp"

namespace support {

using rootprep::Kernel;
using rootprep::SysCall;
using rootprep::child::invoke;

namespace {

constexpr std::size_t stack_size = 256 * 1024;
constexpr std::uint32_t idle = 0;
constexpr std::uint32_t wanted = 1;
constexpr std::uint32_t done = 2;

}  // namespace

struct RemoteProcess::Mailbox {
  std::uint32_t state = idle;  // a futex
  SysCall call{};
  long result = 0;
  // Not a call but a clone(2): of this mailbox, on this stack.
  Mailbox* child = nullptr;
  void* stack_top = nullptr;
  int clone_flags = 0;
};

// Runs in the other process, which shares this one's memory, thread-local variables included: nothing that touches errno, nothing that is
// instrumented.
__attribute__((no_sanitize("address", "undefined", "thread"))) int RemoteProcess::serve(void* argument) {
  auto* mailbox = static_cast<Mailbox*>(argument);
  Kernel& kernel = rootprep::linux_kernel();
  while (true) {
    std::uint32_t state = __atomic_load_n(&mailbox->state, __ATOMIC_ACQUIRE);
    if (state != wanted) {
      (void)invoke(kernel, SYS_futex, &mailbox->state, FUTEX_WAIT, state, nullptr, nullptr, 0);
      continue;
    }
    if (mailbox->child != nullptr) {
      // errno may be written here; the caller, whose it is too, waits.
      const int pid = ::clone(&RemoteProcess::serve, mailbox->stack_top, mailbox->clone_flags, mailbox->child);
      mailbox->result = pid < 0 ? -errno : pid;
      mailbox->child = nullptr;
    } else {
      mailbox->result = kernel.call(mailbox->call);
    }
    __atomic_store_n(&mailbox->state, done, __ATOMIC_RELEASE);
    (void)invoke(kernel, SYS_futex, &mailbox->state, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
}

namespace {

// Hands over and waits for the answer.
template <class Mailbox>
long deliver(Mailbox& mailbox) noexcept {
  __atomic_store_n(&mailbox.state, wanted, __ATOMIC_RELEASE);
  ::syscall(SYS_futex, &mailbox.state, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  const timespec patience{60, 0};
  while (__atomic_load_n(&mailbox.state, __ATOMIC_ACQUIRE) != done) {
    if (::syscall(SYS_futex, &mailbox.state, FUTEX_WAIT, wanted, &patience, nullptr, 0) != 0 && errno == ETIMEDOUT) {
      std::fputs("RemoteProcess: no answer for a minute: the process is gone\n", stderr);
      std::abort();
    }
  }
  return mailbox.result;
}

void must(long result, const std::string& what) {
  if (result < 0) throw std::system_error(static_cast<int>(-result), std::generic_category(), what);
}

}  // namespace

RemoteProcess::RemoteProcess() : mailbox_(std::make_unique<Mailbox>()), stack_(stack_size) {}

std::unique_ptr<RemoteProcess> RemoteProcess::start(std::uint64_t namespaces) {
  std::unique_ptr<RemoteProcess> made{new RemoteProcess};
  const int flags = static_cast<int>(namespaces) | CLONE_VM | SIGCHLD;
  made->pid_ = ::clone(&RemoteProcess::serve, made->stack_.data() + stack_size, flags, made->mailbox_.get());
  must(made->pid_ < 0 ? -errno : 0, "clone");
  made->die_with_parent();
  return made;
}

std::unique_ptr<RemoteProcess> RemoteProcess::spawn(std::uint64_t namespaces, unsigned outer_id) {
  std::unique_ptr<RemoteProcess> made{new RemoteProcess};
  mailbox_->child = made->mailbox_.get();
  mailbox_->stack_top = made->stack_.data() + stack_size;
  mailbox_->clone_flags = static_cast<int>(namespaces) | CLONE_VM | SIGCHLD;
  const long pid = deliver(*mailbox_);
  must(pid, "clone");
  made->pid_ = static_cast<pid_t>(pid);
  made->parent_ = this;
  if ((namespaces & CLONE_NEWUSER) != 0) made->map_ids(outer_id);
  made->die_with_parent();
  return made;
}

void RemoteProcess::map_ids(unsigned outer_id) {
  for (const char* file : {"uid_map", "gid_map"}) {
    const std::string path = "/proc/" + std::to_string(pid_) + '/' + file;
    std::ofstream map{path};
    map << "0 " << outer_id << " 1\n" << std::flush;
    must(map ? 0 : -EPERM, path);
  }
  must(invoke(*this, SYS_setresgid, 0, 0, 0), "setresgid");
  must(invoke(*this, SYS_setresuid, 0, 0, 0), "setresuid");
}

// So that a test that is killed leaves nobody behind. After the change of ids, which forgets it (prctl(2), PR_SET_PDEATHSIG).
void RemoteProcess::die_with_parent() { must(invoke(*this, SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "prctl"); }

RemoteProcess::~RemoteProcess() { kill(); }

void RemoteProcess::kill() noexcept {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  if (parent_ == nullptr) {
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  } else {
    while (invoke(*parent_, SYS_wait4, pid_, nullptr, 0, nullptr) == -EINTR) {
    }
  }
  pid_ = -1;
}

long RemoteProcess::call(const SysCall& call) noexcept {
  mailbox_->call = call;
  return deliver(*mailbox_);
}

std::vector<int> RemoteProcess::descriptors() const {
  std::vector<int> open;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/fd")) {
    open.push_back(std::stoi(entry.path().filename().string()));
  }
  return open;
}

}  // namespace support
