// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>

#include "catch.hpp"
#include "golden.hpp"
#include "kernel/launch_fixture.hpp"
#include "rootprep/explain.hpp"

using namespace launch_test;

namespace {

// A test that needs another user, or an environment that a process cannot leave again, runs in a fork. What it returns is what it found.
std::string in_fork(const std::function<std::string()>& body) {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  const pid_t pid = fork();
  if (pid == 0) {
    std::string text;
    try {
      text = body();
    } catch (const std::exception& error) {
      text = std::string{"exception: "} + error.what();
    }
    (void)!write(ends[1], text.data(), text.size());
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(got));
  close(ends[0]);
  waitpid(pid, nullptr, 0);
  return text;
}

void become(uid_t uid) {
  if (syscall(SYS_setgroups, 0, nullptr) != 0 || setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0)
    throw std::runtime_error("setresuid");
  // As after login: exec would set it, but nothing is executed here. Without it /proc/PID belongs to root.
  if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) throw std::runtime_error("prctl");
}

std::string own_namespace(const std::string& name) {
  char target[64] = {};
  if (readlink(("/proc/self/ns/" + name).c_str(), target, sizeof target - 1) < 0) throw std::runtime_error("readlink");
  return target;
}

std::string inode(int descriptor) {
  struct stat status {};
  fstat(descriptor, &status);
  return std::to_string(status.st_ino);
}

// Is the other end closed within ten seconds?
bool closes(int reader) {
  pollfd descriptor{reader, POLLIN, 0};
  char byte = 0;
  return poll(&descriptor, 1, 10'000) == 1 && read(reader, &byte, 1) == 0;
}

std::string where(const Outcome& outcome, const Plan& plan) { return explain(outcome.report, plan); }

}  // namespace

TEST_CASE("launch: the program runs in the new root, and its end comes back as a shell has it") {
  const TestRoot root;
  struct Row {
    std::vector<std::string> exec;
    ExitStatus status;
    int shell;
  };
  const bool user = GENERATE(false, true);
  const CloneMode mode = GENERATE(CloneMode::share_memory, CloneMode::fork);
  const Row row = GENERATE(Row{{"/bin/probe", "exit", "0"}, {0, 0, false}, 0}, Row{{"/bin/probe", "exit", "7"}, {7, 0, false}, 7});
  const Plan plan = root.plan(user);
  LaunchOptions options = probe_options(user);
  options.clone_mode = mode;
  options.exec = row.exec;
  const Outcome outcome = launch_probe(plan, options);
  INFO(where(outcome, plan));
  REQUIRE(outcome.launched);
  CHECK(outcome.status == row.status);
  CHECK(outcome.status.shell_code() == row.shell);
  CHECK(outcome.report.stage == LaunchStage::running);
  CHECK(outcome.report.plan.entered_by == RootEntry::pivot_root);
  CHECK(outcome.report.plan.executed >= plan.operations().size() / 2);
}

TEST_CASE("launch: each option arrives at the program, as root and in a user namespace, with shared and with copied memory") {
  const TestRoot root;
  const bool user = GENERATE(false, true);
  const CloneMode mode = GENERATE(CloneMode::share_memory, CloneMode::fork);
  LaunchOptions options = probe_options(user);
  options.clone_mode = mode;
  options.namespaces |= Namespace::uts;
  options.hostname = "box";
  options.domainname = "example";
  options.working_directory = "/work";
  options.exec = {"a name of its own", "", "two words"};
  options.executable = "probe";
  options.environment = {"PATH=/nowhere:/work:/bin", "EMPTY=", "A=b=c"};
  options.umask = 027;
  options.new_session = true;
  options.parent_death_signal = SIGTERM;
  options.stdio = Stdio::null;
  const Plan plan = root.plan(user);
  const Outcome outcome = launch_probe(plan, options);
  INFO(where(outcome, plan));
  REQUIRE(outcome.launched);
  CHECK(outcome.status.success());
  CHECK(outcome["hostname"] == "box");
  CHECK(outcome["domainname"] == "example");
  CHECK(outcome["directory"] == "/work");
  CHECK(outcome["argument 0"] == "a name of its own");
  CHECK(outcome["argument 1"].empty());
  CHECK(outcome["argument 2"] == "two words");
  CHECK(outcome.environment == "PATH=/nowhere:/work:/bin\nEMPTY=\nA=b=c\n");
  CHECK(outcome["umask"] == "027");
  CHECK(outcome["session"] == "leader");
  CHECK(outcome["parent_death_signal"] == std::to_string(SIGTERM));
  CHECK(outcome["no_new_privileges"] == "1");
  CHECK(outcome["executable"] == "/bin/probe");
  CHECK(outcome["uid"] == "0 0 0");
  CHECK(outcome["gid"] == "0 0 0");
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const std::string& descriptors = outcome["descriptors"];
  CHECK(descriptors.starts_with("0:" + inode(null) + " 1:"));
  CHECK(descriptors.find(" 2:" + inode(null) + " ") != std::string::npos);
  close(null);
}

TEST_CASE("launch: what is not asked for is the safe value") {
  const TestRoot root;
  const bool user = GENERATE(false, true);
  const mode_t mask = umask(022);
  setenv("ROOTPREP_TEST_SECRET", "secret", 1);
  const Plan plan = root.plan(user);
  const Outcome outcome = launch_probe(plan, probe_options(user));
  umask(mask);
  unsetenv("ROOTPREP_TEST_SECRET");
  INFO(where(outcome, plan));
  REQUIRE(outcome.launched);
  CHECK(outcome.environment == "PATH=" + std::string{default_path} + "\n");
  CHECK(outcome["directory"] == "/");
  CHECK(outcome["no_new_privileges"] == "1");
  CHECK(outcome["parent_death_signal"] == "0");
  CHECK(outcome["session"] == "member");
  CHECK(outcome["umask"] == "022");
}

TEST_CASE("launch: no_new_privs and the environment are the caller's choice") {
  const TestRoot root;
  LaunchOptions options = probe_options();
  options.no_new_privileges = false;
  setenv("ROOTPREP_TEST_VARIABLE", "here", 1);
  options.environment = current_environment();
  unsetenv("ROOTPREP_TEST_VARIABLE");
  const Outcome outcome = launch_probe(root.plan(), options);
  REQUIRE(outcome.launched);
  CHECK(outcome["no_new_privileges"] == "0");
  CHECK(outcome.environment.find("ROOTPREP_TEST_VARIABLE=here\n") != std::string::npos);
}

TEST_CASE("launch: the namespaces asked for are new, and no others") {
  const TestRoot root;
  const std::pair<Namespace, std::string> all[] = {
      {Namespace::mount, "mnt"}, {Namespace::pid, "pid"},   {Namespace::uts, "uts"},       {Namespace::ipc, "ipc"},
      {Namespace::net, "net"},   {Namespace::user, "user"}, {Namespace::cgroup, "cgroup"}, {Namespace::time, "time"},
  };
  const bool user = GENERATE(false, true);
  const int asked = GENERATE(range(0, 8));
  LaunchOptions options = probe_options(user);
  if (all[asked].first == Namespace::user && !user) return;  // a plan is made for a user namespace or for none: the other half has it
  options.namespaces |= all[asked].first;
  const Plan plan = root.plan(user);
  const Outcome outcome = launch_probe(plan, options);
  INFO(all[asked].second << ": " << where(outcome, plan));
  REQUIRE(outcome.launched);
  for (const auto& [one, name] : all) {
    INFO(name);
    CHECK_FALSE(outcome["namespace " + name].empty());
    CHECK((outcome["namespace " + name] != own_namespace(name)) == contains(options.namespaces, one));
  }
}

TEST_CASE("launch: the program starts with clean signals, or with the caller's if asked") {
  const TestRoot root;
  const SignalState state = GENERATE(SignalState::clean, SignalState::inherit);
  const CloneMode mode = GENERATE(CloneMode::share_memory, CloneMode::fork);
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigaddset(&blocked, SIGRTMIN + 1);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  const auto old_hangup = signal(SIGHUP, SIG_IGN);
  const auto old_user = signal(SIGUSR1, [](int) {});  // a handler is never inherited
  LaunchOptions options = probe_options();
  options.signals = state;
  options.clone_mode = mode;
  const Outcome outcome = launch_probe(root.plan(), options);
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, &before, &after);
  signal(SIGHUP, old_hangup);
  signal(SIGUSR1, old_user);
  REQUIRE(outcome.launched);
  const bool inherited = state == SignalState::inherit;
  CHECK(outcome["blocked"] == (inherited ? std::to_string(SIGTERM) + " " + std::to_string(SIGRTMIN + 1) + " " : ""));
  CHECK((outcome["ignored"].find("1 ") == 0) == inherited);
  CHECK(outcome["ignored"].find(std::to_string(SIGUSR1) + " ") == std::string::npos);
  for (int number = 1; number < SIGRTMAX; ++number) {
    INFO("signal " << number);
    CHECK(sigismember(&after, number) == sigismember(&blocked, number));  // the caller's own mask is as before
  }
}

TEST_CASE("launch: descriptors passed on have their numbers, and all others are closed") {
  const TestRoot root;
  // Without close_range(2), and with one that does not know its flag (Linux before 5.11), /proc/self/fd is read.
  class OldKernel final : public Kernel {
   public:
    explicit OldKernel(long answer) : answer_(answer) {}
    long call(const SysCall& call) noexcept override { return call.number == SYS_close_range ? answer_ : linux_kernel().call(call); }

   private:
    long answer_;
  };
  OldKernel without{-ENOSYS};
  OldKernel without_flag{-EINVAL};
  Kernel* const kernels[] = {&linux_kernel(), &without, &without_flag};
  Kernel* const kernel = kernels[GENERATE(0, 1, 2)];
  const CloneMode mode = GENERATE(CloneMode::share_memory, CloneMode::fork);
  int a[2] = {-1, -1};
  int b[2] = {-1, -1};
  REQUIRE(pipe(a) == 0);  // not close-on-exec: a leak of theirs would show
  REQUIRE(pipe(b) == 0);
  LaunchOptions options = probe_options();
  options.kernel = kernel;
  options.clone_mode = mode;
  options.pass_descriptors = {{a[0], b[0]}, {b[0], a[0]}, {a[0], 900}};  // two exchange their places, one goes far up
  const Outcome outcome = launch_probe(root.plan(), options);
  const std::string swapped_a = std::to_string(a[0]) + ":" + inode(b[0]) + " ";
  const std::string swapped_b = std::to_string(b[0]) + ":" + inode(a[0]) + " ";
  const std::string far = "900:" + inode(a[0]) + " ";
  for (const int end : {a[0], a[1], b[0], b[1]}) close(end);
  REQUIRE(outcome.launched);
  std::string descriptors = outcome["descriptors"];
  const std::size_t at = descriptors.find(" " + swapped_a);
  REQUIRE(at != std::string::npos);
  CHECK(descriptors.substr(at + 1) == swapped_a + swapped_b + far);
  CHECK(std::count(descriptors.begin(), descriptors.end(), ' ') == 6);  // 0, 1, 2 and the three
}

TEST_CASE("launch: a closed standard descriptor of the caller is /dev/null in the program") {
  const TestRoot root;
  const Plan plan = root.plan();
  const std::string found = in_fork([&] {
    close(0);
    close(2);
    const Outcome outcome = launch_probe(plan, probe_options());
    return outcome["descriptors"];
  });
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  CHECK(found.starts_with("0:" + inode(null) + " 1:"));
  CHECK(found.ends_with(" 2:" + inode(null) + " "));
  close(null);
}

TEST_CASE("launch: the program runs with the credentials asked for, and no others") {
  const TestRoot root;
  const bool user = GENERATE(false, true);
  const CloneMode mode = GENERATE(CloneMode::share_memory, CloneMode::fork);
  LaunchOptions options = probe_options(user);
  options.clone_mode = mode;
  options.credentials = Credentials{.uid = 1000, .gid = 1001, .groups = {7, 1002}};
  if (user) {
    options.uid_maps = {{.inside = 0, .outside = 100000, .count = 65536}};
    options.gid_maps = {{.inside = 0, .outside = 200000, .count = 1000}, {.inside = 1000, .outside = 300000, .count = 1000}};
  }
  const Plan plan = root.plan(user);
  REQUIRE(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);
  const Outcome outcome = launch_probe(plan, options);
  CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);  // a foreign user was in this memory: the kernel had cleared it
  INFO(where(outcome, plan));
  REQUIRE(outcome.launched);
  CHECK(outcome["uid"] == "1000 1000 1000");
  CHECK(outcome["gid"] == "1001 1001 1001");
  CHECK(outcome["groups"] == "7 1002 ");
  if (user) {
    CHECK(outcome["uid_map"].find("100000") != std::string::npos);
    CHECK(outcome["setgroups"] == "allow;");
  }
}

TEST_CASE("launch: a process that has made itself undumpable stays so") {
  const TestRoot root;
  LaunchOptions options = probe_options();
  options.credentials = Credentials{.uid = 1000, .gid = 1000};
  REQUIRE(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
  const Outcome outcome = launch_probe(root.plan(), options);
  const int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  REQUIRE(outcome.launched);
  CHECK(dumpable == 0);
}

TEST_CASE("launch: groups of the host do not come along into a user namespace, where the kernel lets them be dropped") {
  const TestRoot root;
  const Plan plan = root.plan(true);
  const std::string groups = in_fork([&] {
    const gid_t mine[] = {20, 27};
    if (syscall(SYS_setgroups, 2, mine) != 0) return std::string{"setgroups failed"};
    const Outcome outcome = launch_probe(plan, probe_options(true));
    return "groups: " + outcome["groups"] + "setgroups: " + outcome["setgroups"] + where(outcome, plan);
  });
  CHECK(groups == "groups: setgroups: allow;");
}

TEST_CASE("launch: deny_setgroups denies it") {
  const TestRoot root;
  LaunchOptions options = probe_options(true);
  options.deny_setgroups = true;
  const Outcome outcome = launch_probe(root.plan(true), options);
  REQUIRE(outcome.launched);
  CHECK(outcome["setgroups"] == "deny;");
}

TEST_CASE("launch: a caller without any privilege") {
  const TestRoot root;
  const Plan plan = root.plan(true);

  SECTION("gets a user namespace with its own id as root") {
    const std::string found = in_fork([&] {
      become(65534);
      LaunchOptions options = probe_options(true);
      options.namespaces |= Namespace::uts;
      options.hostname = "box";
      const Outcome outcome = launch_probe(plan, options);
      return where(outcome, plan) + outcome["uid"] + ", " + outcome["hostname"] + ", " + outcome["setgroups"];
    });
    CHECK(found == "0 0 0, box, deny;");
  }
  SECTION("or with its id as another one") {
    const std::string found = in_fork([&] {
      become(65534);
      LaunchOptions options = probe_options(true);
      options.uid_maps = {{.inside = 1000, .outside = 65534, .count = 1}};
      options.gid_maps = {{.inside = 1001, .outside = 65534, .count = 1}};
      const Outcome outcome = launch_probe(plan, options);
      return where(outcome, plan) + outcome["uid"] + ", " + outcome["gid"];
    });
    CHECK(found == "1000 1000 1000, 1001 1001 1001");
  }
  SECTION("is told that other namespaces need privilege") {
    const std::string found = in_fork([&] {
      become(65534);
      const Plan nothing;
      LaunchOptions options = probe_options();
      const Outcome outcome = launch_probe(nothing, options);
      const bool as_expected =
          outcome.launched.has_error() && outcome.report.stage == LaunchStage::clone && outcome.launched.assume_error().is_errno(EPERM);
      return as_expected ? where(outcome, nothing) : "not refused";
    });
    CHECK(found.find("add Namespace::user") != std::string::npos);
  }
}

// newuidmap(1) reads /etc/subuid: the test covers it with one of its own, in a mount namespace of its own.
TEST_CASE("launch: ranges of ids without privilege are mapped by newuidmap and newgidmap") {
  if (access("/usr/bin/newuidmap", X_OK) != 0) {
    std::cout << "SKIPPED: newuidmap is not installed (Debian package uidmap)\n";
    return;
  }
  const TestRoot root;
  const Plan plan = root.plan(true);
  const bool granted = GENERATE(true, false);
  const std::string found = in_fork([&] {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return std::string{"unshare failed"};
    std::ofstream{root / "subids"} << (granted ? "nobody:100000:65536\n" : "daemon:100000:65536\n");
    for (const char* file : {"/etc/subuid", "/etc/subgid"}) {
      if (mount((root / "subids").c_str(), file, nullptr, MS_BIND, nullptr) != 0) return std::string{"cannot cover "} + file;
    }
    become(65534);
    LaunchOptions options = probe_options(true);
    options.uid_maps = {{.inside = 0, .outside = 65534, .count = 1}, {.inside = 1, .outside = 100000, .count = 65535}};
    options.gid_maps = options.uid_maps;
    options.credentials = Credentials{.uid = 1000, .gid = 1000, .groups = {5}};
    const Outcome outcome = launch_probe(plan, options);
    return outcome.launched ? outcome["uid"] + ", " + outcome["groups"] : where(outcome, plan);
  });
  if (granted) {
    CHECK(found == "1000 1000 1000, 5 ");
  } else {
    CHECK(found.find("newuidmap: uid range [1-65536) -> [100000-165535) not allowed\n") != std::string::npos);
    CHECK(found.find("/etc/subuid") != std::string::npos);
  }
}

TEST_CASE("launch: a missing newuidmap is named") {
  const TestRoot root;
  const Plan plan = root.plan(true);
  const std::string found = in_fork([&] {
    become(65534);
    setenv("PATH", "/nowhere", 1);
    LaunchOptions options = probe_options(true);
    options.uid_maps = {{.inside = 0, .outside = 100000, .count = 65536}};
    const Outcome outcome = launch_probe(plan, options);
    return where(outcome, plan);
  });
  CHECK(found.find("newuidmap could not be executed") != std::string::npos);
  CHECK(found.find("Debian package uidmap") != std::string::npos);
}

TEST_CASE("launch: the working directory must lie inside the root") {
  const TestRoot root;
  const CloneMode mode = GENERATE(CloneMode::share_memory, CloneMode::fork);
  const bool user = GENERATE(false, true);
  const Plan plan = root.plan(user);
  LaunchOptions options = probe_options(user);
  options.clone_mode = mode;

  SECTION("CVE-2024-21626: not through a descriptor of the host") {
    const int host = open("/", O_RDONLY | O_DIRECTORY);
    options.working_directory = "/proc/self/fd/" + std::to_string(host);
    const Outcome outcome = launch_probe(plan, options);
    close(host);
    REQUIRE_FALSE(outcome.launched);
    CHECK(outcome.launched.assume_error().is(ChildErrc::outside_root));
    CHECK(outcome.report.stage == LaunchStage::working_directory);
    CHECK(where(outcome, plan).find("CVE-2024-21626") != std::string::npos);
  }
  SECTION("and must exist") {
    options.working_directory = "/missing";
    const Outcome outcome = launch_probe(plan, options);
    REQUIRE_FALSE(outcome.launched);
    CHECK(outcome.launched.assume_error() == Error::from_errno(ENOENT, SYS_chdir));
    CHECK(outcome.report.stage == LaunchStage::working_directory);
  }
}

TEST_CASE("launch: a program that cannot be executed is told apart from a root that cannot be prepared, with the reason") {
  const TestRoot root;
  const auto write_file = [&](const std::string& name, const std::string& content, mode_t mode = 0755) {
    std::ofstream{root / name} << content;
    chmod((root / name).c_str(), mode);
  };
  std::filesystem::copy_file("/bin/sh", root / "bin/dynamic");
  std::filesystem::copy_file(root / "bin/probe", root / "bin/foreign");
  {
    std::fstream file{root / "bin/foreign", std::ios::in | std::ios::out | std::ios::binary};
    file.seekp(18);  // e_machine (elf(5)): 0xB7 is aarch64, 0x3E x86-64
#if defined(__aarch64__)
    file.put('\x3e');
#else
    file.put('\xb7');
#endif
  }
  write_file("bin/script", "#! /opt/interpreter -x\n");
  write_file("bin/script of a script", "#!/bin/script\n");
  write_file("bin/script of a program", "#!/bin/dynamic\n");
  write_file("bin/words", "echo hello\n");
  write_file("bin/empty", "");
  write_file("bin/data", "data\n", 0644);
  write_file("noexec/probe", "#!/bin/probe\n");
  struct Row {
    std::string program;
    int error_number;
    std::string interpreter;
  };
  const Row rows[] = {
      {"/bin/missing", ENOENT, ""},
      {"missing", ENOENT, ""},
      {"/bin/dynamic", ENOENT, "*"},
      {"/bin/script", ENOENT, "/opt/interpreter"},
      {"script of a script", ENOENT, "/opt/interpreter"},
      {"/bin/script of a program", ENOENT, "*"},
      {"/bin/foreign", ENOEXEC, ""},
      {"/bin/words", ENOEXEC, ""},
      {"/bin/empty", ENOEXEC, ""},
      {"/bin", EACCES, ""},
      {"data", EACCES, ""},
      {"/noexec/probe", EACCES, ""},
      {"/bin/probe/below", ENOTDIR, ""},
  };
  const CloneMode mode = GENERATE(CloneMode::share_memory, CloneMode::fork);
  const Plan plan = Pipeline{PrepareRoot{.path = root.path()}, MountSpec::proc(),
                             MountSpec::bind(root / "noexec", "/noexec").with({.noexec = Setting::set}), EnterRoot{}}
                        .compile()
                        .value();
  std::string text;
  for (const Row& row : rows) {
    LaunchOptions options = probe_options();
    options.clone_mode = mode;
    options.exec = {row.program};
    const Outcome outcome = launch_probe(plan, options);
    INFO(row.program << ": " << where(outcome, plan));
    REQUIRE_FALSE(outcome.launched);
    CHECK(outcome.launched.assume_error() == Error::from_errno(row.error_number, SYS_execve));
    CHECK(outcome.report.stage == LaunchStage::exec);
    CHECK(outcome.report.plan.error == Error{});
    if (row.interpreter == "*") {  // the loader of this machine
      CHECK(outcome.report.exec.interpreter.starts_with("/lib"));
    } else {
      CHECK(outcome.report.exec.interpreter == row.interpreter);
    }
    std::string explained = where(outcome, plan);
    const std::string& loader = outcome.report.exec.interpreter;
    if (const std::size_t at = explained.find(loader); row.interpreter == "*" && at != std::string::npos)
      explained.replace(at, loader.size(), "LOADER");
    if (const std::size_t at = explained.find("an ELF file for "); at != std::string::npos)
      explained.replace(at + 16, explained.find(',', at) - at - 16, "MACHINE");
    if (row.error_number == EACCES && row.program == "/noexec/probe") CHECK(outcome.report.exec.noexec);
    text += "exec " + row.program + "\n" + explained + "\n";
  }
  rootprep::testing::require_golden("launch_exec.txt", text);
}

TEST_CASE("launch: a wrong option is a clear error before any side effect") {
  const Plan nothing;
  const TestRoot root;
  const Plan plain = root.plan(false);
  const Plan for_user = root.plan(true);
  struct Row {
    const char* what;
    const Plan& plan;
    std::function<void(LaunchOptions&)> change;
  };
  const Row rows[] = {
      {"no program", nothing, [](LaunchOptions& o) { o.exec.clear(); }},
      {"an empty name", nothing, [](LaunchOptions& o) { o.exec = {""}; }},
      {"a NUL byte in an argument", nothing, [](LaunchOptions& o) { o.exec.push_back(std::string("a\0b", 3)); }},
      {"a NUL byte in the environment", nothing, [](LaunchOptions& o) { o.environment = {std::string("A=\0", 3)}; }},
      {"a variable without a value", nothing, [](LaunchOptions& o) { o.environment = {"HOME"}; }},
      {"a variable without a name", nothing, [](LaunchOptions& o) { o.environment = {"=x"}; }},
      {"a relative directory", nothing, [](LaunchOptions& o) { o.working_directory = "work"; }},
      {"a host name of the host", nothing, [](LaunchOptions& o) { o.hostname = "box"; }},
      {"a long host name", nothing, [](LaunchOptions& o) { o.namespaces |= Namespace::uts, o.hostname = std::string(65, 'x'); }},
      {"maps without a namespace", nothing,
       [](LaunchOptions& o) {
         o.uid_maps = {{0, 0, 1}};
       }},
      {"an empty map", nothing,
       [](LaunchOptions& o) {
         o.namespaces |= Namespace::user, o.uid_maps = {{0, 0, 0}};
       }},
      {"a map beyond the last id", nothing,
       [](LaunchOptions& o) {
         o.namespaces |= Namespace::user, o.gid_maps = {{1, 0, 0xFFFF'FFFF}};
       }},
      {"setgroups without a namespace", nothing, [](LaunchOptions& o) { o.deny_setgroups = true; }},
      {"a user that is not mapped", nothing,
       [](LaunchOptions& o) {
         o.namespaces |= Namespace::user, o.credentials = Credentials{1000, 0, {}};
       }},
      {"a group that is not mapped", nothing,
       [](LaunchOptions& o) {
         o.namespaces |= Namespace::user, o.credentials = Credentials{0, 1000, {}};
       }},
      {"groups that cannot be set", nothing,
       [](LaunchOptions& o) {
         o.namespaces |= Namespace::user, o.deny_setgroups = true, o.credentials = Credentials{0, 0, {0}};
       }},
      {"a closed descriptor", nothing,
       [](LaunchOptions& o) {
         o.pass_descriptors = {{987654, 3}};
       }},
      {"no number for a descriptor", nothing,
       [](LaunchOptions& o) {
         o.pass_descriptors = {{0, -1}};
       }},
      {"one number for two descriptors", nothing,
       [](LaunchOptions& o) {
         o.pass_descriptors = {{0, 3}, {1, 3}};
       }},
      {"a signal that there is not", nothing, [](LaunchOptions& o) { o.parent_death_signal = 65; }},
      {"a umask of too many bits", nothing, [](LaunchOptions& o) { o.umask = 01000; }},
      {"a terminal without a session", nothing, [](LaunchOptions& o) { o.controlling_terminal = true; }},
      {"a plan that mounts on the host", plain, [](LaunchOptions& o) { o.namespaces = Namespace::pid; }},
      {"a plan for a user namespace without one", for_user, [](LaunchOptions&) {}},
      {"a plan without a user namespace in one", plain, [](LaunchOptions& o) { o.namespaces |= Namespace::user; }},
  };
  std::string text;
  for (const Row& row : rows) {
    INFO(row.what);
    LaunchOptions options;
    options.exec = {"/bin/true"};
    row.change(options);
    LaunchReport report;
    const result<Child> child = launch(row.plan, options, &report);
    REQUIRE_FALSE(child);
    CHECK(child.assume_error().is(PlanErrc::bad_option));
    CHECK(report.stage == LaunchStage::options);
    text += std::string{"-- "} + row.what + "\n" + explain(report, row.plan);
  }
  rootprep::testing::require_golden("launch_options.txt", text);
}

TEST_CASE("launch: an operation of the plan that fails is named, and nothing is left") {
  const TestRoot root;
  const bool user = GENERATE(false, true);
  const Plan plan = Pipeline{PrepareRoot{.path = root.path()}, MountSpec::proc(), EnterRoot{}, MakeDirectory{.path = "/proc/new"}}
                        .compile({.user_namespace = user})
                        .value();
  const Outcome outcome = launch_probe(plan, probe_options(user));
  REQUIRE_FALSE(outcome.launched);
  CHECK(outcome.report.stage == LaunchStage::plan);
  const Error error = outcome.launched.assume_error();
  CHECK(error == outcome.report.plan.error);
  REQUIRE(error.step < plan.steps().size());
  CHECK(plan.steps()[error.step].description.find("/proc/new") != std::string::npos);
  CHECK(where(outcome, plan) == explain(error, plan, &outcome.report.plan));
}

namespace {

// What a child must be able to do to itself without harm to its parent. Not instrumented: the child has a stack that no sanitizer knows.
#define CHILD_FUNCTION __attribute__((no_sanitize("address", "undefined", "thread")))
CHILD_FUNCTION long kill_myself(const ChildContext& context) noexcept {
  const long pid = context.kernel.call({SYS_getpid, {}});
  return context.kernel.call({SYS_kill, {static_cast<std::uint64_t>(pid), SIGKILL}});
}
CHILD_FUNCTION long write_to_nowhere(const ChildContext& context) noexcept {
  *static_cast<volatile int*>(const_cast<void*>(context.data)) = 1;
  return 0;
}
// NOLINTNEXTLINE(misc-no-recursion): that is the point
CHILD_FUNCTION int fill_stack(volatile char* above) noexcept {
  volatile char frame[4096];
  frame[0] = above[0];
  return above[0] != 0 ? 0 : fill_stack(frame) + frame[0];
}
CHILD_FUNCTION long overflow_stack(const ChildContext&) noexcept {
  volatile char first[1] = {};
  return fill_stack(first);
}
CHILD_FUNCTION long answer(const ChildContext& context) noexcept { return *static_cast<const long*>(context.data); }

}  // namespace

TEST_CASE("launch: a child that dies before it reports harms nobody, and is reported with its signal") {
  struct Row {
    UserFunction function;
    int signal;
  };
  const Row row = GENERATE(Row{kill_myself, SIGKILL}, Row{write_to_nowhere, SIGSEGV}, Row{overflow_stack, SIGSEGV});
  const CloneMode mode = GENERATE(CloneMode::share_memory, CloneMode::fork);
  if (row.function == overflow_stack && mode == CloneMode::fork) return;  // it has the caller's stack, which grows to megabytes
  LaunchOptions options;
  options.exec = {"/bin/true"};
  options.clone_mode = mode;
  void* nowhere = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  options.run_in_child = {row.function, nowhere, 0};
  LaunchReport report;
  const result<Child> child = launch(Plan{}, options, &report);
  munmap(nowhere, 4096);
  REQUIRE_FALSE(child);
  CHECK(child.assume_error().is(ChildErrc::exited_early));
  REQUIRE(report.ended);
  CHECK(report.ended->signal == row.signal);
  CHECK(explain(report, Plan{}).starts_with("the child ended before it could report: killed by signal " + std::to_string(row.signal)));
}

TEST_CASE("launch: the caller's function runs in the child right before the program") {
  const bool user = GENERATE(false, true);
  const TestRoot root;
  LaunchOptions options = probe_options(user);
  long value = GENERATE(0L, -EXDEV);
  options.run_in_child = {answer, &value, sizeof value};
  const Plan plan = root.plan(user);
  const Outcome outcome = launch_probe(plan, options);
  CHECK(outcome.launched.has_value() == (value == 0));
  if (value != 0) {
    CHECK(outcome.report.stage == LaunchStage::child_function);
    CHECK(outcome.launched.assume_error() == Error::from_errno(EXDEV));
  } else {
    CHECK(outcome.status.success());
  }
}

namespace {

// Fails the call with this index, of those that the child makes.
class FailingKernel final : public Kernel {
 public:
  FailingKernel(long index, int error_number) : index_(index), error_number_(error_number) {}
  long call(const SysCall& call) noexcept override {
    if (calls_++ != index_) return linux_kernel().call(call);
    failed_ = call.number;
    return -error_number_;
  }
  long failed() const { return failed_; }  // the call that was failed; -1: the child makes fewer

 private:
  long index_;
  int error_number_;
  long calls_ = 0;
  long failed_ = -1;
};

}  // namespace

TEST_CASE("launch: whatever system call of the child fails, it is an error with that call, or needless, and nothing is left") {
  const TestRoot root;
  const bool user = GENERATE(false, true);
  // Everything at once, so that every call is made. The plan's own calls are swept elsewhere: here it has none.
  LaunchOptions options = probe_options(user);
  options.namespaces |= Namespace::uts;
  options.exec = {ROOTPREP_LAUNCH_PROBE, "exit", "0"};
  options.hostname = "box";
  options.domainname = "example";
  options.working_directory = "/tmp";
  options.umask = 022;
  options.new_session = true;
  options.parent_death_signal = SIGKILL;
  options.signals = SignalState::inherit;
  options.credentials = Credentials{};
  // A failure of these is without harm: a limit that is not raised, a mask that cannot fail, a parent that cannot be asked, a system call
  // for which there is another way. A report that cannot be written is a child that has not reported.
  const std::map<long, std::string> harmless = {
      {SYS_prlimit64, "prlimit64"}, {SYS_umask, "umask"}, {SYS_ppoll, "ppoll"}, {SYS_close_range, "close_range"}};
  long swept = 0;
  for (long index = 0; index < 500; ++index) {
    FailingKernel kernel{index, EPERM};
    options.kernel = &kernel;
    const Outcome outcome = launch_probe(Plan{}, options);
    if (kernel.failed() < 0) {
      REQUIRE(outcome.launched);
      break;
    }
    ++swept;
    INFO("call " << index << ", number " << kernel.failed() << ": " << where(outcome, Plan{}));
    if (outcome.launched) {
      CHECK(harmless.contains(kernel.failed()));
      CHECK(outcome.status.success());
    } else if (kernel.failed() == SYS_write) {
      CHECK(outcome.launched.assume_error().is(ChildErrc::exited_early));
    } else {
      CHECK(outcome.launched.assume_error() == Error::from_errno(EPERM, static_cast<std::uint16_t>(kernel.failed())));
      CHECK(outcome.report.stage > LaunchStage::clone);
    }
  }
  CHECK(swept > 80);  // two calls a signal, and the rest
}

TEST_CASE("Child: the destructor kills and reaps, release() does not") {
  const TestRoot root;
  int ends[2] = {-1, -1};
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  LaunchOptions options = probe_options();
  options.exec = {"/bin/probe", "wait"};
  options.pass_descriptors = {{ends[1], 5}};
  result<Child> child = launch(root.plan(), options);
  REQUIRE(child);
  close(ends[1]);
  const pid_t pid = child.assume_value().pid();

  SECTION("destructor") {
    { const Child gone = std::move(child.assume_value()); }
    CHECK(closes(ends[0]));
    CHECK(waitpid(pid, nullptr, 0) == -1);
    CHECK(child.assume_value().pid() == 0);
    CHECK(child.assume_value().wait().assume_error().is_errno(ECHILD));
    CHECK(child.assume_value().kill().assume_error().is_errno(ESRCH));
  }
  SECTION("assignment") {
    child.assume_value() = Child{};
    CHECK(closes(ends[0]));
    CHECK(waitpid(pid, nullptr, 0) == -1);
  }
  SECTION("signal, try_wait, wait") {
    Child& running = child.assume_value();
    CHECK_FALSE(running.try_wait().value().has_value());
    REQUIRE(running.signal(SIGKILL));
    const ExitStatus status = running.wait().value();
    CHECK(status == ExitStatus{0, SIGKILL, false});
    CHECK(status.shell_code() == 137);
    CHECK(running.wait().value() == status);
    CHECK(running.try_wait().value() == status);
    CHECK(running.signal(SIGKILL).assume_error().is_errno(ESRCH));
  }
  SECTION("release") {
    const int pidfd = child.assume_value().release();
    child.assume_value() = Child{};
    CHECK(::kill(pid, 0) == 0);
    CHECK(syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0) == 0);
    CHECK(waitpid(pid, nullptr, 0) == pid);
    close(pidfd);
  }
  close(ends[0]);
}

TEST_CASE("Child: somebody else who reaps it is an error, not a wait for ever") {
  const TestRoot root;
  LaunchOptions options = probe_options();
  options.exec = {"/bin/probe", "exit", "0"};
  const auto before = signal(SIGCHLD, SIG_IGN);  // the kernel then reaps (waitpid(2), NOTES)
  result<Child> child = launch(root.plan(), options);
  REQUIRE(child);
  const result<ExitStatus> status = child.assume_value().wait();
  signal(SIGCHLD, before);
  REQUIRE_FALSE(status);
  CHECK(status.assume_error().is_errno(ECHILD));
}

TEST_CASE("launch: the program dies with the thread that launched it, if asked, with any credentials") {
  const TestRoot root;
  const bool other_user = GENERATE(false, true);
  const Plan plan = root.plan();
  int ends[2] = {-1, -1};
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const std::string said = in_fork([&] {
    LaunchOptions options = probe_options();
    options.exec = {"/bin/probe", "wait"};
    options.parent_death_signal = SIGKILL;
    options.pass_descriptors = {{ends[1], 5}};
    if (other_user) options.credentials = Credentials{1000, 1000, {}};
    result<Child> child = launch(plan, options);
    if (!child) return std::string{"not launched"};
    close(child.assume_value().release());
    return std::string{"launched"};
  });
  CHECK(said == "launched");
  close(ends[1]);
  CHECK(closes(ends[0]));
  close(ends[0]);
}

TEST_CASE("launch: a terminal becomes the program's controlling terminal") {
  const TestRoot root;
  const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(master >= 0);
  REQUIRE(grantpt(master) == 0);
  REQUIRE(unlockpt(master) == 0);
  const int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(terminal >= 0);
  REQUIRE((mknod((root / "dev/tty").c_str(), S_IFCHR | 0666, makedev(5, 0)) == 0));
  const bool wanted = GENERATE(true, false);
  LaunchOptions options = probe_options();
  options.new_session = true;
  options.controlling_terminal = wanted;
  options.pass_descriptors = {{terminal, 0}, {terminal, 2}};
  const Outcome outcome = launch_probe(root.plan(), options);
  close(terminal);
  close(master);
  REQUIRE(outcome.launched);
  CHECK(outcome["terminal"] == (wanted ? "yes" : "no"));
}

TEST_CASE("launch: a plan may hold more descriptors than the caller's soft limit, and the program has the limit of the caller") {
  const TestRoot root;
  PlanBuilder builder{{.features = KernelFeatures::probe()}};
  builder.begin_step("two hundred descriptors");
  for (int i = 0; i < 200; ++i) (void)static_cast<Fd>(builder.openat(Fd::cwd(), "/", abi::o_path | abi::o_cloexec));
  builder.end_step();
  const Plan plan = builder.finish().value();
  REQUIRE(plan.needs().descriptors == 200);
  const std::string found = in_fork([&] {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &limit);
    LaunchOptions options = probe_options();
    options.exec = {ROOTPREP_LAUNCH_PROBE};
    const Outcome outcome = launch_probe(plan, options);
    return where(outcome, plan) + outcome["descriptor limit"];
  });
  CHECK(found == "64");
}
