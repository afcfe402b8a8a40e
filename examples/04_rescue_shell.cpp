// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors

// A shell in the root of a system that does not boot any more: what one types as `mount --bind /proc root/proc; ...; chroot root`, and
// forgets to undo. Here nothing has to be undone: the mounts end with the shell, the repair stays. It prints:
//
//   mounts in the shell: / /dev /proc /sys
//   /etc/fstab was: broken
//   mounts below /tmp/damaged afterwards: 0
//   /etc/fstab is: repaired
#include "rootprep/steps.hpp"
#include "support.hpp"

rootprep::Pipeline example::rescue_shell() {
  using namespace rootprep;
  return {
      PrepareRoot{.path = "/tmp/damaged"},
      MountSpec::bind("/proc", "/proc"),
      MountSpec::bind("/sys", "/sys"),
      MountSpec::bind("/dev", "/dev"),
      Chroot{},  // not a security boundary, and here nobody needs one: boot loaders want the real devices
  };
}

int main() {
  example::use_private_tmp();
  example::make_image("/tmp/damaged");
  example::write_file("/tmp/damaged/etc/fstab", "broken");

  const char* script =
      "echo mounts in the shell: / $(cd /; for d in dev proc sys; do [ -n \"$(ls $d)\" ] && echo /$d; done)\n"
      "echo /etc/fstab was: $(cat /etc/fstab)\n"
      "echo repaired > /etc/fstab\n";
  const int status = example::run(example::compile_or_exit(example::rescue_shell()), {.exec = {"/bin/sh", "-c", script}});

  const std::string mounts = example::read_file("/proc/self/mountinfo");
  std::size_t left = 0;
  for (std::size_t at = mounts.find("/tmp/damaged"); at != std::string::npos; at = mounts.find("/tmp/damaged", at + 1)) ++left;
  std::cout << "mounts below /tmp/damaged afterwards: " << left << "\n/etc/fstab is: " << example::read_file("/tmp/damaged/etc/fstab");
  return status;
}
