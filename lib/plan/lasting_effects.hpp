// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include "rootprep/operation.hpp"

namespace rootprep {

// Does a success of this operation leave something in the mount table or in a file system? An alternative cannot be abandoned
// after one that does. State of the process alone (working directory, descriptors) does not count: the next alternative sets its own.
bool leaves_something_behind(const Operation& operation) noexcept;

}  // namespace rootprep
