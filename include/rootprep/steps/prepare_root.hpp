// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <string>

#include "rootprep/export.hpp"
#include "rootprep/steps/mount_attributes.hpp"

namespace rootprep {

class PlanBuilder;

// How the directory becomes the root of a mount, which pivot_root(2) asks for.
enum class RootMount : std::uint8_t {
  bind,  // bound on itself, recursively
  none,  // a later step mounts something on it (OverlayMount, MountSpec on "/"), or it is one already
};

// The first step: separates the mounts of this namespace from the host's and opens the new root.
//
//   PrepareRoot{.path = "/var/lib/box/root"}
//   PrepareRoot{.path = "/var/lib/box/root", .mount = RootMount::none}   // an OverlayMount follows
//
// 1. `propagation` on "/" of the namespace, so that no mount of ours appears on the host.
// 2. The mount above the root is made private, so that no mount of the host appears on top of ours (found by walking up by
//    descriptor; no mountinfo is read). Not where 1 made everything private.
// 3. The root is made a mount (`mount`), and its descriptor is opened after that: what was opened before lies under it.
//
// With shared, slave, private_ or unbindable, not recursive, it does what rootfsPropagation of the OCI runtime specification
// says: `shared` and `unbindable` are applied to the new root after it was entered (before that, unbindable stands for private: of an
// unbindable mount nothing could be bound into the root). With `shared` and `recursive`
// false mounts below other mounts of the host stay peers of the host's: mounts made there appear on the host.
//
// Needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace: as root, or in a user namespace of its own. Must run in
// a mount namespace of its own. Errors: EINVAL if "/" is not the root of a mount (a chroot); EPERM without the capability.
// Source: mount_namespaces(7), mount(2), pivot_root(2); OCI runtime specification, config-linux, "Rootfs Mount Propagation".
struct PrepareRoot {
  std::string path{};  // absolute; a directory of the host. Symbolic links are followed.
  RootMount mount = RootMount::bind;
  Propagation propagation = Propagation::slave;
  bool recursive = true;

  bool operator==(const PrepareRoot&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

}  // namespace rootprep
