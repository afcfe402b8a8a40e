// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// main() of the test programs, for Catch2 2 and 3: compiled once, because it is the slow part.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_session.hpp>
int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
#else
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
