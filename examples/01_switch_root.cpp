// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors

// `unshare -m; mount --bind new new; pivot_root new new`, first without the bind, as everybody tries it once. It prints:
//
//   --- pivot_root(2) to a directory that is no mount ---
//   step 1 failed: enter root by pivot_root
//     operation 4: pivot_root(".", ".")
//     EINVAL: Invalid argument
//   likely causes, the likeliest first:
//     1. the new root is a plain directory, not the root of a mount (RP-PIVOT-NOT-MOUNTPOINT)
//        remedy: bind it on itself first (PrepareRoot{.mount = RootMount::bind}; by hand: mount --rbind
//                DIR DIR) and open it after that: a descriptor that was opened before lies under the new
//                mount
//     2. the current root is the initramfs, which cannot be pivoted before Linux 7.0; or it is no mount,
//        because the whole process runs in a chroot (RP-PIVOT-INITRAMFS)
//        remedy: EnterRoot with allow_move (its default), which moves the new root over / instead; or
//                boot with a real root (switch_root)
//   --- pivot_root(2) to where we are ---
//   step 1 failed: enter root by pivot_root
//     operation 4: pivot_root(".", ".")
//     EBUSY: Device or resource busy
//   cause:  the new root is the current root (RP-PIVOT-CURRENT-ROOT)
//   remedy: use another directory, or bind this one on itself first: the new mount is another root
//   --- with the bind ---
//   bin
#include "rootprep/steps.hpp"
#include "support.hpp"

namespace {

// The classic mistakes, and what the kernel answers.
bool fails(const char* title, const rootprep::Pipeline& pipeline) {
  std::cout << title << '\n';
  return example::run(example::compile_or_exit(pipeline), {.exec = {"/bin/ls", "/"}}) != 0;
}

}  // namespace

rootprep::Pipeline example::switch_root() { return {rootprep::PrepareRoot{.path = "/tmp/new"}, rootprep::PivotRoot{}}; }

int main() {
  using namespace rootprep;
  example::use_private_tmp();
  example::make_image("/tmp/new");

  const bool both_fail = fails("--- pivot_root(2) to a directory that is no mount ---",
                               {PrepareRoot{.path = "/tmp/new", .mount = RootMount::none}, PivotRoot{}}) &&
                         fails("--- pivot_root(2) to where we are ---", {PrepareRoot{.path = "/", .mount = RootMount::none}, PivotRoot{}});
  if (!both_fail) return 1;

  std::cout << "--- with the bind ---\n";
  return example::run(example::compile_or_exit(example::switch_root()), {.exec = {"/bin/ls", "/"}});
}
