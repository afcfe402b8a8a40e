// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <boost/outcome/try.hpp>
#include <boost/version.hpp>

// ROOTPREP_TRY(expression), ROOTPREP_TRY(auto value, expression): return the error, or go on with the value.
// One spelling for two Boosts: up to 1.75 BOOST_OUTCOME_TRY(v, e) declares v, from 1.76 on it assigns. Not installed.
#if BOOST_VERSION >= 107600
#define ROOTPREP_TRY(...) BOOST_OUTCOME_TRY(__VA_ARGS__)
#else
#define ROOTPREP_TRY_1(expression) BOOST_OUTCOME_TRYV(expression)
#define ROOTPREP_TRY_2(variable, ...) BOOST_OUTCOME_TRY2_SUCCESS_LIKELY(BOOST_OUTCOME_TRY_UNIQUE_NAME, variable, __VA_ARGS__)
#define ROOTPREP_TRY_3(variable, ...) ROOTPREP_TRY_2(variable, __VA_ARGS__)
#define ROOTPREP_TRY_4(variable, ...) ROOTPREP_TRY_2(variable, __VA_ARGS__)
#define ROOTPREP_TRY(...) BOOST_OUTCOME_TRY_CALL_OVERLOAD(ROOTPREP_TRY_, __VA_ARGS__)
#endif
