// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/steps/overlay_mount.hpp"

#include <sys/stat.h>
#include <sys/statfs.h>

#include <map>
#include <utility>

#include "plan/host_path.hpp"
#include "rootprep/plan_builder.hpp"
#include "rootprep/steps/mount_spec.hpp"
#include "steps/attach.hpp"

namespace rootprep {
namespace {

constexpr std::size_t max_layers = 500;  // overlayfs: OVL_MAX_STACK
// Layers that fit into mount(2)'s page as "/proc/self/fd/1234:", with room for the other options.
constexpr std::size_t max_layers_in_options = 150;

// --- what can be known before anything happens ---

void check_lowers_differ(const OverlayMount& step, PlanBuilder& b) {
  std::map<std::pair<dev_t, ino_t>, std::string> seen;
  for (const std::string& path : step.lower) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return;  // reported elsewhere
    const auto [first, added] = seen.emplace(std::pair{status.st_dev, status.st_ino}, path);
    if (!added)
      b.fail(PlanErrc::conflict, "OverlayMount.lower", path, "layers that differ: this is the same directory as " + first->second);
  }
}

std::uint64_t mount_id(const std::string& path) {
  struct ::statx status {};
  if (::statx(AT_FDCWD, path.c_str(), 0, 0x1000 /* STATX_MNT_ID, Linux 5.8 */, &status) != 0) return 0;
  return (status.stx_mask & 0x1000U) != 0 ? status.stx_mnt_id : 0;
}

void check_upper(const OverlayMount& step, PlanBuilder& b) {
  const std::string existing_upper = host_path::exists(step.upper) ? step.upper : host_path::parent(step.upper);
  const std::string existing_work = host_path::exists(step.work) ? step.work : host_path::parent(step.work);
  struct statfs filesystem {};
  if (::statfs(existing_upper.c_str(), &filesystem) != 0) return;  // reported elsewhere
  if (static_cast<std::uint64_t>(filesystem.f_type) == abi::overlayfs_super_magic) {
    b.fail(PlanErrc::upper_on_overlay, "OverlayMount.upper", step.upper,
           "a directory that does not lie on overlayfs (as it does inside most containers): a tmpfs or a volume, or use `ephemeral`");
  }
  if (mount_id(existing_upper) != mount_id(existing_work)) {
    b.fail(PlanErrc::upper_work_apart, "OverlayMount.work", step.work,
           "a directory on the same mount as the upper directory " + step.upper);
  }
}

bool check(const OverlayMount& step, PlanBuilder& b) {
  if (!b.require_plain_text(step.target, "OverlayMount.target")) return false;
  if (step.lower.empty()) {
    b.fail(PlanErrc::empty_value, "OverlayMount.lower", "", "at least one lower directory");
    return false;
  }
  if (step.lower.size() > max_layers) {
    b.fail(PlanErrc::too_many_layers, "OverlayMount.lower", std::to_string(step.lower.size()) + " layers",
           "at most 500: merge some of them");
    return false;
  }
  bool fine = true;
  for (const std::string& path : step.lower) fine = b.require_directory(path, "OverlayMount.lower") && fine;
  if (step.ephemeral && (!step.upper.empty() || !step.work.empty())) {
    b.fail(PlanErrc::conflict, "OverlayMount.ephemeral", "", "either upper and work, or ephemeral");
    return false;
  }
  if (step.upper.empty() != step.work.empty()) {
    b.fail(PlanErrc::empty_value, step.upper.empty() ? "OverlayMount.upper" : "OverlayMount.work", "",
           "both upper and work, or none of them");
    return false;
  }
  if (!step.upper.empty()) {
    if (step.create_upper_and_work) {
      fine = b.require_absolute(step.upper, "OverlayMount.upper") && b.require_absolute(step.work, "OverlayMount.work") && fine;
      if (fine) {
        fine = b.require_directory(host_path::parent(step.upper), "OverlayMount.upper") &&
               b.require_directory(host_path::parent(step.work), "OverlayMount.work");
      }
    } else {
      fine = b.require_directory(step.upper, "OverlayMount.upper") && b.require_directory(step.work, "OverlayMount.work") && fine;
    }
    if (fine && (host_path::is_below(step.work, step.upper) || host_path::is_below(step.upper, step.work))) {
      b.fail(PlanErrc::upper_work_apart, "OverlayMount.work", step.work,
             "a directory beside the upper directory " + step.upper + ", not inside it or around it");
      fine = false;
    }
  }
  if (step.userxattr.value_or(b.user_namespace()) && (step.metacopy.value_or(false) || step.redirect_dir.value_or(false))) {
    b.fail(PlanErrc::conflict, step.metacopy.value_or(false) ? "OverlayMount.metacopy" : "OverlayMount.redirect_dir", "on",
           "off with userxattr, and so in a user namespace: the kernel refuses it there");
    fine = false;
  }
  if (b.user_namespace() && !b.features().overlay_in_user_namespace) {
    b.fail(PlanErrc::unsupported_by_kernel, "OverlayMount", "in a user namespace",
           "Linux 5.11; before it, fuse-overlayfs or a copy of the tree");
    fine = false;
  }
  if (step.volatile_upper && !b.features().overlay_volatile) {
    b.fail(PlanErrc::unsupported_by_kernel, "OverlayMount.volatile_upper", "true", "Linux 5.10");
    fine = false;
  }
  if (step.xino && *step.xino != "on" && *step.xino != "off" && *step.xino != "auto") {
    b.fail(PlanErrc::bad_value, "OverlayMount.xino", *step.xino, "\"on\", \"off\" or \"auto\"");
    fine = false;
  }
  fine = steps::require_attributes(b, step.attributes, false, "OverlayMount.attributes") && fine;
  if (fine && b.check_host()) {
    check_lowers_differ(step, b);
    if (!step.upper.empty()) check_upper(step, b);
  }
  return fine && !b.failed();
}

// --- the parts of the plan ---

std::vector<FilesystemOption> options_of(const OverlayMount& step, const PlanBuilder& b) {
  std::vector<FilesystemOption> options;
  const auto on_off = [&](const char* key, const std::optional<bool>& value) {
    if (value) options.push_back({key, *value ? "on" : "off"});
  };
  on_off("metacopy", step.metacopy);
  on_off("redirect_dir", step.redirect_dir);
  on_off("index", step.index);
  if (step.xino) options.push_back({"xino", *step.xino});
  if (step.userxattr.value_or(b.user_namespace())) options.push_back({"userxattr", {}});
  if (step.volatile_upper) options.push_back({"volatile", {}});
  return options;
}

struct UpperAndWork {
  Fd upper{};
  Fd work{};
};

UpperAndWork open_upper_and_work(const OverlayMount& step, PlanBuilder& b) {
  constexpr std::uint64_t flags = abi::o_path | abi::o_directory | abi::o_cloexec;
  if (step.create_upper_and_work) {
    b.mkdirat(Fd::cwd(), step.upper, 0755).allow({EEXIST});
    b.mkdirat(Fd::cwd(), step.work, 0700).allow({EEXIST});
  }
  Fd upper = b.openat(Fd::cwd(), step.upper, flags).descriptor("upper");
  Fd work = b.openat(Fd::cwd(), step.work, flags).descriptor("work");
  return {upper, work};
}

std::vector<FilesystemOption> tmpfs_options(std::uint64_t size) {
  std::vector<FilesystemOption> options;
  if (size != 0) options.push_back({"size", std::to_string(size)});
  options.push_back({"mode", "0755"});
  return options;
}

// A tmpfs on `target`, below the overlay: its descriptor. Nobody else sees it.
Fd mount_hidden_tmpfs(const OverlayMount& step, PlanBuilder& b, Fd target, std::uint64_t size) {
  const MountAttributes attributes{.nosuid = Setting::clear, .nodev = Setting::clear};
  if (b.features().mount_by_descriptor) {
    Fd mount = steps::detached_filesystem(b, "tmpfs", "tmpfs", tmpfs_options(size), attributes);
    b.move_mount(mount, target);
    return mount;
  }
  b.mount("tmpfs", Text::path_of(target), "tmpfs", 0, steps::option_text(b, tmpfs_options(size), "OverlayMount.ephemeral"));
  return steps::reopen_topmost(b, step.target);
}

UpperAndWork make_upper_and_work(PlanBuilder& b, Fd directory, const EphemeralUpper& ephemeral) {
  constexpr std::uint64_t flags = abi::o_path | abi::o_directory | abi::o_cloexec;
  b.mkdirat(directory, "upper", ephemeral.mode);
  if (ephemeral.uid != 0 || ephemeral.gid != 0) b.fchownat(directory, "upper", ephemeral.uid, ephemeral.gid, 0);
  b.mkdirat(directory, "work", 0700);
  Fd upper = b.openat(directory, "upper", flags).descriptor("upper");
  Fd work = b.openat(directory, "work", flags).descriptor("work");
  return {upper, work};
}

void configure_lowers(const OverlayMount& step, PlanBuilder& b, Fd fs) {
  for (const std::string& path : step.lower) {
    Fd layer = b.openat(Fd::cwd(), path, abi::o_path | abi::o_directory | abi::o_cloexec).descriptor("lower");
    if (b.features().overlay_layers_by_descriptor) {
      b.fsconfig_fd(fs, "lowerdir+", layer);
    } else {
      b.fsconfig_string(fs, "lowerdir+", Text::path_of(layer));  // raw: lowerdir+ is never unescaped, and 255 bytes would be its limit
    }
    b.close(layer);
  }
}

void configure_upper(PlanBuilder& b, Fd fs, UpperAndWork directories) {
  const auto set = [&](const char* key, Fd directory) {
    if (b.features().overlay_layers_by_descriptor) {
      b.fsconfig_fd(fs, key, directory);
    } else {
      b.fsconfig_string(fs, key, Text::path_of(directory));
    }
    b.close(directory);
  };
  set("upperdir", directories.upper);
  set("workdir", directories.work);
}

Fd create_overlay(const OverlayMount& step, PlanBuilder& b, Fd fs) {
  for (const FilesystemOption& option : options_of(step, b)) {
    if (option.value) {
      b.fsconfig_string(fs, option.key, *option.value);
    } else {
      b.fsconfig_flag(fs, option.key);
    }
  }
  b.fsconfig_create(fs);
  Fd mount = b.fsmount(fs, abi::fsmount_cloexec, step.attributes.attr_set()).descriptor("overlay");
  b.close(fs);
  return mount;
}

void become_mounted(const OverlayMount& step, PlanBuilder& b, Fd overlay) {
  // Where the kernel cannot create the work directory it mounts read-only and says nothing (overlayfs.rst).
  if (step.writable() && step.attributes.ro != Setting::set) b.verify_filesystem(overlay, abi::overlayfs_super_magic, 0, abi::st_rdonly);
  if (steps::is_root(step.target)) {
    steps::replace_root(b, overlay);
  } else {
    b.close(overlay);
  }
}

Fd open_target(const OverlayMount& step, PlanBuilder& b) {
  return steps::is_root(step.target) ? b.root() : b.open_in_root(step.target, {.create = Create::directory});
}

void close_target(const OverlayMount& step, PlanBuilder& b, Fd target) {
  if (!steps::is_root(step.target)) b.close(target);
}

void lower_by_descriptor(const OverlayMount& step, PlanBuilder& b) {
  Fd fs;
  Fd overlay;
  b.in_prologue([&] {
    fs = b.fsopen("overlay").descriptor("fs");
    b.fsconfig_string(fs, "source", "overlay");
    configure_lowers(step, b, fs);
    if (step.ephemeral) return;
    if (!step.upper.empty()) configure_upper(b, fs, open_upper_and_work(step, b));
    overlay = create_overlay(step, b, fs);
  });
  Fd target = open_target(step, b);
  if (step.ephemeral) {
    Fd tmpfs = mount_hidden_tmpfs(step, b, target, step.ephemeral->size);
    configure_upper(b, fs, make_upper_and_work(b, tmpfs, *step.ephemeral));
    b.close(tmpfs);
    overlay = create_overlay(step, b, fs);
  }
  b.move_mount(overlay, target);
  close_target(step, b, target);
  become_mounted(step, b, overlay);
}

// mount(2). Layers are named by descriptor, or, where that would not fit into a page, by short symbolic links on a tmpfs: the same tmpfs
// that holds an ephemeral upper.
void lower_by_mount(const OverlayMount& step, PlanBuilder& b) {
  const bool links = step.lower.size() > max_layers_in_options;
  std::vector<Fd> layers;
  UpperAndWork directories;
  b.in_prologue([&] {
    if (!links) {
      for (const std::string& path : step.lower) {
        layers.push_back(b.openat(Fd::cwd(), path, abi::o_path | abi::o_directory | abi::o_cloexec).descriptor("lower"));
      }
    }
    if (!step.upper.empty()) directories = open_upper_and_work(step, b);
  });
  Fd target = open_target(step, b);
  Fd hidden;
  if (links || step.ephemeral) hidden = mount_hidden_tmpfs(step, b, target, step.ephemeral ? step.ephemeral->size : 0);
  if (step.ephemeral) directories = make_upper_and_work(b, hidden, *step.ephemeral);

  Text data{"lowerdir="};
  for (std::size_t i = 0; i < step.lower.size(); ++i) {
    if (i != 0) data.append(":");
    if (links) {
      b.symlinkat(step.lower[i], hidden, std::to_string(i));
      data.append(std::to_string(i));
    } else {
      data.path(layers[i]);
    }
  }
  if (directories.upper) data.append(",upperdir=").path(directories.upper).append(",workdir=").path(directories.work);
  const std::string others = steps::option_text(b, options_of(step, b), "OverlayMount");
  if (!others.empty()) data.append(",").append(others);

  if (links) b.fchdir(hidden);  // the kernel reads "0:1:2" from the working directory
  b.mount("overlay", Text::path_of(target), "overlay", step.attributes.mount_flags_set(), data);
  if (links) b.chdir("/");
  for (const Fd layer : layers) b.close(layer);
  if (directories.upper) {
    b.close(directories.upper);
    b.close(directories.work);
  }
  if (hidden) b.close(hidden);
  close_target(step, b, target);
  become_mounted(step, b, steps::reopen_topmost(b, step.target));
}

}  // namespace

void lower(const OverlayMount& step, PlanBuilder& b) {
  (void)b.root();
  if (!check(step, b)) return;
  if (b.entered()) {
    b.fail(PlanErrc::host_path_after_entry, "OverlayMount.lower", step.lower.front(), "an OverlayMount before EnterRoot");
    return;
  }
  if (step.lower.size() == 1 && !step.writable()) {  // overlayfs wants two layers at least
    MountAttributes attributes = step.attributes;
    attributes.ro = Setting::set;
    MountSpec bind = MountSpec::bind(step.lower.front(), step.target).with(attributes);
    bind.recursive = b.user_namespace();  // the mounts below a layer do not show in an overlay, but there they may be locked to it
    bind.attributes_recursive = bind.recursive && b.features().mount_setattr;
    bind.lower(b);
  } else if (b.features().mount_by_descriptor && b.features().overlay_lowerdir_append) {
    lower_by_descriptor(step, b);
  } else {
    lower_by_mount(step, b);
  }
}

std::string OverlayMount::describe() const {
  std::string text = "overlay on " + target + " (" + std::to_string(lower.size()) + " lower";
  if (ephemeral) {
    text += ", ephemeral upper" + (ephemeral->size != 0 ? " of " + std::to_string(ephemeral->size) + " bytes" : std::string{});
  } else if (!upper.empty()) {
    text += ", upper " + upper;
  } else {
    text += ", read-only";
  }
  return text + ')';
}

}  // namespace rootprep
