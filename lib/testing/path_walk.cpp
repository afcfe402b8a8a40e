// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "testing/path_walk.hpp"

#include <cstring>
#include <deque>

#include "testing/inodes.hpp"
#include "testing/mount_tree.hpp"
#include "testing/permissions.hpp"

namespace rootprep::testing::model {
namespace {

constexpr unsigned max_links = 40;  // MAXSYMLINKS

struct Component {
  std::string name{};
};

class Walker {
 public:
  Walker(Task& task, std::uint64_t resolve) : task_(task), world_(*task.world), resolve_(resolve), root_(task.root) {}

  long start(int dirfd, const std::string& text) {
    const bool absolute = !text.empty() && text[0] == '/';
    const bool scoped = (resolve_ & (abi::resolve_beneath | abi::resolve_in_root)) != 0;
    if (absolute && !scoped) {
      path_ = root_;
      start_ = path_;
      push_front(text);
      return 0;
    }
    if (absolute && (resolve_ & abi::resolve_beneath) != 0) return world_.refuse(EXDEV, "walk.beneath-absolute-path");
    if (dirfd == abi::at_fdcwd) {
      path_ = task_.cwd;
    } else {
      std::shared_ptr<OpenFile> file;
      if (const long error = find_file(task_, dirfd, file); error != 0) return error;
      path_ = file->path;
      if (!is_directory(path_.dentry) && !text.empty()) return world_.refuse(ENOTDIR, "walk.descriptor-is-no-directory");
    }
    if (scoped) root_ = path_;
    start_ = path_;
    push_front(text);
    return 0;
  }
  void start_at(const Path& directory, const Path& root, unsigned links) {
    path_ = start_ = directory;
    root_ = root;
    links_ = links;
  }

  // Walks everything (follow: also through a last link), or everything but the last component.
  long run(bool follow, bool to_parent) {
    while (!pending_.empty()) {
      const std::string name = std::move(pending_.front());
      pending_.pop_front();
      const bool is_last = pending_.empty();
      if (!is_directory(path_.dentry)) return world_.refuse(ENOTDIR, "walk.component-is-no-directory");
      if (is_last && to_parent) {
        if (const long error = permission(task_, path_.dentry, may_exec); error != 0) return error;
        last_name_ = name;
        last_ = name == "." ? Last::dot : name == ".." ? Last::dotdot : Last::name;
        return 0;
      }
      if (const long error = permission(task_, path_.dentry, may_exec); error != 0) return error;
      if (name == ".") continue;
      if (name == "..") {
        if (const long error = go_up(); error != 0) return error;
        continue;
      }
      Path next;
      if (const long error = look_up(task_, path_, name, resolve_, next); error != 0) return error;
      if (!next) return world_.refuse(ENOENT, "walk.no-such-file");
      if (attributes(next.dentry).kind == Kind::symlink && (!is_last || follow)) {
        if (const long error = follow_link(next); error != 0) return error;
      } else {
        path_ = next;
      }
    }
    last_ = Last::root;
    return 0;
  }

  long follow_link(const Path& link) {
    if (++links_ > max_links) return world_.refuse(ELOOP, "walk.too-many-symlinks");
    if ((resolve_ & abi::resolve_no_symlinks) != 0) return world_.refuse(ELOOP, "walk.no-symlinks");
    if (link.mount->flags.nosymfollow) return world_.refuse(ELOOP, "walk.mount-is-nosymfollow");
    if (is_magic_link(link.dentry)) {
      if ((resolve_ & abi::resolve_no_magiclinks) != 0) return world_.refuse(ELOOP, "walk.no-magiclinks");
      Path target;
      if (const long error = magic_link_target(task_, link.dentry, target); error != 0) return error;
      if ((resolve_ & abi::resolve_no_xdev) != 0 && target.mount != path_.mount) return world_.refuse(EXDEV, "walk.no-xdev");
      if ((resolve_ & (abi::resolve_beneath | abi::resolve_in_root)) != 0) return world_.refuse(EXDEV, "walk.scoped-magiclink");
      path_ = target;
      return 0;
    }
    const std::string text = link_text(task_, link.dentry);
    if (text.empty()) return world_.refuse(ENOENT, "walk.empty-symlink");
    if (text[0] == '/') {
      if ((resolve_ & abi::resolve_beneath) != 0) return world_.refuse(EXDEV, "walk.beneath-absolute-symlink");
      if ((resolve_ & abi::resolve_no_xdev) != 0 && root_.mount != path_.mount) return world_.refuse(EXDEV, "walk.no-xdev");
      path_ = root_;
    }
    if (text.back() == '/') pending_.emplace_front(".");
    push_front(text);
    return 0;
  }

  void push_front(const std::string& text) {
    std::size_t end = text.size();
    while (end > 0) {
      const std::size_t slash = text.rfind('/', end - 1);
      const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
      if (begin < end) pending_.emplace_front(text.substr(begin, end - begin));
      if (slash == std::string::npos) break;
      end = slash;
    }
  }

  const Path& path() const { return path_; }
  const Path& root() const { return root_; }
  Last last() const { return last_; }
  const std::string& last_name() const { return last_name_; }
  unsigned links() const { return links_; }

  // ".." at a root stays, and then crosses what is mounted there; at a mount's root it goes on from the mountpoint.
  long go_up() {
    const std::uint64_t beneath = resolve_ & abi::resolve_beneath;
    const bool no_xdev = (resolve_ & abi::resolve_no_xdev) != 0;
    Path at = path_;
    bool in_root = at == root_;
    if (!in_root && is_mount_root(at)) {
      for (;;) {
        if (at.mount->parent == nullptr) {
          in_root = true;
          break;
        }
        at = {at.mount->parent, at.mount->mountpoint};
        if (at == root_) {
          in_root = true;
          break;
        }
        if (!is_mount_root(at)) break;
      }
      if (!in_root && no_xdev) return world_.refuse(EXDEV, "walk.no-xdev");
    }
    if (in_root) {
      if (beneath != 0) return world_.refuse(EXDEV, "walk.beneath-dotdot");
    } else {
      path_ = {at.mount, at.dentry->parent};
    }
    const Path over = topmost(world_, path_);
    if (over.mount != path_.mount && no_xdev) return world_.refuse(EXDEV, "walk.no-xdev");
    path_ = over;
    return 0;
  }

 private:
  Task& task_;
  World& world_;
  std::uint64_t resolve_;
  Path root_;
  Path path_{}, start_{};
  std::deque<std::string> pending_{};
  unsigned links_ = 0;
  std::string last_name_{};
  Last last_ = Last::root;
};

bool ends_with_slash(const std::string& text) { return !text.empty() && text.back() == '/'; }

long finish_to_parent(Walker& walker, bool trailing_slash, Parent& parent) {
  parent.directory = walker.path();
  parent.name = walker.last_name();
  parent.last = walker.last();
  parent.trailing_slash = trailing_slash;
  parent.links = walker.links();
  parent.scope = walker.root();
  return 0;
}

}  // namespace

bool readable(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  return address >= 4096 && address < (std::uintptr_t{1} << 47U);
}

long copy_path(World& world, const char* path, std::string& text) {
  if (!readable(path)) return world.refuse(EFAULT, "argument.bad-pointer");
  const std::size_t length = ::strnlen(path, path_max);
  if (length >= path_max) return world.refuse(ENAMETOOLONG, "path.too-long");
  text.assign(path, length);
  return 0;
}

long find_file(Task& task, int fd, std::shared_ptr<OpenFile>& file) {
  const auto found = task.fds.find(fd);
  if (found == task.fds.end()) return task.world->refuse(EBADF, "descriptor.not-open");
  file = found->second.file;
  return 0;
}

long look_up(Task& task, const Path& directory, std::string_view name, std::uint64_t resolve, Path& found) {
  World& world = *task.world;
  found = {};
  if (name.size() > name_max) return world.refuse(ENAMETOOLONG, "path.component-too-long");
  long error = 0;
  Dentry* child = lookup_child(task, directory.dentry, name, error);
  if (error != 0) return error;
  if (child == nullptr) return 0;
  const Path plain{directory.mount, child};
  found = topmost(world, plain);
  if ((resolve & abi::resolve_no_xdev) != 0 && found.mount != plain.mount) return world.refuse(EXDEV, "walk.no-xdev");
  return 0;
}

bool is_magic_link(const Dentry* dentry) {
  switch (dentry->inode->proc) {
    case ProcEntry::fd_link:
    case ProcEntry::ns_link:
    case ProcEntry::root_link:
    case ProcEntry::cwd_link:
    case ProcEntry::exe_link: return true;
    default: return false;
  }
}

long walk(Task& task, int dirfd, const char* path, const WalkOptions& options, Path& result) {
  World& world = *task.world;
  std::string text;
  if (path == nullptr && options.empty) {
    // Since 6.11 a null path with AT_EMPTY_PATH is "" for statx and its kin; the calls here still read the pointer.
    return world.refuse(EFAULT, "argument.bad-pointer");
  }
  if (const long error = copy_path(world, path, text); error != 0) return error;
  if (text.empty() && !options.empty) return world.refuse(ENOENT, "path.empty");
  Walker walker(task, options.resolve);
  if (const long error = walker.start(dirfd, text); error != 0) return error;
  const bool slash = ends_with_slash(text);
  if (const long error = walker.run(options.follow || slash, false); error != 0) return error;
  if ((slash || options.directory) && !is_directory(walker.path().dentry)) {
    return world.refuse(ENOTDIR, "walk.not-a-directory");
  }
  result = walker.path();
  if (!options.keep_expiry) result.mount->expiring = false;
  return 0;
}

long walk_to_parent(Task& task, int dirfd, const char* path, std::uint64_t resolve, Parent& parent) {
  World& world = *task.world;
  std::string text;
  if (const long error = copy_path(world, path, text); error != 0) return error;
  if (text.empty()) return world.refuse(ENOENT, "path.empty");
  Walker walker(task, resolve);
  if (const long error = walker.start(dirfd, text); error != 0) return error;
  if (const long error = walker.run(false, true); error != 0) return error;
  walker.path().mount->expiring = false;
  return finish_to_parent(walker, ends_with_slash(text), parent);
}

long follow_to_parent(Task& task, const Path& link, std::uint64_t resolve, Parent& parent) {
  Walker walker(task, resolve);
  const Path root = parent.scope;
  walker.start_at(parent.directory, root, parent.links);
  if (is_magic_link(link.dentry)) {
    if (const long error = walker.follow_link(link); error != 0) return error;
    parent.directory = walker.path();
    parent.last = Last::root;
    parent.links = walker.links();
    return 0;
  }
  const std::string text = link_text(task, link.dentry);
  if (const long error = walker.follow_link(link); error != 0) return error;
  const bool slash = ends_with_slash(text);
  if (const long error = walker.run(false, true); error != 0) return error;
  return finish_to_parent(walker, parent.trailing_slash || slash, parent);
}

}  // namespace rootprep::testing::model
