// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rootprep/error.hpp"
#include "rootprep/export.hpp"
#include "rootprep/kernel.hpp"
#include "rootprep/launch_stage.hpp"
#include "rootprep/operation.hpp"
#include "rootprep/plan.hpp"
#include "rootprep/plan_builder.hpp"

// From a plan to a running program.
//
//   rootprep::result<rootprep::Plan> plan = pipeline.compile();
//   rootprep::LaunchReport report;
//   rootprep::result<rootprep::Child> child = rootprep::launch(plan.value(), {
//       .namespaces = Namespace::mount | Namespace::pid | Namespace::uts, .hostname = "box", .exec = {"sh", "-c", "hostname"}}, &report);
//   if (!child) { std::cerr << rootprep::explain(report, plan.value()); return 1; }
//   return child.value().wait().value().shell_code();
//
// The child shares the parent's memory until execve(2) (CLONE_VM), on a stack of its own: launching costs the same from a parent of 10 MB
// and of 10 GB. launch() returns when the child has left that memory, so nothing that the child reads can go away. Between the two the
// child makes system calls and nothing else.
namespace rootprep {

// Kinds of namespaces (namespaces(7)). A set of them.
enum class Namespace : std::uint16_t {
  none = 0,
  mount = 1U << 0U,
  pid = 1U << 1U,
  uts = 1U << 2U,
  ipc = 1U << 3U,
  net = 1U << 4U,
  user = 1U << 5U,
  cgroup = 1U << 6U,
  time = 1U << 7U,  // clone(2) refuses it together with CLONE_VM: it implies CloneMode::fork
};
constexpr Namespace operator|(Namespace a, Namespace b) noexcept {
  return static_cast<Namespace>(static_cast<std::uint16_t>(a) | static_cast<std::uint16_t>(b));
}
constexpr Namespace operator&(Namespace a, Namespace b) noexcept {
  return static_cast<Namespace>(static_cast<std::uint16_t>(a) & static_cast<std::uint16_t>(b));
}
constexpr Namespace& operator|=(Namespace& a, Namespace b) noexcept { return a = a | b; }
constexpr bool contains(Namespace set, Namespace one) noexcept { return (set & one) == one; }

// `count` ids from `inside` on, in the user namespace, are those from `outside` on, in the caller's (user_namespaces(7)).
struct IdMap {
  std::uint32_t inside = 0;
  std::uint32_t outside = 0;
  std::uint32_t count = 1;
  constexpr bool operator==(const IdMap&) const = default;
};

// Who the program runs as: ids of the child's user namespace.
struct Credentials {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups{};  // supplementary; all others are dropped
  bool operator==(const Credentials&) const = default;
};

// A descriptor of the caller and its number in the program.
struct PassedDescriptor {
  int fd = -1;
  int as = -1;
  constexpr bool operator==(const PassedDescriptor&) const = default;
};

// What descriptors 0, 1 and 2 of the program are, where pass_descriptors does not say it.
enum class Stdio : std::uint8_t {
  inherit,  // the caller's; /dev/null where the caller has none
  null,     // /dev/null
};

enum class CloneMode : std::uint8_t {
  share_memory,  // CLONE_VM
  fork,  // a copy of the caller's memory, as fork(2): for valgrind and sanitizers, which do not know CLONE_VM. Costs as much as the memory
         // is large. A descriptor of launch() that another thread's fork(2) without execve(2) inherits delays its return.
};

// What signals the program starts with. In both cases all are blocked until execve(2), and no handler of the caller runs in the child.
enum class SignalState : std::uint8_t {
  clean,    // default dispositions, nothing blocked: a caller that blocks or ignores SIGTERM does not make the program deaf to it
  inherit,  // as execve(2) has it: what the caller ignores stays ignored, what it blocks stays blocked
};

// A function of the caller's, called in the child right before execve(2), after all else: with the program's credentials, root and working
// directory, with no_new_privs set, with all signals blocked. UserFunction says what it may do. `data` must stay valid until launch()
// returns.
struct ChildFunction {
  UserFunction function = nullptr;
  const void* data = nullptr;
  std::size_t size = 0;
};

inline constexpr std::string_view default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// A value; every default is the safe one.
struct LaunchOptions {
  Namespace namespaces = Namespace::mount;

  // With Namespace::user. Empty: the caller's own effective id becomes 0. More than the caller's own id needs CAP_SETUID and CAP_SETGID, or
  // newuidmap(1) and newgidmap(1) and ranges in subuid(5) and subgid(5): used when the caller lacks the capability. Where 0 is mapped the
  // child prepares the root as user 0 of the namespace.
  std::vector<IdMap> uid_maps{};
  std::vector<IdMap> gid_maps{};
  // setgroups(2) is denied in the user namespace. Without CAP_SETGID and without newgidmap(1) the kernel demands it, and it is denied
  // anyway.
  bool deny_setgroups = false;

  std::string hostname{};    // with Namespace::uts; at most 64 bytes
  std::string domainname{};  // with Namespace::uts; at most 64 bytes
  // Absolute, inside the new root. Empty: where the plan has left the child, which is "/" after EnterRoot. Proved to be inside the root
  // in either case (CVE-2024-21626).
  std::string working_directory{};

  std::vector<std::string> exec{};  // argv
  // What to execute, if not exec[0]. Without a slash it is looked for in the PATH of `environment`, inside the new root.
  std::string executable{};
  // "NAME=value". Not the caller's, which may hold its secrets: current_environment() for that.
  std::vector<std::string> environment{"PATH=" + std::string{default_path}};

  std::optional<Credentials> credentials{};  // none: those with which the root was prepared
  bool no_new_privileges = true;             // set-user-ID programs do not raise privileges (PR_SET_NO_NEW_PRIVS)
  // Signal that the program gets when the thread that called launch() ends (PR_SET_PDEATHSIG); 0: none. Until execve(2) it is SIGKILL in
  // any case. Process 1 of a PID namespace ignores all but SIGKILL unless it has a handler.
  int parent_death_signal = 0;

  std::vector<PassedDescriptor> pass_descriptors{};  // all others are closed
  Stdio stdio = Stdio::inherit;
  SignalState signals = SignalState::clean;
  std::optional<std::uint32_t> umask{};  // none: the caller's
  bool new_session = false;              // setsid(2)
  bool controlling_terminal = false;     // the program's descriptor 0 becomes its controlling terminal; needs new_session

  ChildFunction run_in_child{};
  CloneMode clone_mode = CloneMode::share_memory;
  Kernel* kernel = nullptr;  // the child's door, for tests; nullptr: linux_kernel(). Must not allocate or lock
};

// The environment of the calling process, as LaunchOptions::environment. Not while another thread calls setenv(3).
ROOTPREP_EXPORT std::vector<std::string> current_environment();

// How a program ended.
struct ExitStatus {
  int code = 0;    // of exit(3), 0-255, if signal == 0
  int signal = 0;  // that killed it
  bool core_dumped = false;

  constexpr bool success() const noexcept { return code == 0 && signal == 0; }
  // As a shell's $?: 128 + signal for a program that was killed.
  constexpr int shell_code() const noexcept { return signal != 0 ? 128 + signal : code; }
  constexpr bool operator==(const ExitStatus&) const = default;
};

// Why the kernel refused to execute: facts that the child has gathered inside the new root.
struct ExecFailure {
  std::string path{};         // that was tried last, or the first one that is not accessible
  std::string interpreter{};  // named by a "#!" line or by PT_INTERP, and missing
  std::string head{};         // the first bytes of the file, at most 64
  std::uint32_t mode = 0;     // type and permissions of the file; 0: there is none
  bool noexec = false;        // the file lies on a mount with MS_NOEXEC
  bool operator==(const ExecFailure&) const = default;
};

// What happened, in all detail. explain(report, plan) makes a text of it.
struct LaunchReport {
  LaunchStage stage = LaunchStage::options;
  Error error{};                      // Domain::none: the program runs
  Report plan{};                      // what the plan did; see deviations() in execution.hpp
  ExecFailure exec{};                 // LaunchStage::exec
  std::vector<Problem> problems{};    // LaunchStage::options
  std::string message{};              // LaunchStage::id_maps: what newuidmap(1) or newgidmap(1) wrote
  std::optional<ExitStatus> ended{};  // ChildErrc::exited_early: how
};

// A running program. Owns its process: one that was neither waited for nor released is killed (SIGKILL) and reaped by the destructor.
//
// Processes that the program has started die with it only in a PID namespace of its own. Not for several threads at once, signal()
// excepted.
class ROOTPREP_EXPORT Child {
 public:
  Child() = default;  // no program
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  // Process id in the caller's PID namespace; 0: no program.
  std::int32_t pid() const noexcept { return pid_; }
  // For poll(2): readable when the program has ended. Owned by this object; -1: no program, or a kernel before 5.2 (and valgrind).
  int pidfd() const noexcept { return pidfd_; }

  // Waits for the end and reaps. Again after that: the same answer. Errors: ECHILD, if somebody else has reaped it (a SIGCHLD that is
  // ignored, a wait(2) for any child).
  result<ExitStatus> wait() noexcept;
  // As wait(), but does not wait: no value while the program runs.
  result<std::optional<ExitStatus>> try_wait() noexcept;
  // By pidfd_send_signal(2), where there is one: never reaches another process that got the same id. ESRCH after it was waited for.
  result<void> signal(int number) noexcept;
  result<void> kill() noexcept;

  // Gives the process away: the caller reaps it, and closes the pidfd that is returned.
  int release() noexcept;

 private:
  friend class Launcher;
  Child(std::int32_t pid, int pidfd) noexcept : pid_(pid), pidfd_(pidfd) {}
  void end() noexcept;
  std::int32_t pid_ = 0;
  int pidfd_ = -1;
  std::optional<ExitStatus> status_{};
};

// Runs `plan` in a cloned child with namespaces of its own and executes a program there. Returns when the program runs, or when it is clear
// that it will not: then no process, descriptor or mapping is left.
//
// Errors: PlanErrc::bad_option before any side effect (`report->problems` says which and why); an errno with the system call that failed;
// the plan's own error with its operation; ChildErrc::exited_early if the child was killed before it could report. A failed execve(2) is
// LaunchStage::exec in the report, and SYS_execve in Error::system_call with Error::operation == no_operation.
//
// A plan compiled with user_namespace must be launched with Namespace::user, and the other way round. A plan that mounts needs
// Namespace::mount. Allocates in the parent, before clone(2). Safe from several threads at once. For a child that changes its user id, the
// caller is not dumpable (PR_SET_DUMPABLE) until the child has left its memory: the kernel sees to it that nobody who may trace that user
// reads the caller's memory.
ROOTPREP_EXPORT result<Child> launch(const Plan& plan, const LaunchOptions& options, LaunchReport* report = nullptr);

// What went wrong, why, and what to do, in a few lines, each with its line end. Empty if nothing did.
ROOTPREP_EXPORT std::string explain(const LaunchReport& report, const Plan& plan);

}  // namespace rootprep
