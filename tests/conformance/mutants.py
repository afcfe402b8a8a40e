#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The rootprep authors
"""Does the suite notice when the kernel in memory is wrong? Applies one-line faults to lib/testing, one at a time, and runs the
scenarios. A fault that no scenario notices "lives": then a scenario is missing.

  mutants.py SOURCE_DIRECTORY SCRATCH_DIRECTORY [FIRST [LAST]]     works on a copy; prints one line a mutant and a count
"""
import os
import shutil
import subprocess
import sys

# (file below lib/testing, text, replacement): the text must be there, the first occurrence is replaced
MUTANTS = [
    ("mount_tree.cpp", "plan_copies_for_slaves(slaves, mountpoint, first < 0 ? nearest : first, plan);", ""),
    ("mount_tree.cpp", "first < 0 ? nearest : first, plan", "nearest, plan"),
    ("mount_tree.cpp", "plan.push_back({member, nearest, CopyAs::shared_slave});", "plan.push_back({member, nearest, CopyAs::slave});"),
    ("mount_tree.cpp", "plan.push_back({member, first, CopyAs::peer});", "plan.push_back({member, nearest, CopyAs::shared_slave});"),
    ("mount_tree.cpp", "if (receives(slave, mountpoint)) plan.push_back({slave, nearest, CopyAs::slave});", ""),
    ("mount_tree.cpp", "if (peer != parent && receives(peer, mountpoint))", "if (false)"),
    ("mount_tree.cpp", "!mount->ns->anonymous && is_below(mountpoint, mount->root)", "is_below(mountpoint, mount->root)"),
    ("mount_tree.cpp", "!mount->ns->anonymous && is_below(mountpoint, mount->root)", "!mount->ns->anonymous"),
    ("mount_tree.cpp", "make_shared(world, m);\n  }\n  std::vector<Mount*> copies;", "(void)m;\n  }\n  std::vector<Mount*> copies;"),
    ("mount_tree.cpp", "if (to->ns->owner != task.ns->owner) lock_tree(copy);", ""),
    ("mount_tree.cpp", "    unlink_mount(world, over);\n    link_mount(world, over, top, top->root);", "    unlink_mount(world, over);\n    link_mount(world, over, tree, tree->root);\n    (void)top;"),
    ("mount_tree.cpp", "if (i == 0) cognate->locked = false;", ""),
    ("mount_tree.cpp", "if (child->mountpoint == mount->root) continue;", ""),
    ("mount_tree.cpp", "if (mount->locked && mount->parent != nullptr && going.count(mount->parent) == 0) return true;", ""),
    ("mount_tree.cpp", "for (const Slide& slide : slides) link_mount", "for (const Slide& slide : std::vector<Slide>{}) link_mount"),
    ("mount_tree.cpp", "mount->unmounted = true;\n    make_private(world, mount);", "mount->unmounted = true;"),
    ("mount_tree.cpp", "how == Removal::lazy && mount->locked", "false"),
    ("mount_tree.cpp", "if (mount->first_child != nullptr || references(world, mount) > 0) return true;", "if (references(world, mount) > 0) return true;"),
    ("mount_tree.cpp", "if (references(world, copy) > 0) return true;", ""),
    ("mount_tree.cpp", "if (task->cwd.mount == mount) ++count;", ""),
    ("mount_tree.cpp", "made->locked = child->locked;", ""),
    ("mount_tree.cpp", "if (!options.keep_unbindable && child->unbindable) {", "if (false) {"),
    ("mount_tree.cpp", "!is_below(child->mountpoint, directory)) continue;", "false) continue;"),
    ("mount_tree.cpp", "if (child->locked && is_below(child->mountpoint, directory)) return true;", ""),
    ("mount_tree.cpp", "if (m != tree) m->locked = true;", "m->locked = true;"),
    ("mount_tree.cpp", "if (m != tree) m->locked = true;", ""),
    ("mount_tree.cpp", "m->locks.nosuid = m->locks.nosuid || m->flags.nosuid;", ""),
    ("mount_tree.cpp", "m->locks.atime = true;", ""),
    ("propagation.cpp", "for (PeerGroup* slave : groups) set_master(slave, master);", "for (PeerGroup* slave : groups) set_master(slave, nullptr);"),
    ("propagation.cpp", "for (Mount* slave : mounts) set_master(slave, master);", "for (Mount* slave : mounts) set_master(slave, nullptr);"),
    ("propagation.cpp", "PeerGroup* master = alone ? group->master : group;", "PeerGroup* master = alone ? nullptr : group;"),
    ("propagation.cpp", "become_peer(mount, new_group(world, master));", "become_peer(mount, new_group(world, nullptr));"),
    ("propagation.cpp", "  mount->unbindable = false;\n  if (mount->shared()) return;", "  if (mount->shared()) return;"),
    ("propagation.cpp", "add_receivers_of_slaves(slaves, all);", ""),
    ("mount_calls.cpp", "if (tree->parent->shared()) return", "if (false) return"),
    ("mount_calls.cpp", 'if (tree->locked) return world.refuse(EINVAL, "move.source-is-locked");', ""),
    ("mount_calls.cpp", "if (parent->shared() && holds_unbindable(tree))", "if (false)"),
    ("mount_calls.cpp", 'return world.refuse(EINVAL, "move.directory-and-file")', 'return world.refuse(ENOTDIR, "move.directory-and-file")'),
    ("mount_calls.cpp", 'return world.refuse(ENOTDIR, "bind.directory-and-file")', 'return world.refuse(EINVAL, "bind.directory-and-file")'),
    ("mount_calls.cpp", 'if (old_mount->shared()) return world.refuse(EINVAL, "pivot.put-old-is-on-shared-mount");', ""),
    ("mount_calls.cpp", 'if (parent_is_shared(new_mount)) return', "if (false) return"),
    ("mount_calls.cpp", 'if (parent_is_shared(root_mount)) return', "if (false) return"),
    ("mount_calls.cpp", 'if (!is_mount_root(fresh)) return', "if (false) return"),
    ("mount_calls.cpp", "    root_mount->locked = false;\n    new_mount->locked = true;", ""),
    ("mount_calls.cpp", "if (other->root == root) other->root = fresh;", "if (other.get() == &task) other->root = fresh;"),
    ("mount_calls.cpp", "if (other->cwd == root) other->cwd = fresh;", ""),
    ("mount_calls.cpp", 'if (mount->locked) return world.refuse(EINVAL, "umount.locked");', ""),
    ("mount_calls.cpp", "if (mount == task.root.mount && !lazy) {", "if (false) {"),
    ("mount_calls.cpp", "if (flags_are_locked(*path.mount, wanted)) return", "if (false) return"),
    ("mount_calls.cpp", "path.mount->flags = wanted;", "path.mount->flags.read_only = wanted.read_only;"),
    ("mount_calls.cpp", "if (is_at_or_below(tree, over)) return", "if (false) return"),
    ("mount_calls.cpp", "if (over->root == place.at.dentry && reaches(parent->group, over)) return", "if (false) return"),
    ("mount_calls.cpp", 'if (place.at.dentry->dead) return world.refuse(ENOENT, "target.deleted");', ""),
    ("mount_calls.cpp", "if (!recursive && has_locked_children(source.mount, source.dentry)) return", "if (false) return"),
    ("new_mount_api.cpp", "if (has_locked_children(from.mount, to.mount->root)) return", "if (false) return"),
    ("new_mount_api.cpp", "if (!is_below(to.mount->root, from.mount->root)) return", "if (false) return"),
    ("new_mount_api.cpp", "become_peer(to.mount, from.mount->group);", "become_slave_of(to.mount, from.mount->group);"),
    ("process_calls.cpp", "if (owner != old->owner) lock_tree(root);", ""),
    ("process_calls.cpp", "owner == old->owner ? CopyAs::peer : CopyAs::other_user", "CopyAs::peer"),
    ("process_calls.cpp", "if (is_chrooted(task)) return", "if (false) return"),
    ("path_walk.cpp", "constexpr unsigned max_links = 40;", "constexpr unsigned max_links = 39;"),
    ("path_walk.cpp", "constexpr unsigned max_links = 40;", "constexpr unsigned max_links = 41;"),
    ("path_walk.cpp", "const Path over = topmost(world_, path_);", "const Path over = path_;"),
    ("path_walk.cpp", "if (scoped) root_ = path_;", ""),
    ("file_calls.cpp", 'if (is_local_mountpoint(task, child)) return', "if (false) return"),
    ("file_calls.cpp", "  detach_mounts_on(world, child);\n", ""),
    ("overlay.cpp", "if (!is_directory(found) || is_opaque(layers, found)) return true;", "if (!is_directory(found)) return true;"),
    ("overlay.cpp", "if (is_whiteout(found)) return false;", ""),
    ("overlay.cpp", "if (!uid_mapped(owner, source.uid) || !gid_mapped(owner, source.gid)) return", "if (false) return"),
    ("process_calls.cpp", "for (PlainNamespace* ns = pid_namespace; ns != nullptr; ns = ns->parent) {", "for (PlainNamespace* ns = pid_namespace; ns != nullptr; ns = nullptr) {"),
    ("procfs.cpp", "if (is_thread && name == \"task\") return nullptr;", ""),
    ("procfs.cpp", "text + \"/task/\" + text", "text + \"/task/\""),
    ("filesystem_types.cpp", "if (superblock_flag(context, key)) return 0;\n  if (key == \"source\") {\n    context.log", "if (key == \"source\") {\n    context.log"),
    ("filesystem_types.cpp", "if (exclusive) return world.refuse(EBUSY", "if (false) return world.refuse(EBUSY"),
    ("new_mount_api.cpp", "if (type->behaviour == Behaviour::sysfs && type->namespace_kind != 0", "if (false && type->namespace_kind != 0"),
    ("new_mount_api.cpp", "if (context.state != State::created) return", "if (false) return"),
    ("new_mount_api.cpp", "  context.state = State::failed;\n  if (const long error = create_superblock", "  if (const long error = create_superblock"),
    ("new_mount_api.cpp", "if (message.size() > count) return", "if (false) return"),
    ("new_mount_api.cpp", "if (recursive && !clone) return", "if (false) return"),
    ("new_mount_api.cpp", "if (change.idmap == mount->superblock->owner) return", "if (false) return"),
    ("new_mount_api.cpp", "return world.refuse(E2BIG, \"setattr.unknown-tail\")", "return world.refuse(EINVAL, \"setattr.unknown-tail\")"),
    ("mount_calls.cpp", "if (!visible) continue;", ""),
    ("mount_calls.cpp", "if (read_only_locked && !flags.read_only) continue;", ""),
    ("mount_calls.cpp", "if (child->locked && !child->mountpoint->permanently_empty) visible = false;", ""),
    ("mount_calls.cpp", "data_text.assign(text, ::strnlen(text, 4095));", "data_text.assign(text);"),
    ("mount_calls.cpp", "if (file != nullptr && file->sequence <= task.ns->sequence) return true;", ""),
    ("path_walk.cpp", "if (link.mount->flags.nosymfollow) return", "if (false) return"),
    ("permissions.cpp", "if (!uid_mapped(owner, task.uid) || !gid_mapped(owner, task.gid)) {", "if (false) {"),
    ("overlay.cpp", "  if (covers_lower) {\n    if (const long error = make_whiteout", "  if (false) {\n    if (const long error = make_whiteout"),
    ("overlay.cpp", "if (permission(task, fresh, may_read) != 0) return", "if (false) return"),
    ("overlay.cpp", "    fresh->inode->uid = task.uid;\n    fresh->inode->gid = task.gid;\n  } else {", "  } else {"),
    ("overlay.cpp", "if (may_create(task, work.dentry) != 0 || want_write(world, work) != 0) return 0;", ""),
    ("overlay.cpp", "if (is_directory(from) && !to_directory->inode->lower.empty() && !layers.can_mark", "if (false && !layers.can_mark"),
    ("overlay.cpp", "if (wants.metacopy && !wants.redirects && says_redirect) return conflict();", ""),
    ("overlay.cpp", "if (!has_upper && (follows || !says_redirect)) {", "if (false) {"),
    ("overlay.cpp", "} else if (says_index) {", "} else if (false) {"),
    ("overlay.cpp", "if (wants.nfs_export && wants.metacopy && says_metacopy) return conflict();", ""),
    ("overlay.cpp", "return marks_files ? conflict() : 0;", "return 0;"),
    ("overlay.cpp", "(marks_files || wants.verity) && !capable", "marks_files && !capable"),
    ("procfs.cpp", "if (users && e.outside == 0 && !may_map_root", "if (false && !may_map_root"),
    ("path_walk.cpp", "  walker.path().mount->expiring = false;\n", ""),
    ("overlay.cpp", "if (layers != nullptr && layers->upper != nullptr && layers->upper->superblock->read_only)\n    return", "if (false)\n    return"),
    ("inodes.cpp", "  if (superblock.inodes > 0) --superblock.inodes;\n", ""),
    ("inodes.cpp", "  if (const long error = take_inode(world, *existing->superblock); error != 0) return error;\n", ""),
    ("file_calls.cpp", "if (parent.last != Last::name && exclusive) return", "if (false) return"),
    ("file_calls.cpp", "if (owner_has_no_id(attributes(path.dentry))) return", "if (false) return"),
    ("file_calls.cpp", "if ((owner == keep && before.uid == unmapped_id) || (group == keep && before.gid == unmapped_id))", "if (false)"),
]


def run(command, timeout=900):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=timeout).returncode


def main():
    source, scratch = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    copy, build = os.path.join(scratch, "source"), os.path.join(scratch, "build")
    shutil.rmtree(copy, ignore_errors=True)
    # shutil.copy gives new times: an object of the last run's fault would otherwise count as up to date.
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("build*", ".git"), copy_function=shutil.copy)
    configure = ["cmake", "-S", copy, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS=-O0 -g0"]
    if run(configure) != 0 or run(["ninja", "-C", build, "-j1", "rootprep-scenarios"]) != 0:
        sys.exit("the unchanged source does not build")
    directory = os.path.join(copy, "tests/conformance/scenarios")
    scenarios = sorted(os.path.join(directory, name) for name in os.listdir(directory))
    test = [os.path.join(build, "bin/rootprep-scenarios"), "--quiet", "--kernel", "fake"] + scenarios
    if run(test) != 0:
        sys.exit("the unchanged source does not pass")
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    last = int(sys.argv[4]) if len(sys.argv) > 4 else len(MUTANTS)
    lived = 0
    for number, (name, text, replacement) in enumerate(MUTANTS, 1):
        if not first <= number <= last:
            continue
        path = os.path.join(copy, "lib/testing", name)
        with open(path) as file:
            original = file.read()
        if text not in original:
            print(f"{number}: {name}: NOT APPLICABLE: {text!r}", flush=True)
            lived += 1
            continue
        with open(path, "w") as file:
            file.write(original.replace(text, replacement, 1))
        try:
            if run(["ninja", "-C", build, "-j1", "rootprep-scenarios"]) != 0:
                verdict = "DOES NOT BUILD"
            else:
                try:
                    verdict = "caught" if run(test, timeout=60) != 0 else "LIVES"
                except subprocess.TimeoutExpired:
                    verdict = "caught (endless)"
        finally:
            with open(path, "w") as file:
                file.write(original)
        lived += not verdict.startswith("caught")
        print(f"{number}: {name}: {verdict}: {text.splitlines()[0].strip()[:90]!r}", flush=True)
    print(f"{last - first + 1} mutants, {last - first + 1 - lived} caught")
    return 1 if lived else 0


if __name__ == "__main__":
    sys.exit(main())
