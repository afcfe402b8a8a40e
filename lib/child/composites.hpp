// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>

#include "rootprep/operation.hpp"

// Runs between clone() and execve(). No allocation, locks, errno, exceptions, containers.
//
// The composite operations: what one system call with holes cannot express (OperationKind says why, for each). They return >= 0, -errno,
// or child_failure(code).
namespace rootprep::child {

// Below every errno, so that one long can carry both.
constexpr long child_failure(ChildErrc code) noexcept { return -4096 - static_cast<long>(code); }

// Opens `path` inside the root with `flags`, component by component and by descriptor: symbolic links are followed inside the root, ".."
// stays below it, magic links and what changes under our feet are refused. Creates what is missing if asked: parents 0755.
long open_in_root(Kernel& kernel, int root, const char* path, std::uint64_t flags, Create create, std::uint32_t mode, int like) noexcept;

// Gives the mount that holds `directory` the propagation `propagation`, walking up to the mount's root by descriptor.
long make_parent_private(Kernel& kernel, int directory, std::uint64_t propagation) noexcept;

// Unmounts, or covers, every whole procfs and sysfs that does not lie below `root`: after MS_MOVE the host's are still mounted below, and a
// process that leaves its chroot would find them.
long hide_host_filesystems(Kernel& kernel, int root) noexcept;

// mount(2) with MS_REMOUNT|MS_BIND replaces all flags of a mount: reads the present ones and changes only those that were asked for.
long remount_bind(Kernel& kernel, int mount, std::uint64_t set, std::uint64_t clear) noexcept;

long verify(Kernel& kernel, int descriptor, Verification what, std::uint64_t a, std::uint64_t b, std::uint64_t c) noexcept;

}  // namespace rootprep::child
