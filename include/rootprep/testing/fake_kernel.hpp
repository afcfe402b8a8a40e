// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rootprep/kernel.hpp"

namespace rootprep::testing {

namespace model {
struct World;
struct Task;
}  // namespace model

// The kernel in memory: a mount tree with propagation, files, descriptors, user namespaces, an overlay view; errno for errno as
// Linux answers. No root, no real mount, microseconds.
//
//   TEST_CASE("my code mounts a tmpfs on /data, and nothing else") {
//     auto kernel = rootprep::testing::FakeKernel::debian_host();
//     kernel.make_directory("/data");
//     const auto before = kernel.snapshot();
//     auto& child = kernel.clone(rootprep::abi::clone_newns);  // a process in a mount namespace of its own
//     REQUIRE(child.mount("none", "/", nullptr, rootprep::abi::ms_rec | rootprep::abi::ms_private, nullptr) == 0);
//     REQUIRE(my_code(child) == 0);  // takes a rootprep::Kernel&
//     CHECK(child.mount_table().find("/data tmpfs") != std::string::npos);
//     CHECK(rootprep::testing::difference(before, kernel.snapshot()) == "");
//   }
//
// Every refusal has a rule: `kernel.last_rule()` is "pivot.new-root-not-a-mount" after that EINVAL. What is not modelled answers
// -ENOSYS and is listed by not_modelled(). No global state: kernels in different threads do not meet. One kernel is for one
// thread at a time.

// A difference between kernels that is not a missing call: quirks.def is the table.
enum class Quirk : std::uint8_t {
#define ROOTPREP_QUIRK(name, since, until, meaning) name,
#include "rootprep/testing/quirks.def"
#undef ROOTPREP_QUIRK
};
struct QuirkInfo {
  Quirk quirk = Quirk{};
  std::string_view name{};     // "mounts_go_beneath"
  int since = 0, until = 0;    // versions, 1000 * major + minor; until: the first kernel without it, 0: none
  std::string_view meaning{};  // one sentence
};
std::span<const QuirkInfo> quirks() noexcept;

// Which Linux to be: calls and flags that it lacks answer as there.
//
//   auto profile = KernelProfile::linux_6_1();
//   profile.set(Quirk::mounts_go_beneath, true);  // a distribution's kernel, with a feature of a younger one
//   auto kernel = FakeKernel::debian_host(profile);
struct KernelProfile {
  std::string name = "6.18";
  int version = 6018;         // 1000 * major + minor
  std::uint64_t changed = 0;  // bit n: the quirk n is not as the version has it

  bool has(Quirk quirk) const noexcept;
  KernelProfile& set(Quirk quirk, bool value) noexcept;

  static KernelProfile linux_5_4();
  static KernelProfile linux_5_15();
  static KernelProfile linux_6_1();
  static KernelProfile linux_6_18();
};

// One process of a FakeKernel, and the door to it: a rootprep::Kernel whose calls act as this process. All functions of
// TypedKernel by the system call's name, so tests read as C would:
//
//   CHECK(process.mkdirat(rootprep::abi::at_fdcwd, "/run", 0755) == -EEXIST);
class FakeProcess : public TypedKernel {
 public:
  FakeProcess(const FakeProcess&) = delete;
  FakeProcess& operator=(const FakeProcess&) = delete;
  virtual ~FakeProcess();

  long call(const SysCall& call) noexcept override;
  long unknown(const SysCall& call) noexcept override;

  // A child with copies of this process's descriptors, root and working directory. `namespaces`: CLONE_NEW* to make. With
  // CLONE_NEWUSER the child is uid 0 there, mapped to this process's uid (as a launcher writes it); see also map_ids().
  FakeProcess& clone(std::uint64_t namespaces = 0);
  // The process ends: descriptors are closed, and its namespaces die if nobody else uses them.
  void exit();
  int pid() const;     // as the first process sees it
  int getpid() const;  // as it sees itself: 1 for the first process of a pid namespace
  // Ids of this process's user namespace: `count` ids from `inside` on are `outside`... in the parent namespace.
  void map_ids(unsigned inside, unsigned outside, unsigned count);
  void set_ids(unsigned uid, unsigned gid);   // as seen in the initial user namespace
  void set_capabilities(std::uint64_t bits);  // bit n: capability n of capabilities(7)

  // /proc/self/mountinfo, byte for byte in the kernel's format.
  std::string mountinfo() const;
  // One line a mount, in the order of the tree: "/proc proc proc rw,nosuid shared:1"; peer groups are renumbered in order of
  // appearance. For assertions.
  std::string mount_table() const;
  // Mounts as an indented tree, for people.
  std::string tree() const;

  // Look at the file system as this process sees it, without permission checks.
  bool exists(std::string_view path) const;
  std::string read_file(std::string_view path) const;
  std::vector<std::string> list(std::string_view path) const;
  abi::statx stat(std::string_view path) const;  // does not follow a last symlink; mask is 0 if there is nothing
  std::vector<int> descriptors() const;

  // The rule behind this process's last refusal, "" if its last call succeeded.
  const std::string& rule_of_last_error() const;

  long open_tree(int dirfd, const char* path, unsigned flags) noexcept override;
  long open_tree_attr(int dirfd, const char* path, unsigned flags, abi::mount_attr* attr, std::size_t size) noexcept override;
  long move_mount(int from_dirfd, const char* from_path, int to_dirfd, const char* to_path, unsigned flags) noexcept override;
  long fsopen(const char* fsname, unsigned flags) noexcept override;
  long fspick(int dirfd, const char* path, unsigned flags) noexcept override;
  long fsconfig(int fs_fd, unsigned cmd, const char* key, const void* value, int aux) noexcept override;
  long fsmount(int fs_fd, unsigned flags, unsigned attr_flags) noexcept override;
  long mount_setattr(int dirfd, const char* path, unsigned flags, abi::mount_attr* attr, std::size_t size) noexcept override;
  long mount(const char* source, const char* target, const char* filesystemtype, unsigned long mountflags,
             const void* data) noexcept override;
  long umount2(const char* target, int flags) noexcept override;
  long pivot_root(const char* new_root, const char* put_old) noexcept override;
  long chroot(const char* path) noexcept override;
  long chdir(const char* path) noexcept override;
  long fchdir(int fd) noexcept override;
  long getcwd(char* buf, std::size_t size) noexcept override;
  long umask(unsigned mask) noexcept override;
  long unshare(unsigned long flags) noexcept override;
  long setns(int fd, int nstype) noexcept override;
  long sethostname(const char* name, std::size_t len) noexcept override;
  long setdomainname(const char* name, std::size_t len) noexcept override;
  long openat(int dirfd, const char* path, int flags, unsigned mode) noexcept override;
  long openat2(int dirfd, const char* path, const abi::open_how* how, std::size_t size) noexcept override;
  long close(int fd) noexcept override;
  long close_range(unsigned first, unsigned last, unsigned flags) noexcept override;
  long dup3(int oldfd, int newfd, int flags) noexcept override;
  long read(int fd, void* buf, std::size_t count) noexcept override;
  long write(int fd, const void* buf, std::size_t count) noexcept override;
  long lseek(int fd, long offset, int whence) noexcept override;
  long getdents64(int fd, void* dirp, std::size_t count) noexcept override;
  long ftruncate(int fd, long length) noexcept override;
  long mkdirat(int dirfd, const char* path, unsigned mode) noexcept override;
  long mknodat(int dirfd, const char* path, unsigned mode, unsigned dev) noexcept override;
  long symlinkat(const char* target, int newdirfd, const char* linkpath) noexcept override;
  long linkat(int olddirfd, const char* oldpath, int newdirfd, const char* newpath, int flags) noexcept override;
  long unlinkat(int dirfd, const char* path, int flags) noexcept override;
  long renameat2(int olddirfd, const char* oldpath, int newdirfd, const char* newpath, unsigned flags) noexcept override;
  long readlinkat(int dirfd, const char* path, char* buf, std::size_t bufsiz) noexcept override;
  long statx(int dirfd, const char* path, int flags, unsigned mask, abi::statx* statxbuf) noexcept override;
  long fstatfs(int fd, abi::statfs* buf) noexcept override;
  long fchmod(int fd, unsigned mode) noexcept override;
  long fchmodat(int dirfd, const char* path, unsigned mode) noexcept override;
  long fchownat(int dirfd, const char* path, unsigned owner, unsigned group, int flags) noexcept override;
  long fsetxattr(int fd, const char* name, const void* value, std::size_t size, int flags) noexcept override;
  long fgetxattr(int fd, const char* name, void* value, std::size_t size) noexcept override;

 protected:
  FakeProcess() = default;
  model::Task* task_ = nullptr;

 private:
  friend class FakeKernel;
  template <class Body>
  long enter(const char* name, Body body) noexcept;
};

// What a kernel looked like: every mount of every namespace, every file of every file system, every descriptor.
struct Snapshot {
  std::vector<std::string> lines{};  // sorted
  bool operator==(const Snapshot&) const = default;
};
// One line a difference: "- ..." was there before only, "+ ..." is there after only. Empty: nothing changed.
std::string difference(const Snapshot& before, const Snapshot& after);

// The kernel, and its first process (pid 1, root, in the initial namespaces). Starts with an empty root file system of the
// given type on "/".
class FakeKernel final : public FakeProcess {
 public:
  explicit FakeKernel(const KernelProfile& profile = KernelProfile::linux_6_18());
  FakeKernel(FakeKernel&& other) noexcept;
  FakeKernel& operator=(FakeKernel&&) = delete;
  ~FakeKernel() override;

  // A systemd machine: everything shared; /proc, /sys, /dev, /dev/pts, /dev/shm, /dev/mqueue, /run, /sys/fs/cgroup.
  static FakeKernel debian_host(const KernelProfile& profile = KernelProfile::linux_6_18());
  // As debian_host, but the process is uid 1000 without capabilities; clone(CLONE_NEWUSER | CLONE_NEWNS) is its way in.
  static FakeKernel rootless_host(const KernelProfile& profile = KernelProfile::linux_6_18());
  // "/" is the kernel's rootfs itself: it has no parent, so pivot_root(2) answers EINVAL.
  static FakeKernel initramfs_host(const KernelProfile& profile = KernelProfile::linux_6_18());
  // Inside a container: "/" is an overlay, all mounts are private, /proc has masked and read-only parts.
  static FakeKernel docker_inside_docker(const KernelProfile& profile = KernelProfile::linux_6_18());

  // Builders of the world act as the first process and throw std::system_error where the kernel would refuse.
  FakeKernel& make_directory(std::string_view path, unsigned mode = 0755);  // with missing parents
  FakeKernel& write_file(std::string_view path, std::string_view contents, unsigned mode = 0644);
  FakeKernel& make_symlink(std::string_view path, std::string_view target);
  FakeKernel& make_node(std::string_view path, unsigned mode, unsigned device = 0);
  FakeKernel& mount_filesystem(std::string_view type, std::string_view target, std::string_view options = "",
                               std::string_view source = "none");
  FakeKernel& bind(std::string_view source, std::string_view target);
  FakeKernel& set_mount_max(std::size_t limit);  // /proc/sys/fs/mount-max

  Snapshot snapshot() const;
  // The processes that are alive, this one first.
  std::vector<FakeProcess*> processes() const;

  // The rule behind the last refusal of any process, "" if the last call succeeded.
  const std::string& last_rule() const;
  // What was asked for and is not modelled: "keyctl", "mount: type btrfs".
  std::vector<std::string> not_modelled() const;
  // Broken rules of the model's own structure; empty always, unless the model has a bug.
  std::string check_invariants() const;

 private:
  std::unique_ptr<model::World> world_;
};

}  // namespace rootprep::testing
