// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <type_traits>

#include "plan/syscall_numbers.hpp"
#include "rootprep/kernel.hpp"

// Runs between clone() and execve(). No allocation, locks, errno, exceptions, containers.
namespace rootprep::child {

// always_inline, as for all that is left over at -O2: an instantiation in a file of ours may be replaced, when programs are linked, by one
// in a file that was compiled for the parent, with a sanitizer, say. Such symbols are an error of the symbol test.
template <class Type>
[[gnu::always_inline]] inline std::uint64_t word(Type value) noexcept {
  if constexpr (std::is_null_pointer_v<Type>) {
    return 0;
  } else if constexpr (std::is_pointer_v<Type>) {
    return reinterpret_cast<std::uint64_t>(value);
  } else {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
  }
}

// A system call through the door: invoke(kernel, SYS_close, fd).
template <class... Types>
[[gnu::always_inline]] inline long invoke(Kernel& kernel, long number, Types... arguments) noexcept {
  static_assert(sizeof...(arguments) <= 6);
  return kernel.call(SysCall{number, {word(arguments)...}});
}

// "/proc/self/fd/N": the name by which path-based calls reach a descriptor (proc(5)).
class DescriptorPath {
 public:
  static constexpr std::size_t capacity = sizeof "/proc/self/fd/2147483647";

  explicit DescriptorPath(int descriptor) noexcept { write(text_, descriptor); }
  const char* c_str() const noexcept { return text_; }

  // Writes the name and its NUL to `out`; returns the end, where the NUL is.
  static char* write(char* out, int descriptor) noexcept {
    for (const char* c = "/proc/self/fd/"; *c != '\0'; ++c) *out++ = *c;
    char digits[12];
    int count = 0;
    unsigned value = descriptor < 0 ? 0U : static_cast<unsigned>(descriptor);
    do {
      digits[count++] = static_cast<char>('0' + value % 10U);
      value /= 10U;
    } while (value != 0);
    while (count > 0) *out++ = digits[--count];
    *out = '\0';
    return out;
  }

 private:
  char text_[capacity] = {};
};

}  // namespace rootprep::child
