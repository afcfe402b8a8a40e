// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rootprep/kernel.hpp"

namespace rootprep::testing {

// A call that was made, with what its pointers pointed to: the call itself holds addresses that may be gone.
struct RecordedCall {
  SysCall call{};
  long result = 0;
  std::array<std::optional<std::string>, 6> texts{};  // paths and texts, by argument
  std::string to_text() const;                        // "name("text", 3, ...) = result"
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
  // One line a call.
  std::string to_text() const;
  void clear() noexcept { calls_.clear(); }

 private:
  Kernel& inner_;
  std::vector<RecordedCall> calls_{};
};

// How many calls something may make: of all kinds together, and of single kinds.
struct CallBudget {
  static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();
  std::size_t calls = unlimited;
  std::vector<std::pair<std::string, std::size_t>> of{};  // {"mount", 0}: none; by the names of syscalls.def
};

// Expects at most so many calls. Empty: the budget was kept. Else which limit was passed, by which call, and how many calls of each kind
// were made.
//
//   rootprep::testing::RecordingKernel kernel{fake};
//   REQUIRE(rootprep::Execution{plan, kernel}.run().error.domain == Domain::none);
//   CHECK(rootprep::testing::over_budget(kernel, {.calls = 60, .of = {{"openat2", 4}, {"chroot", 0}}}) == "");
//
//   62 calls, 60 allowed; the first too many is call 61: close(7) = 0
//   5 of openat2, 4 allowed; the first too many is call 48: openat2(4, "dev/mqueue", ...) = 6
//   made: 20 close, 9 fsconfig, 7 move_mount, ...
//
// A number of calls is the same on every machine and at every load, which no time is. Allocates. Throws std::invalid_argument for a name
// that syscalls.def does not have.
std::string over_budget(const RecordingKernel& made, const CallBudget& budget);

}  // namespace rootprep::testing
