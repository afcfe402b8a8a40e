// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// The floor: the least that has to be done, as one would write it for this one container. Everything above it is the price of a library.
#include "floor.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <initializer_list>

namespace bench {
namespace {

alignas(16) char stack[256 * 1024];

int child(void* argument) {
  const auto* root = static_cast<const char*>(argument);
  const auto must = [](long result, int code) {
    if (result != 0) ::_exit(code);
  };
  ::umask(0);
  must(::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr), 10);
  must(::mount(root, root, nullptr, MS_BIND | MS_REC, nullptr), 11);
  must(::chdir(root), 12);
  must(::mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr), 13);
  must(::mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "size=65536k,mode=0755"), 14);
  struct Node {
    const char* path;
    unsigned major;
    unsigned minor;
  };
  for (const Node& node :
       {Node{"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7}, {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}}) {
    must(::mknod(node.path, S_IFCHR | 0666, makedev(node.major, node.minor)), 15);
  }
  must(::symlink("/proc/self/fd", "dev/fd"), 16);
  must(::symlink("/proc/self/fd/0", "dev/stdin"), 16);
  must(::symlink("/proc/self/fd/1", "dev/stdout"), 16);
  must(::symlink("/proc/self/fd/2", "dev/stderr"), 16);
  must(::symlink("pts/ptmx", "dev/ptmx"), 16);
  must(::mkdir("dev/pts", 0755), 17);
  must(::mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"), 17);
  must(::mkdir("dev/shm", 0755), 18);
  must(::mount("tmpfs", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=65536k,mode=1777"), 18);
  must(::mkdir("dev/mqueue", 0755), 19);
  must(::mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr), 19);
  must(::mount("sysfs", "sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr), 20);
  must(::syscall(SYS_pivot_root, ".", "."), 21);
  must(::umount2(".", MNT_DETACH), 22);
  must(::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr), 23);
  ::execl("/bin/true", "true", nullptr);
  ::_exit(127);
}

}  // namespace

int run_floor(const char* root) {
  const int flags = CLONE_VM | CLONE_VFORK | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | SIGCHLD;
  const pid_t pid = ::clone(child, stack + sizeof stack, flags, const_cast<char*>(root));
  int status = -1;
  if (pid > 0) ::waitpid(pid, &status, 0);
  return status;
}

}  // namespace bench
