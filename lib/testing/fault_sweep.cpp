// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/testing/fault_sweep.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "rootprep/testing/fault_kernel.hpp"

namespace rootprep::testing {
namespace {

std::string name_of_call(const SysCall& call) {
  const SysCallInfo* info = find_syscall(call.number);
  return info != nullptr ? std::string{info->name} : "system call " + std::to_string(call.number);
}

bool contains(const std::uint8_t* errors, std::size_t count, int error_number) {
  return std::any_of(errors, errors + count, [&](std::uint8_t e) { return e != 0 && e == error_number; });
}

// May a run of this plan go on after `call` answered with this errno?
bool is_documented(const Plan& plan, const SysCall& call, int error_number) {
  if (error_number == EINTR || (error_number == EAGAIN && name_of_call(call) == "openat2")) return true;  // tried again (Execution)
  if (name_of_call(call) == "close") return true;  // the descriptor is gone whatever it answers (close(2))
  if (name_of_call(call) == "umask") return true;  // cannot fail (umask(2))
  const auto operations = plan.operations();
  return std::any_of(operations.begin(), operations.end(), [&](const Operation& op) {
    if (op.kind == OperationKind::system_call && op.number != call.number) return false;
    // A composite makes calls of its own; which of their errors it bears is its business, and tested with it.
    if (op.kind != OperationKind::system_call) return op.kind != OperationKind::skip_if_closed;
    return contains(op.allowed, sizeof op.allowed, error_number) || contains(op.otherwise, sizeof op.otherwise, error_number);
  });
}

std::optional<std::string> wrong_with(const Plan& plan, const Report& report, const FaultKernel& kernel, int error_number) {
  const Error& error = report.error;
  const SysCall& call = kernel.last_fault();
  if (error.domain == Domain::none) {
    if (is_documented(plan, call, error_number)) return std::nullopt;
    return "the plan succeeds although " + name_of_call(call) + " failed";
  }
  if (error.operation >= plan.operations().size()) return "the error names no operation of the plan";
  const Operation& op = plan.operations()[error.operation];
  if (op.kind != OperationKind::system_call) return std::nullopt;  // a composite, named by its operation
  if (report.event_count > 0 || is_documented(plan, call, error_number))
    return std::nullopt;  // the other way failed by itself: as it may here
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
  const auto run = [&](std::uint64_t n, int error_number, SysCall& failed) {
    std::unique_ptr<SweepWorld> world = make_world();
    FaultKernel kernel{world->kernel()};
    if (n != 0 && error_number != 0) kernel.fail_call(n, error_number);
    if (n != 0 && error_number == 0) kernel.kill_at(n);
    Execution execution{plan, kernel};
    const Report& report = execution.run();
    sweep.runs += 1;
    failed = kernel.last_fault();
    std::optional<std::string> wrong;
    if (n == 0) {
      sweep.calls = kernel.calls();
      if (report.error.domain != Domain::none) wrong = "without any fault the plan fails: " + make_error_code(report.error).message();
    } else if (error_number != 0) {
      (report.error.domain == Domain::none ? sweep.fallbacks : sweep.failures) += 1;
      wrong = wrong_with(plan, report, kernel, error_number);
    }
    const std::string left = world->left_behind();
    if (!left.empty()) wrong = (wrong ? *wrong + "; " : std::string{}) + "left behind: " + left;
    if (wrong) sweep.findings.push_back({n, n == 0 ? std::string{} : name_of_call(failed), error_number, *wrong});
  };

  SysCall failed;
  run(0, 0, failed);
  const std::uint64_t calls = sweep.calls;
  for (std::uint64_t n = 1; n <= calls; ++n) {
    // Which call is the n-th is known only by letting it fail.
    std::unique_ptr<SweepWorld> world = make_world();
    FaultKernel kernel{world->kernel()};
    kernel.kill_at(n);
    Execution{plan, kernel}.run();
    std::vector<int> errors = options.error_numbers;
    if (errors.empty()) errors = plausible_errors(name_of_call(kernel.last_fault()));
    for (const int error_number : errors) run(n, error_number, failed);
    if (options.kill_too) run(n, 0, failed);
  }
  return sweep;
}

namespace {

class FakeSweepWorld final : public SweepWorld {
 public:
  explicit FakeSweepWorld(const FakeSweepWorlds& worlds)
      : may_change_(worlds.may_change),
        host_(worlds.make_host()),
        before_(lasting(host_.snapshot())),
        child_(host_.clone(worlds.namespaces)) {}

  Kernel& kernel() override { return child_; }
  std::string left_behind() override {
    child_.exit();
    const std::string broken = host_.check_invariants();
    return broken.empty() ? difference(before_, lasting(host_.snapshot())) : "the model is broken: " + broken;
  }

 private:
  // Without what lies in directories that may change: "file system 3 (ext4): /srv/root/dev ...".
  Snapshot lasting(Snapshot snapshot) const {
    std::erase_if(snapshot.lines, [&](const std::string& line) {
      const std::size_t path = line.find("): /");
      if (!line.starts_with("file system ") || path == std::string::npos) return false;
      return std::any_of(may_change_.begin(), may_change_.end(),
                         [&](const std::string& top) { return line.compare(path + 3, top.size() + 1, top + '/') == 0; });
    });
    return snapshot;
  }

  std::vector<std::string> may_change_;
  FakeKernel host_;
  Snapshot before_;
  FakeProcess& child_;
};

}  // namespace

SweepResult sweep_faults(const Plan& plan, const FakeSweepWorlds& worlds, const SweepOptions& options) {
  return sweep_faults(
      plan, [&]() -> std::unique_ptr<SweepWorld> { return std::make_unique<FakeSweepWorld>(worlds); }, options);
}

std::string SweepResult::to_text() const {
  std::string text = std::to_string(runs) + " runs over " + std::to_string(calls) + " calls: " + std::to_string(failures) + " failed, " +
                     std::to_string(fallbacks) + " went another way, " + std::to_string(findings.size()) + " findings\n";
  for (const SweepFinding& finding : findings) {
    text += "call " + std::to_string(finding.call) + " " + finding.system_call + ", ";
    text += finding.error_number == 0 ? std::string{"killed"} : std::string{std::strerror(finding.error_number)};
    text += ": " + finding.what + '\n';
  }
  return text;
}

}  // namespace rootprep::testing
