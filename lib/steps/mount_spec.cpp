// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/steps/mount_spec.hpp"

#include "rootprep/plan_builder.hpp"
#include "steps/attach.hpp"

namespace rootprep {
namespace {

using steps::octal;

// `top`: the mount that now covers the target.
void finish_target(PlanBuilder& b, const MountSpec& spec, Fd top) {
  if (steps::is_root(spec.target)) {
    steps::replace_root(b, top);
  } else if (top.kind() == Fd::Kind::slot) {
    b.close(top);
  }
}

void attach_tree(PlanBuilder& b, const MountSpec& spec, Fd tree, Create create) {
  if (steps::is_root(spec.target)) {
    b.move_mount(tree, b.root());
  } else {
    Fd target = b.open_in_root(spec.target, {.create = create, .like = create == Create::like_source ? tree : Fd{}});
    b.move_mount(tree, target);
    b.close(target);
  }
}

// A bind of which the source is already detached, or is moved as it is.
void lower_bind_by_descriptor(const MountSpec& spec, PlanBuilder& b, Fd tree) {
  const bool detached_attributes = b.features().mount_setattr;  // mount(2) cannot remount what is not attached
  if (detached_attributes) {
    steps::set_attributes(b, tree, spec.attributes, spec.attributes_recursive);
    steps::set_propagation(b, tree, spec.propagation, spec.recursive);
  }
  attach_tree(b, spec, tree, Create::like_source);
  if (!detached_attributes) {
    steps::set_attributes(b, tree, spec.attributes, spec.attributes_recursive);
    steps::set_propagation(b, tree, spec.propagation, spec.recursive);
  }
  finish_target(b, spec, tree);
}

void lower_bind_by_path(const MountSpec& spec, PlanBuilder& b, Fd source) {
  const Fd target = steps::is_root(spec.target) ? b.root() : b.open_in_root(spec.target, {.create = Create::like_source, .like = source});
  b.mount(Text::path_of(source), Text::path_of(target), nullptr, abi::ms_bind | (spec.recursive ? abi::ms_rec : 0), nullptr);
  if (!steps::is_root(spec.target)) b.close(target);
  if (spec.source_descriptor < 0) b.close(source);
  if (spec.attributes.changes_nothing() && spec.propagation == Propagation::keep && !steps::is_root(spec.target)) return;
  Fd top = steps::reopen_topmost(b, spec.target);
  steps::set_attributes(b, top, spec.attributes, false);
  steps::set_propagation(b, top, spec.propagation, spec.recursive);
  finish_target(b, spec, top);
}

void lower_bind(const MountSpec& spec, PlanBuilder& b) {
  if (!spec.options.empty()) {
    b.fail(PlanErrc::conflict, "MountSpec.options", spec.options.front().key,
           "no file system options on a bind: they belong to the superblock; use attributes");
    return;
  }
  if (!steps::require_attributes(b, spec.attributes, spec.attributes_recursive, "MountSpec.attributes")) return;
  const bool held = spec.source_descriptor >= 0;
  if (held && !spec.source.empty()) {
    b.fail(PlanErrc::conflict, "MountSpec.source", spec.source, "either a source path or a source descriptor");
    return;
  }
  const Label end = b.label();
  if (!b.features().mount_by_descriptor) {
    Fd source =
        held ? Fd::held(spec.source_descriptor)
             : b.host_source(spec.source, "MountSpec.source", {.recursive = spec.recursive, .optional = spec.optional, .clone = false});
    if (spec.optional && !held) b.skip_if_closed(source, end);
    lower_bind_by_path(spec, b, source);
  } else if (held) {
    const Fd descriptor = Fd::held(spec.source_descriptor);
    if (steps::is_root(spec.target)) {
      b.fail(PlanErrc::conflict, "MountSpec.target", spec.target,
             "a place below the root: a descriptor of the caller cannot become the root");
      return;
    }
    const std::uint64_t flags = abi::open_tree_clone | abi::open_tree_cloexec | (spec.recursive ? abi::at_recursive : 0);
    b.first_of({
        {[&](PlanBuilder& plain) { lower_bind_by_descriptor(spec, plain, plain.open_tree(descriptor, flags).descriptor("source")); },
         {EINVAL},
         "the descriptor is not of this mount namespace: attached as a detached mount"},
        {[&](PlanBuilder& detached) { lower_bind_by_descriptor(spec, detached, descriptor); }, {}, {}},
    });
  } else {
    Fd tree = b.host_source(spec.source, "MountSpec.source", {.recursive = spec.recursive, .optional = spec.optional});
    if (spec.optional) b.skip_if_closed(tree, end);
    lower_bind_by_descriptor(spec, b, tree);
  }
  b.place(end);
}

void lower_filesystem(const MountSpec& spec, PlanBuilder& b) {
  if (spec.optional) {
    b.fail(PlanErrc::conflict, "MountSpec.optional", spec.type, "a bind: a file system type has no source that could be missing");
    return;
  }
  if (!steps::require_attributes(b, spec.attributes, false, "MountSpec.attributes")) return;
  for (const FilesystemOption& option : spec.options) {
    if (!b.require_plain_text(option.key, "MountSpec.options")) return;
  }
  if (b.features().mount_by_descriptor) {
    Fd mount = steps::detached_filesystem(b, spec.type, spec.source, spec.options, spec.attributes);
    if (b.features().mount_setattr) steps::set_propagation(b, mount, spec.propagation, false);
    attach_tree(b, spec, mount, Create::directory);
    if (!b.features().mount_setattr) steps::set_propagation(b, mount, spec.propagation, false);
    finish_target(b, spec, mount);
    return;
  }
  const bool over_root = steps::is_root(spec.target);
  const Fd target = over_root ? b.root() : b.open_in_root(spec.target, {.create = Create::directory});
  const std::string data = steps::option_text(b, spec.options, "MountSpec.options");
  const std::string source = spec.source.empty() ? "none" : spec.source;
  steps::mount_on(b, target, source, spec.type, spec.attributes.mount_flags_set(), data);
  if (!over_root) b.close(target);
  if (spec.propagation == Propagation::keep && !over_root) return;
  Fd top = steps::reopen_topmost(b, spec.target);
  steps::set_propagation(b, top, spec.propagation, false);
  finish_target(b, spec, top);
}

}  // namespace

MountSpec MountSpec::tmpfs(std::string target, TmpfsOptions options) {
  MountSpec spec = filesystem("tmpfs", std::move(target));
  if (options.size != 0) spec.options.push_back({"size", std::to_string(options.size)});
  if (options.mode != 0) spec.options.push_back({"mode", octal(options.mode)});
  if (options.inodes != 0) spec.options.push_back({"nr_inodes", std::to_string(options.inodes)});
  return spec.with({.nosuid = Setting::set, .nodev = Setting::set});
}

MountSpec MountSpec::proc(std::string target, ProcOptions options) {
  MountSpec spec = filesystem("proc", std::move(target));
  if (!options.hidepid.empty()) spec.options.push_back({"hidepid", options.hidepid});
  if (options.only_pids) spec.options.push_back({"subset", "pid"});
  return spec.with({.nosuid = Setting::set, .nodev = Setting::set, .noexec = Setting::set});
}

MountSpec MountSpec::sysfs(std::string target) {
  return filesystem("sysfs", std::move(target))
      .with({.ro = Setting::set, .nosuid = Setting::set, .nodev = Setting::set, .noexec = Setting::set});
}

MountSpec MountSpec::devpts(std::string target, DevptsOptions options) {
  MountSpec spec =
      filesystem("devpts", std::move(target), {{"newinstance", {}}, {"ptmxmode", octal(options.ptmx_mode)}, {"mode", octal(options.mode)}});
  if (options.gid) spec.options.push_back({"gid", std::to_string(*options.gid)});
  return spec.with({.nosuid = Setting::set, .noexec = Setting::set});
}

MountSpec MountSpec::mqueue(std::string target) {
  return filesystem("mqueue", std::move(target)).with({.nosuid = Setting::set, .nodev = Setting::set, .noexec = Setting::set});
}

void MountSpec::lower(PlanBuilder& b) const {
  if (!b.require_plain_text(target, "MountSpec.target")) return;
  b.set_optional(optional);
  (void)b.root();  // reports a missing PrepareRoot before anything else
  if (is_bind()) {
    lower_bind(*this, b);
  } else {
    lower_filesystem(*this, b);
  }
}

std::string MountSpec::describe() const {
  std::string text;
  if (!is_bind()) {
    text = "mount " + type + " on " + target;
  } else if (source_descriptor >= 0) {
    text = "bind descriptor " + std::to_string(source_descriptor) + " on " + target;
  } else {
    text = "bind " + source + " on " + target;
  }
  std::string details = attributes.describe();
  if (!details.empty() && attributes_recursive) details += " recursively";
  if (propagation != Propagation::keep) details += std::string{details.empty() ? "" : ", "} + name_of(propagation);
  if (optional) details += std::string{details.empty() ? "" : ", "} + "optional";
  return details.empty() ? text : text + " (" + details + ')';
}

}  // namespace rootprep
