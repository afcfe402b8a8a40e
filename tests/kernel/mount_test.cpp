// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/namespaces.hpp"

// MountSpec: binds, attributes, targets, file systems and their options.

using namespace rootprep;
using namespace support;

namespace {

void make_socket(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) throw std::runtime_error("bind " + path);
  ::close(fd);
}

std::string flags_of(const Mount& mount) {
  std::string text;
  for (const char* flag : {"ro", "nosuid", "nodev", "noexec", "nosymfollow", "nodiratime", "noatime", "relatime"}) {
    if (mount.has(flag)) text += (text.empty() ? "" : ",") + std::string{flag};
  }
  return text;
}

std::string compile_error(const Variant& variant, const Pipeline& pipeline) {
  const result<Plan> plan = pipeline.compile({.features = variant.features, .user_namespace = variant.user_namespace()});
  return plan.has_value() ? "compiles" : describe(plan.assume_error());
}

}  // namespace

TEST_CASE(
    "MountSpec::bind: a directory, a file, a fifo, a socket, a device, the missing target is made of the right kind, its parents 0755") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"bin/"});
    world.build("src", {"dir/inside=1", "file=content", "fifo|"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      make_socket(world / "src/socket");
      ::umask(077);
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, MountSpec::bind(world / "src/dir", "/t/deep/dir"),
                               MountSpec::bind(world / "src/file", "/t/deep/file"), MountSpec::bind(world / "src/fifo", "/t/fifo"),
                               MountSpec::bind(world / "src/socket", "/t/socket"), MountSpec::bind("/dev/null", "/t/null"), EnterRoot{}});
      EXPECT_SAME(inside, content_of("/t/deep/dir/inside"), "1");
      EXPECT_SAME(inside, content_of("/t/deep/file"), "content");
      EXPECT_SAME(inside, type_of("/t/fifo"), "fifo");
      EXPECT_SAME(inside, type_of("/t/socket"), "socket");
      EXPECT_SAME(inside, type_of("/t/null"), "char 1:3");
      EXPECT_SAME(inside, write_to("/t/null", "x"), 0);
      EXPECT_SAME(inside, mode_of("/t"), "0755");
      EXPECT_SAME(inside, mode_of("/t/deep"), "0755");
      EXPECT_SAME(inside, inside.mounts().size(), std::size_t{6});
      for (const char* target : {"/t/deep/dir", "/t/deep/file", "/t/fifo", "/t/socket", "/t/null"}) (void)::umount2(target, MNT_DETACH);
      EXPECT_SAME(inside, type_of("/t/deep/dir"), "directory");
      EXPECT_SAME(inside, type_of("/t/deep/file"), "file");
      EXPECT_SAME(inside, type_of("/t/null"), "file");
      EXPECT_SAME(inside, mode_of("/t/deep/dir"), "0755");
      EXPECT_SAME(inside, ::umask(0), mode_t{077});
    }));
  }
}

TEST_CASE("MountSpec::bind: recursive, or the topmost mount alone") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {});
    world.build("src", {"sub/"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      EXPECT(inside, ::mount("tmpfs", (world / "src/sub").c_str(), "tmpfs", 0, nullptr) == 0);
      EXPECT_SAME(inside, write_to(world / "src/sub/file", "x"), 0);
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, MountSpec::bind(world / "src", "/all"),
                               MountSpec::bind(world / "src", "/top").not_recursive(), EnterRoot{}});
      EXPECT_SAME(inside, content_of("/all/sub/file"), "x");
      EXPECT(inside, !inside.is_mount("/top/sub"));
      EXPECT_SAME(inside, type_of("/top/sub/file"), "No such file or directory");
    }));
  }
}

TEST_CASE("MountSpec::bind: attributes are set, cleared or kept, one by one") {
  struct Row {
    unsigned long source_flags;
    MountAttributes attributes;
    const char* expected;
  };
  using S = Setting;
  const std::vector<Row> rows{
      {0, {}, "relatime"},
      {0, {.ro = S::set}, "ro,relatime"},
      {MS_NOSUID | MS_NOEXEC, {}, "nosuid,noexec,relatime"},
      {MS_NOSUID | MS_NOEXEC, {.ro = S::set}, "ro,nosuid,noexec,relatime"},
      {MS_NOSUID | MS_NOEXEC, {.nosuid = S::clear}, "noexec,relatime"},
      {MS_RDONLY | MS_NODEV, {.ro = S::clear, .noexec = S::set}, "nodev,noexec,relatime"},
      {MS_NOATIME, {.nosuid = S::set}, "nosuid,noatime"},
      {MS_NOATIME, {.atime = Atime::relatime}, "relatime"},
      {MS_NOATIME | MS_NODIRATIME, {.atime = Atime::strictatime}, "nodiratime"},
      {MS_STRICTATIME, {.nodev = S::set}, "nodev"},
      {MS_STRICTATIME, {.nodiratime = S::set}, "nodiratime"},
      {MS_NODIRATIME, {.nodiratime = S::clear, .atime = Atime::noatime}, "noatime"},
      {MS_NODIRATIME, {.nodiratime = S::clear}, "relatime"},
      {0,
       {.ro = S::set, .nosuid = S::set, .nodev = S::set, .noexec = S::set, .nodiratime = S::set, .atime = Atime::noatime},
       "ro,nosuid,nodev,noexec,nodiratime,noatime"},
      {0, {.nosymfollow = S::set}, "nosymfollow,relatime"},
  };
  for (const Variant& variant : variants()) {
    World world{variant.mode};
    world.build("root", {});
    world.build("src", {});
    for (const Row& row : rows) {
      INFO(variant.name() << ", source flags " << row.source_flags << ", " << row.attributes.describe());
      const Pipeline pipeline{PrepareRoot{.path = world / "root"}, MountSpec::bind(world / "src", "/t").with(row.attributes), EnterRoot{}};
      const bool can_nosymfollow = variant.features.nosymfollow;
      if (row.attributes.nosymfollow != S::keep && !can_nosymfollow) {
        CHECK(compile_error(variant, pipeline) == describe(Error::from_plan(PlanErrc::unsupported_by_kernel)));
        continue;
      }
      CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
        EXPECT(inside, ::mount("tmpfs", (world / "src").c_str(), "tmpfs", 0, nullptr) == 0);
        if (row.source_flags != 0)
          EXPECT(inside, ::mount(nullptr, (world / "src").c_str(), nullptr, MS_REMOUNT | MS_BIND | row.source_flags, nullptr) == 0);
        inside.prepare(variant, pipeline);
        EXPECT_SAME(inside, flags_of(inside.mount_at("/t")), row.expected);
      }));
    }
  }
}

TEST_CASE("MountSpec::bind: recursive attributes change every mount of the tree, or are refused") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {});
    world.build("src", {"sub/"});
    const Pipeline pipeline{PrepareRoot{.path = world / "root"},
                            MountSpec::bind(world / "src", "/r").with_recursive({.ro = Setting::set, .noexec = Setting::set}),
                            MountSpec::bind(world / "src", "/t").with({.ro = Setting::set}), EnterRoot{}};
    if (!variant.features.mount_setattr) {
      CHECK(compile_error(variant, pipeline) == describe(Error::from_plan(PlanErrc::unsupported_by_kernel)));
      continue;
    }
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      EXPECT(inside, ::mount("tmpfs", (world / "src/sub").c_str(), "tmpfs", 0, nullptr) == 0);
      inside.prepare(variant, pipeline);
      EXPECT_SAME(inside, flags_of(inside.mount_at("/r")), "ro,noexec,relatime");
      EXPECT_SAME(inside, flags_of(inside.mount_at("/r/sub")), "ro,noexec,relatime");
      EXPECT_SAME(inside, flags_of(inside.mount_at("/t")), "ro,relatime");
      EXPECT_SAME(inside, flags_of(inside.mount_at("/t/sub")), "relatime");
    }));
  }
}

TEST_CASE("MountSpec::bind: what an outer user namespace has locked is kept, and clearing it is EPERM") {
  for (const Variant& variant : variants(Mode::rootless)) {
    if (::geteuid() != 0) {
      skip("locked mounts: making them needs root");
      return;
    }
    INFO(variant.name());
    World world{Mode::rootless};
    world.build("root", {});
    world.build("src", {"sub/"});
    CHECK_NOTHING_WRONG(in_namespaces(Mode::root, [&](Inside& host) {
      const std::string src = world / "src";
      host.expect(::mount(src.c_str(), src.c_str(), nullptr, MS_BIND, nullptr) == 0 &&
                      ::mount(nullptr, src.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOATIME, nullptr) == 0 &&
                      ::mount("tmpfs", (src + "/sub").c_str(), "tmpfs", 0, nullptr) == 0,
                  "the host's mounts", __FILE__, __LINE__);
      const auto try_bind = [&](const MountSpec& spec, const char* expected_flags, int expected_error) {
        const std::string failures = in_namespaces(Mode::rootless, [&](Inside& inside) {
          const Report report = inside.attempt(variant, {PrepareRoot{.path = world / "root"}, spec, EnterRoot{}});
          if (expected_error != 0) {
            EXPECT(inside, report.error.is_errno(expected_error));
          } else {
            EXPECT_SAME(inside, describe(report.error), "success");
            EXPECT_SAME(inside, flags_of(inside.mount_at("/t")), expected_flags);
          }
        });
        if (!failures.empty()) host.fail(spec.describe() + ": " + failures);
      };
      try_bind(MountSpec::bind(src, "/t"), "nosuid,nodev,noatime", 0);
      try_bind(MountSpec::bind(src, "/t").with({.ro = Setting::set}), "ro,nosuid,nodev,noatime", 0);
      try_bind(MountSpec::bind(src, "/t").with({.noexec = Setting::set}), "nosuid,nodev,noexec,noatime", 0);
      try_bind(MountSpec::bind(src, "/t").with({.nosuid = Setting::clear}), "", EPERM);
      try_bind(MountSpec::bind(src, "/t").with({.atime = Atime::relatime}), "", EPERM);
      try_bind(MountSpec::bind(src, "/t").not_recursive(), "", EINVAL);  // it would uncover what the mount below covers
    }));
  }
}

TEST_CASE("MountSpec::bind: propagation of the new mount") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {});
    world.build("src", {"sub/"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      EXPECT(inside, ::mount("tmpfs", (world / "src").c_str(), "tmpfs", 0, nullptr) == 0);
      EXPECT(inside,
             ::mkdir((world / "src/sub").c_str(), 0755) == 0 && ::mount("tmpfs", (world / "src/sub").c_str(), "tmpfs", 0, nullptr) == 0);
      const auto bind = [&](const char* target, Propagation propagation) {
        return MountSpec::bind(world / "src", target).with_propagation(propagation);
      };
      inside.prepare(variant, {PrepareRoot{.path = world / "root", .propagation = Propagation::private_}, bind("/keep", Propagation::keep),
                               bind("/shared", Propagation::shared), bind("/unbindable", Propagation::unbindable),
                               bind("/slave", Propagation::slave), bind("/flat", Propagation::shared).not_recursive(),
                               MountSpec::tmpfs("/tmpfs").with_propagation(Propagation::shared), EnterRoot{}});
      EXPECT_SAME(inside, inside.mount_at("/keep").peers, "");
      EXPECT(inside, inside.mount_at("/shared").shared() && inside.mount_at("/shared/sub").shared());
      EXPECT(inside, inside.mount_at("/unbindable").unbindable() && inside.mount_at("/unbindable/sub").unbindable());
      EXPECT(inside, inside.mount_at("/flat").shared() && !inside.is_mount("/flat/sub"));
      EXPECT(inside, inside.mount_at("/tmpfs").shared());
    }));
  }
}

TEST_CASE("MountSpec::bind: an optional source that is missing is skipped, and the report says so, on the host and inside the root") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"here=x"});
    world.build("src", {"file=content"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const Pipeline pipeline{PrepareRoot{.path = world / "root"},
                              MountSpec::bind(world / "src/missing", "/a/missing").optional_source(),
                              MountSpec::bind(world / "src/file/below-a-file", "/a/missing").optional_source(),
                              MountSpec::bind(world / "root/missing", "/b/missing").optional_source(),
                              MountSpec::bind(world / "src/file", "/a/file").optional_source(),
                              MountSpec::bind(world / "root/here", "/a/here").optional_source(),
                              EnterRoot{}};
      const Plan plan = inside.compile(variant, pipeline);
      const Report& report = Execution{plan}.run();
      EXPECT_SAME(inside, describe(report.error, &plan), "success");
      std::string skipped;
      for (const Deviation& deviation : deviations(plan, report)) {
        EXPECT(inside, deviation.note.find("skipped") != std::string::npos);
        EXPECT(inside, plan.steps()[deviation.step].optional);
        skipped += std::to_string(deviation.step) + ' ';
      }
      EXPECT_SAME(inside, skipped, "1 2 3 ");
      EXPECT_SAME(inside, content_of("/a/file"), "content");
      EXPECT_SAME(inside, content_of("/a/here"), "x");
      EXPECT_SAME(inside, type_of("/a/missing"), "No such file or directory");
      EXPECT_SAME(inside, type_of("/b"), "No such file or directory");
    }));
    CHECK(compile_error(variant, {PrepareRoot{.path = world / "root"}, MountSpec::bind(world / "src/missing", "/a")})
              .starts_with("a path does not exist"));
  }
}

TEST_CASE(
    "MountSpec::bind_descriptor: a descriptor of this namespace, a detached tree of another one, and a plain descriptor of another one") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {});
    world.build("src", {"file=content", "sub/deep=d"});
    const int foreign = ::open((world / "src/sub").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    // OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
    const int detached =
        ::geteuid() == 0 ? static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, (world / "src").c_str(), 1U | O_CLOEXEC | 0x8000U)) : -1;
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const int directory = ::open((world / "src/sub").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      const int file = ::open((world / "src/file").c_str(), O_PATH | O_CLOEXEC);
      const Report report = inside.prepare(variant, {PrepareRoot{.path = world / "root"}, MountSpec::bind_descriptor(directory, "/d"),
                                                     MountSpec::bind_descriptor(file, "/f").with({.ro = Setting::set}), EnterRoot{}});
      EXPECT_SAME(inside, report.event_count, 0U);
      EXPECT_SAME(inside, content_of("/d/deep"), "d");
      EXPECT_SAME(inside, write_to("/f", "x"), EROFS);
      EXPECT(inside, ::fcntl(directory, F_GETFD) == FD_CLOEXEC && ::fcntl(file, F_GETFD) == FD_CLOEXEC);  // still the caller's
    }));
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const Report report =
          inside.attempt(variant, {PrepareRoot{.path = world / "root"}, MountSpec::bind_descriptor(foreign, "/d"), EnterRoot{}});
      EXPECT(inside, report.error.is_errno(EINVAL));
    }));
    if (detached >= 0 && variant.features.mount_by_descriptor) {
      CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
        inside.prepare(variant, {PrepareRoot{.path = world / "root"},
                                 MountSpec::bind_descriptor(detached, "/tree").with({.ro = Setting::set}), EnterRoot{}});
        EXPECT_SAME(inside, content_of("/tree/sub/deep"), "d");
        EXPECT_SAME(inside, write_to("/tree/file", "x"), EROFS);
      }));
    }
    ::close(foreign);
    if (detached >= 0) ::close(detached);
  }
}

TEST_CASE("MountSpec::bind: a source inside the new root, made by an earlier step, is found at its turn and never outside the root") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"made/", "etc/secret=of the image", "link -> /etc/secret", "up -> ../../../../etc"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, MountSpec::tmpfs("/made"),
                               WriteFile{.path = "/made/file", .content = "new"}, MountSpec::bind(world / "root/made/file", "/a"),
                               MountSpec::bind(world / "root/link", "/b"), MountSpec::bind(world / "root/up", "/c"), EnterRoot{}});
      EXPECT_SAME(inside, content_of("/a"), "new");
      EXPECT_SAME(inside, content_of("/b"), "of the image");
      EXPECT_SAME(inside, content_of("/c/secret"), "of the image");
    }));
  }
}

TEST_CASE("MountSpec: a source made by a mount before entry can be bound after entry") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"proc/", "data/file=x"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, MountSpec::proc(), EnterRoot{}, MountSpec::tmpfs("/late"),
                               MountSpec::bind(world / "root/data", "/again").with({.ro = Setting::set})});
      EXPECT_SAME(inside, content_of("/again/file"), "x");
      EXPECT_SAME(inside, write_to("/again/file", "y"), EROFS);
      EXPECT_SAME(inside, inside.mount_at("/late").type, "tmpfs");
    }));
    CHECK(compile_error(variant, {PrepareRoot{.path = world / "root"}, EnterRoot{}, MountSpec::bind("/etc", "/etc")})
              .starts_with("a path of the host is used after the new root was entered"));
  }
}

TEST_CASE("MountSpec: a proc for a root that has none can be mounted after entry, on every kernel") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {});
    if (variant.mode == Mode::rootless) continue;  // no proc without a visible one: the kernel's rule (EPERM)
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, EnterRoot{}, MountSpec::proc(), RemountReadonly{}});
      EXPECT_SAME(inside, type_of("/proc/self/status"), "file");
      EXPECT(inside, inside.mount_at("/").has("ro"));
    }));
  }
}

TEST_CASE("MountSpec: targets through symbolic links of the image are followed inside the root") {
  struct Row {
    const char* target;
    const char* where;  // inside the root
  };
  const std::vector<Row> rows{
      {"/var/run/app", "/run/app"},              // absolute link, as on every Debian
      {"/var/lock/app", "/run/lock/app"},        // through a link whose target is missing: made
      {"/lib/app", "/usr/lib/app"},              // relative link
      {"/climb/app", "/app"},                    // ".." above the root stays in the root
      {"/chain/app", "/run/app"},                // a link to a link
      {"//run//./x/../app/", "/run/app"},        // a spelling
      {"/etc/resolv.conf", "/run/resolv/conf"},  // dangling in the last component
  };
  for (const Variant& variant : variants()) {
    for (const Row& row : rows) {
      INFO(variant.name() << ", " << row.target);
      World world{variant.mode};
      world.build("root", {"run/x/", "usr/lib/", "var/run -> /run", "var/lock -> /run/lock", "lib -> usr/lib", "climb -> ../../../..",
                           "chain -> var/run", "etc/resolv.conf -> ../run/resolv/conf"});
      world.build("src", {"file=content"});
      CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
        inside.prepare(variant, {PrepareRoot{.path = world / "root"}, MountSpec::bind(world / "src/file", row.target), EnterRoot{}});
        EXPECT_SAME(inside, content_of(row.target == std::string{"//run//./x/../app/"} ? "/run/app" : row.target), "content");
        EXPECT(inside, inside.is_mount(row.where));
      }));
    }
  }
}

TEST_CASE("MountSpec: on \"/\" the new mount becomes the root for the steps after it") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"old/"});
    world.build("src", {"new/file=x"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      inside.prepare(variant, {PrepareRoot{.path = world / "root", .mount = RootMount::none}, MountSpec::tmpfs("/", {.mode = 0755}),
                               MakeDirectory{.path = "/made"}, EnterRoot{}});
      EXPECT_SAME(inside, type_of("/made"), "directory");
      EXPECT_SAME(inside, type_of("/old"), "No such file or directory");
      EXPECT_SAME(inside, inside.mount_at("/").type, "tmpfs");
      EXPECT_SAME(inside, inside.mounts().size(), std::size_t{1});
    }));
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, MountSpec::bind(world / "src", "/").with({.ro = Setting::set}),
                               MountSpec::tmpfs("/new"), EnterRoot{}});
      EXPECT_SAME(inside, inside.mount_at("/new").type, "tmpfs");
      EXPECT_SAME(inside, write_to("/file", "x"), EROFS);
    }));
    CHECK(content_of(world / "root/made") == "No such file or directory");
  }
}

TEST_CASE("MountSpec: tmpfs, proc, sysfs, devpts and mqueue with their options") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, MountSpec::tmpfs("/tmp", {.size = 65536, .mode = 01770, .inodes = 20}),
                               MountSpec::tmpfs("/plain"), MountSpec::proc("/proc", {.hidepid = "2"}), MountSpec::sysfs(),
                               MountSpec::devpts("/dev/pts", {.mode = 0600, .ptmx_mode = 0640}), MountSpec::mqueue(), EnterRoot{}});
      struct statvfs status {};
      EXPECT(inside, ::statvfs("/tmp", &status) == 0 && status.f_blocks * status.f_frsize == 65536 && status.f_files == 20);
      EXPECT_SAME(inside, mode_of("/tmp"), "1770");
      EXPECT_SAME(inside, mode_of("/plain"), "1777");
      EXPECT_SAME(inside, flags_of(inside.mount_at("/plain")), "nosuid,nodev,relatime");
      EXPECT_SAME(inside, flags_of(inside.mount_at("/proc")), "nosuid,nodev,noexec,relatime");
      EXPECT(inside, inside.mount_at("/proc").super_options.find("hidepid=invisible") != std::string::npos);
      EXPECT_SAME(inside, flags_of(inside.mount_at("/sys")), "ro,nosuid,nodev,noexec,relatime");
      EXPECT_SAME(inside, inside.mount_at("/sys").type, "sysfs");
      EXPECT_SAME(inside, mode_of("/dev/pts/ptmx"), "0640");
      EXPECT_SAME(inside, type_of("/dev/pts/ptmx"), "char 5:2");
      EXPECT_SAME(inside, flags_of(inside.mount_at("/dev/pts")), "nosuid,noexec,relatime");
      EXPECT_SAME(inside, inside.mount_at("/dev/mqueue").type, "mqueue");
      EXPECT_SAME(inside, inside.mount_at("/dev/mqueue").source, "mqueue");
    }));
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const Pipeline wrong{PrepareRoot{.path = world / "root"}, MountSpec::filesystem("tmpfs", "/t", {{"no_such_option", "1"}})};
      const Plan plan = inside.compile(variant, wrong);
      Execution execution{plan};
      const Report& report = execution.run();
      EXPECT(inside, report.error.is_errno(EINVAL));
      EXPECT_SAME(inside, plan.steps()[report.error.step].description, "mount tmpfs on /t");
      const std::string message{report.kernel_message, report.kernel_message_size};
      EXPECT_SAME(inside, message.find("no_such_option") != std::string::npos,
                  variant.features.mount_by_descriptor);  // fsopen's descriptor knows more
      EXPECT(
          inside,
          inside.attempt(variant, {PrepareRoot{.path = world / "root"}, MountSpec::filesystem("nosuchfs", "/t")}).error.is_errno(ENODEV));
    }));
  }
}

TEST_CASE("MountSpec: a target that is a file for a directory, or the other way round, is an error") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"file=x", "dir/"});
    world.build("src", {"file=x", "dir/"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      for (const MountSpec& spec :
           {MountSpec::tmpfs("/file"), MountSpec::bind(world / "src/dir", "/file"), MountSpec::bind(world / "src/file", "/dir"),
            MountSpec::tmpfs("/file/below"), MountSpec::proc("/file")}) {
        const Report report = inside.attempt(variant, {PrepareRoot{.path = world / "root"}, spec});
        EXPECT(inside, report.error.is_errno(ENOTDIR) || report.error.is_errno(EINVAL));
      }
    }));
  }
}
