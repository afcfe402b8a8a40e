// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstddef>
#include <cstdint>

#include "rootprep/operation.hpp"

// Runs between clone() and execve(). No allocation, locks, errno, exceptions, containers.
namespace rootprep::child {

// A plan, spread out for the child: pointers into memory that the parent has made. Nothing here owns anything.
struct Frame {
  Kernel* kernel = nullptr;
  const Operation* operations = nullptr;
  std::uint32_t operation_count = 0;
  const char* data = nullptr;
  int* slots = nullptr;  // -1: empty
  std::size_t slot_count = 0;
  std::uint16_t root_slot = no_slot;
  char* scratch = nullptr;  // for texts whose holes are filled; large enough for any one operation
  Report report{};
};

// Runs the operations; the result is in frame.report.
void execute(Frame& frame) noexcept;

}  // namespace rootprep::child
