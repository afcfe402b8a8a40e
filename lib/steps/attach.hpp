// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <string_view>

#include "rootprep/plan_builder.hpp"
#include "rootprep/steps/mount_attributes.hpp"
#include "rootprep/steps/mount_spec.hpp"

// What the mounting steps share.
namespace rootprep::steps {

// Can these attributes be set on this kernel, one by one or on a whole tree? If not: fail().
bool require_attributes(PlanBuilder& b, const MountAttributes& attributes, bool recursive, std::string_view field);

// Changes the attributes and the propagation of a mount by a descriptor of its root. `detached`: not yet in the namespace.
void set_attributes(PlanBuilder& b, Fd mount, const MountAttributes& attributes, bool recursive);
void set_propagation(PlanBuilder& b, Fd mount, Propagation propagation, bool recursive);

// A new file system, created and configured but not attached: the descriptor of its detached mount (needs features().mount_by_descriptor).
Fd detached_filesystem(PlanBuilder& b, const std::string& type, const std::string& source, const std::vector<FilesystemOption>& options,
                       const MountAttributes& attributes);

// mount(2) of a file system on the directory `target`.
void mount_on(PlanBuilder& b, Fd target, const std::string& source, const std::string& type, std::uint64_t flags, const std::string& data);

// Mounts a file system (not a bind) on `name`, which exists in `directory` and is no symbolic link.
void mount_below(PlanBuilder& b, const MountSpec& spec, Fd directory, const std::string& name);

// mount(2)'s data: "size=64k,mode=755".
std::string option_text(PlanBuilder& b, const std::vector<FilesystemOption>& options, std::string_view field);

// The descriptor of what is mounted topmost at `target` inside the root. A descriptor that was opened before mount(2) lies under the new
// mount.
Fd reopen_topmost(PlanBuilder& b, std::string_view target);

bool is_root(std::string_view target);

// `top` was mounted over the root: it is the new root from now on, and the descriptor of the covered one is closed.
void replace_root(PlanBuilder& b, Fd top);

// "0755"
std::string octal(std::uint32_t mode);

}  // namespace rootprep::steps
