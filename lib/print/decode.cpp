// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "print/decode.hpp"

#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <vector>

#include "rootprep/abi.hpp"

namespace rootprep::print {
namespace {

struct Name {
  long value = 0;
  std::string_view text{};
};

// strerrorname_np(3) is of glibc alone. Those that the calls of this library can answer with.
#define ROOTPREP_ERRNO(name) \
  Name { name, #name }
constexpr Name error_names[] = {
    ROOTPREP_ERRNO(EPERM),       ROOTPREP_ERRNO(ENOENT),     ROOTPREP_ERRNO(ESRCH),        ROOTPREP_ERRNO(EINTR),
    ROOTPREP_ERRNO(EIO),         ROOTPREP_ERRNO(ENXIO),      ROOTPREP_ERRNO(E2BIG),        ROOTPREP_ERRNO(ENOEXEC),
    ROOTPREP_ERRNO(EBADF),       ROOTPREP_ERRNO(ECHILD),     ROOTPREP_ERRNO(EAGAIN),       ROOTPREP_ERRNO(ENOMEM),
    ROOTPREP_ERRNO(EACCES),      ROOTPREP_ERRNO(EFAULT),     ROOTPREP_ERRNO(ENOTBLK),      ROOTPREP_ERRNO(EBUSY),
    ROOTPREP_ERRNO(EEXIST),      ROOTPREP_ERRNO(EXDEV),      ROOTPREP_ERRNO(ENODEV),       ROOTPREP_ERRNO(ENOTDIR),
    ROOTPREP_ERRNO(EISDIR),      ROOTPREP_ERRNO(EINVAL),     ROOTPREP_ERRNO(ENFILE),       ROOTPREP_ERRNO(EMFILE),
    ROOTPREP_ERRNO(ENOTTY),      ROOTPREP_ERRNO(ETXTBSY),    ROOTPREP_ERRNO(EFBIG),        ROOTPREP_ERRNO(ENOSPC),
    ROOTPREP_ERRNO(ESPIPE),      ROOTPREP_ERRNO(EROFS),      ROOTPREP_ERRNO(EMLINK),       ROOTPREP_ERRNO(EPIPE),
    ROOTPREP_ERRNO(ERANGE),      ROOTPREP_ERRNO(EDEADLK),    ROOTPREP_ERRNO(ENAMETOOLONG), ROOTPREP_ERRNO(ENOLCK),
    ROOTPREP_ERRNO(ENOSYS),      ROOTPREP_ERRNO(ENOTEMPTY),  ROOTPREP_ERRNO(ELOOP),        ROOTPREP_ERRNO(ENODATA),
    ROOTPREP_ERRNO(EPROTO),      ROOTPREP_ERRNO(EBADMSG),    ROOTPREP_ERRNO(EOVERFLOW),    ROOTPREP_ERRNO(ELIBBAD),
    ROOTPREP_ERRNO(EUSERS),      ROOTPREP_ERRNO(EOPNOTSUPP), ROOTPREP_ERRNO(ETIMEDOUT),    ROOTPREP_ERRNO(EALREADY),
    ROOTPREP_ERRNO(EINPROGRESS), ROOTPREP_ERRNO(ESTALE),     ROOTPREP_ERRNO(EUCLEAN),      ROOTPREP_ERRNO(EREMOTEIO),
    ROOTPREP_ERRNO(EDQUOT),      ROOTPREP_ERRNO(ENOMEDIUM),  ROOTPREP_ERRNO(EMEDIUMTYPE),  ROOTPREP_ERRNO(ECANCELED),
    ROOTPREP_ERRNO(ENOKEY),      ROOTPREP_ERRNO(ENETDOWN),   ROOTPREP_ERRNO(ENOTCONN),     ROOTPREP_ERRNO(ECONNREFUSED),
};
#undef ROOTPREP_ERRNO

// What the launcher calls besides the plan: not in syscalls.def, because no plan holds them.
#define ROOTPREP_LAUNCHER_CALL(name) \
  Name { SYS_##name, #name }
constexpr Name launcher_calls[] = {
    ROOTPREP_LAUNCHER_CALL(clone),      ROOTPREP_LAUNCHER_CALL(clone3),
    ROOTPREP_LAUNCHER_CALL(execve),     ROOTPREP_LAUNCHER_CALL(execveat),
    ROOTPREP_LAUNCHER_CALL(setresuid),  ROOTPREP_LAUNCHER_CALL(setresgid),
    ROOTPREP_LAUNCHER_CALL(setuid),     ROOTPREP_LAUNCHER_CALL(setgid),
    ROOTPREP_LAUNCHER_CALL(setgroups),  ROOTPREP_LAUNCHER_CALL(prctl),
    ROOTPREP_LAUNCHER_CALL(pipe2),      ROOTPREP_LAUNCHER_CALL(mmap),
    ROOTPREP_LAUNCHER_CALL(wait4),      ROOTPREP_LAUNCHER_CALL(waitid),
    ROOTPREP_LAUNCHER_CALL(kill),       ROOTPREP_LAUNCHER_CALL(setsid),
    ROOTPREP_LAUNCHER_CALL(setpgid),    ROOTPREP_LAUNCHER_CALL(ioctl),
    ROOTPREP_LAUNCHER_CALL(fcntl),      ROOTPREP_LAUNCHER_CALL(capset),
    ROOTPREP_LAUNCHER_CALL(socketpair),
#ifdef SYS_fork
    ROOTPREP_LAUNCHER_CALL(fork),
#endif
#ifdef SYS_pidfd_open
    ROOTPREP_LAUNCHER_CALL(pidfd_open), ROOTPREP_LAUNCHER_CALL(pidfd_send_signal),
#endif
};
#undef ROOTPREP_LAUNCHER_CALL

template <class... Arguments>
std::string formatted(const char* format, Arguments... arguments) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, arguments...);
  return buffer.data();
}

std::string hexadecimal(std::uint64_t value) { return formatted("0x%llx", static_cast<unsigned long long>(value)); }

// Numbers have lost their type on the way into the plan: what was negative prints so.
std::string decimal(std::uint64_t value) { return std::to_string(static_cast<std::int64_t>(value)); }

constexpr std::uint64_t access_mode = 3;  // O_ACCMODE: two bits, three values

std::string flag_set(ArgumentKind kind, std::uint64_t value, std::string text = {}) {
  const auto append = [&](std::string_view word) {
    if (!text.empty()) text += '|';
    text += word;
  };
  std::uint64_t rest = value;
  // A mask of several bits says more than its parts, if it is there as a whole.
  for (const FlagInfo& flag : flag_table()) {
    const bool mask = (flag.value & (flag.value - 1)) != 0;
    if (flag.kind == kind && mask && (rest & flag.value) == flag.value && kind != ArgumentKind::open_flags) {
      append(flag.text);
      rest &= ~flag.value;
    }
  }
  std::string masks = std::move(text);
  text.clear();
  for (const FlagInfo& flag : flag_table()) {
    if (flag.kind != kind || flag.value == 0 || (flag.value & (flag.value - 1)) != 0) continue;
    if ((rest & flag.value) != flag.value) continue;
    append(flag.text);
    rest &= ~flag.value;
  }
  if (!masks.empty()) text = text.empty() ? masks : masks + '|' + text;
  if (rest != 0 && kind == ArgumentKind::open_tree_flags) return flag_set(ArgumentKind::at_flags, rest, text);
  if (rest != 0) append(hexadecimal(rest));
  return text.empty() ? "0" : text;
}

std::string open_flags(std::uint64_t value) {
  std::string text{(value & access_mode) == abi::o_wronly ? "O_WRONLY" : (value & access_mode) == abi::o_rdwr ? "O_RDWR" : "O_RDONLY"};
  if ((value & ~access_mode) != 0) text += '|' + flag_set(ArgumentKind::open_flags, value & ~access_mode);
  return text;
}

std::string enumerator(ArgumentKind kind, std::uint64_t value) {
  for (const FlagInfo& flag : flag_table()) {
    if (flag.kind == kind && flag.value == value) return std::string{flag.text};
  }
  return hexadecimal(value);
}

constexpr std::uint64_t type_mask = 0170000;

std::string node_mode(std::uint64_t mode) {
  const std::uint64_t type = mode & type_mask;
  return type == 0 ? octal(mode) : enumerator(ArgumentKind::node_type, type) + '|' + octal(mode & ~type_mask);
}

std::string open_how(const abi::open_how& how) {
  std::string text = "{flags=" + open_flags(how.flags);
  if ((how.flags & abi::o_creat) != 0 || how.mode != 0) text += ", mode=" + octal(how.mode);
  return text + ", resolve=" + flag_set(ArgumentKind::resolve_flags, how.resolve) + '}';
}

std::string mount_attr(const abi::mount_attr& attributes) {
  return "{attr_set=" + flag_set(ArgumentKind::mount_attributes, attributes.attr_set) +
         ", attr_clr=" + flag_set(ArgumentKind::mount_attributes, attributes.attr_clr) +
         ", propagation=" + flag_set(ArgumentKind::mount_flags, attributes.propagation) + ", userns_fd=" + decimal(attributes.userns_fd) +
         '}';
}

std::string quoted_bytes(std::span<const std::byte> bytes) {
  constexpr std::size_t limit = 256;
  const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  return text.size() <= limit ? quoted(text) : quoted(text.substr(0, limit)) + "...";
}

std::string descriptor(std::uint64_t value, bool or_working_directory) {
  const auto number = static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
  if (or_working_directory && number == abi::at_fdcwd) return "AT_FDCWD";
  return std::to_string(number);
}

// An argument of which the kind says nothing, or of which the value does not fit its kind.
std::string plain(const Plan& plan, const Argument& argument) {
  switch (argument.source) {
    case ArgumentSource::immediate: return hexadecimal(argument.value);
    case ArgumentSource::held_descriptor: return descriptor(argument.value, false);
    case ArgumentSource::descriptor: return plan.slot_name(argument.slot);
    case ArgumentSource::blob: return quoted_bytes(bytes_of(plan, argument));
    case ArgumentSource::string:
    case ArgumentSource::descriptor_path:
    case ArgumentSource::text: return quoted(text_of(plan, argument));
  }
  return "?";
}

std::string by_kind(const Plan& plan, const Argument& argument, const ArgumentInfo& info) {
  const std::uint64_t value = argument.value;
  const bool blob = argument.source == ArgumentSource::blob;
  if (argument.source != ArgumentSource::immediate && !blob) return plain(plan, argument);
  switch (info.kind) {
    case ArgumentKind::open_how: return blob ? open_how(structure_of<abi::open_how>(plan, argument)) : plain(plan, argument);
    case ArgumentKind::mount_attr: return blob ? mount_attr(structure_of<abi::mount_attr>(plan, argument)) : plain(plan, argument);
    case ArgumentKind::path:
    case ArgumentKind::text:
    case ArgumentKind::bytes:
    case ArgumentKind::pointer:
    case ArgumentKind::mount_data:
    case ArgumentKind::fsconfig_value: return !blob && value == 0 ? "NULL" : plain(plan, argument);
    default: break;
  }
  if (blob) return plain(plan, argument);
  switch (info.kind) {
    case ArgumentKind::number:
      if (info.name == "whence") return value == 0 ? "SEEK_SET" : value == 1 ? "SEEK_CUR" : value == 2 ? "SEEK_END" : decimal(value);
      if ((info.name == "owner" || info.name == "group") && value == 0xFFFF'FFFFU) return "-1";  // "leave as it is" (chown(2))
      return decimal(value);
    case ArgumentKind::descriptor:
    case ArgumentKind::fs_context: return descriptor(value, false);
    case ArgumentKind::directory:
    case ArgumentKind::fsconfig_aux: return descriptor(value, true);
    case ArgumentKind::size: return std::to_string(value);
    case ArgumentKind::mode: return octal(value);
    case ArgumentKind::node_mode: return node_mode(value);
    case ArgumentKind::device: return device(value);
    default: return flags(info.kind, value);
  }
}

bool has_mode(std::uint64_t open_flags_value) noexcept { return (open_flags_value & abi::o_creat) != 0; }

std::string system_call(const Plan& plan, const Operation& op) {
  const SysCallInfo* info = find_syscall(long{op.number});
  std::string text = call_name(op) + '(';
  for (std::size_t i = 0; i < op.argument_count; ++i) {
    // Arguments that the call does not read: strace leaves them out too.
    if (info != nullptr && info->name == "openat" && i == 3 && !has_mode(op.arguments[2].value)) break;
    if (info != nullptr && info->name == "mknodat" && i == 3) {
      const std::uint64_t type = op.arguments[2].value & type_mask;
      if (type != abi::s_ifchr && type != abi::s_ifblk) break;
    }
    if (i != 0) text += ", ";
    text += info != nullptr ? by_kind(plan, op.arguments[i], info->arguments[i]) : plain(plan, op.arguments[i]);
  }
  return text + ')';
}

std::string_view what_to_create(Create create) noexcept {
  switch (create) {
    case Create::nothing: return "create nothing";
    case Create::directory: return "create directory";
    case Create::file: return "create file";
    case Create::like_source: return "create like ";
  }
  return "create ?";
}

std::string open_in_root(const Plan& plan, const Operation& op) {
  const auto create = static_cast<Create>(op.arguments[3].value);
  std::string text = "open_in_root(" + plain(plan, op.arguments[0]) + ", " + plain(plan, op.arguments[1]) + ", " +
                     open_flags(op.arguments[2].value) + ", " + std::string{what_to_create(create)};
  if (create == Create::like_source) text += plain(plan, op.arguments[5]);
  if (create != Create::nothing) text += ", " + octal(op.arguments[4].value);
  return text + ')';
}

std::string verification(const Plan& plan, const Operation& op) {
  const std::string first = plain(plan, op.arguments[0]) + ", ";
  const std::uint64_t magic_or_type = op.arguments[2].value;
  if (static_cast<Verification>(op.arguments[1].value) == Verification::node) {
    std::string text = "verify_node(" + first + enumerator(ArgumentKind::node_type, magic_or_type);
    if (magic_or_type == abi::s_ifchr || magic_or_type == abi::s_ifblk) text += ", " + device(op.arguments[3].value);
    return text + ')';
  }
  const std::uint64_t clear = op.argument_count > 4 ? op.arguments[4].value : 0;
  return "verify_filesystem(" + first + (magic_or_type == 0 ? "any" : enumerator(ArgumentKind::filesystem_magic, magic_or_type)) +
         ", set " + flag_set(ArgumentKind::statfs_flags, op.arguments[3].value) + ", clear " + flag_set(ArgumentKind::statfs_flags, clear) +
         ')';
}

std::string_view way(RootEntry entry) noexcept {
  switch (entry) {
    case RootEntry::none: return "";
    case RootEntry::pivot_root: return "pivot_root";
    case RootEntry::move_root: return "move";
    case RootEntry::chroot: return "chroot";
    case RootEntry::base_namespace: return "base namespace";
    case RootEntry::namespace_from_tree: return "namespace from tree";
  }
  return "?";
}

}  // namespace

std::string errno_name(int error_number) {
  for (const Name& name : error_names) {
    if (name.value == error_number) return std::string{name.text};
  }
  return "errno " + std::to_string(error_number);
}

int errno_number(std::string_view name) noexcept {
  for (const Name& known : error_names) {
    if (known.text == name) return static_cast<int>(known.value);
  }
  return 0;
}

std::string errno_words(int error_number) { return std::generic_category().message(error_number); }

std::string_view system_call_name(long number) noexcept {
  if (const SysCallInfo* info = find_syscall(number); info != nullptr) return info->name;
  for (const Name& name : launcher_calls) {
    if (name.value == number) return name.text;
  }
  return {};
}

std::string escaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool digit_follows = i + 1 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '9';
    switch (byte) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\v': out += "\\v"; break;
      default:
        if (byte >= 0x20 && byte < 0x7F) {
          out += static_cast<char>(byte);
        } else {
          out += formatted(digit_follows ? "\\%03o" : "\\%o", unsigned{byte});
        }
    }
  }
  return out;
}

std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : '\0');
    if (byte < 0x20 || byte == 0x7F) {
      out += formatted("\\%03o", unsigned{byte});
    } else if (byte == 0xC2 && next >= 0x80 && next < 0xA0) {  // U+0080 to U+009F: more control characters
      out += formatted("\\302\\%03o", unsigned{next});
      i += 1;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string quoted(std::string_view text) { return '"' + escaped(text) + '"'; }

std::string flags(ArgumentKind kind, std::uint64_t value) {
  if (kind == ArgumentKind::open_flags) return open_flags(value);
  return is_enumeration(kind) ? enumerator(kind, value) : flag_set(kind, value);
}

std::string octal(std::uint64_t mode) { return formatted("%#03llo", static_cast<unsigned long long>(mode)); }

std::string device(std::uint64_t number) {
  const auto value = static_cast<std::uint32_t>(number);
  return formatted("makedev(%#x, %#x)", abi::device_major(value), abi::device_minor(value));
}

std::string text_of(const Plan& plan, const Argument& argument) {
  const auto hole = [&](std::uint16_t slot) { return "/proc/self/fd/{" + plan.slot_name(slot) + '}'; };
  switch (argument.source) {
    case ArgumentSource::string: return std::string{plan.string_at(argument.value)};
    case ArgumentSource::descriptor_path: return hole(argument.slot);
    case ArgumentSource::text: {
      std::string text;
      for (const PlanText::Piece& piece : PlanText::pieces(plan.string_at(argument.value))) {
        text += piece.slot == no_slot ? std::string{piece.literal} : hole(piece.slot);
      }
      return text;
    }
    default: return {};
  }
}

std::span<const std::byte> bytes_of(const Plan& plan, const Argument& argument) noexcept {
  if (argument.source != ArgumentSource::blob || argument.value > plan.data().size() || argument.size > plan.data().size() - argument.value)
    return {};
  return plan.data().subspan(argument.value, argument.size);
}

std::string call_name(const Operation& op) {
  switch (op.kind) {
    case OperationKind::system_call: {
      const std::string_view name = system_call_name(op.number);
      return name.empty() ? "syscall_" + hexadecimal(op.number) : std::string{name};
    }
    case OperationKind::skip_if_closed: return "skip_if_closed";
    case OperationKind::user_function: return "user_function";
    case OperationKind::open_in_root: return "open_in_root";
    case OperationKind::make_parent_private: return "make_parent_private";
    case OperationKind::hide_host_filesystems: return "hide_host_filesystems";
    case OperationKind::remount_bind: return "remount_bind";
    case OperationKind::verify:
      return static_cast<Verification>(op.arguments[1].value) == Verification::node ? "verify_node" : "verify_filesystem";
  }
  return "?";
}

std::string call(const Plan& plan, const Operation& op) {
  switch (op.kind) {
    case OperationKind::system_call: return system_call(plan, op);
    case OperationKind::skip_if_closed: return "skip_if_closed(" + plain(plan, op.arguments[0]) + ')';
    case OperationKind::user_function: return "user_function(" + std::to_string(op.arguments[1].size) + " bytes)";
    case OperationKind::open_in_root: return open_in_root(plan, op);
    case OperationKind::make_parent_private:
      return "make_parent_private(" + plain(plan, op.arguments[0]) + ", " + flag_set(ArgumentKind::mount_flags, op.arguments[1].value) +
             ')';
    case OperationKind::hide_host_filesystems: return "hide_host_filesystems(" + plain(plan, op.arguments[0]) + ')';
    case OperationKind::remount_bind:
      return "remount_bind(" + plain(plan, op.arguments[0]) + ", set " + flag_set(ArgumentKind::mount_flags, op.arguments[1].value) +
             ", clear " + flag_set(ArgumentKind::mount_flags, op.arguments[2].value) + ')';
    case OperationKind::verify: return verification(plan, op);
  }
  return "?";
}

std::string remarks(const Plan& plan, std::uint32_t index) {
  const Operation& op = plan.operations()[index];
  const auto names = [](const auto& error_numbers) {
    std::string text;
    for (const std::uint8_t error_number : error_numbers) {
      if (error_number == 0) continue;
      if (!text.empty()) text += ' ';
      text += errno_name(error_number);
    }
    return text;
  };
  std::string text;
  if (const std::string allowed = names(op.allowed); !allowed.empty()) text += " [" + allowed + " ok]";
  if (op.kind == OperationKind::skip_if_closed) text += " [closed -> " + std::to_string(op.alternative) + ']';
  if (const std::string otherwise = names(op.otherwise); !otherwise.empty()) {
    const std::string_view note = plan.string_at(op.note);
    text += " [" + otherwise + " -> " + std::to_string(op.alternative) + (note.empty() ? std::string{} : ": " + printable(note)) + ']';
  }
  if (op.next != no_operation) text += " [then -> " + std::to_string(op.next) + ']';
  if (op.enters_root != RootEntry::none) text += " [enters the root by " + std::string{way(op.enters_root)} + ']';
  return text;
}

}  // namespace rootprep::print
