// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/launch.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <utility>

#include "child/start.hpp"
#include "launch/connect_frame.hpp"
#include "launch/descriptor.hpp"
#include "launch/id_maps.hpp"
#include "launch/options_check.hpp"
#include "try.hpp"

// The C library's clone(2) by the name that no sanitizer puts a function of its own in front of: ThreadSanitizer's would act in the child
// as if it were a forked copy, on memory that it shares with the parent's threads.
#ifdef __GLIBC__
extern "C" int __clone(int (*function)(void*), void* stack, int flags, void* argument, ...) noexcept;
#else
#define __clone ::clone
#endif

// The parent's side of clone().
namespace rootprep {
namespace {

// clone(2), by their own names: the C library of Debian 12 does not have all.
constexpr std::uint64_t clone_vm = 0x100;
constexpr std::uint64_t clone_pidfd = 0x1000;
constexpr std::uint64_t clone_child_cleartid = 0x200000;

constexpr std::size_t stack_size = 256U << 10U;  // the composites use about 50 KiB of it
constexpr long futex_wait = 0;                   // futex(2); not private, because the kernel's wake at CLONE_CHILD_CLEARTID is not
constexpr int pr_get_dumpable = 3;               // prctl(2)
constexpr int pr_set_dumpable = 4;

std::uint64_t clone_flags(Namespace set) noexcept {
  constexpr std::pair<Namespace, std::uint64_t> flags[] = {
      {Namespace::mount, abi::clone_newns},      {Namespace::pid, abi::clone_newpid},   {Namespace::uts, abi::clone_newuts},
      {Namespace::ipc, abi::clone_newipc},       {Namespace::net, abi::clone_newnet},   {Namespace::user, abi::clone_newuser},
      {Namespace::cgroup, abi::clone_newcgroup}, {Namespace::time, abi::clone_newtime},
  };
  std::uint64_t result = 0;
  for (const auto& [one, flag] : flags) {
    if (contains(set, one)) result |= flag;
  }
  return result;
}

// Memory for the child's stack, above a page that faults: an overflow kills the child and nothing else. From the C library's mmap(2), which
// sanitizers and valgrind see: another thread's stack is not the same memory later.
class Stack {
 public:
  Stack() = default;
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  ~Stack() {
    if (base_ != nullptr) ::munmap(base_, size_);
  }
  result<void> map() noexcept {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    size_ = stack_size + page;
    void* base = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return failed_call(SYS_mmap, -errno);
    base_ = base;
    if (::mprotect(base_, page, PROT_NONE) != 0) return failed_call(SYS_mprotect, -errno);
    return outcome::success();
  }
  void* top() const noexcept { return static_cast<char*>(base_) + size_; }

 private:
  void* base_ = nullptr;
  std::size_t size_ = 0;
};

// All signals of this thread blocked, also the two that the C library keeps to itself: a handler must not run in a child that shares our
// memory.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    const std::uint64_t all = ~std::uint64_t{0};
    (void)parent_call(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before_, sizeof before_);  // it cannot fail with these arguments
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { (void)parent_call(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, sizeof before_); }
  std::uint64_t before() const noexcept { return before_; }

 private:
  std::uint64_t before_ = 0;
};

// When a child that shares our memory changes its user id, the kernel makes that memory not dumpable, so that nobody who may trace the new
// user reads what belongs to the old one (ptrace(2), "Ptrace access mode checking"; prctl(2), PR_SET_DUMPABLE). That lasts, and the memory
// is ours. It must not be undone before the last such child has left. Hence a count for the whole process: the flag belongs to the process
// too.
class ForeignUserInMemory {
 public:
  ForeignUserInMemory() = default;
  ForeignUserInMemory(const ForeignUserInMemory&) = delete;
  ForeignUserInMemory& operator=(const ForeignUserInMemory&) = delete;
  ~ForeignUserInMemory() { leave(); }

  void enter() {
    State& state = shared();
    const std::lock_guard lock{state.mutex};
    if (state.children++ == 0) state.before = parent_call(SYS_prctl, pr_get_dumpable, 0, 0, 0, 0);
    inside_ = true;
  }
  void leave() {
    if (!std::exchange(inside_, false)) return;
    State& state = shared();
    const std::lock_guard lock{state.mutex};
    if (--state.children == 0 && state.before == 1) (void)parent_call(SYS_prctl, pr_set_dumpable, 1, 0, 0, 0);
  }

 private:
  struct State {
    std::mutex mutex{};
    int children = 0;
    long before = 0;
  };
  static State& shared() {
    static State state;
    return state;
  }
  bool inside_ = false;
};

// argv or envp
class Pointers {
 public:
  explicit Pointers(const std::vector<std::string>& strings) {
    pointers_.reserve(strings.size() + 1);
    for (const std::string& one : strings) pointers_.push_back(one.c_str());
    pointers_.push_back(nullptr);
  }
  const char* const* data() const noexcept { return pointers_.data(); }

 private:
  std::vector<const char*> pointers_{};
};

// The paths that execvp(3) would try.
std::vector<std::string> programs_of(const LaunchOptions& options) {
  const std::string& name = options.executable.empty() ? options.exec.front() : options.executable;
  if (name.find('/') != std::string::npos) return {name};
  std::string_view path = default_path;
  for (const std::string& one : options.environment) {
    if (!one.starts_with("PATH=")) continue;
    path = std::string_view{one}.substr(5);
    break;
  }
  std::vector<std::string> programs;
  while (true) {
    const std::size_t colon = path.find(':');
    const std::string_view directory = path.substr(0, colon);
    programs.push_back((directory.empty() ? std::string{"."} : std::string{directory}) + "/" + name);
    if (colon == std::string_view::npos) return programs;
    path.remove_prefix(colon + 1);
  }
}

}  // namespace

class Launcher {
 public:
  Launcher(const Plan& plan, const LaunchOptions& options, LaunchReport& report)
      : options_(options),
        report_(report),
        caller_(Caller::current()),
        argv_(options.exec),
        envp_(options.environment),
        programs_(programs_of(options)),
        program_pointers_(programs_) {
    connect_frame(frame_, plan, options.kernel != nullptr ? *options.kernel : linux_kernel(), slots_, scratch_);
    user_namespace_ = contains(options.namespaces, Namespace::user);
    if (user_namespace_) maps_ = IdMaps::from(options, caller_);
  }

  result<Child> run() {
    report_.stage = LaunchStage::resources;
    ROOTPREP_TRY(prepare());
    report_.stage = LaunchStage::clone;
    ROOTPREP_TRY(clone());
    if (user_namespace_) {
      report_.stage = LaunchStage::id_maps;
      ROOTPREP_TRY(maps_.write(child_.pid(), report_.message));
      const std::uint64_t one = 1;
      if (const long told = parent_call(SYS_write, go_.get(), &one, sizeof one); told < 0) return failed_call(SYS_write, told);
    }
    wait_until_gone();
    return conclude();
  }

 private:
  result<void> prepare() {
    // Before anything is opened: descriptors of ours would take the numbers of closed ones.
    for (int number = 0; number < 3; ++number) open_at_start_[number] = parent_call(SYS_fcntl, number, F_GETFD) >= 0;
    int ends[2] = {-1, -1};
    if (const long made = parent_call(SYS_pipe2, ends, O_CLOEXEC); made < 0) return failed_call(SYS_pipe2, made);
    reader_.reset(ends[0]);
    writer_.reset(ends[1]);
    // Of this end only: the child may wait, we may not.
    if (const long set = parent_call(SYS_fcntl, reader_.get(), F_SETFL, O_NONBLOCK); set < 0) return failed_call(SYS_fcntl, set);
    if (user_namespace_) {
      const long made = parent_call(SYS_eventfd2, 0, EFD_CLOEXEC);  // not a pipe: a child that is dead would send us SIGPIPE
      if (made < 0) return failed_call(SYS_eventfd2, made);
      go_.reset(static_cast<int>(made));
    }
    const long self = parent_call(SYS_pidfd_open, parent_call(SYS_getpid), 0);
    if (self < 0 && self != -ENOSYS) return failed_call(SYS_pidfd_open, self);  // before Linux 5.3, and in valgrind: the child cannot ask
    self_.reset(static_cast<int>(self));

    ROOTPREP_TRY(prepare_descriptors());
    prepare_start();
    return share_memory_ ? stack_.map() : result<void>{outcome::success()};
  }

  result<void> prepare_descriptors() {
    passed_.reserve(options_.pass_descriptors.size() + 3);
    for (const PassedDescriptor& one : options_.pass_descriptors) passed_.push_back({one.fd, one.as, -1});
    const std::size_t explicit_count = passed_.size();
    for (int number = 0; number < 3; ++number) {
      const auto end = passed_.begin() + static_cast<std::ptrdiff_t>(explicit_count);
      if (std::any_of(passed_.begin(), end, [&](const child::PassedTo& one) { return one.to == number; })) continue;
      int from = number;
      if (options_.stdio == Stdio::null || !open_at_start_[number]) {
        if (null_.get() < 0) {
          const long opened = parent_call(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
          if (opened < 0) return failed_call(SYS_openat, opened);
          null_.reset(static_cast<int>(opened));
        }
        from = null_.get();
      }
      passed_.push_back({from, number, -1});
    }
    std::sort(passed_.begin(), passed_.end(), [](const child::PassedTo& a, const child::PassedTo& b) { return a.to < b.to; });
    return outcome::success();
  }

  void prepare_start() {
    const bool root_is_mapped = IdMaps::outside(maps_.uids, 0) && IdMaps::outside(maps_.gids, 0);
    start_.frame = &frame_;
    start_.report_pipe = writer_.get();
    start_.go = go_.get();
    start_.parent = self_.get();
    start_.become_root = user_namespace_ && root_is_mapped;
    // The caller's groups give access to files of the host. Where the kernel lets us, they are gone.
    start_.drop_groups = user_namespace_ && !maps_.deny_setgroups;
    start_.hostname = options_.hostname.c_str();
    start_.hostname_size = options_.hostname.size();
    start_.domainname = options_.domainname.c_str();
    start_.domainname_size = options_.domainname.size();
    start_.working_directory = options_.working_directory.empty() ? nullptr : options_.working_directory.c_str();
    start_.passed = passed_.data();
    start_.passed_count = passed_.size();
    // The range is empty on purpose: it asks whether the flag is known (Linux 5.11), and marks nothing.
    start_.close_range = child::invoke(*frame_.kernel, SYS_close_range, ~0U, ~0U, abi::close_range_cloexec) >= 0;
    if (options_.credentials) {
      start_.set_groups = !(user_namespace_ && maps_.deny_setgroups);  // denied: there are none to be set, check_options() has seen to that
      start_.groups = options_.credentials->groups.data();
      start_.group_count = options_.credentials->groups.size();
      start_.set_ids = true;
      start_.uid = options_.credentials->uid;
      start_.gid = options_.credentials->gid;
    }
    start_.no_new_privileges = options_.no_new_privileges;
    start_.parent_death_signal = options_.parent_death_signal;
    start_.keep_ignored_signals = options_.signals == SignalState::inherit;
    start_.set_umask = options_.umask.has_value();
    start_.umask = options_.umask.value_or(0);
    start_.new_session = options_.new_session;
    start_.controlling_terminal = options_.controlling_terminal;
    start_.function = options_.run_in_child.function;
    start_.function_data = options_.run_in_child.data;
    start_.function_data_size = options_.run_in_child.size;
    start_.programs = program_pointers_.data();
    start_.program_count = programs_.size();
    start_.argv = argv_.data();
    start_.envp = envp_.data();

    changes_user_ = (start_.become_root && !is_callers(0, 0)) || (start_.set_ids && !is_callers(start_.uid, start_.gid));
    share_memory_ = options_.clone_mode == CloneMode::share_memory && !contains(options_.namespaces, Namespace::time);
    // While our memory is not dumpable, our /proc files belong to root (proc(5)), and without privilege the id maps of a child that another
    // thread launches could not be written.
    if (changes_user_ && !caller_.cap_setuid) share_memory_ = false;
  }

  // Does this user and group of the child have the caller's ids?
  bool is_callers(std::uint32_t uid, std::uint32_t gid) const noexcept {
    if (!user_namespace_) return uid == caller_.uid && gid == caller_.gid;
    return IdMaps::outside(maps_.uids, uid) == caller_.uid && IdMaps::outside(maps_.gids, gid) == caller_.gid;
  }

  result<void> clone() {
    std::uint64_t flags = clone_flags(options_.namespaces) | clone_pidfd;
    int pidfd = -1;
    long pid = -1;
    if (changes_user_ && share_memory_) foreign_user_.enter();
    {
      const SignalsBlocked blocked;
      start_.signal_mask = start_.keep_ignored_signals ? blocked.before() : 0;
      if (share_memory_) {
        flags |= clone_vm | clone_child_cleartid;
        alive_ = 1;
        pid = __clone(&child::enter, stack_.top(), static_cast<int>(flags) | SIGCHLD, &start_, &pidfd, nullptr, &alive_);
        if (pid < 0) pid = -errno;
      } else {
        pid = fork_like(flags, pidfd);
        if (pid == 0) (void)child::enter(&start_);
      }
    }
    if (pid < 0) return failed_call(SYS_clone, pid);
    child_ = Child{static_cast<std::int32_t>(pid), pidfd};
    writer_.reset(-1);
    return outcome::success();
  }

  // clone3(2), because CLONE_NEWTIME has no place in the flags of clone(2); where it is missing or a filter answers ENOSYS, clone(2).
  static long fork_like(std::uint64_t flags, int& pidfd) noexcept {
    struct {
      std::uint64_t flags = 0;
      std::uint64_t pidfd = 0;
      std::uint64_t child_tid = 0;
      std::uint64_t parent_tid = 0;
      std::uint64_t exit_signal = SIGCHLD;
      std::uint64_t stack = 0;
      std::uint64_t stack_size = 0;
      std::uint64_t tls = 0;
    } arguments;
    arguments.flags = flags;
    arguments.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
    const long pid = parent_call(SYS_clone3, &arguments, sizeof arguments);
    if (pid != -ENOSYS || (flags & abi::clone_newtime) != 0) return pid;
    return parent_call(SYS_clone, flags | SIGCHLD, 0, &pidfd, 0, 0);
  }

  // Until the child has left our memory, by execve(2) or by its end.
  void wait_until_gone() {
    if (share_memory_) {
      // CLONE_CHILD_CLEARTID: the kernel itself says so, whatever descriptors others have inherited in the meantime.
      const std::atomic_ref<int> alive{alive_};
      const struct {
        std::int64_t seconds = 1;
        std::int64_t nanoseconds = 0;
      } now_and_then;
      while (alive.load(std::memory_order_acquire) != 0) {
        (void)parent_call(SYS_futex, &alive_, futex_wait, 1, &now_and_then, nullptr, 0);
        if (ended()) break;  // kernels before 5.16 do not clear it when the child dumps core
      }
    } else {
      while (!drain()) {
        pollfd descriptors[] = {{reader_.get(), POLLIN, 0}, {child_.pidfd(), POLLIN, 0}};
        (void)parent_call(SYS_ppoll, descriptors, 2, nullptr, nullptr, 0);
        if (descriptors[1].revents != 0) break;
      }
    }
    (void)drain();
    foreign_user_.leave();
  }

  bool ended() const noexcept {
    if (child_.pidfd() < 0) return false;
    pollfd descriptor{child_.pidfd(), POLLIN, 0};
    const timespec now{};
    return parent_call(SYS_ppoll, &descriptor, 1, &now, nullptr, 0) > 0;
  }

  // Reads the reports that are there. True: nobody will write one any more.
  bool drain() noexcept {
    while (true) {
      child::StartReport report;
      const long got = parent_call(SYS_read, reader_.get(), &report, sizeof report);
      if (got == -EINTR) continue;
      if (got == static_cast<long>(sizeof report)) {
        last_ = report;
        reported_ = true;
        continue;
      }
      return got != -EAGAIN;
    }
  }

  result<Child> conclude() {
    if (!reported_) {
      report_.stage = LaunchStage::start;
      (void)child_.kill();  // dead, or, if its report could not be written, a program that runs unreported
      if (const result<ExitStatus> status = child_.wait()) report_.ended = status.assume_value();
      return Error::from_child(ChildErrc::exited_early);
    }
    report_.stage = last_.stage;
    report_.plan = last_.plan;
    if (last_.error.domain == Domain::none) return std::move(child_);
    (void)child_.wait();  // it is about to end; ECHILD: somebody else has reaped it
    if (last_.stage == LaunchStage::exec) {
      report_.exec.mode = last_.mode;
      report_.exec.noexec = last_.noexec != 0;
      report_.exec.head.assign(last_.head, std::min<std::size_t>(last_.head_size, sizeof last_.head));
      report_.exec.interpreter = last_.interpreter;
      const bool nowhere = last_.error.is_errno(ENOENT) && last_.mode == 0 && programs_.size() > 1;
      const std::string& name = options_.executable.empty() ? options_.exec.front() : options_.executable;
      report_.exec.path = nowhere || last_.program >= programs_.size() ? name : programs_[last_.program];
    }
    return last_.error;
  }

  const LaunchOptions& options_;
  LaunchReport& report_;
  Caller caller_;
  IdMaps maps_{};
  bool user_namespace_ = false;
  bool changes_user_ = false;
  bool share_memory_ = true;

  Pointers argv_;
  Pointers envp_;
  std::vector<std::string> programs_;
  Pointers program_pointers_;
  std::vector<int> slots_{};
  std::vector<char> scratch_{};
  child::Frame frame_{};
  std::vector<child::PassedTo> passed_{};
  bool open_at_start_[3] = {};
  Descriptor reader_{};
  Descriptor writer_{};
  Descriptor go_{};
  Descriptor self_{};
  Descriptor null_{};
  Stack stack_{};
  ForeignUserInMemory foreign_user_{};
  child::Start start_{};
  child::StartReport last_{};
  bool reported_ = false;
  int alive_ = 0;
  Child child_{};  // last, so that it is the first to go: it uses all of the above until it is dead
};

result<Child> launch(const Plan& plan, const LaunchOptions& options, LaunchReport* report) {
  LaunchReport own;
  LaunchReport& out = report != nullptr ? *report : own;
  out = LaunchReport{};
  if (check_options(plan, options, out.problems); !out.problems.empty()) {
    out.error = out.problems.front().error;
    return out.error;
  }
  result<Child> child = Launcher{plan, options, out}.run();
  if (!child) out.error = child.assume_error();
  return child;
}

std::vector<std::string> current_environment() {
  std::vector<std::string> copy;
  for (char** one = environ; one != nullptr && *one != nullptr; ++one) copy.emplace_back(*one);
  return copy;
}

}  // namespace rootprep
