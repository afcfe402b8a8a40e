// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/namespaces.hpp"

// DeviceSetup and the small file steps.

using namespace rootprep;
using namespace support;

namespace {

struct Node {
  const char* path;
  const char* type;
};
const std::vector<Node>& standard_nodes() {
  static const std::vector<Node> nodes{{"/dev/null", "char 1:3"},   {"/dev/zero", "char 1:5"},    {"/dev/full", "char 1:7"},
                                       {"/dev/random", "char 1:8"}, {"/dev/urandom", "char 1:9"}, {"/dev/tty", "char 5:0"}};
  return nodes;
}

void drop_capability(int capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &header, data) != 0) throw std::runtime_error("capget");
  data[capability / 32].effective &= ~(1U << static_cast<unsigned>(capability % 32));
  data[capability / 32].permitted &= ~(1U << static_cast<unsigned>(capability % 32));
  if (::syscall(SYS_capset, &header, data) != 0) throw std::runtime_error("capset");
}

}  // namespace

TEST_CASE("DeviceSetup: a fresh /dev has the six devices, the links, pts, shm and mqueue, with exact modes whatever the umask") {
  for (const Variant& variant : variants()) {
    for (const DeviceMethod method : {DeviceMethod::automatic, DeviceMethod::bind}) {
      INFO(variant.name() << (method == DeviceMethod::bind ? ", bind" : ""));
      World world{variant.mode};
      world.build("root", {});
      CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
        ::umask(077);
        inside.prepare(variant, {PrepareRoot{.path = world / "root"}, MountSpec::proc(),
                                 DeviceSetup{.tmpfs_size = 1 << 20, .method = method, .shm_size = 1 << 16}, EnterRoot{}});
        for (const Node& node : standard_nodes()) {
          EXPECT_SAME(inside, type_of(node.path), node.type);
          EXPECT_SAME(inside, mode_of(node.path), "0666");
          EXPECT_SAME(inside, inside.is_mount(node.path), variant.user_namespace() || method == DeviceMethod::bind);
        }
        EXPECT_SAME(inside, write_to("/dev/null", "x"), 0);
        EXPECT_SAME(inside, write_to("/dev/full", "x"), ENOSPC);
        EXPECT_SAME(inside, mode_of("/dev"), "0755");
        EXPECT_SAME(inside, type_of("/dev/fd"), "link -> /proc/self/fd");
        EXPECT_SAME(inside, type_of("/dev/stdin"), "link -> /proc/self/fd/0");
        EXPECT_SAME(inside, type_of("/dev/stdout"), "link -> /proc/self/fd/1");
        EXPECT_SAME(inside, type_of("/dev/stderr"), "link -> /proc/self/fd/2");
        EXPECT_SAME(inside, type_of("/dev/ptmx"), "link -> pts/ptmx");
        EXPECT_SAME(inside, type_of("/dev/pts/ptmx"), "char 5:2");
        EXPECT_SAME(inside, mode_of("/dev/pts/ptmx"), "0666");
        EXPECT_SAME(inside, mode_of("/dev/shm"), "1777");
        EXPECT(inside, inside.mount_at("/dev").type == "tmpfs" && inside.mount_at("/dev").has("nosuid"));
        EXPECT(inside, inside.mount_at("/dev/shm").has("nosuid") && inside.mount_at("/dev/shm").has("nodev") &&
                           inside.mount_at("/dev/shm").has("noexec"));
        EXPECT_SAME(inside, inside.mount_at("/dev/mqueue").type, "mqueue");
        const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        EXPECT(inside, terminal >= 0 && ::grantpt(terminal) == 0 && ::unlockpt(terminal) == 0 && ::ptsname(terminal) != nullptr);
      }));
    }
  }
}

TEST_CASE(
    "DeviceSetup: without CAP_MKNOD the host's devices are bound, and the report says so, the error is EPERM if mknod was asked for") {
  for (const Variant& variant : variants(Mode::root)) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      drop_capability(CAP_MKNOD);
      const Plan plan = inside.compile(variant, {PrepareRoot{.path = world / "root"}, DeviceSetup{}, EnterRoot{}});
      const Report& report = Execution{plan}.run();
      EXPECT_SAME(inside, describe(report.error, &plan), "success");
      EXPECT_SAME(inside, deviations(plan, report).size(), std::size_t{1});
      for (const Node& node : standard_nodes()) EXPECT_SAME(inside, type_of(node.path), node.type);
      EXPECT(inside, inside.is_mount("/dev/null"));
    }));
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      drop_capability(CAP_MKNOD);
      const Report report = inside.attempt(variant, {PrepareRoot{.path = world / "root"}, DeviceSetup{.method = DeviceMethod::mknod}});
      EXPECT(inside, report.error.is_errno(EPERM));
    }));
  }
}

TEST_CASE("DeviceSetup: extra devices with their owner and mode, in directories that are made, and fifos") {
  for (const Variant& variant : variants(Mode::root)) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"opt/"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      ::umask(077);
      const std::vector<Device> extra{{.path = "fuse", .major = 10, .minor = 229, .mode = 0640, .uid = 7, .gid = 8},
                                      {.path = "/dev/net/tun", .major = 10, .minor = 200, .mode = 0600},
                                      {.path = "/opt/disk", .type = DeviceType::block, .major = 4095, .minor = 1048575, .mode = 0604},
                                      {.path = "pipe", .type = DeviceType::fifo, .mode = 0622}};
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, DeviceSetup{.extra_devices = extra}, EnterRoot{}});
      EXPECT_SAME(inside, type_of("/dev/fuse") + ' ' + mode_of("/dev/fuse"), "char 10:229 0640");
      struct stat status {};
      EXPECT(inside, ::stat("/dev/fuse", &status) == 0 && status.st_uid == 7 && status.st_gid == 8);
      EXPECT_SAME(inside, type_of("/dev/net/tun") + ' ' + mode_of("/dev/net/tun"), "char 10:200 0600");
      EXPECT_SAME(inside, mode_of("/dev/net"), "0755");
      EXPECT_SAME(inside, type_of("/opt/disk") + ' ' + mode_of("/opt/disk"), "block 4095:1048575 0604");
      EXPECT_SAME(inside, type_of("/dev/pipe") + ' ' + mode_of("/dev/pipe"), "fifo 0622");
    }));
  }
  for (const std::string path : {"", "/", "x/", "..", "/dev/.."}) {
    INFO('"' << path << '"');
    const result<Plan> plan =
        Pipeline{PrepareRoot{.path = "/tmp"}, DeviceSetup{.extra_devices = {{.path = path, .major = 1, .minor = 3}}}}.compile();
    CHECK(plan.has_error());
  }
}

TEST_CASE("DeviceSetup: an existing directory keeps what is right, an existing node of another type or number is an error") {
  struct Row {
    const char* what;
    std::function<void(const std::string& dev)> make;
    bool wrong;
  };
  const std::vector<Row> rows{
      {"nothing", [](const std::string&) {}, false},
      {"the same device", [](const std::string& dev) { (void)::mknod((dev + "/null").c_str(), S_IFCHR | 0600, makedev(1, 3)); }, false},
      {"a regular file", [](const std::string& dev) { (void)write_to(dev + "/null", "x"); }, true},
      {"another device", [](const std::string& dev) { (void)::mknod((dev + "/null").c_str(), S_IFCHR | 0666, makedev(1, 5)); }, true},
      {"a block device of that number",
       [](const std::string& dev) { (void)::mknod((dev + "/null").c_str(), S_IFBLK | 0666, makedev(1, 3)); }, true},
      {"a fifo", [](const std::string& dev) { (void)::mkfifo((dev + "/null").c_str(), 0666); }, true},
      {"a directory", [](const std::string& dev) { (void)::mkdir((dev + "/null").c_str(), 0755); }, true},
      {"a link to the right device", [](const std::string& dev) { (void)::symlink("/dev/null", (dev + "/null").c_str()); }, true},
      {"a dangling link", [](const std::string& dev) { (void)::symlink("nowhere", (dev + "/null").c_str()); }, true},
  };
  for (const Variant& variant : variants(Mode::root)) {
    for (const Row& row : rows) {
      INFO(variant.name() << ", " << row.what);
      World world{variant.mode};
      world.build("root", {"dev/pts/", "dev/ptmx=old"});
      row.make(world / "root/dev");
      CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
        const Report report = inside.attempt(variant, {PrepareRoot{.path = world / "root"}, DeviceSetup{.fresh = false}, EnterRoot{}});
        if (row.wrong) {
          EXPECT_SAME(inside, describe(report.error).substr(0, 12), describe(Error::from_child(ChildErrc::wrong_node)).substr(0, 12));
          return;
        }
        EXPECT_SAME(inside, describe(report.error), "success");
        for (const Node& node : standard_nodes()) EXPECT_SAME(inside, type_of(node.path), node.type);
        EXPECT_SAME(inside, type_of("/dev/ptmx"), "link -> pts/ptmx");
      }));
    }
  }
}

TEST_CASE("DeviceSetup: what is bound over a hostile place is the device, and its source is verified") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"dev/null=image", "dev/zero -> /etc/passwd", "etc/passwd=p", "dev/full -> /nowhere", "dev/tty|"});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const Report report = inside.attempt(
          variant, {PrepareRoot{.path = world / "root"},
                    DeviceSetup{.fresh = false, .method = DeviceMethod::bind, .pts = false, .shm = false, .mqueue = false}, EnterRoot{}});
      if (report.error.domain != Domain::none) {  // an old kernel cannot mount on a link: refused, not followed
        EXPECT(inside, !variant.features.mount_by_descriptor);
        return;
      }
      const int fd = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
      struct stat status {};
      EXPECT(inside, ::fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 5));
      EXPECT_SAME(inside, type_of("/dev/null"), "char 1:3");
      EXPECT_SAME(inside, content_of("/etc/passwd"), "p");
    }));
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      // The host's own /dev/null is not one: a file over it, as in CVE-2025-31133.
      EXPECT(inside, ::mount((world / "root/etc/passwd").c_str(), "/dev/null", nullptr, MS_BIND, nullptr) == 0);
      const Report report =
          inside.attempt(variant, {PrepareRoot{.path = world / "root"}, DeviceSetup{.method = DeviceMethod::bind}, EnterRoot{}});
      EXPECT(inside, report.error.is(ChildErrc::wrong_node));
    }));
  }
}

TEST_CASE("DeviceSetup: the console is the caller's terminal, by descriptor") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"dev/console -> /etc/shadow", "etc/shadow=s"});
    const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0) {
      skip("no pseudo terminals here");
      return;
    }
    REQUIRE(::grantpt(terminal) == 0);
    REQUIRE(::unlockpt(terminal) == 0);
    const std::string name = ::ptsname(terminal);
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const int slave = ::open(name.c_str(), O_PATH | O_CLOEXEC);
      EXPECT(inside, slave >= 0);
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, DeviceSetup{.mqueue = false, .console = slave}, EnterRoot{}});
      EXPECT(inside, type_of("/dev/console").starts_with("char 136:"));
      EXPECT_SAME(inside, content_of("/etc/shadow"), "s");
    }));
    ::close(terminal);
  }
}

TEST_CASE("MakeDirectory, MakeSymlink, WriteFile, RemoveFile: exact modes, missing parents, and what is there already") {
  for (const Variant& variant : variants()) {
    for (const bool entered : {false, true}) {
      INFO(variant.name() << (entered ? ", after entry" : ", before entry"));
      World world{variant.mode};
      world.build("root", {"var/run -> /run", "run/old=x", "etc/hostname -> /etc/real", "etc/real=untouched", "etc/fifo|", "etc/gone=x",
                           "etc/dir/"});
      CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
        ::umask(077);
        Pipeline pipeline{PrepareRoot{.path = world / "root"}};
        if (entered) pipeline.add(EnterRoot{});
        pipeline.add(MakeDirectory{.path = "/var/run/app/deep", .mode = 01733});
        pipeline.add(MakeDirectory{.path = "/etc/dir", .mode = 0700});
        pipeline.add(MakeSymlink{.target = "/proc/mounts", .path = "/new/mtab"});
        pipeline.add(MakeSymlink{.target = "elsewhere", .path = "/etc/real", .keep_existing = true});
        pipeline.add(WriteFile{.path = "/etc/hostname", .content = std::string("bo\0x\n", 5), .mode = 0604});
        pipeline.add(WriteFile{.path = "/etc/fifo", .content = "no fifo"});
        pipeline.add(WriteFile{.path = "var/run/empty", .mode = 04755});
        pipeline.add(WriteFile{.path = "/big", .content = std::string(1 << 20, 'b')});
        pipeline.add(RemoveFile{.path = "/etc/gone"});
        pipeline.add(RemoveFile{.path = "/etc/never-was"});
        if (!entered) pipeline.add(EnterRoot{});
        inside.prepare(variant, pipeline);
        EXPECT_SAME(inside, mode_of("/run/app") + ' ' + mode_of("/run/app/deep"), "0755 1733");
        EXPECT_SAME(inside, mode_of("/etc/dir"), "0755");  // an existing one stays
        EXPECT_SAME(inside, type_of("/new/mtab"), "link -> /proc/mounts");
        EXPECT_SAME(inside, content_of("/etc/real"), "untouched");
        EXPECT_SAME(inside, type_of("/etc/hostname") + ' ' + mode_of("/etc/hostname"), "file 0604");
        EXPECT_SAME(inside, content_of("/etc/hostname"), std::string("bo\0x\n", 5));
        EXPECT_SAME(inside, type_of("/etc/fifo") + ' ' + content_of("/etc/fifo"), "file no fifo");
        EXPECT_SAME(inside, mode_of("/run/empty"), "4755");
        EXPECT_SAME(inside, content_of("/big").size(), std::size_t{1} << 20U);
        EXPECT_SAME(inside, type_of("/etc/gone"), "No such file or directory");
        struct Wrong {
          Step step;
          int error;
        };
        for (const Wrong& wrong :
             {Wrong{MakeSymlink{.target = "x", .path = "/etc/real"}, EEXIST}, Wrong{WriteFile{.path = "/etc/dir", .content = "x"}, EISDIR},
              Wrong{RemoveFile{.path = "/etc/dir"}, EISDIR}, Wrong{MakeDirectory{.path = "/etc/real"}, ENOTDIR},
              Wrong{MakeDirectory{.path = "/etc/real/below"}, ENOTDIR},
              Wrong{WriteFile{.path = "/etc/real/below", .content = "x"}, ENOTDIR}}) {
          const Report report = inside.attempt(
              variant, {PrepareRoot{.path = "/", .mount = RootMount::none, .propagation = Propagation::private_}, wrong.step});
          EXPECT_SAME(inside, describe(report.error).substr(0, 8), describe(Error::from_errno(wrong.error)).substr(0, 8));
        }
      }));
    }
  }
}
