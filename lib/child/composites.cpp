// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// Runs between clone() and execve(). No allocation, locks, errno, exceptions, containers.
#include "child/composites.hpp"

#include <cerrno>
#include <cstddef>

#include "child/system_calls.hpp"

namespace rootprep::child {
namespace {

constexpr std::size_t path_max = 4096;  // PATH_MAX: with its NUL
constexpr std::size_t name_max = 255;   // NAME_MAX: without
constexpr int max_symlinks = 40;        // as the kernel's own walk (path_resolution(7))
constexpr int max_races = 128;          // how often the tree may change under a walk before it is given up

constexpr std::uint64_t type_mask = 0170000;

std::size_t length_of(const char* text) noexcept {
  std::size_t n = 0;
  while (text[n] != '\0') ++n;
  return n;
}

bool equal(const char* a, const char* b) noexcept {
  for (; *a == *b; ++a, ++b) {
    if (*a == '\0') return true;
  }
  return false;
}

// A descriptor of the walk, closed at the end of its scope unless it was released.
class Descriptor {
 public:
  Descriptor(Kernel& kernel, int fd) noexcept : kernel_(kernel), fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { reset(-1); }
  void reset(int fd) noexcept {
    if (fd_ >= 0) (void)invoke(kernel_, SYS_close, fd_);  // an O_PATH descriptor: nothing can be lost
    fd_ = fd;
  }
  int get() const noexcept { return fd_; }
  int release() noexcept {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  Kernel& kernel_;
  int fd_;
};

long node_mode(Kernel& kernel, int descriptor, std::uint64_t& mode) noexcept {
  abi::statx status;
  const long result =
      invoke(kernel, SYS_statx, descriptor, "", abi::at_empty_path | abi::at_symlink_nofollow, abi::statx_type | abi::statx_mode, &status);
  mode = status.mode;
  return result;
}

// The walk of open_in_root(): `current` is a directory inside the root, `pending` what is still to be walked, `resolved` the real names
// that led from the root to `current`.
class Walk {
 public:
  Walk(Kernel& kernel, int root) noexcept : kernel_(kernel), root_(root), current_(kernel, -1) {}

  long run(const char* path, std::uint64_t flags, Create create, std::uint32_t mode) noexcept {
    if (!prepend(path, "")) return -ENAMETOOLONG;
    int races = 0;
    while (true) {
      char name[name_max + 1];
      bool last = false;
      if (const long taken = take(name, last); taken < 0) return taken;
      if (last && pending_[at_] == '/') {  // "name/" asks for a directory, and follows a link (path_resolution(7)), for good
        flags = (flags & ~abi::o_nofollow) | abi::o_directory;
        if (create == Create::file) return -EISDIR;
      }
      if (name[0] == '\0') return reopen_current(flags);
      if (equal(name, ".")) continue;
      if (equal(name, "..")) {
        if (const long up = go_up(); up < 0) return up;
        continue;
      }
      const long opened = invoke(kernel_, SYS_openat, directory(), name, abi::o_path | abi::o_nofollow | abi::o_cloexec);
      if (opened == -ENOENT && create != Create::nothing) {
        const long made = make(name, last ? create : Create::directory, last ? mode : 0755U);
        if (made < 0 && made != -EEXIST) return made;
        if (++races > max_races) return -EAGAIN;
        put_back();
        continue;
      }
      if (opened < 0) return opened;
      Descriptor found{kernel_, static_cast<int>(opened)};
      std::uint64_t type = 0;
      if (const long status = node_mode(kernel_, found.get(), type); status < 0) return status;
      type &= type_mask;
      if (type == abi::s_iflnk && !(last && (flags & abi::o_nofollow) != 0)) {
        if (const long followed = follow(found.get()); followed < 0) return followed;
        continue;
      }
      if (last) {
        if ((flags & abi::o_directory) != 0 && type != abi::s_ifdir) return -ENOTDIR;
        if ((flags & abi::o_path) != 0) return found.release();
        return invoke(kernel_, SYS_openat, directory(), name, flags | abi::o_nofollow | abi::o_cloexec);
      }
      if (type != abi::s_ifdir) return -ENOTDIR;
      if (!push(name)) return -ENAMETOOLONG;
      current_.reset(found.release());
    }
  }

 private:
  int directory() const noexcept { return current_.get() < 0 ? root_ : current_.get(); }

  // pending = text + "/" + pending
  bool prepend(const char* text, const char* separator) noexcept {
    const std::size_t added = length_of(text) + length_of(separator);
    const std::size_t kept = length_of(pending_ + at_);
    if (added + kept + 1 > sizeof pending_) return false;
    // Moves byte by byte, from the end that is not overwritten before it is read.
    if (added > at_) {
      for (std::size_t i = kept + 1; i-- > 0;) pending_[added + i] = pending_[at_ + i];
    } else {
      for (std::size_t i = 0; i <= kept; ++i) pending_[added + i] = pending_[at_ + i];
    }
    std::size_t n = 0;
    for (; *text != '\0'; ++text) pending_[n++] = *text;
    for (; *separator != '\0'; ++separator) pending_[n++] = *separator;
    at_ = 0;
    return true;
  }

  void put_back() noexcept { at_ = taken_from_; }

  // The next component; `last` if nothing but slashes follows. An empty name: the path is at its end.
  long take(char (&name)[name_max + 1], bool& last) noexcept {
    while (pending_[at_] == '/') ++at_;
    taken_from_ = at_;
    std::size_t n = 0;
    while (pending_[at_] != '\0' && pending_[at_] != '/') {
      if (n == name_max) return -ENAMETOOLONG;
      name[n++] = pending_[at_++];
    }
    name[n] = '\0';
    std::size_t rest = at_;
    while (pending_[rest] == '/') ++rest;
    last = pending_[rest] == '\0';
    return 0;
  }

  bool push(const char* name) noexcept {
    const std::size_t length = length_of(name);
    if (resolved_size_ + length + 2 > sizeof resolved_) return false;
    for (std::size_t i = 0; i < length; ++i) resolved_[resolved_size_++] = name[i];
    resolved_[resolved_size_++] = '\0';
    return true;
  }

  // ".." by walking down again from the root: openat("..") would leave the root if somebody moved the directory out of it meanwhile.
  long go_up() noexcept {
    if (resolved_size_ == 0) return 0;  // ".." at the root stays
    resolved_size_ -= 1;
    while (resolved_size_ > 0 && resolved_[resolved_size_ - 1] != '\0') resolved_size_ -= 1;
    current_.reset(-1);
    for (std::size_t i = 0; i < resolved_size_; i += length_of(resolved_ + i) + 1) {
      const long next =
          invoke(kernel_, SYS_openat, directory(), resolved_ + i, abi::o_path | abi::o_nofollow | abi::o_directory | abi::o_cloexec);
      if (next < 0) return next == -ELOOP || next == -ENOTDIR ? -EAGAIN : next;
      current_.reset(static_cast<int>(next));
    }
    return 0;
  }

  long follow(int link) noexcept {
    if (++symlinks_ > max_symlinks) return -ELOOP;
    const long size = invoke(kernel_, SYS_readlinkat, link, "", link_, sizeof link_ - 1);
    if (size < 0) return size;
    if (size == 0) return -ENOENT;
    if (static_cast<std::size_t>(size) >= sizeof link_ - 1) return -ENAMETOOLONG;
    link_[size] = '\0';
    if (link_[0] == '/') {  // absolute inside the root
      current_.reset(-1);
      resolved_size_ = 0;
    }
    return prepend(link_, pending_[at_] == '\0' ? "" : "/") ? 0 : -ENAMETOOLONG;
  }

  long make(const char* name, Create what, std::uint32_t mode) noexcept {
    if (what == Create::directory) return invoke(kernel_, SYS_mkdirat, directory(), name, mode);
    return invoke(kernel_, SYS_mknodat, directory(), name, abi::s_ifreg | (mode & 0666U), 0);
  }

  long reopen_current(std::uint64_t flags) noexcept { return invoke(kernel_, SYS_openat, directory(), ".", flags | abi::o_cloexec); }

  Kernel& kernel_;
  int root_;
  Descriptor current_;  // empty: the root
  int symlinks_ = 0;
  std::size_t at_ = 0;
  std::size_t taken_from_ = 0;
  std::size_t resolved_size_ = 0;
  char pending_[path_max] = {};
  char resolved_[path_max] = {};  // names, each with its NUL
  char link_[path_max] = {};
};

}  // namespace

long open_in_root(Kernel& kernel, int root, const char* path, std::uint64_t flags, Create create, std::uint32_t mode, int like) noexcept {
  if (create == Create::like_source) {
    std::uint64_t source_mode = 0;
    if (const long status = node_mode(kernel, like, source_mode); status < 0) return status;
    create = (source_mode & type_mask) == abi::s_ifdir ? Create::directory : Create::file;
  }
  Walk walk{kernel, root};
  return walk.run(path, flags, create, mode);
}

long make_parent_private(Kernel& kernel, int directory, std::uint64_t propagation) noexcept {
  Descriptor above{kernel, -1};
  int current = directory;
  // The depth of a path is bounded by PATH_MAX; ".." at the root stays there, and there mount(2) succeeds or fails for good.
  for (std::size_t depth = 0; depth < path_max / 2; ++depth) {
    const DescriptorPath path{current};
    const long result = invoke(kernel, SYS_mount, nullptr, path.c_str(), nullptr, propagation, nullptr);
    if (result != -EINVAL) return result;  // EINVAL: not the root of a mount (mount(2))
    const long parent = invoke(kernel, SYS_openat, current, "..", abi::o_path | abi::o_directory | abi::o_cloexec);
    if (parent < 0) return parent;
    above.reset(static_cast<int>(parent));
    current = above.get();
  }
  return -EINVAL;
}

// --- hiding the host's procfs and sysfs ---

namespace {

// The lines of /proc/self/mountinfo (proc_pid_mountinfo(5)), read into a buffer that may be smaller than the file.
class MountInfoLines {
 public:
  MountInfoLines(Kernel& kernel, int fd) noexcept : kernel_(kernel), fd_(fd) {}

  // 1: `line` is the next one; 0: the end; < 0: an error.
  long next(char*& line) noexcept {
    while (true) {
      for (std::size_t i = start_; i < end_; ++i) {
        if (buffer_[i] == '\n') {
          buffer_[i] = '\0';
          line = buffer_ + start_;
          start_ = i + 1;
          return 1;
        }
      }
      for (std::size_t i = start_; i < end_; ++i) buffer_[i - start_] = buffer_[i];
      end_ -= start_;
      start_ = 0;
      if (end_ == sizeof buffer_) return child_failure(ChildErrc::unreadable_mounts);
      const long got = invoke(kernel_, SYS_read, fd_, buffer_ + end_, sizeof buffer_ - end_);
      if (got == -EINTR) continue;
      if (got < 0) return got;
      if (got == 0) return end_ == 0 ? 0 : child_failure(ChildErrc::unreadable_mounts);
      end_ += static_cast<std::size_t>(got);
    }
  }

 private:
  Kernel& kernel_;
  int fd_;
  std::size_t start_ = 0;
  std::size_t end_ = 0;
  char buffer_[16384] = {};
};

char* next_field(char*& at) noexcept {
  while (*at == ' ') ++at;
  char* field = at;
  while (*at != ' ' && *at != '\0') ++at;
  if (*at == ' ') *at++ = '\0';
  return field;
}

// "\040" -> " ", in place: mountinfo escapes white space and backslashes in octal.
void unescape(char* text) noexcept {
  char* out = text;
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  for (; *text != '\0'; ++text) {
    if (text[0] == '\\' && octal(text[1]) && octal(text[2]) && octal(text[3])) {
      *out++ = static_cast<char>(((text[1] - '0') << 6) | ((text[2] - '0') << 3) | (text[3] - '0'));
      text += 3;
    } else {
      *out++ = *text;
    }
  }
  *out = '\0';
}

bool is_below(const char* path, const char* top) noexcept {
  std::size_t i = 0;
  for (; top[i] != '\0'; ++i) {
    if (path[i] != top[i]) return false;
  }
  return path[i] == '\0' || path[i] == '/' || (i > 0 && top[i - 1] == '/');
}

struct Targets {
  char text[16384] = {};
  std::size_t size = 0;
  const char* entry[128] = {};
  std::size_t count = 0;

  bool add(const char* path) noexcept {
    const std::size_t length = length_of(path) + 1;
    if (count == sizeof entry / sizeof entry[0] || size + length > sizeof text) return false;
    entry[count++] = text + size;
    for (std::size_t i = 0; i < length; ++i) text[size++] = path[i];
    return true;
  }
};

long find_kernel_filesystems(Kernel& kernel, const char* root, Targets& targets) noexcept {
  const long opened = invoke(kernel, SYS_openat, abi::at_fdcwd, "/proc/self/mountinfo", abi::o_rdonly | abi::o_cloexec);
  if (opened < 0) return child_failure(ChildErrc::unreadable_mounts);
  Descriptor file{kernel, static_cast<int>(opened)};
  MountInfoLines lines{kernel, file.get()};
  char* line = nullptr;
  long more = 0;
  while ((more = lines.next(line)) == 1) {
    (void)next_field(line);  // mount id
    (void)next_field(line);  // parent id
    (void)next_field(line);  // device
    const char* mount_root = next_field(line);
    char* target = next_field(line);
    const char* field = next_field(line);  // mount options, then optional fields up to "-"
    while (*field != '\0' && !equal(field, "-")) field = next_field(line);
    const char* type = next_field(line);
    if (!(equal(type, "proc") || equal(type, "sysfs")) || !equal(mount_root, "/")) continue;
    unescape(target);
    if (is_below(target, root)) continue;
    if (!targets.add(target)) return child_failure(ChildErrc::unreadable_mounts);
  }
  return more;
}

long is_kernel_filesystem(Kernel& kernel, const char* path) noexcept {
  const long opened = invoke(kernel, SYS_openat, abi::at_fdcwd, path, abi::o_path | abi::o_nofollow | abi::o_cloexec);
  if (opened == -ENOENT) return 0;
  if (opened < 0) return opened;
  Descriptor fd{kernel, static_cast<int>(opened)};
  abi::statfs status;
  if (const long result = invoke(kernel, SYS_fstatfs, fd.get(), &status); result < 0) return result;
  const auto magic = static_cast<std::uint64_t>(status.type);
  return magic == abi::proc_super_magic || magic == abi::sysfs_magic ? 1 : 0;
}

long hide(Kernel& kernel, const char* target) noexcept {
  // Not private: the host's own unmounts shall still arrive. Not shared: ours must not leave.
  const long slave = invoke(kernel, SYS_mount, nullptr, target, nullptr, abi::ms_slave | abi::ms_rec, nullptr);
  if (slave == -ENOENT) return 0;  // below another mount that was hidden already
  // EINVAL: the path leads to another mount, on top of this one. Anything else: an unmount could leave.
  if (slave < 0 && slave != -EINVAL) return slave;
  if (slave >= 0 && invoke(kernel, SYS_umount2, target, abi::mnt_detach | abi::umount_nofollow) == -ENOENT) return 0;
  const long still_there = is_kernel_filesystem(kernel, target);
  if (still_there <= 0) return still_there;
  // Locked by an outer user namespace (EINVAL): it cannot be unmounted, but covered.
  return invoke(kernel, SYS_mount, "tmpfs", target, "tmpfs", abi::ms_rdonly | abi::ms_nosuid | abi::ms_nodev | abi::ms_noexec,
                "size=4k,nr_inodes=2,mode=555");
}

}  // namespace

long hide_host_filesystems(Kernel& kernel, int root) noexcept {
  char root_path[path_max];
  const DescriptorPath link{root};
  const long size = invoke(kernel, SYS_readlinkat, abi::at_fdcwd, link.c_str(), root_path, sizeof root_path - 1);
  if (size < 0) return size;
  root_path[size] = '\0';

  Targets targets;
  if (const long found = find_kernel_filesystems(kernel, root_path, targets); found < 0) return found;
  for (std::size_t i = targets.count; i-- > 0;) {  // the innermost first
    if (const long hidden = hide(kernel, targets.entry[i]); hidden < 0) return hidden;
  }
  return 0;
}

// --- remount and verify ---

namespace {

constexpr std::uint64_t atime_modes = abi::ms_noatime | abi::ms_relatime | abi::ms_strictatime;
constexpr std::uint64_t atime_flags = atime_modes | abi::ms_nodiratime;

// statfs(2) and mount(2) number some flags differently: a translation, never a cast.
std::uint64_t mount_flags_of(std::int64_t statfs_flags) noexcept {
  const auto f = static_cast<std::uint64_t>(statfs_flags);
  std::uint64_t flags = 0;
  const auto translate = [&](std::uint64_t from, std::uint64_t to) { flags |= (f & from) != 0 ? to : 0; };
  translate(abi::st_rdonly, abi::ms_rdonly);
  translate(abi::st_nosuid, abi::ms_nosuid);
  translate(abi::st_nodev, abi::ms_nodev);
  translate(abi::st_noexec, abi::ms_noexec);
  translate(abi::st_nosymfollow, abi::ms_nosymfollow);
  translate(abi::st_noatime, abi::ms_noatime);
  translate(abi::st_nodiratime, abi::ms_nodiratime);
  translate(abi::st_relatime, abi::ms_relatime);
  if ((flags & atime_modes) == 0) flags |= abi::ms_strictatime;
  return flags;
}

}  // namespace

long remount_bind(Kernel& kernel, int mount, std::uint64_t set, std::uint64_t clear) noexcept {
  abi::statfs status;
  if (const long result = invoke(kernel, SYS_fstatfs, mount, &status); result < 0) return result;
  std::uint64_t flags = mount_flags_of(status.flags);
  if (((set | clear) & atime_flags) == 0) {
    flags &= ~atime_flags;  // none given: the kernel keeps the mount's own (mount(2)), also a locked one
  } else if ((set & atime_modes) != 0) {
    flags &= ~atime_modes;
  }
  flags = (flags & ~clear) | set;
  const DescriptorPath path{mount};
  return invoke(kernel, SYS_mount, nullptr, path.c_str(), nullptr, abi::ms_remount | abi::ms_bind | flags, nullptr);
}

long verify(Kernel& kernel, int descriptor, Verification what, std::uint64_t a, std::uint64_t b, std::uint64_t c) noexcept {
  if (what == Verification::node) {
    abi::statx status;
    const long result = invoke(kernel, SYS_statx, descriptor, "", abi::at_empty_path | abi::at_symlink_nofollow,
                               abi::statx_type | abi::statx_mode, &status);
    if (result < 0) return result;
    const bool has_number = a == abi::s_ifchr || a == abi::s_ifblk;
    const bool same_number = abi::device_number(status.rdev_major, status.rdev_minor) == b;
    return (status.mode & type_mask) == a && (!has_number || same_number) ? 0 : child_failure(ChildErrc::wrong_node);
  }
  abi::statfs status;
  if (const long result = invoke(kernel, SYS_fstatfs, descriptor, &status); result < 0) return result;
  const auto flags = static_cast<std::uint64_t>(status.flags);
  if (a != 0 && static_cast<std::uint64_t>(status.type) != a) return child_failure(ChildErrc::wrong_filesystem);
  if ((flags & b) != b) return child_failure(ChildErrc::not_read_only);
  if ((flags & c) != 0) return child_failure(ChildErrc::mounted_read_only);
  return 0;
}

}  // namespace rootprep::child
