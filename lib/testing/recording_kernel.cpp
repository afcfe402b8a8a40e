// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/testing/recording_kernel.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>

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

std::string name_of(long number) {
  const SysCallInfo* info = find_syscall(number);
  return info != nullptr ? std::string{info->name} : "syscall_" + std::to_string(number);
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

std::string RecordedCall::to_text() const {
  const SysCallInfo* info = find_syscall(call.number);
  std::string out = name_of(call.number) + '(';
  const std::size_t count = info != nullptr ? info->argument_count : call.arguments.size();
  for (std::size_t i = 0; i < count; ++i) {
    if (i != 0) out += ", ";
    if (texts[i]) {
      out.append("\"").append(*texts[i]).append("\"");
    } else {
      out += std::to_string(static_cast<long>(call.arguments[i]));
    }
  }
  return out + ") = " + std::to_string(result);
}

std::string RecordingKernel::to_text() const {
  std::string out;
  for (const RecordedCall& record : calls_) out += record.to_text() + '\n';
  return out;
}

std::string over_budget(const RecordingKernel& made, const CallBudget& budget) {
  const std::vector<RecordedCall>& calls = made.calls();
  std::string excess;
  // `number` -1: of every kind.
  const auto hold_to = [&](std::size_t limit, long number, const std::string& what) {
    std::size_t count = 0;
    std::size_t first_too_many = 0;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (number >= 0 && calls[i].call.number != number) continue;
      if (count++ == limit) first_too_many = i;
    }
    if (count <= limit) return;
    excess += std::to_string(count) + what + ", " + std::to_string(limit) + " allowed; the first too many is call " +
              std::to_string(first_too_many + 1) + ": " + calls[first_too_many].to_text() + '\n';
  };
  hold_to(budget.calls, -1, " calls");
  for (const auto& [name, limit] : budget.of) {
    const SysCallInfo* info = find_syscall(name);
    if (info == nullptr) throw std::invalid_argument{"over_budget: syscalls.def has no call \"" + name + '"'};
    hold_to(limit, info->number, " of " + name);
  }
  if (excess.empty()) return excess;

  std::map<std::string, std::size_t> kinds;
  for (const RecordedCall& record : calls) kinds[name_of(record.call.number)] += 1;
  std::vector<std::pair<std::string, std::size_t>> sorted{kinds.begin(), kinds.end()};
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  excess += "made:";
  for (const auto& [name, count] : sorted) excess += (name == sorted.front().first ? " " : ", ") + std::to_string(count) + ' ' + name;
  return excess + '\n';
}

}  // namespace rootprep::testing
