// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>

namespace rootprep {

// How far launch() came. On a failure: the stage that failed. In the order in which they happen.
enum class LaunchStage : std::uint8_t {
  options = 0,        // before any side effect: a value of LaunchOptions cannot be used; see LaunchReport::problems
  resources,          // the parent: a pipe, an eventfd, the memory of the child's stack
  clone,              // clone(2): the namespaces could not be made
  id_maps,            // the parent: /proc/PID/uid_map, gid_map, setgroups, or newuidmap(1) and newgidmap(1)
  start,              // the child: signal dispositions, session, waiting for the parent
  user_namespace,     // the child: becoming user 0 of its user namespace
  hostname,           // the child: sethostname(2), setdomainname(2)
  plan,               // the child: an operation of the plan; see Error::operation
  working_directory,  // the child: chdir(2), and the proof that it lies inside the root
  descriptors,        // the child: descriptors passed on, all others closed
  credentials,        // the child: setgroups(2), setresgid(2), setresuid(2), no_new_privs, parent-death signal
  child_function,     // the child: LaunchOptions::run_in_child
  exec,               // the child: execve(2); everything before has succeeded
  running,            // the program runs
};

}  // namespace rootprep
