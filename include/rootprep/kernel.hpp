// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include "rootprep/abi.hpp"
#include "rootprep/export.hpp"

namespace rootprep {

// One system call: its number on this architecture and six arguments, as the kernel's calling convention has them.
struct SysCall {
  long number = -1;
  std::array<std::uint64_t, 6> arguments{};

  constexpr bool operator==(const SysCall&) const = default;
};

// The only door to the operating system.
//
// Example: a kernel that counts and passes on.
//
//   class CountingKernel final : public rootprep::Kernel {
//    public:
//     explicit CountingKernel(rootprep::Kernel& inner) : inner_(inner) {}
//     long call(const rootprep::SysCall& call) noexcept override { ++calls; return inner_.call(call); }
//     long calls = 0;
//    private:
//     rootprep::Kernel& inner_;
//   };
//
// call() returns what the kernel returns: a value >= 0, or -errno. It never touches the variable `errno` (a child that shares
// the parent's memory shares it too). Called between clone() and execve(): an implementation that is used there must not
// allocate or lock.
class ROOTPREP_EXPORT Kernel {
 public:
  virtual long call(const SysCall& call) noexcept = 0;

 protected:
  constexpr Kernel() = default;
  Kernel(const Kernel&) = default;
  Kernel& operator=(const Kernel&) = default;
  ~Kernel() = default;
};

// The running kernel. A reference to an object without state: safe from every thread and from both sides of clone().
ROOTPREP_EXPORT Kernel& linux_kernel() noexcept;

// What an argument means: how printers show it, and what a fake kernel may expect behind it.
enum class ArgumentKind : std::uint8_t {
  number,
  descriptor,      // an open file descriptor
  directory,       // a descriptor that may also be AT_FDCWD
  fs_context,      // a descriptor from fsopen() or fspick(): read(2) on it tells what went wrong
  path,            // NUL-terminated
  text,            // NUL-terminated
  bytes,           // memory that the kernel reads; the next argument is its size
  pointer,         // memory that the kernel writes, or a structure without a kind of its own
  size,            // bytes
  mode,            // permission bits, octal
  node_mode,       // permission bits and a type, octal
  device,          // as abi::device_number()
  open_how,        // -> abi::open_how
  mount_attr,      // -> abi::mount_attr
  mount_data,      // text, or nullptr
  fsconfig_value,  // depends on the command
  fsconfig_aux,    // a descriptor for FSCONFIG_SET_FD, else a number
  // sets of flags
  open_flags,
  resolve_flags,
  at_flags,
  unlink_flags,
  rename_flags,
  open_tree_flags,
  move_mount_flags,
  fsopen_flags,
  fspick_flags,
  fsmount_flags,
  mount_attributes,
  mount_flags,
  umount_flags,
  namespace_flags,
  close_range_flags,
  statx_mask,
  statfs_flags,
  // enumerations
  fsconfig_command,
  node_type,
  filesystem_magic,
};
constexpr bool is_enumeration(ArgumentKind kind) noexcept { return kind >= ArgumentKind::fsconfig_command; }
constexpr bool is_flag_set(ArgumentKind kind) noexcept { return kind >= ArgumentKind::open_flags && kind < ArgumentKind::fsconfig_command; }

enum class ResultKind : std::uint8_t { descriptor, status, bytes, value };

// What a call that succeeded leaves behind. An alternative (PlanBuilder::first_of) cannot be abandoned once something is left
// in the mount table or in a file system.
enum class Leaves : std::uint8_t { nothing, process, mounts, files };

enum class Capability : std::uint8_t { none, sys_admin, sys_chroot, mknod };

struct ArgumentInfo {
  ArgumentKind kind = ArgumentKind::number;
  std::string_view name{};
};

// One row of syscalls.def.
struct SysCallInfo {
  std::string_view name{};
  long number = -1;
  std::string_view since{};  // the Linux version that brought it; empty: older than 4.19
  ResultKind result = ResultKind::status;
  Leaves leaves = Leaves::nothing;
  Capability needs = Capability::none;
  std::uint8_t argument_count = 0;
  std::array<ArgumentInfo, 6> arguments{};
};

struct FlagInfo {
  ArgumentKind kind = ArgumentKind::number;
  std::string_view text{};
  std::uint64_t value = 0;
};

// The row of a system call, by number or by name; nullptr for one that the table does not have. Do not allocate.
ROOTPREP_EXPORT const SysCallInfo* find_syscall(long number) noexcept;
ROOTPREP_EXPORT const SysCallInfo* find_syscall(std::string_view name) noexcept;

// All rows and all flags, in the order of syscalls.def.
struct SysCallTable {
  const SysCallInfo* first = nullptr;
  std::size_t count = 0;
  const SysCallInfo* begin() const noexcept { return first; }
  const SysCallInfo* end() const noexcept { return first + count; }
};
struct FlagTable {
  const FlagInfo* first = nullptr;
  std::size_t count = 0;
  const FlagInfo* begin() const noexcept { return first; }
  const FlagInfo* end() const noexcept { return first + count; }
};
ROOTPREP_EXPORT SysCallTable syscall_table() noexcept;
ROOTPREP_EXPORT FlagTable flag_table() noexcept;

// A kernel with one function a system call, for fakes: override what you model. What you leave out answers -ENOSYS, as an older
// kernel does.
//
//   class NoMounts final : public rootprep::TypedKernel {
//     long mount(const char*, const char*, const char*, unsigned long, const void*) noexcept override { return -EPERM; }
//   };
class ROOTPREP_EXPORT TypedKernel : public Kernel {
 public:
  long call(const SysCall& call) noexcept override;

  // A system call that syscalls.def does not have.
  virtual long unknown(const SysCall& call) noexcept;

#define ROOTPREP_ARGUMENT(type, kind, name) [[maybe_unused]] type name
#define ROOTPREP_SYSCALL(name, since, result, leaves, needs, ...) \
  virtual long name(__VA_ARGS__) noexcept { return -ENOSYS; }
#include "rootprep/syscalls.def"

 protected:
  TypedKernel() = default;
  TypedKernel(const TypedKernel&) = default;
  TypedKernel& operator=(const TypedKernel&) = default;
  ~TypedKernel() = default;
};

}  // namespace rootprep
