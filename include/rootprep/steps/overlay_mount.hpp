// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rootprep/export.hpp"
#include "rootprep/steps/mount_attributes.hpp"

namespace rootprep {

class PlanBuilder;

// Upper and work directory on a tmpfs below the overlay: gone with the mount namespace.
struct EphemeralUpper {
  std::uint64_t size = 0;  // bytes; 0: half of the memory
  // Of the root directory of the tree: the kernel takes it from the upper directory, not from the lower ones.
  std::uint32_t mode = 0755;  // octal, exactly
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  bool operator==(const EphemeralUpper&) const = default;
};

// One tree from several directories: read-only lower layers and, above them, one that takes the changes.
//
//   OverlayMount{.lower = {"/srv/app", "/srv/base"}, .upper = "/var/lib/box/upper", .work = "/var/lib/box/work"}
//   OverlayMount{.lower = {"/srv/base"}, .ephemeral = EphemeralUpper{.size = 64 << 20}}
//   OverlayMount{.lower = {"/srv/app", "/srv/base"}}                       // read-only
//
// On the root itself (the default) it becomes the new root. One lower without an upper is no overlay for the kernel: it becomes a read-only
// bind. An overlay that comes up read-only although it has an upper (the kernel does that where it cannot create the work directory)
// is an error: ChildErrc::mounted_read_only. Mounts below a layer are not visible in the overlay.
//
// Layers go by descriptor (Linux 6.15), by one option a layer (6.8), or by mount(2), where more layers than one page of options can name
// go through short symbolic links on a tmpfs below the overlay: no path is ever escaped or cut, on any kernel.
//
// Needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace; in a user namespace Linux 5.11, and on a tmpfs upper 6.6. There
// `userxattr` is set unless you say otherwise: without it directories over removed ones fail with EIO.
// Errors: PlanErrc::too_many_layers (500), upper_on_overlay, upper_work_apart, conflict, not_found, not_a_directory; ELOOP for layers
// inside one another; EINVAL.
// Source: the kernel's Documentation/filesystems/overlayfs.rst; mount(2).
struct OverlayMount {
  std::vector<std::string> lower{};  // absolute paths of the host, the topmost first
  std::string upper{};               // absolute path of the host; empty: none
  std::string work{};                // empty directory on the same mount as upper, beside it
  std::optional<EphemeralUpper> ephemeral{};
  bool create_upper_and_work = false;  // mkdir(2) 0755 and 0700, if missing; their parents must exist
  std::string target = "/";

  std::optional<bool> userxattr{};  // default: in a user namespace
  bool volatile_upper = false;      // no sync at all: the upper is lost in a crash (Linux 5.10)
  std::optional<bool> metacopy{};   // not set: the kernel's own default
  std::optional<bool> redirect_dir{};
  std::optional<bool> index{};
  std::optional<std::string> xino{};  // "on", "off", "auto"
  MountAttributes attributes{};

  bool operator==(const OverlayMount&) const = default;
  bool writable() const noexcept { return ephemeral.has_value() || !upper.empty(); }
  ROOTPREP_EXPORT std::string describe() const;
};
// Lowers the step; a free function, because `lower` is also what overlayfs calls its lower layers.
ROOTPREP_EXPORT void lower(const OverlayMount& step, PlanBuilder& b);

}  // namespace rootprep
