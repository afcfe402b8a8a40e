// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// Runs between clone() and execve(). No allocation, locks, errno, exceptions, containers.
#include "rootprep/kernel.hpp"

namespace rootprep {
namespace {

// syscall(2) of the C library stores into errno, which a CLONE_VM child shares with its parent: hence the instruction itself.
long raw_system_call(const SysCall& call) noexcept {
  const auto& a = call.arguments;
#if defined(__x86_64__)
  long result = call.number;
  register std::uint64_t r10 __asm__("r10") = a[3];
  register std::uint64_t r8 __asm__("r8") = a[4];
  register std::uint64_t r9 __asm__("r9") = a[5];
  __asm__ volatile("syscall" : "+a"(result) : "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = call.number;
  register std::uint64_t x0 __asm__("x0") = a[0];
  register std::uint64_t x1 __asm__("x1") = a[1];
  register std::uint64_t x2 __asm__("x2") = a[2];
  register std::uint64_t x3 __asm__("x3") = a[3];
  register std::uint64_t x4 __asm__("x4") = a[4];
  register std::uint64_t x5 __asm__("x5") = a[5];
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return static_cast<long>(x0);
#elif defined(__riscv) && __riscv_xlen == 64
  register long a7 __asm__("a7") = call.number;
  register std::uint64_t a0 __asm__("a0") = a[0];
  register std::uint64_t a1 __asm__("a1") = a[1];
  register std::uint64_t a2 __asm__("a2") = a[2];
  register std::uint64_t a3 __asm__("a3") = a[3];
  register std::uint64_t a4 __asm__("a4") = a[4];
  register std::uint64_t a5 __asm__("a5") = a[5];
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
  return static_cast<long>(a0);
#else
#error "rootprep: add the system call instruction of this 64-bit architecture here (syscall(2), section Architecture calling conventions)"
#endif
}

class LinuxKernel final : public Kernel {
 public:
  constexpr LinuxKernel() = default;
  long call(const SysCall& call) noexcept override { return raw_system_call(call); }
};

constinit LinuxKernel the_kernel;  // no fields: it is only a door, and it is there before any constructor has run

}  // namespace

Kernel& linux_kernel() noexcept { return the_kernel; }

}  // namespace rootprep
