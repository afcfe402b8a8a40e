// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include "rootprep/launch.hpp"

namespace rootprep_run {

// The signals that end a program, or that a terminal sends: blocked from construction on, to be read by supervise(). A resource.
class ForwardedSignals {
 public:
  ForwardedSignals();  // throws Complaint
  ForwardedSignals(const ForwardedSignals&) = delete;
  ForwardedSignals& operator=(const ForwardedSignals&) = delete;
  ~ForwardedSignals();
  int descriptor() const noexcept { return descriptor_; }

 private:
  int descriptor_ = -1;
};

// Waits for the end of the container and passes signals on meanwhile. The result is an exit status as a shell has it. Throws Complaint.
//
// The command is process 1 of its PID namespace, and such a process ignores every signal that it has no handler for (pid_namespaces(7)): a
// `sleep` could not be interrupted. What the signal would have done to any other process is done here instead: the container ends.
int supervise(rootprep::Child& child, const ForwardedSignals& signals);

}  // namespace rootprep_run
