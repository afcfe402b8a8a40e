// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
//
// The program that the launcher's tests execute: says "name=value" about itself on descriptor 1, then does what its argument says. Linked
// statically, so that it runs in a root that holds nothing else.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

void say(const std::string& name, const std::string& value) { std::printf("%s=%s\n", name.c_str(), value.c_str()); }

void say_signals() {
  unsigned long mask = 0;
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &mask, sizeof mask);
  std::string blocked;
  std::string ignored;
  for (int number = 1; number <= 64; ++number) {
    if ((mask >> (number - 1) & 1U) != 0) blocked += std::to_string(number) + " ";
    struct sigaction action {};
    if (sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) ignored += std::to_string(number) + " ";
  }
  say("blocked", blocked);
  say("ignored", ignored);
}

void say_descriptors() {
  std::string open;
  for (int number = 0; number < 4096; ++number) {
    struct stat status {};
    if (fstat(number, &status) != 0) continue;
    open += std::to_string(number) + ":" + std::to_string(status.st_ino) + " ";
  }
  say("descriptors", open);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "exit") return std::atoi(argv[2]);
  if (what == "die") raise(std::atoi(argv[2]));
  if (what == "wait") {
    while (true) pause();
  }
  for (int i = 0; i < argc; ++i) say("argument " + std::to_string(i), argv[i]);
  for (char** one = environ; *one != nullptr; ++one) say("environment", *one);
  char path[4096] = {};
  if (syscall(SYS_getcwd, path, sizeof path) > 0) say("directory", path);
  uid_t ids[3] = {};
  getresuid(&ids[0], &ids[1], &ids[2]);
  say("uid", std::to_string(ids[0]) + " " + std::to_string(ids[1]) + " " + std::to_string(ids[2]));
  getresgid(&ids[0], &ids[1], &ids[2]);
  say("gid", std::to_string(ids[0]) + " " + std::to_string(ids[1]) + " " + std::to_string(ids[2]));
  gid_t groups[64] = {};
  std::string all;
  for (int i = 0, count = getgroups(64, groups); i < count; ++i) all += std::to_string(groups[i]) + " ";
  say("groups", all);
  say_signals();
  say_descriptors();
  utsname names{};
  uname(&names);
  say("hostname", names.nodename);
  say("domainname", names.domainname);
  const mode_t mask = umask(0);
  char octal[8] = {};
  std::snprintf(octal, sizeof octal, "%03o", static_cast<unsigned>(mask));
  say("umask", octal);
  say("session", getsid(0) == getpid() ? "leader" : "member");
  say("no_new_privileges", std::to_string(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)));
  int signal = -1;
  prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0);
  say("parent_death_signal", std::to_string(signal));
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  say("descriptor limit", std::to_string(limit.rlim_cur));
  const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  say("terminal", terminal >= 0 ? "yes" : "no");
  char exe[256] = {};
  if (readlink("/proc/self/exe", exe, sizeof exe - 1) > 0) say("executable", exe);
  for (const char* one : {"mnt", "pid", "uts", "ipc", "net", "user", "cgroup", "time"}) {
    const std::string link = std::string{"/proc/self/ns/"} + one;
    char target[64] = {};
    if (readlink(link.c_str(), target, sizeof target - 1) > 0) say(std::string{"namespace "} + one, target);
  }
  for (const char* file : {"uid_map", "setgroups"}) {
    char text[256] = {};
    const int fd = open((std::string{"/proc/self/"} + file).c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    for (ssize_t i = 0; i < got; ++i) {
      if (text[i] == '\n') text[i] = ';';
    }
    say(file, text);
  }
  return std::fflush(stdout);
}
