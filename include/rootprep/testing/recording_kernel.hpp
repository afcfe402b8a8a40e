// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rootprep/kernel.hpp"

namespace rootprep::testing {

// A call that was made, with what its pointers pointed to: the call itself holds addresses that may be gone.
struct RecordedCall {
  SysCall call{};
  long result = 0;
  std::array<std::optional<std::string>, 6> texts{};  // paths and texts, by argument
};

// Passes every call on to another kernel and remembers it, in one order for all kinds of calls.
//
//   rootprep::testing::RecordingKernel kernel{fake};
//   rootprep::Execution{plan, kernel}.run();
//   REQUIRE(kernel.count("move_mount") == 3);
//
// Allocates at every call: for the calling process, not for a child of a program with threads.
class RecordingKernel final : public Kernel {
 public:
  explicit RecordingKernel(Kernel& inner) noexcept : inner_(inner) {}

  long call(const SysCall& call) noexcept override;

  const std::vector<RecordedCall>& calls() const noexcept { return calls_; }
  std::size_t count(std::string_view system_call) const noexcept;
  // One line a call, "name("text", 3, ...) = result".
  std::string to_text() const;
  void clear() noexcept { calls_.clear(); }

 private:
  Kernel& inner_;
  std::vector<RecordedCall> calls_{};
};

}  // namespace rootprep::testing
