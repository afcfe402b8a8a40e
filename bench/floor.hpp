// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

namespace bench {

// The canonical container by hand: no plan, no path safety, no errors but exit codes. Returns the wait status.
int run_floor(const char* root);

}  // namespace bench
