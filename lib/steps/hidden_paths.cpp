// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/steps/hidden_paths.hpp"

#include "rootprep/plan_builder.hpp"
#include "steps/attach.hpp"

namespace rootprep {
namespace {

constexpr std::uint64_t clone_one = abi::open_tree_clone | abi::open_tree_cloexec;

MountSpec empty_directory() {
  MountSpec spec = MountSpec::tmpfs("/", {.mode = 0755, .inodes = 2});
  spec.options.push_back({"size", "4k"});
  return spec.with({.ro = Setting::set, .nosuid = Setting::set, .nodev = Setting::set, .noexec = Setting::set});
}

void mask_by_descriptor(PlanBuilder& b, Fd null, Fd target) {
  const Label directory = b.label();
  const Label done = b.label();
  Fd mask = b.open_tree(null, clone_one);
  b.move_mount(mask, target).otherwise(directory, {EINVAL});  // a file on a directory: EINVAL here, ENOTDIR from mount(2)
  b.close(mask).then(done);
  b.place(directory);
  b.close(mask);
  const MountSpec empty = empty_directory();
  Fd tmpfs = steps::detached_filesystem(b, empty.type, empty.source, empty.options, empty.attributes);
  b.move_mount(tmpfs, target);
  b.close(tmpfs);
  b.place(done);
}

void mask_by_path(PlanBuilder& b, Fd null, Fd target) {
  const Label directory = b.label();
  const Label done = b.label();
  b.mount(Text::path_of(null), Text::path_of(target), nullptr, abi::ms_bind, nullptr).otherwise(directory, {ENOTDIR}).then(done);
  b.place(directory);
  const MountSpec empty = empty_directory();
  b.mount("tmpfs", Text::path_of(target), "tmpfs", empty.attributes.mount_flags_set(), steps::option_text(b, empty.options, "MaskPaths"));
  b.place(done);
}

bool check(PlanBuilder& b, const std::vector<std::string>& paths, std::string_view field) {
  for (const std::string& path : paths) {
    if (!b.require_absolute(path, field)) return false;
    if (steps::is_root(path)) {
      b.fail(PlanErrc::bad_value, field, path, "a path below the root");
      return false;
    }
  }
  return true;
}

}  // namespace

std::vector<std::string> MaskPaths::defaults() {
  return {"/proc/acpi",       "/proc/asound",      "/proc/kcore",       "/proc/keys", "/proc/latency_stats",
          "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"};
}

void MaskPaths::lower(PlanBuilder& b) const {
  if (!check(b, paths, "MaskPaths.paths") || paths.empty()) return;
  Fd null = b.open_in_root("/dev/null");
  b.verify_node(null, abi::s_ifchr, abi::device_number(1, 3));
  for (const std::string& path : paths) {
    const Label missing = b.label();
    Call found = b.open_in_root_call(path);
    found.otherwise(missing, {ENOENT});
    Fd target = found.descriptor();
    if (b.features().mount_by_descriptor) {
      mask_by_descriptor(b, null, target);
    } else {
      mask_by_path(b, null, target);
    }
    b.close(target);
    b.place(missing);
  }
  b.close(null);
}

std::string MaskPaths::describe() const { return "mask " + std::to_string(paths.size()) + (paths.size() == 1 ? " path" : " paths"); }

std::vector<std::string> ReadonlyPaths::defaults() { return {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}; }

void ReadonlyPaths::lower(PlanBuilder& b) const {
  if (!check(b, paths, "ReadonlyPaths.paths")) return;
  const MountAttributes readonly{.ro = Setting::set};
  for (const std::string& path : paths) {
    const Label missing = b.label();
    Call found = b.open_in_root_call(path);
    found.otherwise(missing, {ENOENT});
    Fd target = found.descriptor();
    if (b.features().mount_by_descriptor) {
      Fd tree = b.open_tree(target, clone_one | abi::at_recursive);
      if (b.features().mount_setattr) steps::set_attributes(b, tree, readonly, true);
      b.move_mount(tree, target);
      if (!b.features().mount_setattr) steps::set_attributes(b, tree, readonly, false);
      b.close(tree);
    } else {
      b.mount(Text::path_of(target), Text::path_of(target), nullptr, abi::ms_bind | abi::ms_rec, nullptr);
      Fd top = b.open_in_root(path);
      steps::set_attributes(b, top, readonly, false);
      b.close(top);
    }
    b.close(target);
    b.place(missing);
  }
}

std::string ReadonlyPaths::describe() const {
  return "make " + std::to_string(paths.size()) + (paths.size() == 1 ? " path" : " paths") + " read-only";
}

}  // namespace rootprep
