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
#include <iterator>
#include <map>
#include <sstream>
#include <system_error>

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
  explicit RealWorld(const shipped::Shipped& shipped) : shipped_(shipped), host_(small_host()) {
    shipped::build(*host_, shipped.host, shipped.user_namespace ? 1000 : 0);
  }

  RemoteProcess& host() { return *host_; }
  void begin() {
    before_ = look();
    victim_ = host_->spawn(shipped::namespaces(shipped_), 1000);
  }

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
    return different;
  }

 private:
  // Every mount of the host, and every file of its tmpfs but for what may change.
  std::map<std::string, std::string> look() const {
    std::map<std::string, std::string> seen;
    const std::string process = "/proc/" + std::to_string(host_->pid());
    std::ifstream mounts{process + "/mountinfo"};
    for (std::string line; std::getline(mounts, line);) seen.emplace("mount " + line, "");
    look(process + "/root", "", seen);
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
  std::unique_ptr<RemoteProcess> host_;
  std::unique_ptr<RemoteProcess> victim_{};
  std::map<std::string, std::string> before_{};
};

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
    RealWorld world{*variant.shipped};
    world.begin();
    Execution execution{variant.plan, world.kernel()};
    const Report& report = execution.run();
    CHECK(support::describe(report.error, &variant.plan) == "success");
    CHECK(world.left_behind() == "");
  }
}

}  // namespace
