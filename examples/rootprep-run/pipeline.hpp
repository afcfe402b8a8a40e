// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "host.hpp"
#include "options.hpp"
#include "rootprep/pipeline.hpp"
#include "rootprep/plan_builder.hpp"
#include "workspace.hpp"

namespace rootprep_run {

// A step of this program's own: switches the loopback device of a new network namespace on, as `ip link set lo up` does.
// Four deferred system calls that the library has no names for. Source: netdevice(7), SIOCSIFFLAGS.
struct LoopbackUp {
  void lower(rootprep::PlanBuilder& b) const;
  std::string describe() const { return "loopback device up"; }
};

// What the pipeline is made from.
struct Surroundings {
  bool rootless = false;
  std::vector<HostMount> mounts{};       // for a copy of the running system
  std::vector<TopLevelEntry> entries{};  // for one without privilege
  std::string root{};                    // empty directory of the host to mount on
  // Where an overlay keeps its changes; not set: in memory.
  std::function<LayerDirectories(const std::string& layer, const std::string& top)> layer{};
};

struct ContainerPipeline {
  rootprep::Pipeline pipeline{};
  std::vector<std::string> remarks{};  // what could not be made disposable, and why
};

// From the command line to steps. No side effect, but for what `layer` does.
ContainerPipeline make_pipeline(const Options& options, const Surroundings& surroundings);

}  // namespace rootprep_run
