// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "workspace.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "options.hpp"
#include "rootprep/abi.hpp"

namespace rootprep_run {
namespace {

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

Complaint cannot(const std::string& what, const std::string& path, int error_number) {
  return Complaint(
      "cannot " + what + " " + path + ": " + std::strerror(error_number),
      error_number == EACCES || error_number == EPERM || error_number == EROFS ? "choose a directory of yours: --state DIR" : "");
}

// mkdir -p. Returns whether `path` itself is new.
bool make_directories(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) == 0) return true;
  if (errno == ENOENT && path != "/") {
    make_directories(parent_of(path), 0755);
    if (::mkdir(path.c_str(), mode) == 0) return true;
  }
  if (errno != EEXIST) throw cannot("make", path, errno);
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISDIR(status.st_mode)) throw cannot("use", path, ENOTDIR);
  return false;
}

// rm -r, by descriptor and without following links: the tree was written by a container. Returns false if something stayed.
bool remove_tree(int directory, const char* name) {
  const auto mode_of_directory = [&] {
    struct stat status {};
    return ::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
  };
  if (!mode_of_directory()) return ::unlinkat(directory, name, 0) == 0 || errno == ENOENT;
  if (::unlinkat(directory, name, AT_REMOVEDIR) == 0) return true;  // also overlayfs' own work/work, which has mode 0000
  int fd = ::openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == EACCES && ::fchmodat(directory, name, 0700, 0) == 0) {
    fd = ::openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  }
  if (fd < 0) return false;
  ::fchmod(fd, 0700);  // a directory without write permission cannot be emptied; failure shows below
  bool complete = true;
  if (DIR* stream = ::fdopendir(::dup(fd))) {
    while (const dirent* entry = ::readdir(stream)) {
      const std::string child = entry->d_name;
      if (child != "." && child != "..") complete = remove_tree(fd, child.c_str()) && complete;
    }
    ::closedir(stream);
  }
  ::close(fd);
  return ::unlinkat(directory, name, AT_REMOVEDIR) == 0 && complete;
}

// Opens and locks a directory. -1 with errno: EWOULDBLOCK if somebody else holds it, ENOENT if it was removed meanwhile.
int lock_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  struct stat locked {};
  struct stat present {};
  int error_number = 0;
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    error_number = errno;
  } else if (::fstat(fd, &locked) != 0 || ::stat(path.c_str(), &present) != 0 || locked.st_ino != present.st_ino ||
             locked.st_dev != present.st_dev) {
    error_number = ENOENT;
  }
  if (error_number == 0) return fd;
  ::close(fd);
  errno = error_number;
  return -1;
}

// What killed runs have left: directories that nobody holds the lock of.
void remove_stale(const std::string& directory) {
  DIR* stream = ::opendir(directory.c_str());
  if (stream == nullptr) return;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string name = entry->d_name;
    if (!name.starts_with("box-")) continue;
    const std::string path = directory + "/" + name;
    const int lock = lock_directory(path);
    if (lock < 0) continue;
    ::rmdir(path.c_str());  // always empty: mounts on it are in another mount namespace
    ::close(lock);
  }
  ::closedir(stream);
}

std::string lines_of(const std::vector<std::string>& texts) {
  std::string lines;
  for (const std::string& text : texts) lines += text + '\n';
  return lines;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path);
  file << content << std::flush;
  if (!file) throw cannot("write", path, errno);
}

}  // namespace

Workspace Workspace::named(const std::string& state, const std::string& name, const std::vector<std::string>& images,
                           bool remove_afterwards) {
  Workspace workspace;
  workspace.named_ = true;
  workspace.base_ = state;
  // Nobody else may look into it: the files in a layer keep their set-user-ID bits (CVE-2021-41103).
  for (int attempt = 0; workspace.lock_ < 0; ++attempt) {
    workspace.made_base_ = make_directories(state, 0700) || workspace.made_base_;
    const bool fresh = make_directories(state + "/" + name, 0700);
    workspace.lock_ = lock_directory(state + "/" + name);
    if (workspace.lock_ >= 0) {
      workspace.discard_ = fresh;
    } else if (errno == EWOULDBLOCK) {
      throw Complaint("--name " + name + ": a container of this name is running", "wait until it has ended, or choose another name");
    } else if (errno != ENOENT || attempt == 16) {
      throw cannot("lock", state + "/" + name, errno);
    }
  }
  workspace.path_ = state + "/" + name;
  workspace.remove_ = remove_afterwards;
  const bool killed_before_removal = ::access((workspace.path_ + "/remove").c_str(), F_OK) == 0;
  const std::string image = lines_of(images);
  const std::string recorded = read_file(workspace.path_ + "/image");
  if (killed_before_removal) {
    remove_tree(workspace.lock_, "layers");
    ::unlinkat(workspace.lock_, "remove", 0);
    workspace.discard_ = true;
  } else if (!workspace.discard_ && ::access((workspace.path_ + "/image").c_str(), F_OK) == 0 && recorded != image) {
    throw Complaint("--name " + name + ": made of another image" +
                        (recorded.empty() ? ": a copy of this system" : ":\n" + recorded.substr(0, recorded.size() - 1)),
                    "what it has changed does not fit another one: choose another name, or remove " + workspace.path_);
  }
  write_file(workspace.path_ + "/image", image);
  if (remove_afterwards) write_file(workspace.path_ + "/remove", "");
  make_directories(workspace.path_ + "/root", 0755);
  make_directories(workspace.path_ + "/layers", 0700);
  return workspace;
}

Workspace Workspace::unnamed(const std::string& directory) {
  Workspace workspace;
  workspace.base_ = directory;
  for (int attempt = 0; workspace.lock_ < 0; ++attempt) {
    if (attempt == 16) throw cannot("make a directory in", directory, EAGAIN);
    workspace.made_base_ = make_directories(directory, 0700) || workspace.made_base_;
    struct stat status {};
    if (::lstat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != ::geteuid()) {
      throw Complaint(directory + " is not a directory of yours", "somebody else has made it: remove it");  // in /tmp anybody can
    }
    remove_stale(directory);
    std::string path = directory + "/box-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) {
      if (errno == ENOENT) continue;  // another run was the last one and has removed it
      throw cannot("make a directory in", directory, errno);
    }
    workspace.lock_ = lock_directory(path);
    workspace.path_ = path;
  }
  return workspace;
}

Workspace::Workspace(Workspace&& other) noexcept
    : base_(std::move(other.base_)),
      path_(std::move(other.path_)),
      lock_(std::exchange(other.lock_, -1)),
      named_(other.named_),
      remove_(other.remove_),
      discard_(other.discard_),
      made_base_(other.made_base_) {}

Workspace::~Workspace() {
  if (lock_ < 0) return;
  if (!named_) {
    ::rmdir(path_.c_str());
    ::rmdir(base_.c_str());  // unless others use it
  } else if (discard_) {
    if (!remove_tree(AT_FDCWD, path_.c_str())) std::fprintf(stderr, "rootprep-run: %s could not be removed whole\n", path_.c_str());
    if (made_base_) ::rmdir(base_.c_str());
  } else {
    ::unlinkat(lock_, "remove", 0);
  }
  ::close(lock_);
}

LayerDirectories Workspace::layer(const std::string& layer, const std::string& top) const {
  const std::string directory = path_ + "/layers/" + layer;
  const std::string upper = directory + "/upper";
  make_directories(directory, 0700);
  struct stat status {};
  if (make_directories(upper, 0755) && ::stat(top.c_str(), &status) == 0) {
    if (::chown(upper.c_str(), status.st_uid, status.st_gid) != 0 && errno != EPERM) throw cannot("change the owner of", upper, errno);
    if (::chmod(upper.c_str(), status.st_mode & 07777) != 0) throw cannot("change the mode of", upper, errno);
  }
  make_directories(directory + "/work", 0700);
  return {upper, directory + "/work"};
}

std::string default_state_directory(bool privileged) {
  if (privileged) return "/var/lib/rootprep";
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && state[0] == '/') return std::string{state} + "/rootprep";
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/') return std::string{home} + "/.local/state/rootprep";
  throw Complaint("--name: neither XDG_STATE_HOME nor HOME says where to keep it", "--state DIR");
}

std::string default_run_directory(bool privileged) {
  if (privileged) return "/run/rootprep";
  if (const char* runtime = std::getenv("XDG_RUNTIME_DIR");
      runtime != nullptr && runtime[0] == '/' && ::access(runtime, W_OK | X_OK) == 0) {
    return std::string{runtime} + "/rootprep";
  }
  return "/tmp/rootprep-" + std::to_string(::geteuid());
}

void require_fit_for_upper(const std::string& path) {
  std::string existing = path;
  while (existing != "/" && ::access(existing.c_str(), F_OK) != 0 && errno != EACCES) existing = parent_of(existing);
  struct stat status {};
  struct statfs filesystem {};
  if (::stat(existing.c_str(), &status) != 0) throw cannot("use", path, errno);
  if (!S_ISDIR(status.st_mode)) throw Complaint(existing + " is a file", "a directory is needed: --state DIR");
  if (::access(existing.c_str(), W_OK | X_OK) != 0) throw cannot(existing == path ? "write in" : "make", path, errno);
  if (::statfs(existing.c_str(), &filesystem) == 0 &&
      static_cast<std::uint64_t>(filesystem.f_type) == rootprep::abi::overlayfs_super_magic) {
    throw Complaint(
        "the changes cannot be kept in " + path + ": it lies on overlayfs, which refuses to be the upper layer of another overlay",
        "this is usual inside containers; choose a directory on a volume or a tmpfs: --state DIR");
  }
}

}  // namespace rootprep_run
