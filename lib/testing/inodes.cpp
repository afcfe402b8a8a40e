// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "testing/inodes.hpp"

#include <algorithm>

#include "testing/filesystem_types.hpp"
#include "testing/overlay.hpp"
#include "testing/procfs.hpp"

namespace rootprep::testing::model {

Inode* new_inode(World& world, Kind kind, unsigned mode, unsigned uid, unsigned gid) {
  auto inode = std::make_unique<Inode>();
  inode->number = world.next_inode++;
  inode->kind = kind;
  inode->mode = mode;
  inode->uid = uid;
  inode->gid = gid;
  if (kind == Kind::directory) inode->links = 2;
  world.inodes.push_back(std::move(inode));
  return world.inodes.back().get();
}

Dentry* new_dentry(World& world, Superblock* superblock, Dentry* parent, std::string_view name, Inode* inode) {
  auto dentry = std::make_unique<Dentry>();
  dentry->superblock = superblock;
  dentry->parent = parent;
  dentry->name = name;
  dentry->inode = inode;
  Dentry* made = dentry.get();
  world.dentries.push_back(std::move(dentry));
  if (parent != nullptr) parent->children.emplace(std::string(name), made);
  return made;
}

Superblock* new_superblock(World& world, const FilesystemType* type, UserNamespace* owner, std::string_view source) {
  auto superblock = std::make_unique<Superblock>();
  superblock->type = type;
  superblock->owner = owner;
  superblock->source = source;
  superblock->device_minor = world.next_minor++;
  world.superblocks.push_back(std::move(superblock));
  return world.superblocks.back().get();
}

Inode& attributes(Dentry* dentry) {
  for (;;) {
    Inode& inode = *dentry->inode;
    if (inode.upper != nullptr) {
      dentry = inode.upper;
    } else if (!inode.lower.empty()) {
      dentry = inode.lower.front();
    } else {
      return inode;
    }
  }
}
const Inode& attributes(const Dentry* dentry) { return attributes(const_cast<Dentry*>(dentry)); }

bool is_directory(const Dentry* dentry) { return attributes(dentry).kind == Kind::directory; }

bool is_below(const Dentry* below, const Dentry* above) {
  for (const Dentry* d = below; d != nullptr; d = d->parent) {
    if (d == above) return true;
  }
  return false;
}

std::string path_in_filesystem(const Dentry* dentry) {
  if (dentry->parent == nullptr) {
    if (dentry->inode->mount_namespace != nullptr || dentry->inode->user_namespace != nullptr ||
        dentry->inode->plain_namespace != nullptr) {
      return dentry->name;
    }
    return "/";
  }
  std::string path;
  for (const Dentry* d = dentry; d->parent != nullptr; d = d->parent) path.insert(0, "/" + d->name);
  if (dentry->dead) path += "//deleted";
  return path;
}

Dentry* lookup_child(Task& task, Dentry* directory, std::string_view name, long& error) {
  error = 0;
  if (directory->dead) return nullptr;
  switch (directory->superblock->type->behaviour) {
    case Behaviour::proc: return procfs_lookup(task, directory, name, error);
    case Behaviour::overlay: return overlay_lookup(*task.world, directory, name, error);
    default: break;
  }
  const auto found = directory->children.find(name);
  return found == directory->children.end() ? nullptr : found->second;
}

std::string link_text(const Task& task, const Dentry* link) {
  const Inode& inode = attributes(link);
  if (inode.proc != ProcEntry::none) return procfs_link_text(task, link);
  return inode.data;
}

unsigned full_mode(const Inode& inode) {
  switch (inode.kind) {
    case Kind::directory: return inode.mode | static_cast<unsigned>(abi::s_ifdir);
    case Kind::regular: return inode.mode | static_cast<unsigned>(abi::s_ifreg);
    case Kind::symlink: return inode.mode | static_cast<unsigned>(abi::s_iflnk);
    case Kind::character: return inode.mode | static_cast<unsigned>(abi::s_ifchr);
    case Kind::block: return inode.mode | static_cast<unsigned>(abi::s_ifblk);
    case Kind::fifo: return inode.mode | static_cast<unsigned>(abi::s_ififo);
    case Kind::socket: break;
  }
  return inode.mode | static_cast<unsigned>(abi::s_ifsock);
}

namespace {

// One of the inodes that tmpfs's option nr_inodes allows.
long take_inode(World& world, Superblock& superblock) {
  if (superblock.inode_limit != 0 && superblock.inodes >= superblock.inode_limit) return world.refuse(ENOSPC, "tmpfs.no-inodes-left");
  ++superblock.inodes;
  return 0;
}

long create_in_memory(World& world, Dentry* directory, std::string_view name, const NewNode& node, Dentry** made) {
  Superblock& superblock = *directory->superblock;
  if (const long error = take_inode(world, superblock); error != 0) return error;
  Inode* inode = new_inode(world, node.kind, node.mode, node.uid, node.gid);
  const Inode& parent = attributes(directory);
  if ((parent.mode & 02000U) != 0) {  // inode(7): a set-group-ID directory gives its group on, and a directory the bit
    inode->gid = parent.gid;
    if (node.kind == Kind::directory) inode->mode |= 02000U;
  }
  inode->rdev = node.rdev;
  inode->data = node.data;
  if (node.kind == Kind::directory) ++directory->inode->links;
  *made = new_dentry(world, &superblock, directory, name, inode);
  if (superblock.type->behaviour == Behaviour::cgroup2 && node.kind == Kind::directory) populate_cgroup(world, *made);
  return 0;
}

}  // namespace

long create_child(World& world, Dentry* directory, std::string_view name, const NewNode& node, Dentry** made) {
  if (name.size() > name_max) return world.refuse(ENAMETOOLONG, "path.component-too-long");
  const FilesystemType& type = *directory->superblock->type;
  switch (type.behaviour) {
    case Behaviour::overlay: return overlay_create(world, directory, name, node, made);
    case Behaviour::memory: return create_in_memory(world, directory, name, node, made);
    case Behaviour::cgroup2:
      if (node.kind != Kind::directory) return world.refuse(EPERM, "fs.makes-no-such-node");
      return create_in_memory(world, directory, name, node, made);
    case Behaviour::mqueue:
      if (node.kind != Kind::regular) return world.refuse(EPERM, "fs.makes-no-such-node");
      return create_in_memory(world, directory, name, node, made);
    default: return world.refuse(node.kind == Kind::regular ? EACCES : EPERM, "fs.makes-no-such-node");
  }
}

bool has_children(Task& task, Dentry* directory) {
  if (directory->superblock->type->behaviour == Behaviour::overlay) return !overlay_names(*task.world, directory).empty();
  if (directory->superblock->type->behaviour == Behaviour::cgroup2) {
    return std::any_of(directory->children.begin(), directory->children.end(), [](const auto& c) { return is_directory(c.second); });
  }
  return !directory->children.empty();
}

std::vector<std::string> child_names(Task& task, Dentry* directory) {
  switch (directory->superblock->type->behaviour) {
    case Behaviour::overlay: return overlay_names(*task.world, directory);
    case Behaviour::proc: return procfs_names(task, directory);
    default: break;
  }
  std::vector<std::string> names;
  for (const auto& child : directory->children) names.push_back(child.first);
  return names;
}

long remove_child(World& world, Dentry* child) {
  const FilesystemType& type = *child->superblock->type;
  switch (type.behaviour) {
    case Behaviour::overlay: return overlay_remove(world, child);
    case Behaviour::memory:
    case Behaviour::mqueue:
    case Behaviour::cgroup2: break;
    default: return world.refuse(EPERM, "fs.removes-nothing");
  }
  Dentry* parent = child->parent;
  if (is_directory(child)) {
    --parent->inode->links;
    child->inode->links = 0;
  } else if (child->inode->links > 0) {
    --child->inode->links;
  }
  Superblock& superblock = *child->superblock;
  if (superblock.inodes > 0) --superblock.inodes;
  if (child->inode->links == 0) {
    superblock.used -= std::min<std::uint64_t>(superblock.used, child->inode->data.size());
  }
  parent->children.erase(child->name);
  child->dead = true;
  return 0;
}

long rename_child(World& world, Dentry* from, Dentry* to_directory, std::string_view name, bool exchange) {
  const FilesystemType& type = *from->superblock->type;
  if (type.behaviour == Behaviour::overlay) return overlay_rename(world, from, to_directory, name, exchange);
  if (type.behaviour != Behaviour::memory) return world.refuse(EPERM, "fs.renames-nothing");
  Dentry* from_directory = from->parent;
  const auto found = to_directory->children.find(name);
  Dentry* target = found == to_directory->children.end() ? nullptr : found->second;
  if (target != nullptr && exchange) {
    std::string old_name = from->name;
    from_directory->children[old_name] = target;
    to_directory->children[std::string(name)] = from;
    std::swap(from->name, target->name);
    std::swap(from->parent, target->parent);
    return 0;
  }
  if (target != nullptr) {
    if (const long error = remove_child(world, target); error != 0) return error;
  }
  from_directory->children.erase(from->name);
  if (is_directory(from) && from_directory != to_directory) {
    --from_directory->inode->links;
    ++to_directory->inode->links;
  }
  from->name = name;
  from->parent = to_directory;
  to_directory->children.emplace(std::string(name), from);
  return 0;
}

long link_child(World& world, Dentry* existing, Dentry* to_directory, std::string_view name) {
  const FilesystemType& type = *existing->superblock->type;
  if (type.behaviour == Behaviour::overlay) return overlay_link(world, existing, to_directory, name);
  if (type.behaviour != Behaviour::memory) return world.refuse(EPERM, "fs.makes-no-links");
  if (name.size() > name_max) return world.refuse(ENAMETOOLONG, "path.component-too-long");
  // shmem_link(), mm/shmem.c: a name more costs what an inode costs.
  if (const long error = take_inode(world, *existing->superblock); error != 0) return error;
  ++existing->inode->links;
  new_dentry(world, existing->superblock, to_directory, name, existing->inode);
  return 0;
}

long make_writable(World& world, Dentry* dentry) {
  if (dentry->superblock->type->behaviour == Behaviour::overlay) return overlay_copy_up(world, dentry);
  return 0;
}

long resize(World& world, Dentry* dentry, std::uint64_t size) {
  Dentry* real = dentry;
  while (real->inode->upper != nullptr) real = real->inode->upper;
  Superblock& superblock = *real->superblock;
  Inode& inode = *real->inode;
  const std::uint64_t old_size = inode.data.size();
  if (size > old_size && superblock.size_limit != 0 && superblock.used + (size - old_size) > superblock.size_limit) {
    return world.refuse(ENOSPC, "tmpfs.size-limit");
  }
  if (size > (std::uint64_t{1} << 30U)) return world.unmodelled("files larger than 1 GiB");
  inode.data.resize(size);
  superblock.used = superblock.used + size - std::min(superblock.used + size, old_size);
  return 0;
}

}  // namespace rootprep::testing::model
