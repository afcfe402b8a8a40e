// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rootprep/kernel.hpp"
#include "rootprep/plan.hpp"
#include "rootprep/testing/fault_sweep.hpp"

namespace rootprep::testing {

// What an attacker does to an image between two calls of a plan.
struct Attack {
  std::string name{};  // "etc: exchanged with a link to /srv/root.canary"
  // What it acts on: "/srv/root", "etc/hostname". Calls that do not look there cannot tell whether it happened before or after them, so one
  // placement stands for all of them. An empty path: every call may look there.
  std::string image{};
  std::string path{};
  bool mounts = false;  // acts on mounts: every call that copies, moves or changes mounts looks there
  // Through the door of the attacker, who is another process. False: there was nothing to do, such as no file of that name yet.
  std::function<bool(Kernel& attacker)> act{};
  std::function<void(Kernel& attacker)> undo{};
};

// What can be done to one path of an image: exchanged with a link to something of the host (CVE-2021-30465) and with a dangling one that
// climbs out of the image (CVE-2024-45310), for a file with another name of a file of the host, moved out of the image, mounted over. The
// places outside are IMAGE.canary, where the links lead, and IMAGE.attacker: prepare_attacks() makes them.
std::vector<Attack> attacks_on(const std::string& image, const std::string& path, bool is_directory);

// Makes IMAGE.attacker, empty, and IMAGE.canary, which holds something of the name of each path and an empty directory, open to everybody:
// what escapes finds a file to destroy and a place to create one. `directories` and `files` are below the image.
void prepare_attacks(Kernel& attacker, const std::string& image, const std::vector<std::string>& directories,
                     const std::vector<std::string>& files);

// A place where a plan can run once, with somebody else in it.
class RaceWorld : public SweepWorld {
 public:
  virtual Kernel& attacker() = 0;
};

struct InterleavingOptions {
  // Before each call that looks at something, one of the attacks that it could notice, for good or until the next call: they take turns.
  // For slow kernels: as many runs as the plan has such calls.
  bool take_turns = false;
};

// Runs the plan once for every attack, right before every call that looks where the attack acts; each time twice, in a fresh world: the
// attack stays, or is undone before the next call. No timing: every window is opened, and the same ones each time.
//
//   REQUIRE(rootprep::testing::sweep_interleavings(plan, {.make_host = my_host, .may_change = {"/srv/root"}}).ok());
//
// A run is right if nothing is left behind outside what may change, whether the plan succeeds or fails; and if the same descriptors are
// open as before. Without an attack the plan must succeed.
SweepResult sweep_interleavings(const Plan& plan, const std::function<std::unique_ptr<RaceWorld>()>& make_world,
                                const std::vector<Attack>& attacks, const InterleavingOptions& options = {});

// The same in memory, with all attacks_on() everything that is in the image after a run. The image: `images`, or else all of
// worlds.may_change.
SweepResult sweep_interleavings(const Plan& plan, const FakeSweepWorlds& worlds, const std::vector<std::string>& images = {},
                                const InterleavingOptions& options = {});

}  // namespace rootprep::testing
