// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/testing/recording_kernel.hpp"

#include <algorithm>

namespace rootprep::testing {
namespace {

bool points_to_text(ArgumentKind kind, const SysCall& call) noexcept {
  switch (kind) {
    case ArgumentKind::path:
    case ArgumentKind::text:
    case ArgumentKind::mount_data: return true;
    case ArgumentKind::fsconfig_value:  // a text only for these commands; FSCONFIG_SET_BINARY has bytes
      return call.arguments[1] == abi::fsconfig_set_string || call.arguments[1] == abi::fsconfig_set_path ||
             call.arguments[1] == abi::fsconfig_set_path_empty;
    default: return false;
  }
}

}  // namespace

long RecordingKernel::call(const SysCall& call) noexcept {
  RecordedCall record;
  record.call = call;
  if (const SysCallInfo* info = find_syscall(call.number); info != nullptr) {
    for (std::size_t i = 0; i < info->argument_count; ++i) {
      const auto* text = reinterpret_cast<const char*>(call.arguments[i]);
      if (points_to_text(info->arguments[i].kind, call) && text != nullptr) record.texts[i] = text;
    }
  }
  record.result = inner_.call(call);
  calls_.push_back(std::move(record));
  return calls_.back().result;
}

std::size_t RecordingKernel::count(std::string_view system_call) const noexcept {
  const SysCallInfo* info = find_syscall(system_call);
  if (info == nullptr) return 0;
  return static_cast<std::size_t>(
      std::count_if(calls_.begin(), calls_.end(), [&](const RecordedCall& c) { return c.call.number == info->number; }));
}

std::string RecordingKernel::to_text() const {
  std::string out;
  for (const RecordedCall& record : calls_) {
    const SysCallInfo* info = find_syscall(record.call.number);
    out += info != nullptr ? std::string{info->name} : "syscall_" + std::to_string(record.call.number);
    out += '(';
    const std::size_t count = info != nullptr ? info->argument_count : 6;
    for (std::size_t i = 0; i < count; ++i) {
      if (i != 0) out += ", ";
      if (record.texts[i]) {
        out.append("\"").append(*record.texts[i]).append("\"");
      } else {
        out += std::to_string(static_cast<long>(record.call.arguments[i]));
      }
    }
    out += ") = " + std::to_string(record.result) + '\n';
  }
  return out;
}

}  // namespace rootprep::testing
