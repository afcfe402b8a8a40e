// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "catch.hpp"
#include "rootprep/testing/fault_kernel.hpp"
#include "rootprep/testing/recording_kernel.hpp"
#include "support/namespaces.hpp"

// The root: PrepareRoot, the ways to enter it, RemountReadonly, SetPropagation.

using namespace rootprep;
using namespace support;

namespace {

// Runs under a kernel that refuses some calls; the plan is compiled for the variant.
Report run_with(Inside& inside, const Variant& variant, const Pipeline& pipeline, const std::function<void(testing::FaultKernel&)>& faults,
                testing::RecordingKernel* recorder = nullptr) {
  const Plan plan = inside.compile(variant, pipeline);
  testing::FaultKernel faulty{recorder != nullptr ? static_cast<Kernel&>(*recorder) : linux_kernel()};
  faults(faulty);
  return Execution{plan, faulty}.run();
}

}  // namespace

TEST_CASE("EnterRoot: the new root is all there is, entered by pivot_root") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"etc/name=box", "bin/"});
    world.build("canary", {"host-canary=x"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const Report report = inside.prepare(variant, {PrepareRoot{.path = world / "root"}, EnterRoot{}});
      EXPECT(inside, report.entered_by == RootEntry::pivot_root);
      EXPECT_SAME(inside, report.event_count, 0U);
      EXPECT_SAME(inside, content_of("/etc/name"), "box");
      EXPECT_SAME(inside, content_of("etc/name"), "box");  // the working directory is the new "/"
      EXPECT_SAME(inside, inside.mounts().size(), std::size_t{1});
      EXPECT(inside, inside.mount_at("/").root.ends_with("/root"));
      EXPECT(inside, !inside.mount_at("/").shared());
      // Neither ".." nor the absolute name nor an unmount leads back.
      EXPECT_SAME(inside, type_of("/../../" + world.path()), "No such file or directory");
      EXPECT_SAME(inside, type_of(world / "canary"), "No such file or directory");
      (void)::umount2("/", MNT_DETACH);
      EXPECT_SAME(inside, type_of(world / "canary"), "No such file or directory");
      EXPECT_SAME(inside, type_of("/etc/name"), "file");
    }));
  }
}

TEST_CASE("PrepareRoot: no mount reaches a host that shares its mounts, and the old root's unmount does not either") {
  struct Case {
    Propagation propagation;
    bool recursive;
  };
  for (const Variant& variant : variants()) {
    for (const Case& c : {Case{Propagation::slave, true}, Case{Propagation::private_, true}, Case{Propagation::slave, false},
                          Case{Propagation::private_, false}, Case{Propagation::shared, false}, Case{Propagation::unbindable, false},
                          Case{Propagation::unbindable, true}}) {
      if (::geteuid() != 0) continue;  // variants() has said so
      INFO(variant.name() << ", " << (c.recursive ? "r" : "") << rootprep::name_of(c.propagation));
      World world{variant.mode};
      world.build("root", {"data/", "bin/"});
      world.build("source", {"file=content"});
      CHECK_NOTHING_WRONG(in_namespaces_of_sharing_host(variant.mode, [&](Inside& inside) {
        inside.prepare(variant, {PrepareRoot{.path = world / "root", .propagation = c.propagation, .recursive = c.recursive},
                                 MountSpec::bind(world / "source", "/data"), MountSpec::bind("/dev/null", "/null"),
                                 MountSpec::tmpfs("/scratch"), EnterRoot{.allow_move = false}, MountSpec::tmpfs("/after")});
        EXPECT_SAME(inside, content_of("/data/file"), "content");
        const Mount root = inside.mount_at("/");
        EXPECT_SAME(inside, root.shared(), c.propagation == Propagation::shared);
        EXPECT_SAME(inside, root.unbindable(), c.propagation == Propagation::unbindable);
        EXPECT(inside, c.propagation != Propagation::private_ || !root.slave());
      }));
    }
  }
}

TEST_CASE("PrepareRoot: the mount above the root is private, so nothing of the host appears over it") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("above", {"root/etc/"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      // The root lies on a shared mount of its own.
      EXPECT(inside, ::mount((world / "above").c_str(), (world / "above").c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0);
      EXPECT(inside, ::mount(nullptr, (world / "above").c_str(), nullptr, MS_SHARED, nullptr) == 0);
      EXPECT(inside, inside.mount_at(world / "above").shared());
      inside.prepare(variant, {PrepareRoot{.path = world / "above/root"}});
      EXPECT(inside, !inside.mount_at(world / "above").shared());
      EXPECT(inside, !inside.mount_at(world / "above").slave());
      EXPECT(inside, inside.is_mount(world / "above/root"));
    }));
  }
}

TEST_CASE("PrepareRoot: a root that is reached through a symbolic link, and one that holds mounts already") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("real", {"etc/name=box", "inner/"});
    world.build(".", {"link -> real"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      EXPECT(inside, ::mount("tmpfs", (world / "real/inner").c_str(), "tmpfs", 0, nullptr) == 0);
      EXPECT_SAME(inside, write_to(world / "real/inner/file", "x"), 0);
      inside.prepare(variant, {PrepareRoot{.path = world / "link"}, EnterRoot{}});
      EXPECT_SAME(inside, content_of("/etc/name"), "box");
      EXPECT_SAME(inside, content_of("/inner/file"), "x");  // the bind is recursive
    }));
  }
}

TEST_CASE("EnterRoot: where pivot_root answers EINVAL the root is moved, the host's procfs and sysfs are hidden, and the report says so") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"etc/name=box", "proc/"});
    world.build("canary", {"host-canary=x"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const int host = ::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
      const Plan plan = inside.compile(variant, {PrepareRoot{.path = world / "root"}, MountSpec::proc(), EnterRoot{}});
      testing::FaultKernel kernel{linux_kernel()};
      kernel.fail_all("pivot_root", EINVAL);
      const Report report = Execution{plan, kernel}.run();
      EXPECT_SAME(inside, describe(report.error, &plan), "success");
      EXPECT(inside, report.entered_by == RootEntry::move_root);
      const std::vector<Deviation> taken = deviations(plan, report);
      EXPECT_SAME(inside, taken.size(), std::size_t{1});
      EXPECT(inside, !taken.empty() && taken.front().error_number == EINVAL && taken.front().note.find("moved") != std::string::npos);
      EXPECT_SAME(inside, content_of("/etc/name"), "box");
      EXPECT_SAME(inside, type_of("/proc/self/status"), "file");  // the container's own is not hidden
      // A process that kept a descriptor of the host finds no procfs and no sysfs there.
      EXPECT(inside, ::faccessat(host, "proc/self", F_OK, 0) != 0);
      EXPECT(inside, ::faccessat(host, "proc/sys/kernel", F_OK, 0) != 0);
      EXPECT(inside, ::faccessat(host, "sys/kernel", F_OK, 0) != 0);
      // chroot(2), NOTES: the classical way out of a chroot.
      EXPECT(inside, ::mkdir("/cell", 0700) == 0 && ::chroot("/cell") == 0);
      for (int i = 0; i < 16; ++i) (void)::chdir("..");
      EXPECT(inside, ::chroot(".") == 0);
      EXPECT_SAME(inside, type_of(world / "canary"), "No such file or directory");
    }));
  }
}

TEST_CASE("MsMoveRoot: a host with two stacked procfs and one below a tmpfs keeps none of them") {
  for (const Variant& variant : variants(Mode::root)) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"etc/name=box"});
    world.build("extra", {"twice/", "covered/", "with space/"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const int extra = ::open((world / "extra").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
      const auto mount_proc = [&](const std::string& at) {
        return ::mount("proc", (world / ("extra/" + at)).c_str(), "proc", 0, nullptr) == 0;
      };
      EXPECT(inside, mount_proc("twice") && mount_proc("twice") && mount_proc("covered") && mount_proc("with space"));
      EXPECT(inside, ::mount("tmpfs", (world / "extra/covered").c_str(), "tmpfs", 0, nullptr) == 0);
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, MsMoveRoot{}});
      for (const char* at : {"twice/self", "covered/self", "with space/self"})
        EXPECT(inside, ::faccessat(extra, at, F_OK, AT_SYMLINK_NOFOLLOW) != 0);
      // What was only covered could be uncovered by whoever comes here with CAP_SYS_ADMIN: it must be gone.
      EXPECT(inside, ::fchdir(extra) == 0);
      for (const char* at : {"twice", "covered", "with space"}) {
        while (::umount2(at, MNT_DETACH) == 0) {
        }
        EXPECT(inside, ::access((std::string{at} + "/self").c_str(), F_OK) != 0);
      }
    }));
  }
}

TEST_CASE("EnterRoot: EPERM is never a reason to fall back") {
  for (const Variant& variant : variants()) {
    for (const EnterRoot& enter : {EnterRoot{}, EnterRoot{.allow_move = false, .allow_chroot = true}}) {
      INFO(variant.name() << ", " << enter.describe());
      World world{variant.mode};
      world.build("root", {"etc/"});
      CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
        testing::RecordingKernel recorder{linux_kernel()};
        const Report report = run_with(
            inside, variant, {PrepareRoot{.path = world / "root"}, enter}, [](testing::FaultKernel& k) { k.fail_all("pivot_root", EPERM); },
            &recorder);
        EXPECT(inside, report.error.is_errno(EPERM));
        EXPECT_SAME(inside, std::string{find_syscall(long{report.error.system_call})->name}, "pivot_root");
        EXPECT(inside, report.entered_by == RootEntry::none);
        EXPECT_SAME(inside, recorder.count("chroot"), std::size_t{0});
        EXPECT_SAME(inside, report.event_count, 0U);
      }));
    }
  }
}

TEST_CASE("EnterRoot: without leave to move or chroot, EINVAL is the error, with leave to chroot, chroot it is") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"etc/name=box"});
    const auto refuse = [](testing::FaultKernel& kernel) { kernel.fail_all("pivot_root", EINVAL); };
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const Report report = run_with(inside, variant, {PrepareRoot{.path = world / "root"}, EnterRoot{.allow_move = false}}, refuse);
      EXPECT(inside, report.error.is_errno(EINVAL) && report.entered_by == RootEntry::none);
    }));
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const Report report =
          run_with(inside, variant, {PrepareRoot{.path = world / "root"}, EnterRoot{.allow_move = false, .allow_chroot = true}}, refuse);
      EXPECT(inside, report.error.domain == Domain::none && report.entered_by == RootEntry::chroot);
      EXPECT_SAME(inside, report.event_count, 1U);
      EXPECT_SAME(inside, content_of("/etc/name"), "box");
    }));
  }
}

TEST_CASE("EnterRoot: a failure after pivot_root does not fall back") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"etc/"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      testing::RecordingKernel recorder{linux_kernel()};
      const Report report = run_with(
          inside, variant, {PrepareRoot{.path = world / "root"}, EnterRoot{.allow_move = true}},
          [](testing::FaultKernel& k) { k.fail_all("umount2", EINVAL); }, &recorder);
      EXPECT(inside, report.error.is_errno(EINVAL));
      EXPECT_SAME(inside, std::string{find_syscall(long{report.error.system_call})->name}, "umount2");
      EXPECT_SAME(inside, recorder.count("chroot"), std::size_t{0});
    }));
  }
}

TEST_CASE("EnterRoot: a root that is no mount is refused, whichever way is tried") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"etc/"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const Report report = inside.attempt(variant, {PrepareRoot{.path = world / "root", .mount = RootMount::none}, EnterRoot{}});
      EXPECT(inside,
             report.error.is_errno(EINVAL) || report.error.is_errno(EBUSY));  // EBUSY: pivot_root(2), on the mount of the current root
      EXPECT(inside, report.entered_by == RootEntry::none);
      EXPECT_SAME(inside, type_of(world / "root"), "directory");  // still at home
    }));
  }
}

TEST_CASE("PivotRoot from inside a chroot into a mount works, a chroot into a plain directory is EINVAL in the first operation") {
  for (const Variant& variant : variants(Mode::root)) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("jail", {});
    world.build("root", {"etc/name=box"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      EXPECT(inside, ::mount("/", (world / "jail").c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0);
      EXPECT(inside, ::chroot((world / "jail").c_str()) == 0 && ::chdir("/") == 0);
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, PivotRoot{}});
      EXPECT_SAME(inside, content_of("/etc/name"), "box");
    }));
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      EXPECT(inside, ::chroot(world.path().c_str()) == 0 && ::chdir("/") == 0);
      const Report report = inside.attempt(variant, {PrepareRoot{.path = "/root"}, PivotRoot{}});
      EXPECT(inside, report.error.is_errno(EINVAL));
      EXPECT_SAME(inside, report.error.operation, 0U);
    }));
  }
}

TEST_CASE("Chroot: the rescue shell's way, with the host's mounts still there") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"etc/name=box", "dev/"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const std::size_t before = inside.mounts().size();
      const int host = ::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
      const Report report = inside.prepare(variant, {PrepareRoot{.path = world / "root"}, MountSpec::bind("/dev", "/dev"), Chroot{}});
      EXPECT(inside, report.entered_by == RootEntry::chroot);
      EXPECT_SAME(inside, content_of("/etc/name"), "box");
      EXPECT_SAME(inside, type_of("/dev/null"), "char 1:3");
      EXPECT(inside, ::fchdir(host) == 0 && ::chroot(".") == 0);
      EXPECT(inside, inside.mounts().size() > before);
    }));
  }
}

TEST_CASE("SetPropagation: each kind, on the root and on a mount below it, before and after entering") {
  for (const Variant& variant : variants()) {
    for (const bool entered : {false, true}) {
      INFO(variant.name() << (entered ? ", after" : ", before"));
      World world{variant.mode};
      world.build("root", {"a/"});
      CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
        Pipeline pipeline{PrepareRoot{.path = world / "root", .propagation = Propagation::private_}, MountSpec::tmpfs("/a"),
                          MountSpec::tmpfs("/a/deep"), MountSpec::proc()};
        if (entered) pipeline.add(EnterRoot{});
        pipeline.add(SetPropagation{.path = "/a", .propagation = Propagation::shared, .recursive = false});
        if (!entered) pipeline.add(EnterRoot{});
        inside.prepare(variant, pipeline);
        EXPECT(inside, inside.mount_at("/a").shared());
        EXPECT(inside, !inside.mount_at("/a/deep").shared());
        EXPECT(inside, !inside.mount_at("/").shared());
        const auto set = [&](const char* path, Propagation propagation, bool recursive) {
          const Report report = inside.attempt(
              variant, {PrepareRoot{.path = "/", .mount = RootMount::none, .propagation = Propagation::slave, .recursive = false},
                        SetPropagation{.path = path, .propagation = propagation, .recursive = recursive}});
          return describe(report.error);
        };
        EXPECT_SAME(inside, set("/a", Propagation::shared, true), "success");
        EXPECT(inside, inside.mount_at("/a/deep").shared());
        EXPECT_SAME(inside, set("/a", Propagation::unbindable, true), "success");
        EXPECT(inside, inside.mount_at("/a").unbindable() && inside.mount_at("/a/deep").unbindable());
        EXPECT_SAME(inside, set("/a", Propagation::private_, false), "success");
        EXPECT(inside, !inside.mount_at("/a").unbindable() && inside.mount_at("/a/deep").unbindable());
        EXPECT(inside, set("/nowhere", Propagation::private_, false).starts_with("No such file or directory"));
      }));
    }
  }
}

TEST_CASE("RemountReadonly: the root alone, before or after entering, mounts below stay writable") {
  for (const Variant& variant : variants()) {
    for (const bool entered : {false, true}) {
      INFO(variant.name() << (entered ? ", after" : ", before"));
      World world{variant.mode};
      world.build("root", {"etc/", "data/", "proc/"});
      CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
        Pipeline pipeline{PrepareRoot{.path = world / "root"}, MountSpec::tmpfs("/data"), MountSpec::proc()};
        if (entered) pipeline.add(EnterRoot{});
        pipeline.add(RemountReadonly{});
        if (!entered) pipeline.add(EnterRoot{});
        inside.prepare(variant, pipeline);
        EXPECT(inside, inside.mount_at("/").has("ro"));
        EXPECT_SAME(inside, write_to("/etc/file", "x"), EROFS);
        EXPECT(inside, writable("/data"));
      }));
      CHECK(writable(world / "root/etc"));  // the host's own view is not touched
    }
  }
}

TEST_CASE("RemountReadonly: recursive with exceptions that stay writable, at the root and at a path") {
  for (const Variant& variant : variants()) {
    for (const std::string top : {"/", "/top"}) {
      INFO(variant.name() << ", " << top);
      const std::string base = top == "/" ? "" : top;
      World world{variant.mode};
      world.build("root", {"top/", base.substr(base.empty() ? 0 : 1) + (base.empty() ? "w/inner/" : "/w/inner/"), "other/"});
      world.directory("root" + base + "/sub");
      world.directory("root" + base + "/plain");
      CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
        const Pipeline pipeline{PrepareRoot{.path = world / "root"}, MountSpec::tmpfs(base + "/sub"), MountSpec::tmpfs(base + "/w/inner"),
                                RemountReadonly{.path = top, .recursive = true, .writable = {base + "/w"}}, EnterRoot{}};
        if (!variant.features.mount_setattr) {  // by half it would be a lie
          const result<Plan> plan = pipeline.compile({.features = variant.features, .user_namespace = variant.user_namespace()});
          EXPECT(inside, plan.has_error() && plan.assume_error().is(PlanErrc::unsupported_by_kernel));
          return;
        }
        inside.prepare(variant, pipeline);
        EXPECT_SAME(inside, write_to(base + "/plain/f", "x"), EROFS);
        EXPECT_SAME(inside, write_to(base + "/sub/f", "x"), EROFS);
        EXPECT(inside, writable(base + "/w"));
        EXPECT(inside, writable(base + "/w/inner"));
        EXPECT_SAME(inside, writable("/other"), top != "/");
      }));
    }
  }
}

TEST_CASE("RemountReadonly: flags that an outer user namespace has locked stay") {
  for (const Variant& variant : variants(Mode::rootless)) {
    if (::geteuid() != 0) continue;
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"etc/"});
    // The host mounts the root nosuid,nodev,noexec; a user namespace made after that must keep it.
    CHECK_NOTHING_WRONG(in_namespaces(Mode::root, [&](Inside& host) {
      const char* root = "/mnt";
      host.expect(::mount((world / "root").c_str(), root, nullptr, MS_BIND, nullptr) == 0, "bind", __FILE__, __LINE__);
      host.expect(::mount(nullptr, root, nullptr, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, nullptr) == 0,
                  "remount", __FILE__, __LINE__);
      const std::string failures = in_namespaces(Mode::rootless, [&](Inside& inside) {
        inside.prepare(variant, {PrepareRoot{.path = root}, RemountReadonly{}, EnterRoot{}});
        const Mount mount = inside.mount_at("/");
        EXPECT(inside, mount.has("ro") && mount.has("nosuid") && mount.has("nodev") && mount.has("noexec") && mount.has("noatime"));
      });
      if (!failures.empty()) host.fail(failures);
    }));
  }
}
