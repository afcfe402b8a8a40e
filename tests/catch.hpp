// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

// Catch2 2.13 (Debian 12) has one header, version 3 another: this picks.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
