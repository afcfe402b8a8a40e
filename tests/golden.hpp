// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "catch.hpp"

// Files that hold what is printed. `ROOTPREP_UPDATE_GOLDEN=1 ctest` writes them anew: then read the diff.
namespace rootprep::testing {

inline void require_golden(const std::string& name, const std::string& text) {
  const std::filesystem::path path = std::filesystem::path{ROOTPREP_GOLDEN_DIR} / name;
  if (const char* update = std::getenv("ROOTPREP_UPDATE_GOLDEN"); update != nullptr && std::string{update} == "1") {
    std::ofstream{path, std::ios::binary} << text;
    SUCCEED("written: " + path.string());
    return;
  }
  std::ifstream file{path, std::ios::binary};
  INFO("golden file " << path << "; ROOTPREP_UPDATE_GOLDEN=1 writes it");
  REQUIRE(file.is_open());
  const std::string expected{std::istreambuf_iterator<char>{file}, {}};
  REQUIRE(text == expected);
}

}  // namespace rootprep::testing
