// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "steps/attach.hpp"

#include <cstdio>

#include "plan/host_path.hpp"

namespace rootprep::steps {

std::string octal(std::uint32_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%04o", mode);
  return text;
}

bool is_root(std::string_view target) { return host_path::relative_to_root(target) == "."; }

void replace_root(PlanBuilder& b, Fd top) {
  const Fd covered = b.root();
  b.set_root(top, b.root_host_path());
  b.close(covered);
}

bool require_attributes(PlanBuilder& b, const MountAttributes& attributes, bool recursive, std::string_view field) {
  const KernelFeatures& kernel = b.features();
  if (recursive && !attributes.changes_nothing() && !kernel.mount_setattr) {
    b.fail(PlanErrc::unsupported_by_kernel, field, attributes.describe(),
           "Linux 5.12 (mount_setattr): mount(2) changes one mount and would leave those below it as they are");
    return false;
  }
  const bool can_nosymfollow = kernel.mount_setattr ? kernel.mount_attr_nosymfollow : kernel.nosymfollow;
  if (attributes.nosymfollow != Setting::keep && !can_nosymfollow) {
    b.fail(PlanErrc::unsupported_by_kernel, field, attributes.describe(), "Linux 5.10 (mount) or 5.14 (mount_setattr) for nosymfollow");
    return false;
  }
  return true;
}

void set_attributes(PlanBuilder& b, Fd mount, const MountAttributes& attributes, bool recursive) {
  if (attributes.changes_nothing()) return;
  if (b.features().mount_setattr) {
    b.mount_setattr(mount, recursive ? abi::at_recursive : 0, {attributes.attr_set(), attributes.attr_clr(), 0, 0});
  } else {
    b.remount_bind(mount, attributes.mount_flags_set(), attributes.mount_flags_clear());
  }
}

void set_propagation(PlanBuilder& b, Fd mount, Propagation propagation, bool recursive) {
  if (propagation == Propagation::keep) return;
  if (b.features().mount_setattr) {
    b.mount_setattr(mount, recursive ? abi::at_recursive : 0, {0, 0, propagation_flag(propagation), 0});
  } else {
    const bool is_current_root = b.entered() && b.has_root() && mount == b.root();
    b.mount(nullptr, is_current_root ? Text{"/"} : Text::path_of(mount), nullptr,
            propagation_flag(propagation) | (recursive ? abi::ms_rec : 0), nullptr);
  }
}

Fd detached_filesystem(PlanBuilder& b, const std::string& type, const std::string& source, const std::vector<FilesystemOption>& options,
                       const MountAttributes& attributes) {
  Fd fs = b.fsopen(type).descriptor("fs");
  if (!source.empty()) b.fsconfig_string(fs, "source", source);
  for (const FilesystemOption& option : options) {
    if (option.value) {
      b.fsconfig_string(fs, option.key, *option.value);
    } else {
      b.fsconfig_flag(fs, option.key);
    }
  }
  b.fsconfig_create(fs);
  Fd mount = b.fsmount(fs, abi::fsmount_cloexec, attributes.attr_set()).descriptor("mount");
  b.close(fs);
  return mount;
}

void mount_on(PlanBuilder& b, Fd target, const std::string& source, const std::string& type, std::uint64_t flags, const std::string& data) {
  const Value options = data.empty() ? Value{nullptr} : Value{Text{data}};
  if (!b.entered()) {
    b.mount(source, Text::path_of(target), type, flags, options);
    return;
  }
  // There may be no /proc in the root yet: this may be the mount that brings it.
  b.fchdir(target);
  b.mount(source, ".", type, flags, options);
  b.chdir("/");
}

void mount_below(PlanBuilder& b, const MountSpec& spec, Fd directory, const std::string& name) {
  if (b.features().mount_by_descriptor) {
    Fd mount = detached_filesystem(b, spec.type, spec.source, spec.options, spec.attributes);
    b.move_mount(mount, Text{}, directory, name, abi::move_mount_f_empty_path);
    b.close(mount);
    return;
  }
  Fd target = b.openat(directory, name, abi::o_path | abi::o_nofollow | abi::o_cloexec);
  mount_on(b, target, spec.source, spec.type, spec.attributes.mount_flags_set(), option_text(b, spec.options, "MountSpec.options"));
  b.close(target);
}

std::string option_text(PlanBuilder& b, const std::vector<FilesystemOption>& options, std::string_view field) {
  constexpr std::size_t longest = 4095;  // mount(2) reads one page and cuts the rest without a word
  std::string text;
  for (const FilesystemOption& option : options) {
    if (!text.empty()) text += ',';
    text += option.key;
    if (option.value) text += '=' + *option.value;
    if ((option.value && option.value->find(',') != std::string::npos)) {
      b.fail(PlanErrc::bad_value, field, *option.value,
             "a value without a comma: mount(2) separates options by commas (Linux 5.2 has no such limit)");
    }
  }
  if (text.size() > longest) {
    b.fail(PlanErrc::too_large, field, std::to_string(text.size()) + " bytes of options",
           "at most 4095 bytes for mount(2) (Linux 5.2 has no such limit)");
  }
  return text;
}

Fd reopen_topmost(PlanBuilder& b, std::string_view target) {
  if (!is_root(target)) return b.open_in_root(target);
  if (b.entered() || b.root_host_path().empty()) {
    b.fail(PlanErrc::unsupported_by_kernel, "target", target, "Linux 5.2 to mount over the root after it was entered");
    return b.root();
  }
  return b.openat(Fd::cwd(), b.root_host_path(), abi::o_path | abi::o_directory | abi::o_cloexec);
}

}  // namespace rootprep::steps
