// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rootprep/error.hpp"
#include "rootprep/export.hpp"
#include "rootprep/operation.hpp"
#include "rootprep/plan.hpp"

// Errors are coordinates; here they become sentences. Everything here allocates and is for the parent; nothing looks at the machine.
namespace rootprep {

struct Problem;  // plan_builder.hpp

// What went wrong, where, why, and what to do about it. At most 100 columns, where the words allow it; ends with a line end.
//
//   std::cerr << rootprep::explain(error, plan, &report);
//
//   step 1 failed: overlay on / (2 lower, upper /srv/upper)
//     operation 16: fsconfig(fs2, FSCONFIG_SET_STRING, "upperdir", "/srv/upper", 0)
//     EINVAL: Invalid argument
//     the kernel says: overlay: filesystem on /srv/upper not supported as upperdir
//   cause:  the upper directory lies on a file system that cannot hold one: overlayfs (as everything
//           inside most containers does), NFS, FUSE, or a case-folding one (RP-OVL-UPPER-ON-OVERLAY)
//   remedy: put upper and work on a tmpfs or a volume (OverlayMount::ephemeral), or use fuse-overlayfs
//
// Several causes are listed, the likeliest first. With the report it shows the kernel's own message, where there was one, and what had
// happened differently before the failure.
ROOTPREP_EXPORT std::string explain(const Error& error, const Plan& plan, const Report* report = nullptr);
// Without the plan, what the coordinates alone say: for errors of compile(), of reading a plan, and of launching.
ROOTPREP_EXPORT std::string explain(const Error& error);
// A wrong value of a step: names field, value, and what would have been right.
ROOTPREP_EXPORT std::string explain(const Problem& problem);

// What a run did that the reader of the plan could not know: the way the root was entered, what was skipped, what was done instead.
// One line each, each with its line end; after a failure only what had happened before.
ROOTPREP_EXPORT std::string describe(const Report& report, const Plan& plan);

// A cause that errors can have: a row of the table that explain() reads. The id is stable: for search, for scripts, for documentation.
struct Hint {
  std::string_view id{};  // "RP-PIVOT-NOT-MOUNTPOINT"
  std::string symptom{};  // "pivot_root: EINVAL"
  std::string_view cause{};
  std::string_view remedy{};
  bool operator==(const Hint&) const = default;
};

// The whole table, in its order.
ROOTPREP_EXPORT std::vector<Hint> hints();

// The causes that fit an error, the likeliest first; one, if it is certain.
ROOTPREP_EXPORT std::vector<Hint> causes(const Error& error, const Plan& plan, const Report* report = nullptr);
ROOTPREP_EXPORT std::vector<Hint> causes(const Error& error);

}  // namespace rootprep
