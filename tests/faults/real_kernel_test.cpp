// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// The sweeps of fault_sweep_test.cpp on the running kernel: every run has a small host of its own, in a mount namespace that nobody else
// sees, and no timing decides anything.
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <sstream>
#include <system_error>
#include <utility>

#include "catch.hpp"
#include "child/system_calls.hpp"
#include "faults/shipped_pipelines.hpp"
#include "rootprep/steps.hpp"
#include "rootprep/testing/interleaving_sweep.hpp"
#include "support/namespaces.hpp"
#include "support/remote_process.hpp"

namespace {

using namespace rootprep;
using namespace rootprep::testing;
using child::invoke;
using support::RemoteProcess;

void must(long result, const char* what) {
  if (result < 0) throw std::system_error(static_cast<int>(-result), std::generic_category(), what);
}

// A process whose "/" is a tmpfs with /proc, /sys and /dev of the real host, everything shared, as systemd does it.
std::unique_ptr<RemoteProcess> small_host() {
  auto host = RemoteProcess::start(abi::clone_newns);
  RemoteProcess& h = *host;
  must(invoke(h, SYS_mount, nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make / private");
  must(invoke(h, SYS_mount, "small-host", "/tmp", "tmpfs", 0, "mode=0755"), "mount /tmp");
  must(invoke(h, SYS_chdir, "/tmp"), "chdir");
  for (const char* directory : {"proc", "sys", "dev"}) {
    must(invoke(h, SYS_mkdirat, AT_FDCWD, directory, 0755), directory);
    must(invoke(h, SYS_mount, (std::string{"/"} + directory).c_str(), directory, nullptr, MS_BIND | MS_REC, nullptr), directory);
  }
  must(invoke(h, SYS_mkdirat, AT_FDCWD, "run", 0755), "run");
  must(invoke(h, SYS_mount, "run", "run", "tmpfs", 0, "mode=0755"), "run");
  must(invoke(h, SYS_pivot_root, ".", "."), "pivot_root");
  must(invoke(h, SYS_umount2, ".", MNT_DETACH), "umount2");
  must(invoke(h, SYS_chdir, "/"), "chdir /");
  must(invoke(h, SYS_mount, nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr), "share /");
  return host;
}

class RealWorld final : public RaceWorld {
 public:
  // `kept`: the host of an earlier run of the same pipeline, if it was found as it had been.
  RealWorld(const shipped::Shipped& shipped, std::shared_ptr<RemoteProcess>& kept) : shipped_(shipped), kept_(kept) {
    host_ = std::exchange(kept, nullptr);
    if (host_ == nullptr) host_ = small_host();
    std::vector<std::string> files;
    std::vector<std::string> mounts;
    for (const std::string& entry : shipped.host) {
      const std::size_t end = entry.find('/', entry.starts_with("/run/") ? 5 : 1);  // "/run" itself is a mount
      std::filesystem::remove_all(root() + entry.substr(0, end));
    }
    for (const std::string& entry : shipped.host) {
      if (entry.find(": ") == std::string::npos) {
        files.push_back(root() + entry);
      } else {
        mounts.push_back(entry);
      }
    }
    const unsigned owner = shipped.user_namespace ? 1000 : 0;
    shipped::build(linux_kernel(), files, owner);
    shipped::build(*host_, mounts, owner);
    reusable_ = mounts.empty();
  }

  void begin() {
    before_ = look();
    victim_ = host_->spawn(shipped::namespaces(shipped_), 1000);
  }
  // "/" of the host, for this process.
  std::string root() const { return "/proc/" + std::to_string(host_->pid()) + "/root"; }

  Kernel& kernel() override { return *victim_; }
  Kernel& attacker() override { return *host_; }
  std::vector<int> descriptors() override { return victim_->descriptors(); }
  std::string left_behind() override {
    victim_->kill();
    const std::map<std::string, std::string> after = look();
    std::string different;
    for (const auto& [path, what] : before_) {
      const auto found = after.find(path);
      if (found == after.end() || found->second != what) different += "- " + path + ' ' + what + '\n';
    }
    for (const auto& [path, what] : after) {
      const auto found = before_.find(path);
      if (found == before_.end() || found->second != what) different += "+ " + path + ' ' + what + '\n';
    }
    if (different.empty() && reusable_) kept_ = host_;
    return different;
  }

 private:
  // Every mount of the host, and every file of its tmpfs but for what may change.
  std::map<std::string, std::string> look() const {
    std::map<std::string, std::string> seen;
    std::ifstream mounts{"/proc/" + std::to_string(host_->pid()) + "/mountinfo"};
    // Without the options of the file systems themselves: the whole machine has these in common, and others work on it.
    for (std::string line; std::getline(mounts, line);) seen.emplace("mount " + line.substr(0, line.rfind(' ')), "");
    look(root(), "", seen);
    return seen;
  }
  void look(const std::string& root, const std::string& directory, std::map<std::string, std::string>& seen) const {
    struct stat above {};
    must(::stat((root + directory + '/').c_str(), &above) == 0 ? 0 : -errno, directory.c_str());
    for (const auto& entry : std::filesystem::directory_iterator(root + directory + '/')) {
      const std::string path = directory + '/' + entry.path().filename().string();
      struct stat status {};
      must(::lstat(entry.path().c_str(), &status) == 0 ? 0 : -errno, path.c_str());
      if (status.st_dev != above.st_dev) continue;
      std::ostringstream text;
      text << std::oct << status.st_mode << std::dec << ' ' << status.st_uid << ':' << status.st_gid;
      if (S_ISREG(status.st_mode)) text << ' ' << status.st_size << " bytes \"" << support::content_of(entry.path()) << '"';
      if (S_ISLNK(status.st_mode)) text << " -> " << std::filesystem::read_symlink(entry.path()).string();
      seen.emplace(path, text.str());
      const bool may_change = std::find(shipped_.may_change.begin(), shipped_.may_change.end(), path) != shipped_.may_change.end();
      if (S_ISDIR(status.st_mode) && !may_change) look(root, path, seen);
    }
  }

  const shipped::Shipped& shipped_;
  std::shared_ptr<RemoteProcess>& kept_;
  bool reusable_ = true;
  std::shared_ptr<RemoteProcess> host_{};
  std::unique_ptr<RemoteProcess> victim_{};
  std::map<std::string, std::string> before_{};
};

struct Paths {
  std::vector<std::string> directories{};
  std::vector<std::string> files{};
};

// What is in the image after a run.
Paths paths_of(const shipped::Variant& variant, const std::string& image) {
  std::shared_ptr<RemoteProcess> kept;
  RealWorld world{*variant.shipped, kept};
  world.begin();
  Execution{variant.plan, world.kernel()}.run();
  (void)world.left_behind();
  Paths paths;
  const std::string top = world.root() + image + '/';
  for (const auto& entry : std::filesystem::recursive_directory_iterator(top)) {
    const bool is_directory = entry.is_directory() && !entry.is_symlink();
    (is_directory ? paths.directories : paths.files).push_back(entry.path().string().substr(top.size()));
  }
  return paths;
}

SweepResult sweep_interleavings_on_linux(const shipped::Variant& variant, const InterleavingOptions& options) {
  std::vector<Attack> attacks;
  std::map<std::string, Paths> grounds;
  for (const std::string& image : variant.shipped->images) {
    const Paths& paths = grounds.emplace(image, paths_of(variant, image)).first->second;
    for (const bool is_directory : {true, false}) {
      for (const std::string& path : is_directory ? paths.directories : paths.files) {
        for (Attack& attack : attacks_on(image, path, is_directory)) attacks.push_back(std::move(attack));
      }
    }
  }
  std::shared_ptr<RemoteProcess> kept;
  const auto make_world = [&]() -> std::unique_ptr<RaceWorld> {
    auto world = std::make_unique<RealWorld>(*variant.shipped, kept);
    for (const auto& [image, paths] : grounds) prepare_attacks(linux_kernel(), world->root() + image, paths.directories, paths.files);
    world->begin();
    return world;
  };
  return sweep_interleavings(variant.plan, make_world, attacks, options);
}

std::vector<shipped::Variant> usable(const std::vector<shipped::Shipped>& all) {
  std::vector<shipped::Variant> chosen;
  const std::vector<support::Mode> modes = support::modes();
  for (shipped::Variant& variant : shipped::variants(all)) {
    const auto mode = variant.shipped->user_namespace ? support::Mode::rootless : support::Mode::root;
    if (::geteuid() == 0 && std::find(modes.begin(), modes.end(), mode) != modes.end()) chosen.push_back(std::move(variant));
  }
  if (chosen.empty()) support::skip("root is needed");
  return chosen;
}

TEST_CASE("real kernel: every shipped pipeline runs on the small host") {
  const auto all = shipped::pipelines();
  for (const shipped::Variant& variant : usable(all)) {
    INFO(variant.name);
    std::shared_ptr<RemoteProcess> kept;
    RealWorld world{*variant.shipped, kept};
    world.begin();
    Execution execution{variant.plan, world.kernel()};
    const Report& report = execution.run();
    CHECK(support::describe(report.error, &variant.plan) == "success");
    CHECK(world.left_behind() == "");
  }
}

// Before each call that looks at the image, one of the attacks that it could notice. The kernel in memory tries all of them.
void check_interleavings(const std::function<bool(const shipped::Variant&)>& wanted) {
  const auto all = shipped::pipelines();
  std::size_t runs = 0;
  for (const shipped::Variant& variant : usable(all)) {
    if (!wanted(variant)) continue;
    INFO(variant.name);
    const SweepResult sweep = sweep_interleavings_on_linux(variant, {.take_turns = true});
    INFO(sweep.to_text());
    CHECK(sweep.ok());
    CHECK(sweep.attacks > sweep.runs / 2);
    runs += sweep.runs;
  }
  if (::geteuid() == 0) CHECK(runs > 300);
}

// The classic: looks whether a directory of the image is one, and then uses its name.
struct CheckThenUse {
  void lower(PlanBuilder& b) const {
    Fd checked = b.openat(b.root(), "etc", abi::o_path | abi::o_nofollow | abi::o_directory | abi::o_cloexec);
    b.close(checked);
    b.mkdirat(b.root(), "etc/app", 0755);
  }
  std::string describe() const { return "check a name, then use it"; }
};

TEST_CASE("real kernel, interleaving sweep: what is checked by name and then used by name is found") {
  const std::vector<shipped::Shipped> all{{.name = "check, then use",
                                           .pipeline = {PrepareRoot{.path = "/srv/root"}, CheckThenUse{}},
                                           .host = {"/srv/root/etc/"},
                                           .may_change = {"/srv/root"},
                                           .images = {"/srv/root"},
                                           .old_kernels = false}};
  for (const shipped::Variant& variant : usable(all)) {
    const SweepResult sweep = sweep_interleavings_on_linux(variant, {});
    INFO(sweep.to_text());
    REQUIRE_FALSE(sweep.ok());
    for (const SweepFinding& finding : sweep.findings) CHECK(finding.what.find("+ /srv/root.canary/empty/app") != std::string::npos);
  }
}

// Two cases, so that they can run side by side. With the features of old kernels only those of the library: the others have the same steps.
TEST_CASE("real kernel, interleaving sweep: whoever changes the image, and whenever, nothing happens outside the root") {
  check_interleavings([](const shipped::Variant& variant) { return variant.shipped->of_the_library; });
}

#ifdef ROOTPREP_WITH_EXAMPLES
TEST_CASE("real kernel, interleaving sweep: nothing happens outside the root of the examples and of rootprep-run") {
  check_interleavings([](const shipped::Variant& variant) { return !variant.shipped->of_the_library && variant.profile.version > 6000; });
}

TEST_CASE("real kernel, fault sweep: a failed or fatal call of the demo's named container is named, and the host is as before") {
  const auto all = shipped::pipelines();
  std::size_t swept = 0;
  for (const shipped::Variant& variant : usable(all)) {
    if (variant.shipped->name != "rootprep-run --image --name" || variant.profile.version < 6000) continue;
    std::shared_ptr<RemoteProcess> kept;
    const auto make_world = [&]() -> std::unique_ptr<SweepWorld> {
      auto world = std::make_unique<RealWorld>(*variant.shipped, kept);
      world->begin();
      return world;
    };
    const SweepResult sweep = sweep_faults(variant.plan, make_world, {.equal_errors_once = true});
    INFO(sweep.to_text());
    CHECK(sweep.ok());
    CHECK(sweep.failures > sweep.calls);
    swept += 1;
  }
  if (::geteuid() == 0) CHECK(swept == 1);
}
#endif

}  // namespace
