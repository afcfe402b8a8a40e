// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <climits>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "rootprep/error.hpp"
#include "rootprep/kernel.hpp"

// What a child executes, as plain data: one system call with holes. Programs read these (Plan::operations()); steps make them
// with PlanBuilder.
namespace rootprep {

inline constexpr std::uint16_t no_slot = 0xFFFF;

// How an argument gets its value when its operation runs.
enum class ArgumentSource : std::uint8_t {
  immediate,        // `value` itself
  string,           // address of the NUL-terminated string at `value` in the plan's data
  blob,             // address of `size` bytes at `value` in the plan's data, aligned to 8
  descriptor,       // the descriptor in `slot`
  descriptor_path,  // address of "/proc/self/fd/N" for the descriptor in `slot`
  text,             // address of the text at `value` in the plan's data, with its descriptor holes filled (see PlanText)
  held_descriptor,  // `value`: a descriptor that the caller holds and passes to the child
};

struct Argument {
  ArgumentSource source = ArgumentSource::immediate;
  std::uint8_t reserved = 0;
  std::uint16_t slot = no_slot;
  std::uint32_t size = 0;
  std::uint64_t value = 0;

  constexpr bool operator==(const Argument&) const = default;
};
static_assert(sizeof(Argument) == 16 && std::is_trivially_copyable_v<Argument>);

enum class OperationKind : std::uint8_t {
  system_call,
  skip_if_closed,  // no system call: goes to `alternative` if the slot of argument 0 was never filled
  user_function,   // a function of the user, called in the child (PlanBuilder::call)
  // The five composites: what one system call with holes cannot express.
  open_in_root,           // a walk that follows symbolic links, creates what is missing and never leaves the root: needs loops
  make_parent_private,    // the depth of the mount above the root is not known before it runs
  hide_host_filesystems,  // which procfs and sysfs mounts exist is not known before it runs
  remount_bind,           // mount(2) replaces all flags of a mount, so the present ones must be read and kept
  verify,                 // an answer of the kernel must be compared with what was expected
};

// What `verify` compares (its argument 1).
enum class Verification : std::uint8_t {
  node,        // argument 2: type (abi::s_ifchr...), 3: device number
  filesystem,  // argument 2: magic or 0, 3: statfs flags that must be set, 4: statfs flags that must be clear
};

// What `open_in_root` makes of a missing target (its argument 3).
enum class Create : std::uint8_t {
  nothing,
  directory,
  file,
  like_source,  // a directory if the descriptor in argument 5 is one, else a file
};

// The ways to enter a root.
enum class RootEntry : std::uint8_t {
  none = 0,
  pivot_root,
  move_root,
  chroot,
  base_namespace,       // join a kept namespace of one mount and move the tree onto its root
  namespace_from_tree,  // OPEN_TREE_NAMESPACE (Linux 7.0)
};

// One operation. It succeeds, or answers with an errno in `allowed` (also success), or with one in `otherwise`: then execution
// goes on at `alternative`, and reports it if there is a note. Everything else ends the plan.
struct Operation {
  OperationKind kind = OperationKind::system_call;
  std::uint8_t argument_count = 0;
  bool exact = false;                       // the result must equal the size in argument 2: a short write is an error
  RootEntry enters_root = RootEntry::none;  // reported once this operation has succeeded
  std::uint16_t step = no_step;
  std::uint16_t number = 0;                  // of the system call
  std::uint16_t result = no_slot;            // slot for the descriptor that it returns
  std::uint8_t allowed[4] = {};              // errno values, 0 = unused
  std::uint8_t otherwise[6] = {};            // errno values, 0 = unused
  std::uint32_t next = no_operation;         // on success; no_operation: the following one
  std::uint32_t alternative = no_operation;  // on an errno in `otherwise`
  std::uint32_t attempt = no_operation;      // first operation of the attempt that `alternative` abandons
  std::uint32_t note = 0;                    // offset in the plan's data of what taking the alternative means; 0: none
  Argument arguments[6] = {};

  constexpr bool operator==(const Operation&) const = default;
};
static_assert(std::is_trivially_copyable_v<Operation>);  // a child reads it in place; it can be copied into shared memory
static_assert(std::is_standard_layout_v<Operation>);

// What a user's function sees in the child. `data` is a copy of the bytes given to PlanBuilder::call(), aligned to 8.
struct ChildContext {
  Kernel& kernel;
  const void* data = nullptr;
  std::size_t size = 0;
  int root = -1;  // descriptor of the new root, or -1
};

// Runs between clone() and execve(): no allocation, no locks, no exceptions, no errno, system calls only through
// `context.kernel`. Returns >= 0, or -errno. In a program with sanitizers it is not instrumented: docs/child-safety.md.
using UserFunction = long (*)(const ChildContext& context) noexcept;

// An errno that was not a failure but changed the course: a skipped optional step, or an alternative.
struct Event {
  std::uint32_t operation = no_operation;
  std::int32_t error_number = 0;
  constexpr bool operator==(const Event&) const = default;
};

// What happened in the child. Plain data, written to a pipe in one write(2).
struct Report {
  Error error{};               // Domain::none: success
  std::uint32_t executed = 0;  // operations
  RootEntry entered_by = RootEntry::none;
  std::uint8_t reserved[3] = {};
  std::uint32_t event_count = 0;  // may exceed what `events` holds
  std::uint32_t kernel_message_size = 0;
  Event events[128] = {};
  char kernel_message[512] = {};  // what the kernel wrote about a failed file system context, one message a line
};
static_assert(sizeof(Report) <= PIPE_BUF);  // one write(2) to a pipe is then atomic (pipe(7))
static_assert(std::is_trivially_copyable_v<Report>);

}  // namespace rootprep
