// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/steps/device_setup.hpp"

#include "plan/host_path.hpp"
#include "rootprep/plan_builder.hpp"
#include "steps/attach.hpp"

namespace rootprep {
namespace {

std::uint64_t type_bits(DeviceType type) {
  switch (type) {
    case DeviceType::character: return abi::s_ifchr;
    case DeviceType::block: return abi::s_ifblk;
    case DeviceType::fifo: return abi::s_ififo;
  }
  return abi::s_ifchr;
}

// Where a device is: a directory in the root, and a name in it.
struct Place {
  std::string directory{};
  std::string name{};
};

Place place_of(const DeviceSetup& setup, const Device& device) {
  const std::string path = host_path::normalized(device.path.starts_with('/') ? device.path : setup.directory + '/' + device.path);
  return {host_path::parent(path), path.substr(path.rfind('/') + 1)};
}

std::string path_of(const Place& place) { return (place.directory == "/" ? "" : place.directory) + '/' + place.name; }

bool check(const DeviceSetup& setup, const Device& device, PlanBuilder& b) {
  const Place place = place_of(setup, device);
  if (!b.require_plain_text(device.path, "Device.path")) return false;
  if (device.path.ends_with('/') || place.name.empty() || place.name == "." || place.name == "..") {
    b.fail(PlanErrc::bad_value, "Device.path", device.path, "a path that ends with the name of the node");
    return false;
  }
  if (device.major > 0xFFF || device.minor > 0xF'FFFF || device.mode > 07777) {
    b.fail(PlanErrc::bad_value, "Device", device.path, "major up to 4095, minor up to 1048575, mode up to 07777");
    return false;
  }
  return true;
}

// The directory that a device goes to: the one of DeviceSetup is open already.
class Directories {
 public:
  Directories(const DeviceSetup& setup, PlanBuilder& b, Fd dev) : setup_(setup), b_(b), dev_(dev) {}
  Fd open(const Place& place) {
    if (place.directory == host_path::normalized(setup_.directory)) return dev_;
    return b_.open_in_root(place.directory, {.create = Create::directory, .flags = abi::o_path | abi::o_directory | abi::o_cloexec});
  }
  void close(Fd directory) {
    if (!(directory == dev_)) b_.close(directory);
  }

 private:
  const DeviceSetup& setup_;
  PlanBuilder& b_;
  Fd dev_;
};

void verify_node(PlanBuilder& b, Fd directory, const Place& place, const Device& device) {
  Fd node = b.openat(directory, place.name, abi::o_path | abi::o_nofollow | abi::o_cloexec);
  b.verify_node(node, type_bits(device.type), abi::device_number(device.major, device.minor));
  b.close(node);
}

void make_node(const DeviceSetup& setup, PlanBuilder& b, Fd dev, const Device& device) {
  Directories directories{setup, b, dev};
  const Place place = place_of(setup, device);
  Fd directory = directories.open(place);
  Call made = b.mknodat(directory, place.name, type_bits(device.type) | device.mode,
                        device.type == DeviceType::fifo ? 0 : abi::device_number(device.major, device.minor));
  if (!setup.fresh || !(directory == dev)) made.allow({EEXIST});
  if (device.uid != 0 || device.gid != 0) b.fchownat(directory, place.name, device.uid, device.gid, abi::at_symlink_nofollow);
  verify_node(b, directory, place, device);
  directories.close(directory);
}

void bind_node(const DeviceSetup& setup, PlanBuilder& b, Fd dev, const Device& device, Fd source) {
  Directories directories{setup, b, dev};
  const Place place = place_of(setup, device);
  Fd directory = directories.open(place);
  b.mknodat(directory, place.name, abi::s_ifreg | 0644, 0).allow({EEXIST});                       // an empty file to mount on
  b.verify_node(source, type_bits(device.type), abi::device_number(device.major, device.minor));  // CVE-2025-31133: the source decides
  if (b.features().mount_by_descriptor) {
    b.move_mount(source, Text{}, directory, place.name, abi::move_mount_f_empty_path);  // a symbolic link there is not followed
  } else {
    Fd target = b.openat(directory, place.name, abi::o_path | abi::o_nofollow | abi::o_cloexec);
    b.mount(Text::path_of(source), Text::path_of(target), nullptr, abi::ms_bind, nullptr);
    b.close(target);
  }
  b.close(source);
  directories.close(directory);
}

void bind_nodes(const DeviceSetup& setup, PlanBuilder& b, Fd dev, const std::vector<Device>& devices) {
  std::vector<Fd> sources;
  for (const Device& device : devices) {
    if (device.type == DeviceType::fifo) {
      sources.emplace_back();
    } else {
      sources.push_back(b.host_source(path_of(place_of(setup, device)), "Device.path", {.recursive = false}));
    }
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].type == DeviceType::fifo) {
      make_node(setup, b, dev, devices[i]);  // a fifo needs no privilege
    } else {
      bind_node(setup, b, dev, devices[i], sources[i]);
    }
  }
}

// The fallback of `automatic`: which sources it needs is known only once mknod was refused, so they are opened at their turn.
void bind_nodes_late(const DeviceSetup& setup, PlanBuilder& b, Fd dev, const std::vector<Device>& devices) {
  for (const Device& device : devices) {
    const std::string path = path_of(place_of(setup, device));
    if (device.type == DeviceType::fifo) {
      make_node(setup, b, dev, device);
      continue;
    }
    Fd source = b.features().mount_by_descriptor
                    ? b.open_tree(Fd::cwd(), path, abi::open_tree_clone | abi::open_tree_cloexec).descriptor("source")
                    : b.openat(Fd::cwd(), path, abi::o_path | abi::o_cloexec).descriptor("source");
    bind_node(setup, b, dev, device, source);
  }
}

void make_nodes(const DeviceSetup& setup, PlanBuilder& b, Fd dev, const std::vector<Device>& devices) {
  const bool bind = setup.method == DeviceMethod::bind || (setup.method == DeviceMethod::automatic && b.user_namespace());
  if (devices.empty()) return;
  if (bind) {
    bind_nodes(setup, b, dev, devices);
    return;
  }
  const auto make_all = [&](PlanBuilder& builder) {
    for (const Device& device : devices) make_node(setup, builder, dev, device);
  };
  if (setup.method == DeviceMethod::mknod || b.entered()) {
    make_all(b);
    return;
  }
  b.first_of({{make_all, {EPERM}, "mknod is not permitted: the devices of the host are bound instead"},
              {[&](PlanBuilder& builder) { bind_nodes_late(setup, builder, dev, devices); }, {}, {}}});
}

Fd open_directory(const DeviceSetup& setup, PlanBuilder& b) {
  const InRootOptions options{.create = Create::directory, .flags = abi::o_path | abi::o_directory | abi::o_cloexec};
  Fd place = b.open_in_root(setup.directory, options);
  if (!setup.fresh) return place;
  const std::vector<FilesystemOption> tmpfs{{"size", std::to_string(setup.tmpfs_size)}, {"mode", "0755"}};
  if (b.features().mount_by_descriptor) {
    Fd mount = steps::detached_filesystem(b, "tmpfs", "tmpfs", tmpfs, {.nosuid = Setting::set, .atime = Atime::strictatime});
    b.move_mount(mount, place);
    b.close(place);
    return mount;
  }
  steps::mount_on(b, place, "tmpfs", "tmpfs", abi::ms_nosuid | abi::ms_strictatime, steps::option_text(b, tmpfs, "DeviceSetup"));
  b.close(place);
  return b.open_in_root(setup.directory, {.flags = options.flags});
}

}  // namespace

const std::vector<Device>& DeviceSetup::standard_devices() {
  static const std::vector<Device> devices{
      {.path = "null", .major = 1, .minor = 3},   {.path = "zero", .major = 1, .minor = 5},    {.path = "full", .major = 1, .minor = 7},
      {.path = "random", .major = 1, .minor = 8}, {.path = "urandom", .major = 1, .minor = 9}, {.path = "tty", .major = 5, .minor = 0},
  };
  return devices;
}

void DeviceSetup::lower(PlanBuilder& b) const {
  if (!b.require_plain_text(directory, "DeviceSetup.directory")) return;
  std::vector<Device> devices = default_devices ? standard_devices() : std::vector<Device>{};
  devices.insert(devices.end(), extra_devices.begin(), extra_devices.end());
  for (const Device& device : devices) {
    if (!check(*this, device, b)) return;
  }
  if (pts_options.gid && b.user_namespace() && *pts_options.gid == 5) {
    b.fail(PlanErrc::bad_value, "DeviceSetup.pts_options.gid", "5",
           "no gid in a user namespace, unless it is mapped there under another number");
    return;
  }

  Fd dev = open_directory(*this, b);
  make_nodes(*this, b, dev, devices);

  const auto link = [&](const char* to, const char* name) { b.symlinkat(to, dev, name).allow({EEXIST}); };
  if (links) {
    link("/proc/self/fd", "fd");
    link("/proc/self/fd/0", "stdin");
    link("/proc/self/fd/1", "stdout");
    link("/proc/self/fd/2", "stderr");
  }
  if (pts) {
    if (!fresh) b.unlinkat(dev, "ptmx").allow({ENOENT});  // the image's own would lead to another devpts
    b.symlinkat("pts/ptmx", dev, "ptmx");
  }

  const auto mount = [&](const MountSpec& spec, const char* name) {
    if (fresh) {
      b.mkdirat(dev, name, 0755);
      steps::mount_below(b, spec, dev, name);
    } else {
      spec.lower(b);
    }
  };
  if (pts) mount(MountSpec::devpts(directory + "/pts", pts_options), "pts");
  if (shm) {
    mount(MountSpec::tmpfs(directory + "/shm", {.size = shm_size, .mode = 01777})
              .with({.nosuid = Setting::set, .nodev = Setting::set, .noexec = Setting::set}),
          "shm");
  }
  if (mqueue) mount(MountSpec::mqueue(directory + "/mqueue"), "mqueue");
  b.close(dev);
  if (console) MountSpec::bind_descriptor(*console, directory + "/console").not_recursive().lower(b);
}

std::string DeviceSetup::describe() const {
  std::string text = "devices in " + directory + " (" + (fresh ? "new tmpfs" : "existing directory");
  switch (method) {
    case DeviceMethod::automatic: break;
    case DeviceMethod::mknod: text += ", mknod"; break;
    case DeviceMethod::bind: text += ", bound from the host"; break;
  }
  if (!extra_devices.empty()) text += ", " + std::to_string(extra_devices.size()) + " more";
  return text + ')';
}

}  // namespace rootprep
