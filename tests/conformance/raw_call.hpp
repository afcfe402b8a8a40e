// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "rootprep/kernel.hpp"

namespace rootprep::conformance {

// One system call as words: {"move_mount", "K", "", "cwd", "/s/A", "MOVE_MOUNT_F_EMPTY_PATH"}. What a word means is what
// syscalls.def says of the argument: README.md of this folder. Owns the memory that the call points to.
class RawCall {
 public:
  // `slot`: the descriptor of that name.
  RawCall(const std::vector<std::string>& words, const std::function<int(const std::string&)>& slot);
  RawCall(const RawCall&) = delete;
  RawCall& operator=(const RawCall&) = delete;

  const SysCallInfo* info() const { return info_; }  // nullptr: no such call
  SysCall call() const { return call_; }
  const char* buffer() const { return buffer_.data(); }  // what the call wrote

 private:
  std::uint64_t value_of(ArgumentKind kind, const std::string& word, const std::function<int(const std::string&)>& slot);
  std::uint64_t keep(std::string text);

  const SysCallInfo* info_ = nullptr;
  SysCall call_{};
  std::deque<std::string> texts_{};
  std::deque<abi::open_how> hows_{};
  std::deque<std::array<abi::mount_attr, 2>> attributes_{};
  std::array<char, 8192> buffer_{};
  std::size_t last_size_ = 0;
};

}  // namespace rootprep::conformance
