// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "explain/hints.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "rootprep/abi.hpp"

// The causes, in the order in which explain() lists them: the special before the general, the frequent before the rare. Each was met by people or
// tried on a kernel; ids never change their meaning. A call is its name in syscalls.def, or that of a composite operation.
namespace rootprep::explaining {
namespace {

constexpr Match possible_if(bool condition) noexcept { return condition ? Match::possible : Match::no; }
constexpr Match certain_if(bool condition) noexcept { return condition ? Match::certain : Match::no; }

constexpr std::uint64_t propagation_flags = abi::ms_private | abi::ms_slave | abi::ms_shared | abi::ms_unbindable;

// Is there a text among the arguments that the kernel walks as a path?
bool names_a_path(const Facts& f) {
  if (f.operation() == nullptr) return true;
  for (std::size_t i = 0; i < f.operation()->argument_count; ++i) {
    const std::optional<std::string> text = f.text(i);
    if (text && !text->empty()) return true;
  }
  return false;
}

Match on_overlay(const Facts& f, bool condition = true) { return possible_if(f.makes("overlay") && f.creates() && condition); }

// The kernel's own words decide; without them (mount(2) has none) the cause is possible.
Match overlay_says(const Facts& f, std::string_view words) {
  if (!f.makes("overlay")) return Match::no;
  if (f.kernel_says(words)) return Match::certain;
  return possible_if(f.kernel_message().empty() && f.creates());
}

Match creates(const Facts& f, std::string_view type) { return possible_if(f.makes(type) && (f.creates() || f.call() == "fsopen")); }

bool binds(const Facts& f) {
  if (f.call() == "mount") return f.may_have(3, abi::ms_bind) && f.may_lack(3, abi::ms_remount);
  return f.call() == "open_tree" && f.may_have(2, abi::open_tree_clone);
}
bool binds_without_children(const Facts& f) { return binds(f) && (f.call() == "mount" ? f.may_lack(3, abi::ms_rec) : f.may_lack(2, abi::at_recursive)); }
bool remounts(const Facts& f) {
  return f.call() == "remount_bind" || f.call() == "mount_setattr" || (f.call() == "mount" && f.may_have(3, abi::ms_remount));
}
bool changes_propagation(const Facts& f) {
  if (f.call() == "make_parent_private") return true;
  if (f.call() == "mount_setattr") return !f.mount_attributes() || f.mount_attributes()->propagation != 0;
  return f.call() == "mount" && f.may_have(3, propagation_flags);
}

constexpr Row table[] = {
    // --- pivot_root(2) ---
    {"RP-PIVOT-NOT-MOUNTPOINT", "pivot_root", Domain::kernel, {EINVAL}, [](const Facts& f) { return possible_if(!f.root_was_made_a_mount().value_or(false)); },
     "the new root is a plain directory, not the root of a mount",
     "bind it on itself first (PrepareRoot{.mount = RootMount::bind}; by hand: mount --rbind DIR DIR) and open it after that: a descriptor that was opened "
     "before lies under the new mount"},
    {"RP-PIVOT-SHARED", "pivot_root", Domain::kernel, {EINVAL}, [](const Facts& f) { return possible_if(!f.separated_from_host().value_or(false)); },
     "the new root's mount, or the mount above it, is shared with other namespaces (systemd makes / shared)",
     "make / a recursive slave and the mount above the root private, as PrepareRoot does; by hand: mount --make-rslave /"},
    {"RP-PIVOT-CHROOTED", "pivot_root", Domain::kernel, {EINVAL},
     [](const Facts& f) { return f.enters_by_chroot_before().value_or(false) ? Match::certain : possible_if(f.plan() == nullptr); },
     "chroot(2) came before: the current root directory is not the root of a mount",
     "leave the chroot out: pivot_root replaces it"},
    {"RP-PIVOT-PUT-OLD", "pivot_root", Domain::kernel, {EINVAL},
     [](const Facts& f) { return possible_if(!(f.text(0) && f.text(0) == f.text(1))); },
     "the place for the old root does not lie at or below the new root",
     "chdir to the new root, pivot_root(\".\", \".\"), then umount2(\".\", MNT_DETACH): no place is needed"},
    {"RP-PIVOT-INITRAMFS", "pivot_root", Domain::kernel, {EINVAL}, nullptr,
     "the current root is the initramfs, which cannot be pivoted before Linux 7.0; or it is no mount, because the whole process runs in a chroot",
     "EnterRoot with allow_move (its default), which moves the new root over / instead; or boot with a real root (switch_root)"},
    {"RP-PIVOT-CURRENT-ROOT", "pivot_root", Domain::kernel, {EBUSY}, nullptr, "the new root is the current root",
     "use another directory, or bind this one on itself first: the new mount is another root"},
    {"RP-PIVOT-NOT-DIRECTORY", "pivot_root", Domain::kernel, {ENOTDIR}, nullptr, "the new root or the place for the old one is not a directory",
     "give a directory"},

    // --- umount2(2) ---
    {"RP-UMOUNT-BUSY", "umount2", Domain::kernel, {EBUSY}, [](const Facts& f) { return possible_if(f.may_lack(1, abi::mnt_detach)); },
     "something is open below the mount, or other mounts lie on it",
     "MNT_DETACH (umount --lazy), after making the mount a slave so that the unmount does not reach others"},
    {"RP-UMOUNT-LOCKED", "umount2", Domain::kernel, {EINVAL}, nullptr,
     "it is not the root of a mount; or the mount came from a more privileged namespace, which has locked it to the mounts around it",
     "unmount the whole inherited tree at its top, or cover the place with another mount"},

    // --- changing mounts ---
    {"RP-REMOUNT-LOCKED-FLAGS", "mount remount_bind mount_setattr", Domain::kernel, {EPERM},
     [](const Facts& f) {
       if (f.mount_attributes() && f.mount_attributes()->attr_clr == 0) return Match::no;  // adding a flag is always allowed
       return possible_if(remounts(f) && f.user_namespace().value_or(true));
     },
     "the mount has nosuid, nodev, noexec, ro or an atime mode from a more privileged namespace: they are locked, and a remount that does not name them asks "
     "to clear them",
     "only add flags (mount_setattr with attr_set), or name the present ones again (mount -o remount,bind,ro,nosuid,nodev,noexec); never `clear` or another "
     "atime mode there"},
    {"RP-READONLY-OPEN-FILES", "mount remount_bind mount_setattr", Domain::kernel, {EBUSY}, [](const Facts& f) { return possible_if(remounts(f)); },
     "a file on the mount is open for writing, so it cannot become read-only",
     "close it first, or make the mount read-only while it is still detached"},
    {"RP-PROPAGATION-NOT-A-MOUNT", "mount mount_setattr make_parent_private", Domain::kernel, {EINVAL},
     [](const Facts& f) {
       if (f.call() == "mount") return f.operation() == nullptr ? Match::possible : certain_if(f.may_have(3, propagation_flags));
       return possible_if(changes_propagation(f));
     },
     "propagation belongs to mounts, and this is not the root of one; for / that means that the process runs in a chroot",
     "bind the directory on itself first; in a chroot, start from outside it, or bind / on itself"},
    {"RP-MOUNT-NOT-A-MOUNT", "mount remount_bind mount_setattr", Domain::kernel, {EINVAL}, [](const Facts& f) { return possible_if(remounts(f)); },
     "only the root of a mount can be changed, and this is a plain directory or file, or a mount of another namespace",
     "bind it on itself first, and open it after that"},
    {"RP-IDMAP-UNSUPPORTED", "mount_setattr", Domain::kernel, {EINVAL, EPERM},
     [](const Facts& f) { return possible_if(!f.mount_attributes() || (f.mount_attributes()->attr_set & abi::mount_attr_idmap) != 0); },
     "an id-mapped mount was asked for (MOUNT_ATTR_IDMAP), but the file system does not support it (proc, sysfs, devpts, cgroup2, 9p, many FUSE), the mount "
     "is attached already, or the user namespace is the initial one",
     "clone the tree with open_tree first; for such a file system copy or chown instead"},
    {"RP-MOUNT-SHARED-PARENT", "mount move_mount", Domain::kernel, {EINVAL},
     [](const Facts& f) { return possible_if(f.call() == "move_mount" || f.may_have(3, abi::ms_move)); },
     "a mount cannot be moved away from a shared parent mount",
     "make / a recursive slave first, as PrepareRoot does; or move a detached clone (open_tree with OPEN_TREE_CLONE)"},
    {"RP-MOUNT-OTHER-NAMESPACE", "move_mount mount open_tree", Domain::kernel, {EINVAL}, [](const Facts& f) { return possible_if(f.call() == "move_mount" || binds(f)); },
     "the descriptor was opened in another mount namespace, and is not a detached mount, which alone passes between them",
     "open it in the child, after it has its own namespace; or hand over a detached clone (open_tree with OPEN_TREE_CLONE)"},
    {"RP-MOUNT-INTO-ITSELF", "move_mount mount", Domain::kernel, {ELOOP}, nullptr, "a mount would be moved below itself, or the path has a loop of symbolic links",
     "choose a target outside the tree that is moved"},

    // --- bind mounts ---
    {"RP-BIND-LOCKED-CHILDREN", "mount open_tree", Domain::kernel, {EINVAL},
     [](const Facts& f) { return possible_if(binds_without_children(f) && f.user_namespace().value_or(true)); },
     "in a user namespace a tree with mounts below it can only be bound as a whole: what they cover must stay covered",
     "bind it recursively (mount --rbind; MountSpec without not_recursive())"},
    {"RP-BIND-UNBINDABLE", "mount open_tree", Domain::kernel, {EINVAL}, [](const Facts& f) { return possible_if(binds(f)); },
     "the source is an unbindable mount, or one of nsfs or of another namespace",
     "make the source private, or bind something else"},
    {"RP-BIND-KIND-MISMATCH", "mount move_mount", Domain::kernel, {ENOTDIR}, nullptr,
     "a directory can be mounted only on a directory, and anything else only on something that is no directory",
     "remove the target in the image, so that one of the right kind is made, or choose another target"},
    {"RP-MOUNT-LIMIT", "mount move_mount open_tree fsmount mount_setattr pivot_root", Domain::kernel, {ENOSPC}, nullptr,
     "the namespace has as many mounts as /proc/sys/fs/mount-max allows (not a full disk)",
     "look for mounts that leak (findmnt | wc -l), make / a slave so that the host's do not multiply; or raise fs.mount-max"},

    // --- overlayfs ---
    {"RP-OVL-UPPER-ON-OVERLAY", "mount fsconfig", Domain::kernel, {EINVAL},
     [](const Facts& f) { return f.has_upper() == false ? Match::no : overlay_says(f, "not supported as upperdir"); },
     "the upper directory lies on a file system that cannot hold one: overlayfs (as everything inside most containers does), NFS, FUSE, or a case-folding one",
     "put upper and work on a tmpfs or a volume (OverlayMount::ephemeral), or use fuse-overlayfs"},
    {"RP-OVL-LAYER-NOT-DIRECTORY", "mount fsconfig", Domain::kernel, {EINVAL, ENOTDIR}, [](const Facts& f) { return certain_if(f.makes("overlay") && f.kernel_says("is not a directory")); },
     "a layer is not a directory", "give a directory; unpack an archive first"},
    {"RP-OVL-WORK-UPPER-APART", "mount fsconfig", Domain::kernel, {EINVAL},
     [](const Facts& f) { return f.has_upper() == false ? Match::no : overlay_says(f, "must reside under the same mount"); },
     "work and upper do not lie side by side on one mount: another mount (also a bind of the same file system), one inside the other, or the same directory",
     "make the work directory a sibling of the upper directory"},
    {"RP-OVL-ONE-LOWER", "mount fsconfig", Domain::kernel, {EINVAL},
     [](const Facts& f) {
       if (f.has_upper().value_or(false) || f.lower_layers().value_or(1) != 1) return Match::no;
       return f.lower_layers() == 1 && f.creates() ? Match::certain : on_overlay(f);
     },
     "one lower layer and no upper: overlayfs wants two layers at least",
     "bind the directory read-only instead (OverlayMount does that by itself), or add an upper"},
    {"RP-OVL-VOLATILE-LEFT", "mount fsconfig", Domain::kernel, {EINVAL}, [](const Facts& f) { return f.has_upper() == false ? Match::no : overlay_says(f, "volatile"); },
     "the upper was used with `volatile` before and not cleaned (dmesg: incompat feature 'volatile')",
     "throw the upper away, or, if its content is good, remove WORK/work/incompat/volatile"},
    {"RP-OVL-DEPTH", "mount fsconfig", Domain::kernel, {EINVAL}, [](const Facts& f) { return overlay_says(f, "stacking depth"); },
     "a layer is itself an overlay on an overlay: two levels are the kernel's limit",
     "give the layers of the inner overlay instead of its mount point"},
    {"RP-OVL-OPTIONS-TOO-LONG", "mount", Domain::kernel, {ENOENT, EINVAL},
     [](const Facts& f) { return f.options_size() > 4095 ? Match::certain : possible_if(f.makes("overlay") && f.options_size() > 3000); },
     "mount(2) reads 4095 bytes of options and cuts the rest: the last layer's path is not what was given",
     "lowerdir+ (Linux 6.8) has no such limit; before it shorter paths, or fewer layers; OverlayMount does either by itself"},
    {"RP-OVL-ESCAPE", "mount fsconfig", Domain::kernel, {ENOENT, EINVAL},
     [](const Facts& f) { return possible_if(f.makes("overlay") && (f.text(f.call() == "mount" ? 4 : 3).value_or("").find('\\') != std::string::npos)); },
     "a path has a comma or a colon, which separate options and layers; each interface wants another escaping, and lowerdir+ none",
     "give layers by descriptor (/proc/self/fd/N), as OverlayMount does"},
    {"RP-OVL-IN-USE", "mount fsconfig", Domain::kernel, {EBUSY}, [](const Facts& f) { return possible_if(f.makes("overlay")); },
     "the upper or work directory is in use by another overlay, perhaps one that leaked into another namespace",
     "one upper and work for each mount; find the holder with: grep -l UPPER /proc/*/mountinfo"},
    {"RP-OVL-CONFLICTING-LAYERS", "mount fsconfig", Domain::kernel, {ELOOP}, [](const Facts& f) { return possible_if(f.makes("overlay")); },
     "one directory is used twice, or a layer lies inside another one", "give directories that differ and lie apart"},
    {"RP-OVL-LAYER-MISSING", "mount fsconfig", Domain::kernel, {ENOENT}, [](const Facts& f) { return possible_if(f.makes("overlay")); },
     "a layer, the upper or the work directory does not exist", "create it, or OverlayMount{.create_upper_and_work = true}"},
    {"RP-OVL-USER-NAMESPACE", "mount fsconfig fsopen", Domain::kernel, {EPERM}, [](const Facts& f) { return creates(f, "overlay"); },
     "before Linux 5.11 overlayfs cannot be mounted in a user namespace; after it, the caller lacks CAP_SYS_ADMIN there, or an option (metacopy, redirect_dir) "
     "needs the initial one",
     "fuse-overlayfs, or a copy of the tree; leave those options out"},
    {"RP-OVL-USERXATTR", "mkdirat openat openat2 open_in_root unlinkat renameat2", Domain::kernel, {EIO},
     [](const Facts& f) { return possible_if(f.user_namespace().value_or(true)); },
     "an overlay in a user namespace without `userxattr`: it cannot mark directories that replace removed ones",
     "userxattr (OverlayMount sets it by itself); for an upper on tmpfs Linux 6.6"},

    // --- the kernel's own file systems ---
    {"RP-PROC-PID-NAMESPACE", "mount fsconfig fsmount fsopen", Domain::kernel, {EPERM},
     [](const Facts& f) { return f.user_namespace() == false ? Match::no : creates(f, "proc"); },
     "a user namespace may mount proc only for a PID namespace of its own",
     "add Namespace::pid; or bind the host's /proc recursively"},
    {"RP-PROC-TOO-REVEALING", "mount fsconfig fsmount fsopen", Domain::kernel, {EPERM},
     [](const Facts& f) { return f.user_namespace() == false ? Match::no : creates(f, "proc"); },
     "parts of the outer /proc are covered (as docker, podman, lxcfs and systemd-nspawn do): a new proc would show them, so the kernel refuses it (dmesg: Mount "
     "too revealing). subset=pid does not help",
     "bind the outer /proc recursively; or start the outer container with --security-opt unmask=ALL (podman) or systempaths=unconfined (docker)"},
    {"RP-SYSFS-NET-NAMESPACE", "mount fsconfig fsmount fsopen", Domain::kernel, {EPERM},
     [](const Facts& f) { return f.user_namespace() == false ? Match::no : creates(f, "sysfs"); },
     "sysfs shows the devices of the network namespace, and this user namespace does not own that",
     "add Namespace::net; or bind the host's /sys recursively and read-only"},
    {"RP-SYSFS-READ-ONLY", "mount fsconfig fsmount", Domain::kernel, {EPERM}, [](const Facts& f) { return f.user_namespace() == false ? Match::no : creates(f, "sysfs"); },
     "the outer /sys is read-only, and a new one may not allow more", "mount it read-only (MountSpec::sysfs() does)"},
    {"RP-CGROUP-NAMESPACE", "mount fsconfig fsmount fsopen", Domain::kernel, {EPERM}, [](const Facts& f) { return creates(f, "cgroup2"); },
     "the cgroup namespace is not owned by this user namespace", "add Namespace::cgroup; or bind the host's /sys/fs/cgroup subtree"},
    {"RP-CGROUP-BUSY", "mount fsconfig move_mount", Domain::kernel, {EBUSY}, [](const Facts& f) { return possible_if(f.makes("cgroup2") || f.call() == "move_mount"); },
     "the same file system is mounted at this place already", "mount it elsewhere, or a tmpfs in between"},
    {"RP-MQUEUE-IPC-NAMESPACE", "mount fsconfig fsmount fsopen", Domain::kernel, {EPERM}, [](const Facts& f) { return creates(f, "mqueue"); },
     "the IPC namespace is not owned by this user namespace", "add Namespace::ipc, or DeviceSetup{.mqueue = false}, or bind the host's /dev/mqueue"},
    {"RP-DEVPTS-GID", "mount fsconfig", Domain::kernel, {EINVAL},
     [](const Facts& f) {
       if (f.makes("devpts") && f.call() == "fsconfig" && f.text(2).value_or("") == "gid") return Match::certain;
       return possible_if(f.makes("devpts") && f.call() == "mount" && f.text(4).value_or("").find("gid=") != std::string::npos);
     },
     "the group of the option gid= is not mapped in this user namespace", "leave DevptsOptions::gid unset, or map the group"},
    {"RP-FS-NOT-IN-USER-NAMESPACE", "mount fsconfig fsmount fsopen", Domain::kernel, {EPERM},
     [](const Facts& f) {
       static constexpr std::string_view allowed[] = {"proc", "sysfs", "tmpfs", "devpts", "mqueue", "overlay", "cgroup", "cgroup2", "ramfs", "fuse", "binfmt_misc"};
       return possible_if(f.user_namespace().value_or(false) && !f.filesystem().empty() && std::find(std::begin(allowed), std::end(allowed), f.filesystem()) == std::end(allowed));
     },
     "this type of file system cannot be mounted in a user namespace", "mount it on the host and bind it, or use a FUSE implementation"},
    {"RP-FS-UNKNOWN", "mount fsopen", Domain::kernel, {ENODEV}, [](const Facts&) { return Match::certain; },
     "the kernel has no file system of this type, and no module for it",
     "check the spelling; `cat /proc/filesystems` lists what there is, `modprobe TYPE` on the host loads a module"},
    {"RP-FS-OPTION", "mount fsconfig", Domain::kernel, {EINVAL},
     [](const Facts& f) {
       if (f.kernel_says("Unknown parameter") || f.kernel_says("Bad value") || f.kernel_says("unknown value") || f.kernel_says("Invalid")) return Match::certain;
       if (f.makes("overlay") && !f.sets_option()) return Match::no;
       return possible_if(f.sets_option() || (f.creates() && !f.filesystem().empty()));
     },
     "the file system does not know an option, or not its value", "compare the options with the manual page of the file system (tmpfs(5), proc(5), mount(8))"},
    {"RP-FS-BLOCK-DEVICE", "mount fsconfig", Domain::kernel, {ENOTBLK, ENXIO}, nullptr, "the source of this file system must be a block device that exists",
     "give the device; attach an image file with losetup first"},

    // --- device nodes ---
    {"RP-MKNOD-NOT-PERMITTED", "mknodat", Domain::kernel, {EPERM},
     [](const Facts& f) { return f.user_namespace().value_or(false) ? Match::certain : Match::possible; },
     "device nodes cannot be made in a user namespace, nor without CAP_MKNOD, nor where a device cgroup forbids it",
     "bind the host's nodes: DeviceSetup{.method = DeviceMethod::bind}, or automatic"},

    // --- launching ---
    {"RP-USERNS-RESTRICTED", "clone clone3 unshare", Domain::kernel, {EPERM, EACCES}, nullptr,
     "creating namespaces is not permitted. Without privilege a user namespace must come first, and it may be forbidden: by AppArmor (Ubuntu 23.10 and "
     "later: kernel.apparmor_restrict_unprivileged_userns), by Debian's kernel.unprivileged_userns_clone=0, by a container's seccomp filter, or in a chroot",
     "run as root, or add Namespace::user; allow it with an AppArmor profile for this program, or by that sysctl"},
    {"RP-USERNS-LIMIT", "clone clone3 unshare", Domain::kernel, {ENOSPC, EUSERS}, nullptr,
     "the limit of nested or of all namespaces is reached (user.max_user_namespaces, user.max_mnt_namespaces; 0 forbids them)",
     "raise the sysctl: sysctl user.max_user_namespaces=10000"},
    {"RP-NAMESPACE-UNSUPPORTED", "clone clone3 unshare", Domain::kernel, {EINVAL}, nullptr,
     "the kernel lacks one of the namespaces, or the flags exclude each other (a time namespace needs Linux 5.6)", "leave that namespace out"},
    {"RP-EXEC-INTERPRETER", "execve execveat", Domain::kernel, {ENOENT}, nullptr,
     "the program does not exist inside the new root; or it does, but its loader (ELF interpreter) or the program after #! does not",
     "look inside the root: file PROGRAM; head -1 SCRIPT. A dynamically linked program needs its loader and libraries there"},
    {"RP-EXEC-NOT-EXECUTABLE", "execve execveat", Domain::kernel, {EACCES}, nullptr,
     "the file is not executable, is a directory, lies on a noexec mount, or a directory above it cannot be searched", "chmod +x; or a mount without noexec"},
    {"RP-EXEC-FORMAT", "execve execveat", Domain::kernel, {ENOEXEC}, nullptr, "the program is for another architecture, or a script without #!",
     "use an image of this machine's architecture, or start the script with #!"},
    {"RP-SETGROUPS-DENIED", "setgroups setgid setresgid setuid setresuid", Domain::kernel, {EPERM, EINVAL}, nullptr,
     "the id is not mapped in the user namespace, or setgroups(2) is denied there (it is when an unprivileged caller maps its own group)",
     "map the id (newuidmap and newgidmap with /etc/subuid and /etc/subgid), or leave supplementary groups out"},
    {"RP-IDMAP-WRITE", "write", Domain::kernel, {EPERM, EINVAL}, [](const Facts& f) { return possible_if(f.operation() == nullptr); },
     "the kernel refused the id map of the user namespace: without privilege one line that maps the caller's own id is allowed, and groups only after "
     "setgroups is denied",
     "map one id, or install newuidmap and newgidmap (Debian: uidmap) and give the user ranges in /etc/subuid and /etc/subgid"},

    // --- paths ---
    {"RP-PATH-MISSING-ON-HOST", "", Domain::kernel, {ENOENT}, [](const Facts& f) { return possible_if(f.in_prologue() && names_a_path(f) && f.call() != "fsconfig"); },
     "a path of the host did not exist when the plan ran", "create it, correct it, or make the step optional (MountSpec::optional_source())"},
    {"RP-PATH-MISSING-IN-ROOT", "", Domain::kernel, {ENOENT},
     [](const Facts& f) { return possible_if(f.operation() != nullptr && !f.in_prologue() && names_a_path(f) && f.call() != "fsconfig"); },
     "the path does not exist inside the new root at this point of the plan; a symbolic link there may lead nowhere",
     "make it first (MakeDirectory, MakeSymlink), or order the steps so that the mount that brings it comes earlier"},
    {"RP-PATH-NOT-DIRECTORY", "", Domain::kernel, {ENOTDIR}, [](const Facts& f) { return possible_if(names_a_path(f) && f.call() != "mount" && f.call() != "move_mount"); },
     "a component of the path is a file, where a directory is needed", "correct the path, or remove the file from the image"},
    {"RP-PATH-NO-SEARCH", "", Domain::kernel, {EACCES}, nullptr,
     "a directory on the way cannot be searched by this user (a home directory of mode 0700 for a mapped id, say), or a device cgroup or security module refuses",
     "namei -l PATH shows the modes of the whole way; chmod o+x the directory, or put the tree elsewhere"},
    {"RP-PATH-SYMLINK-LOOP", "", Domain::kernel, {ELOOP}, [](const Facts& f) { return possible_if(f.filesystem() != "overlay"); },
     "symbolic links lead in a circle, or a link is where none is followed (O_NOFOLLOW, or a magic link of proc below the root)",
     "look at the links of the image; a link is never followed where a device or file is to be made"},
    {"RP-PATH-READ-ONLY", "", Domain::kernel, {EROFS}, nullptr,
     "something was to be made on a read-only file system: a target that is missing in a read-only root, say",
     "create the target in the image, or do it before the step that makes the root read-only, or use an overlay"},
    {"RP-PATH-EXISTS", "symlinkat mkdirat mknodat openat linkat", Domain::kernel, {EEXIST}, nullptr, "something of this name exists in the image",
     "remove it first (RemoveFile), or keep it (MakeSymlink{.keep_existing = true})"},
    {"RP-PATH-IS-DIRECTORY", "unlinkat openat", Domain::kernel, {EISDIR}, nullptr, "a directory is where a file is to be made or removed",
     "choose another path; directories of the image are not removed"},
    {"RP-PATH-TOO-LONG", "", Domain::kernel, {ENAMETOOLONG}, nullptr, "a path has more than 4095 bytes, or one of its names more than 255",
     "shorten it, perhaps by a bind at a shorter place"},
    {"RP-PATH-RACE", "openat2 open_in_root", Domain::kernel, {EAGAIN}, nullptr, "the tree changed under the walk again and again: something renames directories inside the root",
     "stop what changes the tree while the container is prepared"},

    // --- resources, and the rest ---
    {"RP-NO-SPACE", "", Domain::kernel, {ENOSPC, EDQUOT}, [](const Facts& f) { return possible_if(f.call() != "clone" && f.call() != "clone3" && f.call() != "unshare"); },
     "the file system is full, or out of inodes: a tmpfs has the size that it was given, and half of the memory without one",
     "a larger size (TmpfsOptions::size), or free space; df and df -i show both"},
    {"RP-NO-MEMORY", "", Domain::kernel, {ENOMEM}, nullptr, "the kernel had no memory left for this cgroup or machine", "raise the memory limit; tmpfs content counts too"},
    {"RP-TOO-MANY-DESCRIPTORS", "", Domain::kernel, {EMFILE, ENFILE}, nullptr, "the limit of open descriptors is reached; Plan::needs() says how many the plan opens at once",
     "raise it (ulimit -n)"},
    {"RP-KERNEL-CALL-MISSING", "", Domain::kernel, {ENOSYS}, nullptr,
     "the kernel is older than the features that the plan was compiled for, or a seccomp filter hides the call",
     "compile on the machine that runs the plan (KernelFeatures::probe()), or for an older kernel (KernelFeatures::linux_5_4())"},
    {"RP-NO-PRIVILEGE", "", Domain::kernel, {EPERM}, nullptr,
     "the process lacks the capability in the user namespace that owns its mount namespace (most calls here: CAP_SYS_ADMIN), or a seccomp filter or security "
     "module refuses the call",
     "run as root, or give the child a user namespace of its own (Namespace::user); in a container, allow mounts (docker: --security-opt seccomp=..., "
     "apparmor=...)"},
    {"RP-DESCRIPTOR-CLOSED", "", Domain::kernel, {EBADF}, nullptr, "a descriptor that the caller holds for the plan was not open in the child, or has another kind than the call needs",
     "keep it open until the plan has run; an O_PATH descriptor can be bound but not read"},

    // --- found in the child ---
    {"RP-CHILD-WRONG-NODE", "", Domain::child, {static_cast<int>(ChildErrc::wrong_node)}, [](const Facts&) { return Match::certain; },
     "a node that exists has another type or device number than asked for: of the image, or of the host's /dev, if it was bound",
     "remove it from the image, or use a fresh /dev (DeviceSetup{.fresh = true}); a wrong node on the host can be an attack (CVE-2025-31133)"},
    {"RP-CHILD-WRONG-FILESYSTEM", "", Domain::child, {static_cast<int>(ChildErrc::wrong_filesystem)}, [](const Facts&) { return Match::certain; },
     "what is mounted there is of another type than asked for", "look for a step that mounts over it, or a path that leads elsewhere"},
    {"RP-CHILD-MOUNTED-READ-ONLY", "", Domain::child, {static_cast<int>(ChildErrc::mounted_read_only)}, [](const Facts&) { return Match::certain; },
     "overlayfs came up read-only, as it does where it cannot use the work directory: not writable, not empty, or on a read-only mount",
     "an empty work directory of the same owner on a writable mount; dmesg says what it tried"},
    {"RP-BIND-FLAGS-IGNORED", "", Domain::child, {static_cast<int>(ChildErrc::not_read_only)}, nullptr,
     "MS_BIND with MS_RDONLY is writable: mount(2) ignores all other flags of a bind, and says nothing",
     "a second call, mount(MS_REMOUNT|MS_BIND|MS_RDONLY) or mount_setattr(2), as MountSpec and RemountReadonly do"},
    {"RP-REMOUNT-NOT-RECURSIVE", "", Domain::child, {static_cast<int>(ChildErrc::not_read_only)}, nullptr,
     "a remount changes one mount; those below it stay writable", "RemountReadonly{.recursive = true}, or with_recursive() (Linux 5.12)"},
    {"RP-CHILD-SHORT-WRITE", "", Domain::child, {static_cast<int>(ChildErrc::short_write)}, [](const Facts&) { return Match::certain; },
     "the file system took only a part of a file's content: it is nearly full", "more space there"},
    {"RP-CHILD-NAME-TOO-LONG", "", Domain::child, {static_cast<int>(ChildErrc::name_too_long)}, [](const Facts&) { return Match::certain; },
     "a path or the target of a symbolic link is longer than the kernel allows (4095 bytes)", "shorten it"},
    {"RP-CHILD-UNREADABLE-MOUNTS", "", Domain::child, {static_cast<int>(ChildErrc::unreadable_mounts)}, [](const Facts&) { return Match::certain; },
     "/proc is not mounted, or has more procfs and sysfs mounts than can be hidden, so the host's cannot be found before the root is moved",
     "mount /proc in the calling namespace, or use EnterRoot{.allow_move = false}"},
    {"RP-CHILD-OUTSIDE-ROOT", "", Domain::child, {static_cast<int>(ChildErrc::outside_root)}, [](const Facts&) { return Match::certain; },
     "the working directory does not lie inside the new root: a descriptor of the host leaked into it (CVE-2024-21626)", "give a path that exists inside the root"},
    {"RP-CHILD-NO-DESCRIPTOR", "", Domain::child, {static_cast<int>(ChildErrc::no_descriptor)}, [](const Facts&) { return Match::certain; },
     "an operation needed a descriptor that no earlier one had opened: a defect of a step", "guard it with skip_if_closed(), and report it if the step is rootprep's own"},
    {"RP-CHILD-INTERRUPTED", "", Domain::child, {static_cast<int>(ChildErrc::interrupted)}, [](const Facts&) { return Match::certain; },
     "the parent ended or closed the channel before the child had begun", "nothing was changed; start it again"},
    {"RP-CHILD-EXITED-EARLY", "", Domain::child, {static_cast<int>(ChildErrc::exited_early)}, [](const Facts&) { return Match::certain; },
     "the child was killed before it could report: by a signal, by the out-of-memory killer, or by a seccomp filter", "dmesg and the child's wait status say which"},

    // --- found before anything ran ---
#define ROOTPREP_PLAN_HINT(id, code, cause, remedy) \
  {id, "", Domain::plan, {static_cast<int>(PlanErrc::code)}, [](const Facts&) { return Match::certain; }, cause, remedy}
    ROOTPREP_PLAN_HINT("RP-PLAN-EMPTY-VALUE", empty_value, "a field that must not be empty is empty", "give a value, or leave the step out"),
    ROOTPREP_PLAN_HINT("RP-PLAN-NOT-ABSOLUTE", not_absolute, "host paths are absolute: a child may have another working directory",
                       "start the path with /, for instance by std::filesystem::absolute()"),
    ROOTPREP_PLAN_HINT("RP-PLAN-NUL-BYTE", nul_byte, "a path or an option holds a NUL byte, where the kernel would stop reading", "remove it; look where the text came from"),
    ROOTPREP_PLAN_HINT("RP-PLAN-NOT-FOUND", not_found, "a path of the host does not exist", "create it, correct it, or make the step optional"),
    ROOTPREP_PLAN_HINT("RP-PLAN-NOT-DIRECTORY", not_a_directory, "a directory is needed, and this is something else", "give a directory; unpack an archive first"),
    ROOTPREP_PLAN_HINT("RP-PLAN-WRONG-TYPE", wrong_type, "an object of another type is needed, or it cannot be looked at", "see what is there with: stat PATH"),
    ROOTPREP_PLAN_HINT("RP-PLAN-BAD-VALUE", bad_value, "a value lies outside its range, or has not its form", "see the field's comment in the step's header"),
    ROOTPREP_PLAN_HINT("RP-PLAN-CONFLICT", conflict, "two settings exclude each other", "keep one of them"),
    ROOTPREP_PLAN_HINT("RP-PLAN-TOO-MANY-LAYERS", too_many_layers, "overlayfs takes at most 500 lower layers", "merge some of them into one directory"),
    ROOTPREP_PLAN_HINT("RP-PLAN-UPPER-ON-OVERLAY", upper_on_overlay, "the upper directory lies on overlayfs, which cannot hold one: as everything does inside most containers",
                       "a tmpfs or a volume, or OverlayMount::ephemeral"),
    ROOTPREP_PLAN_HINT("RP-PLAN-UPPER-WORK-APART", upper_work_apart, "upper and work must lie side by side on one mount", "make work a sibling of upper"),
    ROOTPREP_PLAN_HINT("RP-PLAN-UNSUPPORTED-BY-KERNEL", unsupported_by_kernel, "the kernel, or the features that were given to compile(), lack what a step needs",
                       "a newer kernel, or another setting of that step; nothing was done by half instead"),
    ROOTPREP_PLAN_HINT("RP-PLAN-NEEDS-PRIVILEGE", needs_privilege, "the caller lacks a privilege that a step needs, and there is no other way",
                       "run as root, or with a user namespace of its own (Namespace::user)"),
    ROOTPREP_PLAN_HINT("RP-PLAN-NO-ROOT", no_root, "a step works inside the new root, but no step before it has prepared one", "begin the pipeline with PrepareRoot"),
    ROOTPREP_PLAN_HINT("RP-PLAN-HOST-PATH-AFTER-ENTRY", host_path_after_entry, "once the new root was entered, no path of the host can be reached",
                       "move the step before EnterRoot"),
    ROOTPREP_PLAN_HINT("RP-PLAN-LASTING-ALTERNATIVE", lasting_alternative,
                       "an alternative could be abandoned after it has left something behind in the mount table or a file system",
                       "try what can fail first: only operations up to the first lasting one may be abandoned"),
    ROOTPREP_PLAN_HINT("RP-PLAN-TOO-LARGE", too_large, "the plan has more operations, descriptors or bytes than a plan can hold", "split the pipeline, or large files out of it"),
    ROOTPREP_PLAN_HINT("RP-PLAN-BAD-OPERATION", bad_operation, "an operation has not the form of its kind", "look at the step that made it, or at who wrote the plan's JSON"),
    ROOTPREP_PLAN_HINT("RP-PLAN-BAD-ARGUMENT", bad_argument, "an argument is not of the kind that its operation needs", "look at the step that made it, or at who wrote the plan's JSON"),
    ROOTPREP_PLAN_HINT("RP-PLAN-BAD-JUMP", bad_jump, "a jump does not lead forward to a place in the plan", "place() each label after the operations that jump to it"),
    ROOTPREP_PLAN_HINT("RP-PLAN-BAD-SLOT", bad_slot, "a descriptor is used where it may not be open: it does not exist, was closed, or only some ways lead past its opening",
                       "open it on every way, or guard the use with skip_if_closed()"),
    ROOTPREP_PLAN_HINT("RP-PLAN-BAD-DATA", bad_data, "an argument points outside the plan's data", "look at who wrote the plan"),
    ROOTPREP_PLAN_HINT("RP-PLAN-BAD-STEP", bad_step, "an operation belongs to no step", "begin_step() before the first operation"),
    ROOTPREP_PLAN_HINT("RP-PLAN-BAD-FORMAT", bad_format, "the text is not a plan: no JSON, or a member is missing, unknown or of another type",
                       "give what to_json() has written, unchanged"),
    ROOTPREP_PLAN_HINT("RP-PLAN-FORMAT-VERSION", format_version, "the plan was written by another version of rootprep, in a form that this one cannot read",
                       "compile the pipeline again with this version"),
    ROOTPREP_PLAN_HINT("RP-PLAN-NOT-PORTABLE", not_portable, "the plan calls a function of this process, whose address means nothing elsewhere",
                       "leave PlanBuilder::call() out of plans that are written down"),
    ROOTPREP_PLAN_HINT("RP-PLAN-BAD-OPTION", bad_option, "an option of LaunchOptions or CompileOptions has a value that cannot be used", "see the option's comment in its header"),
#undef ROOTPREP_PLAN_HINT
};

bool has_word(std::string_view words, std::string_view word) noexcept {
  while (!words.empty()) {
    const std::size_t end = std::min(words.find(' '), words.size());
    if (words.substr(0, end) == word) return true;
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return false;
}

}  // namespace

std::span<const Row> rows() noexcept { return table; }

Match match(const Row& row, const Facts& facts) {
  if (row.domain != facts.error().domain || facts.error().code == 0) return Match::no;
  if (std::find(std::begin(row.codes), std::end(row.codes), facts.error().code) == std::end(row.codes)) return Match::no;
  if (!row.calls.empty() && !has_word(row.calls, facts.call())) return Match::no;
  return row.matches == nullptr ? Match::possible : row.matches(facts);
}

}  // namespace rootprep::explaining
