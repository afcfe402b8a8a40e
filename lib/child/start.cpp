// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// Runs between clone() and execve(). No allocation, locks, errno, exceptions, containers.
#include "child/start.hpp"

#include <fcntl.h>

#include <cerrno>

#include "child/system_calls.hpp"
#include "rootprep/abi.hpp"

namespace rootprep::child {
namespace {

// By their own names, because <sys/prctl.h>, <signal.h> and <sys/resource.h> bring C library functions along.
constexpr int pr_set_pdeathsig = 1;  // prctl(2)
constexpr int pr_set_no_new_privs = 38;
constexpr int sig_setmask = 2;  // sigprocmask(2)
constexpr int sigkill = 9;
constexpr int sigstop = 19;
constexpr int last_signal = 64;  // _NSIG
constexpr std::uint64_t sig_ign = 1;
constexpr int rlimit_nofile = 7;             // getrlimit(2)
constexpr int f_dupfd_cloexec = 1030;        // fcntl(2)
constexpr unsigned long tiocsctty = 0x540E;  // ioctl_tty(2)
constexpr short pollin = 1;

// The kernel's struct sigaction. Architectures without sa_restorer have the mask earlier: all that is written here is 0, and all that is
// read is the handler.
struct SignalAction {
  std::uint64_t handler = 0;
  std::uint64_t flags = 0;
  std::uint64_t restorer = 0;
  std::uint64_t mask = 0;
};
struct ResourceLimit {
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
};
struct PollDescriptor {
  int fd = -1;
  short events = 0;
  short revents = 0;
};
struct TimeSpec {
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = 0;
};

class Starter {
 public:
  explicit Starter(Start& start) noexcept : s_(start), kernel_(*start.frame->kernel) {}

  void run() noexcept {
    if (!begin() || !wait_for_parent() || !become_root() || !name_host() || !run_plan() || !enter_working_directory() ||
        !pass_descriptors() || !set_credentials() || !call_function()) {
      send();
      return;
    }
    execute_program();
    send();
  }

 private:
  template <class... Types>
  long call(long number, Types... arguments) noexcept {
    return invoke(kernel_, number, arguments...);
  }

  // Notes a failure of a system call. True: it has succeeded.
  bool check(LaunchStage stage, long number, long result) noexcept {
    if (result >= 0) return true;
    s_.report.stage = stage;
    s_.report.error = Error::from_errno(static_cast<int>(-result), static_cast<std::uint16_t>(number));
    return false;
  }
  bool fail(LaunchStage stage, ChildErrc code) noexcept {
    s_.report.stage = stage;
    s_.report.error = Error::from_child(code);
    return false;
  }
  template <class... Types>
  bool require(LaunchStage stage, long number, Types... arguments) noexcept {
    return check(stage, number, call(number, arguments...));
  }

  void send() noexcept {
    // A parent that is gone reads nothing; nobody is left to be told.
    (void)call(SYS_write, s_.report_pipe, &s_.report, sizeof s_.report);
  }

  bool begin() noexcept {
    // Handlers of the parent would run in its memory: none may be left when the signals are unblocked. The dispositions are a copy, because
    // clone() was called without CLONE_SIGHAND.
    for (int number = 1; number <= last_signal; ++number) {
      if (number == sigkill || number == sigstop) continue;
      SignalAction action;
      if (s_.keep_ignored_signals) {
        if (!require(LaunchStage::start, SYS_rt_sigaction, number, nullptr, &action, sizeof action.mask)) return false;
        if (action.handler == sig_ign) continue;
      }
      action = SignalAction{};
      if (!require(LaunchStage::start, SYS_rt_sigaction, number, &action, nullptr, sizeof action.mask)) return false;
    }
    // Whoever kills the parent has not asked for an orphan that goes on mounting.
    if (!require(LaunchStage::start, SYS_prctl, pr_set_pdeathsig, sigkill, 0, 0, 0)) return false;
    if (parent_is_gone()) return fail(LaunchStage::start, ChildErrc::interrupted);
    if (s_.new_session && !require(LaunchStage::start, SYS_setsid)) return false;
    return true;
  }

  // prctl(2) sets the parent-death signal too late if the parent is dead already, and getppid(2) is 0 in a PID namespace anyway.
  bool parent_is_gone() noexcept {
    if (s_.parent < 0) return false;
    PollDescriptor poll{s_.parent, pollin, 0};
    const TimeSpec now;
    return call(SYS_ppoll, &poll, 1, &now, nullptr, 8) > 0;
  }

  bool wait_for_parent() noexcept {
    if (s_.go < 0) return true;
    std::uint64_t value = 0;
    long got = -EINTR;
    while (got == -EINTR) got = call(SYS_read, s_.go, &value, sizeof value);
    return check(LaunchStage::start, SYS_read, got);
  }

  // Where the parent's id is not mapped to 0, files that the plan makes would belong to an id that the namespace does not have (EOVERFLOW).
  // The capabilities stay: user_namespaces(7), "Effect of capabilities"; capabilities(7), "Effect of user ID changes".
  bool become_root() noexcept {
    constexpr auto stage = LaunchStage::user_namespace;
    if (s_.drop_groups && !require(stage, SYS_setgroups, 0, nullptr)) return false;
    if (!s_.become_root) return true;
    return require(stage, SYS_setresgid, 0, 0, 0) && require(stage, SYS_setresuid, 0, 0, 0) &&
           require(stage, SYS_prctl, pr_set_pdeathsig, sigkill, 0, 0, 0);  // a change of credentials clears it (prctl(2))
  }

  bool name_host() noexcept {
    if (s_.hostname_size != 0 && !require(LaunchStage::hostname, SYS_sethostname, s_.hostname, s_.hostname_size)) return false;
    return s_.domainname_size == 0 || require(LaunchStage::hostname, SYS_setdomainname, s_.domainname, s_.domainname_size);
  }

  bool run_plan() noexcept {
    // A plan holds many descriptors at once, and the soft limit protects select(2), which nothing here calls.
    const bool limited = call(SYS_prlimit64, 0, rlimit_nofile, nullptr, &limit_) >= 0 && limit_.soft < limit_.hard;
    if (limited) {
      const ResourceLimit raised{limit_.hard, limit_.hard};
      raised_ = call(SYS_prlimit64, 0, rlimit_nofile, &raised, nullptr) >= 0;  // not raised: the plan may well do with what there is
    }
    if (!s_.close_range) {
      proc_descriptors_ = static_cast<int>(call(SYS_openat, abi::at_fdcwd, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!check(LaunchStage::descriptors, SYS_openat, proc_descriptors_))
        return false;  // the /proc of the new root may be missing, or a lie
    }
    execute(*s_.frame);
    s_.report.plan = s_.frame->report;
    s_.report.error = s_.frame->report.error;
    s_.report.stage = LaunchStage::plan;
    return s_.report.error.domain == Domain::none;
  }

  bool enter_working_directory() noexcept {
    constexpr auto stage = LaunchStage::working_directory;
    if (s_.working_directory != nullptr && !require(stage, SYS_chdir, s_.working_directory)) return false;
    // CVE-2024-21626: a path such as /proc/self/fd/7 leads out of the root. getcwd(2): the kernel then answers "(unreachable)...", and
    // ENOENT if the directory was removed.
    char path[4096];
    const long size = call(SYS_getcwd, path, sizeof path);
    if (!check(stage, SYS_getcwd, size)) return false;
    return path[0] == '/' || fail(stage, ChildErrc::outside_root);
  }

  bool pass_descriptors() noexcept {
    constexpr auto stage = LaunchStage::descriptors;
    int first_free = 3;
    for (std::size_t i = 0; i < s_.passed_count; ++i) {
      if (s_.passed[i].to >= first_free) first_free = s_.passed[i].to + 1;
    }
    // First all sources move above all targets: one may be the other.
    const long pipe = call(SYS_fcntl, s_.report_pipe, f_dupfd_cloexec, first_free);
    if (!check(stage, SYS_fcntl, pipe)) return false;
    s_.report_pipe = static_cast<int>(pipe);
    if (proc_descriptors_ >= 0) {
      proc_descriptors_ = static_cast<int>(call(SYS_fcntl, proc_descriptors_, f_dupfd_cloexec, first_free));
      if (!check(stage, SYS_fcntl, proc_descriptors_)) return false;
    }
    if (s_.parent >= 0) {
      s_.parent = static_cast<int>(call(SYS_fcntl, s_.parent, f_dupfd_cloexec, first_free));
      if (!check(stage, SYS_fcntl, s_.parent)) return false;
    }
    for (std::size_t i = 0; i < s_.passed_count; ++i) {
      s_.passed[i].moved = static_cast<int>(call(SYS_fcntl, s_.passed[i].from, f_dupfd_cloexec, first_free));
      if (!check(stage, SYS_fcntl, s_.passed[i].moved)) return false;
    }
    for (std::size_t i = 0; i < s_.passed_count; ++i) {
      if (!require(stage, SYS_dup3, s_.passed[i].moved, s_.passed[i].to, 0)) return false;
    }
    // close-on-exec instead of close: the pipe must outlive a failing execve(2).
    return s_.close_range ? mark_ranges() : mark_one_by_one();
  }

  bool mark_ranges() noexcept {
    std::uint64_t first = 0;
    for (std::size_t i = 0; i < s_.passed_count; ++i) {
      const auto kept = static_cast<std::uint64_t>(s_.passed[i].to);
      if (kept > first && !require(LaunchStage::descriptors, SYS_close_range, first, kept - 1, abi::close_range_cloexec)) return false;
      first = kept + 1;
    }
    return require(LaunchStage::descriptors, SYS_close_range, first, ~0U, abi::close_range_cloexec);
  }

  bool mark_one_by_one() noexcept {
    // struct linux_dirent64: 8 bytes inode, 8 bytes offset, 2 bytes record length, 1 byte type, the name (getdents(2)).
    constexpr std::size_t length_offset = 16;
    constexpr std::size_t name_offset = 19;
    alignas(8) char buffer[2048];
    while (true) {
      const long got = call(SYS_getdents64, proc_descriptors_, buffer, sizeof buffer);
      if (!check(LaunchStage::descriptors, SYS_getdents64, got)) return false;
      if (got == 0) return true;
      for (long at = 0; at < got;) {
        std::uint16_t length = 0;
        __builtin_memcpy(&length, buffer + at + length_offset, sizeof length);
        const char* name = buffer + at + name_offset;
        at += length;
        if (*name < '0' || *name > '9') continue;  // "." and ".."
        int descriptor = 0;
        for (; *name != '\0'; ++name) descriptor = descriptor * 10 + (*name - '0');
        if (kept(descriptor)) continue;
        const long result = call(SYS_fcntl, descriptor, F_SETFD, FD_CLOEXEC);
        if (result != -EBADF && !check(LaunchStage::descriptors, SYS_fcntl, result)) return false;
      }
    }
  }

  bool kept(int descriptor) const noexcept {
    for (std::size_t i = 0; i < s_.passed_count; ++i) {
      if (s_.passed[i].to == descriptor) return true;
    }
    return false;
  }

  bool set_credentials() noexcept {
    constexpr auto stage = LaunchStage::credentials;
    // After the descriptors: their numbers may need the raised limit.
    if (raised_ && !require(stage, SYS_prlimit64, 0, rlimit_nofile, &limit_, nullptr)) return false;
    if (s_.controlling_terminal && !require(stage, SYS_ioctl, 0, tiocsctty, 0)) return false;
    // Groups first: without CAP_SETGID they cannot be changed any more. User last, for the same reason.
    if (s_.set_groups && !require(stage, SYS_setgroups, s_.group_count, s_.groups)) return false;
    if (s_.set_ids && !(require(stage, SYS_setresgid, s_.gid, s_.gid, s_.gid) && require(stage, SYS_setresuid, s_.uid, s_.uid, s_.uid)))
      return false;
    if (s_.set_umask) (void)call(SYS_umask, s_.umask);  // umask(2) cannot fail
    // After the credentials, whose change clears it (prctl(2)).
    if (!require(stage, SYS_prctl, pr_set_pdeathsig, s_.parent_death_signal, 0, 0, 0)) return false;
    if (s_.parent_death_signal != 0 && parent_is_gone()) return fail(stage, ChildErrc::interrupted);
    return !s_.no_new_privileges || require(stage, SYS_prctl, pr_set_no_new_privs, 1, 0, 0, 0);
  }

  bool call_function() noexcept {
    if (s_.function == nullptr) return true;
    const ChildContext context{kernel_, s_.function_data, s_.function_data_size, -1};
    return check(LaunchStage::child_function, 0, s_.function(context));
  }

  // As execvp(3) goes through PATH, but without a shell for files of an unknown format.
  void execute_program() noexcept {
    s_.report.stage = LaunchStage::running;
    send();
    if (!require(LaunchStage::exec, SYS_rt_sigprocmask, sig_setmask, &s_.signal_mask, nullptr, sizeof s_.signal_mask)) return;
    long verdict = -ENOENT;
    for (std::size_t i = 0; i < s_.program_count; ++i) {
      const long result = call(SYS_execve, s_.programs[i], s_.argv, s_.envp);
      if (s_.program_count == 1) {  // not looked for: its own error
        verdict = result;
        break;
      }
      const bool missing = result == -ENOENT && !exists(s_.programs[i]);
      if (result == -EACCES && verdict != -EACCES) s_.report.program = static_cast<std::uint32_t>(i);
      if (result == -EACCES) verdict = result;
      if (missing || result == -EACCES || result == -ENOTDIR || result == -ESTALE || result == -ENODEV || result == -ETIMEDOUT) continue;
      s_.report.program = static_cast<std::uint32_t>(i);
      verdict = result;
      break;
    }
    (void)check(LaunchStage::exec, SYS_execve, verdict);
    if (s_.program_count != 0) examine(s_.programs[s_.report.program], verdict);
  }

  bool exists(const char* path) noexcept {
    const long fd = call(SYS_openat, abi::at_fdcwd, path, abi::o_path | abi::o_cloexec);
    if (fd >= 0) (void)call(SYS_close, fd);
    return fd >= 0;
  }

  // Gathers why execve(2) has refused, while the new root can be seen. What cannot be read is not known: no failure of its own.
  void examine(const char* path, long verdict) noexcept {
    const long fd = call(SYS_openat, abi::at_fdcwd, path, abi::o_path | abi::o_cloexec);
    if (fd < 0) return;
    abi::statx status;
    if (call(SYS_statx, fd, "", abi::at_empty_path, abi::statx_type | abi::statx_mode, &status) >= 0) s_.report.mode = status.mode;
    abi::statfs filesystem;
    if (call(SYS_fstatfs, fd, &filesystem) >= 0)
      s_.report.noexec = (static_cast<std::uint64_t>(filesystem.flags) & abi::st_noexec) != 0 ? 1 : 0;
    (void)call(SYS_close, fd);
    if ((s_.report.mode & 0170000U) != abi::s_ifreg) return;

    // The interpreter of a script may be a script (execve(2): at most four deep), and in the end a program whose loader is missing.
    char name[sizeof s_.report.interpreter];
    const char* file = path;
    for (int depth = 0; depth < 6; ++depth) {
      char found[sizeof name];
      if (!read_interpreter(file, depth == 0, found)) return;
      if (verdict == -ENOENT && !exists(found)) {
        __builtin_memcpy(s_.report.interpreter, found, sizeof found);
        return;
      }
      __builtin_memcpy(name, found, sizeof found);
      file = name;
    }
  }

  // The file that the kernel starts to run `path`: after "#!", or in the PT_INTERP segment of an ELF file (elf(5)).
  bool read_interpreter(const char* path, bool keep_head, char (&out)[256]) noexcept {
    out[0] = '\0';
    const long fd = call(SYS_openat, abi::at_fdcwd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return false;
    char head[256] = {};
    const long got = call(SYS_pread64, fd, head, sizeof head - 1, 0);
    if (keep_head && got > 0) {
      const std::size_t size =
          static_cast<std::size_t>(got) < sizeof s_.report.head ? static_cast<std::size_t>(got) : sizeof s_.report.head;
      __builtin_memcpy(s_.report.head, head, size);
      s_.report.head_size = static_cast<std::uint16_t>(size);
    }
    if (got > 2 && head[0] == '#' && head[1] == '!') {
      std::size_t in = 2;
      while (head[in] == ' ' || head[in] == '\t') ++in;
      std::size_t size = 0;
      while (head[in] != '\0' && head[in] != ' ' && head[in] != '\t' && head[in] != '\n') out[size++] = head[in++];
      out[size] = '\0';
    } else if (got >= 64 && head[0] == 0x7f && head[1] == 'E' && head[2] == 'L' && head[3] == 'F') {
      read_elf_interpreter(fd, head, out);
    }
    (void)call(SYS_close, fd);
    return out[0] != '\0';
  }

  void read_elf_interpreter(long fd, const char* head, char (&out)[256]) noexcept {
    constexpr std::uint32_t pt_interp = 3;
    constexpr char elf_class_64 = 2;
    constexpr char little_endian = 1;
    if (head[5] != little_endian) return;  // of another architecture: ENOEXEC, not ENOENT
    const bool wide = head[4] == elf_class_64;
    const std::uint64_t table = wide ? load<std::uint64_t>(head + 32) : load<std::uint32_t>(head + 28);
    const std::uint64_t size = load<std::uint16_t>(head + (wide ? 54 : 42));
    const std::uint64_t count = load<std::uint16_t>(head + (wide ? 56 : 44));
    for (std::uint64_t i = 0; i < count && i < 128; ++i) {
      char segment[56] = {};
      if (call(SYS_pread64, fd, segment, sizeof segment, table + i * size) < (wide ? 56 : 32)) return;
      if (load<std::uint32_t>(segment) != pt_interp) continue;
      const std::uint64_t offset = wide ? load<std::uint64_t>(segment + 8) : load<std::uint32_t>(segment + 4);
      const std::uint64_t length = wide ? load<std::uint64_t>(segment + 32) : load<std::uint32_t>(segment + 16);
      const std::uint64_t wanted = length < sizeof out - 1 ? length : sizeof out - 1;
      const long got = call(SYS_pread64, fd, out, wanted, offset);
      out[got > 0 ? got : 0] = '\0';
      return;
    }
  }

  template <class Integer>
  static Integer load(const char* from) noexcept {
    Integer value = 0;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
  }

  Start& s_;
  Kernel& kernel_;
  ResourceLimit limit_{};
  bool raised_ = false;
  int proc_descriptors_ = -1;
};

}  // namespace

int enter(void* start) noexcept {
  Starter{*static_cast<Start*>(start)}.run();
  // The kernel's own door: a kernel of the caller's may answer this and go on.
  while (true) (void)invoke(linux_kernel(), SYS_exit_group, 125);
}

}  // namespace rootprep::child
