// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "faults/shipped_pipelines.hpp"

#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "child/system_calls.hpp"
#include "rootprep/steps.hpp"

#ifdef ROOTPREP_WITH_EXAMPLES
#include "pipeline.hpp"
#include "pipelines.hpp"
#endif

namespace shipped {
namespace {

using namespace rootprep;
using namespace rootprep::testing;

const std::vector<std::string> srv{"/srv/root/proc/",
                                   "/srv/root/sys/",
                                   "/srv/root/dev/",
                                   "/srv/root/etc/",
                                   "/srv/root/tmp/",
                                   "/srv/root/media/",
                                   "/srv/root/mnt -> etc/../media",
                                   "/srv/base/etc/os-release=ID=base\n",
                                   "/srv/base/etc/motd=",
                                   "/srv/base/proc/",
                                   "/srv/base/dev/",
                                   "/srv/base/tmp/",
                                   "/srv/base/sys/",
                                   "/srv/app/",
                                   "/srv/upper/",
                                   "/srv/work/",
                                   "/srv/data/file=content"};

Pipeline canonical() {
  return {PrepareRoot{.path = "/srv/root"},
          MountSpec::proc(),
          MountSpec::sysfs(),
          DeviceSetup{},
          MountSpec::bind("/srv/data", "/mnt/data").with({.ro = Setting::set}),
          WriteFile{.path = "/etc/hostname", .content = "box\n"},
          MakeSymlink{.target = "/proc/mounts", .path = "/etc/mtab", .keep_existing = true},
          MaskPaths{},
          ReadonlyPaths{},
          EnterRoot{},
          RemountReadonly{}};
}

// The image's own /dev: everything in it is the attacker's.
Pipeline with_the_dev_of_the_image() {
  return {PrepareRoot{.path = "/srv/root"},
          MountSpec::proc(),
          DeviceSetup{.fresh = false},
          MaskPaths{.paths = {"/media"}},
          MakeDirectory{.path = "/var/cache/app", .mode = 0700},
          RemoveFile{.path = "/etc/nologin"},
          EnterRoot{}};
}

Pipeline overlay_on_root(OverlayMount mount) {
  return {PrepareRoot{.path = "/srv/root", .mount = RootMount::none},
          std::move(mount),
          MountSpec::proc(),
          MountSpec::tmpfs("/tmp", {.size = 1 << 20}),
          DeviceSetup{},
          EnterRoot{}};
}

// The configuration that container runtimes write for a new bundle: OCI runtime specification, config.md "mounts", config-linux.md
// "Default Filesystems", "Default Devices", and the masked and read-only paths of runc's `spec`.
Pipeline oci_default(bool rootless) {
  constexpr MountAttributes none_of_three{.nosuid = Setting::set, .nodev = Setting::set, .noexec = Setting::set};
  constexpr MountAttributes read_only_too{.ro = Setting::set, .nosuid = Setting::set, .nodev = Setting::set, .noexec = Setting::set};
  DevptsOptions pts{.mode = 0620, .ptmx_mode = 0666, .gid = 5};
  if (rootless) pts.gid.reset();  // not mapped
  Pipeline pipeline{
      PrepareRoot{.path = "/srv/root"},
      MountSpec::filesystem("proc", "/proc"),
      MountSpec::filesystem("tmpfs", "/dev", {{"mode", "755"}, {"size", "65536k"}})
          .with({.nosuid = Setting::set, .atime = Atime::strictatime}),
      MountSpec::devpts("/dev/pts", pts),
      MountSpec::filesystem("tmpfs", "/dev/shm", {{"mode", "1777"}, {"size", "65536k"}}).with(none_of_three),
      MountSpec::mqueue(),
      rootless ? MountSpec::bind("/sys", "/sys").with_recursive(read_only_too) : MountSpec::sysfs(),
  };
  if (!rootless) pipeline.add(MountSpec::filesystem("cgroup2", "/sys/fs/cgroup").with(read_only_too));
  pipeline.add(DeviceSetup{.fresh = false, .pts = false, .shm = false, .mqueue = false});
  pipeline.add(MakeSymlink{.target = "pts/ptmx", .path = "/dev/ptmx"});
  pipeline.add(MaskPaths{});
  pipeline.add(ReadonlyPaths{});
  pipeline.add(EnterRoot{});
  pipeline.add(RemountReadonly{});
  return pipeline;
}

void add_library_pipelines(std::vector<Shipped>& all) {
  const OverlayMount ephemeral{.lower = {"/srv/app", "/srv/base"}, .ephemeral = EphemeralUpper{}};
  const OverlayMount kept{.lower = {"/srv/base"}, .upper = "/srv/upper", .work = "/srv/work"};
  const OverlayMount readonly{.lower = {"/srv/app", "/srv/base"}};
  const std::vector<std::string> root{"/srv/root"};
  const std::vector<std::string> layers{"/srv/app", "/srv/base"};
  all.push_back({.name = "canonical", .pipeline = canonical(), .host = srv, .may_change = root, .images = root});
  all.push_back({.name = "canonical, rootless",
                 .pipeline = canonical(),
                 .host = srv,
                 .may_change = root,
                 .images = root,
                 .user_namespace = true,
                 .network = true});
  all.push_back({.name = "the image's own /dev", .pipeline = with_the_dev_of_the_image(), .host = srv, .may_change = root, .images = root});
  all.push_back({.name = "OCI default bundle", .pipeline = oci_default(false), .host = srv, .may_change = root, .images = root});
  all.push_back({.name = "OCI default bundle, rootless",
                 .pipeline = oci_default(true),
                 .host = srv,
                 .may_change = root,
                 .images = root,
                 .user_namespace = true,
                 .old_kernels = false});  // read-only with all mounts below it needs Linux 5.12
  all.push_back({.name = "overlay, ephemeral", .pipeline = overlay_on_root(ephemeral), .host = srv, .may_change = root, .images = layers});
  all.push_back({.name = "overlay, kept",
                 .pipeline = overlay_on_root(kept),
                 .host = srv,
                 .may_change = {"/srv/root", "/srv/upper", "/srv/work"},
                 .images = {"/srv/base", "/srv/upper"}});
  all.push_back({.name = "overlay, read-only", .pipeline = overlay_on_root(readonly), .host = srv, .may_change = root, .images = layers});
  all.push_back({.name = "overlay, rootless",
                 .pipeline = overlay_on_root(ephemeral),
                 .host = srv,
                 .may_change = root,
                 .images = layers,
                 .user_namespace = true,
                 .old_kernels = false});  // in a user namespace overlayfs needs Linux 5.11
}

#ifdef ROOTPREP_WITH_EXAMPLES

void add_examples(std::vector<Shipped>& all) {
  // One host for all of them.
  const std::vector<std::string> host{"/tmp/new/bin/sh=",
                                      "/tmp/root/bin/sh=",
                                      "/tmp/base/bin/sh=",
                                      "/tmp/base/etc/base=",
                                      "/tmp/app/etc/who=",
                                      "/tmp/damaged/bin/sh=",
                                      "/tmp/damaged/etc/fstab=broken",
                                      "/srv/box/tmp/",
                                      "/srv/base/etc/",
                                      "/var/lib/box/root/",
                                      "/var/lib/box/upper/",
                                      "/var/lib/box/work/"};
  const auto add = [&](const char* name, Pipeline pipeline) {
    const std::vector<std::string> roots{"/tmp/new",          "/tmp/root",          "/tmp/damaged",     "/srv/box",
                                         "/var/lib/box/root", "/var/lib/box/upper", "/var/lib/box/work"};
    std::vector<std::string> here = host;
    if (name == std::string_view{"propagation"}) {
      for (const char* kind : {"shared", "slave", "private"}) here.push_back(std::string{"/tmp/"} + kind + ": shared tmpfs");
    }
    all.push_back({.name = std::string{"example "} + name,
                   .pipeline = std::move(pipeline),
                   .host = std::move(here),
                   .may_change = roots,
                   .images = {"/tmp/new", "/tmp/root", "/tmp/damaged", "/tmp/app", "/tmp/base", "/srv/box", "/srv/base"}});
  };
#define EXAMPLE(name) add(#name, example::name());
#include "shipped_examples.inc"
#undef EXAMPLE
}

void add_rootprep_run(std::vector<Shipped>& all) {
  using namespace rootprep_run;
  std::vector<std::string> host = srv;
  for (const char* entry : {"/run/box/", "/var/lib/rootprep/x/root/", "/var/lib/rootprep/x/upper/", "/var/lib/rootprep/x/work/",
                            "/opt/tool=", "/home/user/", "/etc/fstab=", "/media/usb/"})
    host.emplace_back(entry);
  Surroundings surroundings;
  surroundings.root = "/run/box";
  surroundings.mounts = {{"/", "ext4"},     {"/dev", "devtmpfs"}, {"/media/usb", "vfat"},
                         {"/proc", "proc"}, {"/run", "tmpfs"},    {"/sys", "sysfs"}};
  surroundings.entries = {{"bin", "usr/bin", false}, {"etc", "", true}, {"home", "", true}, {"media", "", true}, {"run", "", true}};
  const auto add = [&](const char* name, const Options& options, bool rootless, bool named) -> Shipped& {
    Surroundings here = surroundings;
    here.rootless = rootless;
    if (named) {
      here.root = "/var/lib/rootprep/x/root";
      here.layer = [](const std::string&, const std::string&) {
        return LayerDirectories{"/var/lib/rootprep/x/upper", "/var/lib/rootprep/x/work"};
      };
    }
    Shipped shipped;
    shipped.name = std::string{"rootprep-run"} + name;
    shipped.pipeline = make_pipeline(options, here).pipeline;
    shipped.host = host;
    shipped.may_change = {here.root};
    if (named) shipped.may_change = {"/var/lib/rootprep/x/root", "/var/lib/rootprep/x/upper", "/var/lib/rootprep/x/work"};
    shipped.images = options.images.empty() ? std::vector<std::string>{"/home"} : options.images;
    shipped.user_namespace = rootless;
    shipped.network = options.private_network;
    shipped.old_kernels = !rootless;
    return all.emplace_back(std::move(shipped));
  };
  const std::vector<std::string> image{"/srv/base"};
  add(", a copy of the system", {}, false, false);
  add(", a copy of the system, rootless", {}, true, false);
  add(" --read-only", {.read_only = true}, false, false);
  add(" --no-pivot", {.no_pivot = true}, false, false);
  add(" --private-network", {.private_network = true}, false, false);
  add(" --image", {.images = image}, false, false);
  add(" --image --image", {.images = {"/srv/app", "/srv/base"}}, false, false);
  add(" --image --name", {.images = image}, false, true);
  add(" --image, rootless", {.images = image}, true, false);
  add(" --image --no-pivot --read-only", {.images = image, .read_only = true, .no_pivot = true}, false, false);
  add(" --image --bind --tmpfs",
      {.images = image,
       .mounts = {BindOption{"/srv/data", "/mnt/data", true}, BindOption{"/opt/tool", "/opt/tool", false},
                  TmpfsOption{"/var/tmp", 1 << 20}}},
      false, false)
      .old_kernels = false;  // read-only with all mounts below it needs Linux 5.12
}

#endif

}  // namespace

std::vector<Shipped> pipelines() {
  std::vector<Shipped> all;
  add_library_pipelines(all);
  for (Shipped& shipped : all) shipped.of_the_library = true;
#ifdef ROOTPREP_WITH_EXAMPLES
  add_examples(all);
  add_rootprep_run(all);
#endif
  return all;
}

std::vector<Variant> variants(const std::vector<Shipped>& all) {
  std::vector<Variant> made;
  for (const Shipped& shipped : all) {
    for (const bool old : {false, true}) {
      if (old && !shipped.old_kernels) continue;
      Variant variant;
      variant.name = shipped.name + (old ? ", Linux 5.4" : ", Linux 6.18");
      variant.plan = shipped.pipeline
                         .compile({.features = old ? KernelFeatures::linux_5_4() : KernelFeatures::linux_6_18(),
                                   .user_namespace = shipped.user_namespace,
                                   .check_host = false})
                         .value();
      variant.profile = old ? KernelProfile::linux_5_4() : KernelProfile::linux_6_18();
      variant.shipped = &shipped;
      made.push_back(std::move(variant));
    }
  }
  return made;
}

std::uint64_t namespaces(const Shipped& shipped) {
  return abi::clone_newns | abi::clone_newpid | abi::clone_newipc | abi::clone_newcgroup | (shipped.network ? abi::clone_newnet : 0) |
         (shipped.user_namespace ? abi::clone_newuser : 0);
}

FakeSweepWorlds worlds(const Variant& variant) {
  const Shipped& shipped = *variant.shipped;
  FakeSweepWorlds made;
  made.make_host = [profile = variant.profile, &shipped] {
    FakeKernel host = FakeKernel::debian_host(profile);
    build(host, shipped.host, shipped.user_namespace ? 1000U : 0U);
    if (shipped.user_namespace) {
      host.set_ids(1000, 1000);
      host.set_capabilities(0);
    }
    return host;
  };
  made.namespaces = namespaces(shipped);
  made.may_change = shipped.may_change;
  // Of example 07 and of rootprep-run's LoopbackUp.
  made.own_calls = [](FakeProcess& child, const SysCall& call) -> std::optional<long> {
    if (call.number == SYS_setpriority || call.number == SYS_ioctl) return 0;
    if (call.number == SYS_socket) return child.openat(abi::at_fdcwd, "/dev/null", static_cast<int>(abi::o_cloexec), 0);
    return std::nullopt;
  };
  return made;
}

namespace {

using child::invoke;

void must(long result, const std::string& what) {
  if (result < 0) throw std::system_error(static_cast<int>(-result), std::generic_category(), what);
}

void make_directory(Kernel& kernel, const std::string& path, unsigned owner) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string directory = path.substr(0, slash);
    const long made = invoke(kernel, SYS_mkdirat, abi::at_fdcwd, directory.c_str(), 0755);
    if (made != -EEXIST) must(made, "mkdir " + directory);
    if (made == 0) must(invoke(kernel, SYS_fchownat, abi::at_fdcwd, directory.c_str(), owner, owner, 0), "chown " + directory);
    if (slash == std::string::npos || slash + 1 == path.size()) return;
  }
}

}  // namespace

void build(Kernel& kernel, const std::vector<std::string>& entries, unsigned owner) {
  for (const std::string& entry : entries) {
    const std::size_t end = std::min({entry.find(" -> "), entry.find('='), entry.find(": ")});
    const std::string path = entry.substr(0, end);
    const bool mount = end != std::string::npos && entry[end] == ':';
    if (end == std::string::npos || mount) {
      make_directory(kernel, path, owner);
    } else {
      make_directory(kernel, path.substr(0, path.rfind('/')), owner);
    }
    if (mount) {
      must(invoke(kernel, SYS_mount, "host", path.c_str(), "tmpfs", 0, nullptr), "mount " + path);
      const auto propagation = entry.find("shared", end) != std::string::npos ? abi::ms_shared : abi::ms_private;
      must(invoke(kernel, SYS_mount, nullptr, path.c_str(), nullptr, propagation, nullptr), "propagation of " + path);
    } else if (end != std::string::npos && entry[end] == '=') {
      const std::string content = entry.substr(end + 1);
      const long fd = invoke(kernel, SYS_openat, abi::at_fdcwd, path.c_str(), abi::o_wronly | abi::o_creat | abi::o_cloexec, 0644);
      must(fd, "open " + path);
      must(invoke(kernel, SYS_write, fd, content.data(), content.size()), "write " + path);
      must(invoke(kernel, SYS_close, fd), "close " + path);
      must(invoke(kernel, SYS_fchownat, abi::at_fdcwd, path.c_str(), owner, owner, 0), "chown " + path);
    } else if (end != std::string::npos) {
      must(invoke(kernel, SYS_symlinkat, entry.c_str() + end + 4, abi::at_fdcwd, path.c_str()), "symlink " + path);
    }
  }
}

}  // namespace shipped
