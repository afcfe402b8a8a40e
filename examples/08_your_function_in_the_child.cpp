// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors

// A function of your own that runs in the child, for what a list of system calls cannot express: here a decision on something that is only
// known when it runs. It prints:
//
//   oom_score_adj is 500
#include <sys/syscall.h>

#include "rootprep/steps.hpp"
#include "support.hpp"

namespace {

using namespace rootprep;

// Between clone() and execve(), maybe in memory that the parent's threads share: no allocation, no locks, no errno, and no system call but
// through the kernel given, so that tests can put another one there. Returns -errno, which explain() shows as for any operation.
long raise_oom_score(const ChildContext& context) noexcept {
  const auto pointer = [](const void* p) { return reinterpret_cast<std::uint64_t>(p); };
  const long fd =
      context.kernel.call({SYS_openat, {static_cast<std::uint64_t>(AT_FDCWD), pointer("/proc/self/oom_score_adj"), O_RDWR | O_CLOEXEC}});
  if (fd < 0) return fd;
  const auto file = static_cast<std::uint64_t>(fd);
  char present[8] = {};
  long result = context.kernel.call({SYS_read, {file, pointer(present), sizeof present - 1}});
  // Only ever upwards: whoever runs this may already have chosen to be killed first. Three digits are enough to compare here.
  const auto* wanted = static_cast<const char*>(context.data);
  const bool lower = result < 4 || (result == 4 && present[0] < wanted[0]);  // "499\n"
  if (result >= 0 && lower) result = context.kernel.call({SYS_write, {file, pointer(wanted), context.size}});
  context.kernel.call({SYS_close, {file}});
  return result < 0 ? result : 0;
}

struct OomScore {
  std::string describe() const { return "out-of-memory score of at least 500"; }
  void lower(PlanBuilder& b) const { b.call(raise_oom_score, std::as_bytes(std::span{"500", 3})); }
};

}  // namespace

rootprep::Pipeline example::your_function_in_the_child() {
  return {PrepareRoot{.path = "/tmp/root"}, MountSpec::proc(), EnterRoot{}, OomScore{}};
}

int main() {
  example::use_private_tmp();
  example::make_image("/tmp/root");
  return example::run(example::compile_or_exit(example::your_function_in_the_child()),
                      {.namespaces = Namespace::mount | Namespace::pid,
                       .exec = {"/bin/sh", "-c", "echo oom_score_adj is $(cat /proc/self/oom_score_adj)"}});
}
