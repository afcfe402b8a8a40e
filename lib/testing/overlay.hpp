// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include "testing/inodes.hpp"
#include "testing/world.hpp"

// The overlay's merged view. Documentation/filesystems/overlayfs.rst; conditions and errnos measured on 6.18.
namespace rootprep::testing::model {

Dentry* overlay_lookup(World& world, Dentry* directory, std::string_view name, long& error);
std::vector<std::string> overlay_names(World& world, Dentry* directory);
long overlay_create(World& world, Dentry* directory, std::string_view name, const NewNode& node, Dentry** made);
long overlay_remove(World& world, Dentry* child);
long overlay_rename(World& world, Dentry* from, Dentry* to_directory, std::string_view name, bool exchange);
long overlay_link(World& world, Dentry* existing, Dentry* to_directory, std::string_view name);
long overlay_copy_up(World& world, Dentry* dentry);

// Options of mount(2) and fsconfig(2), and the checks of the layers.
bool overlay_knows(const World& world, std::string_view key);
long overlay_option(Task& task, FilesystemContext& context, const std::string& key, const std::string& value, bool has_value);
long overlay_layer_by_descriptor(Task& task, FilesystemContext& context, const std::string& key, const Path& path);
// All options at once, as before 6.5.
long overlay_legacy_options(Task& task, FilesystemContext& context, const std::vector<std::string>& options);
long overlay_superblock(Task& task, FilesystemContext& context);

}  // namespace rootprep::testing::model
