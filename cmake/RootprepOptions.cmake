# SPDX-License-Identifier: Apache-2.0
# What a build of rootprep can be asked for. As a sub-project it builds the library and nothing else.

include(GNUInstallDirs)
include(GenerateExportHeader)

option(ROOTPREP_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(ROOTPREP_BUILD_EXAMPLES "Build the example programs" ${PROJECT_IS_TOP_LEVEL})
option(ROOTPREP_BUILD_BENCH "Build the benchmarks" OFF)
option(ROOTPREP_BUILD_FUZZERS "Build the libFuzzer programs and instrument everything for them (clang)" OFF)
option(ROOTPREP_INSTALL "Generate the install target" ${PROJECT_IS_TOP_LEVEL})
option(ROOTPREP_WERROR "Treat warnings as errors" OFF)
set(ROOTPREP_SANITIZE "" CACHE STRING "Sanitizers, separated by commas: address,undefined or thread")
if(PROJECT_IS_TOP_LEVEL)
  option(BUILD_SHARED_LIBS "Build a shared library" OFF)
  set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE RelWithDebInfo)
  endif()
endif()

# Flags of our own targets; consumers get none of them. -Wrestrict of g++ 12 warns of code of its own library at -O3 (GCC bug 105651).
add_library(rootprep_own_flags INTERFACE)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(rootprep_own_flags INTERFACE -Wno-restrict)
endif()
target_compile_options(rootprep_own_flags INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow $<$<BOOL:${ROOTPREP_WERROR}>:-Werror>)

if(ROOTPREP_BUILD_FUZZERS)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(ROOTPREP_SANITIZE)
  add_compile_options(-fsanitize=${ROOTPREP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${ROOTPREP_SANITIZE})
endif()
