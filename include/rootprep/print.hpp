// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "rootprep/error.hpp"
#include "rootprep/export.hpp"
#include "rootprep/plan.hpp"

// Plans as text. All of it is made from the operations, so a plan that was read from JSON prints the same. Everything here allocates and is
// for the parent; nothing here runs or opens anything.
namespace rootprep {

// Example:
//
//   std::cout << rootprep::to_text(plan);
//
//   plan: 57 operations in 6 steps, needs CAP_SYS_ADMIN and Linux 6.15
//   prologue: while the host is visible
//   step 0  prepare root /srv/root (rslave, bound on itself)
//     0  mount(NULL, "/", NULL, MS_REC|MS_SLAVE, NULL)
//     1  openat(AT_FDCWD, "/srv/root", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = fd0
//     ...
//   body: inside the new root
//   step 1  mount proc on /proc
//    12  openat2(root, "proc", {flags=O_RDONLY|O_CLOEXEC|O_PATH, resolve=...}, 24) = fd3 [ENOENT -> 14: the target does not exist: created]
//    [then -> 15]
//
// One line an operation, in the notation of strace(1): names, argument order, flags and their order, quoting. The numbers are the indices
// of Plan::operations() and Plan::steps(), as in Error. Instead of descriptor numbers, which do not exist yet, it shows Plan::slot_name().
// "/proc/self/fd/{fd3}" is a path that gets the number of fd3 when it runs. In brackets: errnos that are no failure ("[EEXIST ok]") and
// jumps. Bytes to be written are cut after 256, texts never.
ROOTPREP_EXPORT std::string to_text(const Plan& plan);

// One operation alone, without its number and without a line end. An index outside the plan gives "no operation".
ROOTPREP_EXPORT std::string to_text(const Plan& plan, std::uint32_t operation);

// The mounts of the new root as they will be, like findmnt(8):
//
//   TARGET     SOURCE    FSTYPE  OPTIONS
//   /          overlay   overlay ro,lowerdir+=/srv/app,lowerdir+=/srv/base,upperdir=...
//   ├─/proc    proc      proc    rw,nosuid,nodev,noexec
//   ├─/data    /srv/data rbind   ro
//   └─/dev     tmpfs     tmpfs   rw,nosuid,strictatime,size=67108864,mode=0755
//
// The way of success: no alternatives. A bind shows what is set and cleared on it; everything else stays as it is at its source, and with
// "rbind" the mounts below the source come along.
ROOTPREP_EXPORT std::string to_tree(const Plan& plan);

// A plan as a script for sh(1) with the commands of util-linux and coreutils, that really runs:
//
//   unshare --mount sh SCRIPT [COMMAND...]
//
// For reading, and for trying with images that are trusted: a shell has paths where the plan has descriptors, so a symbolic link in an
// image can lead it to the host. It cannot tell one errno from another, so it follows the way of success, and says in comments what the
// plan would do otherwise. What a shell cannot do at all (a function of the program, an unknown system call) makes it stop there. After
// pivot_root(8) it uses the commands of the new root.
ROOTPREP_EXPORT std::string to_shell(const Plan& plan);

// A plan as JSON, to be kept, compared, sent to another machine of the same kind, or written by another program: system calls, flags and
// errnos by their names, one line an operation. PlanErrc::not_portable for a plan with a function of this process (PlanBuilder::call()).
ROOTPREP_EXPORT result<std::string> to_json(const Plan& plan);

// The plan back, equal to the one that was written. It is verified (verify(), plan.hpp) before anybody can run it; what it does to the
// machine is for its reader to judge, with to_text(). Descriptors that the caller held are numbers in it, and must mean the same again.
// PlanErrc::bad_format (Error::operation says where), format_version, and those of verify(). Throws nothing but std::bad_alloc.
ROOTPREP_EXPORT result<Plan> plan_from_json(std::string_view text);

}  // namespace rootprep
