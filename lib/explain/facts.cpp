// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "explain/facts.hpp"

#include <algorithm>

#include "print/decode.hpp"

namespace rootprep::explaining {
namespace {

bool is_call(const Operation& op, std::string_view name) {
  return op.kind == OperationKind::system_call && print::system_call_name(op.number) == name;
}

bool is_null(const Argument& argument) noexcept { return argument.source == ArgumentSource::immediate && argument.value == 0; }

bool names_a_mount_type(const Operation& op) {
  return is_call(op, "mount") && !is_null(op.arguments[2]) && (op.arguments[3].value & abi::ms_remount) == 0;
}

constexpr std::uint64_t propagation_flags = abi::ms_private | abi::ms_slave | abi::ms_shared | abi::ms_unbindable;

}  // namespace

Facts::Facts(const Error& error, const Plan* plan, const Report* report) : error_(error), plan_(plan), report_(report) {
  if (plan != nullptr && error.operation < plan->operations().size()) {
    operation_ = &plan->operations()[error.operation];
    call_ = print::call_name(*operation_);
    if (is_call(*operation_, "fsopen")) {
      filesystem_ = text(0).value_or("");
    } else if (names_a_mount_type(*operation_)) {
      filesystem_ = text(2).value_or("");
    } else if ((call_ == "fsconfig" || call_ == "fsmount") && operation_->arguments[0].source == ArgumentSource::descriptor) {
      filesystem_ = filesystem_of(operation_->arguments[0].slot);
    }
  } else {
    call_ = print::system_call_name(error.system_call);
    // System call 0 is read(2) on x86-64, but in an Error it means that none failed.
    if (error.system_call == 0) call_.clear();
  }
}

std::string Facts::filesystem_of(std::uint16_t slot) const {
  for (const Operation& op : plan_->operations().first(error_.operation)) {
    if (is_call(op, "fsopen") && op.result == slot) return print::text_of(*plan_, op.arguments[0]);
  }
  return {};
}

std::optional<std::uint64_t> Facts::number(std::size_t argument) const {
  if (operation_ == nullptr || argument >= operation_->argument_count) return std::nullopt;
  const Argument& a = operation_->arguments[argument];
  return a.source == ArgumentSource::immediate ? std::optional{a.value} : std::nullopt;
}

std::optional<std::string> Facts::text(std::size_t argument) const {
  if (operation_ == nullptr || argument >= operation_->argument_count) return std::nullopt;
  const Argument& a = operation_->arguments[argument];
  const bool has_text =
      a.source == ArgumentSource::string || a.source == ArgumentSource::text || a.source == ArgumentSource::descriptor_path;
  return has_text ? std::optional{print::text_of(*plan_, a)} : std::nullopt;
}

bool Facts::may_have(std::size_t argument, std::uint64_t bits) const {
  const std::optional<std::uint64_t> value = number(argument);
  return !value || (*value & bits) != 0;
}
bool Facts::may_lack(std::size_t argument, std::uint64_t bits) const {
  const std::optional<std::uint64_t> value = number(argument);
  return !value || (*value & bits) != bits;
}

std::optional<abi::mount_attr> Facts::mount_attributes() const {
  if (operation_ == nullptr || call_ != "mount_setattr") return std::nullopt;
  return print::structure_of<abi::mount_attr>(*plan_, operation_->arguments[3]);
}

bool Facts::creates() const {
  if (operation_ == nullptr) return call_ == "fsconfig" || call_ == "fsmount" || call_ == "mount";
  if (call_ == "fsconfig") return number(1) == abi::fsconfig_cmd_create || number(1) == abi::fsconfig_cmd_create_excl;
  return call_ == "fsmount" || names_a_mount_type(*operation_);
}

bool Facts::sets_option() const {
  if (call_ != "fsconfig") return false;
  return operation_ == nullptr || (number(1) && *number(1) <= abi::fsconfig_set_fd);
}

bool Facts::in_prologue() const noexcept { return plan_ != nullptr && error_.operation < plan_->prologue_size(); }

std::optional<bool> Facts::user_namespace() const { return plan_ == nullptr ? std::nullopt : std::optional{plan_->for_user_namespace()}; }

std::optional<bool> Facts::root_was_made_a_mount() const {
  if (plan_ == nullptr || operation_ == nullptr || plan_->parts().root_slot == no_slot) return std::nullopt;
  const auto before = plan_->operations().first(error_.operation);
  const std::uint16_t root = plan_->parts().root_slot;
  const auto maker = std::find_if(before.begin(), before.end(), [&](const Operation& op) { return op.result == root; });
  if (maker == before.end()) return std::nullopt;
  if (is_call(*maker, "fsmount") || (is_call(*maker, "open_tree") && (maker->arguments[2].value & abi::open_tree_clone) != 0)) return true;
  if (!is_call(*maker, "openat") && !is_call(*maker, "open_tree")) return std::nullopt;
  // Opened by a path: was something mounted there before that?
  const std::string path = print::text_of(*plan_, maker->arguments[1]);
  const auto leads_there = [&](const Argument& target) {
    if (target.source == ArgumentSource::string) return print::text_of(*plan_, target) == path;
    return target.source == ArgumentSource::descriptor_path && std::any_of(before.begin(), maker, [&](const Operation& op) {
             return op.result == target.slot && is_call(op, "openat") && print::text_of(*plan_, op.arguments[1]) == path;
           });
  };
  return std::any_of(before.begin(), maker, [&](const Operation& op) {
    return is_call(op, "mount") && (op.arguments[3].value & (propagation_flags | abi::ms_remount)) == 0 && leads_there(op.arguments[1]);
  });
}

std::optional<bool> Facts::separated_from_host() const {
  if (plan_ == nullptr || operation_ == nullptr) return std::nullopt;
  const auto before = plan_->operations().first(error_.operation);
  return std::any_of(before.begin(), before.end(), [&](const Operation& op) {
    if (op.kind == OperationKind::make_parent_private) return true;
    return is_call(op, "mount") && (op.arguments[3].value & (abi::ms_private | abi::ms_slave)) != 0 &&
           (op.arguments[3].value & abi::ms_rec) != 0;
  });
}

std::optional<bool> Facts::enters_by_chroot_before() const {
  if (plan_ == nullptr || operation_ == nullptr) return std::nullopt;
  const auto before = plan_->operations().first(error_.operation);
  return std::any_of(before.begin(), before.end(), [](const Operation& op) { return is_call(op, "chroot"); });
}

std::size_t Facts::options_size() const {
  if (operation_ == nullptr || call_ != "mount") return 0;
  return text(4).value_or("").size();
}

std::optional<std::size_t> Facts::lower_layers() const {
  if (operation_ == nullptr || filesystem_ != "overlay") return std::nullopt;
  if (call_ == "mount") {
    const std::string data = text(4).value_or("");
    const std::size_t start = data.find("lowerdir=");
    if (start == std::string::npos) return 0;
    const std::string lower = data.substr(start, data.find(',', start) - start);
    return 1 + static_cast<std::size_t>(std::count(lower.begin(), lower.end(), ':'));
  }
  std::size_t count = 0;
  for (const Operation& op : plan_->operations().first(error_.operation)) {
    if (is_call(op, "fsconfig") && op.arguments[0] == operation_->arguments[0] && print::text_of(*plan_, op.arguments[2]) == "lowerdir+")
      count += 1;
    if (is_call(op, "fsconfig") && op.arguments[0] == operation_->arguments[0] && print::text_of(*plan_, op.arguments[2]) == "lowerdir")
      return std::nullopt;
  }
  return count;
}

std::optional<bool> Facts::has_upper() const {
  if (operation_ == nullptr || filesystem_ != "overlay") return std::nullopt;
  if (call_ == "mount") return text(4).value_or("").find("upperdir=") != std::string::npos;
  const auto before = plan_->operations().first(error_.operation + 1);
  return std::any_of(before.begin(), before.end(), [&](const Operation& op) {
    return is_call(op, "fsconfig") && op.arguments[0] == operation_->arguments[0] && print::text_of(*plan_, op.arguments[2]) == "upperdir";
  });
}

std::string_view Facts::kernel_message() const noexcept {
  if (report_ == nullptr) return {};
  return {report_->kernel_message, std::min<std::size_t>(report_->kernel_message_size, sizeof report_->kernel_message)};
}

}  // namespace rootprep::explaining
