// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <string>
#include <vector>

#include "rootprep/export.hpp"

namespace rootprep {

class PlanBuilder;

// Makes the root, or the tree at a path, read-only: the last step.
//
//   RemountReadonly{}                                                    // the root's own mount
//   RemountReadonly{.recursive = true, .writable = {"/tmp", "/var/log"}}  // and everything below, but for two places
//
// A path that is not the root of a mount gets a mount of its own first. Places in `writable` stay as they were: they are cloned before and
// put back on top. With mount_setattr(2) only the read-only flag is added: flags that an outer user namespace has locked stay. `recursive`
// needs Linux 5.12, and is refused without it rather than done by half.
//
// Needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace. Errors: EBUSY if a file is open for writing there; ENOENT.
// Source: mount_setattr(2); mount(2) MS_REMOUNT|MS_BIND.
struct RemountReadonly {
  std::string path = "/";
  bool recursive = false;
  std::vector<std::string> writable{};  // below path

  bool operator==(const RemountReadonly&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

}  // namespace rootprep
