// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "testing/mount_tree.hpp"

#include <algorithm>

#include "testing/inodes.hpp"
#include "testing/propagation.hpp"

namespace rootprep::testing::model {

Mount* mounted_at(const World& world, const Mount* parent, const Dentry* mountpoint) {
  if (mountpoint->mounts_here.empty()) return nullptr;
  const auto found = world.mount_table.find({parent, mountpoint});
  return found == world.mount_table.end() ? nullptr : found->second;
}

Path topmost(const World& world, Path path) {
  while (Mount* over = mounted_at(world, path.mount, path.dentry)) path = {over, over->root};
  return path;
}

bool is_mount_root(const Path& path) { return path.dentry == path.mount->root; }

Mount* next_in_tree(Mount* mount, const Mount* top) {
  if (mount->first_child != nullptr) return mount->first_child;
  for (; mount != top; mount = mount->parent) {
    if (mount->next_sibling != nullptr) return mount->next_sibling;
  }
  return nullptr;
}

std::size_t tree_size(Mount* top) {
  std::size_t size = 0;
  for (Mount* m = top; m != nullptr; m = next_in_tree(m, top)) ++size;
  return size;
}

bool is_at_or_below(const Mount* below, const Mount* above) {
  for (const Mount* m = below; m != nullptr; m = m->parent) {
    if (m == above) return true;
  }
  return false;
}

bool path_is_below(Path path, const Path& above) {
  while (path.mount != above.mount) {
    if (path.mount->parent == nullptr) return false;
    path = {path.mount->parent, path.mount->mountpoint};
  }
  return is_below(path.dentry, above.dentry);
}

bool in_my_namespace(const Task& task, const Mount* mount) { return mount->ns == task.ns; }

bool in_detached_tree_of_mine(const Task& task, const Mount* mount) {
  if (mount->ns == nullptr || !mount->ns->anonymous || !task.world->has(Quirk::detached_trees_are_usable)) return false;
  return mount->ns->origin_sequence == 0 || mount->ns->origin_sequence == task.ns->sequence;
}

bool has_writers(const World& world, const Mount* mount) {
  for (const auto& task : world.tasks) {
    if (!task->alive) continue;
    for (const auto& fd : task->fds) {
      if (fd.second.file->writes && fd.second.file->path.mount == mount && attributes(fd.second.file->path.dentry).kind == Kind::regular)
        return true;
    }
  }
  return false;
}

Mount* new_mount(World& world, Superblock* superblock, Dentry* root, const MountFlags& flags, std::string_view source) {
  auto mount = std::make_unique<Mount>();
  mount->id = world.next_mount++;
  mount->superblock = superblock;
  mount->root = root;
  mount->flags = flags;
  mount->source = source;
  world.mounts.push_back(std::move(mount));
  return world.mounts.back().get();
}

MountNamespace* new_mount_namespace(World& world, UserNamespace* owner, bool anonymous) {
  auto ns = std::make_unique<MountNamespace>();
  ns->owner = owner;
  ns->anonymous = anonymous;
  ns->sequence = world.next_sequence++;
  world.mount_namespaces.push_back(std::move(ns));
  return world.mount_namespaces.back().get();
}

void link_mount(World& world, Mount* child, Mount* parent, Dentry* mountpoint) {
  child->parent = parent;
  child->mountpoint = mountpoint;
  child->previous_sibling = parent->last_child;
  child->next_sibling = nullptr;
  (parent->last_child != nullptr ? parent->last_child->next_sibling : parent->first_child) = child;
  parent->last_child = child;
  world.mount_table[{parent, mountpoint}] = child;
  mountpoint->mounts_here.insert(child);
}

void unlink_mount(World& world, Mount* child) {
  Mount* parent = child->parent;
  if (parent == nullptr) return;
  (child->previous_sibling != nullptr ? child->previous_sibling->next_sibling : parent->first_child) = child->next_sibling;
  (child->next_sibling != nullptr ? child->next_sibling->previous_sibling : parent->last_child) = child->previous_sibling;
  const auto entry = world.mount_table.find({parent, child->mountpoint});
  if (entry != world.mount_table.end() && entry->second == child) world.mount_table.erase(entry);
  child->mountpoint->mounts_here.erase(child);
  child->parent = child->previous_sibling = child->next_sibling = nullptr;
  child->mountpoint = nullptr;
}

void enter_namespace(Mount* tree, MountNamespace* ns) {
  for (Mount* m = tree; m != nullptr; m = next_in_tree(m, tree)) {
    if (m->ns == ns) continue;
    if (m->ns != nullptr) --m->ns->count;
    m->ns = ns;
    if (ns != nullptr) ++ns->count;
  }
}

void detach_into_anonymous(World& world, const Task& task, Mount* tree, std::uint64_t origin) {
  MountNamespace* ns = new_mount_namespace(world, task.user, true);
  ns->origin_sequence = origin;
  ns->root = tree;
  enter_namespace(tree, ns);
}

namespace {

Mount* clone_mount(World& world, const Mount* old, Dentry* root, const CopyOptions& options) {
  Mount* copy = new_mount(world, old->superblock, root, old->flags, old->source);
  copy->locks = old->locks;
  copy->idmap = old->idmap;
  switch (options.as) {
    case CopyAs::peer:
      if (old->shared()) become_peer(copy, old->group);
      if (old->pure_master != nullptr) become_slave_of(copy, old->pure_master);
      break;
    case CopyAs::slave: become_slave_of(copy, old->group); break;
    case CopyAs::shared_slave: become_peer(copy, new_group(world, old->group)); break;
    case CopyAs::other_user: become_slave_of(copy, old->shared() ? old->group : old->pure_master); break;
  }
  if (options.keep_unbindable && old->unbindable && !world.has(Quirk::unshare_forgets_unbindable)) copy->unbindable = true;
  return copy;
}

bool is_mount_namespace_file(const Mount* mount) { return mount->root->inode->mount_namespace != nullptr; }

}  // namespace

long copy_tree(World& world, Mount* mount, Dentry* directory, const CopyOptions& options, Mount** copy,
               std::unordered_map<const Mount*, Mount*>* map) {
  if (!options.keep_unbindable && mount->unbindable) return world.refuse(EINVAL, "copy.mount-is-unbindable");
  if (!options.keep_namespace_files && directory->inode->mount_namespace != nullptr) {
    return world.refuse(EINVAL, "copy.mount-namespace-file");
  }
  Mount* top = clone_mount(world, mount, directory, options);
  if (map != nullptr) (*map)[mount] = top;
  *copy = top;
  if (!options.recursive) return 0;
  struct Pair {
    Mount *original, *copy;
  };
  std::vector<Pair> open;
  open.push_back({mount, top});
  while (!open.empty()) {
    const Pair pair = open.back();
    open.pop_back();
    for (Mount* child = pair.original->first_child; child != nullptr; child = child->next_sibling) {
      if (pair.original == mount && !is_below(child->mountpoint, directory)) continue;
      if (!options.keep_unbindable && child->unbindable) {
        if (child->locked) {  // leaving it out would uncover what it covers
          forget_tree(world, top);
          return world.refuse(EPERM, "copy.unbindable-and-locked");
        }
        continue;
      }
      if (!options.keep_namespace_files && is_mount_namespace_file(child)) continue;
      Mount* made = clone_mount(world, child, child->root, options);
      made->locked = child->locked;
      if (map != nullptr) (*map)[child] = made;
      link_mount(world, made, pair.copy, child->mountpoint);
      open.push_back({child, made});
    }
  }
  return 0;
}

void forget_tree(World& world, Mount* tree) { unmount_without_propagation(world, tree, Removal::lazy); }

bool has_locked_children(const Mount* mount, const Dentry* directory) {
  for (const Mount* child = mount->first_child; child != nullptr; child = child->next_sibling) {
    if (child->locked && is_below(child->mountpoint, directory)) return true;
  }
  return false;
}

void lock_tree(Mount* tree) {
  for (Mount* m = tree; m != nullptr; m = next_in_tree(m, tree)) {
    m->locks.atime = true;
    m->locks.read_only = m->locks.read_only || m->flags.read_only;
    m->locks.nosuid = m->locks.nosuid || m->flags.nosuid;
    m->locks.nodev = m->locks.nodev || m->flags.nodev;
    m->locks.noexec = m->locks.noexec || m->flags.noexec;
    if (m != tree) m->locked = true;
  }
}

namespace {

// One copy that propagation asks for: where, of which earlier copy (-1: of the tree itself), and as what.
struct Copy {
  Mount* at = nullptr;
  int of = -1;
  CopyAs as = CopyAs::peer;
};

bool receives(const Mount* mount, const Dentry* mountpoint) {
  return mount->ns != nullptr && !mount->ns->anonymous && is_below(mountpoint, mount->root);
}

// Slaves of a group get a slave of the nearest ancestor's copy; in a group of slaves the first copy is that slave, shared, and the
// others are its peers. A group that does not see the mountpoint gets nothing, but its own slaves may.
void plan_copies_for_slaves(const PeerGroup* group, const Dentry* mountpoint, int nearest, std::vector<Copy>& plan) {
  for (Mount* slave : group->slave_mounts) {
    if (receives(slave, mountpoint)) plan.push_back({slave, nearest, CopyAs::slave});
  }
  for (const PeerGroup* slaves : group->slave_groups) {
    int first = -1;
    for (Mount* member : slaves->members) {
      if (!receives(member, mountpoint)) continue;
      if (first < 0) {
        first = static_cast<int>(plan.size());
        plan.push_back({member, nearest, CopyAs::shared_slave});
      } else {
        plan.push_back({member, first, CopyAs::peer});
      }
    }
    plan_copies_for_slaves(slaves, mountpoint, first < 0 ? nearest : first, plan);
  }
}

std::vector<Copy> plan_copies(const Mount* parent, const Dentry* mountpoint) {
  std::vector<Copy> plan;
  if (!parent->shared()) return plan;
  for (Mount* peer : parent->group->members) {
    if (peer != parent && receives(peer, mountpoint)) plan.push_back({peer, -1, CopyAs::peer});
  }
  plan_copies_for_slaves(parent->group, mountpoint, -1, plan);
  return plan;
}

Mount* topmost_overmount(const World& world, Mount* mount) { return topmost(world, {mount, mount->root}).mount; }

// Links `tree` at a place; what stood there before stands on the tree's root afterwards ("tucked under").
void tuck(World& world, Mount* tree, Mount* parent, Dentry* mountpoint) {
  Mount* over = mounted_at(world, parent, mountpoint);
  if (over != nullptr) {
    Mount* top = topmost_overmount(world, tree);
    unlink_mount(world, over);
    link_mount(world, over, top, top->root);
    if (world.has(Quirk::lock_moves_when_tucked) && over->locked) {
      over->locked = false;
      tree->locked = true;
    }
  }
  link_mount(world, tree, parent, mountpoint);
}

}  // namespace

long attach(Task& task, Mount* tree, const Path& at, const AttachOptions& options) {
  World& world = *task.world;
  Mount* parent = at.mount;
  if (topmost_overmount(world, tree)->root->dead) return world.refuse(ENOENT, "attach.source-deleted");

  const std::vector<Copy> plan = plan_copies(parent, at.dentry);
  if (!plan.empty() && is_mount_namespace_file(tree)) return world.refuse(EINVAL, "attach.mount-namespace-file-would-propagate");
  const std::size_t size = tree_size(tree);
  std::unordered_map<const MountNamespace*, std::size_t> added;
  if (!(options.moving && tree->ns == parent->ns)) added[parent->ns] = size;
  for (const Copy& copy : plan) added[copy.at->ns] += size;
  for (const auto& [ns, count] : added) {
    if (ns->count + count > world.mount_max) return world.refuse(ENOSPC, "attach.mount-max");
  }

  if (parent->shared()) {
    for (Mount* m = tree; m != nullptr; m = next_in_tree(m, tree)) make_shared(world, m);
  }
  std::vector<Mount*> copies;
  for (const Copy& copy : plan) {
    Mount* of = copy.of < 0 ? tree : copies[static_cast<std::size_t>(copy.of)];
    Mount* made = nullptr;
    CopyOptions how;
    how.as = copy.as;
    how.keep_namespace_files = false;
    copy_tree(world, of, of->root, how, &made);
    copies.push_back(made);
  }
  if (options.moving) unlink_mount(world, tree);
  tree->expiring = false;
  enter_namespace(tree, parent->ns);
  tuck(world, tree, parent, at.dentry);
  for (std::size_t i = 0; i < plan.size(); ++i) {
    Mount* copy = copies[i];
    Mount* to = plan[i].at;
    // Into a less privileged namespace: what came from outside can only be taken away whole.
    if (to->ns->owner != task.ns->owner) lock_tree(copy);
    enter_namespace(copy, to->ns);
    tuck(world, copy, to, at.dentry);
  }
  return 0;
}

namespace {

using Set = std::unordered_set<Mount*>;

// umount2(2) takes along what propagation says: children at the same place of every receiver.
void add_cognates(World& world, const std::vector<Mount*>& asked, Set& going, std::vector<Mount*>& extra) {
  for (std::size_t i = 0; i < asked.size(); ++i) {
    Mount* mount = asked[i];
    if (mount->parent == nullptr) continue;
    for (Mount* receiver : receivers(mount->parent)) {
      Mount* cognate = mounted_at(world, receiver, mount->mountpoint);
      if (cognate == nullptr) continue;
      if (i == 0) cognate->locked = false;
      if (going.insert(cognate).second) extra.push_back(cognate);
    }
  }
}

// Something that stays is mounted strictly inside, or the lock holds it to a parent that stays.
bool must_stay(const Mount* mount, const Set& going) {
  if (mount->locked && mount->parent != nullptr && going.count(mount->parent) == 0) return true;
  for (Mount* child = mount->first_child; child != nullptr; child = child->next_sibling) {
    if (child->mountpoint == mount->root) continue;
    for (Mount* m = child; m != nullptr; m = next_in_tree(m, child)) {
      if (going.count(m) == 0) return true;
    }
  }
  return false;
}

void keep_what_must_stay(const std::vector<Mount*>& extra, Set& going) {
  for (bool changed = true; changed;) {
    changed = false;
    for (Mount* mount : extra) {
      if (going.count(mount) != 0 && must_stay(mount, going)) {
        going.erase(mount);
        changed = true;
      }
    }
  }
}

struct Slide {
  Mount* mount;
  Mount* parent;
  Dentry* mountpoint;
};

// A survivor that stands on the root of a removed stack goes down to where the stack stood.
std::vector<Slide> find_slides(const std::vector<Mount*>& removed, const Set& going) {
  std::vector<Slide> slides;
  for (Mount* mount : removed) {
    for (Mount* child = mount->first_child; child != nullptr; child = child->next_sibling) {
      if (child->mountpoint != mount->root || going.count(child) != 0) continue;
      Mount* bottom = mount;
      while (bottom->parent != nullptr && going.count(bottom->parent) != 0 && bottom->mountpoint == bottom->parent->root) {
        bottom = bottom->parent;
      }
      if (bottom->parent != nullptr) slides.push_back({child, bottom->parent, bottom->mountpoint});
    }
  }
  return slides;
}

void remove_mounts(World& world, const std::vector<Mount*>& removed, const Set& going, Removal how) {
  const std::vector<Slide> slides = find_slides(removed, going);
  for (const Slide& slide : slides) unlink_mount(world, slide.mount);
  for (Mount* mount : removed) {
    if (mount->ns != nullptr) --mount->ns->count;
    mount->ns = nullptr;
    mount->unmounted = true;
    make_private(world, mount);
  }
  for (Mount* mount : removed) {
    const bool parent_goes = mount->parent != nullptr && (mount->parent->unmounted || going.count(mount->parent) != 0);
    // A locked mount stays glued to its parent: whoever still holds the parent must not see what is below.
    const bool glued = parent_goes && (how == Removal::connected || (how == Removal::lazy && mount->locked));
    if (!glued) unlink_mount(world, mount);
  }
  for (const Slide& slide : slides) link_mount(world, slide.mount, slide.parent, slide.mountpoint);
}

std::vector<Mount*> whole_tree(Mount* top) {
  std::vector<Mount*> all;
  for (Mount* m = top; m != nullptr; m = next_in_tree(m, top)) all.push_back(m);
  return all;
}

}  // namespace

void unmount(World& world, Mount* mount, Removal how) {
  const std::vector<Mount*> asked = how == Removal::plain ? std::vector<Mount*>{mount} : whole_tree(mount);
  Set going(asked.begin(), asked.end());
  std::vector<Mount*> extra;
  add_cognates(world, asked, going, extra);
  keep_what_must_stay(extra, going);
  std::vector<Mount*> removed = asked;
  for (Mount* m : extra) {
    if (going.count(m) != 0) removed.push_back(m);
  }
  remove_mounts(world, removed, going, how);
}

void unmount_without_propagation(World& world, Mount* tree, Removal how) {
  const std::vector<Mount*> all = whole_tree(tree);
  remove_mounts(world, all, Set(all.begin(), all.end()), how);
}

std::size_t references(const World& world, const Mount* mount) {
  std::size_t count = 0;
  std::unordered_set<const OpenFile*> seen;
  for (const auto& task : world.tasks) {
    if (!task->alive) continue;
    if (task->root.mount == mount) ++count;
    if (task->cwd.mount == mount) ++count;
    for (const auto& [number, descriptor] : task->fds) {
      if (descriptor.file->path.mount == mount && seen.insert(descriptor.file.get()).second) ++count;
    }
  }
  return count;
}

bool is_busy(const World& world, const Mount* mount) {
  // A lone overmount on the root of a propagated copy does not count as a child (propagate_mount_busy(), fs/pnode.c).
  if (mount->first_child != nullptr || references(world, mount) > 0) return true;
  if (mount->parent == nullptr) return false;
  for (const Mount* receiver : receivers(mount->parent)) {
    const Mount* copy = mounted_at(world, receiver, mount->mountpoint);
    if (copy == nullptr) continue;
    const bool only_covered =
        copy->first_child != nullptr && copy->first_child == copy->last_child && copy->first_child->mountpoint == copy->root;
    if (copy->first_child != nullptr && !only_covered) continue;
    if (references(world, copy) > 0) return true;
  }
  return false;
}

void detach_mounts_on(World& world, Dentry* dentry) {
  while (!dentry->mounts_here.empty()) {
    Mount* mount = *dentry->mounts_here.begin();
    if (mount->unmounted) {
      unlink_mount(world, mount);
    } else {
      unmount_without_propagation(world, mount, Removal::connected);
    }
  }
}

bool is_local_mountpoint(const Task& task, const Dentry* dentry) {
  return std::any_of(dentry->mounts_here.begin(), dentry->mounts_here.end(), [&](const Mount* m) { return m->ns == task.ns; });
}

}  // namespace rootprep::testing::model
