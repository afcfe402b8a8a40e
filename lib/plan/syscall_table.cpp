// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "plan/syscall_numbers.hpp"
#include "rootprep/kernel.hpp"

namespace rootprep {
namespace {

template <class... Arguments>
constexpr SysCallInfo row(std::string_view name, long number, std::string_view since, ResultKind result, Leaves leaves, Capability needs,
                          Arguments... arguments) noexcept {
  return {name, number, since, result, leaves, needs, static_cast<std::uint8_t>(sizeof...(arguments)), {arguments...}};
}

constexpr SysCallInfo rows[] = {
#define ROOTPREP_ARGUMENT(type, kind, name) \
  ArgumentInfo { ArgumentKind::kind, #name }
#define ROOTPREP_SYSCALL(name, since, result, leaves, needs, ...) \
  row(#name, SYS_##name, since, ResultKind::result, Leaves::leaves, Capability::needs, __VA_ARGS__),
#include "rootprep/syscalls.def"
};

constexpr FlagInfo flags[] = {
#define ROOTPREP_FLAG(kind, identifier, text, value) {ArgumentKind::kind, text, static_cast<std::uint64_t>(value)},
#include "rootprep/syscalls.def"
};

}  // namespace

const SysCallInfo* find_syscall(long number) noexcept {
  for (const SysCallInfo& info : rows) {
    if (info.number == number) return &info;
  }
  return nullptr;
}

const SysCallInfo* find_syscall(std::string_view name) noexcept {
  for (const SysCallInfo& info : rows) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

SysCallTable syscall_table() noexcept { return {rows, std::size(rows)}; }
FlagTable flag_table() noexcept { return {flags, std::size(flags)}; }

}  // namespace rootprep
