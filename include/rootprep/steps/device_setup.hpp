// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rootprep/abi.hpp"
#include "rootprep/export.hpp"
#include "rootprep/steps/mount_spec.hpp"

namespace rootprep {

class PlanBuilder;

enum class DeviceType : std::uint8_t { character, block, fifo };

// One device node: `Device{.path = "/dev/fuse", .major = 10, .minor = 229}`.
struct Device {
  std::string path{};  // inside the root; a relative path is below the directory of DeviceSetup
  DeviceType type = DeviceType::character;
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint32_t mode = 0666;  // octal, exactly: the umask does not apply
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  bool operator==(const Device&) const = default;
};

enum class DeviceMethod : std::uint8_t {
  automatic,  // bind in a user namespace; else mknod, and bind if the kernel refuses the first node with EPERM
  mknod,
  bind,  // the host's nodes of the same paths
};

// A /dev for a container: devices, links, pseudo terminals, shared memory, message queues.
//
//   DeviceSetup{}
//   DeviceSetup{.extra_devices = {{.path = "fuse", .major = 10, .minor = 229}}, .mqueue = false}
//
// A tmpfs with mode 0755 is mounted on `directory` (fresh), or what is there is used. null, zero, full, random, urandom and tty are made,
// and every node is opened and compared afterwards: an existing node of another type or number is an error (ChildErrc::wrong_node), as the
// OCI runtime specification demands. A directory that the image has made a symbolic link is followed inside the root.
//
// mode=0755, not 1777: in a sticky world-writable directory the kernel refuses O_CREAT on a file of another owner (proc_sys_fs(5),
// protected_regular), and `echo > /dev/null` would fail.
//
// Needs CAP_SYS_ADMIN for the mounts and CAP_MKNOD for mknod; in a user namespace device nodes cannot be made, so the host's are bound, and
// `mqueue` needs an ipc namespace of its own.
// Source: OCI runtime specification, config-linux, "Default Devices", "Default Filesystems"; mknod(2); devpts(5); pts(4).
struct DeviceSetup {
  std::string directory = "/dev";
  bool fresh = true;                        // false: what the image has, or an earlier mount
  std::uint64_t tmpfs_size = 65536 * 1024;  // bytes
  DeviceMethod method = DeviceMethod::automatic;
  bool default_devices = true;
  std::vector<Device> extra_devices{};
  bool links = true;  // fd, stdin, stdout, stderr -> /proc/self/fd...; what exists stays
  bool pts = true;    // devpts on pts, and ptmx -> pts/ptmx
  DevptsOptions pts_options{};
  bool shm = true;  // tmpfs on shm, mode 01777
  std::uint64_t shm_size = 65536 * 1024;
  bool mqueue = true;
  std::optional<int> console{};  // descriptor of a terminal for console: as in MountSpec::bind_descriptor()

  bool operator==(const DeviceSetup&) const = default;
  ROOTPREP_EXPORT static const std::vector<Device>& standard_devices();
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

}  // namespace rootprep
