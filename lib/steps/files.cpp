// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/steps/files.hpp"

#include "rootprep/plan_builder.hpp"
#include "steps/attach.hpp"

namespace rootprep {
using steps::octal;

void MakeDirectory::lower(PlanBuilder& b) const {
  if (!b.require_plain_text(path, "MakeDirectory.path")) return;
  b.close(b.open_in_root(path, {.create = Create::directory, .mode = mode, .flags = abi::o_path | abi::o_directory | abi::o_cloexec}));
}
std::string MakeDirectory::describe() const { return "make directory " + path + " (" + octal(mode) + ')'; }

void MakeSymlink::lower(PlanBuilder& b) const {
  if (!b.require_plain_text(path, "MakeSymlink.path") || !b.require_plain_text(target, "MakeSymlink.target")) return;
  std::string name;
  Fd directory = b.open_parent_in_root(path, name);
  Call made = b.symlinkat(target, directory, name);
  if (keep_existing) made.allow({EEXIST});
  b.close(directory);
}
std::string MakeSymlink::describe() const { return "make symbolic link " + path + " -> " + target; }

void WriteFile::lower(PlanBuilder& b) const {
  if (!b.require_plain_text(path, "WriteFile.path")) return;
  std::string name;
  Fd directory = b.open_parent_in_root(path, name);
  b.unlinkat(directory, name).allow({ENOENT});
  Fd file = b.openat(directory, name, abi::o_wronly | abi::o_creat | abi::o_excl | abi::o_nofollow | abi::o_cloexec, mode);
  if (!content.empty()) b.write(file, content);
  b.close(file);
  b.close(directory);
}
std::string WriteFile::describe() const {
  return "write file " + path + " (" + std::to_string(content.size()) + " bytes, " + octal(mode) + ')';
}

void RemoveFile::lower(PlanBuilder& b) const {
  if (!b.require_plain_text(path, "RemoveFile.path")) return;
  std::string name;
  Fd directory = b.open_parent_in_root(path, name, Create::nothing);
  b.unlinkat(directory, name).allow({ENOENT});
  b.close(directory);
}
std::string RemoveFile::describe() const { return "remove file " + path; }

void SetPropagation::lower(PlanBuilder& b) const {
  if (!b.require_plain_text(path, "SetPropagation.path")) return;
  if (steps::is_root(path)) {
    steps::set_propagation(b, b.root(), propagation, recursive);
    return;
  }
  Fd mount = b.open_in_root(path);
  steps::set_propagation(b, mount, propagation, recursive);
  b.close(mount);
}
std::string SetPropagation::describe() const { return "make " + path + (recursive ? " recursively " : " ") + name_of(propagation); }

}  // namespace rootprep
