// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rootprep/error.hpp"
#include "rootprep/launch.hpp"

// The parent's side of a user namespace: user_namespaces(7), "User and group ID mappings".
namespace rootprep {

// What the calling thread may do and is.
struct Caller {
  std::uint32_t uid = 0;  // effective
  std::uint32_t gid = 0;
  bool cap_setuid = false;
  bool cap_setgid = false;

  static Caller current() noexcept;
};

// The maps of a child, completed and ready to be written.
struct IdMaps {
  std::vector<IdMap> uids{};
  std::vector<IdMap> gids{};
  bool deny_setgroups = false;
  bool uid_helper = false;  // newuidmap(1)
  bool gid_helper = false;  // newgidmap(1)

  static IdMaps from(const LaunchOptions& options, const Caller& caller);
  // Id of the parent's namespace for one of the child's.
  static std::optional<std::uint32_t> outside(const std::vector<IdMap>& maps, std::uint32_t inside) noexcept;

  // Writes them for a child that waits. `message` gets what a helper wrote.
  result<void> write(std::int32_t pid, std::string& message) const;
};

}  // namespace rootprep
