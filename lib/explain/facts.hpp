// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "rootprep/abi.hpp"
#include "rootprep/error.hpp"
#include "rootprep/operation.hpp"
#include "rootprep/plan.hpp"

namespace rootprep::explaining {

// What is known about a failure: the error, and, if the caller has them, the plan and the report. What is not known is nullopt, and a cause
// that depends on it stays possible.
class Facts {
 public:
  explicit Facts(const Error& error, const Plan* plan = nullptr, const Report* report = nullptr);

  const Error& error() const noexcept { return error_; }
  const Plan* plan() const noexcept { return plan_; }
  const Operation* operation() const noexcept { return operation_; }
  const Report* report() const noexcept { return report_; }

  // "mount", "remount_bind", ...; empty: not known
  const std::string& call() const noexcept { return call_; }
  std::optional<std::uint64_t> number(std::size_t argument) const;
  std::optional<std::string> text(std::size_t argument) const;
  // Does a number have at least one of these bits? True if it is not known.
  bool may_have(std::size_t argument, std::uint64_t bits) const;
  bool may_lack(std::size_t argument, std::uint64_t bits) const;
  std::optional<abi::mount_attr> mount_attributes() const;  // of mount_setattr(2)

  // Type of the file system that is being made; empty: another thing, or not known.
  const std::string& filesystem() const noexcept { return filesystem_; }
  bool makes(std::string_view type) const noexcept { return filesystem_ == type; }
  // Is this the call that makes the file system of its parameters: FSCONFIG_CMD_CREATE, fsmount, or mount(2) with a type?
  bool creates() const;
  bool sets_option() const;  // fsconfig() other than a command
  bool in_prologue() const noexcept;
  std::optional<bool> user_namespace() const;

  // Of the plan as a whole; true or false only where the operations leave no doubt.
  std::optional<bool> root_was_made_a_mount() const;
  std::optional<bool> separated_from_host() const;
  std::optional<bool> enters_by_chroot_before() const;
  std::size_t options_size() const;  // bytes of mount(2)'s data at most
  std::optional<std::size_t> lower_layers() const;
  std::optional<bool> has_upper() const;

  bool kernel_says(std::string_view text) const noexcept { return kernel_message().find(text) != std::string_view::npos; }
  std::string_view kernel_message() const noexcept;

 private:
  std::string filesystem_of(std::uint16_t slot) const;

  Error error_;
  const Plan* plan_;
  const Report* report_;
  const Operation* operation_ = nullptr;
  std::string call_{};
  std::string filesystem_{};
};

}  // namespace rootprep::explaining
