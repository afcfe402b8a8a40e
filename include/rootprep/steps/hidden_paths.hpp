// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <string>
#include <vector>

#include "rootprep/export.hpp"

namespace rootprep {

class PlanBuilder;

// Hides files and directories of the new root: a file becomes the null device, a directory an empty read-only one.
//
//   MaskPaths{}                              // what container runtimes hide in /proc and /sys
//   MaskPaths{.paths = {"/proc/kcore"}}
//
// Comes after the mounts whose parts it hides, and after DeviceSetup: the null device is the one of the new root, opened once, compared
// with character device 1:3, and used by descriptor (CVE-2025-31133: a name would be the image's to change). A path that does not exist is
// skipped; every other error is one: what cannot be hidden must not be shown.
//
// Needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace.
// Source: OCI runtime specification, config-linux, "Masked Paths".
struct MaskPaths {
  std::vector<std::string> paths = defaults();

  ROOTPREP_EXPORT static std::vector<std::string> defaults();
  bool operator==(const MaskPaths&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

// Makes files and directories of the new root read-only, with all mounts below them (Linux 5.12; before it the topmost only, and a path
// with mounts below it stays writable there).
//
//   ReadonlyPaths{}                          // what container runtimes protect in /proc
//
// A path that does not exist is skipped.
// Source: OCI runtime specification, config-linux, "Readonly Paths".
struct ReadonlyPaths {
  std::vector<std::string> paths = defaults();

  ROOTPREP_EXPORT static std::vector<std::string> defaults();
  bool operator==(const ReadonlyPaths&) const = default;
  ROOTPREP_EXPORT void lower(PlanBuilder& b) const;
  ROOTPREP_EXPORT std::string describe() const;
};

}  // namespace rootprep
