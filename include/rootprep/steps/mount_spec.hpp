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

// One option of a file system: a flag ("newinstance") or a key with a value ("size" = "64k").
struct FilesystemOption {
  std::string key{};
  std::optional<std::string> value{};
  bool operator==(const FilesystemOption&) const = default;
};

struct TmpfsOptions {
  std::uint64_t size = 0;    // bytes; 0: half of the memory (the kernel's default)
  std::uint32_t mode = 0;    // octal, of its root; 0: 01777 (the kernel's default)
  std::uint64_t inodes = 0;  // 0: the kernel's default
  bool operator==(const TmpfsOptions&) const = default;
};

struct ProcOptions {
  std::string hidepid{};   // "off", "noaccess", "invisible", "ptraceable" (Linux 5.8), or "0".."2","4"
  bool only_pids = false;  // subset=pid (Linux 5.8)
  bool operator==(const ProcOptions&) const = default;
};

struct DevptsOptions {
  std::uint32_t mode = 0620;           // of a slave
  std::uint32_t ptmx_mode = 0666;      // of its ptmx; the kernel's default 0000 lets nobody in
  std::optional<std::uint32_t> gid{};  // group of a slave; 5 is "tty" on most systems. Must be mapped in a user namespace.
  bool operator==(const DevptsOptions&) const = default;
};

// One mount at one place inside the new root.
//
//   MountSpec::proc()
//   MountSpec::tmpfs("/tmp", {.size = 64 << 20, .mode = 01777})
//   MountSpec::bind("/srv/data", "/data").with({.ro = Setting::set})
//   MountSpec::bind("/opt/tools", "/opt/tools").optional_source()
//   MountSpec::filesystem("cgroup2", "/sys/fs/cgroup").with({.ro = Setting::set})
//
// The target is found inside the root by descriptor and created if missing: a directory, or an empty file for a source that is
// no directory; parents 0755. Symbolic links in the image are followed inside the root. A target of "/" mounts over the root
// itself, and later steps see the new one.
//
// With the descriptor-based calls (Linux 5.2) a mount gets its attributes while it is detached and becomes visible by one
// move_mount(2); without them by mount(2) on /proc/self/fd/N.
//
// Needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace. In a user namespace: a bind must be recursive if mounts lie
// below its source (EINVAL); proc needs a pid namespace of its own and an unmasked /proc outside, sysfs a network namespace,
// mqueue an ipc namespace (EPERM); block file systems cannot be mounted (EPERM).
// cgroup2 belongs into a child with a cgroup namespace of its own: mounted in the host's, its options become the host's, and a mount
// without any takes nsdelegate away from it (cgroups(7); the kernel's Documentation/admin-guide/cgroup-v2.rst, "Mounting"; measured
// on 6.18). Errors: ENOENT, ENOTDIR, EROFS for targets; ENODEV for an unknown type; EINVAL for options (the kernel's words are in the
// report). Source: mount(2), fsopen(2), open_tree(2), move_mount(2), mount_setattr(2); the man page of each file system.
struct MountSpec {
  std::string target{};
  std::string type{};          // empty: a bind
  std::string source{};        // a bind: absolute path of the host; else what mountinfo shows as the source
  int source_descriptor = -1;  // a bind by a descriptor that the caller holds, see bind_descriptor()
  bool recursive = true;       // a bind: with the mounts below the source
  std::vector<FilesystemOption> options{};
  MountAttributes attributes{};
  bool attributes_recursive = false;            // on all mounts of the tree, not only the topmost (Linux 5.12)
  Propagation propagation = Propagation::keep;  // recursive with `recursive`
  bool optional = false;                        // a source that does not exist is not an error: the mount is skipped and reported

  bool operator==(const MountSpec&) const = default;

  static MountSpec bind(std::string source, std::string target) {
    MountSpec spec;
    spec.source = std::move(source);
    spec.target = std::move(target);
    return spec;
  }
  // A descriptor of the caller: of a directory, a file, a device, a socket, a fifo. Opened in the mount namespace in which the plan runs;
  // or a detached mount (open_tree(2) with OPEN_TREE_CLONE, fsmount(2)), which also passes into another namespace: a plain descriptor does
  // not (EINVAL). The caller keeps it open until the plan has run.
  static MountSpec bind_descriptor(int descriptor, std::string target) {
    MountSpec spec;
    spec.source_descriptor = descriptor;
    spec.target = std::move(target);
    return spec;
  }
  static MountSpec filesystem(std::string type, std::string target, std::vector<FilesystemOption> options = {}) {
    MountSpec spec;
    spec.source = type;
    spec.type = std::move(type);
    spec.target = std::move(target);
    spec.options = std::move(options);
    return spec;
  }
  ROOTPREP_EXPORT static MountSpec tmpfs(std::string target, TmpfsOptions options = {});                 // nosuid, nodev
  ROOTPREP_EXPORT static MountSpec proc(std::string target = "/proc", ProcOptions options = {});         // nosuid, nodev, noexec
  ROOTPREP_EXPORT static MountSpec sysfs(std::string target = "/sys");                                   // ro, nosuid, nodev, noexec
  ROOTPREP_EXPORT static MountSpec devpts(std::string target = "/dev/pts", DevptsOptions options = {});  // nosuid, noexec
  ROOTPREP_EXPORT static MountSpec mqueue(std::string target = "/dev/mqueue");                           // nosuid, nodev, noexec

  // The same with one thing changed.
  MountSpec with(MountAttributes changed) const {
    MountSpec spec = *this;
    spec.attributes = changed;
    return spec;
  }
  MountSpec with_recursive(MountAttributes changed) const {
    MountSpec spec = with(changed);
    spec.attributes_recursive = true;
    return spec;
  }
  MountSpec with_propagation(Propagation changed) const {
    MountSpec spec = *this;
    spec.propagation = changed;
    return spec;
  }
  MountSpec not_recursive() const {
    MountSpec spec = *this;
    spec.recursive = false;
    return spec;
  }
  MountSpec optional_source() const {
    MountSpec spec = *this;
    spec.optional = true;
    return spec;
  }

  bool is_bind() const noexcept { return type.empty(); }
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

}  // namespace rootprep
