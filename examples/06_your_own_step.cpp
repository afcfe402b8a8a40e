// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors

// A step of your own, made of deferred system calls: it gets the library's error reports, printers and verification. This one mounts a
// tmpfs that already holds a file when it becomes visible. It prints:
//
// clang-format off
//   step 1  notice in /run/notices
//      6  fsopen("tmpfs", FSOPEN_CLOEXEC) = fd2
//      7  fsconfig(fd2, FSCONFIG_SET_STRING, "size", "64k", 0)
//      8  fsconfig(fd2, FSCONFIG_CMD_CREATE, NULL, NULL, 0)
//      9  fsmount(fd2, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC) = fd3
//     10  close(fd2)
//     11  openat(fd3, "notice", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0444) = fd4
//     12  write(fd4, "back at five", 12)
//     13  close(fd4)
//     14  openat2(root, "run/notices", {flags=O_RDONLY|O_CLOEXEC|O_PATH, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}, 24) = fd5 [ENOENT -> 15] [then -> 16]
//     15  open_in_root(root, "run/notices", O_RDONLY|O_CLOEXEC|O_PATH, create directory, 0755) = fd5
//     16  move_mount(fd3, "", fd5, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)
//     17  close(fd5)
//     18  close(fd3)
//   the container reads: back at five
// clang-format on
#include "rootprep/print.hpp"
#include "rootprep/steps.hpp"
#include "support.hpp"

namespace {

// A step is a value with two functions. No base class.
struct NoticeOnTmpfs {
  std::string path{};
  std::string content{};

  std::string describe() const { return "notice in " + path; }

  // Nothing runs here: each line becomes an operation of the plan, and the child makes the calls. So there are no errors to handle.
  void lower(rootprep::PlanBuilder& b) const {
    namespace abi = rootprep::abi;
    if (!b.require_plain_text(path, "NoticeOnTmpfs.path")) return;
    rootprep::Fd fs = b.fsopen("tmpfs");
    b.fsconfig_string(fs, "size", "64k");
    b.fsconfig_create(fs);
    rootprep::Fd mount = b.fsmount(fs, abi::fsmount_cloexec, abi::mount_attr_nosuid | abi::mount_attr_nodev | abi::mount_attr_noexec);
    b.close(fs);
    rootprep::Fd file = b.openat(mount, "notice", abi::o_wronly | abi::o_creat | abi::o_excl | abi::o_cloexec, 0444);
    b.write(file, content);
    b.close(file);
    rootprep::Fd target = b.open_in_root(path, {.create = rootprep::Create::directory});
    b.move_mount(mount, target);
    b.close(target);
    b.close(mount);
  }
};

}  // namespace

rootprep::Pipeline example::your_own_step() {
  using namespace rootprep;
  return {PrepareRoot{.path = "/tmp/root"}, NoticeOnTmpfs{.path = "/run/notices", .content = "back at five"}, EnterRoot{}};
}

int main() {
  using namespace rootprep;
  example::use_private_tmp();
  example::make_image("/tmp/root");
  const Plan plan = example::compile_or_exit(example::your_own_step());

  const std::string text = to_text(plan);
  const std::size_t begin = text.find("step 1");
  std::cout << text.substr(begin, text.find("step 2") - begin);
  return example::run(plan, {.exec = {"/bin/sh", "-c", "echo the container reads: $(cat /run/notices/notice)"}});
}
