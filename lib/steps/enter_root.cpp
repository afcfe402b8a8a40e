// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/steps/enter_root.hpp"

#include <vector>

#include "rootprep/plan_builder.hpp"

namespace rootprep {
namespace {

void pivot(PlanBuilder& b) {
  const bool must_separate = !b.nothing_shared();
  Fd old_root;
  if (must_separate) old_root = b.openat(Fd::cwd(), "/", abi::o_path | abi::o_directory | abi::o_cloexec).descriptor("old_root");
  b.fchdir(b.root());
  // pivot_root(2): "." twice stacks the old root on the new one.
  b.pivot_root(".", ".").enters(RootEntry::pivot_root);
  if (must_separate) {
    // The unmount must not reach the host. Slave, not private: the host's own unmounts still arrive until the detach, so nothing stays busy
    // there.
    b.fchdir(old_root);
    b.mount(nullptr, ".", nullptr, abi::ms_slave | abi::ms_rec, nullptr);
    b.close(old_root);
  }
  // "." is looked up to the topmost mount there: the old root.
  b.umount2(".", abi::mnt_detach);
  if (must_separate) b.chdir("/");  // else the working directory is the new root already
}

void move(PlanBuilder& b) {
  b.hide_host_filesystems();
  b.fchdir(b.root());
  b.mount(".", "/", nullptr, abi::ms_move, nullptr);
  b.chroot(".").enters(RootEntry::move_root);  // the working directory is the new root already
}

void change_root(PlanBuilder& b) {
  b.fchdir(b.root());
  b.chroot(".").enters(RootEntry::chroot);
}

}  // namespace

void PivotRoot::lower(PlanBuilder& b) const {
  pivot(b);
  b.mark_entered();
}
std::string PivotRoot::describe() const { return "enter root by pivot_root"; }

void MsMoveRoot::lower(PlanBuilder& b) const {
  move(b);
  b.mark_entered();
}
std::string MsMoveRoot::describe() const { return "enter root by moving it over /"; }

void Chroot::lower(PlanBuilder& b) const {
  change_root(b);
  b.mark_entered();
}
std::string Chroot::describe() const { return "enter root by chroot (no security boundary)"; }

void EnterRoot::lower(PlanBuilder& b) const {
  std::vector<PlanBuilder::Alternative> ways;
  ways.push_back(
      {pivot,
       {EINVAL},
       allow_move ? "pivot_root refused (as on an initramfs): the root is moved over / instead" : "pivot_root refused: chroot instead"});
  if (allow_move) {
    ways.push_back({move, {}, {}});
  } else if (allow_chroot) {
    ways.push_back({change_root, {}, {}});
  }
  b.first_of(ways);
  b.mark_entered();
}

std::string EnterRoot::describe() const {
  return std::string{"enter root by pivot_root"} + (allow_move ? ", or by moving it" : allow_chroot ? ", or by chroot" : "");
}

}  // namespace rootprep
