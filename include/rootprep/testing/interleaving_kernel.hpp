// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "rootprep/kernel.hpp"

namespace rootprep::testing {

// Somebody else acts between two calls: right before the n-th one (counted from 1), and perhaps undoes it before a later one. Races without
// timing: try every n, and every window is tried.
//
//   for (std::uint64_t n = 1;; ++n) {
//     World world;
//     InterleavingKernel kernel{world.victim(), n, [&] { world.swap_directory_with_symlink(); }};
//     Execution{plan, kernel}.run();
//     REQUIRE(world.nothing_outside_root());
//     if (!kernel.acted()) break;   // the plan has fewer calls than n
//   }
class InterleavingKernel final : public Kernel {
 public:
  InterleavingKernel(Kernel& inner, std::uint64_t before_call, std::function<void()> action)
      : inner_(inner), action_at_(before_call), action_(std::move(action)) {}

  void undo_before(std::uint64_t call, std::function<void()> undo) {
    undo_at_ = call;
    undo_ = std::move(undo);
  }

  long call(const SysCall& call) noexcept override {
    calls_ += 1;
    if (calls_ == action_at_) {
      acted_ = true;
      action_();
    }
    if (calls_ == undo_at_ && undo_) undo_();
    return inner_.call(call);
  }

  std::uint64_t calls() const noexcept { return calls_; }
  bool acted() const noexcept { return acted_; }

 private:
  Kernel& inner_;
  std::uint64_t action_at_;
  std::function<void()> action_;
  std::uint64_t undo_at_ = 0;
  std::function<void()> undo_{};
  std::uint64_t calls_ = 0;
  bool acted_ = false;
};

}  // namespace rootprep::testing
