// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <span>
#include <string_view>

#include "explain/facts.hpp"

namespace rootprep::explaining {

enum class Match { no, possible, certain };

// One cause. It fits an error of its domain with one of its codes, from one of its calls, if `matches` agrees.
struct Row {
  std::string_view id{};
  std::string_view calls{};  // "mount fsconfig", separated by spaces; empty: any
  Domain domain = Domain::kernel;
  int codes[3] = {};                               // 0: unused; none used: any
  Match (*matches)(const Facts& facts) = nullptr;  // nullptr: possible
  std::string_view cause{};
  std::string_view remedy{};
};

std::span<const Row> rows() noexcept;

Match match(const Row& row, const Facts& facts);

}  // namespace rootprep::explaining
