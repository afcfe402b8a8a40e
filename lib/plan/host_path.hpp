// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

// Paths as text, in the parent.
namespace rootprep::host_path {

// "//srv/./a/" -> "/srv/a". Symbolic links and ".." stay as they are. An empty path stays empty.
inline std::string normalized(std::string_view path) {
  std::string out;
  std::size_t at = 0;
  while (at < path.size()) {
    const std::size_t end = path.find('/', at) == std::string_view::npos ? path.size() : path.find('/', at);
    const std::string_view component = path.substr(at, end - at);
    if (!component.empty() && component != ".") {
      if (!out.empty() || path.front() == '/') out += '/';
      out += component;
    }
    at = end + 1;
  }
  if (out.empty() && !path.empty()) out = path.front() == '/' ? "/" : ".";
  return out;
}

// A path inside the new root as openat2() takes it, relative to the root: "/proc/" -> "proc", "/" -> ".".
inline std::string relative_to_root(std::string_view path) {
  std::string out = normalized(path);
  out.erase(0, out.find_first_not_of('/'));
  if (out.empty() || path.empty()) out = ".";
  return out;
}

// Is `path` the directory `top` or something below it? Compares whole components of the texts: "/srv/root2" is not below "/srv/root".
inline bool is_below(std::string_view path, std::string_view top) {
  const std::string p = normalized(path);
  const std::string t = normalized(top);
  if (t == "/") return !p.empty() && p.front() == '/';
  return p.starts_with(t) && (p.size() == t.size() || p[t.size()] == '/');
}

// "/srv/a" -> "/srv"; "/srv" -> "/".
inline std::string parent(std::string_view path) {
  const std::string p = normalized(path);
  const std::size_t slash = p.rfind('/');
  return slash == std::string::npos || slash == 0 ? "/" : p.substr(0, slash);
}

inline bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

inline const char* type_name(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return "regular file";
    case S_IFDIR: return "directory";
    case S_IFLNK: return "symbolic link";
    case S_IFCHR: return "character device";
    case S_IFBLK: return "block device";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    default: return "file of an unknown type";
  }
}

}  // namespace rootprep::host_path
