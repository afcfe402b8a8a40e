// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <fcntl.h>

#include <cerrno>
#include <functional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "golden.hpp"
#include "rootprep/print.hpp"
#include "unit/plans.hpp"

using namespace rootprep;
using rootprep::testing::canonical;
using rootprep::testing::plan_of;
using rootprep::testing::require_golden;

namespace {

std::string first_line_of(const std::function<void(PlanBuilder&)>& body) { return to_text(plan_of(body), 0); }

}  // namespace

// Each expected line was compared with the output of strace 6.1 for the same call.
TEST_CASE("to_text: an operation reads as strace prints the call") {
  struct Row {
    std::string expected;
    std::function<void(PlanBuilder&)> body;
  };
  const std::vector<Row> rows{
      {R"(mount(NULL, "/", NULL, MS_REC|MS_SLAVE, NULL))",
       [](PlanBuilder& b) { b.mount(nullptr, "/", nullptr, abi::ms_slave | abi::ms_rec, nullptr); }},
      {R"(mount(NULL, "/", NULL, MS_RDONLY|MS_REMOUNT|MS_BIND, NULL))",
       [](PlanBuilder& b) { b.mount(nullptr, "/", nullptr, abi::ms_remount | abi::ms_bind | abi::ms_rdonly, nullptr); }},
      {R"(mount("x", "/mnt", "tmpfs", MS_NOSUID|MS_NODEV|MS_STRICTATIME, "size=1,mode=755"))",
       [](PlanBuilder& b) { b.mount("x", "/mnt", "tmpfs", abi::ms_nosuid | abi::ms_nodev | abi::ms_strictatime, "size=1,mode=755"); }},
      {R"(mount("a\tb\"\\\177\377\0011", "/mnt", "tmpfs", 0, ""))",
       [](PlanBuilder& b) {
         b.mount(
             "a\tb\"\\\x7f\xff\x01"
             "1",
             "/mnt", "tmpfs", 0, Text{});
       }},
      {R"(openat(AT_FDCWD, "/srv", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = fd0)",
       [](PlanBuilder& b) { b.openat(Fd::cwd(), "/srv", abi::o_path | abi::o_directory | abi::o_cloexec); }},
      {R"(openat(AT_FDCWD, "/srv", O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0644) = fd0)",
       [](PlanBuilder& b) {
         b.openat(Fd::cwd(), "/srv", abi::o_wronly | abi::o_creat | abi::o_excl | abi::o_nofollow | abi::o_cloexec, 0644);
       }},
      {R"(openat2(AT_FDCWD, ".", {flags=O_RDONLY|O_CLOEXEC|O_PATH, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}, 24) = fd0)",
       [](PlanBuilder& b) {
         b.openat2(Fd::cwd(), ".", {abi::o_path | abi::o_cloexec, 0, abi::resolve_in_root | abi::resolve_no_magiclinks});
       }},
      {R"(openat2(AT_FDCWD, "..", {flags=O_WRONLY|O_CREAT|O_CLOEXEC, mode=0644, resolve=0}, 24) = fd0)",
       [](PlanBuilder& b) {
         b.openat2(Fd::cwd(), "..", {abi::o_wronly | abi::o_creat | abi::o_cloexec, 0644, 0});
       }},
      {R"(open_tree(AT_FDCWD, "/srv", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE) = fd0)",
       [](PlanBuilder& b) { b.open_tree(Fd::cwd(), "/srv", abi::open_tree_clone | abi::open_tree_cloexec | abi::at_recursive); }},
      {R"(mount_setattr(7, "", AT_EMPTY_PATH|AT_RECURSIVE, {attr_set=MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID, attr_clr=0, propagation=MS_PRIVATE, userns_fd=0}, 32))",
       [](PlanBuilder& b) {
         b.mount_setattr(Fd::held(7), abi::at_recursive, {abi::mount_attr_rdonly | abi::mount_attr_nosuid, 0, abi::ms_private, 0});
       }},
      {R"(mount_setattr(7, "", AT_EMPTY_PATH, {attr_set=MOUNT_ATTR_STRICTATIME, attr_clr=MOUNT_ATTR__ATIME, propagation=0, userns_fd=0}, 32))",
       [](PlanBuilder& b) {
         b.mount_setattr(Fd::held(7), 0, {abi::mount_attr_strictatime, abi::mount_attr_atime_mask, 0, 0});
       }},
      {R"(move_mount(7, "", 8, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH))",
       [](PlanBuilder& b) { b.move_mount(Fd::held(7), Fd::held(8)); }},
      {R"(fsopen("tmpfs", FSOPEN_CLOEXEC) = fd0)", [](PlanBuilder& b) { b.fsopen("tmpfs"); }},
      {R"(fsconfig(7, FSCONFIG_SET_STRING, "size", "1k", 0))", [](PlanBuilder& b) { b.fsconfig_string(Fd::held(7), "size", "1k"); }},
      {R"(fsconfig(7, FSCONFIG_SET_FLAG, "newinstance", NULL, 0))", [](PlanBuilder& b) { b.fsconfig_flag(Fd::held(7), "newinstance"); }},
      {R"(fsconfig(7, FSCONFIG_SET_FD, "lowerdir+", NULL, 9))",
       [](PlanBuilder& b) { b.fsconfig_fd(Fd::held(7), "lowerdir+", Fd::held(9)); }},
      {R"(fsconfig(7, FSCONFIG_CMD_CREATE, NULL, NULL, 0))", [](PlanBuilder& b) { b.fsconfig_create(Fd::held(7)); }},
      {R"(fsmount(7, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID|MOUNT_ATTR_NOEXEC) = fd0)",
       [](PlanBuilder& b) { b.fsmount(Fd::held(7), abi::fsmount_cloexec, abi::mount_attr_nosuid | abi::mount_attr_noexec); }},
      {R"(umount2(".", MNT_DETACH))", [](PlanBuilder& b) { b.umount2(".", abi::mnt_detach); }},
      {R"(pivot_root(".", "."))", [](PlanBuilder& b) { b.pivot_root(".", "."); }},
      {R"(mkdirat(7, "tmp", 01777))", [](PlanBuilder& b) { b.mkdirat(Fd::held(7), "tmp", 01777); }},
      {R"(mkdirat(7, "tmp", 000))", [](PlanBuilder& b) { b.mkdirat(Fd::held(7), "tmp", 0); }},
      {R"(mknodat(7, "null", S_IFCHR|0666, makedev(0x1, 0x3)))",
       [](PlanBuilder& b) { b.mknodat(Fd::held(7), "null", abi::s_ifchr | 0666U, abi::device_number(1, 3)); }},
      {R"(mknodat(7, "sda", S_IFBLK|0644, makedev(0x456, 0x12378)))",
       [](PlanBuilder& b) { b.mknodat(Fd::held(7), "sda", abi::s_ifblk | 0644U, 0x12345678); }},
      {R"(mknodat(7, "file", S_IFREG|0644))", [](PlanBuilder& b) { b.mknodat(Fd::held(7), "file", abi::s_ifreg | 0644U, 0); }},
      {R"(symlinkat("pts/ptmx", 7, "ptmx"))", [](PlanBuilder& b) { b.symlinkat("pts/ptmx", Fd::held(7), "ptmx"); }},
      {R"(unlinkat(7, "d", AT_REMOVEDIR))", [](PlanBuilder& b) { b.unlinkat(Fd::held(7), "d", abi::at_removedir); }},
      {R"(fchownat(7, "x", 0, -1, AT_SYMLINK_NOFOLLOW))",
       [](PlanBuilder& b) { b.fchownat(Fd::held(7), "x", 0, 0xFFFF'FFFFU, abi::at_symlink_nofollow); }},
      {R"(write(7, "box\n", 4))", [](PlanBuilder& b) { b.write(Fd::held(7), "box\n"); }},
      {R"(umask(022))", [](PlanBuilder& b) { b.umask(022); }},
      // Ours: what strace cannot know.
      {R"(syscall_0x384(7, "", 0x20, "ab"))",
       [](PlanBuilder& b) {
         b.syscall(900, {Fd::held(7), "", 32, Value::bytes(std::as_bytes(std::span{"ab", 2}))});
       }},
      {R"(make_parent_private(7, MS_PRIVATE))", [](PlanBuilder& b) { b.make_parent_private(Fd::held(7)); }},
      {R"(remount_bind(7, set MS_RDONLY, clear MS_NOSUID))",
       [](PlanBuilder& b) { b.remount_bind(Fd::held(7), abi::ms_rdonly, abi::ms_nosuid); }},
      {R"(verify_node(7, S_IFCHR, makedev(0x1, 0x3)))",
       [](PlanBuilder& b) { b.verify_node(Fd::held(7), abi::s_ifchr, abi::device_number(1, 3)); }},
      {R"(verify_node(7, S_IFIFO))", [](PlanBuilder& b) { b.verify_node(Fd::held(7), abi::s_ififo, 0); }},
      {R"(verify_filesystem(7, OVERLAYFS_SUPER_MAGIC, set 0, clear ST_RDONLY))",
       [](PlanBuilder& b) { b.verify_filesystem(Fd::held(7), abi::overlayfs_super_magic, 0, abi::st_rdonly); }},
      {R"(verify_filesystem(7, any, set ST_RDONLY, clear 0))",
       [](PlanBuilder& b) { b.verify_filesystem(Fd::held(7), 0, abi::st_rdonly, 0); }},
      {R"(user_function(3 bytes))",
       [](PlanBuilder& b) {
         b.call([](const ChildContext&) noexcept -> long { return 0; }, std::as_bytes(std::span{"abc", 3}));
       }},
      {R"(mkdirat(7, "dev", 0755) [EEXIST ok])", [](PlanBuilder& b) { b.mkdirat(Fd::held(7), "dev", 0755).allow({EEXIST}); }},
      {R"(pivot_root(".", ".") [enters the root by pivot_root])",
       [](PlanBuilder& b) { b.pivot_root(".", ".").enters(RootEntry::pivot_root); }},
  };
  for (const Row& row : rows) CHECK(first_line_of(row.body) == row.expected);
}

TEST_CASE("to_text: descriptors have names, and texts show their holes") {
  const Plan plan = plan_of([](PlanBuilder& b) {
    Fd lower = b.openat(Fd::cwd(), "/srv/base", abi::o_path).descriptor("lower");
    b.mount("overlay", Text::path_of(lower), "overlay", 0, Text("lowerdir=").path(lower).append("\x01:x"));
  });
  CHECK(to_text(plan, 0) == R"(openat(AT_FDCWD, "/srv/base", O_RDONLY|O_PATH) = lower0)");
  CHECK(to_text(plan, 1) == R"(mount("overlay", "/proc/self/fd/{lower0}", "overlay", 0, "lowerdir=/proc/self/fd/{lower0}\1:x"))");
  CHECK(to_text(plan, 2) == "close(lower0)");
  CHECK(to_text(plan, 3) == "no operation");
}

TEST_CASE("to_text: written bytes are cut after 256, texts are not") {
  const std::string line = first_line_of([](PlanBuilder& b) { b.write(Fd::held(1), std::string(300, 'a')); });
  CHECK(line == "write(1, \"" + std::string(256, 'a') + "\"..., 300)");
  const std::string path = '/' + std::string(300, 'a');
  CHECK(first_line_of([&](PlanBuilder& b) { b.chdir(path); }) == "chdir(\"" + path + "\")");
}

TEST_CASE("to_text: an empty plan is one line") { CHECK(to_text(Plan{}) == "plan: 0 operations in 0 steps\n"); }

TEST_CASE("to_text: a step without operations is named") {
  PlanBuilder b{{KernelFeatures::linux_6_18(), false, false}};
  for (const char* name : {"first", "second", "third", "last"}) {
    b.begin_step(name);
    if (*name == 't') b.chdir("/");
    b.end_step();
  }
  CHECK(to_text(b.finish().value()) ==
        "plan: 1 operation in 4 steps\n"
        "body\n"
        "step 0  first: no operations\n"
        "step 1  second: no operations\n"
        "step 2  third\n"
        "   0  chdir(\"/\")\n"
        "step 3  last: no operations\n");
}

TEST_CASE("to_text: the canonical container on three kernels") {
  require_golden("canonical_linux_6_18.txt", to_text(canonical(KernelFeatures::linux_6_18())));
  require_golden("canonical_linux_6_1.txt", to_text(canonical(KernelFeatures::linux_6_1())));
  require_golden("canonical_linux_5_4.txt", to_text(canonical(KernelFeatures::linux_5_4())));
  require_golden("canonical_linux_6_18_user_namespace.txt", to_text(canonical(KernelFeatures::linux_6_18(), true)));
}
