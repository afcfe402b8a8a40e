// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/plan.hpp"

#include <algorithm>
#include <cstring>

#include "plan/lasting_effects.hpp"
#include "plan/syscall_numbers.hpp"

namespace rootprep {

bool leaves_something_behind(const Operation& operation) noexcept {
  switch (operation.kind) {
    case OperationKind::skip_if_closed:
    case OperationKind::verify: return false;
    case OperationKind::open_in_root: return operation.arguments[3].value != static_cast<std::uint64_t>(Create::nothing);
    case OperationKind::system_call: {
      const SysCallInfo* info = find_syscall(long{operation.number});
      return info == nullptr || info->leaves == Leaves::mounts || info->leaves == Leaves::files;
    }
    case OperationKind::user_function:
    case OperationKind::make_parent_private:
    case OperationKind::hide_host_filesystems:
    case OperationKind::remount_bind: return true;
  }
  return true;
}

std::vector<PlanText::Piece> PlanText::pieces(std::string_view encoded) {
  std::vector<Piece> pieces;
  std::size_t literal = 0;
  for (std::size_t i = 0; i < encoded.size(); ++i) {
    if (encoded[i] != '\1') continue;
    if (i + 1 < encoded.size() && encoded[i + 1] == '\1') {  // a doubled byte 1: keep one of the two
      pieces.push_back({encoded.substr(literal, i + 1 - literal), no_slot});
      literal = i + 2;
      i += 1;
      continue;
    }
    if (i > literal) pieces.push_back({encoded.substr(literal, i - literal), no_slot});
    if (i + 2 >= encoded.size()) return pieces;
    const auto low = static_cast<unsigned char>(encoded[i + 1]) & 0x7FU;
    const auto high = static_cast<unsigned char>(encoded[i + 2]) & 0x7FU;
    pieces.push_back({{}, static_cast<std::uint16_t>(low | (high << 7U))});
    literal = i + 3;
    i += 2;
  }
  if (literal < encoded.size()) pieces.push_back({encoded.substr(literal), no_slot});
  return pieces;
}

namespace {

constexpr std::size_t longest_descriptor_path = sizeof "/proc/self/fd/2147483647";

std::string_view string_in(const std::vector<std::byte>& data, std::uint64_t offset) noexcept {
  if (offset >= data.size()) return {};
  const auto* first = reinterpret_cast<const char*>(data.data()) + offset;
  return {first, strnlen(first, data.size() - offset)};
}

std::size_t scratch_for(const PlanParts& parts, const Operation& operation) {
  std::size_t size = 0;
  for (std::size_t i = 0; i < operation.argument_count; ++i) {
    const Argument& argument = operation.arguments[i];
    if (argument.source == ArgumentSource::descriptor_path) size += longest_descriptor_path;
    if (argument.source == ArgumentSource::text) {
      for (const PlanText::Piece& piece : PlanText::pieces(string_in(parts.data, argument.value))) {
        size += piece.slot == no_slot ? piece.literal.size() : longest_descriptor_path;
      }
      size += 1;
    }
  }
  return size;
}

struct Shape {
  std::uint8_t minimum = 0;
  std::uint8_t maximum = 6;
};

Shape argument_shape(OperationKind kind) noexcept {
  switch (kind) {
    case OperationKind::system_call: return {0, 6};
    case OperationKind::skip_if_closed: return {1, 1};
    case OperationKind::user_function: return {2, 2};
    case OperationKind::open_in_root: return {6, 6};
    case OperationKind::make_parent_private: return {2, 2};
    case OperationKind::hide_host_filesystems: return {1, 1};
    case OperationKind::remount_bind: return {3, 3};
    case OperationKind::verify: return {4, 5};
  }
  return {0, 0};
}

class Verifier {
 public:
  explicit Verifier(const PlanParts& parts) noexcept : parts_(parts) {}

  result<void> verify() {
    const std::vector<Operation>& operations = parts_.operations;
    if (parts_.prologue_size > operations.size()) return Error::from_plan(PlanErrc::bad_operation);
    if (parts_.data.empty() != operations.empty() && parts_.data.empty()) return Error::from_plan(PlanErrc::bad_data);
    if (parts_.slots.size() > 0x3FFF || operations.size() >= (1U << 20U)) return Error::from_plan(PlanErrc::too_large);
    if (parts_.root_slot != no_slot && parts_.root_slot >= parts_.slots.size()) return Error::from_plan(PlanErrc::bad_slot);
    if (!parts_.data.empty() && parts_.data.front() != std::byte{0}) return Error::from_plan(PlanErrc::bad_data);

    for (std::uint32_t i = 0; i < operations.size(); ++i) {
      if (const PlanErrc code = check_form(i); code != PlanErrc::ok) return at(i, code);
    }
    return check_slots();
  }

 private:
  Error at(std::uint32_t index, PlanErrc code) const noexcept {
    Error error = Error::from_plan(code);
    error.operation = index;
    error.step = parts_.operations[index].step;
    return error;
  }

  // Are there errno values in the list? At any place: execution looks at all of them.
  template <std::size_t size>
  static bool any(const std::uint8_t (&errors)[size]) noexcept {
    return std::any_of(std::begin(errors), std::end(errors), [](std::uint8_t e) { return e != 0; });
  }

  PlanErrc check_form(std::uint32_t index) const {
    const Operation& op = parts_.operations[index];
    const auto count = static_cast<std::uint32_t>(parts_.operations.size());
    const Shape shape = argument_shape(op.kind);
    if (op.argument_count < shape.minimum || op.argument_count > shape.maximum) return PlanErrc::bad_operation;
    if (op.kind > OperationKind::verify || op.enters_root > RootEntry::namespace_from_tree) return PlanErrc::bad_operation;
    if (op.step >= parts_.steps.size()) return PlanErrc::bad_step;
    if (op.exact && (op.kind != OperationKind::system_call || op.argument_count < 3)) return PlanErrc::bad_operation;
    if (op.note >= parts_.data.size()) return PlanErrc::bad_data;
    if (op.kind == OperationKind::system_call) {
      const SysCallInfo* info = find_syscall(long{op.number});
      if (info != nullptr && info->argument_count != op.argument_count) return PlanErrc::bad_operation;
      if (info != nullptr && (info->result == ResultKind::descriptor) != (op.result != no_slot)) return PlanErrc::bad_operation;
    }
    if (op.kind == OperationKind::user_function && (op.arguments[0].source != ArgumentSource::immediate || op.arguments[0].value == 0 ||
                                                    op.arguments[1].source != ArgumentSource::blob)) {
      return PlanErrc::bad_argument;
    }
    if (op.kind == OperationKind::open_in_root && (op.arguments[1].source != ArgumentSource::string || op.result == no_slot))
      return PlanErrc::bad_argument;
    if (op.kind == OperationKind::skip_if_closed && op.arguments[0].source != ArgumentSource::descriptor) return PlanErrc::bad_argument;

    if (op.next != no_operation && (op.next <= index || op.next > count)) return PlanErrc::bad_jump;
    const bool jumps = op.kind == OperationKind::skip_if_closed || any(op.otherwise);
    if (jumps && (op.alternative <= index || op.alternative > count)) return PlanErrc::bad_jump;
    if (any(op.otherwise)) {
      if (op.attempt > index) return PlanErrc::bad_jump;
      for (std::uint32_t earlier = op.attempt; earlier < index; ++earlier) {
        if (leaves_something_behind(parts_.operations[earlier])) return PlanErrc::lasting_alternative;
      }
    }
    if (op.result != no_slot && op.result >= parts_.slots.size()) return PlanErrc::bad_slot;

    for (std::size_t i = 0; i < op.argument_count; ++i) {
      if (const PlanErrc code = check_argument(op.arguments[i]); code != PlanErrc::ok) return code;
    }
    const SysCallInfo* info = op.kind == OperationKind::system_call ? find_syscall(long{op.number}) : nullptr;
    for (std::size_t i = 0; info != nullptr && i < op.argument_count; ++i) {
      if (!fits(op, i, info->arguments[i].kind)) return PlanErrc::bad_argument;
    }
    return PlanErrc::ok;
  }

  // A plan may come from a file: where the kernel expects an address there must be one into the plan's data, or none, and no more bytes may
  // be read or written there than it has. (What an unknown system call makes of its arguments nobody can check.)
  static bool fits(const Operation& op, std::size_t index, ArgumentKind kind) noexcept {
    const Argument& argument = op.arguments[index];
    const bool is_text = argument.source == ArgumentSource::string || argument.source == ArgumentSource::text ||
                         argument.source == ArgumentSource::descriptor_path;
    const bool is_null = argument.source == ArgumentSource::immediate && argument.value == 0;
    const auto holds = [&](std::uint64_t size) { return argument.source == ArgumentSource::blob && size <= argument.size; };
    const auto size_follows = [&] {
      const std::size_t next = index + 1;
      return next < op.argument_count && op.arguments[next].source == ArgumentSource::immediate && holds(op.arguments[next].value);
    };
    switch (kind) {
      case ArgumentKind::path:
      case ArgumentKind::text:
      case ArgumentKind::mount_data: return is_text || is_null;
      case ArgumentKind::fsconfig_value:
        return is_text || is_null || (op.arguments[4].source == ArgumentSource::immediate && holds(op.arguments[4].value));
      case ArgumentKind::bytes:
      case ArgumentKind::open_how:
      case ArgumentKind::mount_attr: return is_null || size_follows();
      case ArgumentKind::pointer:
        if (op.number == SYS_listmount && index == 1) {  // its size counts numbers, not bytes
          const Argument& count = op.arguments[index + 1];
          return is_null ||
                 (count.source == ArgumentSource::immediate && count.value <= argument.size && holds(count.value * sizeof(std::uint64_t)));
        }
        return is_null || size_follows() || holds(sizeof(abi::statx));
      default: return !is_text && argument.source != ArgumentSource::blob;
    }
  }

  PlanErrc check_argument(const Argument& argument) const {
    const std::uint64_t size = parts_.data.size();
    switch (argument.source) {
      case ArgumentSource::immediate:
      case ArgumentSource::held_descriptor: return PlanErrc::ok;
      case ArgumentSource::string: return ends_inside(argument.value) ? PlanErrc::ok : PlanErrc::bad_data;
      case ArgumentSource::text: {
        if (!ends_inside(argument.value)) return PlanErrc::bad_data;
        const std::string_view encoded = string_in(parts_.data, argument.value);
        for (std::size_t i = 0; i < encoded.size(); ++i) {  // every mark is whole: a doubled 1, or two bytes with the high bit
          if (encoded[i] != '\1') continue;
          if (i + 1 < encoded.size() && encoded[i + 1] == '\1') {
            i += 1;
          } else if (i + 2 < encoded.size() && (encoded[i + 1] & 0x80) != 0 && (encoded[i + 2] & 0x80) != 0) {
            i += 2;
          } else {
            return PlanErrc::bad_data;
          }
        }
        for (const PlanText::Piece& piece : PlanText::pieces(encoded)) {
          if (piece.slot != no_slot && piece.slot >= parts_.slots.size()) return PlanErrc::bad_slot;
        }
        return PlanErrc::ok;
      }
      case ArgumentSource::blob:
        return argument.value <= size && argument.size <= size - argument.value && argument.value % 8 == 0 ? PlanErrc::ok
                                                                                                           : PlanErrc::bad_data;
      case ArgumentSource::descriptor:
      case ArgumentSource::descriptor_path: return argument.slot < parts_.slots.size() ? PlanErrc::ok : PlanErrc::bad_slot;
    }
    return PlanErrc::bad_argument;
  }

  bool ends_inside(std::uint64_t offset) const noexcept {
    if (offset >= parts_.data.size()) return false;
    return std::memchr(parts_.data.data() + offset, 0, parts_.data.size() - offset) != nullptr;
  }

  // Definite assignment: a slot may be used only where it is filled on every way that leads there. One pass is enough, because jumps only
  // go forward.
  result<void> check_slots() {
    const std::vector<Operation>& operations = parts_.operations;
    using Filled = std::vector<bool>;
    std::vector<Filled> arriving(operations.size() + 1);  // empty: not reached yet
    const std::size_t slots = parts_.slots.size();
    const auto arrive = [&](std::size_t target, const Filled& filled) {
      Filled& there = arriving[target];
      if (there.size() != slots + 1) {
        there = filled;
        return;
      }
      for (std::size_t slot = 0; slot < slots; ++slot) there[slot] = there[slot] && filled[slot];
    };
    Filled filled(slots + 1, false);
    arrive(0, filled);
    for (std::uint32_t i = 0; i < operations.size(); ++i) {
      const Operation& op = operations[i];
      if (arriving[i].size() != slots + 1) continue;  // never reached
      filled = std::move(arriving[i]);
      arriving[i] = {};
      const bool is_close = op.kind == OperationKind::system_call && op.number == SYS_close;
      for (std::size_t a = 0; a < op.argument_count; ++a) {
        const Argument& argument = op.arguments[a];
        const bool uses = argument.source == ArgumentSource::descriptor || argument.source == ArgumentSource::descriptor_path;
        if (uses && !is_close && op.kind != OperationKind::skip_if_closed && !filled[argument.slot]) return at(i, PlanErrc::bad_slot);
        if (argument.source == ArgumentSource::text) {
          for (const PlanText::Piece& piece : PlanText::pieces(string_in(parts_.data, argument.value))) {
            if (piece.slot != no_slot && !filled[piece.slot]) return at(i, PlanErrc::bad_slot);
          }
        }
      }
      if (op.kind == OperationKind::skip_if_closed) {
        arrive(op.alternative, filled);
        filled[op.arguments[0].slot] = true;
        arrive(op.next == no_operation ? i + 1 : op.next, filled);
        continue;
      }
      if (any(op.otherwise)) arrive(op.alternative, filled);
      if (is_close && op.arguments[0].source == ArgumentSource::descriptor) filled[op.arguments[0].slot] = false;
      if (op.result != no_slot) filled[op.result] = !any(op.allowed);  // an allowed error brings no descriptor
      arrive(op.next == no_operation ? i + 1 : op.next, filled);
    }
    return outcome::success();
  }

  const PlanParts& parts_;
};

}  // namespace

result<void> verify(const PlanParts& parts) { return Verifier{parts}.verify(); }

result<Plan> Plan::create(PlanParts parts) {
  if (result<void> verified = rootprep::verify(parts); verified.has_error()) return verified.assume_error();
  Plan plan;
  for (const Operation& operation : parts.operations) plan.scratch_size_ = std::max(plan.scratch_size_, scratch_for(parts, operation));
  plan.parts_ = std::move(parts);
  return plan;
}

std::string Plan::slot_name(std::uint16_t slot) const {
  if (slot < parts_.slots.size() && !parts_.slots[slot].empty()) {
    const std::string& name = parts_.slots[slot];
    return slot == parts_.root_slot ? "root" : name + std::to_string(slot);  // a plan can have had other roots before
  }
  return "fd" + std::to_string(slot);
}

std::string_view Plan::string_at(std::uint64_t offset) const noexcept { return string_in(parts_.data, offset); }

bool Plan::operator==(const Plan& other) const {
  const PlanParts& a = parts_;
  const PlanParts& b = other.parts_;
  if (a.operations.size() != b.operations.size() || a.prologue_size != b.prologue_size || a.steps != b.steps || a.slots != b.slots ||
      a.root_slot != b.root_slot || a.user_namespace != b.user_namespace) {
    return false;
  }
  for (std::size_t i = 0; i < a.operations.size(); ++i) {
    Operation left = a.operations[i];
    Operation right = b.operations[i];
    if (string_at(left.note) != other.string_at(right.note)) return false;
    left.note = right.note = 0;
    for (std::size_t k = 0; k < left.argument_count && k < right.argument_count; ++k) {
      Argument& x = left.arguments[k];
      Argument& y = right.arguments[k];
      if (x.source != y.source || x.size != y.size) return false;
      if (x.source == ArgumentSource::string || x.source == ArgumentSource::text) {
        if (string_at(x.value) != other.string_at(y.value)) return false;
        x.value = y.value = 0;
      } else if (x.source == ArgumentSource::blob) {
        if (std::memcmp(a.data.data() + x.value, b.data.data() + y.value, x.size) != 0) return false;
        x.value = y.value = 0;
      }
    }
    if (left != right) return false;
  }
  return true;
}

bool Plan::portable() const noexcept {
  return std::none_of(parts_.operations.begin(), parts_.operations.end(),
                      [](const Operation& op) { return op.kind == OperationKind::user_function; });
}

namespace {

// "5.12" < "6.8": by numbers, not by letters.
bool older(std::string_view a, std::string_view b) noexcept {
  const auto number = [](std::string_view version) {
    unsigned major = 0;
    unsigned minor = 0;
    std::size_t i = 0;
    for (; i < version.size() && version[i] != '.'; ++i) major = major * 10 + static_cast<unsigned>(version[i] - '0');
    for (i += 1; i < version.size(); ++i) minor = minor * 10 + static_cast<unsigned>(version[i] - '0');
    return major * 1000 + minor;
  };
  return number(a) < number(b);
}

}  // namespace

Needs Plan::needs() const {
  Needs needs;
  const auto add = [&](Capability capability) {
    if (capability != Capability::none &&
        std::find(needs.capabilities.begin(), needs.capabilities.end(), capability) == needs.capabilities.end()) {
      needs.capabilities.push_back(capability);
    }
  };
  std::uint32_t open = 0;
  for (const Operation& op : parts_.operations) {
    switch (op.kind) {
      case OperationKind::system_call:
        if (const SysCallInfo* info = find_syscall(long{op.number}); info != nullptr) {
          add(info->needs);
          if (older(needs.linux_version, info->since)) needs.linux_version = info->since;
          const bool clones = info->name == "open_tree" && (op.arguments[2].value & abi::open_tree_clone) != 0;
          if (clones) add(Capability::sys_admin);
          const std::uint64_t type = info->name == "mknodat" ? op.arguments[2].value & 0170000U : 0;
          if (type == abi::s_ifchr || type == abi::s_ifblk) add(Capability::mknod);
        }
        if (op.number == SYS_close && op.arguments[0].source == ArgumentSource::descriptor && open > 0) open -= 1;
        break;
      case OperationKind::make_parent_private:
      case OperationKind::hide_host_filesystems:
      case OperationKind::remount_bind: add(Capability::sys_admin); break;
      case OperationKind::open_in_root:
      case OperationKind::verify:
      case OperationKind::skip_if_closed:
      case OperationKind::user_function: break;
    }
    if (op.result != no_slot) needs.descriptors = std::max(needs.descriptors, ++open);
  }
  std::sort(needs.capabilities.begin(), needs.capabilities.end());
  return needs;
}

}  // namespace rootprep
