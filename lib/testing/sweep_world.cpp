// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "testing/sweep_world.hpp"

#include <algorithm>

namespace rootprep::testing {

std::string name_of_call(const SysCall& call) {
  const SysCallInfo* info = find_syscall(call.number);
  return info != nullptr ? std::string{info->name} : "system call " + std::to_string(call.number);
}

FakeSweepWorld::FakeSweepWorld(const FakeSweepWorlds& worlds) : worlds_(worlds), host_(worlds.make_host()), attacker_(host_.clone()) {
  attacker_.set_ids(0, 0);
  attacker_.set_capabilities(~std::uint64_t{0});
}

void FakeSweepWorld::begin(std::shared_ptr<const Snapshot>& before) {
  if (before == nullptr) before = std::make_shared<const Snapshot>(lasting());
  before_ = before;
  child_ = &host_.clone(worlds_.namespaces);
}

long FakeSweepWorld::Door::call(const SysCall& call) noexcept {
  if (world_.worlds_.own_calls) {
    if (const std::optional<long> answer = world_.worlds_.own_calls(*world_.child_, call)) return *answer;
  }
  return world_.child_->call(call);
}

std::string FakeSweepWorld::left_behind() {
  child_->exit();
  const std::string broken = host_.check_invariants();
  return broken.empty() ? difference(*before_, lasting()) : "the model is broken: " + broken;
}

// Without what lies in directories that may change: "file system 3 (ext4): /srv/root/dev ...".
Snapshot FakeSweepWorld::lasting() const {
  Snapshot snapshot = host_.snapshot();
  std::erase_if(snapshot.lines, [&](const std::string& line) {
    const std::size_t path = line.find("): /");
    if (!line.starts_with("file system ") || path == std::string::npos) return false;
    return std::any_of(worlds_.may_change.begin(), worlds_.may_change.end(),
                       [&](const std::string& top) { return line.compare(path + 3, top.size() + 1, top + '/') == 0; });
  });
  return snapshot;
}

}  // namespace rootprep::testing
