// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "plan/syscall_numbers.hpp"
#include "rootprep/abi.hpp"
#include "rootprep/explain.hpp"
#include "rootprep/launch.hpp"

// Sentences for what launch() can meet besides the plan's own failures.
namespace rootprep {
namespace {

std::string quoted(std::string_view text) { return '"' + std::string{text} + '"'; }

std::string words_of(const Error& error) { return make_error_code(error).message(); }

// Calls that are no operations of plans and hence not in syscalls.def.
std::string call_name(std::uint16_t number) {
  switch (number) {
    case SYS_clone: return "clone";
    case SYS_execve: return "execve";
    case SYS_setgroups: return "setgroups";
    case SYS_setresuid: return "setresuid";
    case SYS_setresgid: return "setresgid";
    case SYS_setsid: return "setsid";
    case SYS_prctl: return "prctl";
    case SYS_fcntl: return "fcntl";
    case SYS_ioctl: return "ioctl(TIOCSCTTY)";
    case SYS_pipe2: return "pipe2";
    case SYS_mmap: return "mmap";
    case SYS_pidfd_open: return "pidfd_open";
    case SYS_eventfd2: return "eventfd2";
    default: break;
  }
  if (const SysCallInfo* info = find_syscall(number)) return std::string{info->name};
  return "system call " + std::to_string(number);
}

std::string call_failed(const Error& error) {
  if (error.domain != Domain::kernel) return words_of(error);
  return (error.system_call != 0 ? call_name(error.system_call) + ": " : std::string{}) + words_of(error);
}

std::string of_clone(const Error& error) {
  std::string text = "the child with its namespaces could not be made: " + call_failed(error);
  switch (error.code) {
    case EPERM:
      return text +
             "\nNamespaces other than a user namespace need CAP_SYS_ADMIN: run as root, or add Namespace::user. If it is there, "
             "the system forbids it: look "
             "at /proc/sys/kernel/apparmor_restrict_unprivileged_userns, /proc/sys/kernel/unprivileged_userns_clone, and at the "
             "seccomp filter of an outer "
             "container. A process in a chroot(2) cannot make user namespaces at all.";
    case ENOSPC:
    case EUSERS:
      return text +
             "\nA limit of /proc/sys/user is reached (max_user_namespaces, max_mnt_namespaces...), or namespaces are nested "
             "more than 32 deep.";
    case EAGAIN:
      return text +
             "\nThe limit on processes is reached: RLIMIT_NPROC, the cgroup's pids.max, or "
             "/proc/sys/kernel/threads-max.";
    case ENOMEM: return text + "\nMemory is short, or the PID namespace that would hold the child has no process 1 any more.";
    case EINVAL: return text + "\nThis kernel is built without one of the namespaces asked for; /proc/self/ns lists those that it has.";
    default: return text;
  }
}

std::string of_id_maps(const LaunchReport& report) {
  std::string text = "the user and group ids of the user namespace could not be set: " + call_failed(report.error);
  if (!report.message.empty()) text += "\n" + report.message;
  if (report.error.system_call == SYS_execve) {
    return text +
           "\nMaps of more than the caller's own id need CAP_SETUID and CAP_SETGID, or newuidmap and newgidmap (Debian package uidmap).";
  }
  if (report.error.is_errno(EPERM) || report.error.is_errno(EACCES)) {
    return text +
           "\nWithout CAP_SETUID and CAP_SETGID a map may hold the caller's own id alone, or ranges that /etc/subuid and "
           "/etc/subgid grant to the caller. "
           "Where AppArmor restricts unprivileged user namespaces the map is refused too.";
  }
  if (report.error.is_errno(EINVAL)) return text + "\nRanges of a map must not overlap, and the kernel takes at most 340 of them.";
  return text;
}

constexpr std::string_view machine_name(unsigned machine) noexcept {
  switch (machine) {
    case 3: return "i386";
    case 8: return "MIPS";
    case 21: return "ppc64";
    case 22: return "s390x";
    case 40: return "arm";
    case 62: return "x86-64";
    case 183: return "aarch64";
    case 243: return "riscv";
    case 258: return "loongarch";
    default: return "another architecture";
  }
}

std::string of_unknown_format(const ExecFailure& exec) {
  const std::string_view head = exec.head;
  if (head.empty()) return "The file is empty.";
  if (head.starts_with("\x7f"
                       "ELF") &&
      head.size() >= 20) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(head[i])); };
    const unsigned machine = head[5] == 1 ? byte(18) | (byte(19) << 8U) : byte(19) | (byte(18) << 8U);
    return "It is an ELF file for " + std::string{machine_name(machine)} +
           ", which this machine does not run: take an image for its architecture, or register an emulator in binfmt_misc with flag F.";
  }
  return "It is neither an ELF file nor does it begin with \"#!\". A shell would run it as a script; execve(2) does not: "
         "execute the shell with it.";
}

std::string of_exec(const LaunchReport& report) {
  const ExecFailure& exec = report.exec;
  std::string text = "everything is prepared, but " + quoted(exec.path) + " cannot be executed: " + call_failed(report.error);
  switch (report.error.code) {
    case ENOENT:
      if (!exec.interpreter.empty()) {
        const bool script = exec.head.starts_with("#!");
        return text + "\nThe file is there. What is missing inside the root is " + (script ? "its interpreter " : "its loader ") +
               quoted(exec.interpreter) +
               (script ? "." : ": the program is dynamically linked, and the image lacks the C library that it was built for.");
      }
      if (exec.mode != 0)
        return text + "\nThe file is there. What it needs to start, an interpreter or a loader, is missing inside the root.";
      if (exec.path.find('/') == std::string::npos)
        return text + "\nIt is in no directory of the PATH of LaunchOptions::environment, looked for inside the new root.";
      return text + "\nThe path is looked for inside the new root.";
    case EACCES:
      if (exec.mode == 0) return text + "\nA directory on the way to it cannot be searched with the program's credentials.";
      if ((exec.mode & 0170000U) == abi::s_ifdir) return text + "\nIt is a directory.";
      if ((exec.mode & 0170000U) != abi::s_ifreg) return text + "\nIt is not a regular file.";
      if (exec.noexec) return text + "\nIt lies on a mount with noexec.";
      if ((exec.mode & 0111U) == 0) return text + "\nIt has no execute permission: chmod +x.";
      return text +
             "\nThe program's credentials do not allow it, or they do not for its interpreter or loader, or that lies on a "
             "mount with noexec.";
    case ENOEXEC: return text + "\n" + of_unknown_format(exec);
    case E2BIG:
      return text +
             "\nArguments and environment together are larger than a quarter of the stack limit, or one of them is larger than 128 KiB.";
    case ETXTBSY: return text + "\nThe file is open for writing.";
    case ELOOP: return text + "\nToo many symbolic links, or interpreters that name each other.";
    default: return text;
  }
}

std::string of_early_end(const LaunchReport& report) {
  std::string text = "the child ended before it could report";
  if (!report.ended) return text + ", and somebody else has reaped it: is SIGCHLD ignored, or does a thread wait for any child?";
  if (report.ended->signal == 0) return text + ": it exited with status " + std::to_string(report.ended->code);
  text += ": killed by signal " + std::to_string(report.ended->signal) + " (" + strsignal(report.ended->signal) + ")";
  if (report.ended->signal == 9) text += "\nSomebody killed it, or memory ran out: see the kernel log and the cgroup's memory.events.";
  if (report.ended->signal == 31) text += "\nA seccomp filter killed it at a system call.";
  return text;
}

std::string of_stage(const LaunchReport& report) {
  const Error& error = report.error;
  if (error.is(ChildErrc::exited_early)) return of_early_end(report);
  switch (report.stage) {
    case LaunchStage::options: break;  // explain(problem) has the form of all wrong values
    case LaunchStage::resources:
      return "the child could not be started: " + call_failed(error) +
             (error.is_errno(EMFILE) ? "\nThe limit on open descriptors is reached (RLIMIT_NOFILE)." : "");
    case LaunchStage::clone: return of_clone(error);
    case LaunchStage::id_maps: return of_id_maps(report);
    case LaunchStage::start: return "the child could not start: " + call_failed(error);
    case LaunchStage::user_namespace: return "the child could not become user 0 of its user namespace: " + call_failed(error);
    case LaunchStage::hostname: return "the host name could not be set: " + call_failed(error);
    case LaunchStage::plan: break;  // explain(error, plan) knows more
    case LaunchStage::working_directory:
      if (error.is(ChildErrc::outside_root) || (error.is_errno(ENOENT) && error.system_call == SYS_getcwd)) {
        return "the working directory lies outside the new root, or was removed: a program started there could reach the host "
               "(CVE-2024-21626)";
      }
      return "the working directory could not be entered inside the new root: " + call_failed(error);
    case LaunchStage::descriptors: return "the descriptors could not be passed on or closed: " + call_failed(error);
    case LaunchStage::credentials:
      return "the credentials could not be set: " + call_failed(error) +
             (error.is_errno(EPERM) && error.system_call != SYS_ioctl
                  ? "\nChanging ids needs CAP_SETUID and CAP_SETGID, in the child's user namespace."
                  : "");
    case LaunchStage::child_function: return "the function that the caller runs in the child failed: " + words_of(error);
    case LaunchStage::exec: return of_exec(report);
    case LaunchStage::running: break;
  }
  return {};
}

}  // namespace

std::string explain(const LaunchReport& report, const Plan& plan) {
  if (report.error.domain == Domain::none) return {};
  if (report.stage == LaunchStage::options) {
    std::string text;
    for (const Problem& problem : report.problems) text += explain(problem);
    return text;
  }
  if (report.stage == LaunchStage::plan) return explain(report.error, plan, &report.plan);
  return of_stage(report) + '\n';
}

}  // namespace rootprep
