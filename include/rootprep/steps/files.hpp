// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <string>

#include "rootprep/export.hpp"
#include "rootprep/steps/mount_attributes.hpp"

namespace rootprep {

class PlanBuilder;

// Small steps inside the new root. Paths are relative to it (a leading '/' too); symbolic links of the image in their parents are followed
// inside the root; missing parents are made with mode 0755. They need write permission there, and no capability.

// MakeDirectory{.path = "/var/cache/app", .mode = 0700}. An existing directory stays as it is; something else there is ENOTDIR.
struct MakeDirectory {
  std::string path{};
  std::uint32_t mode = 0755;  // octal, exactly: the umask does not apply
  bool operator==(const MakeDirectory&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

// MakeSymlink{.target = "/proc/mounts", .path = "/etc/mtab"}. The target is any text; it need not exist.
struct MakeSymlink {
  std::string target{};
  std::string path{};
  bool keep_existing = false;  // what exists at path stays; else EEXIST
  bool operator==(const MakeSymlink&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

// WriteFile{.path = "/etc/hostname", .content = "box\n"}. A new file takes the place of what the image has there (a file, a link, a device
// node of a hostile image, never a directory: EISDIR): nothing of the image is opened or followed.
struct WriteFile {
  std::string path{};
  std::string content{};      // any bytes; part of the plan
  std::uint32_t mode = 0644;  // octal, exactly
  bool operator==(const WriteFile&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

// RemoveFile{.path = "/etc/nologin"}. Not a directory (EISDIR). A file that is not there is no error.
struct RemoveFile {
  std::string path{};
  bool operator==(const RemoveFile&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

// SetPropagation{.path = "/mnt", .propagation = Propagation::shared}. The path must be the root of a mount (EINVAL).
// Needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace. Source: mount_namespaces(7).
struct SetPropagation {
  std::string path = "/";
  Propagation propagation = Propagation::private_;
  bool recursive = true;
  bool operator==(const SetPropagation&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

}  // namespace rootprep
