// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

// The pipeline of each example is a function in its file, named as the file is, because tests want it too: tests/faults lets every call
// of every one of them fail, and lets an attacker act between any two.
#include "rootprep/pipeline.hpp"

namespace example {

rootprep::Pipeline switch_root();
rootprep::Pipeline overlay();
rootprep::Pipeline propagation();
rootprep::Pipeline rescue_shell();
rootprep::Pipeline your_own_clone();
rootprep::Pipeline your_own_step();
rootprep::Pipeline unknown_system_call();
rootprep::Pipeline your_function_in_the_child();
rootprep::Pipeline test_without_root();
rootprep::Pipeline readme();

}  // namespace example
