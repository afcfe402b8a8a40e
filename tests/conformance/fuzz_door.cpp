// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
//
// libFuzzer: any bytes are a sequence of system calls by a few processes of one kernel in memory. It must answer each with a value or an
// errno, and its structure must stay sound. Buffers are what a program could pass: real memory, null, or pointers into the first page.
//
//   cmake -S . -B fuzz -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DROOTPREP_BUILD_FUZZERS=ON -DROOTPREP_SANITIZE=address,undefined && ninja -C
//   fuzz rootprep-fuzz-door fuzz/bin/rootprep-fuzz-door -max_len=1000 -len_control=0 -max_total_time=120
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <system_error>
#include <vector>

#include "rootprep/testing/fake_kernel.hpp"
#include "rootprep/testing/rules.hpp"

namespace {

using namespace rootprep;

class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  std::uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  std::uint64_t word(int bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8U | byte();
    return value;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

std::uint64_t address(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

class Arguments {
 public:
  explicit Arguments(Bytes& bytes) : bytes_(bytes), memory_(std::size_t{1} << 17U) {}

  std::uint64_t value(ArgumentKind kind) {
    switch (kind) {
      case ArgumentKind::descriptor:
      case ArgumentKind::directory:
      case ArgumentKind::fs_context:
      case ArgumentKind::fsconfig_aux: return descriptor();
      case ArgumentKind::path:
      case ArgumentKind::text:
      case ArgumentKind::mount_data:
      case ArgumentKind::fsconfig_value: return text();
      case ArgumentKind::bytes:
      case ArgumentKind::pointer:
      case ArgumentKind::open_how:
      case ArgumentKind::mount_attr: return structure();
      case ArgumentKind::size: {
        const std::uint8_t what = bytes_.byte();
        if (what < 128) return what;
        return what < 250 ? bytes_.word(2) : 32;  // never more than the memory behind the pointer
      }
      default: return flags(kind);
    }
  }

 private:
  std::uint64_t descriptor() {
    const std::uint8_t what = bytes_.byte();
    if (what < 64) return static_cast<std::uint64_t>(static_cast<std::int64_t>(abi::at_fdcwd));
    if (what < 250) return what % 16;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(bytes_.word(4))));
  }
  std::uint64_t text() {
    static constexpr std::array<const char*, 48> known{"",
                                                       "/",
                                                       ".",
                                                       "..",
                                                       "a",
                                                       "b",
                                                       "a/b",
                                                       "/tmp",
                                                       "/tmp/a",
                                                       "/tmp/b",
                                                       "/proc",
                                                       "/proc/self/fd/3",
                                                       "/sys",
                                                       "/dev",
                                                       "/dev/null",
                                                       "/dev/pts",
                                                       "/run",
                                                       "/s/",
                                                       "a/..",
                                                       "/a/../b",
                                                       "l",
                                                       "l/x",
                                                       "/proc/self/root",
                                                       "/proc/self/ns/mnt",
                                                       "tmpfs",
                                                       "proc",
                                                       "sysfs",
                                                       "devpts",
                                                       "mqueue",
                                                       "cgroup2",
                                                       "overlay",
                                                       "ext4",
                                                       "ramfs",
                                                       "size=64k",
                                                       "lowerdir=/tmp:/run",
                                                       "lowerdir+",
                                                       "upperdir",
                                                       "workdir",
                                                       "source",
                                                       "ro",
                                                       "userxattr",
                                                       "lowerdir=/tmp,upperdir=/run/u,workdir=/run/w",
                                                       "/run/u",
                                                       "/run/w",
                                                       "trusted.overlay.opaque",
                                                       "0 0 1",
                                                       "deny",
                                                       "/proc/1/uid_map"};
    const std::uint8_t what = bytes_.byte();
    if (what < 8) return 0;
    if (what < 12) return what;
    if (what < 200) {
      texts_.emplace_back(known[what % known.size()]);
    } else if (what < 210) {
      texts_.emplace_back(bytes_.word(2), 'x');
    } else {
      std::string raw;
      for (std::size_t i = bytes_.byte() % 24; i > 0; --i) raw += static_cast<char>(bytes_.byte());
      texts_.push_back(raw);
    }
    texts_.back().reserve(256);  // sethostname(2) takes a text and a size: as much memory as it may read
    return address(texts_.back().c_str());
  }
  std::uint64_t structure() {
    const std::uint8_t what = bytes_.byte();
    if (what < 8) return what;
    std::fill(memory_.begin(), memory_.end(), static_cast<unsigned char>(0));
    for (std::size_t i = 0; i < what % 40U; ++i) memory_[i] = bytes_.byte();
    return address(memory_.data());
  }
  std::uint64_t flags(ArgumentKind kind) {
    const std::uint8_t what = bytes_.byte();
    if (what < 64) return 0;
    if (what > 240) return bytes_.word(8);
    if (what > 220) return bytes_.word(4);
    std::uint64_t bits = 0;
    for (int i = 0; i < what % 3 + 1; ++i) {
      std::vector<std::uint64_t> all;
      for (const FlagInfo& flag : flag_table()) {
        if (flag.kind == kind || (kind == ArgumentKind::open_tree_flags && flag.kind == ArgumentKind::at_flags)) all.push_back(flag.value);
      }
      if (all.empty()) return bytes_.word(2);
      bits |= all[bytes_.byte() % all.size()];
    }
    return bits;
  }

  Bytes& bytes_;
  std::deque<std::string> texts_{};
  std::vector<unsigned char> memory_;
};

// Every refusal has a rule, and the rule has this errno.
void checked_call(testing::FakeProcess& process, const SysCall& call) {
  const long result = process.call(call);
  if (result >= 0) return;
  const testing::Rule* rule = testing::find_rule(process.rule_of_last_error());
  if (rule != nullptr && std::find(rule->errors.begin(), rule->errors.end(), static_cast<int>(-result)) != rule->errors.end()) return;
  std::fprintf(stderr, "system call %ld answers %ld by the rule \"%s\"\n", call.number, result, process.rule_of_last_error().c_str());
  std::abort();
}

void act(testing::FakeKernel& kernel, testing::FakeProcess& process, Bytes& bytes) {
  const std::uint8_t what = bytes.byte();
  const SysCallTable table = syscall_table();
  if (what < 240) {
    const SysCallInfo& info = table.first[what % table.count];
    Arguments arguments(bytes);
    SysCall call{info.number, {}};
    for (std::size_t i = 0; i < info.argument_count; ++i) call.arguments[i] = arguments.value(info.arguments[i].kind);
    checked_call(process, call);
  } else if (what < 243) {
    checked_call(process, {static_cast<long>(bytes.word(2)), {bytes.word(8), bytes.word(8), bytes.word(8), 0, 0, 0}});
  } else if (what < 248 && kernel.processes().size() < 6) {
    try {
      process.clone(bytes.byte() % 2 == 0 ? 0 : abi::clone_newns | (bytes.byte() % 2 == 0 ? abi::clone_newuser | abi::clone_newpid : 0));
    } catch (const std::system_error&) {
      // refused, as clone(2) is
    }
  } else if (what < 250 && &process != static_cast<testing::FakeProcess*>(&kernel)) {
    process.exit();
  } else if (what < 252) {
    process.set_capabilities(bytes.word(6));
  } else {
    process.set_ids(bytes.byte(), bytes.byte());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  static const std::array<testing::KernelProfile, 4> profiles{testing::KernelProfile::linux_6_18(), testing::KernelProfile::linux_6_1(),
                                                              testing::KernelProfile::linux_5_15(), testing::KernelProfile::linux_5_4()};
  testing::FakeKernel kernel(profiles[bytes.byte() % profiles.size()]);  // a small world: its making is most of the time otherwise
  kernel.make_directory("/tmp/a/b").make_directory("/tmp/b").make_directory("/proc").make_directory("/run/u").make_directory("/run/w");
  kernel.mount_filesystem("proc", "/proc").mount_filesystem("tmpfs", "/run").write_file("/a", "text").make_symlink("/l", "tmp/a");
  kernel.set_mount_max(200);
  kernel.clone(abi::clone_newns);
  for (int steps = 0; steps < 60 && !bytes.empty(); ++steps) {
    const auto processes = kernel.processes();
    act(kernel, *processes[bytes.byte() % processes.size()], bytes);
  }
  const std::string broken = kernel.check_invariants();
  if (!broken.empty()) {
    std::fprintf(stderr, "%s", broken.c_str());
    std::abort();
  }
  kernel.snapshot();
  for (testing::FakeProcess* process : kernel.processes()) process->mountinfo();
  return 0;
}
