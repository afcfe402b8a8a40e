// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include "testing/world.hpp"

// Names and contents of files: what a file system does once a path has been walked. tmpfs keeps its dentries; procfs makes them
// up at lookup; overlay looks through its layers.
namespace rootprep::testing::model {

Inode* new_inode(World& world, Kind kind, unsigned mode, unsigned uid, unsigned gid);
Dentry* new_dentry(World& world, Superblock* superblock, Dentry* parent, std::string_view name, Inode* inode);
Superblock* new_superblock(World& world, const FilesystemType* type, UserNamespace* owner, std::string_view source);

bool is_directory(const Dentry* dentry);
// The inode that holds kind, mode, owner and contents: of an overlay's dentry that of the layer it comes from.
Inode& attributes(Dentry* dentry);
const Inode& attributes(const Dentry* dentry);

// `below` is `above` or inside it, by parent links.
bool is_below(const Dentry* below, const Dentry* above);
// Path from the file system's root, "/a/b"; with "//deleted" as mountinfo has it.
std::string path_in_filesystem(const Dentry* dentry);

// The entry of a directory, nullptr where there is none; error gets the file system's own refusal (0: plainly absent).
Dentry* lookup_child(Task& task, Dentry* directory, std::string_view name, long& error);
// What a symbolic link contains, for this process (/proc/self differs).
std::string link_text(const Task& task, const Dentry* link);

// Make `name` in `directory` (which exists and has no such name). The errno of the file system itself: EPERM where it makes
// nothing of the kind, ENOSPC at tmpfs's limits.
struct NewNode {
  Kind kind = Kind::regular;
  unsigned mode = 0;
  unsigned uid = 0, gid = 0;
  std::uint32_t rdev = 0;
  std::string data{};
};
long create_child(World& world, Dentry* directory, std::string_view name, const NewNode& node, Dentry** made);
long remove_child(World& world, Dentry* child);
long rename_child(World& world, Dentry* from, Dentry* to_directory, std::string_view name, bool exchange);
long link_child(World& world, Dentry* existing, Dentry* to_directory, std::string_view name);
bool has_children(Task& task, Dentry* directory);
std::vector<std::string> child_names(Task& task, Dentry* directory);

// Before contents or attributes change: overlay copies the object up. 0 or -errno.
long make_writable(World& world, Dentry* dentry);
long resize(World& world, Dentry* dentry, std::uint64_t size);

unsigned full_mode(const Inode& inode);  // with S_IF*

}  // namespace rootprep::testing::model
