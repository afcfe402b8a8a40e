// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <array>
#include <charconv>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "print/decode.hpp"
#include "rootprep/abi.hpp"
#include "rootprep/print.hpp"
#include "try.hpp"

// The format. Values are spelled by names, and nothing is said twice, so a reader of the text and the program that runs the plan
// cannot understand different things.
//
//   { "format": "rootprep plan", "format_version": 1, "user_namespace": false, "prologue_size": 12, "root": 4,
//     "slots": ["", "lower", ...],
//     "steps": [{"description": "mount proc on /proc"}, {"description": ..., "optional": true, "depth": 1}],
//     "operations": [{"step": 0, "call": "mkdirat", "arguments": [{"slot": 3}, "proc", {"mode": "0755"}], "allowed": ["EEXIST"]}, ...] }
//
// An argument is: a number; a string (an address of it); null (no address); {"slot": N} a descriptor; {"path_of": N} its path in
// /proc/self/fd;
// {"text": ["lowerdir=", {"slot": N}]} a text with such paths in it; {"held": N} a descriptor of the caller; {"flags": "MS_BIND|MS_REC"};
// {"name": "FSCONFIG_CMD_CREATE"}; {"mode": "S_IFCHR|0666"}; {"device": [1, 3]}; {"open_how": {...}}, {"mount_attr": {...}}; {"content":
// "a\n"} bytes that are text, {"bytes": "00ff"} other ones in hexadecimal. A string that is not UTF-8 is {"base64": "..."} wherever a
// string may be.
namespace rootprep {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view format_name = "rootprep plan";
constexpr std::uint64_t format_version = 1;
constexpr std::uint64_t type_mask = 0170000;
constexpr auto working_directory = static_cast<std::uint64_t>(std::int64_t{abi::at_fdcwd});

// --- names ---

constexpr std::pair<OperationKind, std::string_view> operation_names[] = {
    {OperationKind::skip_if_closed, "skip_if_closed"},
    {OperationKind::open_in_root, "open_in_root"},
    {OperationKind::make_parent_private, "make_parent_private"},
    {OperationKind::hide_host_filesystems, "hide_host_filesystems"},
    {OperationKind::remount_bind, "remount_bind"},
    {OperationKind::verify, "verify"},
};
constexpr std::pair<RootEntry, std::string_view> entry_names[] = {
    {RootEntry::pivot_root, "pivot_root"},
    {RootEntry::move_root, "move_root"},
    {RootEntry::chroot, "chroot"},
    {RootEntry::base_namespace, "base_namespace"},
    {RootEntry::namespace_from_tree, "namespace_from_tree"},
};
constexpr std::string_view create_names[] = {"nothing", "directory", "file", "like_source"};
constexpr std::string_view verification_names[] = {"node", "filesystem"};

// What the arguments of an operation mean. `create` and `verification` are enumerations of the composites.
enum class Meaning { number, directory, address, flags, enumeration, mode, node_mode, device, open_how, mount_attr, create, verification };

struct Kind {
  Meaning meaning = Meaning::number;
  ArgumentKind flags = ArgumentKind::number;
};

Kind kind_of(ArgumentKind kind) noexcept {
  switch (kind) {
    case ArgumentKind::path:
    case ArgumentKind::text:
    case ArgumentKind::bytes:
    case ArgumentKind::pointer:
    case ArgumentKind::mount_data:
    case ArgumentKind::fsconfig_value: return {Meaning::address, kind};
    case ArgumentKind::directory:
    case ArgumentKind::fsconfig_aux: return {Meaning::directory, kind};
    case ArgumentKind::mode: return {Meaning::mode, kind};
    case ArgumentKind::node_mode: return {Meaning::node_mode, kind};
    case ArgumentKind::device: return {Meaning::device, kind};
    case ArgumentKind::open_how: return {Meaning::open_how, kind};
    case ArgumentKind::mount_attr: return {Meaning::mount_attr, kind};
    default: break;
  }
  if (is_flag_set(kind)) return {Meaning::flags, kind};
  if (is_enumeration(kind)) return {Meaning::enumeration, kind};
  return {};
}

// `verification` decides what the arguments after it are.
Kind kind_of(OperationKind kind, std::uint16_t number, std::size_t argument, std::uint64_t verification) noexcept {
  const Kind open_flags{Meaning::flags, ArgumentKind::open_flags};
  const Kind mount_flags{Meaning::flags, ArgumentKind::mount_flags};
  const Kind statfs_flags{Meaning::flags, ArgumentKind::statfs_flags};
  switch (kind) {
    case OperationKind::system_call: {
      const SysCallInfo* info = find_syscall(long{number});
      return info == nullptr ? Kind{} : kind_of(info->arguments[argument].kind);
    }
    case OperationKind::open_in_root:
      return argument == 2 ? open_flags : argument == 3 ? Kind{Meaning::create, {}} : argument == 4 ? Kind{Meaning::mode, {}} : Kind{};
    case OperationKind::make_parent_private: return argument == 1 ? mount_flags : Kind{};
    case OperationKind::remount_bind: return argument >= 1 ? mount_flags : Kind{};
    case OperationKind::verify:
      if (argument == 1) return {Meaning::verification, {}};
      if (verification == static_cast<std::uint64_t>(Verification::node)) {
        return argument == 2 ? Kind{Meaning::enumeration, ArgumentKind::node_type} : argument == 3 ? Kind{Meaning::device, {}} : Kind{};
      }
      return argument == 2 ? Kind{Meaning::enumeration, ArgumentKind::filesystem_magic} : argument >= 3 ? statfs_flags : Kind{};
    case OperationKind::skip_if_closed:
    case OperationKind::user_function:
    case OperationKind::hide_host_filesystems: break;
  }
  return {};
}

// --- words to numbers ---

std::optional<std::uint64_t> parse_number(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> find_flag(ArgumentKind kind, std::string_view word) {
  for (const FlagInfo& flag : flag_table()) {
    if (flag.kind == kind && flag.text == word) return flag.value;
  }
  if (kind == ArgumentKind::open_tree_flags) return find_flag(ArgumentKind::at_flags, word);
  return std::nullopt;
}

// What print::flags() has written.
std::optional<std::uint64_t> parse_flags(ArgumentKind kind, std::string_view text) {
  if (text == "0") return 0;
  std::uint64_t value = 0;
  while (true) {
    const std::size_t end = std::min(text.find('|'), text.size());
    const std::string_view word = text.substr(0, end);
    std::optional<std::uint64_t> bits = find_flag(kind, word);
    if (!bits && word.starts_with("0x")) bits = parse_number(word.substr(2), 16);
    if (!bits) return std::nullopt;
    value |= *bits;
    if (end == text.size()) return value;
    text.remove_prefix(end + 1);
  }
}

std::optional<std::uint64_t> parse_mode(std::string_view text) {
  std::uint64_t type = 0;
  if (const std::size_t bar = text.find('|'); bar != std::string_view::npos) {
    const std::optional<std::uint64_t> found = find_flag(ArgumentKind::node_type, text.substr(0, bar));
    if (!found) return std::nullopt;
    type = *found;
    text.remove_prefix(bar + 1);
  }
  const std::optional<std::uint64_t> bits = text.starts_with('0') ? parse_number(text, 8) : std::nullopt;
  return bits ? std::optional{type | *bits} : std::nullopt;
}

// --- bytes as text ---

bool is_utf8(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t more = lead < 0x80                   ? 0
                             : lead >= 0xC2 && lead < 0xE0 ? 1
                             : lead >= 0xE0 && lead < 0xF0 ? 2
                             : lead >= 0xF0 && lead < 0xF5 ? 3
                                                           : 9;
    if (more == 9 || i + more >= text.size()) return false;
    for (std::size_t k = 1; k <= more; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      unsigned low = 0x80;
      unsigned high = 0xBF;
      if (k == 1 && lead == 0xE0) low = 0xA0;   // no longer form of a shorter one
      if (k == 1 && lead == 0xED) high = 0x9F;  // no surrogates
      if (k == 1 && lead == 0xF0) low = 0x90;
      if (k == 1 && lead == 0xF4) high = 0x8F;  // not beyond U+10FFFF
      if (byte < low || byte > high) return false;
    }
    i += more + 1;
  }
  return true;
}

constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string to_base64(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8U | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k) out += k <= count ? base64_digits[group >> (18 - 6 * k) & 63U] : '=';
  }
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::uint32_t group = 0;
    std::size_t padding = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const std::size_t digit = base64_digits.find(text[i + k]);
      const bool pads = text[i + k] == '=' && i + 4 == text.size() && k >= 2;
      if (pads) padding += 1;
      if (!pads && (digit == std::string_view::npos || padding != 0)) return std::nullopt;
      group = group << 6U | (pads ? 0U : static_cast<std::uint32_t>(digit));
    }
    for (std::size_t k = 0; k < 3 - padding; ++k) out += static_cast<char>(group >> (16 - 8 * k) & 0xFFU);
  }
  return out;
}

std::string to_hexadecimal(std::span<const std::byte> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const std::byte byte : bytes) {
    out += digits[std::to_integer<unsigned>(byte) >> 4U];
    out += digits[std::to_integer<unsigned>(byte) & 15U];
  }
  return out;
}

std::optional<std::vector<std::byte>> from_hexadecimal(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<std::byte> out;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const std::optional<std::uint64_t> byte = parse_number(text.substr(i, 2), 16);
    if (!byte) return std::nullopt;
    out.push_back(static_cast<std::byte>(*byte));
  }
  return out;
}

std::string architecture() {
  struct utsname name {};
  return ::uname(&name) == 0 ? name.machine : "unknown";
}

// --- writing ---

Json text_value(std::string_view text) {
  if (is_utf8(text)) return std::string{text};
  return {{"base64", to_base64(text)}};
}

Json number_value(std::uint64_t value) {
  const auto as_signed = static_cast<std::int64_t>(value);
  return as_signed < 0 ? Json(as_signed) : Json(value);
}

Json open_how_value(const abi::open_how& how) {
  return {{"flags", print::flags(ArgumentKind::open_flags, how.flags)},
          {"mode", print::octal(how.mode)},
          {"resolve", print::flags(ArgumentKind::resolve_flags, how.resolve)}};
}
Json mount_attr_value(const abi::mount_attr& attributes) {
  return {{"attr_set", print::flags(ArgumentKind::mount_attributes, attributes.attr_set)},
          {"attr_clr", print::flags(ArgumentKind::mount_attributes, attributes.attr_clr)},
          {"propagation", print::flags(ArgumentKind::mount_flags, attributes.propagation)},
          {"userns_fd", number_value(attributes.userns_fd)}};
}

template <std::size_t Count>
Json name_or_number(const std::string_view (&names)[Count], std::uint64_t value) {
  return value < Count ? Json{{"name", std::string{names[value]}}} : number_value(value);
}

Json immediate_value(Kind kind, std::uint64_t value) {
  switch (kind.meaning) {
    case Meaning::directory: return value == working_directory ? Json{{"name", "AT_FDCWD"}} : number_value(value);
    case Meaning::address: return value == 0 ? Json(nullptr) : number_value(value);
    case Meaning::flags: return {{"flags", print::flags(kind.flags, value)}};
    case Meaning::enumeration:
      for (const FlagInfo& flag : flag_table()) {
        if (flag.kind == kind.flags && flag.value == value) return {{"name", std::string{flag.text}}};
      }
      return number_value(value);
    case Meaning::mode: return {{"mode", print::octal(value)}};
    case Meaning::node_mode: {
      const std::string type = print::flags(ArgumentKind::node_type, value & type_mask);
      const bool has_name = find_flag(ArgumentKind::node_type, type).has_value();
      return {{"mode", (has_name ? type + '|' : std::string{}) + print::octal(has_name ? value & ~type_mask : value)}};
    }
    case Meaning::device: {
      const auto device = static_cast<std::uint32_t>(value);
      if (value > 0xFFFF'FFFFU) return number_value(value);
      return {{"device", {abi::device_major(device), abi::device_minor(device)}}};
    }
    case Meaning::create: return name_or_number(create_names, value);
    case Meaning::verification: return name_or_number(verification_names, value);
    case Meaning::number:
    case Meaning::open_how:
    case Meaning::mount_attr: break;
  }
  return number_value(value);
}

Json argument_value(const Plan& plan, const Argument& argument, Kind kind) {
  switch (argument.source) {
    case ArgumentSource::immediate: return immediate_value(kind, argument.value);
    case ArgumentSource::string: return text_value(plan.string_at(argument.value));
    case ArgumentSource::descriptor: return {{"slot", argument.slot}};
    case ArgumentSource::descriptor_path: return {{"path_of", argument.slot}};
    case ArgumentSource::held_descriptor: return {{"held", number_value(argument.value)}};
    case ArgumentSource::text: {
      Json pieces = Json::array();
      for (const PlanText::Piece& piece : PlanText::pieces(plan.string_at(argument.value))) {
        pieces.push_back(piece.slot == no_slot ? text_value(piece.literal) : Json{{"slot", piece.slot}});
      }
      return {{"text", pieces}};
    }
    case ArgumentSource::blob: {
      const std::span<const std::byte> bytes = print::bytes_of(plan, argument);
      if (kind.meaning == Meaning::open_how && bytes.size() == sizeof(abi::open_how)) {
        return {{"open_how", open_how_value(print::structure_of<abi::open_how>(plan, argument))}};
      }
      if (kind.meaning == Meaning::mount_attr && bytes.size() == sizeof(abi::mount_attr)) {
        return {{"mount_attr", mount_attr_value(print::structure_of<abi::mount_attr>(plan, argument))}};
      }
      const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
      if (!text.empty() && is_utf8(text) && text.find('\0') == std::string_view::npos) return {{"content", std::string{text}}};
      return {{"bytes", to_hexadecimal(bytes)}};
    }
  }
  return nullptr;
}

Json errno_values(std::span<const std::uint8_t> error_numbers) {
  Json names = Json::array();
  for (const std::uint8_t error_number : error_numbers) {
    if (error_number == 0) continue;
    const std::string name = print::errno_name(error_number);
    names.push_back(print::errno_number(name) == error_number ? Json(name) : Json(error_number));
  }
  return names;
}

Json operation_value(const Plan& plan, const Operation& op) {
  Json value{{"step", op.step}};
  if (op.kind == OperationKind::system_call) {
    const SysCallInfo* info = find_syscall(long{op.number});
    value["call"] = info != nullptr ? Json(std::string{info->name}) : Json(op.number);
  } else {
    for (const auto& [kind, name] : operation_names) {
      if (kind == op.kind) value["call"] = std::string{name};
    }
  }
  Json arguments = Json::array();
  for (std::size_t i = 0; i < op.argument_count; ++i) {
    arguments.push_back(argument_value(plan, op.arguments[i], kind_of(op.kind, op.number, i, op.arguments[1].value)));
  }
  value["arguments"] = std::move(arguments);
  if (op.result != no_slot) value["result"] = op.result;
  if (Json names = errno_values(op.allowed); !names.empty()) value["allowed"] = std::move(names);
  if (Json names = errno_values(op.otherwise); !names.empty()) value["otherwise"] = std::move(names);
  if (op.alternative != no_operation) value["alternative"] = op.alternative;
  if (op.attempt != no_operation) value["attempt"] = op.attempt;
  if (op.note != 0) value["note"] = text_value(plan.string_at(op.note));
  if (op.next != no_operation) value["next"] = op.next;
  if (op.exact) value["exact"] = true;
  for (const auto& [entry, name] : entry_names) {
    if (entry == op.enters_root) value["enters_root"] = std::string{name};
  }
  return value;
}

bool has_call_by_number(const Plan& plan) noexcept {
  for (const Operation& op : plan.operations()) {
    if (op.kind == OperationKind::system_call && find_syscall(long{op.number}) == nullptr) return true;
  }
  return false;
}

// One line an operation: to be read, searched and compared by lines.
class Lines {
 public:
  explicit Lines(std::string& out) : out_(out) {}
  void member(std::string_view name, const Json& value) {
    out_.append(first_ ? "" : ",\n").append("  \"").append(name).append("\": ").append(value.dump()), first_ = false;
  }
  void list(std::string_view name, const std::vector<Json>& values) {
    out_.append(first_ ? "" : ",\n").append("  \"").append(name).append("\": [");
    for (std::size_t i = 0; i < values.size(); ++i) out_.append(i == 0 ? "\n    " : ",\n    ").append(values[i].dump());
    out_.append(values.empty() ? "]" : "\n  ]");
    first_ = false;
  }

 private:
  std::string& out_;
  bool first_ = true;
};

// --- reading ---

// The members of an object, each taken once; what is left over is an error.
class Members {
 public:
  explicit Members(const Json& object) : object_(object) {}
  const Json* take(const char* name) {
    const auto found = object_.find(name);
    if (found == object_.end()) return nullptr;
    taken_ += 1;
    return &*found;
  }
  bool nothing_left() const { return taken_ == object_.size(); }

 private:
  const Json& object_;
  std::size_t taken_ = 0;
};

class Reader {
 public:
  result<Plan> read(std::string_view text) {
    const Json root = Json::parse(text.begin(), text.end(), nullptr, false);
    if (!root.is_object()) return Error::from_plan(PlanErrc::bad_format);
    if (root.value("format", Json{}) != std::string{format_name}) return Error::from_plan(PlanErrc::bad_format);
    const auto version = root.find("format_version");
    if (version == root.end() || !version->is_number_unsigned()) return Error::from_plan(PlanErrc::bad_format);
    if (version->get<std::uint64_t>() != format_version) return Error::from_plan(PlanErrc::format_version);
    ROOTPREP_TRY(read_plan(root));
    return Plan::create(std::move(parts_));
  }

 private:
  static Error bad() noexcept { return Error::from_plan(PlanErrc::bad_format); }

  result<void> read_plan(const Json& root) {
    Members members{root};
    (void)members.take("format");
    (void)members.take("format_version");
    if (const Json* machine = members.take("architecture"); machine != nullptr && *machine != architecture()) return bad();
    if (!boolean(members.take("user_namespace"), parts_.user_namespace) || !number(members.take("prologue_size"), parts_.prologue_size))
      return bad();
    if (const Json* slot = members.take("root"); slot != nullptr && !number(slot, parts_.root_slot)) return bad();
    const Json* slots = members.take("slots");
    const Json* steps = members.take("steps");
    const Json* operations = members.take("operations");
    if (!members.nothing_left() || slots == nullptr || !slots->is_array() || steps == nullptr || !steps->is_array() ||
        operations == nullptr || !operations->is_array()) {
      return bad();
    }
    for (const Json& slot : *slots) {
      if (!text(&slot, parts_.slots.emplace_back())) return bad();
    }
    for (const Json& step : *steps) {
      if (!read_step(step, parts_.steps.emplace_back())) return bad();
    }
    if (!operations->empty()) parts_.data.resize(8);  // offset 0 is the empty string
    for (const Json& operation : *operations) {
      if (!read_operation(operation, parts_.operations.emplace_back())) {
        Error error = bad();
        error.operation = static_cast<std::uint32_t>(parts_.operations.size() - 1);
        return error;
      }
    }
    return outcome::success();
  }

  // Values. False: missing, of another type, or out of range.
  template <class Integer>
  static bool number(const Json* value, Integer& out) {
    if (value == nullptr || !value->is_number_unsigned()) return false;
    const auto wide = value->get<std::uint64_t>();
    if (wide > std::numeric_limits<Integer>::max()) return false;
    out = static_cast<Integer>(wide);
    return true;
  }
  static bool boolean(const Json* value, bool& out) {
    if (value == nullptr || !value->is_boolean()) return false;
    out = value->get<bool>();
    return true;
  }
  // Absent is fine: `out` keeps its default.
  template <class Integer>
  static bool optional_number(const Json* value, Integer& out) {
    return value == nullptr || number(value, out);
  }
  static bool optional_boolean(const Json* value, bool& out) { return value == nullptr || boolean(value, out); }
  // A text without NUL bytes.
  static bool text(const Json* value, std::string& out) {
    if (value == nullptr) return false;
    if (value->is_string()) {
      out = value->get<std::string>();
    } else if (value->is_object() && value->size() == 1 && value->contains("base64") && value->front().is_string()) {
      std::optional<std::string> decoded = from_base64(value->front().get<std::string>());
      if (!decoded) return false;
      out = std::move(*decoded);
    } else {
      return false;
    }
    return out.find('\0') == std::string::npos;
  }
  static bool words(const Json& value, std::string& out) {
    if (!value.is_string()) return false;
    out = value.get<std::string>();
    return true;
  }

  static bool read_step(const Json& value, StepInfo& step) {
    if (!value.is_object()) return false;
    Members members{value};
    return text(members.take("description"), step.description) && optional_boolean(members.take("optional"), step.optional) &&
           optional_number(members.take("depth"), step.depth) && members.nothing_left();
  }

  bool read_operation(const Json& value, Operation& op) {
    if (!value.is_object()) return false;
    Members members{value};
    if (!number(members.take("step"), op.step) || !read_call(members.take("call"), op) || !read_arguments(members.take("arguments"), op))
      return false;
    if (!optional_number(members.take("result"), op.result) || !read_errnos(members.take("allowed"), op.allowed) ||
        !read_errnos(members.take("otherwise"), op.otherwise) || !optional_number(members.take("alternative"), op.alternative) ||
        !optional_number(members.take("attempt"), op.attempt) || !optional_number(members.take("next"), op.next) ||
        !optional_boolean(members.take("exact"), op.exact)) {
      return false;
    }
    if (const Json* note = members.take("note"); note != nullptr) {
      std::string words_of_note;
      if (!text(note, words_of_note)) return false;
      op.note = static_cast<std::uint32_t>(intern(words_of_note));
    }
    if (const Json* entry = members.take("enters_root"); entry != nullptr) {
      std::string name;
      if (!words(*entry, name)) return false;
      for (const auto& [way, way_name] : entry_names) {
        if (way_name == name) op.enters_root = way;
      }
      if (op.enters_root == RootEntry::none) return false;
    }
    return members.nothing_left();
  }

  static bool read_call(const Json* value, Operation& op) {
    if (value == nullptr) return false;
    if (value->is_number_unsigned()) return number(value, op.number);
    std::string name;
    if (!words(*value, name)) return false;
    for (const auto& [kind, kind_name] : operation_names) {
      if (kind_name == name) {
        op.kind = kind;
        return true;
      }
    }
    const SysCallInfo* info = find_syscall(name);
    if (info == nullptr) return false;
    op.number = static_cast<std::uint16_t>(info->number);
    return true;
  }

  template <std::size_t Count>
  static bool read_errnos(const Json* value, std::uint8_t (&out)[Count]) {
    if (value == nullptr) return true;
    if (!value->is_array() || value->size() > Count) return false;
    std::size_t i = 0;
    for (const Json& entry : *value) {
      std::uint8_t error_number = 0;
      if (entry.is_string()) {
        error_number = static_cast<std::uint8_t>(print::errno_number(entry.get<std::string>()));
      } else if (!number(&entry, error_number)) {
        return false;
      }
      if (error_number == 0) return false;
      out[i++] = error_number;
    }
    return true;
  }

  bool read_arguments(const Json* value, Operation& op) {
    if (value == nullptr || !value->is_array() || value->size() > std::size(op.arguments)) return false;
    for (const Json& entry : *value) {
      const std::size_t i = op.argument_count++;
      const std::uint64_t verification = i > 1 ? op.arguments[1].value : 0;
      if (const SysCallInfo* info = find_syscall(long{op.number});
          op.kind == OperationKind::system_call && info != nullptr && i >= info->argument_count)
        return false;
      if (!read_argument(entry, kind_of(op.kind, op.number, i, verification), op.arguments[i])) return false;
    }
    return true;
  }

  bool read_argument(const Json& value, Kind kind, Argument& argument) {
    if (value.is_null()) return kind.meaning == Meaning::address;
    if (value.is_number_unsigned()) {
      argument.value = value.get<std::uint64_t>();
      return true;
    }
    if (value.is_number_integer()) {
      argument.value = static_cast<std::uint64_t>(value.get<std::int64_t>());
      return true;
    }
    std::string string;
    if (text(&value, string)) {
      argument.source = ArgumentSource::string;
      argument.value = intern(string);
      return true;
    }
    if (!value.is_object() || value.size() != 1) return false;
    return read_object(value.begin().key(), value.front(), kind, argument);
  }

  bool read_object(const std::string& key, const Json& value, Kind kind, Argument& argument) {
    std::string string;
    const auto from = [&](std::optional<std::uint64_t> parsed) {
      if (parsed) argument.value = *parsed;
      return parsed.has_value();
    };
    if (key == "slot" || key == "path_of") {
      argument.source = key == "slot" ? ArgumentSource::descriptor : ArgumentSource::descriptor_path;
      return number(&value, argument.slot);
    }
    if (key == "held") {
      if (!value.is_number_integer()) return false;
      argument.source = ArgumentSource::held_descriptor;
      argument.value = static_cast<std::uint64_t>(value.get<std::int64_t>());
      return true;
    }
    if (key == "text") return read_text(value, argument);
    if (key == "flags") return kind.meaning == Meaning::flags && words(value, string) && from(parse_flags(kind.flags, string));
    if (key == "name") return words(value, string) && from(parse_name(kind, string));
    if (key == "mode")
      return (kind.meaning == Meaning::mode || kind.meaning == Meaning::node_mode) && words(value, string) && from(parse_mode(string));
    if (key == "device") {
      std::uint32_t major = 0;
      std::uint32_t minor = 0;
      if (kind.meaning != Meaning::device || !value.is_array() || value.size() != 2 || !number(&value[0], major) ||
          !number(&value[1], minor))
        return false;
      argument.value = abi::device_number(major, minor);
      return major <= 0xFFF && minor <= 0xF'FFFF;
    }
    if (key == "open_how") return kind.meaning == Meaning::open_how && read_open_how(value, argument);
    if (key == "mount_attr") return kind.meaning == Meaning::mount_attr && read_mount_attr(value, argument);
    if (key == "content") {
      if (!text(&value, string)) return false;
      blob(std::as_bytes(std::span{string.data(), string.size()}), argument);
      return true;
    }
    if (key == "bytes") {
      std::optional<std::vector<std::byte>> bytes;
      if (words(value, string)) bytes = from_hexadecimal(string);
      if (bytes) blob(*bytes, argument);
      return bytes.has_value();
    }
    return false;
  }

  static std::optional<std::uint64_t> parse_name(Kind kind, std::string_view name) {
    const auto index_in = [&](std::span<const std::string_view> names) -> std::optional<std::uint64_t> {
      for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] == name) return i;
      }
      return std::nullopt;
    };
    switch (kind.meaning) {
      case Meaning::directory: return name == "AT_FDCWD" ? std::optional{working_directory} : std::nullopt;
      case Meaning::enumeration: return find_flag(kind.flags, name);
      case Meaning::create: return index_in(create_names);
      case Meaning::verification: return index_in(verification_names);
      default: return std::nullopt;
    }
  }

  bool read_text(const Json& value, Argument& argument) {
    if (!value.is_array()) return false;
    std::string encoded;
    for (const Json& piece : value) {
      std::string literal;
      if (text(&piece, literal)) {
        for (const char c : literal) encoded.append(c == '\1' ? 2 : 1, c);
        continue;
      }
      std::uint16_t slot = 0;
      if (!piece.is_object() || piece.size() != 1 || !piece.contains("slot") || !number(&piece.front(), slot) || slot > 0x3FFF)
        return false;
      encoded += '\1';
      encoded += static_cast<char>(0x80U | (slot & 0x7FU));
      encoded += static_cast<char>(0x80U | (slot >> 7U));
    }
    argument.source = ArgumentSource::text;
    argument.value = intern(encoded);
    return true;
  }

  bool read_open_how(const Json& value, Argument& argument) {
    if (!value.is_object()) return false;
    Members members{value};
    abi::open_how how;
    const bool read = flags(members.take("flags"), ArgumentKind::open_flags, how.flags) && mode(members.take("mode"), how.mode) &&
                      flags(members.take("resolve"), ArgumentKind::resolve_flags, how.resolve) && members.nothing_left();
    if (read) blob(std::as_bytes(std::span{&how, 1}), argument);
    return read;
  }
  bool read_mount_attr(const Json& value, Argument& argument) {
    if (!value.is_object()) return false;
    Members members{value};
    abi::mount_attr attributes;
    const bool read = flags(members.take("attr_set"), ArgumentKind::mount_attributes, attributes.attr_set) &&
                      flags(members.take("attr_clr"), ArgumentKind::mount_attributes, attributes.attr_clr) &&
                      flags(members.take("propagation"), ArgumentKind::mount_flags, attributes.propagation) &&
                      number(members.take("userns_fd"), attributes.userns_fd) && members.nothing_left();
    if (read) blob(std::as_bytes(std::span{&attributes, 1}), argument);
    return read;
  }
  static bool flags(const Json* value, ArgumentKind kind, std::uint64_t& out) {
    std::string string;
    if (value == nullptr || !words(*value, string)) return false;
    const std::optional<std::uint64_t> parsed = parse_flags(kind, string);
    if (parsed) out = *parsed;
    return parsed.has_value();
  }
  static bool mode(const Json* value, std::uint64_t& out) {
    std::string string;
    if (value == nullptr || !words(*value, string)) return false;
    const std::optional<std::uint64_t> parsed = parse_mode(string);
    if (parsed) out = *parsed;
    return parsed.has_value();
  }

  // The plan's data: each text once.
  std::uint64_t intern(const std::string& string) {
    if (string.empty()) return 0;
    const auto [found, added] = strings_.emplace(string, parts_.data.size());
    if (added) {
      const auto bytes = std::as_bytes(std::span{string.data(), string.size()});
      parts_.data.insert(parts_.data.end(), bytes.begin(), bytes.end());
      parts_.data.push_back(std::byte{0});
    }
    return found->second;
  }
  void blob(std::span<const std::byte> bytes, Argument& argument) {
    parts_.data.resize((parts_.data.size() + 7U) & ~std::size_t{7U});
    argument.source = ArgumentSource::blob;
    argument.size = static_cast<std::uint32_t>(bytes.size());
    argument.value = parts_.data.size();
    parts_.data.insert(parts_.data.end(), bytes.begin(), bytes.end());
  }

  PlanParts parts_{};
  std::map<std::string, std::uint64_t> strings_{};
};

}  // namespace

result<std::string> to_json(const Plan& plan) {
  if (!plan.portable()) return Error::from_plan(PlanErrc::not_portable);
  std::string out = "{\n";
  Lines lines{out};
  lines.member("format", std::string{format_name});
  lines.member("format_version", format_version);
  if (has_call_by_number(plan)) lines.member("architecture", architecture());
  lines.member("user_namespace", plan.for_user_namespace());
  lines.member("prologue_size", plan.prologue_size());
  if (plan.parts().root_slot != no_slot) lines.member("root", plan.parts().root_slot);
  Json slots = Json::array();
  for (const std::string& name : plan.parts().slots) slots.push_back(text_value(name));
  lines.member("slots", slots);
  std::vector<Json> values;
  for (const StepInfo& step : plan.steps()) {
    Json value{{"description", text_value(step.description)}};
    if (step.optional) value["optional"] = true;
    if (step.depth != 0) value["depth"] = step.depth;
    values.push_back(std::move(value));
  }
  lines.list("steps", values);
  values.clear();
  for (const Operation& operation : plan.operations()) values.push_back(operation_value(plan, operation));
  lines.list("operations", values);
  return out + "\n}\n";
}

result<Plan> plan_from_json(std::string_view text) {
  try {
    return Reader{}.read(text);
  } catch (const Json::exception&) {  // what the checks before have missed
    return Error::from_plan(PlanErrc::bad_format);
  }
}

}  // namespace rootprep
