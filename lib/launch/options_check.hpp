// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <vector>

#include "rootprep/launch.hpp"

namespace rootprep {

// What is wrong with the options, alone and together with the plan. Looks at descriptors and credentials of the caller; no side effect.
void check_options(const Plan& plan, const LaunchOptions& options, std::vector<Problem>& problems);

}  // namespace rootprep
