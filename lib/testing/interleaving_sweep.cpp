// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/testing/interleaving_sweep.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <type_traits>
#include <utility>

#include "rootprep/testing/interleaving_kernel.hpp"
#include "testing/sweep_world.hpp"

namespace rootprep::testing {
namespace {

template <class Type>
std::uint64_t word(Type value) {
  if constexpr (std::is_pointer_v<Type>) {
    return reinterpret_cast<std::uint64_t>(value);
  } else {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
  }
}

// call(kernel, "mkdirat", abi::at_fdcwd, path, 0755)
template <class... Types>
long call(Kernel& kernel, std::string_view name, Types... arguments) {
  return kernel.call({find_syscall(name)->number, {word(arguments)...}});
}

constexpr int cwd = abi::at_fdcwd;

// Who moves things out of and into an image, by way of IMAGE.attacker/thing.
class Mover {
 public:
  Mover(const std::string& image, const std::string& path)
      : place_(image + '/' + path), thing_(image + ".attacker/thing"), discarded_(image + "/discarded-by-attacker") {}

  const char* place() const { return place_.c_str(); }
  const char* thing() const { return thing_.c_str(); }
  // What lies in the workshop takes the place of what is in the image; undone by take_back().
  bool put(Kernel& attacker) const {
    if (exchange(attacker) == 0) return true;
    return call(attacker, "renameat2", cwd, thing(), cwd, place(), 0) == 0;
  }
  void take_back(Kernel& attacker) const {
    if (exchange(attacker) != 0) (void)call(attacker, "renameat2", cwd, thing(), cwd, place(), abi::rename_noreplace);
    discard(attacker);
  }
  void discard(Kernel& attacker) const {
    if (call(attacker, "unlinkat", cwd, thing(), 0) == 0) return;
    // A directory that the plan has made in the meantime. Into the image, where anything may lie.
    (void)call(attacker, "renameat2", cwd, thing(), cwd, discarded_.c_str(), abi::rename_noreplace);
  }

 private:
  long exchange(Kernel& attacker) const { return call(attacker, "renameat2", cwd, thing(), cwd, place(), abi::rename_exchange); }
  std::string place_;
  std::string thing_;
  std::string discarded_;
};

std::string name_at_end(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Attack attack_on(const std::string& image, const std::string& path, const std::string& what) {
  Attack attack;
  attack.name = path + ": " + what;
  attack.image = image;
  attack.path = path;
  return attack;
}

// `make` makes the thing that takes the place.
Attack exchange_attack(const std::string& image, const std::string& path, const std::string& what,
                       std::function<long(Kernel& attacker, const char* thing)> make) {
  Attack attack = attack_on(image, path, "exchanged with " + what);
  attack.act = [mover = Mover{image, path}, make = std::move(make)](Kernel& attacker) {
    if (make(attacker, mover.thing()) != 0) return false;
    if (mover.put(attacker)) return true;
    mover.discard(attacker);
    return false;
  };
  attack.undo = [mover = Mover{image, path}](Kernel& attacker) { mover.take_back(attacker); };
  return attack;
}

Attack link_attack(const std::string& image, const std::string& path, const std::string& target) {
  return exchange_attack(image, path, "a link to " + target,
                         [target](Kernel& attacker, const char* thing) { return call(attacker, "symlinkat", target.c_str(), cwd, thing); });
}

// --- which calls look where ---

struct Look {
  std::string system_call{};
  bool anywhere = false;             // where is not known
  bool mounts = false;               // copies, moves or changes mounts
  std::vector<std::string> paths{};  // with a '/' at both ends
};

// Notes for each call which paths it looks at, in the file systems of the images and in overlays of them.
class LookingKernel final : public Kernel {
 public:
  LookingKernel(Kernel& inner, std::set<std::pair<unsigned, unsigned>> devices) : inner_(inner), devices_(std::move(devices)) {}

  long call(const SysCall& made) noexcept override {
    Look look;
    look.system_call = name_of_call(made);
    const SysCallInfo* info = find_syscall(made.number);
    std::vector<std::string> walked;  // of more than one component
    if (info == nullptr) {
      look.anywhere = true;
    } else if (!is_about_descriptors(look.system_call)) {
      look.mounts = info->leaves == Leaves::mounts || look.system_call == "open_tree";
      walked = note_paths(look, *info, made);
    }
    const long result = inner_.call(made);
    // A walk that did not end where its text says went by way of a link, or nowhere.
    for (const std::string& path : walked) {
      const bool found = result >= 0 && info->result == ResultKind::descriptor && link_to(static_cast<int>(result)) == path;
      if (!found) look.anywhere = true;
    }
    looks_.push_back(std::move(look));
    return result;
  }

  const std::vector<Look>& looks() const noexcept { return looks_; }

 private:
  // What these do is decided by what is open, not by names.
  static bool is_about_descriptors(std::string_view name) {
    constexpr std::array names{"close", "umask", "read", "write", "lseek", "fstatfs", "fsopen", "fsconfig", "fsmount", "fchmod"};
    return std::find(names.begin(), names.end(), name) != names.end();
  }

  std::vector<std::string> note_paths(Look& look, const SysCallInfo& info, const SysCall& made) {
    std::vector<std::string> walked;
    const auto is = [&](std::size_t i, ArgumentKind kind) { return i < info.argument_count && info.arguments[i].kind == kind; };
    for (std::size_t i = 0; i < info.argument_count; ++i) {
      const auto descriptor = [&](std::size_t argument) { return static_cast<int>(made.arguments[argument]); };
      if (is(i, ArgumentKind::descriptor) || (is(i, ArgumentKind::directory) && !is(i + 1, ArgumentKind::path))) {
        if (!is_elsewhere(descriptor(i))) add(look, link_to(descriptor(i)));
      }
      if (!is(i, ArgumentKind::path) || made.arguments[i] == 0) continue;
      const std::string text = reinterpret_cast<const char*>(made.arguments[i]);
      constexpr std::string_view by_descriptor = "/proc/self/fd/";
      if (text.starts_with(by_descriptor)) {
        const int named = std::atoi(text.c_str() + by_descriptor.size());
        if (!is_elsewhere(named)) add(look, link_to(named));
      } else if (i > 0 && is(i - 1, ArgumentKind::directory) && !text.starts_with('/')) {
        if (is_elsewhere(descriptor(i - 1))) continue;
        std::string full = link_to(descriptor(i - 1));
        if (!full.empty() && !text.empty()) full += '/' + text;
        if (text.find('/') != std::string::npos) walked.push_back(full);
        add(look, full);
      } else {
        add(look, text);
      }
    }
    return walked;
  }
  static void add(Look& look, const std::string& path) {
    if (path.empty()) {
      look.anywhere = true;
    } else {
      look.paths.push_back('/' + path + '/');
    }
  }
  // On a file system that is neither an image's nor an overlay: a tmpfs that the plan has made, procfs.
  bool is_elsewhere(int descriptor) {
    if (descriptor == cwd) return false;
    abi::statfs filesystem;
    abi::statx status;
    if (testing::call(inner_, "fstatfs", descriptor, &filesystem) < 0 ||
        testing::call(inner_, "statx", descriptor, "", abi::at_empty_path, abi::statx_type, &status) < 0)
      return false;
    return static_cast<std::uint64_t>(filesystem.type) != abi::overlayfs_super_magic &&
           !devices_.contains({status.dev_major, status.dev_minor});
  }
  std::string link_to(int descriptor) {
    if (descriptor == cwd) return ".";
    std::array<char, 4096> buffer{};
    const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
    const long size = testing::call(inner_, "readlinkat", cwd, link.c_str(), buffer.data(), buffer.size());
    return size <= 0 ? std::string{} : std::string{buffer.data(), static_cast<std::size_t>(size)};
  }

  Kernel& inner_;
  std::set<std::pair<unsigned, unsigned>> devices_;
  std::vector<Look> looks_{};
};

std::set<std::pair<unsigned, unsigned>> devices_of(Kernel& kernel, const std::vector<Attack>& attacks) {
  std::set<std::pair<unsigned, unsigned>> devices;
  std::set<std::string> images;
  for (const Attack& attack : attacks) images.insert(attack.image);
  for (const std::string& image : images) {
    abi::statx status;
    if (call(kernel, "statx", cwd, image.c_str(), 0, abi::statx_type, &status) == 0) devices.insert({status.dev_major, status.dev_minor});
  }
  return devices;
}

bool looks_at(const Look& look, const Attack& attack) {
  if (attack.path.empty() || look.anywhere || (attack.mounts && look.mounts)) return true;
  const std::string wanted = '/' + attack.path + '/';
  return std::any_of(look.paths.begin(), look.paths.end(), [&](const std::string& path) { return path.find(wanted) != std::string::npos; });
}

}  // namespace

std::vector<Attack> attacks_on(const std::string& image, const std::string& path, bool is_directory) {
  const std::string canary = image + ".canary";
  std::string up;
  for (std::size_t i = 0; i < 8; ++i) up += "../";
  std::vector<Attack> attacks;
  attacks.push_back(link_attack(image, path, is_directory ? canary : canary + '/' + name_at_end(path)));
  if (is_directory) attacks.push_back(link_attack(image, path, canary + "/empty"));
  attacks.push_back(link_attack(image, path, up + canary.substr(1) + "/missing"));

  if (!is_directory) {
    const std::string precious = canary + '/' + name_at_end(path);
    attacks.push_back(exchange_attack(image, path, "another name of " + precious, [precious](Kernel& attacker, const char* thing) {
      return call(attacker, "linkat", cwd, precious.c_str(), cwd, thing, 0);
    }));
  }

  const Mover mover{image, path};
  Attack moved = attack_on(image, path, "moved out of the image");
  moved.act = [mover](Kernel& attacker) { return call(attacker, "renameat2", cwd, mover.place(), cwd, mover.thing(), 0) == 0; };
  moved.undo = [mover](Kernel& attacker) { mover.take_back(attacker); };
  attacks.push_back(std::move(moved));

  if (is_directory) {
    Attack covered = attack_on(image, path, "mounted over");
    covered.mounts = true;
    covered.act = [mover](Kernel& attacker) { return call(attacker, "mount", "attacker", mover.place(), "tmpfs", 0, 0) == 0; };
    covered.undo = [mover](Kernel& attacker) { (void)call(attacker, "umount2", mover.place(), abi::mnt_detach | abi::umount_nofollow); };
    attacks.push_back(std::move(covered));
  }
  return attacks;
}

void prepare_attacks(Kernel& attacker, const std::string& image, const std::vector<std::string>& directories,
                     const std::vector<std::string>& files) {
  const std::string canary = image + ".canary";
  const auto directory = [&](const std::string& path) {
    (void)call(attacker, "mkdirat", cwd, path.c_str(), 0777);
    (void)call(attacker, "fchmodat", cwd, path.c_str(), 0777);
  };
  directory(image + ".attacker");
  directory(canary);
  directory(canary + "/empty");
  for (const std::string& path : directories) directory(canary + '/' + name_at_end(path));
  for (const std::string& path : files) {
    const std::string file = canary + '/' + name_at_end(path);
    (void)call(attacker, "mknodat", cwd, file.c_str(), abi::s_ifreg | 0666U, 0);
    (void)call(attacker, "fchmodat", cwd, file.c_str(), 0666);
    const long fd = call(attacker, "openat", cwd, file.c_str(), abi::o_wronly | abi::o_cloexec | abi::o_nofollow, 0);
    if (fd < 0) continue;
    (void)call(attacker, "write", fd, "precious", std::size_t{8});
    (void)call(attacker, "close", fd);
  }
}

SweepResult sweep_interleavings(const Plan& plan, const std::function<std::unique_ptr<RaceWorld>()>& make_world,
                                const std::vector<Attack>& attacks, const InterleavingOptions& options) {
  SweepResult sweep;
  std::vector<Look> looks;
  const auto report = [&](std::uint64_t n, const Attack* attack, bool undone, const std::string& what) {
    SweepFinding finding;
    finding.call = n;
    if (n != 0) finding.system_call = looks[n - 1].system_call;
    if (attack != nullptr) finding.attack = attack->name + (undone ? ", undone before the next call" : ", for good");
    finding.what = what;
    sweep.findings.push_back(std::move(finding));
  };
  // What is wrong after a run; `clean_up` is what the attacker does afterwards.
  const auto run = [&](RaceWorld& world, Kernel& kernel, const std::function<void()>& clean_up, bool must_succeed) {
    std::string wrong;
    const std::vector<int> before = world.descriptors();
    const Report ended = Execution{plan, kernel}.run();
    sweep.runs += 1;
    if (must_succeed && ended.error.domain != Domain::none)
      wrong += "without any attack the plan fails: " + make_error_code(ended.error).message() + "; ";
    if (ended.error.domain != Domain::none) sweep.failures += 1;
    if (world.descriptors() != before) wrong += "other descriptors are open than before; ";
    clean_up();
    if (const std::string left = world.left_behind(); !left.empty()) wrong += "left behind: " + left;
    return wrong;
  };

  {
    const std::unique_ptr<RaceWorld> world = make_world();
    LookingKernel kernel{world->kernel(), devices_of(world->attacker(), attacks)};
    const std::string wrong = run(
        *world, kernel, [] {}, true);
    looks = kernel.looks();
    sweep.calls = looks.size();
    if (!wrong.empty()) report(0, nullptr, false, wrong);
  }
  const auto race = [&](std::uint64_t n, const Attack& attack, bool undone) {
    const std::unique_ptr<RaceWorld> world = make_world();
    bool active = false;
    bool acted = false;
    const auto undo = [&] {
      if (active) attack.undo(world->attacker());
      active = false;
    };
    InterleavingKernel kernel{world->kernel(), n, [&] { active = acted = attack.act(world->attacker()); }};
    if (undone) kernel.undo_before(n + 1, undo);
    const std::string wrong = run(*world, kernel, undo, false);
    sweep.attacks += acted ? 1 : 0;
    if (!wrong.empty()) report(n, &attack, undone, wrong);
  };
  std::size_t turn = 0;
  for (std::uint64_t n = 1; n <= looks.size(); ++n) {
    std::vector<const Attack*> noticed;
    for (const Attack& attack : attacks) {
      if (looks_at(looks[n - 1], attack)) noticed.push_back(&attack);
    }
    if (options.take_turns && !noticed.empty()) {
      race(n, *noticed[turn % noticed.size()], turn / 2 % 2 != 0);
      ++turn;
      continue;
    }
    for (const Attack* attack : noticed) {
      race(n, *attack, false);
      race(n, *attack, true);
    }
  }
  return sweep;
}

SweepResult sweep_interleavings(const Plan& plan, const FakeSweepWorlds& worlds, const std::vector<std::string>& images,
                                const InterleavingOptions& options) {
  struct Ground {
    std::string image{};
    std::vector<std::string> directories{};
    std::vector<std::string> files{};
  };
  std::vector<Ground> grounds;
  std::vector<Attack> attacks;
  {
    FakeSweepWorld world{worlds};
    std::shared_ptr<const Snapshot> before;
    world.begin(before);
    Execution{plan, world.kernel()}.run();
    (void)world.left_behind();
    for (const std::string& image : images.empty() ? worlds.may_change : images) {
      Ground ground;
      ground.image = image;
      std::vector<std::string> open{""};
      while (!open.empty()) {
        const std::string directory = open.back();
        open.pop_back();
        for (const std::string& name : world.host().list(image + '/' + directory)) {
          const std::string path = directory + name;
          const bool is_directory = (world.host().stat(image + '/' + path).mode & 0170000U) == abi::s_ifdir;
          (is_directory ? ground.directories : ground.files).push_back(path);
          if (is_directory) open.push_back(path + '/');
          for (Attack& attack : attacks_on(image, path, is_directory)) attacks.push_back(std::move(attack));
        }
      }
      grounds.push_back(std::move(ground));
    }
  }
  std::shared_ptr<const Snapshot> before;
  const auto make_world = [&]() -> std::unique_ptr<RaceWorld> {
    auto world = std::make_unique<FakeSweepWorld>(worlds);
    for (const Ground& ground : grounds) prepare_attacks(world->attacker(), ground.image, ground.directories, ground.files);
    world->begin(before);
    return world;
  };
  return sweep_interleavings(plan, make_world, attacks, options);
}

}  // namespace rootprep::testing
