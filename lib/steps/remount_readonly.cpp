// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/steps/remount_readonly.hpp"

#include "plan/host_path.hpp"
#include "rootprep/plan_builder.hpp"
#include "steps/attach.hpp"

namespace rootprep {
namespace {

struct Exception {
  std::string place{};
  Fd tree{};
};

constexpr std::uint64_t clone_tree = abi::open_tree_clone | abi::open_tree_cloexec | abi::at_recursive;

// A mount of its own for `path`, on top of what is there: its descriptor.
Fd own_mount(PlanBuilder& b, const std::string& path) {
  Fd target = b.open_in_root(path);
  Fd tree = b.open_tree(target, clone_tree);
  b.move_mount(tree, target);
  b.close(target);
  return tree;
}

}  // namespace

void RemountReadonly::lower(PlanBuilder& b) const {
  const MountAttributes readonly{.ro = Setting::set};
  if (!b.require_plain_text(path, "RemountReadonly.path")) return;
  if (!steps::require_attributes(b, readonly, recursive, "RemountReadonly.recursive")) return;
  const bool whole_root = steps::is_root(path);
  if (!b.features().mount_by_descriptor && (!whole_root || !writable.empty())) {
    b.fail(PlanErrc::unsupported_by_kernel, "RemountReadonly.path", path, "Linux 5.2 for a path below the root or for exceptions");
    return;
  }
  std::vector<Exception> exceptions;
  for (const std::string& place : writable) {
    if (!b.require_plain_text(place, "RemountReadonly.writable")) return;
    if (!whole_root && !host_path::is_below(host_path::relative_to_root(place), host_path::relative_to_root(path))) {
      b.fail(PlanErrc::bad_value, "RemountReadonly.writable", place, "a place below " + path);
      return;
    }
    Fd target = b.open_in_root(place);
    Fd tree = b.open_tree(target, clone_tree);
    b.close(target);
    exceptions.push_back({place, tree});
  }
  if (whole_root) {
    steps::set_attributes(b, b.root(), readonly, recursive);
  } else {
    Fd tree = own_mount(b, path);
    steps::set_attributes(b, tree, readonly, recursive);
    b.close(tree);
  }
  for (const Exception& exception : exceptions) {
    Fd target = b.open_in_root(exception.place);  // not before: what was opened below `path` lies under the mount that it has got now
    b.move_mount(exception.tree, target);
    b.close(target);
    b.close(exception.tree);
  }
}

std::string RemountReadonly::describe() const {
  std::string text = "make " + path + " read-only";
  if (recursive) text += ", with all mounts below";
  const char* separator = ", except ";
  for (const std::string& place : writable) {
    text.append(separator).append(place);
    separator = ", ";
  }
  return text;
}

}  // namespace rootprep
