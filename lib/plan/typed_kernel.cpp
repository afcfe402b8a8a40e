// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "plan/syscall_numbers.hpp"
#include "rootprep/kernel.hpp"

namespace rootprep {
namespace {

template <class Type>
Type argument_as(std::uint64_t value) noexcept {
  if constexpr (std::is_pointer_v<Type>) {
    return reinterpret_cast<Type>(value);  // NOLINT(performance-no-int-to-ptr): the calling convention passes pointers as words
  } else {
    return static_cast<Type>(value);
  }
}

template <class... Types, std::size_t... Index>
long decode(TypedKernel& kernel, long (TypedKernel::*function)(Types...) noexcept, const SysCall& call,
            std::index_sequence<Index...>) noexcept {
  return (kernel.*function)(argument_as<Types>(call.arguments[Index])...);
}

template <class... Types>
long decode(TypedKernel& kernel, long (TypedKernel::*function)(Types...) noexcept, const SysCall& call) noexcept {
  return decode(kernel, function, call, std::index_sequence_for<Types...>{});
}

}  // namespace

long TypedKernel::call(const SysCall& call) noexcept {
#define ROOTPREP_SYSCALL(name, since, result, leaves, needs, ...) \
  if (call.number == SYS_##name) return decode(*this, &TypedKernel::name, call);
#include "rootprep/syscalls.def"
  return unknown(call);
}

long TypedKernel::unknown(const SysCall&) noexcept { return -ENOSYS; }

}  // namespace rootprep
