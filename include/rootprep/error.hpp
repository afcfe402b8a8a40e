// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <boost/outcome/basic_result.hpp>
#include <boost/outcome/policy/base.hpp>
#include <boost/outcome/std_result.hpp>
#include <cstdint>
#include <system_error>
#include <type_traits>

#include "rootprep/export.hpp"

namespace rootprep {

// Example:
//
//   rootprep::result<rootprep::Plan> plan = pipeline.compile();
//   if (!plan) std::cerr << rootprep::explain(plan.assume_error()) << '\n';
//
// Who says that something failed, and so how `Error::code` reads.
enum class Domain : std::uint8_t {
  none = 0,  // no error
  kernel,    // `code` is an errno
  plan,      // `code` is a PlanErrc: found in the parent, before any side effect
  child,     // `code` is a ChildErrc: found between clone() and execve()
};

// What is wrong with a pipeline or with a plan. Found in the parent, before any side effect.
enum class PlanErrc : std::int32_t {
  ok = 0,
  // pipelines
  empty_value,            // a field that must not be empty is empty
  not_absolute,           // a host path must be absolute
  nul_byte,               // a path or an option holds a NUL byte
  not_found,              // a host path does not exist
  not_a_directory,        // a directory was expected
  wrong_type,             // an object of another type was expected
  bad_value,              // a value outside its range or not of its form
  conflict,               // two fields exclude each other
  too_many_layers,        // overlayfs takes at most 500 lower layers
  upper_on_overlay,       // overlayfs refuses an upper directory that lies on overlayfs
  upper_work_apart,       // upper and work must lie on one mount, side by side
  unsupported_by_kernel,  // the kernel features given to compile() lack what the step needs
  needs_privilege,        // the caller lacks what the step needs, and there is no other way
  no_root,                // a step needs the new root, but no step has prepared one
  host_path_after_entry,  // a host path is not reachable once the root was entered
  lasting_alternative,    // an alternative can be abandoned only before it leaves something behind
  too_large,              // more operations, slots or bytes than a plan can hold
  // plans (see verify() in plan.hpp)
  bad_operation,
  bad_argument,
  bad_jump,
  bad_slot,
  bad_data,
  bad_step,
  bad_format,      // text that is not a plan
  format_version,  // a plan written by a version that this one cannot read
  not_portable,    // a plan with addresses of this process cannot be written or read
  // using the library
  bad_option,  // LaunchOptions or CompileOptions: a value that cannot be used
};

// What failed between clone() and execve() other than a system call.
enum class ChildErrc : std::int32_t {
  ok = 0,
  wrong_node,         // an existing node has another type or device number than asked for
  wrong_filesystem,   // an object lies on another file system type than asked for
  mounted_read_only,  // a file system that must be writable came up read-only
  not_read_only,      // a mount that must be read-only is writable
  short_write,        // write(2) took fewer bytes than given
  name_too_long,      // a path or a symbolic link target longer than PATH_MAX
  unreadable_mounts,  // /proc/self/mountinfo is missing or malformed
  outside_root,       // the working directory lies outside the new root
  no_descriptor,      // an operation found its descriptor slot empty: a defect of the plan
  interrupted,        // the parent went away, or closed the channel, before the child could start
  exited_early,       // the child ended without a report (killed, or out of memory)
};

inline constexpr std::uint32_t no_operation = 0xFFFF'FFFF;
inline constexpr std::uint16_t no_step = 0xFFFF;

// Where a failure happened: coordinates, not sentences. explain() (explain.hpp) turns them into sentences with the help of the plan.
//
// A trivially copyable value of 16 bytes without padding, because a child writes it to a pipe.
struct Error {
  std::int32_t code = 0;                   // errno, PlanErrc or ChildErrc: see `domain`
  std::uint32_t operation = no_operation;  // index into Plan::operations()
  std::uint16_t step = no_step;            // index into Plan::steps()
  std::uint16_t system_call = 0;           // number of the system call, where one failed
  Domain domain = Domain::none;
  std::uint8_t reserved[3] = {};

  constexpr bool operator==(const Error&) const = default;

  static constexpr Error from_errno(int error_number, std::uint16_t system_call_number = 0) noexcept {
    Error error;
    error.code = error_number;
    error.system_call = system_call_number;
    error.domain = Domain::kernel;
    return error;
  }
  static constexpr Error from_plan(PlanErrc code) noexcept {
    Error error;
    error.code = static_cast<std::int32_t>(code);
    error.domain = Domain::plan;
    return error;
  }
  static constexpr Error from_child(ChildErrc code) noexcept {
    Error error;
    error.code = static_cast<std::int32_t>(code);
    error.domain = Domain::child;
    return error;
  }
  constexpr bool is(PlanErrc expected) const noexcept { return domain == Domain::plan && code == static_cast<std::int32_t>(expected); }
  constexpr bool is(ChildErrc expected) const noexcept { return domain == Domain::child && code == static_cast<std::int32_t>(expected); }
  constexpr bool is_errno(int error_number) const noexcept { return domain == Domain::kernel && code == error_number; }
};
static_assert(sizeof(Error) == 16);  // it crosses a pipe: no padding, no pointer
static_assert(std::is_trivially_copyable_v<Error>);
static_assert(std::is_standard_layout_v<Error>);

// The categories of PlanErrc and ChildErrc. An errno is in std::generic_category(), so that `code == std::errc::...` works.
ROOTPREP_EXPORT const std::error_category& plan_category() noexcept;
ROOTPREP_EXPORT const std::error_category& child_category() noexcept;

// Found by argument-dependent lookup: a function that returns result<T, std::error_code> can pass our errors on. Does not allocate.
ROOTPREP_EXPORT std::error_code make_error_code(const Error& error) noexcept;

// What result<T>::value() does with an error: throws std::system_error.
[[noreturn]] ROOTPREP_EXPORT void outcome_throw_as_system_error_with_payload(const Error& error);

namespace outcome = BOOST_OUTCOME_V2_NAMESPACE;

// A value or an Error. Not ABI across Boost versions: what crosses a process boundary is Error and Report, never a result.
template <class T>
using result = outcome::basic_result<T, Error, outcome::policy::default_policy<T, Error, void>>;

static_assert(outcome::trait::is_error_code_available<Error>::value);  // make_error_code() above is found

}  // namespace rootprep
