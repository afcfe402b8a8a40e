// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/testing/fault_kernel.hpp"

#include <sys/syscall.h>

#include <csignal>
#include <stdexcept>
#include <string>
#include <utility>

namespace rootprep::testing {
namespace {

long number_of(std::string_view system_call) {
  const SysCallInfo* info = find_syscall(system_call);
  if (info == nullptr) throw std::invalid_argument{"FaultKernel: syscalls.def has no call \"" + std::string{system_call} + '"'};
  return info->number;
}

}  // namespace

void FaultKernel::fail_call(std::uint64_t n, int error_number) {
  Fault fault;
  fault.at = n;
  fault.error_number = error_number;
  faults_.push_back(std::move(fault));
}

void FaultKernel::fail_from(std::uint64_t n, int error_number) {
  fail_call(n, error_number);
  faults_.back().and_after = true;
}

void FaultKernel::fail_nth(std::string_view system_call, std::uint64_t n, int error_number) {
  fail_call(n, error_number);
  faults_.back().number = number_of(system_call);
}

void FaultKernel::fail_all(std::string_view system_call, int error_number) { fail_nth(system_call, 0, error_number); }

void FaultKernel::fail_when(Predicate predicate, int error_number) {
  fail_call(0, error_number);
  faults_.back().predicate = std::move(predicate);
}

void FaultKernel::kill_at(std::uint64_t n) {
  fail_call(n, 0);
  faults_.back().kill = true;
}

bool FaultKernel::matches(Fault& fault, const SysCall& call) const {
  if (fault.number >= 0) {
    if (call.number != fault.number) return false;
    fault.seen += 1;
    return fault.at == 0 || fault.seen == fault.at;
  }
  if (fault.predicate) return fault.predicate(call);
  return calls_ == fault.at || (fault.and_after && calls_ > fault.at);
}

void FaultKernel::die() noexcept {
  killed_ = true;
  if (&inner_ != &linux_kernel()) return;
  const long self = inner_.call({SYS_getpid, {}});
  (void)inner_.call({SYS_kill, {static_cast<std::uint64_t>(self), static_cast<std::uint64_t>(SIGKILL)}});
}

long FaultKernel::call(const SysCall& call) noexcept {
  if (killed_) return -ESRCH;
  calls_ += 1;
  for (Fault& fault : faults_) {
    if (!matches(fault, call)) continue;
    fired_ += 1;
    last_fault_ = call;
    if (!fault.kill) return -fault.error_number;
    die();
    return -ESRCH;
  }
  return inner_.call(call);
}

}  // namespace rootprep::testing
