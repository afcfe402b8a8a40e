// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// Counts what this program allocates, in all its threads. Needs tests/support/allocations.cpp in the program.
#pragma once

#include <cstddef>

namespace test_support {

struct Allocations {
  long calls = 0;         // malloc, calloc, realloc, aligned_alloc, and free of something
  std::size_t bytes = 0;  // asked for
};

// What was counted since the program began; or no calls at all, if the allocator cannot be replaced: sanitizers have their own.
Allocations allocations() noexcept;
inline bool allocations_are_counted() noexcept { return allocations().calls != 0; }

}  // namespace test_support
