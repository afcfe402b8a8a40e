// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
//
// rootprep-fuzz-kernels [--seconds N] [--sequences N] [--seed N] [--length N] [--user-namespace] [--show]
// Random sequences of operations on the kernel in memory and on the running one; every result and the mounts of every namespace are
// compared after every operation. A difference is shrunk to the shortest sequence that shows it, and printed as a scenario.
// Exit status: 0 no difference, 1 a difference, 2 wrong use, 77 this machine does not let us run.
#include <chrono>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>

#include "session.hpp"

namespace {

using namespace rootprep;
using namespace rootprep::conformance;
using Sequence = std::vector<Operation>;

// Sequences with a shape: uniform choices never build a slave of a slave of a slave. Paths are mostly places where something was
// mounted before, and macro steps make peer groups, slaves, and slaves of slaves.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  Sequence make(std::size_t length) {
    sequence_.clear();
    mountpoints_ = {"."};
    namespaces_ = 0;
    slots_ = 0;
    for (const char* name : {"A", "B", "C", "D"}) add({"mkdir", name});
    mount("A");
    while (sequence_.size() < length) step();
    return std::move(sequence_);
  }

 private:
  std::size_t below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }
  bool chance(std::size_t percent) { return below(100) < percent; }
  const std::string& any_of(const std::vector<std::string>& choices) { return choices[below(choices.size())]; }
  static std::string join(const std::string& directory, const std::string& name) {
    return directory == "." ? name : directory + "/" + name;
  }

  void add(Operation operation) {
    if (namespaces_ > 0 && chance(12) && operation[0] != "newns" && operation[0] != "newuserns" && operation[0] != "enterns" &&
        operation[0] != "chroot" && operation[0] != "pivot_root" && operation[0] != "chdir") {
      operation[0].insert(0, "h:");
    }
    sequence_.push_back(std::move(operation));
  }

  std::string path() {
    if (chance(3)) return "@/s/../s/A/./x/..";
    if (chance(2)) return "nothing";
    const std::string base = chance(65) ? any_of(mountpoints_) : any_of({"A", "B", "C", "D", "."});
    if (chance(45)) return join(base, any_of({"x", "y"}));
    return base;
  }
  std::string mountpoint() { return chance(90) ? any_of(mountpoints_) : path(); }

  void mount(const std::string& target) {
    add({"mount", "tmpfs", target});
    mountpoints_.push_back(target);
    add({"mkdir", join(target, "x")});
    if (chance(60)) add({"mkdir", join(target, "y")});
  }
  void bind(const std::string& source, const std::string& target) {
    add({chance(60) ? "bind" : "rbind", source, target});
    mountpoints_.push_back(target);
  }
  std::string propagation() { return any_of({"shared", "shared", "slave", "private", "unbindable"}); }

  void family() {
    const std::string from = mountpoint();
    std::string to = path();
    add({"make-shared", from});
    bind(from, to);
    const std::size_t generations = below(4);
    if (generations >= 1) add({"make-slave", to});
    if (generations >= 2) add({"make-shared", to});
    if (generations >= 3) {
      const std::string third = path();
      bind(to, third);
      add({"make-slave", third});
      if (chance(50)) add({"make-shared", third});
    }
  }

  void step() {
    if (chance(22)) return family();
    switch (below(30)) {
      case 0:
      case 1:
      case 2:
      case 3: return mount(path());
      case 4:
      case 5:
      case 6: return bind(mountpoint(), path());
      case 7:
      case 8: add({"move", mountpoint(), path()}); return;
      case 9:
      case 10:
      case 11: add({(chance(75) ? "make-" : "make-r") + propagation(), mountpoint()}); return;
      case 12:
      case 13: add({"umount", mountpoint()}); return;
      case 14: add({"umount-detach", mountpoint()}); return;
      case 15:
      case 16: {
        const std::string slot = std::to_string(++slots_);
        add({chance(50) ? "open_tree" : "open_rtree", slot, mountpoint()});
        if (chance(80)) {
          if (chance(30)) step();
          const std::string target = path();
          add({"attach", slot, target});
          mountpoints_.push_back(target);
        }
        return;
      }
      case 17: add({"move-beneath", mountpoint(), mountpoint()}); return;
      case 18: add({"set-group", mountpoint(), mountpoint()}); return;
      case 19: add({"remount-bind", mountpoint(), any_of({"r", "s", "sd", "x", "", "ra"})}); return;
      case 20:
        add({chance(50) ? "setattr" : "rsetattr", mountpoint(), any_of({"r", "s", "d", "", "a"}), any_of({"", "r", "A", "s", "rsdx"}),
             any_of({"", "", "shared", "slave", "private", "unbindable"})});
        return;
      case 21:
      case 22:
        if (namespaces_ >= 3) return;
        ++namespaces_;
        sequence_.push_back({chance(55) ? "newns" : "newuserns", std::to_string(namespaces_)});
        return;
      case 23: sequence_.push_back({"enterns", std::to_string(below(static_cast<std::size_t>(namespaces_) + 1))}); return;
      case 24: add({"hold", std::to_string(++slots_), path()}); return;
      case 25:
        if (slots_ > 0) add({"drop", std::to_string(1 + below(static_cast<std::size_t>(slots_)))});
        return;
      case 26: add({chance(50) ? "rmdir" : "mkdir", path()}); return;
      case 27:
        if (chance(50)) {
          const std::string root = mountpoint();
          sequence_.push_back({"pivot_root", root, chance(50) ? root : join(root, "x")});
        } else {
          sequence_.push_back({chance(40) ? "chroot" : "chdir", chance(70) ? mountpoint() : path()});
        }
        return;
      case 28: {
        const std::string slot = std::to_string(++slots_);
        add({"fsmount", slot, "tmpfs"});
        const std::string target = path();
        add({"attach", slot, target});
        mountpoints_.push_back(target);
        return;
      }
      default:
        if (chance(50)) {
          add({"rename", path(), path()});
        } else {
          add({"attach", std::to_string(1 + below(static_cast<std::size_t>(slots_))), path()});
        }
    }
  }

  std::mt19937_64 random_;
  Sequence sequence_{};
  std::vector<std::string> mountpoints_{};
  int namespaces_ = 0;
  int slots_ = 0;
};

struct Difference {
  std::size_t at = 0;
  bool of_result = false;
  std::string fake{}, real{}, rule{};
  explicit operator bool() const { return !fake.empty() || !real.empty(); }
};

std::string errno_name(long result) {
  if (result >= 0) return "success";
  const char* name = ::strerrorname_np(static_cast<int>(-result));
  return name != nullptr ? name : std::to_string(-result);
}

class Comparison {
 public:
  Comparison(Runner& fake, Runner& real) : fake_(fake), real_(real) {}

  Difference run(const Sequence& sequence) {
    RunOptions options;
    options.each = true;
    options.absolute = true;
    const Outcome fake = fake_.run(sequence, options);
    const Outcome real = real_.run(sequence, options);
    Difference difference;
    if (!fake.trouble.empty() || !real.trouble.empty()) {
      difference.fake = fake.trouble.empty() ? "runs" : fake.trouble;
      difference.real = real.trouble.empty() ? "runs" : real.trouble;
      return difference;
    }
    for (std::size_t i = 0; i < sequence.size(); ++i) {
      ++operations;
      if (real.results[i] >= 0) ++successes;
      difference.at = i;
      difference.rule = fake.rules[i];
      if (fake.results[i] != real.results[i]) {
        difference.of_result = true;
        difference.fake = errno_name(fake.results[i]);
        difference.real = errno_name(real.results[i]);
        return difference;
      }
      if (fake.states[i] != real.states[i]) {
        difference.fake = fake.states[i];
        difference.real = real.states[i];
        return difference;
      }
    }
    return {};
  }

  std::uint64_t operations = 0, successes = 0;

 private:
  Runner& fake_;
  Runner& real_;
};

// Removes blocks of operations for as long as a difference of the same kind is left.
Sequence shrink(Comparison& comparison, Sequence sequence, const Difference& found) {
  sequence.resize(std::min(sequence.size(), found.at + 1));
  for (std::size_t block = std::max<std::size_t>(1, sequence.size() / 2); block >= 1;) {
    bool removed = false;
    for (std::size_t start = 0; start < sequence.size();) {
      Sequence shorter = sequence;
      const auto first = shorter.begin() + static_cast<std::ptrdiff_t>(start);
      const auto last = shorter.begin() + static_cast<std::ptrdiff_t>(std::min(start + block, shorter.size()));
      shorter.erase(first, last);
      const Difference difference = shorter.empty() ? Difference{} : comparison.run(shorter);
      if (difference && difference.of_result == found.of_result && (!found.of_result || difference.real == found.real)) {
        shorter.resize(std::min(shorter.size(), difference.at + 1));
        sequence = shorter;
        removed = true;
      } else {
        start += block;
      }
    }
    if (block == 1 && !removed) break;
    if (block > 1) block /= 2;
  }
  return sequence;
}

void report(const Sequence& sequence, const Difference& difference) {
  nlohmann::json scenario;
  scenario["name"] = "found-by-fuzzing";
  scenario["setup"] = sequence;
  scenario["tags"] = {"fuzz", "pivot"};
  std::cout << "after operation " << difference.at << " of:\n"
            << scenario.dump() << "\n(record what Linux answers with rootprep-scenarios --record)\n";
  std::cout << "--- the kernel in memory" << (difference.rule.empty() ? "" : " (" + difference.rule + ")") << ":\n"
            << difference.fake << "\n--- Linux:\n"
            << difference.real << "\n";
}

}  // namespace

int main(int argc, char** argv) try {
  double seconds = 10;
  std::uint64_t limit = ~0ULL, seed = 0;
  std::size_t length = 0;
  bool seeded = false, user_namespace = false, show = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto value = [&] { return i + 1 < argc ? std::string(argv[++i]) : std::string("0"); };
    if (argument == "--seconds") {
      seconds = std::stod(value());
    } else if (argument == "--sequences") {
      limit = std::stoull(value());
    } else if (argument == "--seed") {
      seed = std::stoull(value());
      seeded = true;
    } else if (argument == "--length") {
      length = std::stoul(value());
    } else if (argument == "--user-namespace") {
      user_namespace = true;
    } else if (argument == "--show") {
      show = true;
    } else {
      std::cerr << "usage: rootprep-fuzz-kernels [--seconds N] [--sequences N] [--seed N] [--length N] [--user-namespace] [--show]\n";
      return 2;
    }
  }
  if (!seeded) seed = std::random_device{}() * 1'000'003ULL;
  std::string reason;
  const auto real = linux_runner(user_namespace, reason);
  if (real == nullptr) {
    std::cout << "SKIPPED: " << reason << "\n";
    return 77;
  }
  const auto fake = fake_runner(testing::KernelProfile::linux_6_18(), user_namespace);
  Comparison comparison(*fake, *real);
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  std::uint64_t sequences = 0;
  std::cout << "seed " << seed << std::endl;
  for (; sequences < limit && elapsed() < seconds; ++sequences) {
    Generator generator(seed + sequences);
    const Sequence sequence = generator.make(length != 0 ? length : 5 + (seed + sequences * 7) % 56);
    if (show) std::cout << nlohmann::json(sequence).dump() << "\n";
    const Difference difference = comparison.run(sequence);
    if (!difference) continue;
    std::cout << "sequence " << sequences << " (--seed " << seed + sequences << " --sequences 1"
              << (length != 0 ? " --length " + std::to_string(length) : " --length " + std::to_string(sequence.size()))
              << ") differs; shrinking\n";
    const Sequence shortest = shrink(comparison, sequence, difference);
    report(shortest, comparison.run(shortest));
    return 1;
  }
  std::cout << sequences << " sequences, " << comparison.operations << " operations, "
            << (comparison.operations == 0 ? 0 : comparison.successes * 100 / comparison.operations) << " % succeeded, no difference, "
            << elapsed() << " s\n";
  return 0;
} catch (const std::exception& problem) {
  std::cerr << "rootprep-fuzz-kernels: " << problem.what() << "\n";
  return 2;
}
