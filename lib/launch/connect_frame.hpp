// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <vector>

#include "child/frame.hpp"
#include "rootprep/plan.hpp"

namespace rootprep {

// Fills a frame with pointers into a plan and into memory for its slots and texts. All of them must outlive the frame's use.
inline void connect_frame(child::Frame& frame, const Plan& plan, Kernel& kernel, std::vector<int>& slots, std::vector<char>& scratch) {
  slots.assign(plan.slot_count(), -1);
  scratch.assign(plan.scratch_size() + 1, '\0');
  frame.kernel = &kernel;
  frame.operations = plan.operations().data();
  frame.operation_count = static_cast<std::uint32_t>(plan.operations().size());
  frame.data = reinterpret_cast<const char*>(plan.data().data());
  frame.slots = slots.data();
  frame.slot_count = slots.size();
  frame.root_slot = plan.parts().root_slot;
  frame.scratch = scratch.data();
}

}  // namespace rootprep
