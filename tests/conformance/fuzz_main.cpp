// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
//
// rootprep-fuzz-kernels [--seconds N | --unbounded] [--sequences N] [--seed N] [--length N] [--user-namespace] [--show] [--counts]
//                       [--profile VERSION]
// Random sequences of operations on the kernel in memory and on the running one; every result and the mounts of every namespace are
// compared after every operation. A difference is shrunk to the shortest sequence that shows it, and printed as a scenario.
// --counts: how often each operation was done, and how often it succeeded; it is a failure if one never did, given 1000 sequences.
// Exit status: 0 no difference, 1 a difference, 2 wrong use, 77 this machine does not let us run.
#include <chrono>
#include <cstring>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <stdexcept>

#include "session.hpp"

namespace {

using namespace rootprep;
using namespace rootprep::conformance;
using Sequence = std::vector<Operation>;

// Sequences with a shape: uniform choices never build a slave of a slave of a slave. Paths are mostly places where something was
// mounted before, and macro steps make peer groups, slaves, slaves of slaves, and overlays with something in their layers.
//
// What may not happen, because it would reach the host or the next sequence: a second view of a superblock that is not the sequence's own
// (proc, sysfs, mqueue, cgroup2 as real root), a remount of a superblock once "/" may be another mount, and an open(2) that waits (fifos).
class Generator {
 public:
  Generator(std::uint64_t seed, bool user_namespace) : random_(seed), user_namespace_(user_namespace) {}

  Sequence make(std::size_t length) {
    sequence_.clear();
    mountpoints_ = {"."};
    namespaces_ = slots_ = overlays_ = 0;
    root_moved_ = false;
    for (const char* name : {"A", "B", "C", "D"}) add({"mkdir", name});
    mount("A");
    while (sequence_.size() < length) step();
    return std::move(sequence_);
  }

 private:
  std::size_t below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }
  bool chance(std::size_t percent) { return below(100) < percent; }
  std::string any_of(const std::vector<std::string>& choices) { return choices[below(choices.size())]; }
  static std::string join(const std::string& directory, const std::string& name) {
    return directory == "." ? name : directory + "/" + name;
  }
  // A path for `call`, which knows nothing of /s.
  static std::string literal(const std::string& path) { return path[0] == '@' ? path.substr(1) : path == "." ? "/s" : "/s/" + path; }

  // By the second process, which stays in the first namespace, if there are others: what it does there propagates.
  void add(Operation operation) {
    if (namespaces_ > 0 && chance(12)) operation[0].insert(0, "h:");
    sequence_.push_back(std::move(operation));
  }
  // What changes the process itself is done by the first one.
  void add_own(Operation operation) { sequence_.push_back(std::move(operation)); }
  std::string new_slot() { return "d" + std::to_string(++slots_); }  // a number would be that descriptor, in a call
  std::string slot() { return "d" + std::to_string(1 + below(static_cast<std::size_t>(slots_))); }

  std::string path() {
    if (chance(3)) return "@/s/../s/A/./x/..";
    if (chance(2)) return "nothing";
    if (root_moved_ && chance(60)) return any_of({"@/", "@/x", "@/y", "@/x/s", "@/x/s/B", "@.", "@.."});
    const std::string base = chance(65) ? any_of(mountpoints_) : any_of({"A", "B", "C", "D", "."});
    if (chance(45)) return join(base, any_of({"x", "y"}));
    return base;
  }
  std::string mountpoint() { return chance(90) ? any_of(mountpoints_) : path(); }
  std::string file() {
    const std::string base = mountpoint();
    return base[0] == '@' ? base : join(base, any_of({"f", "g", "x", "y", "x/f"}));
  }

  void mount(const std::string& target) {
    if (chance(85)) {
      add({"mount", "tmpfs", target});
    } else {
      add({"mount-options", "tmpfs", target, any_of({"size=4k", "nr_inodes=3", "mode=0", "mode=1777,size=1m", "bogus", "ro", "uid=5"})});
    }
    mountpoints_.push_back(target);
    add({"mkdir", join(target, "x")});
    if (chance(60)) add({"mkdir", join(target, "y")});
  }
  void mount_somewhere() { mount(path()); }
  void mount_another_type() {
    const std::vector<std::string> harmless{"ramfs", "devpts", "nosuchfs", "ext4"};
    const std::vector<std::string> own_instances{"proc", "sysfs", "mqueue", "cgroup2", "devpts", "debugfs", "squashfs"};
    const std::string target = path();
    add({"mount", any_of(user_namespace_ ? own_instances : harmless), target});
    mountpoints_.push_back(target);
  }
  void bind(const std::string& source, const std::string& target) {
    add({chance(60) ? "bind" : "rbind", source, target});
    mountpoints_.push_back(target);
  }
  void bind_something() { bind(mountpoint(), path()); }
  void bind_file() {
    const std::string source = file(), target = file();
    add({"touch", source});
    add({"touch", target});
    bind(source, target);
  }
  std::string propagation() { return any_of({"shared", "shared", "slave", "private", "unbindable"}); }
  void change_propagation() { add({(chance(75) ? "make-" : "make-r") + propagation(), mountpoint()}); }

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

  void move() { add({"move", mountpoint(), path()}); }
  void unmount() {
    const std::string how = any_of({"umount", "umount", "umount", "umount-detach", "umount-detach", "umount-nf", "umount-expire"});
    const std::string target = mountpoint();
    if (target[0] == '@') return;  // "/": what is below it is the machine's
    if (how != "umount-expire") return add({how, target});
    // Marked, and unmounted: what comes between would decide whether the mark is still there, by ways that depend on the kernel's caches.
    for (int i = 0; i < 2; ++i) add_own({how, target});
  }
  void change_flags() {
    switch (below(4)) {
      case 0: add({"remount-bind", mountpoint(), any_of({"r", "s", "sd", "x", "", "ra"})}); return;
      case 1:
        if (!root_moved_) add({"remount", any_of(mountpoints_), any_of({"r", "", "s", "rx"})});
        return;
      case 2:
        add({"call", "", "mount_setattr", "cwd", literal(mountpoint()), chance(50) ? "AT_RECURSIVE" : "0",
             any_of({"MOUNT_ATTR_NOSYMFOLLOW;0;0", "0;MOUNT_ATTR_NOSYMFOLLOW;0", "MOUNT_ATTR_NODIRATIME;0;0", "0;0;0", "0x10;0;0",
                     "MOUNT_ATTR_RDONLY;0;MS_SHARED", "0;MOUNT_ATTR_RDONLY;MS_PRIVATE"}),
             "32"});
        return;
      default:
        add({chance(50) ? "setattr" : "rsetattr", mountpoint(), any_of({"r", "s", "d", "", "a"}), any_of({"", "r", "A", "s", "rsdx"}),
             any_of({"", "", "shared", "slave", "private", "unbindable"})});
    }
  }

  // --- the calls of 5.2 and later ---

  void clone_and_attach() {
    const std::string tree = new_slot();
    add({chance(50) ? "open_tree" : "open_rtree", tree, mountpoint()});
    if (chance(30)) change_detached(tree);
    if (chance(80)) {
      if (chance(30)) step();
      attach(tree);
    }
  }
  void attach(const std::string& tree) {
    const std::string target = path();
    add({"attach", tree, target});
    mountpoints_.push_back(target);
  }
  void attach_old() { attach(slot()); }
  void new_detached() {
    const std::string tree = new_slot();
    add({"fsmount", tree, "tmpfs"});
    add({"call", "", "mkdirat", tree, "x", "755"});
    if (chance(40)) change_detached(tree);
    if (chance(50)) attach(tree);
  }
  void change_detached(const std::string& tree) {
    add({"call", "", "mount_setattr", tree, chance(80) ? "" : "x", chance(50) ? "AT_EMPTY_PATH" : "AT_EMPTY_PATH|AT_RECURSIVE",
         any_of({"MOUNT_ATTR_RDONLY;0;0", "0;0;MS_SHARED", "0;0;MS_SLAVE", "0;0;MS_UNBINDABLE", "MOUNT_ATTR_NOEXEC;0;MS_PRIVATE"}), "32"});
  }
  void graft() { add({"attach-in", slot(), slot(), any_of({"x", "y", "x/x", "."})}); }
  void open_slot_again() {
    const std::string from = slot(), to = new_slot();
    add({"call", to, "open_tree", from, chance(70) ? "" : "x",
         any_of({"AT_EMPTY_PATH", "OPEN_TREE_CLONE|AT_EMPTY_PATH", "OPEN_TREE_CLONE|AT_EMPTY_PATH|AT_RECURSIVE"})});
  }
  void move_between_slots() {
    add({"call", "", "move_mount", slot(), "", slot(), chance(60) ? "" : "x", "MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH"});
  }
  void through_proc() {
    const std::string source = "/proc/self/fd/%" + slot();
    if (chance(50)) {
      add({"call", "", "mount", source, literal(path()), "null", chance(50) ? "MS_BIND" : "MS_BIND|MS_REC", "null"});
    } else if (!root_moved_) {
      add({"call", "", "umount2", source, any_of({"0", "MNT_DETACH"})});
    }
  }
  void beneath_or_group() {
    if (chance(50)) return add({chance(50) ? "move-beneath" : "set-group", mountpoint(), mountpoint()});
    const std::string from = mountpoint(), to = path();
    if (chance(50)) {  // a private bind of a mount, which then joins its group or its master
      bind(from, to);
      add({"make-private", to});
      add({"set-group", from, to});
    } else {
      mount(from);
      mount(to);
      add({"move-beneath", to, from});
    }
  }
  void reconfigure() {
    if (root_moved_) return;
    const std::string context = new_slot();
    add_own({"call", context, "fspick", "cwd", literal(any_of(mountpoints_)), "0"});
    add_own({"call", "", "fsconfig", context, "FSCONFIG_SET_FLAG", any_of({"ro", "rw", "bogus"}), "null", "0"});
    add_own({"call", "", "fsconfig", context, "FSCONFIG_CMD_RECONFIGURE", "null", "null", "0"});
  }

  // --- processes and namespaces ---

  void new_namespace() {
    if (namespaces_ >= 3) return;
    ++namespaces_;
    const bool user = chance(45);
    add_own({user ? "newuserns" : "newns", std::to_string(namespaces_)});
    if (user && chance(60)) add_own({"map-ids"});
  }
  void enter_namespace() { add_own({"enterns", std::to_string(below(static_cast<std::size_t>(namespaces_) + 1))}); }
  void hold() { add({"hold", new_slot(), path()}); }
  void drop() { add({"drop", slot()}); }
  void pivot() {
    const std::string root = mountpoint();
    add_own({"pivot_root", root, chance(50) ? root : join(root, "x")});
    root_moved_ = true;
  }
  void change_root() {
    add_own({"chroot", chance(70) ? mountpoint() : path()});
    root_moved_ = true;
  }
  void change_directory() { add_own({"chdir", chance(70) ? mountpoint() : path()}); }
  void give_up_privilege() {
    if (chance(15)) add_own({"unprivileged"});
  }

  // --- files ---

  void make_or_remove() { add({any_of({"rmdir", "mkdir", "mkdir", "unlink", "touch"}), chance(50) ? path() : file()}); }
  void rename() {
    const std::string made = file();
    if (chance(30)) {
      add({chance(50) ? "mkdir" : "touch", made});
      if (chance(40)) return add({"call", "", "linkat", "cwd", literal(made), "cwd", literal(file()), "0"});
      add({"rename", made, file()});
      if (chance(30)) add({"unlink", made});
    } else if (chance(60)) {
      add({"rename", chance(50) ? path() : file(), chance(50) ? path() : file()});
    } else {
      add({"call", "", "renameat2", "cwd", literal(chance(50) ? path() : file()), "cwd", literal(chance(50) ? path() : file()),
           any_of({"RENAME_NOREPLACE", "0"})});
    }
  }
  void make_node() {
    switch (below(4)) {
      case 0: add({"mknod", file(), any_of({"020666", "0140644"}), any_of({"259", "0"})}); return;
      case 1: add({"symlink", any_of({"x", "../y", "/s/A", "f", "..", "nothing", "x/../../x", "/s/B/y/."}), file()}); return;
      case 2: add({"call", "", "linkat", "cwd", literal(file()), "cwd", literal(file()), "0"}); return;
      default: add({"write", file(), any_of({"text", "", "longer text"})});
    }
  }
  void change_attributes() {
    if (chance(50)) {
      add({"call", "", "fchmodat", "cwd", literal(chance(50) ? path() : file()), any_of({"0", "555", "777", "1777", "644"})});
    } else {
      add({"call", "", "fchownat", "cwd", literal(chance(50) ? path() : file()), any_of({"0", "5"}), any_of({"0", "5"}), "0"});
    }
  }
  void look() {
    switch (below(3)) {
      case 0: add({"exists", chance(50) ? path() : file()}); return;
      case 1: add({"open", chance(50) ? path() : file(), any_of({"r", "w", "rd", "rn", "pn", "wc", "wce", "wt", "wcn"})}); return;
      default:
        // O_RDONLY, O_PATH, O_PATH|O_NOFOLLOW, O_WRONLY|O_CREAT; BENEATH, IN_ROOT, NO_XDEV, NO_SYMLINKS, NO_MAGICLINKS
        add({"openat2", chance(50) && slots_ > 0 ? slot() : "", any_of({"x", "x/..", "..", "x/f", "y/../../A", "/s/A", "f", ".", "x/x/x"}),
             any_of({"0", "10000000", "10400000"}), any_of({"0", "10", "20", "1", "4", "2", "21", "11"})});
    }
  }

  // Layers are touched through the overlay alone: what shows when they change below it is undefined (overlayfs.rst).
  void overlay() {
    const std::string base = mountpoint();
    if (base[0] == '@') return;
    const std::string number = std::to_string(++overlays_);
    const std::string lower = join(base, "l" + number), upper = join(base, "u" + number), work = join(base, "w" + number);
    for (const std::string& layer : {lower, upper, work}) add_own({"mkdir", layer});
    for (const char* name : {"x", "y"}) {
      if (chance(70)) add_own({"mkdir", lower + "/" + name});
    }
    if (chance(70)) add_own({"touch", lower + "/f"});
    if (chance(40)) add_own({"touch", lower + "/x/f"});
    if (chance(20)) add_own({"mkdir", upper + "/x"});
    if (chance(20)) add_own({"mknod", upper + "/g", "020000", "0"});
    const std::string target = path();
    std::string options = "lowerdir=" + literal(lower);
    if (chance(20)) {
      add_own({"mkdir", lower + "-below"});
      add_own({"mkdir", lower + "-below/y"});
      options += ":" + literal(lower + "-below");
    }
    if (chance(85)) options += ",upperdir=" + literal(upper) + ",workdir=" + literal(chance(95) ? work : upper);
    if (chance(30)) options += any_of({",userxattr", ",volatile", ",bogus", ",metacopy=on", ",redirect_dir=off"});
    add_own({"overlay", target, options});
    mountpoints_.push_back(target);
  }

  void step() {
    struct Choice {
      std::size_t weight;
      void (Generator::*make)();
      bool needs_slot = false;
    };
    static constexpr Choice choices[] = {{22, &Generator::family},
                                         {10, &Generator::mount_somewhere},
                                         {2, &Generator::mount_another_type},
                                         {8, &Generator::bind_something},
                                         {3, &Generator::bind_file},
                                         {5, &Generator::move},
                                         {8, &Generator::change_propagation},
                                         {9, &Generator::unmount},
                                         {6, &Generator::change_flags},
                                         {5, &Generator::clone_and_attach},
                                         {2, &Generator::attach_old, true},
                                         {3, &Generator::new_detached},
                                         {3, &Generator::graft, true},
                                         {2, &Generator::open_slot_again, true},
                                         {2, &Generator::move_between_slots, true},
                                         {2, &Generator::through_proc, true},
                                         {5, &Generator::beneath_or_group},
                                         {2, &Generator::reconfigure},
                                         {5, &Generator::new_namespace},
                                         {3, &Generator::enter_namespace},
                                         {3, &Generator::hold},
                                         {2, &Generator::drop, true},
                                         {1, &Generator::pivot},
                                         {1, &Generator::change_root},
                                         {1, &Generator::change_directory},
                                         {1, &Generator::give_up_privilege},
                                         {4, &Generator::make_or_remove},
                                         {4, &Generator::rename},
                                         {3, &Generator::make_node},
                                         {1, &Generator::change_attributes},
                                         {4, &Generator::look},
                                         {3, &Generator::overlay}};
    std::size_t all = 0;
    for (const Choice& choice : choices) all += choice.weight;
    std::size_t drawn = below(all);
    for (const Choice& choice : choices) {
      if (drawn < choice.weight) {
        if (!choice.needs_slot || slots_ > 0) (this->*choice.make)();
        return;
      }
      drawn -= choice.weight;
    }
  }

  std::mt19937_64 random_;
  bool user_namespace_;
  Sequence sequence_{};
  std::vector<std::string> mountpoints_{};
  int namespaces_ = 0, slots_ = 0, overlays_ = 0;
  bool root_moved_ = false;
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
    for (std::size_t i = 0; i < std::min(fake.results.size(), real.results.size()); ++i) {
      ++operations;
      Count& count = counts[kind_of(sequence[i])];
      ++count.done;
      if (real.results[i] >= 0) {
        ++successes;
        ++count.succeeded;
      }
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

  struct Count {
    std::uint64_t done = 0, succeeded = 0;
  };
  std::uint64_t operations = 0, successes = 0;
  std::map<std::string, Count> counts{};

 private:
  static std::string kind_of(const Operation& operation) {
    std::string kind = operation[0].rfind("h:", 0) == 0 ? operation[0].substr(2) : operation[0];
    if (kind == "call") kind += " " + operation[2];
    if (kind == "mount" && operation.size() > 1) kind += " " + operation[1];
    return kind;
  }

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

// Does the generator reach everything? What can never succeed where it is asked for is there for its errno.
int print_counts(const Comparison& comparison, std::uint64_t sequences) {
  const std::set<std::string> refusals{"mount nosuchfs", "mount ext4",   "mount squashfs", "mount debugfs",
                                       "mount sysfs",    "mount mqueue", "mount cgroup2"};
  int never = 0;
  for (const auto& [kind, count] : comparison.counts) {
    std::cout << kind << ": " << count.done << " done, " << count.succeeded << " succeeded\n";
    if (count.succeeded == 0 && refusals.count(kind) == 0) ++never;
  }
  if (sequences < 1000 || never == 0) return 0;
  std::cout << never << " operations never succeeded: the generator does not reach them\n";
  return 1;
}

}  // namespace

int main(int argc, char** argv) try {
  double seconds = 10;
  std::uint64_t limit = ~0ULL, seed = 0;
  std::size_t length = 0;
  std::string profile_name = "6.18";
  bool seeded = false, user_namespace = false, show = false, unbounded = false, with_counts = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto value = [&] { return i + 1 < argc ? std::string(argv[++i]) : std::string("0"); };
    if (argument == "--seconds") {
      seconds = std::stod(value());
    } else if (argument == "--unbounded") {
      unbounded = true;
    } else if (argument == "--counts") {
      with_counts = true;
    } else if (argument == "--sequences") {
      limit = std::stoull(value());
    } else if (argument == "--seed") {
      seed = std::stoull(value());
      seeded = true;
    } else if (argument == "--length") {
      length = std::stoul(value());
    } else if (argument == "--user-namespace") {
      user_namespace = true;
    } else if (argument == "--profile") {
      profile_name = value();
    } else if (argument == "--show") {
      show = true;
    } else {
      std::cerr << "usage: rootprep-fuzz-kernels [--seconds N | --unbounded] [--sequences N] [--seed N] [--length N] [--user-namespace]"
                   " [--show] [--counts] [--profile VERSION]\n";
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
  const auto profile = profile_named(profile_name);
  if (!profile) throw std::runtime_error("no version: " + profile_name);
  const auto fake = fake_runner(*profile, user_namespace);
  Comparison comparison(*fake, *real);
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  std::uint64_t sequences = 0;
  std::cout << "seed " << seed << std::endl;
  double next_word = 60;
  for (; sequences < limit && (unbounded || elapsed() < seconds); ++sequences) {
    if (unbounded && elapsed() >= next_word) {
      std::cout << sequences << " sequences, " << comparison.operations << " operations, " << elapsed() << " s" << std::endl;
      next_word += 60;
    }
    Generator generator(seed + sequences, user_namespace);
    const Sequence sequence = generator.make(length != 0 ? length : 5 + (seed + sequences * 7) % 56);
    if (show) std::cout << nlohmann::json(sequence).dump() << std::endl;  // seen also if this one never ends
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
  return with_counts ? print_counts(comparison, sequences) : 0;
} catch (const std::exception& problem) {
  std::cerr << "rootprep-fuzz-kernels: " << problem.what() << "\n";
  return 2;
}
