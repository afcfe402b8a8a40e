// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rootprep/testing/fault_sweep.hpp"
#include "rootprep/testing/interleaving_sweep.hpp"

namespace rootprep::testing {

// What sweeps share: a host in memory and a process of it that runs the plan.
class FakeSweepWorld final : public RaceWorld {
 public:
  explicit FakeSweepWorld(const FakeSweepWorlds& worlds);

  Kernel& kernel() override { return door_; }
  Kernel& attacker() override { return attacker_; }
  std::vector<int> descriptors() override { return child_->descriptors(); }
  std::string left_behind() override;

  FakeKernel& host() noexcept { return host_; }
  // From here on: what is now, is what shall be afterwards. `before`: what that is, if it is known from a world that began alike.
  void begin(std::shared_ptr<const Snapshot>& before);

 private:
  // The child, or what the user answers in its place.
  class Door final : public Kernel {
   public:
    explicit Door(FakeSweepWorld& world) noexcept : world_(world) {}
    long call(const SysCall& call) noexcept override;

   private:
    FakeSweepWorld& world_;
  };

  Snapshot lasting() const;

  const FakeSweepWorlds& worlds_;
  FakeKernel host_;
  FakeProcess& attacker_;  // of the host's root
  FakeProcess* child_ = nullptr;
  std::shared_ptr<const Snapshot> before_{};
  Door door_{*this};
};

std::string name_of_call(const SysCall& call);

}  // namespace rootprep::testing
