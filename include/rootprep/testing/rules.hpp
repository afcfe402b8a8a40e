// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

namespace rootprep::testing {

// Why the kernel in memory refuses a call. FakeKernel::last_rule() and FakeProcess::rule_of_last_error() give ids.
//
//   INFO(rootprep::testing::explain_rule(child.rule_of_last_error()));
//   // pivot.new-root-not-a-mount: EINVAL: the new root is no mount point
//   //   RP-PIVOT-NOT-MOUNTPOINT: bind it on itself first (PrepareRoot ...
//
// An id has one meaning, for ever. Parent's side; explain_rule() allocates.
struct Rule {
  std::string_view id{};        // "pivot.new-root-not-a-mount"
  std::array<int, 2> errors{};  // what the call answers; 0: unused
  std::string_view meaning{};   // one sentence
  std::string_view hint{};      // the cause among hints() (explain.hpp) that explain() names for it, "" if none does
};

// All of them, by call.
std::span<const Rule> rules() noexcept;
// nullptr if there is none of that id.
const Rule* find_rule(std::string_view id) noexcept;
// The rule as text, with explain()'s remedy where it has one; "" if there is none of that id.
std::string explain_rule(std::string_view id);

}  // namespace rootprep::testing
