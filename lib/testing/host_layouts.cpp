// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <system_error>

#include "rootprep/testing/fake_kernel.hpp"
#include "testing/calls.hpp"
#include "testing/filesystem_types.hpp"
#include "testing/inodes.hpp"
#include "testing/mount_tree.hpp"
#include "testing/path_walk.hpp"
#include "testing/propagation.hpp"
#include "testing/world.hpp"

// Hosts to start from, and the builders they are made with.
namespace rootprep::testing {

namespace {

constexpr unsigned character = static_cast<unsigned>(abi::s_ifchr);

void must(const FakeKernel& kernel, long result, const std::string& what) {
  if (result < 0) throw std::system_error(static_cast<int>(-result), std::generic_category(), what + " (" + kernel.last_rule() + ")");
}

// The kernel's own rootfs below everything, and a file system on its "/".
void start(model::World& world, std::string_view root_type, bool rootfs_only) {
  model::Task& task = *world.tasks.front();
  model::MountNamespace* ns = model::new_mount_namespace(world, world.initial_user, false);
  model::Superblock* rootfs = model::host_superblock(world, "rootfs", "rootfs");
  model::Mount* bottom = model::new_mount(world, rootfs, rootfs->root, {}, "rootfs");
  ns->root = bottom;
  model::enter_namespace(bottom, ns);
  task.ns = ns;
  task.root = task.cwd = {bottom, bottom->root};
  if (rootfs_only) return;
  const bool disk = root_type == "ext4";
  model::Superblock* root = model::host_superblock(world, root_type, disk ? "/dev/vda1" : root_type);
  if (disk) {
    root->device_major = 254;
    root->device_minor = 1;
  }
  model::Mount* top = model::new_mount(world, root, root->root, {}, root->source);
  model::link_mount(world, top, bottom, bottom->root);
  model::enter_namespace(top, ns);
  task.root = task.cwd = {top, top->root};
}

void make_devices(FakeKernel& kernel, const std::string& dev) {
  struct Node {
    const char* name;
    unsigned major, minor, mode;
  };
  for (const Node& node : {Node{"null", 1, 3, 0666}, Node{"zero", 1, 5, 0666}, Node{"full", 1, 7, 0666}, Node{"random", 1, 8, 0666},
                           Node{"urandom", 1, 9, 0666}, Node{"tty", 5, 0, 0666}, Node{"console", 5, 1, 0600}, Node{"ptmx", 5, 2, 0666}}) {
    kernel.make_node(dev + "/" + node.name, character | node.mode, abi::device_number(node.major, node.minor));
  }
}

void make_root_directories(FakeKernel& kernel) {
  for (const char* path :
       {"/bin", "/dev", "/etc", "/home", "/lib", "/mnt", "/opt", "/proc", "/root", "/run", "/srv", "/sys", "/usr", "/var"}) {
    kernel.make_directory(path);
  }
  kernel.make_directory("/tmp", 01777);
  kernel.make_directory("/var/lib");
  kernel.write_file("/etc/hostname", "host\n")
      .write_file("/etc/hosts", "127.0.0.1 localhost\n")
      .write_file("/etc/resolv.conf", "nameserver 192.0.2.1\n");
}

void mount_with(FakeKernel& kernel, const char* type, const char* target, unsigned long flags, const char* options = nullptr) {
  must(kernel, kernel.mount(type, target, type, flags, options), std::string("mount ") + target);
}

constexpr unsigned long nosuid_nodev_noexec = abi::ms_nosuid | abi::ms_nodev | abi::ms_noexec;

}  // namespace

FakeKernel::FakeKernel(const KernelProfile& profile) : world_(std::make_unique<model::World>(profile)) {
  task_ = world_->tasks.front().get();
  start(*world_, "ext4", false);
}

FakeKernel FakeKernel::debian_host(const KernelProfile& profile) {
  FakeKernel kernel(profile);
  make_root_directories(kernel);
  mount_with(kernel, "sysfs", "/sys", nosuid_nodev_noexec);
  mount_with(kernel, "proc", "/proc", nosuid_nodev_noexec);
  mount_with(kernel, "devtmpfs", "/dev", abi::ms_nosuid, nullptr);
  make_devices(kernel, "/dev");
  kernel.make_directory("/dev/pts").make_directory("/dev/shm", 01777).make_directory("/dev/mqueue");
  kernel.make_symlink("/dev/fd", "/proc/self/fd").make_symlink("/dev/stdin", "/proc/self/fd/0");
  kernel.make_symlink("/dev/stdout", "/proc/self/fd/1").make_symlink("/dev/stderr", "/proc/self/fd/2");
  mount_with(kernel, "devpts", "/dev/pts", abi::ms_nosuid | abi::ms_noexec, "gid=5,mode=620,ptmxmode=000");
  mount_with(kernel, "tmpfs", "/dev/shm", abi::ms_nosuid | abi::ms_nodev);
  mount_with(kernel, "mqueue", "/dev/mqueue", nosuid_nodev_noexec);
  mount_with(kernel, "tmpfs", "/run", nosuid_nodev_noexec, "mode=755");
  mount_with(kernel, "cgroup2", "/sys/fs/cgroup", nosuid_nodev_noexec, "nsdelegate");
  // systemd makes everything shared.
  must(kernel, kernel.FakeProcess::mount("none", "/", nullptr, abi::ms_rec | abi::ms_shared, nullptr), "share /");
  return kernel;
}

FakeKernel FakeKernel::rootless_host(const KernelProfile& profile) {
  FakeKernel kernel = debian_host(profile);
  kernel.make_directory("/home/user");
  must(kernel, kernel.fchownat(abi::at_fdcwd, "/home/user", 1000, 1000, 0), "chown /home/user");
  kernel.set_ids(1000, 1000);
  kernel.set_capabilities(0);
  return kernel;
}

FakeKernel FakeKernel::initramfs_host(const KernelProfile& profile) {
  FakeKernel kernel(profile);
  model::World& world = *kernel.world_;
  model::unmount_without_propagation(world, world.tasks.front()->ns->root, model::Removal::lazy);
  world.tasks.front()->ns->dead = true;
  start(world, "rootfs", true);
  for (const char* path : {"/bin", "/dev", "/proc", "/sys", "/run", "/sysroot", "/etc"}) kernel.make_directory(path);
  mount_with(kernel, "proc", "/proc", nosuid_nodev_noexec);
  mount_with(kernel, "sysfs", "/sys", nosuid_nodev_noexec);
  mount_with(kernel, "devtmpfs", "/dev", abi::ms_nosuid);
  make_devices(kernel, "/dev");
  return kernel;
}

FakeKernel FakeKernel::docker_inside_docker(const KernelProfile& profile) {
  FakeKernel kernel = debian_host(profile);
  must(kernel, kernel.FakeProcess::mount("none", "/", nullptr, abi::ms_rec | abi::ms_private, nullptr), "make / private");
  for (const char* path : {"lower", "upper", "work", "merged"}) kernel.make_directory("/var/lib/docker/" + std::string(path));
  for (const char* path : {"dev", "etc", "proc", "root", "run", "sys", "usr", "var"})
    kernel.make_directory("/var/lib/docker/lower/" + std::string(path));
  kernel.make_directory("/var/lib/docker/lower/tmp", 01777);
  const std::string root = "/var/lib/docker/merged";
  kernel.mount_filesystem("overlay", root, "lowerdir=/var/lib/docker/lower,upperdir=/var/lib/docker/upper,workdir=/var/lib/docker/work",
                          "overlay");
  const auto at = [&](const char* path) { return root + path; };
  mount_with(kernel, "proc", at("/proc").c_str(), nosuid_nodev_noexec);
  mount_with(kernel, "tmpfs", at("/dev").c_str(), abi::ms_nosuid, "size=65536k,mode=755");
  make_devices(kernel, at("/dev"));
  kernel.make_directory(at("/dev/pts")).make_directory(at("/dev/shm")).make_directory(at("/dev/mqueue"));
  mount_with(kernel, "devpts", at("/dev/pts").c_str(), abi::ms_nosuid | abi::ms_noexec, "gid=5,mode=620,ptmxmode=666");
  mount_with(kernel, "tmpfs", at("/dev/shm").c_str(), nosuid_nodev_noexec, "size=65536k");
  mount_with(kernel, "mqueue", at("/dev/mqueue").c_str(), nosuid_nodev_noexec);
  mount_with(kernel, "sysfs", at("/sys").c_str(), nosuid_nodev_noexec | abi::ms_rdonly);
  must(kernel,
       kernel.FakeProcess::mount("none", at("/sys").c_str(), nullptr, abi::ms_remount | abi::ms_bind | nosuid_nodev_noexec | abi::ms_rdonly,
                                 nullptr),
       "read-only /sys");
  for (const char* masked : {"/proc/kcore", "/proc/keys", "/proc/timer_list"}) kernel.bind("/dev/null", at(masked));
  for (const char* masked : {"/proc/acpi", "/proc/scsi"}) mount_with(kernel, "tmpfs", at(masked).c_str(), abi::ms_rdonly);
  for (const char* path : {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"}) {
    kernel.bind(at(path), at(path));
    must(kernel,
         kernel.FakeProcess::mount("none", at(path).c_str(), nullptr, abi::ms_remount | abi::ms_bind | nosuid_nodev_noexec | abi::ms_rdonly,
                                   nullptr),
         "read-only " + at(path));
  }
  must(kernel, kernel.chdir(root.c_str()), "chdir");
  must(kernel, kernel.pivot_root(".", "."), "pivot_root");
  must(kernel, kernel.umount2(".", static_cast<int>(abi::mnt_detach)), "umount2");
  must(kernel, kernel.chdir("/"), "chdir");
  return kernel;
}

FakeKernel& FakeKernel::make_directory(std::string_view path, unsigned mode) {
  const unsigned mask = task_->umask;
  task_->umask = 0;
  std::string text(path);
  for (std::size_t slash = text.find('/', 1); slash != std::string::npos; slash = text.find('/', slash + 1)) {
    const long result = mkdirat(abi::at_fdcwd, text.substr(0, slash).c_str(), 0755);
    if (result != -EEXIST && result < 0) {
      task_->umask = mask;
      must(*this, result, "mkdir " + text.substr(0, slash));
    }
  }
  const long result = mkdirat(abi::at_fdcwd, text.c_str(), mode);
  task_->umask = mask;
  if (result != -EEXIST) must(*this, result, "mkdir " + text);
  return *this;
}

FakeKernel& FakeKernel::write_file(std::string_view path, std::string_view contents, unsigned mode) {
  const std::string text(path);
  const unsigned mask = task_->umask;
  task_->umask = 0;
  const long fd = openat(abi::at_fdcwd, text.c_str(), static_cast<int>(abi::o_wronly | abi::o_creat | abi::o_trunc), mode);
  task_->umask = mask;
  must(*this, fd, "open " + text);
  const long written = contents.empty() ? 0 : write(static_cast<int>(fd), contents.data(), contents.size());
  const std::string rule = world_->last_rule;
  close(static_cast<int>(fd));
  world_->last_rule = rule;
  must(*this, written, "write " + text);
  return *this;
}

FakeKernel& FakeKernel::make_symlink(std::string_view path, std::string_view target) {
  must(*this, symlinkat(std::string(target).c_str(), abi::at_fdcwd, std::string(path).c_str()), "symlink " + std::string(path));
  return *this;
}

FakeKernel& FakeKernel::make_node(std::string_view path, unsigned mode, unsigned device) {
  const unsigned mask = task_->umask;
  task_->umask = 0;
  const long result = mknodat(abi::at_fdcwd, std::string(path).c_str(), mode, device);
  task_->umask = mask;
  must(*this, result, "mknod " + std::string(path));
  return *this;
}

FakeKernel& FakeKernel::mount_filesystem(std::string_view type, std::string_view target, std::string_view options,
                                         std::string_view source) {
  const std::string data(options);
  must(*this,
       FakeProcess::mount(std::string(source).c_str(), std::string(target).c_str(), std::string(type).c_str(), 0,
                          data.empty() ? nullptr : data.c_str()),
       "mount " + std::string(target));
  return *this;
}

FakeKernel& FakeKernel::bind(std::string_view source, std::string_view target) {
  must(*this, FakeProcess::mount(std::string(source).c_str(), std::string(target).c_str(), nullptr, abi::ms_bind, nullptr),
       "bind " + std::string(target));
  return *this;
}

}  // namespace rootprep::testing
