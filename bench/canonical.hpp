// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <string>

#include "rootprep/pipeline.hpp"
#include "rootprep/steps.hpp"

// The container that all programs of one run build: a root bound on itself, proc, /dev with six devices and four links, pts, shm, mqueue,
// sysfs, a read-only root; new mount, pid, uts and ipc namespaces; busybox's `true`.
namespace bench {

inline rootprep::Pipeline canonical_pipeline(const std::string& root) {
  using namespace rootprep;
  return Pipeline{
      PrepareRoot{.path = root}, MountSpec::proc(), DeviceSetup{.method = DeviceMethod::mknod},
      MountSpec::sysfs(),        EnterRoot{},       RemountReadonly{},
  };
}

// A directory with busybox-static as /bin/busybox and /bin/true. Removed at exit.
const std::string& image();

}  // namespace bench
