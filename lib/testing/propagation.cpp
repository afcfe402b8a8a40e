// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "testing/propagation.hpp"

namespace rootprep::testing::model {
namespace {

void set_master(PeerGroup* group, PeerGroup* master) {
  if (group->master != nullptr) group->master->slave_groups.erase(group);
  group->master = master;
  if (master != nullptr) master->slave_groups.insert(group);
}
void set_master(Mount* mount, PeerGroup* master) {
  if (mount->pure_master != nullptr) mount->pure_master->slave_mounts.erase(mount);
  mount->pure_master = master;
  if (master != nullptr) master->slave_mounts.insert(mount);
}

// The group lost its last member: its slaves go to its master, or lose theirs.
void dissolve(World& world, PeerGroup* group) {
  PeerGroup* master = group->master;
  const auto groups = group->slave_groups;
  for (PeerGroup* slave : groups) set_master(slave, master);
  const auto mounts = group->slave_mounts;
  for (Mount* slave : mounts) set_master(slave, master);
  set_master(group, nullptr);
  world.free_group_numbers.insert(group->number);
}

void leave_group(World& world, Mount* mount) {
  PeerGroup* group = mount->group;
  if (group == nullptr) return;
  group->members.erase(mount);
  mount->group = nullptr;
  if (group->members.empty()) dissolve(world, group);
}

void add_receivers_of_slaves(const PeerGroup* group, std::vector<Mount*>& all) {
  for (Mount* slave : group->slave_mounts) all.push_back(slave);
  for (const PeerGroup* slaves : group->slave_groups) {
    for (Mount* member : slaves->members) all.push_back(member);
    add_receivers_of_slaves(slaves, all);
  }
}

}  // namespace

PeerGroup* new_group(World& world, PeerGroup* master) {
  auto made = std::make_unique<PeerGroup>();
  made->id = world.next_group++;
  // proc_pid_mountinfo(5): ids are reused; the lowest free one is taken (measured on 6.18).
  if (world.free_group_numbers.empty()) {
    made->number = world.next_group_number++;
  } else {
    made->number = *world.free_group_numbers.begin();
    world.free_group_numbers.erase(world.free_group_numbers.begin());
  }
  PeerGroup* group = made.get();
  world.groups.push_back(std::move(made));
  set_master(group, master);
  return group;
}

void become_peer(Mount* mount, PeerGroup* group) {
  mount->group = group;
  group->members.insert(mount);
}
void become_slave_of(Mount* mount, PeerGroup* master) { set_master(mount, master); }

void make_shared(World& world, Mount* mount) {
  mount->unbindable = false;
  if (mount->shared()) return;
  PeerGroup* master = mount->pure_master;
  set_master(mount, nullptr);
  become_peer(mount, new_group(world, master));
}

void make_slave(World& world, Mount* mount) {
  if (!mount->shared()) return;  // an unbindable mount stays unbindable (measured on 6.18)
  PeerGroup* group = mount->group;
  const bool alone = group->members.size() == 1;
  PeerGroup* master = alone ? group->master : group;
  leave_group(world, mount);
  set_master(mount, master);
}

void make_private(World& world, Mount* mount) {
  leave_group(world, mount);
  set_master(mount, nullptr);
  mount->unbindable = false;
}

void make_unbindable(World& world, Mount* mount) {
  make_private(world, mount);
  mount->unbindable = true;
}

void change_propagation(World& world, Mount* mount, std::uint64_t type) {
  if (type == abi::ms_shared) make_shared(world, mount);
  if (type == abi::ms_slave) make_slave(world, mount);
  if (type == abi::ms_private) make_private(world, mount);
  if (type == abi::ms_unbindable) make_unbindable(world, mount);
}

std::vector<Mount*> receivers(const Mount* mount) {
  std::vector<Mount*> all;
  if (!mount->shared()) return all;
  for (Mount* peer : mount->group->members) {
    if (peer != mount) all.push_back(peer);
  }
  add_receivers_of_slaves(mount->group, all);
  return all;
}

bool reaches(const PeerGroup* from, const Mount* to) {
  for (const PeerGroup* group = to->shared() ? to->group : to->pure_master; group != nullptr; group = group->master) {
    if (group == from) return true;
  }
  return false;
}

}  // namespace rootprep::testing::model
