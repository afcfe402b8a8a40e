// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <fcntl.h>

#include <cstddef>
#include <cstdint>

// The kernel's constants and structures by their own names, in lower case, for steps and for kernels of your own.
//
//   b.openat2(b.root(), "proc", abi::o_path | abi::o_cloexec);
//
// <sys/mount.h>, <linux/mount.h> and the C library's age decide which of them a system header has; these are always there and
// clash with none. Made from syscalls.def.
namespace rootprep::abi {

#define ROOTPREP_FLAG(kind, identifier, text, value) inline constexpr std::uint64_t identifier = static_cast<std::uint64_t>(value);
#include "rootprep/syscalls.def"

inline constexpr int at_fdcwd = -100;  // AT_FDCWD

// openat2(2)
struct open_how {
  std::uint64_t flags = 0;
  std::uint64_t mode = 0;
  std::uint64_t resolve = 0;
  constexpr bool operator==(const open_how&) const = default;
};
static_assert(sizeof(open_how) == 24);  // OPEN_HOW_SIZE_VER0

// mount_setattr(2). propagation takes ms_private, ms_slave, ms_shared or ms_unbindable.
struct mount_attr {
  std::uint64_t attr_set = 0;
  std::uint64_t attr_clr = 0;
  std::uint64_t propagation = 0;
  std::uint64_t userns_fd = 0;
  constexpr bool operator==(const mount_attr&) const = default;
};
static_assert(sizeof(mount_attr) == 32);  // MOUNT_ATTR_SIZE_VER0

// statx(2)
struct statx_timestamp {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
  std::int32_t reserved = 0;
};
struct statx {
  std::uint32_t mask = 0;
  std::uint32_t blksize = 0;
  std::uint64_t attributes = 0;
  std::uint32_t nlink = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint16_t mode = 0;
  std::uint16_t reserved0 = 0;
  std::uint64_t ino = 0;
  std::uint64_t size = 0;
  std::uint64_t blocks = 0;
  std::uint64_t attributes_mask = 0;
  statx_timestamp atime{};
  statx_timestamp btime{};
  statx_timestamp ctime{};
  statx_timestamp mtime{};
  std::uint32_t rdev_major = 0;
  std::uint32_t rdev_minor = 0;
  std::uint32_t dev_major = 0;
  std::uint32_t dev_minor = 0;
  std::uint64_t mnt_id = 0;
  std::uint64_t reserved1[13] = {};
};
static_assert(sizeof(statx) == 256);

// statfs(2) as the 64-bit kernels fill it
struct statfs {
  std::int64_t type = 0;
  std::int64_t bsize = 0;
  std::uint64_t blocks = 0;
  std::uint64_t bfree = 0;
  std::uint64_t bavail = 0;
  std::uint64_t files = 0;
  std::uint64_t ffree = 0;
  std::int32_t fsid[2] = {};
  std::int64_t namelen = 0;
  std::int64_t frsize = 0;
  std::int64_t flags = 0;
  std::int64_t spare[4] = {};
};
static_assert(sizeof(statfs) == 120);

// The encoding of a device number as mknodat(2) takes it: 32 bits, minor split around a 12-bit major.
constexpr std::uint32_t device_number(std::uint32_t major, std::uint32_t minor) noexcept {
  return (minor & 0xffU) | ((major & 0xfffU) << 8U) | ((minor & ~0xffU) << 12U);
}
constexpr std::uint32_t device_major(std::uint32_t device) noexcept { return (device >> 8U) & 0xfffU; }
constexpr std::uint32_t device_minor(std::uint32_t device) noexcept { return (device & 0xffU) | ((device >> 12U) & 0xfff00U); }

}  // namespace rootprep::abi
