// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <string>

#include "rootprep/export.hpp"

namespace rootprep {

class PlanBuilder;

// Three ways to enter the new root, and EnterRoot, which chooses. After any of them the working directory is the new "/", and no
// path of the host can be used any more.

// pivot_root(".", ".") stacks the old root on the new one; umount2(".", MNT_DETACH) then drops it, with all mounts of the host, in one
// call.
//
// Needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace. The new root must be the root of a mount (PrepareRoot). Errors:
// EINVAL for a new root that is no mount, a shared parent, an initramfs root (before Linux 7.0), or a chroot; EBUSY if it is the current
// root. Source: pivot_root(2).
struct PivotRoot {
  bool operator==(const PivotRoot&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

// Moves the new root over "/" and calls chroot(2): for an initramfs root, which cannot be pivoted. The host's mounts stay below it, so
// every full procfs and sysfs of the host is unmounted or covered first: a process that finds its way below would control the host through
// them.
//
// Needs CAP_SYS_ADMIN and CAP_SYS_CHROOT there, and a /proc to find the mounts. Source: mount(2) MS_MOVE, chroot(2), the kernel's
// Documentation/filesystems/ramfs-rootfs-initramfs.rst.
struct MsMoveRoot {
  bool operator==(const MsMoveRoot&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

// chroot(2) alone. Not a security boundary: a process with CAP_SYS_CHROOT leaves it (chroot(2), NOTES), and the host's mounts stay. For
// trusted programs only, such as a rescue shell. A process in it cannot create user namespaces (EPERM).
//
// Needs CAP_SYS_CHROOT.
struct Chroot {
  bool operator==(const Chroot&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

// Enters the root by pivot_root; where the kernel refuses that with EINVAL, which is what an initramfs root gives, by moving the root;
// and by chroot only if asked for. Never on EPERM. Report::entered_by says which way it was, deviations() why.
//
//   EnterRoot{}
//   EnterRoot{.allow_move = false}                     // pivot_root or nothing
//   EnterRoot{.allow_move = false, .allow_chroot = true}
struct EnterRoot {
  bool allow_move = true;
  bool allow_chroot = false;  // a security downgrade, see Chroot. Instead of the move, not after it

  bool operator==(const EnterRoot&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

}  // namespace rootprep
