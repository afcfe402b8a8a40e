// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "rootprep/kernel.hpp"
#include "rootprep/plan.hpp"

// Numbers as the words that people know them by, in the notation of strace(1) 6.1.
namespace rootprep::print {

// "EINVAL"; a number without a name: "errno 4095".
std::string errno_name(int error_number);
// The number of "EINVAL"; 0: no such name.
int errno_number(std::string_view name) noexcept;
// "Invalid argument", as strerror(3).
std::string errno_words(int error_number);

// The name of a system call: from syscalls.def, and of those that only the launcher makes. Empty: unknown.
std::string_view system_call_name(long number) noexcept;

// In double quotes, with octal escapes.
std::string quoted(std::string_view text);
// As quoted(), without the quotes.
std::string escaped(std::string_view text);

// For prose: what a terminal would act on, in octal; all else, quotes and UTF-8 too, as it is.
std::string printable(std::string_view text);

// "MS_BIND|MS_REC", "0", "MS_BIND|0x400000"; for an enumeration its one name.
std::string flags(ArgumentKind kind, std::uint64_t value);
// "0755"; 0 is "000", as strace has it.
std::string octal(std::uint64_t mode);
// "makedev(0x1, 0x3)"
std::string device(std::uint64_t number);

// The text of a string, text or descriptor_path argument, with its holes as "/proc/self/fd/{fd3}". Empty for other sources.
std::string text_of(const Plan& plan, const Argument& argument);
// The bytes of a blob argument; empty for other sources.
std::span<const std::byte> bytes_of(const Plan& plan, const Argument& argument) noexcept;
// A structure in a blob argument. A blob that is too small gives a structure of zeros.
template <class Structure>
Structure structure_of(const Plan& plan, const Argument& argument) noexcept {
  Structure structure{};
  const std::span<const std::byte> bytes = bytes_of(plan, argument);
  auto* out = reinterpret_cast<std::byte*>(&structure);
  for (std::size_t i = 0; i < bytes.size() && i < sizeof structure; ++i) out[i] = bytes[i];
  return structure;
}

// "mkdirat(fd3, "proc", 0755)", without the result.
std::string call(const Plan& plan, const Operation& operation);
// The name before the parenthesis.
std::string call_name(const Operation& operation);

// "[EEXIST ok]" and the jumps of an operation, each with a space before it.
std::string remarks(const Plan& plan, std::uint32_t index);

}  // namespace rootprep::print
