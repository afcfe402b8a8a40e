// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include "testing/world.hpp"

// mount_namespaces(7), "SHARED SUBTREES": peer groups, masters and slaves. A shared mount's master is its group's master, so masters
// are kept by group and only a slave that is not shared has one of its own.
namespace rootprep::testing::model {

void make_shared(World& world, Mount* mount);
void make_slave(World& world, Mount* mount);
void make_private(World& world, Mount* mount);
void make_unbindable(World& world, Mount* mount);
void change_propagation(World& world, Mount* mount, std::uint64_t type);  // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE

void become_peer(Mount* mount, PeerGroup* group);       // mount has no group and no master
void become_slave_of(Mount* mount, PeerGroup* master);  // likewise
PeerGroup* new_group(World& world, PeerGroup* master);

// Who gets what happens below this mount: its peers, and the slaves of its group, and the slaves of those, ...
std::vector<Mount*> receivers(const Mount* mount);

// Does an event below `from` reach `to`'s peers: is to's group from's, or one of its masters?
bool reaches(const PeerGroup* from, const Mount* to);

}  // namespace rootprep::testing::model
