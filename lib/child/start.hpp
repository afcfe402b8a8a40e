// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "child/frame.hpp"
#include "rootprep/launch_stage.hpp"

// Runs between clone() and execve(). No allocation, locks, errno, exceptions, containers.
namespace rootprep::child {

// What the child tells its parent. Written right before execve(2) with stage `running`, and once more if something fails.
struct StartReport {
  Report plan{};
  Error error{};
  LaunchStage stage = LaunchStage::start;
  std::uint8_t noexec = 0;
  std::uint16_t head_size = 0;
  std::uint32_t program = 0;  // index of the path that `exec` is about
  std::uint32_t mode = 0;     // of that file
  std::uint32_t reserved = 0;
  char head[64] = {};          // its first bytes
  char interpreter[256] = {};  // missing
};
// Both reports fit into the pipe, and nobody may be reading it: a pipe has at least one page (pipe(7)), and each write(2) is atomic.
static_assert(2 * sizeof(StartReport) <= PIPE_BUF);
static_assert(std::is_trivially_copyable_v<StartReport>);

struct PassedTo {
  int from = -1;
  int to = -1;
  int moved = -1;  // where it waits until all targets are free
};

// All that enter() needs: pointers into memory that the parent has made. Nothing here owns anything.
struct Start {
  Frame* frame = nullptr;
  StartReport report{};

  int report_pipe = -1;
  int go = -1;      // eventfd: the id maps are written; -1: nothing to wait for
  int parent = -1;  // pidfd of the parent; -1: not known

  // namespaces
  bool become_root = false;  // user 0 of the user namespace
  bool drop_groups = false;
  const char* hostname = nullptr;
  std::size_t hostname_size = 0;
  const char* domainname = nullptr;
  std::size_t domainname_size = 0;

  const char* working_directory = nullptr;

  // descriptors
  PassedTo* passed = nullptr;  // sorted by `to`
  std::size_t passed_count = 0;
  bool close_range = true;  // close_range(2) knows CLOSE_RANGE_CLOEXEC (Linux 5.11); else /proc/self/fd is read

  // credentials
  bool set_groups = false;
  const std::uint32_t* groups = nullptr;
  std::size_t group_count = 0;
  bool set_ids = false;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  bool no_new_privileges = true;
  int parent_death_signal = 0;

  // signals and session
  bool keep_ignored_signals = false;
  std::uint64_t signal_mask = 0;
  bool set_umask = false;
  std::uint32_t umask = 0;
  bool new_session = false;
  bool controlling_terminal = false;

  UserFunction function = nullptr;
  const void* function_data = nullptr;
  std::size_t function_data_size = 0;

  const char* const* programs = nullptr;  // paths to try, in this order
  std::size_t program_count = 0;
  const char* const* argv = nullptr;
  const char* const* envp = nullptr;
};

// The life of the child, from clone() to execve(): `start` is a Start. Does not return, but does not say so: a compiler that instruments
// the caller would call its run time before a function that is [[noreturn]]. The type is that of clone(2).
int enter(void* start) noexcept;

}  // namespace rootprep::child
