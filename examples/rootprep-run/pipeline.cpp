// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "pipeline.hpp"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "rootprep/steps.hpp"

namespace rootprep_run {
namespace {

using namespace rootprep;

constexpr MountAttributes read_only{.ro = Setting::set};

// The container has its own of these.
constexpr std::array<std::string_view, 4> own_directories{"/proc", "/sys", "/dev", "/tmp"};

// Views of the kernel, not files that somebody keeps: in a copy their directories stay empty.
constexpr std::array<std::string_view, 20> kernel_filesystems{
    "proc",   "sysfs",  "devtmpfs", "devpts",  "cgroup",   "cgroup2", "securityfs", "debugfs",  "tracefs",     "bpf",
    "pstore", "mqueue", "autofs",   "fusectl", "configfs", "nsfs",    "hugetlbfs",  "efivarfs", "binfmt_misc", "rpc_pipefs"};

// overlayfs refuses them as lower layers: their names are not plain bytes (ovl_dentry_weird).
constexpr std::array<std::string_view, 6> unfit_as_lower{"vfat", "msdos", "exfat", "ntfs", "ntfs3", "cifs"};

template <std::size_t size>
bool contains(const std::array<std::string_view, size>& all, std::string_view one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

bool is_own(std::string_view path) {
  return std::any_of(own_directories.begin(), own_directories.end(), [&](std::string_view own) { return is_at_or_below(path, own); });
}

// "/var/lib" -> "var\x2dlib"-like names would need a decoder; '%' and '/' are escaped as in a URL, so names never collide.
std::string layer_name(std::string_view path) {
  if (path == "/") return "root";
  std::string name = "mount";
  for (const char c : path) {
    if (c == '/') {
      name += "%2F";
    } else if (c == '%') {
      name += "%25";
    } else {
      name += c;
    }
  }
  return name;
}

OverlayMount overlay(const Surroundings& surroundings, std::vector<std::string> lower, const std::string& target) {
  OverlayMount step;
  step.lower = std::move(lower);
  step.target = target;
  if (surroundings.layer) {
    const LayerDirectories directories = surroundings.layer(layer_name(target), step.lower.front());
    step.upper = directories.upper;
    step.work = directories.work;
  } else {
    step.ephemeral = EphemeralUpper{};
    struct stat status {};
    if (::stat(step.lower.front().c_str(), &status) == 0) {
      step.ephemeral->mode = status.st_mode & 07777U;
      if (!surroundings.rootless) {  // there, ids of the host are not mapped
        step.ephemeral->uid = status.st_uid;
        step.ephemeral->gid = status.st_gid;
      }
    }
  }
  return step;
}

// The running system as root: one overlay over "/", and one over each file system that is mounted below it, because the mounts below a
// layer do not show in an overlay.
void add_system(ContainerPipeline& made, const Surroundings& surroundings) {
  made.pipeline.add(overlay(surroundings, {"/"}, "/"));
  for (const HostMount& mount : surroundings.mounts) {
    if (mount.path == "/" || is_own(mount.path) || contains(kernel_filesystems, mount.type)) continue;
    const bool unfit = !mount.directory || contains(unfit_as_lower, mount.type);
    if (!unfit && !mount.read_only) {
      made.pipeline.add(overlay(surroundings, {mount.path}, mount.path));
      continue;
    }
    MountSpec bind = MountSpec::bind(mount.path, mount.path).with(read_only).not_recursive();
    made.pipeline.add(bind);
    if (!mount.read_only) made.remarks.push_back(mount.path + (mount.directory ? " (" + mount.type + ")" : " (a mounted file)"));
  }
}

// The running system without privilege. The kernel refuses (EINVAL) an overlay over a tree with locked mounts below it
// (mount_namespaces(7)), and in a user namespace all mounts of the host are locked. So: a new "/", with an overlay for each directory that
// has no mounts below it.
void add_system_by_parts(ContainerPipeline& made, const Surroundings& surroundings) {
  made.pipeline.add(MountSpec::tmpfs("/", {.mode = 0755}).with({}));
  for (const TopLevelEntry& entry : surroundings.entries) {
    const std::string path = "/" + entry.name;
    if (is_own(path)) continue;
    if (!entry.link_target.empty()) {
      made.pipeline.add(MakeSymlink{.target = entry.link_target, .path = path});
      continue;
    }
    const auto below = [&](const HostMount& mount) { return mount.path != path && is_at_or_below(mount.path, path); };
    const auto unfit = [&](const HostMount& mount) { return mount.path == path && contains(unfit_as_lower, mount.type); };
    const bool mounts_below = std::any_of(surroundings.mounts.begin(), surroundings.mounts.end(), below);
    if (entry.directory && !mounts_below && std::none_of(surroundings.mounts.begin(), surroundings.mounts.end(), unfit)) {
      made.pipeline.add(overlay(surroundings, {path}, path));
      continue;
    }
    // Writable it would let changes through to the host; what is locked read-only stays so anyway.
    made.pipeline.add(MountSpec::bind(path, path).with_recursive(read_only));
    made.remarks.push_back(path + (!entry.directory ? " (a file)" : mounts_below ? " (mounts below it)" : " (file system)"));
  }
}

void add_own_mounts(ContainerPipeline& made, const Options& options, const Surroundings& surroundings) {
  made.pipeline.add(MountSpec::proc());
  if (surroundings.rootless && !options.private_network) {
    // A new sysfs shows the network namespace, which belongs to the host: EPERM (sysfs(5)). So the host's, read-only.
    made.pipeline.add(MountSpec::bind("/sys", "/sys")
                          .with_recursive({.ro = Setting::set, .nosuid = Setting::set, .nodev = Setting::set, .noexec = Setting::set}));
  } else {
    made.pipeline.add(MountSpec::sysfs());
  }
  made.pipeline.add(DeviceSetup{});
  made.pipeline.add(MountSpec::tmpfs("/tmp", {.mode = 01777}));
}

struct AddMount {
  Pipeline& pipeline;
  void operator()(const BindOption& bind) const {
    MountSpec step = MountSpec::bind(bind.source, bind.target);
    pipeline.add(bind.read_only ? step.with_recursive(read_only) : step);
  }
  void operator()(const TmpfsOption& tmpfs) const { pipeline.add(MountSpec::tmpfs(tmpfs.target, {.size = tmpfs.size, .mode = 0755})); }
};

}  // namespace

void LoopbackUp::lower(PlanBuilder& b) const {
  struct ifreq request {};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  Fd socket = b.syscall(SYS_socket, {AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0}).descriptor("socket");
  b.syscall(SYS_ioctl, {socket, SIOCSIFFLAGS, Value::structure(request)});
  b.close(socket);
}

ContainerPipeline make_pipeline(const Options& options, const Surroundings& surroundings) {
  ContainerPipeline made;
  made.pipeline.add(PrepareRoot{.path = surroundings.root, .mount = RootMount::none});
  if (!options.images.empty()) {
    made.pipeline.add(overlay(surroundings, options.images, "/"));
  } else if (surroundings.rootless) {
    add_system_by_parts(made, surroundings);
  } else {
    add_system(made, surroundings);
  }
  add_own_mounts(made, options, surroundings);
  for (const auto& mount : options.mounts) std::visit(AddMount{made.pipeline}, mount);
  if (options.private_network) made.pipeline.add(LoopbackUp{});
  if (options.no_pivot) {
    made.pipeline.add(MsMoveRoot{});
  } else {
    made.pipeline.add(EnterRoot{});
  }
  if (options.read_only) made.pipeline.add(RemountReadonly{});
  return made;
}

}  // namespace rootprep_run
