// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "rootprep/testing/fault_kernel.hpp"
#include "rootprep/testing/interleaving_kernel.hpp"
#include "rootprep/testing/recording_kernel.hpp"
#include "support/namespaces.hpp"

// Images that attack the host, races with them, and kernels that lack or refuse what we need. docs/security-tests.md says which class of
// vulnerability each test is for.

using namespace rootprep;
using namespace support;

namespace {

// The plans of 6.1 and 6.18 differ for overlays only.
std::vector<Variant> different_variants() {
  std::vector<Variant> chosen;
  for (Variant& variant : variants()) {
    if (variant.kernel != "6.1") chosen.push_back(std::move(variant));
  }
  return chosen;
}

// For sweeps with many runs: both ways to mount, both ways to find a target, with and without privilege.
std::vector<Variant> few_variants() {
  std::vector<Variant> chosen;
  for (Variant& variant : variants()) {
    if (variant.kernel == "6.18" || (variant.kernel == "none" && !variant.user_namespace())) chosen.push_back(std::move(variant));
  }
  return chosen;
}

// Every step that touches the image by name.
Pipeline everything(const World& world, bool fresh_dev, bool enter) {
  Pipeline pipeline{PrepareRoot{.path = world / "root"},
                    MountSpec::proc(),
                    MountSpec::sysfs(),
                    DeviceSetup{.fresh = fresh_dev},
                    MountSpec::tmpfs("/tmp"),
                    MountSpec::bind(world / "src/dir", "/data/dir"),
                    MountSpec::bind(world / "src/file", "/data/file"),
                    MakeDirectory{.path = "/var/lib/app"},
                    WriteFile{.path = "/etc/hostname", .content = "box\n"},
                    MakeSymlink{.target = "/proc/mounts", .path = "/etc/mtab", .keep_existing = true},
                    RemoveFile{.path = "/etc/nologin"},
                    MaskPaths{},
                    ReadonlyPaths{}};
  if (enter) pipeline.add(EnterRoot{});
  return pipeline;
}

void build_image(World& world) {
  world.build("src", {"dir/inside=1", "file=content"});
  world.build("canary", {"file=precious", "dir/file=precious", "etc/hostname=host", "null=precious", "pts/x=1", "shm/x=1", "fd=precious",
                         "hostname=host", "mtab=host", "nologin=host", "lib/app/x=1", "self/fd/3=x", "dir/deep/x=1"});
}

// Everything that the calling process has mounted since `before` lies below `root`.
std::string mounted_outside(const std::vector<Mount>& before, const std::vector<Mount>& after, const std::string& root) {
  std::set<int> known;
  for (const Mount& mount : before) known.insert(mount.id);
  std::string outside;
  for (const Mount& mount : after) {
    if (!known.contains(mount.id) && mount.target != root && !mount.target.starts_with(root + '/')) outside += mount.target + ' ';
  }
  return outside;
}

// System calls that answer `error_number`, as an old seccomp profile of a container does.
void refuse_system_calls(const std::vector<long>& numbers, int error_number) {
  std::vector<sock_filter> program{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};  // offsetof(seccomp_data, nr)
  for (const long number : numbers) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error_number)));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
    throw std::runtime_error("seccomp");
}

const std::vector<long>& newer_calls() {
  static const std::vector<long> numbers{
      SYS_openat2, SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr, 457, 458, 467};
  return numbers;
}

// Every descriptor that is open at any time is close-on-exec.
class WatchingKernel final : public Kernel {
 public:
  explicit WatchingKernel(Kernel& inner) : inner_(inner), before_(inheritable_descriptors()) {}
  long call(const SysCall& call) noexcept override {
    const long result = inner_.call(call);
    if (const std::string now = inheritable_descriptors(); now != before_) leaked_ = now;
    return result;
  }
  const std::string& leaked() const noexcept { return leaked_; }

 private:
  Kernel& inner_;
  std::string before_;
  std::string leaked_{};
};

}  // namespace

TEST_CASE("Hostile image: symbolic links in the place of /dev, /proc, /sys, targets and files never lead to the host") {
  const std::vector<std::string> places{"dev",          "proc",     "sys",         "dev/pts", "dev/shm",    "dev/mqueue", "dev/null",
                                        "dev/fd",       "dev/ptmx", "tmp",         "data",    "data/dir",   "data/file",  "etc",
                                        "etc/hostname", "etc/mtab", "etc/nologin", "var",     "var/lib/app"};
  std::size_t runs = 0;
  for (const Variant& variant : few_variants()) {
    World world{variant.mode};
    build_image(world);
    const std::string before = snapshot(world / "canary") + snapshot(world / "src");
    const std::string up = "../../../../../../../../../..";
    const std::vector<std::string> links{world / "canary", up + (world / "canary"), world / "canary/missing"};
    for (const std::string& place : places) {
      for (const std::string& link : links) {
        INFO(variant.name() << ": " << place << " -> " << link);
        const std::string root = "root" + std::to_string(runs);
        runs += 1;
        world.build("root", {});
        world.build("root", {place + " -> " + link});
        const bool enter = runs % 2 == 0;
        CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
          const std::vector<Mount> mounts = inside.mounts();
          const Report report = inside.attempt(variant, everything(world, place.find("dev/") != 0, enter));
          if (!enter) EXPECT_SAME(inside, mounted_outside(mounts, inside.mounts(), world / "root"), "");
          EXPECT(inside, report.error.domain == Domain::none || report.error.operation != no_operation);
          if (report.error.domain == Domain::none && enter) EXPECT_SAME(inside, content_of("/data/file"), "content");
        }));
        CHECK(snapshot(world / "canary") + snapshot(world / "src") == before);
        REQUIRE(::rename((world / "root").c_str(), (world / root).c_str()) == 0);
      }
    }
  }
  CHECK((runs == 0 || runs >= places.size() * 3));
}

TEST_CASE("Hostile image: harmless links in the same places keep working, inside the root") {
  for (const Variant& variant : different_variants()) {
    INFO(variant.name());
    World world{variant.mode};
    build_image(world);
    world.build("root", {"real/dev/", "real/proc/", "real/sys/", "dev -> real/dev", "proc -> /real/proc", "sys -> ../real/sys",
                         "data -> /made/later", "tmp -> /var/tmp", "var/lib -> /srv"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      inside.prepare(variant, everything(world, true, true));
      EXPECT_SAME(inside, type_of("/real/dev/null"), "char 1:3");
      EXPECT_SAME(inside, inside.mount_at("/real/proc").type, "proc");
      EXPECT_SAME(inside, inside.mount_at("/real/sys").type, "sysfs");
      EXPECT_SAME(inside, content_of("/made/later/file"), "content");
      EXPECT_SAME(inside, inside.mount_at("/var/tmp").type, "tmpfs");
      EXPECT_SAME(inside, type_of("/srv/app"), "directory");
    }));
  }
}

TEST_CASE(
    "Hostile image: /proc and /sys that are files, fifos or dangling links are refused or made inside the root, never mounted elsewhere") {
  for (const Variant& variant : different_variants()) {
    for (const std::string entry :
         {"proc=file", "proc|", "proc -> nowhere", "proc -> proc", "proc -> /proc", "sys=file", "sys -> proc/self/root/sys"}) {
      INFO(variant.name() << ", " << entry);
      World world{variant.mode};
      world.build("root", {entry});
      const bool loop = entry == "proc -> proc" || entry == "proc -> /proc";
      const bool made = entry == "proc -> nowhere" || entry.starts_with("sys -> ");
      CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
        const std::vector<Mount> mounts = inside.mounts();
        const MountSpec spec = entry.starts_with("proc") ? MountSpec::proc() : MountSpec::sysfs();
        const Report report = inside.attempt(variant, {PrepareRoot{.path = world / "root"}, spec});
        EXPECT_SAME(inside, mounted_outside(mounts, inside.mounts(), world / "root"), "");
        EXPECT_SAME(inside, report.error.domain == Domain::none, made);
        if (loop) EXPECT(inside, report.error.is_errno(ELOOP));
      }));
    }
  }
}

TEST_CASE("Race: a target component is exchanged with a link to the host before every single call of a set-up") {
  for (const Variant& variant : few_variants()) {
    INFO(variant.name());
    World world{variant.mode};
    build_image(world);
    const std::string before = snapshot(world / "canary");
    std::uint64_t successes = 0;
    bool acted = true;
    std::uint64_t n = 1;
    for (; acted && n < 400; ++n) {
      world.build("root", {"a/victim/deep/", "a/link -> " + world / "canary"});
      std::string answer;
      const std::string failures = in_namespaces(variant.mode, [&](Inside& inside) {
        const Plan plan =
            inside.compile(variant, {PrepareRoot{.path = world / "root"}, MountSpec::tmpfs("/a/victim/tmp"),
                                     MountSpec::bind(world / "src/file", "/a/victim/deep/file"), MakeDirectory{.path = "/a/victim/dir/x"},
                                     WriteFile{.path = "/a/victim/etc/file", .content = "x"}, RemoveFile{.path = "/a/victim/file"}});
        const std::vector<Mount> mounts = inside.mounts();
        const auto exchange = [&] {
          (void)::syscall(SYS_renameat2, AT_FDCWD, (world / "root/a/victim").c_str(), AT_FDCWD, (world / "root/a/link").c_str(),
                          2U /* RENAME_EXCHANGE */);
        };
        testing::InterleavingKernel kernel{linux_kernel(), n, exchange};
        kernel.undo_before(n + 1 + n % 3, exchange);
        const Report& report = Execution{plan, kernel}.run();
        EXPECT_SAME(inside, mounted_outside(mounts, inside.mounts(), world / "root"), "");
        inside.fail(std::string{"!"} + (kernel.acted() ? "a" : "-") + (report.error.domain == Domain::none ? "s" : "-"));
      });
      // The child's last line tells what happened; everything before it would be a failure.
      REQUIRE(failures.size() == 4);
      acted = failures[1] == 'a';
      successes += failures[2] == 's' ? 1 : 0;
      CHECK(snapshot(world / "canary") == before);
      REQUIRE(::rename((world / "root").c_str(), (world / ("old" + std::to_string(n))).c_str()) == 0);
    }
    CHECK(!acted);  // every call was tried
    CHECK(n > 30);
    CHECK(successes > n / 3);  // most windows do no harm at all
  }
}

TEST_CASE("Race: another process exchanges a target component with a link to the host all the time") {
  for (const Variant& variant : different_variants()) {
    INFO(variant.name());
    World world{variant.mode};
    build_image(world);
    world.build("root", {"a/victim/", "a/link -> " + world / "canary"});
    const std::string before = snapshot(world / "canary");
    const pid_t attacker = ::fork();
    if (attacker == 0) {
      while (true) {
        (void)::syscall(SYS_renameat2, AT_FDCWD, (world / "root/a/victim").c_str(), AT_FDCWD, (world / "root/a/link").c_str(), 2U);
      }
    }
    std::size_t succeeded = 0;
    std::size_t outside = 0;
    for (int i = 0; i < 40; ++i) {
      const std::string failures = in_namespaces(variant.mode, [&](Inside& inside) {
        const std::vector<Mount> mounts = inside.mounts();
        const Report report =
            inside.attempt(variant, {PrepareRoot{.path = world / "root"}, MountSpec::tmpfs("/a/victim/dir"),
                                     MountSpec::bind(world / "src/file", "/a/victim/new/file"), MakeDirectory{.path = "/a/victim/made"},
                                     WriteFile{.path = "/a/victim/file", .content = "x"}});
        EXPECT_SAME(inside, mounted_outside(mounts, inside.mounts(), world / "root"), "");
        if (report.error.domain == Domain::none) inside.fail("!s");
      });
      succeeded += failures == "!s\n" ? 1 : 0;
      outside += !failures.empty() && failures != "!s\n" ? 1 : 0;
    }
    ::kill(attacker, SIGKILL);
    ::waitpid(attacker, nullptr, 0);
    CHECK(outside == 0);
    CHECK(succeeded > 0);
    CHECK(snapshot(world / "canary") == before);
  }
}

TEST_CASE("MaskPaths: a /dev/null of the image that is anything else is refused, and nothing is shown instead") {
  struct Row {
    const char* what;
    std::function<void(const std::string& dev)> make;
  };
  const std::vector<Row> rows{
      {"missing", [](const std::string&) {}},
      {"a file", [](const std::string& dev) { (void)write_to(dev + "/null", "x"); }},
      {"a link to a secret", [](const std::string& dev) { (void)::symlink("/secret", (dev + "/null").c_str()); }},
      {"a fifo", [](const std::string& dev) { (void)::mkfifo((dev + "/null").c_str(), 0666); }},
      {"/dev/zero", [](const std::string& dev) { (void)::mknod((dev + "/null").c_str(), S_IFCHR | 0666, makedev(1, 5)); }},
      {"a block device 1:3", [](const std::string& dev) { (void)::mknod((dev + "/null").c_str(), S_IFBLK | 0666, makedev(1, 3)); }},
      {"character device 0:0", [](const std::string& dev) { (void)::mknod((dev + "/null").c_str(), S_IFCHR | 0666, makedev(0, 0)); }},
  };
  for (const Variant& variant : different_variants()) {
    if (variant.user_namespace()) continue;  // device nodes
    for (const Row& row : rows) {
      INFO(variant.name() << ", " << row.what);
      World world{variant.mode};
      world.build("root", {"dev/", "secret=s", "hide/me=secret"});
      row.make(world / "root/dev");
      CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
        const Report report = inside.attempt(variant, {PrepareRoot{.path = world / "root"}, MaskPaths{.paths = {"/hide/me"}}, EnterRoot{}});
        EXPECT(inside, report.error.domain != Domain::none);
        EXPECT(inside, report.entered_by == RootEntry::none);
      }));
    }
  }
}

TEST_CASE("MaskPaths and ReadonlyPaths: what they name is empty or read-only, in /proc and through links of the image") {
  for (const Variant& variant : different_variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"secret/file=s", "keys/key=k", "link -> /keys", "conf/x=1"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, MountSpec::proc(), DeviceSetup{},
                               MaskPaths{.paths = {"/secret", "/link/key", "/proc/timer_list", "/nowhere/at/all"}},
                               ReadonlyPaths{.paths = {"/conf", "/proc/sys", "/nowhere"}}, EnterRoot{}});
      EXPECT_SAME(inside, type_of("/secret/file"), "No such file or directory");
      EXPECT_SAME(inside, writable("/secret"), false);
      EXPECT_SAME(inside, content_of("/keys/key"), "");
      EXPECT_SAME(inside, type_of("/keys/key"), "char 1:3");
      if (type_of("/proc/timer_list") != "No such file or directory") EXPECT_SAME(inside, content_of("/proc/timer_list"), "");
      EXPECT_SAME(inside, write_to("/conf/x", "2"), EROFS);
      EXPECT(inside, inside.mount_at("/proc/sys").has("ro"));
    }));
  }
}

TEST_CASE("Hostile /proc after entry: on a kernel whose calls take paths, \"/proc/self/fd/N\" of the image is not believed") {
  for (const Variant& variant : different_variants()) {
    if (variant.features.mount_setattr) continue;
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"decoy/"});
    for (int fd = 3; fd < 64; ++fd) world.build("root", {"proc/self/fd/" + std::to_string(fd) + " -> /decoy"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const Report report =
          inside.attempt(variant, {PrepareRoot{.path = world / "root"}, MountSpec::tmpfs("/decoy"), EnterRoot{}, RemountReadonly{}});
      EXPECT(inside, report.error.is(ChildErrc::wrong_filesystem));
      EXPECT(inside, !inside.mount_at("/decoy").has("ro"));
      EXPECT(inside, !inside.mount_at("/").has("ro"));
    }));
  }
}

TEST_CASE(
    "Descriptors: every one that is ever open is close-on-exec, and afterwards the same ones are open, after success and after each failing call") {
  for (const Variant& variant : few_variants()) {
    INFO(variant.name());
    World world{variant.mode};
    build_image(world);
    world.build("root", {});
    std::uint64_t calls = 0;
    for (std::uint64_t n = 0; n == 0 || n <= calls; n += n < 10 ? 1 : 5) {
      std::string failures = in_namespaces(variant.mode, [&](Inside& inside) {
        ::umask(027);
        const Plan plan = inside.compile(variant, everything(world, true, true));
        testing::FaultKernel faulty{linux_kernel()};
        std::uint64_t fallible = 0;  // close(2) releases the descriptor whatever it answers, umask(2) cannot fail
        faulty.fail_when([&](const SysCall& call) { return call.number != SYS_close && call.number != SYS_umask && ++fallible == n; }, EIO);
        WatchingKernel kernel{faulty};
        const std::string before = open_descriptors();
        const Report& report = Execution{plan, kernel}.run();
        EXPECT_SAME(inside, kernel.leaked(), "");
        EXPECT_SAME(inside, open_descriptors(), before);
        EXPECT_SAME(inside, ::umask(0), mode_t{027});
        if (n == 0) {
          EXPECT_SAME(inside, describe(report.error, &plan), "success");
          inside.fail('!' + std::to_string(fallible));
        }
      });
      if (n == 0) {
        REQUIRE(failures.starts_with('!'));
        calls = std::stoull(failures.substr(1));
        CHECK(calls > 60);
      } else {
        INFO("call " << n);
        CHECK_NOTHING_WRONG(failures);
      }
    }
  }
}

TEST_CASE("No second try by path: where move_mount or open_tree fails, that is the end") {
  for (const Variant& variant : different_variants()) {
    if (!variant.features.mount_by_descriptor) continue;
    for (const char* call : {"move_mount", "open_tree"}) {
      for (const int error_number : {ELOOP, EINVAL, EPERM, ENOSYS}) {
        INFO(variant.name() << ", " << call << ", errno " << error_number);
        World world{variant.mode};
        build_image(world);
        world.build("root", {});
        CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
          const Plan plan =
              inside.compile(variant, {PrepareRoot{.path = world / "root"}, MountSpec::bind(world / "src/dir", "/data"), EnterRoot{}});
          testing::RecordingKernel recorder{linux_kernel()};
          testing::FaultKernel kernel{recorder};
          kernel.fail_all(call, error_number);
          const Report& report = Execution{plan, kernel}.run();
          EXPECT(inside, report.error.is_errno(error_number));
          EXPECT_SAME(inside, std::string{find_syscall(long{report.error.system_call})->name}, call);
          for (const testing::RecordedCall& made : recorder.calls()) {
            if (made.call.number == SYS_mount) EXPECT(inside, (made.call.arguments[3] & MS_BIND) == 0);
          }
        }));
      }
    }
  }
}

TEST_CASE(
    "Seccomp: without openat2 and the descriptor-based mount calls the plan for old kernels works, and the one for new kernels fails closed") {
  for (const Mode mode : modes()) {
    for (const int error_number : {ENOSYS, EPERM}) {
      INFO(support::name_of(mode) << ", errno " << error_number);
      World world{mode};
      build_image(world);
      world.build("root", {"etc/name=box"});
      Variant old{mode, "none", KernelFeatures::none()};
      CHECK_NOTHING_WRONG(in_namespaces(mode, [&](Inside& inside) {
        refuse_system_calls(newer_calls(), error_number);
        inside.prepare(old, everything(world, true, true));
        EXPECT_SAME(inside, content_of("/etc/name"), "box");
      }));
      Variant newest{mode, "6.18", KernelFeatures::linux_6_18()};
      CHECK_NOTHING_WRONG(in_namespaces(mode, [&](Inside& inside) {
        refuse_system_calls(newer_calls(), error_number);
        const Report report = inside.attempt(newest, everything(world, true, true));
        EXPECT(inside, report.error.is_errno(error_number));
        EXPECT(inside, report.entered_by == RootEntry::none);
      }));
      // What probe() makes of such a sandbox: in a new program, because it remembers.
      CHECK_NOTHING_WRONG(in_child([&](Inside& inside) {
        refuse_system_calls(newer_calls(), error_number);
        const pid_t child = ::fork();
        if (child == 0) {
          const int quiet = ::open("/dev/null", O_WRONLY);
          ::dup2(quiet, 1);
          ::execl("/proc/self/exe", "probe", "[probe-in-sandbox]", static_cast<char*>(nullptr));
          ::_exit(127);
        }
        int status = -1;
        ::waitpid(child, &status, 0);
        EXPECT_SAME(inside, status, 0);
      }));
    }
  }
}

TEST_CASE("probe() in a sandbox without the newer calls (run by the seccomp test)", "[.probe-in-sandbox]") {
  const KernelFeatures& features = KernelFeatures::probe();
  CHECK(!features.openat2);
  CHECK(!features.mount_by_descriptor);
  CHECK(!features.mount_setattr);
  CHECK(!features.overlay_lowerdir_append);
  for (const Mode mode : modes()) {
    World world{mode};
    build_image(world);
    world.build("root", {});
    CHECK_NOTHING_WRONG(in_namespaces(mode, [&](Inside& inside) {
      inside.prepare({mode, "probed", features}, everything(world, true, true));
      EXPECT_SAME(inside, content_of("/data/file"), "content");
    }));
  }
}
