// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/steps/prepare_root.hpp"

#include "rootprep/plan_builder.hpp"
#include "steps/attach.hpp"

namespace rootprep {

void PrepareRoot::lower(PlanBuilder& b) const {
  if (!b.require_directory(path, "PrepareRoot.path")) return;
  if (propagation == Propagation::keep) {
    b.fail(PlanErrc::bad_value, "PrepareRoot.propagation", "keep",
           "private_, slave, shared or unbindable: mounts must not leave the namespace by accident");
    return;
  }
  constexpr std::uint64_t directory_flags = abi::o_path | abi::o_directory | abi::o_cloexec;
  b.in_prologue([&] {
    // Of an unbindable mount nothing could be bound into the new root, which becomes unbindable itself once it was entered.
    const Propagation around = propagation == Propagation::unbindable ? Propagation::private_ : propagation;
    b.mount(nullptr, "/", nullptr, propagation_flag(around) | (recursive ? abi::ms_rec : 0), nullptr);
    const bool separated = recursive && around != Propagation::shared;
    if (separated) b.mark_nothing_shared();

    Fd directory = b.openat(Fd::cwd(), path, directory_flags);
    if (!(recursive && around == Propagation::private_)) {
      // A slave still receives: the host could mount over the root while we work in it.
      Call call = b.make_parent_private(directory);
      // Since 6.17 a mount that this user namespace does not own cannot be changed (CVE-2025-38498); there it is a slave of the host's
      // anyway.
      if (b.user_namespace()) call.allow({EPERM});
    }
    if (mount == RootMount::none) {
      b.set_root(directory, path);
    } else if (b.features().mount_by_descriptor) {
      Fd tree = b.open_tree(directory, abi::open_tree_clone | abi::open_tree_cloexec | abi::at_recursive);
      b.move_mount(tree, directory);
      b.close(directory);
      b.set_root(tree, path);
    } else {
      b.mount(Text::path_of(directory), Text::path_of(directory), nullptr, abi::ms_bind | abi::ms_rec, nullptr);
      b.close(directory);
      Fd top = b.openat(Fd::cwd(), path, directory_flags);
      b.set_root(top, path);
    }
  });
  if (propagation == Propagation::shared || propagation == Propagation::unbindable) {
    b.on_entered([propagation = propagation, recursive = recursive](PlanBuilder& inside) {
      steps::set_propagation(inside, inside.root(), propagation, recursive);
    });
  }
}

std::string PrepareRoot::describe() const {
  return "prepare root " + path + " (" + (recursive ? "r" : "") + name_of(propagation) +
         (mount == RootMount::bind ? ", bound on itself" : "") + ')';
}

}  // namespace rootprep
