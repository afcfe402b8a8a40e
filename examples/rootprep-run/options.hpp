// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace rootprep_run {

// What the user did wrong, or what failed, as a sentence, and what to do about it. Ends the program with `status`.
class Complaint : public std::runtime_error {
 public:
  explicit Complaint(const std::string& what, std::string advice = {}, int status = 125)
      : std::runtime_error(what), advice_(std::move(advice)), status_(status) {}
  const std::string& advice() const noexcept { return advice_; }
  int status() const noexcept { return status_; }

 private:
  std::string advice_{};
  int status_ = 125;  // as of other container programs: "it was not the command that failed"
};

struct BindOption {
  std::string source{};
  std::string target{};
  bool read_only = false;
};

struct TmpfsOption {
  std::string target{};
  std::uint64_t size = 0;  // bytes; 0: half of the memory
};

enum class PrintFormat : std::uint8_t { none, text, tree, json, shell };

// The command line, checked for its form; nothing of the system was looked at.
struct Options {
  std::vector<std::string> command{};
  std::vector<std::string> images{};                            // absolute, the topmost first; empty: a copy of the running system
  std::vector<std::variant<BindOption, TmpfsOption>> mounts{};  // in the order given
  std::vector<std::string> environment{};                       // "K=V"; "K": the caller's value
  std::string name{};
  std::string state{};  // absolute; empty: default_state_directory()
  std::string hostname{};
  std::string workdir{};
  bool remove = false;
  bool read_only = false;
  bool rootless = false;
  bool private_network = false;
  bool no_pivot = false;
  bool quiet = false;
  PrintFormat print = PrintFormat::none;
};

// nullopt: help or version was printed. Throws Complaint.
std::optional<Options> parse_options(int argc, const char* const* argv);

// "64m" -> 67108864. Throws Complaint.
std::uint64_t parse_size(const std::string& text, const std::string& option);

}  // namespace rootprep_run
