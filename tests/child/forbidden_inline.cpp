// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// What lib/child must not leave to the linker: the symbol test must find it.
[[gnu::noinline]] inline int left_over(int value) { return value + 1; }

int forbidden(int value) { return left_over(value); }
