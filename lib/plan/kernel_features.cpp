// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/kernel_features.hpp"

#include <cerrno>

#include "child/system_calls.hpp"
#include "rootprep/abi.hpp"
#include "rootprep/kernel.hpp"

namespace rootprep {
namespace {

using child::invoke;

// The errno of a system call that is not there. EPERM: a seccomp filter that does not know it; the arguments below need no privilege.
bool missing(long result) noexcept { return result == -ENOSYS || result == -EPERM; }

bool has_mount_by_descriptor(Kernel& kernel) noexcept {
  const long tree = invoke(kernel, SYS_open_tree, abi::at_fdcwd, "/", abi::open_tree_cloexec);  // without a clone it needs no privilege
  if (tree < 0) return false;
  invoke(kernel, SYS_close, tree);
  // Bad descriptors: EBADF from a kernel that has the call. move_mount and fsopen ask for privilege first, so EPERM says nothing there.
  return !missing(invoke(kernel, SYS_fsconfig, -1, abi::fsconfig_cmd_create, nullptr, nullptr, 0)) &&
         invoke(kernel, SYS_move_mount, -1, "", -1, "", 0x4000'0000) != -ENOSYS &&
         invoke(kernel, SYS_fsopen, "tmpfs", 0x4000'0000) != -ENOSYS;
}

bool has_openat2(Kernel& kernel) noexcept {
  const abi::open_how how{abi::o_path | abi::o_cloexec, 0, abi::resolve_in_root | abi::resolve_no_magiclinks};
  const long fd = invoke(kernel, SYS_openat2, abi::at_fdcwd, ".", &how, sizeof how);
  if (fd >= 0) invoke(kernel, SYS_close, fd);
  return fd >= 0;
}

// mount_setattr(2) with nothing to do returns before it looks at the path, but it asks for privilege before that.
bool has_mount_setattr(Kernel& kernel) noexcept {
  const abi::mount_attr nothing;
  return invoke(kernel, SYS_mount_setattr, -1, "", 0x4000'0000, &nothing, sizeof nothing) == -EINVAL;  // unknown at-flags are refused first
}

bool has_close_range(Kernel& kernel) noexcept { return invoke(kernel, SYS_close_range, 1, 0, 0) == -EINVAL; }  // first > last

// Is there a call of this number? With arguments that every version of it refuses.
bool has_call(Kernel& kernel, long number) noexcept { return !missing(invoke(kernel, number, -1, nullptr, nullptr, 0, 0, 0)); }

struct OverlayByDescriptor {
  bool tried = false;
  bool append = false;
  bool descriptors = false;
};

// An overlay file system context that is never created. Needs CAP_SYS_ADMIN in the caller's user namespace.
OverlayByDescriptor try_overlay(Kernel& kernel) noexcept {
  OverlayByDescriptor answer;
  const long fs = invoke(kernel, SYS_fsopen, "overlay", abi::fsopen_cloexec);
  if (fs < 0) return answer;
  answer.tried = true;
  // Before 6.5 a context takes any key and looks at it only when it is created.
  const bool checks_keys = invoke(kernel, SYS_fsconfig, fs, abi::fsconfig_set_string, "rootprep-unknown-key", "1", 0) == -EINVAL;
  answer.append = checks_keys && invoke(kernel, SYS_fsconfig, fs, abi::fsconfig_set_string, "lowerdir+", "/", 0) == 0;
  const long layer = invoke(kernel, SYS_openat, abi::at_fdcwd, "/", abi::o_path | abi::o_directory | abi::o_cloexec);
  if (answer.append && layer >= 0) {
    answer.descriptors = invoke(kernel, SYS_fsconfig, fs, abi::fsconfig_set_fd, "lowerdir+", nullptr, layer) == 0;
  }
  if (layer >= 0) invoke(kernel, SYS_close, layer);
  invoke(kernel, SYS_close, fs);
  return answer;
}

KernelFeatures probe_kernel(Kernel& kernel) noexcept {
  KernelFeatures f;
  f.mount_by_descriptor = has_mount_by_descriptor(kernel);
  f.openat2 = has_openat2(kernel);
  f.close_range = has_close_range(kernel);
  f.mount_setattr = has_mount_setattr(kernel);
  // What cannot be tried without privilege or without a mount: by a system call that came in the same version or later.
  constexpr long epoll_pwait2_5_11 = 441;
  constexpr long quotactl_fd_5_14 = 443;
  f.proc_options_by_name = f.overlay_volatile = f.nosymfollow = f.overlay_in_user_namespace =
      f.mount_setattr || has_call(kernel, epoll_pwait2_5_11);
  f.mount_attr_nosymfollow = f.mount_setattr && has_call(kernel, quotactl_fd_5_14);
  const OverlayByDescriptor overlay = f.mount_by_descriptor ? try_overlay(kernel) : OverlayByDescriptor{};
  f.overlay_lowerdir_append = overlay.tried ? overlay.append : f.mount_by_descriptor && has_call(kernel, SYS_statmount);  // both 6.8
  f.overlay_layers_by_descriptor =
      overlay.tried ? overlay.descriptors : f.mount_by_descriptor && has_call(kernel, SYS_open_tree_attr);  // both 6.15
  return f;
}

}  // namespace

const KernelFeatures& KernelFeatures::probe() noexcept {
  static const KernelFeatures features = probe_kernel(linux_kernel());
  return features;
}

}  // namespace rootprep
