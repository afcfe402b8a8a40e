// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/testing/fault_sweep.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <optional>

#include "rootprep/testing/fault_kernel.hpp"
#include "testing/sweep_world.hpp"

namespace rootprep::testing {
namespace {

bool contains(const std::uint8_t* errors, std::size_t count, int error_number) {
  return std::any_of(errors, errors + count, [&](std::uint8_t e) { return e != 0 && e == error_number; });
}

// Errnos of the calls inside a composite that are no failure of it. A function of the user bears what it likes.
bool composite_bears(OperationKind kind, std::string_view call, int error_number) {
  switch (kind) {
    case OperationKind::user_function: return true;
    case OperationKind::open_in_root:
      // What is missing is made; who made it meanwhile does not matter.
      return (call == "openat" && error_number == ENOENT) || ((call == "mkdirat" || call == "mknodat") && error_number == EEXIST);
    case OperationKind::make_parent_private: return call == "mount" && error_number == EINVAL;  // not the root of a mount: one higher
    case OperationKind::hide_host_filesystems:
      // Gone with another mount, or under one; and what cannot be unmounted is covered.
      return (call == "mount" && (error_number == ENOENT || error_number == EINVAL)) || (call == "openat" && error_number == ENOENT) ||
             call == "umount2" || (call == "read" && error_number == EINTR);
    default: return false;
  }
}

// What these answer changes nothing: the descriptor is gone (close(2)), the mask is set (umask(2)).
bool cannot_matter(const SysCall& call) { return name_of_call(call) == "close" || name_of_call(call) == "umask"; }

// May a run go on after the call of operation `index` answered with this errno?
bool is_documented(const Plan& plan, std::uint32_t index, const SysCall& call, int error_number) {
  if (cannot_matter(call)) return true;
  const std::string name = name_of_call(call);
  if (index >= plan.operations().size()) return false;
  const Operation& op = plan.operations()[index];
  if (contains(op.allowed, sizeof op.allowed, error_number) || contains(op.otherwise, sizeof op.otherwise, error_number)) return true;
  if (op.kind != OperationKind::system_call) return composite_bears(op.kind, name, error_number);
  return error_number == EINTR || (error_number == EAGAIN && name == "openat2");  // tried again (Execution)
}

// One of those that operation `index` does not tell apart, and all others.
std::vector<int> without_equals(const Plan& plan, std::uint32_t index, const SysCall& call, const std::vector<int>& errors,
                                std::uint64_t n) {
  if (index < plan.operations().size() && plan.operations()[index].kind != OperationKind::system_call) return errors;
  std::vector<int> distinct;
  std::vector<int> equal;
  for (const int error_number : errors) {
    (is_documented(plan, index, call, error_number) && !cannot_matter(call) ? distinct : equal).push_back(error_number);
  }
  if (!equal.empty()) distinct.push_back(equal[n % equal.size()]);
  return distinct;
}

// `index`: the operation that made the faulty call.
std::optional<std::string> wrong_with(const Plan& plan, std::uint32_t index, const Report& report, const SysCall& call, int error_number) {
  const Error& error = report.error;
  const bool documented = is_documented(plan, index, call, error_number);
  if (error.domain == Domain::none) {
    if (!documented) return "the plan succeeds although " + name_of_call(call) + " failed";
    if (index >= plan.operations().size()) return std::nullopt;
    const Operation& op = plan.operations()[index];
    const bool told = op.kind != OperationKind::system_call || op.note == 0 || !contains(op.otherwise, sizeof op.otherwise, error_number) ||
                      std::any_of(report.events, report.events + std::min<std::size_t>(report.event_count, std::size(report.events)),
                                  [&](const Event& event) { return event.operation == index && event.error_number == error_number; });
    if (!told) return "the plan goes another way and does not report it";
    return std::nullopt;
  }
  if (error.operation >= plan.operations().size()) return "the error names no operation of the plan";
  if (error.operation != index) {
    if (documented) return std::nullopt;  // the other way failed by itself: as it may here
    return "the error names operation " + std::to_string(error.operation) + ", the call was of operation " + std::to_string(index);
  }
  if (plan.operations()[index].kind != OperationKind::system_call) return std::nullopt;  // a composite has errors of its own
  if (error.system_call != call.number) return "the error names another call than " + name_of_call(call);
  if (!error.is_errno(error_number)) return "the error has another code than the kernel's answer";
  return std::nullopt;
}

}  // namespace

std::vector<int> plausible_errors(std::string_view name) {
  struct Row {
    std::string_view call;
    std::vector<int> errors;
  };
  static const std::vector<Row> rows{
      {"mount", {EPERM, EINVAL, ENOENT, EBUSY, ENODEV, ENOSPC, ENOMEM, ENOTDIR, ELOOP}},
      {"open_tree", {ENOSYS, EPERM, EINVAL, ENOENT, ENFILE, EMFILE, ENOMEM}},
      {"move_mount", {ENOSYS, EPERM, EINVAL, ENOENT, ELOOP, ENOSPC, ENOMEM}},
      {"fsopen", {ENOSYS, EPERM, ENODEV, EMFILE, ENOMEM}},
      {"fsconfig", {EINVAL, EPERM, ENOENT, EBUSY, ENOMEM, EOPNOTSUPP}},
      {"fsmount", {EPERM, EINVAL, EBUSY, EMFILE, ENOMEM}},
      {"mount_setattr", {ENOSYS, EPERM, EBUSY, EINVAL, ENOMEM}},
      {"umount2", {EPERM, EBUSY, EINVAL, ENOENT}},
      {"pivot_root", {EPERM, EBUSY, EINVAL, ENOTDIR}},
      {"chroot", {EPERM, ENOENT, EACCES}},
      {"chdir", {ENOENT, EACCES}},
      {"fchdir", {EACCES, ENOTDIR}},
      {"openat", {ENOENT, EACCES, ELOOP, EMFILE, ENFILE, ENOTDIR, EINTR, ENOMEM}},
      {"openat2", {ENOSYS, EAGAIN, EXDEV, ELOOP, EMFILE, EACCES, EINTR, ENOENT, ENOMEM}},
      {"close", {EINTR, EIO}},
      {"mkdirat", {EEXIST, EROFS, ENOSPC, EACCES, EDQUOT}},
      {"mknodat", {EPERM, EEXIST, EROFS, ENOSPC}},
      {"symlinkat", {EEXIST, EROFS, ENOSPC, EPERM}},
      {"unlinkat", {ENOENT, EBUSY, EISDIR, EROFS}},
      {"write", {ENOSPC, EIO, EINTR, EDQUOT}},
      {"statx", {EACCES, ENOMEM}},
      {"fstatfs", {EIO, ENOSYS}},
      {"fchmodat", {EPERM, EROFS}},
      {"fchownat", {EPERM, EINVAL, EROFS}},
      {"readlinkat", {EACCES, EIO}},
      {"read", {EIO, EINTR}},
  };
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return r.call == name; });
  return row == rows.end() ? std::vector<int>{EPERM, EINVAL} : row->errors;
}

SweepResult sweep_faults(const Plan& plan, const std::function<std::unique_ptr<SweepWorld>()>& make_world, const SweepOptions& options) {
  SweepResult sweep;
  struct Run {
    Report report{};
    SysCall failed{};  // the call that did not happen
    std::uint64_t calls = 0;
    std::string wrong{};
  };
  // n 0: nothing fails. error_number 0: killed before the n-th call.
  const auto run = [&](std::uint64_t n, int error_number) {
    const std::unique_ptr<SweepWorld> world = make_world();
    FaultKernel kernel{world->kernel()};
    if (n != 0 && error_number != 0) kernel.fail_call(n, error_number);
    if (n != 0 && error_number == 0) kernel.kill_at(n);
    const std::vector<int> before = world->descriptors();
    Run done;
    done.report = Execution{plan, kernel}.run();
    done.failed = kernel.last_fault();
    done.calls = kernel.calls();
    sweep.runs += 1;
    // A close that failed by our hand has closed nothing.
    const bool closes = n == 0 || (error_number != 0 && name_of_call(done.failed) != "close");
    if (closes && world->descriptors() != before) done.wrong = "other descriptors are open than before; ";
    if (const std::string left = world->left_behind(); !left.empty()) done.wrong += "left behind: " + left;
    return done;
  };
  const auto judge = [&](std::uint64_t n, int error_number, const Run& done, const std::optional<std::string>& wrong) {
    if (!wrong && done.wrong.empty()) return;
    SweepFinding finding;
    finding.call = n;
    if (n != 0) finding.system_call = name_of_call(done.failed);
    finding.error_number = error_number;
    finding.what = wrong.value_or("") + (wrong && !done.wrong.empty() ? "; " : "") + done.wrong;
    sweep.findings.push_back(std::move(finding));
  };

  const Run clean = run(0, 0);
  sweep.calls = clean.calls;
  std::optional<std::string> wrong;
  if (clean.report.error.domain != Domain::none)
    wrong = "without any fault the plan fails: " + make_error_code(clean.report.error).message() + " (operation " +
            std::to_string(clean.report.error.operation) + ')';
  judge(0, 0, clean, wrong);
  for (std::uint64_t n = 1; n <= clean.calls; ++n) {
    // Which call is the n-th, and which operation makes it, is told by the run that is killed there.
    const Run killed = run(n, 0);
    if (options.kill_too) judge(n, 0, killed, std::nullopt);
    std::vector<int> errors = options.error_numbers;
    if (errors.empty()) errors = plausible_errors(name_of_call(killed.failed));
    if (options.equal_errors_once) errors = without_equals(plan, killed.report.error.operation, killed.failed, errors, n);
    for (const int error_number : errors) {
      const Run failed = run(n, error_number);
      (failed.report.error.domain == Domain::none ? sweep.fallbacks : sweep.failures) += 1;
      judge(n, error_number, failed, wrong_with(plan, killed.report.error.operation, failed.report, failed.failed, error_number));
    }
  }
  return sweep;
}

SweepResult sweep_faults(const Plan& plan, const FakeSweepWorlds& worlds, const SweepOptions& options) {
  std::shared_ptr<const Snapshot> before;
  const auto make_world = [&]() -> std::unique_ptr<SweepWorld> {
    auto world = std::make_unique<FakeSweepWorld>(worlds);
    world->begin(before);
    return world;
  };
  return sweep_faults(plan, make_world, options);
}

std::string SweepResult::to_text() const {
  std::string text =
      std::to_string(runs) + " runs over " + std::to_string(calls) + " calls: " + std::to_string(failures) + " failed, " +
      (attacks != 0 ? std::to_string(attacks) + " attacks had an effect, " : std::to_string(fallbacks) + " went another way, ") +
      std::to_string(findings.size()) + " findings\n";
  for (const SweepFinding& finding : findings) {
    text += "call " + std::to_string(finding.call) + " " + finding.system_call + ", ";
    if (!finding.attack.empty()) {
      text += finding.attack;
    } else {
      text += finding.error_number == 0 ? std::string{"killed"} : std::string{std::strerror(finding.error_number)};
    }
    text += ": " + finding.what + '\n';
  }
  return text;
}

}  // namespace rootprep::testing
