// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include "testing/world.hpp"

// The tree of mounts: who stands where, copies of trees, attaching one (with its propagation) and taking one away.
namespace rootprep::testing::model {

Mount* mounted_at(const World& world, const Mount* parent, const Dentry* mountpoint);
// The root of the topmost mount that is stacked on the path, or the path itself.
Path topmost(const World& world, Path path);
bool is_mount_root(const Path& path);
Mount* next_in_tree(Mount* mount, const Mount* top);  // depth first
std::size_t tree_size(Mount* top);
// `below` is `above`, or attached somewhere beneath it.
bool is_at_or_below(const Mount* below, const Mount* above);
// path_is_under(): climbs from `path` through mountpoints; true when it meets `above`.
bool path_is_below(Path path, const Path& above);
bool in_my_namespace(const Task& task, const Mount* mount);
// The mount is in a detached tree that this process's namespace may use (check_anonymous_mnt(), since 6.15).
bool in_detached_tree_of_mine(const Task& task, const Mount* mount);
bool has_writers(const World& world, const Mount* mount);

Mount* new_mount(World& world, Superblock* superblock, Dentry* root, const MountFlags& flags, std::string_view source);
MountNamespace* new_mount_namespace(World& world, UserNamespace* owner, bool anonymous);
void link_mount(World& world, Mount* child, Mount* parent, Dentry* mountpoint);
void unlink_mount(World& world, Mount* child);
void enter_namespace(Mount* tree, MountNamespace* ns);  // every mount of it
// A detached tree: an anonymous namespace of its own. It may be copied and extended in the namespace it came from, or, with
// origin 0 (fsmount), in any.
void detach_into_anonymous(World& world, const Task& task, Mount* tree, std::uint64_t origin);

enum class CopyAs : std::uint8_t {
  peer,          // same group, or same master
  slave,         // slave of the original's group
  shared_slave,  // shared, and slave of the original's group
  other_user,    // a namespace copy for another user namespace: shared becomes slave
};
struct CopyOptions {
  CopyAs as = CopyAs::peer;
  bool recursive = true;
  bool keep_unbindable = false;
  bool keep_namespace_files = false;
};
// The tree below (mount, directory). Not attached to anything. `map`, if given, gets original -> copy.
long copy_tree(World& world, Mount* mount, Dentry* directory, const CopyOptions& options, Mount** copy,
               std::unordered_map<const Mount*, Mount*>* map = nullptr);
void forget_tree(World& world, Mount* tree);  // a copy that was never attached

bool has_locked_children(const Mount* mount, const Dentry* directory);
void lock_tree(Mount* tree);  // what a less privileged namespace may not undo

struct AttachOptions {
  bool moving = false;
  bool beneath = false;
};
// The one primitive: new mounts, binds and moves all end here. `at` is exact: the caller went to the topmost mount.
// All or nothing.
long attach(Task& task, Mount* tree, const Path& at, const AttachOptions& options);

enum class Removal : std::uint8_t { plain, lazy, connected };
// umount2(2): the mount (plain) or its subtree (lazy), with everything that propagation takes along.
void unmount(World& world, Mount* mount, Removal how);
// No propagation: a namespace that died, a detached tree whose descriptor was closed.
void unmount_without_propagation(World& world, Mount* tree, Removal how);
bool is_busy(const World& world, const Mount* mount);
std::size_t references(const World& world, const Mount* mount);
// A directory was removed: what other namespaces mounted on it goes.
void detach_mounts_on(World& world, Dentry* dentry);
bool is_local_mountpoint(const Task& task, const Dentry* dentry);

}  // namespace rootprep::testing::model
