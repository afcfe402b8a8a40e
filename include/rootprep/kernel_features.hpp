// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <string>

#include "rootprep/export.hpp"

namespace rootprep {

// What a kernel can do: an input of Pipeline::compile(), not a branch in the child. A plan for an old kernel can be printed and
// tested on a new one.
//
//   pipeline.compile({.features = rootprep::KernelFeatures::linux_5_4()});
//
// probe() tries the real operations once in this process and keeps the answer: version numbers lie (backports, seccomp).
// Where a call answers EPERM although it should work it counts as missing, because old seccomp filters say EPERM for calls
// that they do not know.
struct KernelFeatures {
  bool mount_by_descriptor = false;           // open_tree, move_mount, fsopen, fsconfig, fsmount            Linux 5.2
  bool openat2 = false;                       // openat2 with RESOLVE_IN_ROOT                                Linux 5.6
  bool proc_options_by_name = false;          // proc: hidepid=invisible, subset=pid                         Linux 5.8
  bool close_range = false;                   // close_range                                                 Linux 5.9
  bool overlay_volatile = false;              // overlay: volatile                                           Linux 5.10
  bool nosymfollow = false;                   // MS_NOSYMFOLLOW                                              Linux 5.10
  bool overlay_in_user_namespace = false;     // overlay in a user namespace, userxattr                   Linux 5.11
  bool mount_setattr = false;                 // mount_setattr, AT_RECURSIVE                                 Linux 5.12
  bool mount_attr_nosymfollow = false;        // MOUNT_ATTR_NOSYMFOLLOW                                      Linux 5.14
  bool overlay_lowerdir_append = false;       // overlay by fsopen, one fsconfig "lowerdir+" a layer        Linux 6.8
  bool overlay_layers_by_descriptor = false;  // overlay: FSCONFIG_SET_FD with O_PATH descriptors      Linux 6.15

  constexpr bool operator==(const KernelFeatures&) const = default;

  // The running kernel, by trying. The first call costs a few dozen system calls; it does not allocate; later ones are free.
  // Thread safe. Call it in the parent only.
  ROOTPREP_EXPORT static const KernelFeatures& probe() noexcept;

  static constexpr KernelFeatures linux_5_4() noexcept {
    KernelFeatures f;
    f.mount_by_descriptor = true;
    return f;
  }
  static constexpr KernelFeatures linux_5_15() noexcept {
    KernelFeatures f = linux_5_4();
    f.openat2 = f.proc_options_by_name = f.close_range = f.overlay_volatile = f.nosymfollow = true;
    f.overlay_in_user_namespace = f.mount_setattr = f.mount_attr_nosymfollow = true;
    return f;
  }
  static constexpr KernelFeatures linux_6_1() noexcept { return linux_5_15(); }
  static constexpr KernelFeatures linux_6_18() noexcept {
    KernelFeatures f = linux_6_1();
    f.overlay_lowerdir_append = f.overlay_layers_by_descriptor = true;
    return f;
  }
  // Path-based mount(2) only: RHEL 8 and other kernels before 5.2, and sandboxes whose seccomp filter hides the newer calls.
  static constexpr KernelFeatures none() noexcept { return {}; }
};

}  // namespace rootprep
