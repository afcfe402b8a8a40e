// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "rootprep/kernel.hpp"

namespace support {

// Another process of the running kernel as a Kernel: its calls act in that process's namespaces, root and descriptors. So code under test
// runs here, step by step, and what it does happens there.
//
//   auto host = RemoteProcess::start(abi::clone_newns);
//   auto victim = host->spawn(abi::clone_newns | abi::clone_newpid);
//   Execution{plan, *victim}.run();
//
// It shares this process's memory (CLONE_VM), so pointers mean the same in both; it runs only while call() waits for it. Destruction kills
// it, wherever it is. Throws std::system_error.
class RemoteProcess final : public rootprep::Kernel {
 public:
  // `namespaces`: CLONE_NEW* to make. With CLONE_NEWUSER it becomes uid 0 there, which is `outer_id` here.
  static std::unique_ptr<RemoteProcess> start(std::uint64_t namespaces);
  std::unique_ptr<RemoteProcess> spawn(std::uint64_t namespaces, unsigned outer_id = 0);
  ~RemoteProcess();
  RemoteProcess(const RemoteProcess&) = delete;
  RemoteProcess& operator=(const RemoteProcess&) = delete;

  long call(const rootprep::SysCall& call) noexcept override;
  pid_t pid() const noexcept { return pid_; }
  std::vector<int> descriptors() const;
  void kill() noexcept;

 private:
  struct Mailbox;
  RemoteProcess();
  static int serve(void* mailbox);
  void map_ids(unsigned outer_id);
  void die_with_parent();

  std::unique_ptr<Mailbox> mailbox_;
  std::vector<char> stack_;
  RemoteProcess* parent_ = nullptr;  // of a spawned one: it has to wait for it
  pid_t pid_ = -1;
};

}  // namespace support
