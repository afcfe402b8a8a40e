// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/error.hpp"

#include <string>

namespace rootprep {
namespace {

const char* words(PlanErrc code) noexcept {
  switch (code) {
    case PlanErrc::ok: return "no error";
    case PlanErrc::empty_value: return "a value is empty";
    case PlanErrc::not_absolute: return "a path is not absolute";
    case PlanErrc::nul_byte: return "a value holds a NUL byte";
    case PlanErrc::not_found: return "a path does not exist";
    case PlanErrc::not_a_directory: return "a path is not a directory";
    case PlanErrc::wrong_type: return "an object is of another type than needed";
    case PlanErrc::bad_value: return "a value is outside its range or not of its form";
    case PlanErrc::conflict: return "two settings exclude each other";
    case PlanErrc::too_many_layers: return "more lower layers than overlayfs takes";
    case PlanErrc::upper_on_overlay: return "the upper directory lies on overlayfs";
    case PlanErrc::upper_work_apart: return "upper and work directory do not lie side by side on one mount";
    case PlanErrc::unsupported_by_kernel: return "the kernel lacks what a step needs";
    case PlanErrc::needs_privilege: return "a step needs a privilege that the caller lacks";
    case PlanErrc::no_root: return "a step needs the new root, but no step before it has prepared one";
    case PlanErrc::host_path_after_entry: return "a path of the host is used after the new root was entered";
    case PlanErrc::lasting_alternative: return "an alternative could be abandoned after it has left something behind";
    case PlanErrc::too_large: return "a plan is too large";
    case PlanErrc::bad_operation: return "an operation is malformed";
    case PlanErrc::bad_argument: return "an argument of an operation is malformed";
    case PlanErrc::bad_jump: return "a jump does not lead forward to an operation of the plan";
    case PlanErrc::bad_slot: return "a descriptor slot is used before it is filled";
    case PlanErrc::bad_data: return "an argument points outside the data of the plan";
    case PlanErrc::bad_step: return "an operation belongs to no step of the plan";
    case PlanErrc::bad_format: return "the text is not a plan";
    case PlanErrc::format_version: return "the plan has a format version that this library cannot read";
    case PlanErrc::not_portable: return "the plan holds an address of a process and cannot leave it";
    case PlanErrc::bad_option: return "an option has a value that cannot be used";
  }
  return "unknown plan error";
}

const char* words(ChildErrc code) noexcept {
  switch (code) {
    case ChildErrc::ok: return "no error";
    case ChildErrc::wrong_node: return "an existing node has another type or device number";
    case ChildErrc::wrong_filesystem: return "an object lies on another type of file system";
    case ChildErrc::mounted_read_only: return "a file system that must be writable is read-only";
    case ChildErrc::not_read_only: return "a mount that must be read-only is writable";
    case ChildErrc::short_write: return "a write took fewer bytes than given";
    case ChildErrc::name_too_long: return "a path is longer than the kernel allows";
    case ChildErrc::unreadable_mounts: return "/proc/self/mountinfo is missing or malformed";
    case ChildErrc::outside_root: return "the working directory lies outside the new root";
    case ChildErrc::no_descriptor: return "an operation found its descriptor slot empty";
    case ChildErrc::interrupted: return "the parent went away before the child could start";
    case ChildErrc::exited_early: return "the child ended without a report";
  }
  return "unknown child error";
}

template <class Code>
class Category final : public std::error_category {
 public:
  explicit constexpr Category(const char* name) noexcept : name_(name) {}
  const char* name() const noexcept override { return name_; }
  std::string message(int code) const override { return words(static_cast<Code>(code)); }

 private:
  const char* name_;
};

}  // namespace

const std::error_category& plan_category() noexcept {
  static const Category<PlanErrc> category{"rootprep.plan"};
  return category;
}

const std::error_category& child_category() noexcept {
  static const Category<ChildErrc> category{"rootprep.child"};
  return category;
}

std::error_code make_error_code(const Error& error) noexcept {
  switch (error.domain) {
    case Domain::kernel: return {error.code, std::generic_category()};
    case Domain::plan: return {error.code, plan_category()};
    case Domain::child: return {error.code, child_category()};
    case Domain::none: break;
  }
  return {};
}

void outcome_throw_as_system_error_with_payload(const Error& error) { throw std::system_error(make_error_code(error)); }

}  // namespace rootprep
