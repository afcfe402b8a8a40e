// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors

// A system call that the library has not heard of, by its number: as a step like any other. It prints:
//
//   in the plan:      syscall_0x8d(0x0, 0x0, 0x7)
//   in the container: nice 7
#include <sys/resource.h>
#include <sys/syscall.h>

#include "rootprep/print.hpp"
#include "rootprep/steps.hpp"
#include "support.hpp"

namespace {

struct Nice {
  int level = 0;
  std::string describe() const { return "priority " + std::to_string(level); }
  void lower(rootprep::PlanBuilder& b) const { b.syscall(SYS_setpriority, {PRIO_PROCESS, 0, level}); }
};

}  // namespace

rootprep::Pipeline example::unknown_system_call() {
  using namespace rootprep;
  return {Nice{.level = 7}, PrepareRoot{.path = "/tmp/root"}, MountSpec::proc(), EnterRoot{}};
}

int main() {
  using namespace rootprep;
  example::use_private_tmp();
  example::make_image("/tmp/root");
  const Plan plan = example::compile_or_exit(example::unknown_system_call());
  for (std::uint32_t i = 0; i < plan.operations().size(); ++i) {
    if (plan.operations()[i].number == SYS_setpriority) std::cout << "in the plan:      " << to_text(plan, i) << '\n';
  }
  // proc(5): the nineteenth field of /proc/pid/stat
  const char* script = "set -- $(cat /proc/self/stat); echo \"in the container: nice ${19}\"";
  return example::run(plan, {.namespaces = Namespace::mount | Namespace::pid, .exec = {"/bin/sh", "-c", script}});
}
