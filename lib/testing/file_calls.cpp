// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <algorithm>
#include <cstring>

#include "testing/calls.hpp"
#include "testing/filesystem_types.hpp"
#include "testing/inodes.hpp"
#include "testing/mount_tree.hpp"
#include "testing/path_walk.hpp"
#include "testing/permissions.hpp"
#include "testing/procfs.hpp"

// open(2), and everything that names, makes, removes, reads or describes files.
namespace rootprep::testing::model {
namespace {

constexpr std::uint64_t access_mode = 3;  // O_ACCMODE
constexpr unsigned overflow = 0x80000000U;

bool is_device(const Inode& inode) { return inode.kind == Kind::character || inode.kind == Kind::block; }

// The devices that answer; others have no driver here.
enum class Device : std::uint8_t { none, null, zero, full, random, tty, console, ptmx, pts };
Device device_of(const Inode& inode) {
  if (inode.kind != Kind::character) return Device::none;
  const std::uint32_t major = abi::device_major(inode.rdev), minor = abi::device_minor(inode.rdev);
  if (major == 1) {
    switch (minor) {
      case 3: return Device::null;
      case 5: return Device::zero;
      case 7: return Device::full;
      case 8:
      case 9: return Device::random;
      default: return Device::none;
    }
  }
  if (major == 5) return minor == 0 ? Device::tty : minor == 1 ? Device::console : minor == 2 ? Device::ptmx : Device::none;
  if (major >= 136 && major <= 143) return Device::pts;
  return Device::none;
}

long open_device(Task& task, const Path& path) {
  World& world = *task.world;
  const Inode& inode = attributes(path.dentry);
  if (path.mount->flags.nodev || path.dentry->superblock->owner != world.initial_user) {
    const bool own_pts = path.dentry->superblock->type->behaviour == Behaviour::devpts && !path.mount->flags.nodev;
    if (!own_pts) return world.refuse(EACCES, "open.device-on-nodev-mount");
  }
  if (inode.kind == Kind::block) return world.unmodelled("opening a block device");
  switch (device_of(inode)) {
    case Device::none: return world.refuse(ENXIO, "open.no-such-device");
    case Device::tty: return world.refuse(ENXIO, "open.no-controlling-terminal");
    case Device::ptmx: {
      Superblock* superblock = path.dentry->superblock;
      if (superblock->type->behaviour != Behaviour::devpts) {
        const Path beside = topmost(world, {path.mount, path.dentry->parent});
        long error = 0;
        Dentry* pts = lookup_child(task, beside.dentry, "pts", error);
        const Path instance = pts != nullptr ? topmost(world, {beside.mount, pts}) : Path{};
        if (pts == nullptr || instance.dentry->superblock->type->behaviour != Behaviour::devpts) {
          return world.refuse(ENODEV, "open.ptmx-without-devpts");
        }
        superblock = instance.dentry->superblock;
      }
      Dentry* pty = add_file(world, superblock->root, std::to_string(superblock->ptmx_count), "", superblock->pts_mode);
      pty->inode->kind = Kind::character;
      pty->inode->rdev = abi::device_number(136, superblock->ptmx_count++);
      pty->inode->uid = task.uid;
      pty->inode->gid = superblock->pts_gid == unmapped_id ? task.gid : superblock->pts_gid;
      return 0;
    }
    default: return 0;
  }
}

// may_open() and do_dentry_open(), fs/namei.c and fs/open.c.
long check_open(Task& task, const Path& path, std::uint64_t flags, bool created) {
  World& world = *task.world;
  const Inode& inode = attributes(path.dentry);
  const bool writes = (flags & access_mode) != abi::o_rdonly;
  const bool truncates = (flags & abi::o_trunc) != 0;
  if ((flags & abi::o_creat) != 0 && !created && inode.kind == Kind::directory) return world.refuse(EISDIR, "open.create-on-directory");
  if ((flags & abi::o_directory) != 0 && inode.kind != Kind::directory) return world.refuse(ENOTDIR, "walk.not-a-directory");
  if ((flags & abi::o_path) != 0) return 0;
  switch (inode.kind) {
    case Kind::symlink: return world.refuse(ELOOP, "open.is-a-symlink");
    case Kind::directory:
      if (writes || truncates) return world.refuse(EISDIR, "open.write-a-directory");
      break;
    case Kind::character:
    case Kind::block:
      if (path.mount->flags.nodev) return world.refuse(EACCES, "open.device-on-nodev-mount");
      break;
    default: break;
  }
  const bool wants_write = writes || truncates;
  if (!created) {
    const bool special = inode.kind == Kind::fifo || inode.kind == Kind::socket || is_device(inode);
    if (wants_write && !special && path.dentry->superblock->read_only) return world.refuse(EROFS, "write.superblock-read-only");
    unsigned access = 0;
    if ((flags & access_mode) != abi::o_wronly) access |= may_read;
    if (wants_write) access |= may_write;
    if (const long error = permission(task, path.dentry, access); error != 0) return error;
    if (wants_write && !special && path.mount->flags.read_only) return world.refuse(EROFS, "write.mount-read-only");
  }
  if (inode.kind == Kind::socket) return world.refuse(ENXIO, "open.is-a-socket");
  if (inode.kind == Kind::fifo && (flags & access_mode) != abi::o_rdwr) {
    if ((flags & abi::o_nonblock) == 0) return world.unmodelled("opening a fifo that waits for the other side");
    if (writes) return world.refuse(ENXIO, "open.fifo-without-reader");
  }
  if (is_device(inode)) return open_device(task, path);
  return 0;
}

long create_file(Task& task, const Parent& parent, unsigned mode, Path& made) {
  World& world = *task.world;
  if (const long error = want_write(world, parent.directory); error != 0) return error;
  if (const long error = may_create(task, parent.directory.dentry); error != 0) return error;
  NewNode node;
  node.kind = Kind::regular;
  node.mode = mode & 07777U & ~task.umask;
  node.uid = task.uid;
  node.gid = task.gid;
  Dentry* dentry = nullptr;
  if (const long error = create_child(world, parent.directory.dentry, parent.name, node, &dentry); error != 0) return error;
  made = {parent.directory.mount, dentry};
  return 0;
}

// open(2) with O_CREAT: the last component may be made, through a dangling symlink too, unless O_EXCL or O_NOFOLLOW forbid it.
long open_creating(Task& task, int dirfd, const char* path, const abi::open_how& how, Path& result, bool& created) {
  World& world = *task.world;
  Parent parent;
  if (const long error = walk_to_parent(task, dirfd, path, how.resolve, parent); error != 0) return error;
  const bool exclusive = (how.flags & abi::o_excl) != 0;
  for (;;) {
    if (parent.last != Last::name && exclusive) return world.refuse(EEXIST, "open.exists");
    if (parent.trailing_slash || parent.last != Last::name) return world.refuse(EISDIR, "open.create-needs-a-name");
    Path found;
    if (const long error = look_up(task, parent.directory, parent.name, how.resolve, found); error != 0) return error;
    if (!found) {
      created = true;
      return create_file(task, parent, static_cast<unsigned>(how.mode), result);
    }
    if (exclusive) return world.refuse(EEXIST, "open.exists");
    if (attributes(found.dentry).kind != Kind::symlink) {
      result = found;
      return 0;
    }
    if ((how.flags & abi::o_nofollow) != 0) return world.refuse(ELOOP, "open.is-a-symlink");
    if (is_magic_link(found.dentry)) {
      if (const long error = follow_to_parent(task, found, how.resolve, parent); error != 0) return error;
      result = parent.directory;
      return 0;
    }
    if (const long error = follow_to_parent(task, found, how.resolve, parent); error != 0) return error;
  }
}

}  // namespace

long call_open(Task& task, int dirfd, const char* path, const abi::open_how& how) {
  World& world = *task.world;
  constexpr std::uint64_t o_tmpfile = 020000000;
  if ((how.flags & o_tmpfile) != 0) return world.unmodelled("open: O_TMPFILE");
  Path found;
  bool created = false;
  if ((how.flags & abi::o_creat) != 0 && (how.flags & abi::o_path) == 0) {
    if ((how.flags & abi::o_directory) != 0 && world.has(Quirk::open_creates_no_directory))
      return world.refuse(EINVAL, "open.create-a-directory");
    if (const long error = open_creating(task, dirfd, path, how, found, created); error != 0) return error;
  } else {
    WalkOptions options;
    options.follow = (how.flags & abi::o_nofollow) == 0;
    options.directory = (how.flags & abi::o_directory) != 0;
    options.resolve = how.resolve;
    if (const long error = walk(task, dirfd, path, options, found); error != 0) return error;
  }
  if (const long error = check_open(task, found, how.flags, created); error != 0) return error;
  auto file = std::make_shared<OpenFile>();
  file->world = &world;
  file->path = found;
  file->flags = how.flags & ~(abi::o_creat | abi::o_excl | abi::o_trunc | abi::o_noctty | abi::o_cloexec);
  file->path_only = (how.flags & abi::o_path) != 0;
  if (!file->path_only) {
    file->reads = (how.flags & access_mode) != abi::o_wronly;
    file->writes = (how.flags & access_mode) != abi::o_rdonly;
    const Inode& inode = attributes(found.dentry);
    if (inode.kind == Kind::regular) {
      if (file->writes || (how.flags & abi::o_trunc) != 0) {
        if (const long error = make_writable(world, found.dentry); error != 0) return error;
      }
      if ((how.flags & abi::o_trunc) != 0 && inode.proc == ProcEntry::none) {
        if (const long error = resize(world, found.dentry, 0); error != 0) return error;
      }
      if (inode.proc != ProcEntry::none) {
        file->generated = true;
        file->contents = procfs_contents(task, found.dentry);
      }
    }
  }
  return install(task, std::move(file), (how.flags & abi::o_cloexec) != 0);
}

long call_openat2(Task& task, int dirfd, const char* path, const abi::open_how* how, std::size_t size) {
  World& world = *task.world;
  if (size < sizeof(abi::open_how)) return world.refuse(EINVAL, "openat2.size-too-small");
  if (size > 4096) return world.refuse(E2BIG, "openat2.size-too-large");
  if (!readable(how)) return world.refuse(EFAULT, "argument.bad-pointer");
  const auto* bytes = reinterpret_cast<const unsigned char*>(how);
  if (std::any_of(bytes + sizeof(abi::open_how), bytes + size, [](unsigned char b) { return b != 0; }))
    return world.refuse(E2BIG, "openat2.unknown-tail");
  abi::open_how wanted;
  std::memcpy(&wanted, how, sizeof wanted);
  constexpr std::uint64_t large_file = 0100000, sync = 04010000, direct = 040000, async = 020000, no_atime = 01000000, tmpfile = 020000000;
  constexpr std::uint64_t known_flags = access_mode | abi::o_creat | abi::o_excl | abi::o_noctty | abi::o_trunc | abi::o_append |
                                        abi::o_nonblock | abi::o_nofollow | abi::o_path | abi::o_cloexec | abi::o_directory | large_file |
                                        sync | direct | async | no_atime | tmpfile;
  if ((wanted.flags & ~known_flags) != 0) return world.refuse(EINVAL, "openat2.unknown-open-flag");
  std::uint64_t known_resolve =
      abi::resolve_no_xdev | abi::resolve_no_magiclinks | abi::resolve_no_symlinks | abi::resolve_beneath | abi::resolve_in_root;
  if (world.has(Quirk::lookups_can_be_cached)) known_resolve |= abi::resolve_cached;
  if ((wanted.resolve & ~known_resolve) != 0) return world.refuse(EINVAL, "openat2.unknown-resolve-flag");
  constexpr std::uint64_t scopes = abi::resolve_beneath | abi::resolve_in_root;
  if ((wanted.resolve & scopes) == scopes) return world.refuse(EINVAL, "openat2.beneath-and-in-root");
  const bool creates = (wanted.flags & (abi::o_creat | tmpfile)) != 0;
  if (creates ? (wanted.mode & ~07777ULL) != 0 : wanted.mode != 0) return world.refuse(EINVAL, "openat2.mode");
  constexpr std::uint64_t path_flags = abi::o_path | abi::o_directory | abi::o_nofollow | abi::o_cloexec;
  if ((wanted.flags & abi::o_path) != 0 && (wanted.flags & ~path_flags) != 0) return world.refuse(EINVAL, "openat2.path-with-other-flags");
  // The cache is never warm here: openat2(2) tells callers to be ready for EAGAIN.
  if ((wanted.resolve & abi::resolve_cached) != 0) return world.refuse(EAGAIN, "openat2.not-cached");
  return call_open(task, dirfd, path, wanted);
}

namespace {

// The place of a name that mkdir(2) and its kin are to make. filename_create(), fs/namei.c: existence is found out before the
// read-only check.
long place_for_new(Task& task, int dirfd, const char* path, bool directory, Parent& parent) {
  World& world = *task.world;
  if (const long error = walk_to_parent(task, dirfd, path, 0, parent); error != 0) return error;
  if (parent.last != Last::name) return world.refuse(EEXIST, "create.exists");
  Path found;
  if (const long error = look_up(task, parent.directory, parent.name, 0, found); error != 0) return error;
  if (found) return world.refuse(EEXIST, "create.exists");
  if (parent.trailing_slash && !directory) return world.refuse(ENOENT, "create.trailing-slash");
  return want_write(world, parent.directory);
}

long make(Task& task, const Parent& parent, const NewNode& node) {
  if (const long error = may_create(task, parent.directory.dentry); error != 0) return error;
  Dentry* made = nullptr;
  return create_child(*task.world, parent.directory.dentry, parent.name, node, &made);
}

NewNode node_of(const Task& task, Kind kind, unsigned mode) {
  NewNode node;
  node.kind = kind;
  node.mode = mode;
  node.uid = task.uid;
  node.gid = task.gid;
  return node;
}

}  // namespace

long call_mkdirat(Task& task, int dirfd, const char* path, unsigned mode) {
  Parent parent;
  if (const long error = place_for_new(task, dirfd, path, true, parent); error != 0) return error;
  return make(task, parent, node_of(task, Kind::directory, mode & 01777U & ~task.umask));
}

long call_mknodat(Task& task, int dirfd, const char* path, unsigned mode, unsigned device) {
  World& world = *task.world;
  Kind kind = Kind::regular;
  switch (mode & 0170000U) {
    case 0:
    case abi::s_ifreg: break;
    case abi::s_ifchr: kind = Kind::character; break;
    case abi::s_ifblk: kind = Kind::block; break;
    case abi::s_ififo: kind = Kind::fifo; break;
    case abi::s_ifsock: kind = Kind::socket; break;
    case abi::s_ifdir: return world.refuse(EPERM, "mknod.directory");
    default: return world.refuse(EINVAL, "mknod.unknown-type");
  }
  Parent parent;
  if (const long error = place_for_new(task, dirfd, path, false, parent); error != 0) return error;
  if (const long error = may_create(task, parent.directory.dentry); error != 0) return error;
  const bool whiteout = kind == Kind::character && device == 0 && world.has(Quirk::anyone_makes_whiteouts);
  if ((kind == Kind::character || kind == Kind::block) && !whiteout && !capable(task, cap_mknod))
    return world.refuse(EPERM, "mknod.device-needs-capability");
  NewNode node = node_of(task, kind, mode & 07777U & ~task.umask);
  if (kind == Kind::character || kind == Kind::block) node.rdev = device;
  return make(task, parent, node);
}

long call_symlinkat(Task& task, const char* target, int dirfd, const char* path) {
  World& world = *task.world;
  std::string text;
  if (const long error = copy_path(world, target, text); error != 0) return error;
  if (text.empty()) return world.refuse(ENOENT, "path.empty");
  Parent parent;
  if (const long error = place_for_new(task, dirfd, path, false, parent); error != 0) return error;
  NewNode node = node_of(task, Kind::symlink, 0777);
  node.data = text;
  return make(task, parent, node);
}

long call_linkat(Task& task, int old_dirfd, const char* old_path, int new_dirfd, const char* new_path, int flags) {
  World& world = *task.world;
  const auto bits = static_cast<unsigned>(flags);
  if ((bits & ~(abi::at_symlink_follow | abi::at_empty_path)) != 0) return world.refuse(EINVAL, "link.unknown-flag");
  WalkOptions options;
  options.follow = (bits & abi::at_symlink_follow) != 0;
  options.empty = (bits & abi::at_empty_path) != 0;
  Path old;
  if (const long error = walk(task, old_dirfd, old_path, options, old); error != 0) return error;
  Parent parent;
  if (const long error = place_for_new(task, new_dirfd, new_path, false, parent); error != 0) return error;
  if (old.mount != parent.directory.mount) return world.refuse(EXDEV, "link.another-mount");
  if (const long error = may_create(task, parent.directory.dentry); error != 0) return error;
  if (is_directory(old.dentry)) return world.refuse(EPERM, "link.directory");
  if (attributes(old.dentry).links == 0) return world.refuse(ENOENT, "link.deleted");
  return link_child(world, old.dentry, parent.directory.dentry, parent.name);
}

long call_unlinkat(Task& task, int dirfd, const char* path, int flags) {
  World& world = *task.world;
  if ((static_cast<unsigned>(flags) & ~static_cast<unsigned>(abi::at_removedir)) != 0) return world.refuse(EINVAL, "unlink.unknown-flag");
  const bool directory = flags != 0;
  Parent parent;
  if (const long error = walk_to_parent(task, dirfd, path, 0, parent); error != 0) return error;
  if (parent.last != Last::name) {
    if (!directory) return world.refuse(EISDIR, "delete.is-a-directory");
    switch (parent.last) {
      case Last::dot: return world.refuse(EINVAL, "rmdir.dot");
      case Last::dotdot: return world.refuse(ENOTEMPTY, "rmdir.dotdot");
      default: return world.refuse(EBUSY, "rmdir.root");
    }
  }
  if (const long error = want_write(world, parent.directory); error != 0) return error;
  if (parent.name.size() > name_max) return world.refuse(ENAMETOOLONG, "path.component-too-long");
  long error = 0;
  Dentry* child = lookup_child(task, parent.directory.dentry, parent.name, error);
  if (error != 0) return error;
  if (child == nullptr) return world.refuse(ENOENT, "walk.no-such-file");
  if (!directory && parent.trailing_slash) return world.refuse(is_directory(child) ? EISDIR : ENOTDIR, "delete.trailing-slash");
  error = may_delete(task, parent.directory.dentry, child, directory);
  if (error != 0) return error;
  if (is_local_mountpoint(task, child)) return world.refuse(EBUSY, "delete.is-a-mount-point");
  if (directory && has_children(task, child)) return world.refuse(ENOTEMPTY, "rmdir.not-empty");
  error = remove_child(world, child);
  if (error != 0) return error;
  detach_mounts_on(world, child);
  return 0;
}

long call_renameat2(Task& task, int old_dirfd, const char* old_path, int new_dirfd, const char* new_path, unsigned flags) {
  World& world = *task.world;
  constexpr unsigned whiteout = 4;
  if ((flags & ~(abi::rename_noreplace | abi::rename_exchange | whiteout)) != 0) return world.refuse(EINVAL, "rename.unknown-flag");
  if ((flags & (abi::rename_noreplace | whiteout)) != 0 && (flags & abi::rename_exchange) != 0)
    return world.refuse(EINVAL, "rename.flags-conflict");
  if ((flags & whiteout) != 0) return world.unmodelled("renameat2: RENAME_WHITEOUT");
  const bool exchange = (flags & abi::rename_exchange) != 0;
  Parent from, to;
  if (const long error = walk_to_parent(task, old_dirfd, old_path, 0, from); error != 0) return error;
  if (const long error = walk_to_parent(task, new_dirfd, new_path, 0, to); error != 0) return error;
  if (from.directory.mount != to.directory.mount) return world.refuse(EXDEV, "rename.another-mount");
  if (from.last != Last::name) return world.refuse(EBUSY, "rename.not-a-name");
  if (to.last != Last::name) return world.refuse((flags & abi::rename_noreplace) != 0 ? EEXIST : EBUSY, "rename.not-a-name");
  if (const long error = want_write(world, from.directory); error != 0) return error;
  if (from.name.size() > name_max || to.name.size() > name_max) return world.refuse(ENAMETOOLONG, "path.component-too-long");
  long error = 0;
  Dentry* old = lookup_child(task, from.directory.dentry, from.name, error);
  if (error != 0) return error;
  if (old == nullptr) return world.refuse(ENOENT, "walk.no-such-file");
  Dentry* target = lookup_child(task, to.directory.dentry, to.name, error);
  if (error != 0) return error;
  if ((flags & abi::rename_noreplace) != 0 && target != nullptr) return world.refuse(EEXIST, "rename.exists");
  if (exchange && target == nullptr) return world.refuse(ENOENT, "walk.no-such-file");
  const bool old_is_directory = is_directory(old);
  if (!old_is_directory && (from.trailing_slash || (!exchange && to.trailing_slash))) return world.refuse(ENOTDIR, "rename.trailing-slash");
  if (is_below(to.directory.dentry, old)) return world.refuse(EINVAL, "rename.into-itself");
  if (target != nullptr && is_below(from.directory.dentry, target))
    return world.refuse(exchange ? EINVAL : ENOTEMPTY, "rename.onto-ancestor");
  if (target == old || (target != nullptr && &attributes(target) == &attributes(old))) return 0;
  error = may_delete(task, from.directory.dentry, old, old_is_directory);
  if (error != 0) return error;
  if (target == nullptr) {
    error = may_create(task, to.directory.dentry);
  } else {
    error = may_delete(task, to.directory.dentry, target, exchange ? is_directory(target) : old_is_directory);
  }
  if (error != 0) return error;
  if (is_local_mountpoint(task, old) || (target != nullptr && is_local_mountpoint(task, target)))
    return world.refuse(EBUSY, "rename.is-a-mount-point");
  if (target != nullptr && !exchange && is_directory(target) && has_children(task, target))
    return world.refuse(ENOTEMPTY, "rename.target-not-empty");
  error = rename_child(world, old, to.directory.dentry, to.name, exchange);
  if (error == 0 && target != nullptr && !exchange) detach_mounts_on(world, target);
  return error;
}

long call_readlinkat(Task& task, int dirfd, const char* path, char* buffer, std::size_t size) {
  World& world = *task.world;
  if (size == 0 || size > 0x7fffffffU) return world.refuse(EINVAL, "readlink.size");
  WalkOptions options;
  options.follow = false;
  options.empty = true;
  Path found;
  if (const long error = walk(task, dirfd, path, options, found); error != 0) return error;
  if (attributes(found.dentry).kind != Kind::symlink) return world.refuse(*path == '\0' ? ENOENT : EINVAL, "readlink.not-a-symlink");
  const std::string text = link_text(task, found.dentry);
  if (text.empty()) return world.refuse(ENOENT, "walk.empty-symlink");
  const std::size_t count = std::min(size, text.size());
  if (!readable(buffer)) return world.refuse(EFAULT, "argument.bad-pointer");
  std::memcpy(buffer, text.data(), count);
  return static_cast<long>(count);
}

long call_read(Task& task, int fd, void* buffer, std::size_t count) {
  World& world = *task.world;
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (file->path_only || !file->reads) return world.refuse(EBADF, "read.not-open-for-reading");
  if (static_cast<long>(count) < 0) return world.refuse(EINVAL, "read.size");
  if (file->context != nullptr) return read_context(task, *file->context, buffer, count);
  const Inode& inode = attributes(file->path.dentry);
  if (inode.kind == Kind::directory) return world.refuse(EISDIR, "read.directory");
  if (count == 0) return 0;
  if (!readable(buffer)) return world.refuse(EFAULT, "argument.bad-pointer");
  if (inode.kind == Kind::character) {
    switch (device_of(inode)) {
      case Device::null: return 0;
      case Device::zero:
      case Device::full: std::memset(buffer, 0, count); return static_cast<long>(count);
      case Device::random:  // a sequence, but always the same: tests must repeat
        for (std::size_t i = 0; i < count; ++i) static_cast<unsigned char*>(buffer)[i] = static_cast<unsigned char>(i * 167U + 13U);
        return static_cast<long>(count);
      default: return world.unmodelled("reading from a terminal");
    }
  }
  const std::string& data = file->generated ? file->contents : inode.data;
  if (file->position >= data.size()) return 0;
  const std::size_t n = std::min<std::size_t>(count, data.size() - file->position);
  std::memcpy(buffer, data.data() + file->position, n);
  file->position += n;
  return static_cast<long>(n);
}

long call_write(Task& task, int fd, const void* buffer, std::size_t count) {
  World& world = *task.world;
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (file->path_only || !file->writes) return world.refuse(EBADF, "write.not-open-for-writing");
  if (static_cast<long>(count) < 0) return world.refuse(EINVAL, "write.size");
  if (count != 0 && !readable(buffer)) return world.refuse(EFAULT, "argument.bad-pointer");
  Inode& inode = attributes(file->path.dentry);
  if (inode.kind == Kind::character) {
    if (device_of(inode) == Device::full) return world.refuse(ENOSPC, "write.dev-full");
    return static_cast<long>(count);
  }
  if (count == 0) return 0;
  const std::string_view text(static_cast<const char*>(buffer), count);
  if (inode.proc == ProcEntry::uid_map || inode.proc == ProcEntry::gid_map || inode.proc == ProcEntry::setgroups) {
    return procfs_write(task, file->path.dentry, text);
  }
  if (inode.kind != Kind::regular) return world.unmodelled("writing to a fifo");
  if ((file->flags & abi::o_append) != 0) file->position = inode.data.size();
  const Behaviour behaviour = file->path.dentry->superblock->type->behaviour;
  if (behaviour == Behaviour::proc || behaviour == Behaviour::sysfs || behaviour == Behaviour::cgroup2) {
    inode.data.assign(text);
    return static_cast<long>(count);
  }
  if (file->position + count > inode.data.size()) {
    if (const long error = resize(world, file->path.dentry, file->position + count); error != 0) return error;
  }
  std::memcpy(inode.data.data() + file->position, text.data(), count);
  file->position += count;
  return static_cast<long>(count);
}

long call_lseek(Task& task, int fd, long offset, int whence) {
  World& world = *task.world;
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (file->path_only) return world.refuse(EBADF, "descriptor.is-path-only");
  if (file->context != nullptr) return world.refuse(ESPIPE, "lseek.not-seekable");
  const Inode& inode = attributes(file->path.dentry);
  long base = 0;
  switch (whence) {
    case 0: break;
    case 1: base = static_cast<long>(file->position); break;
    case 2: base = static_cast<long>(file->generated ? 0 : inode.data.size()); break;
    case 3:
    case 4: return world.unmodelled("lseek: SEEK_DATA and SEEK_HOLE");
    default: return world.refuse(EINVAL, "lseek.whence");
  }
  long position = 0;
  if (__builtin_add_overflow(base, offset, &position) || position < 0) return world.refuse(EINVAL, "lseek.before-the-start");
  file->position = static_cast<std::uint64_t>(position);
  return position;
}

long call_ftruncate(Task& task, int fd, long length) {
  World& world = *task.world;
  if (length < 0) return world.refuse(EINVAL, "truncate.negative");
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (file->path_only) return world.refuse(EBADF, "descriptor.is-path-only");
  if (!file->writes || attributes(file->path.dentry).kind != Kind::regular) return world.refuse(EINVAL, "truncate.not-a-writable-file");
  return resize(world, file->path.dentry, static_cast<std::uint64_t>(length));
}

long call_getdents64(Task& task, int fd, void* buffer, std::size_t count) {
  World& world = *task.world;
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (file->path_only || !file->reads) return world.refuse(EBADF, "read.not-open-for-reading");
  Dentry* directory = file->path.dentry;
  if (!is_directory(directory)) return world.refuse(ENOTDIR, "getdents.not-a-directory");
  if (directory->dead) return world.refuse(ENOENT, "getdents.deleted");
  std::vector<std::string> names{".", ".."};
  for (auto& name : child_names(task, directory)) names.push_back(std::move(name));
  if (!readable(buffer)) return world.refuse(EFAULT, "argument.bad-pointer");
  constexpr std::size_t header = 19;  // struct linux_dirent64 up to d_name
  std::size_t used = 0;
  while (file->position < names.size()) {
    const std::string& name = names[file->position];
    const std::size_t length = (header + name.size() + 1 + 7) / 8 * 8;
    if (used + length > count) break;
    long error = 0;
    const Dentry* child = name == "." || name == ".." ? directory : lookup_child(task, directory, name, error);
    auto* out = static_cast<unsigned char*>(buffer) + used;
    std::memset(out, 0, length);
    const std::uint64_t inode = child != nullptr ? attributes(child).number : 1;
    const std::uint64_t next = file->position + 1;
    const auto record = static_cast<std::uint16_t>(length);
    std::memcpy(out, &inode, 8);
    std::memcpy(out + 8, &next, 8);
    std::memcpy(out + 16, &record, 2);
    out[18] = child != nullptr ? static_cast<unsigned char>(full_mode(attributes(child)) >> 12U) : 0;
    std::memcpy(out + header, name.data(), name.size());
    used += length;
    ++file->position;
  }
  if (used == 0 && file->position < names.size()) return world.refuse(EINVAL, "getdents.buffer-too-small");
  return static_cast<long>(used);
}

void fill_statx(const Task& task, const Path& path, unsigned mask, abi::statx& result) {
  const Inode& inode = attributes(path.dentry);
  result = {};
  result.mask = static_cast<std::uint32_t>(abi::statx_basic_stats);
  result.blksize = 4096;
  result.nlink = inode.links;
  result.uid = from_kernel_uid(task.user, inode.uid);
  result.gid = from_kernel_gid(task.user, inode.gid);
  result.mode = static_cast<std::uint16_t>(full_mode(inode));
  result.ino = inode.number;
  result.size = inode.kind == Kind::regular || inode.kind == Kind::symlink ? inode.data.size() : 0;
  result.blocks = (result.size + 511) / 512;
  result.rdev_major = abi::device_major(inode.rdev);
  result.rdev_minor = abi::device_minor(inode.rdev);
  if (!is_device(inode)) result.rdev_major = result.rdev_minor = 0;
  result.dev_major = path.dentry->superblock->device_major;
  result.dev_minor = path.dentry->superblock->device_minor;
  if (task.world->has(Quirk::statx_has_mount_id)) {
    constexpr std::uint32_t unique = 0x4000, mount_root = 0x2000;
    result.mask |= static_cast<std::uint32_t>(mask & abi::statx_mnt_id);
    if ((mask & unique) != 0 && task.world->has(Quirk::statx_has_unique_mount_id)) result.mask |= unique;
    result.mnt_id = path.mount->id;
    result.attributes_mask |= mount_root;
    if (is_mount_root(path)) result.attributes |= mount_root;
  }
}

long call_statx(Task& task, int dirfd, const char* path, int flags, unsigned mask, abi::statx* result) {
  World& world = *task.world;
  const auto bits = static_cast<unsigned>(flags);
  constexpr unsigned sync_type = 0x6000;
  if ((mask & overflow) != 0) return world.refuse(EINVAL, "statx.reserved-mask");
  if ((bits & ~(abi::at_symlink_nofollow | abi::at_no_automount | abi::at_empty_path | sync_type)) != 0 ||
      (bits & sync_type) == sync_type) {
    return world.refuse(EINVAL, "statx.unknown-flag");
  }
  WalkOptions options;
  options.follow = (bits & abi::at_symlink_nofollow) == 0;
  options.empty = (bits & abi::at_empty_path) != 0;
  if (path == nullptr && options.empty && world.has(Quirk::null_is_an_empty_path)) path = "";
  Path found;
  if (const long error = walk(task, dirfd, path, options, found); error != 0) return error;
  if (!readable(result)) return world.refuse(EFAULT, "argument.bad-pointer");
  fill_statx(task, found, mask, *result);
  return 0;
}

long call_fstatfs(Task& task, int fd, abi::statfs* result) {
  World& world = *task.world;
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (!readable(result)) return world.refuse(EFAULT, "argument.bad-pointer");
  const Mount& mount = *file->path.mount;
  const Superblock& superblock = *file->path.dentry->superblock;
  *result = {};
  result->type = static_cast<std::int64_t>(superblock.type->magic);
  result->bsize = result->frsize = 4096;
  result->namelen = 255;
  if (superblock.size_limit != 0) {
    result->blocks = superblock.size_limit / 4096;
    result->bfree = result->bavail = (superblock.size_limit - std::min(superblock.size_limit, superblock.used)) / 4096;
  }
  result->files = superblock.inode_limit;
  constexpr std::uint64_t valid = 0x20;
  std::uint64_t flags = valid;
  if (mount.flags.read_only || superblock.read_only) flags |= abi::st_rdonly;
  if (mount.flags.nosuid) flags |= abi::st_nosuid;
  if (mount.flags.nodev) flags |= abi::st_nodev;
  if (mount.flags.noexec) flags |= abi::st_noexec;
  if (mount.flags.atime == MountFlags::Atime::none) flags |= abi::st_noatime;
  if (mount.flags.atime == MountFlags::Atime::relative) flags |= abi::st_relatime;
  if (mount.flags.nodiratime) flags |= abi::st_nodiratime;
  if (mount.flags.nosymfollow) flags |= abi::st_nosymfollow;
  result->flags = static_cast<std::int64_t>(flags);
  return 0;
}

namespace {

// notify_change(), fs/attr.c: the owner was an id that the file system's user namespace cannot name.
bool owner_has_no_id(const Inode& inode) { return inode.uid == unmapped_id || inode.gid == unmapped_id; }

long change_mode(Task& task, const Path& path, unsigned mode) {
  World& world = *task.world;
  if (const long error = want_write(world, path); error != 0) return error;
  if (owner_has_no_id(attributes(path.dentry))) return world.refuse(EOVERFLOW, "attributes.owner-has-no-id");
  if (!owner_or_capable(task, attributes(path.dentry))) return world.refuse(EPERM, "chmod.not-the-owner");
  if (attributes(path.dentry).kind == Kind::symlink) return world.refuse(EOPNOTSUPP, "chmod.symlink");
  if (path.dentry->superblock->type->behaviour == Behaviour::proc) return world.refuse(EPERM, "procfs.attributes-are-fixed");
  if (const long error = make_writable(world, path.dentry); error != 0) return error;
  Inode& inode = attributes(path.dentry);
  inode.mode = mode & 07777U;
  if (inode.kind != Kind::directory && inode.gid != task.gid && !capable_over_inode(task, inode, cap_fsetid)) inode.mode &= ~02000U;
  return 0;
}

}  // namespace

long call_fchmod(Task& task, int fd, unsigned mode) {
  World& world = *task.world;
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (file->path_only) return world.refuse(EBADF, "descriptor.is-path-only");
  return change_mode(task, file->path, mode);
}

long call_fchmodat(Task& task, int dirfd, const char* path, unsigned mode) {
  Path found;
  if (const long error = walk(task, dirfd, path, {}, found); error != 0) return error;
  return change_mode(task, found, mode);
}

long call_fchownat(Task& task, int dirfd, const char* path, unsigned owner, unsigned group, int flags) {
  World& world = *task.world;
  const auto bits = static_cast<unsigned>(flags);
  if ((bits & ~(abi::at_symlink_nofollow | abi::at_empty_path)) != 0) return world.refuse(EINVAL, "chown.unknown-flag");
  WalkOptions options;
  options.follow = (bits & abi::at_symlink_nofollow) == 0;
  options.empty = (bits & abi::at_empty_path) != 0;
  Path found;
  if (const long error = walk(task, dirfd, path, options, found); error != 0) return error;
  if (const long error = want_write(world, found); error != 0) return error;
  constexpr unsigned keep = ~0U;
  const unsigned uid = owner == keep ? keep : to_kernel_uid(task.user, owner);
  const unsigned gid = group == keep ? keep : to_kernel_gid(task.user, group);
  if ((owner != keep && uid == unmapped_id) || (group != keep && gid == unmapped_id)) return world.refuse(EINVAL, "chown.id-not-mapped");
  const Inode& before = attributes(found.dentry);
  if ((owner == keep && before.uid == unmapped_id) || (group == keep && before.gid == unmapped_id))
    return world.refuse(EOVERFLOW, "attributes.owner-has-no-id");
  const bool mine = before.uid == task.uid;
  if (owner != keep && !(mine && uid == before.uid) && !capable_over_inode(task, before, cap_chown))
    return world.refuse(EPERM, "chown.not-permitted");
  if (group != keep && !(mine && gid == task.gid) && !capable_over_inode(task, before, cap_chown))
    return world.refuse(EPERM, "chown.not-permitted");
  if (found.dentry->superblock->type->behaviour == Behaviour::proc) return world.refuse(EPERM, "procfs.attributes-are-fixed");
  if (const long error = make_writable(world, found.dentry); error != 0) return error;
  Inode& inode = attributes(found.dentry);
  if (owner != keep) inode.uid = uid;
  if (group != keep) inode.gid = gid;
  if (inode.kind != Kind::directory) {  // chown(2): set-user-ID goes, and set-group-ID of an executable
    inode.mode &= ~04000U;
    if ((inode.mode & 010U) != 0) inode.mode &= ~02000U;
  }
  return 0;
}

namespace {

long check_xattr(Task& task, const Inode& inode, const std::string& name, bool write) {
  World& world = *task.world;
  const auto has_prefix = [&](std::string_view prefix) {
    return name.compare(0, prefix.size(), prefix) == 0 && name.size() > prefix.size();
  };
  if (has_prefix("trusted.")) {
    if (!capable(task, cap_sys_admin)) return world.refuse(write ? EPERM : ENODATA, "xattr.trusted-needs-sys-admin");
    return 0;
  }
  if (has_prefix("user.")) {
    if (inode.kind != Kind::regular && inode.kind != Kind::directory)
      return world.refuse(write ? EPERM : ENODATA, "xattr.user-on-special-file");
    return 0;
  }
  if (has_prefix("security.")) return 0;
  return world.refuse(EOPNOTSUPP, "xattr.unknown-prefix");
}

}  // namespace

long call_fsetxattr(Task& task, int fd, const char* name, const void* value, std::size_t size, int flags) {
  World& world = *task.world;
  if ((static_cast<unsigned>(flags) & ~3U) != 0) return world.refuse(EINVAL, "xattr.unknown-flag");
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (file->path_only) return world.refuse(EBADF, "descriptor.is-path-only");
  std::string key;
  if (const long error = copy_text(world, name, 256, ERANGE, key); error != 0) return error;
  if (key.empty()) return world.refuse(ERANGE, "xattr.empty-name");
  if (size > 65536) return world.refuse(E2BIG, "xattr.value-too-large");
  if (size != 0 && !readable(value)) return world.refuse(EFAULT, "argument.bad-pointer");
  if (const long error = want_write(world, file->path); error != 0) return error;
  if (const long error = check_xattr(task, attributes(file->path.dentry), key, true); error != 0) return error;
  if (const long error = make_writable(world, file->path.dentry); error != 0) return error;
  Inode& inode = attributes(file->path.dentry);
  const bool exists = inode.xattrs.count(key) != 0;
  if (flags == 1 && exists) return world.refuse(EEXIST, "xattr.exists");
  if (flags == 2 && !exists) return world.refuse(ENODATA, "xattr.absent");
  inode.xattrs[key].assign(size != 0 ? static_cast<const char*>(value) : "", size);
  return 0;
}

long call_fgetxattr(Task& task, int fd, const char* name, void* value, std::size_t size) {
  World& world = *task.world;
  std::shared_ptr<OpenFile> file;
  if (const long error = find_file(task, fd, file); error != 0) return error;
  if (file->path_only) return world.refuse(EBADF, "descriptor.is-path-only");
  std::string key;
  if (const long error = copy_text(world, name, 256, ERANGE, key); error != 0) return error;
  if (key.empty()) return world.refuse(ERANGE, "xattr.empty-name");
  const Inode& inode = attributes(file->path.dentry);
  if (const long error = check_xattr(task, inode, key, false); error != 0) return error;
  const auto found = inode.xattrs.find(key);
  if (found == inode.xattrs.end()) return world.refuse(ENODATA, "xattr.absent");
  if (size == 0) return static_cast<long>(found->second.size());
  if (found->second.size() > size) return world.refuse(ERANGE, "xattr.buffer-too-small");
  if (!readable(value)) return world.refuse(EFAULT, "argument.bad-pointer");
  std::memcpy(value, found->second.data(), found->second.size());
  return static_cast<long>(found->second.size());
}

}  // namespace rootprep::testing::model
