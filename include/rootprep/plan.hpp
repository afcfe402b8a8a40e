// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rootprep/error.hpp"
#include "rootprep/export.hpp"
#include "rootprep/operation.hpp"

namespace rootprep {

// A step of the pipeline that a plan came from.
struct StepInfo {
  std::string description{};
  bool optional = false;
  std::uint16_t depth = 0;  // 0; more for the steps of a pipeline inside a pipeline

  bool operator==(const StepInfo&) const = default;
};

// Everything a plan is made of. A Plan is made from it by Plan::create(), which verifies it.
struct PlanParts {
  std::vector<Operation> operations{};
  std::uint32_t prologue_size = 0;  // operations before this index run while the host is visible and open host objects
  std::vector<StepInfo> steps{};
  std::vector<std::string> slots{};   // name of each descriptor slot; empty: no name of its own
  std::vector<std::byte> data{};      // strings and structures; the first byte is 0, so that offset 0 is the empty string
  std::uint16_t root_slot = no_slot;  // the new root, for user functions and for the launcher's working directory
  bool user_namespace = false;        // made for a child in a user namespace of its own

  bool operator==(const PlanParts&) const = default;
};

// What a plan asks of the machine that runs it.
struct Needs {
  std::vector<Capability> capabilities{};  // in the user namespace that owns the mount namespace; sorted
  std::string_view linux_version{};        // of its newest system call; empty: older than 4.19
  std::uint32_t descriptors = 0;           // at most open at once
  bool operator==(const Needs&) const = default;
};

// An ordered list of system calls with holes: what will happen, as data that can be read before it runs.
//
//   rootprep::result<rootprep::Plan> plan = pipeline.compile();
//   for (const rootprep::Operation& operation : plan.value().operations()) { ... }
//
// Immutable. Copying allocates, reading does not. It holds no descriptor and no address of this process, unless a step used
// PlanBuilder::call() (then portable() is false).
class ROOTPREP_EXPORT Plan {
 public:
  // A plan from its parts, verified. Errors: those of verify().
  static result<Plan> create(PlanParts parts);

  Plan() = default;  // does nothing

  std::span<const Operation> operations() const noexcept { return parts_.operations; }
  std::span<const StepInfo> steps() const noexcept { return parts_.steps; }
  std::span<const std::byte> data() const noexcept { return parts_.data; }
  const PlanParts& parts() const noexcept { return parts_; }

  // Operations before this index are the prologue.
  std::uint32_t prologue_size() const noexcept { return parts_.prologue_size; }
  std::size_t slot_count() const noexcept { return parts_.slots.size(); }
  // Name of a descriptor slot as printers show it: "root" for root_slot; its own with its number; or "fdN".
  std::string slot_name(std::uint16_t slot) const;
  // The NUL-terminated string at an offset of data().
  std::string_view string_at(std::uint64_t offset) const noexcept;
  // Bytes that an Execution needs to fill the holes of the longest operation.
  std::size_t scratch_size() const noexcept { return scratch_size_; }
  bool portable() const noexcept;
  bool for_user_namespace() const noexcept { return parts_.user_namespace; }

  Needs needs() const;

  // Do both say the same? Where a string lies in data() makes no difference.
  bool operator==(const Plan& other) const;

 private:
  PlanParts parts_{};
  std::size_t scratch_size_ = 0;
};

// Is this a plan that can run without harm to the process that runs it? Every argument points into the data, every string ends, jumps
// go forward, every descriptor slot is filled before it is used on every way through the plan, and no alternative is abandoned after
// it left something behind. The error names the operation. What a verified plan does to the machine is for its reader to judge.
ROOTPREP_EXPORT result<void> verify(const PlanParts& parts);

// A piece of a text with holes, as the data of a plan holds it: bytes, and marks for "/proc/self/fd/N" of a slot. The mark is the
// byte 1 followed by two bytes with the high bit set (seven bits of the slot number each, low bits first); a byte 1 of the text
// itself is doubled.
struct PlanText {
  struct Piece {
    std::string_view literal{};  // valid if slot == no_slot
    std::uint16_t slot = no_slot;
  };
  // The pieces of the encoded text, in order. A doubled byte 1 ends a piece. Allocates.
  ROOTPREP_EXPORT static std::vector<Piece> pieces(std::string_view encoded);
};

}  // namespace rootprep
