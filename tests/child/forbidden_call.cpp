// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// What lib/child must not do: the symbol test must find it.
#include <cstdlib>

void* forbidden(unsigned long size) { return std::malloc(size); }
