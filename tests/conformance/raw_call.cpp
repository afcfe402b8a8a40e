// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "raw_call.hpp"

#include <cstdlib>
#include <sstream>

namespace rootprep::conformance {
namespace {

std::uint64_t word_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }
std::uint64_t word_of(long number) { return static_cast<std::uint64_t>(number); }

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  std::string part;
  while (std::getline(stream, part, separator)) parts.push_back(part);
  return parts;
}

bool is_number(const std::string& word) { return !word.empty() && (word[0] == '-' || (word[0] >= '0' && word[0] <= '9')); }

// "MS_BIND|MS_REC", "0x40000", "0"
std::uint64_t flags_of(const std::string& word) {
  std::uint64_t bits = 0;
  for (const std::string& name : split(word, '|')) {
    if (is_number(name)) bits |= word_of(std::strtol(name.c_str(), nullptr, 0));
    for (const FlagInfo& flag : flag_table()) {
      if (flag.text == name) {
        bits |= flag.value;
        break;
      }
    }
  }
  return bits;
}

// "x*300": a text of 300 x
std::string expanded(const std::string& word) {
  const std::size_t star = word.find('*');
  if (star != 1 || word.size() < 3 || word.find_first_not_of("0123456789", 2) != std::string::npos) return word;
  return std::string(std::stoul(word.substr(2)), word[0]);
}

std::string part(const std::vector<std::string>& parts, std::size_t index) { return index < parts.size() ? parts[index] : ""; }

}  // namespace

RawCall::RawCall(const std::vector<std::string>& words, const std::function<int(const std::string&)>& slot) {
  if (words.empty()) return;
  info_ = find_syscall(words[0]);
  if (info_ == nullptr) return;
  call_.number = info_->number;
  for (std::size_t i = 0; i < info_->argument_count && i + 1 < words.size(); ++i) {
    call_.arguments[i] = value_of(info_->arguments[i].kind, words[i + 1], slot);
  }
}

std::uint64_t RawCall::keep(std::string text) {
  texts_.push_back(std::move(text));
  last_size_ = texts_.back().size();
  return word_of(texts_.back().c_str());
}

std::uint64_t RawCall::value_of(ArgumentKind kind, const std::string& word, const std::function<int(const std::string&)>& slot) {
  const auto descriptor = [&](const std::string& name) -> std::uint64_t {
    if (name == "cwd") return word_of(static_cast<long>(abi::at_fdcwd));
    if (is_number(name)) return word_of(std::strtol(name.c_str(), nullptr, 0));
    return word_of(static_cast<long>(slot(name)));
  };
  switch (kind) {
    case ArgumentKind::directory:
    case ArgumentKind::descriptor:
    case ArgumentKind::fs_context:
    case ArgumentKind::fsconfig_aux: return descriptor(word);
    case ArgumentKind::path:
    case ArgumentKind::text:
    case ArgumentKind::bytes:
    case ArgumentKind::mount_data:
    case ArgumentKind::fsconfig_value: {
      if (word == "null") return 0;
      if (word == "bad-pointer") return 8;
      std::string text = expanded(word);
      // "/proc/self/fd/%K/c": the number of slot K
      if (const std::size_t percent = text.find('%'); percent != std::string::npos) {
        std::size_t end = text.find_first_of("/,:", percent);
        if (end == std::string::npos) end = text.size();
        text.replace(percent, end - percent, std::to_string(slot(text.substr(percent + 1, end - percent - 1))));
      }
      return keep(text);
    }
    case ArgumentKind::size: return word == "auto" ? last_size_ : flags_of(word);
    case ArgumentKind::mode:
    case ArgumentKind::node_mode: return word_of(std::strtol(word.c_str(), nullptr, 8));
    case ArgumentKind::pointer:
      if (word == "null") return 0;
      last_size_ = buffer_.size();
      return word_of(buffer_.data());
    case ArgumentKind::open_how: {  // flags;mode;resolve
      if (word == "null") return 0;
      const auto parts = split(word, ';');
      hows_.push_back({flags_of(part(parts, 0)), static_cast<std::uint64_t>(std::strtol(part(parts, 1).c_str(), nullptr, 8)),
                       flags_of(part(parts, 2))});
      last_size_ = sizeof(abi::open_how);
      return word_of(&hows_.back());
    }
    case ArgumentKind::mount_attr: {  // set;clear;propagation;descriptor;what follows the structure
      if (word == "null") return 0;
      const auto parts = split(word, ';');
      abi::mount_attr attr{flags_of(part(parts, 0)), flags_of(part(parts, 1)), flags_of(part(parts, 2)), 0};
      if (!part(parts, 3).empty()) attr.userns_fd = descriptor(part(parts, 3));
      attributes_.push_back({attr, abi::mount_attr{flags_of(part(parts, 4)), 0, 0, 0}});
      last_size_ = sizeof(abi::mount_attr);
      return word_of(attributes_.back().data());
    }
    default: return flags_of(word);
  }
}

}  // namespace rootprep::conformance
