// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "host.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "options.hpp"

namespace rootprep_run {
namespace {

std::string read_file(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// proc(5), mountinfo: space, tab, newline and backslash are written in octal.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool has_option(std::string_view options, std::string_view wanted) {
  while (!options.empty()) {
    const std::string_view option = options.substr(0, options.find(','));
    if (option == wanted) return true;
    options.remove_prefix(std::min(option.size() + 1, options.size()));
  }
  return false;
}

// A mount whose parent directory was mounted over later keeps its line in mountinfo, but its path leads elsewhere.
bool is_reachable(const HostMount& mount, const std::map<std::string, long>& identities) {
  struct ::statx status {};
  if (::statx(AT_FDCWD, mount.path.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_MNT_ID, &status) != 0) return false;
  if ((status.stx_mask & STATX_MNT_ID) == 0) return true;  // before Linux 5.8
  const auto found = identities.find(mount.path);
  return found != identities.end() && static_cast<std::uint64_t>(found->second) == status.stx_mnt_id;
}

struct Line {
  long identity = 0;
  HostMount mount{};
};

std::vector<Line> parse_lines(std::string_view text) {
  std::vector<Line> lines;
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);) {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    std::istringstream fields(line);
    std::string parent, device, root, path, options, field, type, source, super_options;
    Line parsed;
    fields >> parsed.identity >> parent >> device >> root >> path >> options;
    while (fields >> field && field != "-") {
    }
    fields >> type >> source >> super_options;
    if (path.empty() || type.empty()) continue;
    parsed.mount = {unescape(path), type, has_option(options, "ro") || has_option(super_options, "ro"), true};
    lines.push_back(parsed);
  }
  return lines;
}

}  // namespace

std::vector<HostMount> parse_mountinfo(std::string_view text) {
  std::map<std::string, HostMount> by_path;  // later lines win
  for (const Line& line : parse_lines(text)) by_path[line.mount.path] = line.mount;
  std::vector<HostMount> mounts;
  for (auto& [path, mount] : by_path) mounts.push_back(std::move(mount));
  return mounts;
}

std::vector<HostMount> host_mounts() {
  const std::string text = read_file("/proc/self/mountinfo");
  if (text.empty()) throw Complaint("cannot read /proc/self/mountinfo", "mount a proc file system on /proc");
  std::map<std::string, long> identities;
  for (const Line& line : parse_lines(text)) identities[line.mount.path] = line.identity;
  std::vector<HostMount> mounts;
  for (HostMount& mount : parse_mountinfo(text)) {
    if (!is_reachable(mount, identities)) continue;
    struct stat status {};
    mount.directory = ::stat(mount.path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

bool is_at_or_below(std::string_view path, std::string_view directory) noexcept {
  if (directory == "/") return true;
  return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

std::vector<TopLevelEntry> top_level_entries() {
  std::vector<TopLevelEntry> entries;
  std::error_code error;
  for (const std::filesystem::directory_entry& item : std::filesystem::directory_iterator("/", error)) {
    TopLevelEntry entry;
    entry.name = item.path().filename().string();
    if (item.is_symlink(error)) {
      entry.link_target = std::filesystem::read_symlink(item.path(), error).string();
    } else {
      entry.directory = item.is_directory(error);
    }
    entries.push_back(std::move(entry));
  }
  if (error) throw Complaint("cannot list /: " + error.message());
  std::sort(entries.begin(), entries.end(), [](const TopLevelEntry& a, const TopLevelEntry& b) { return a.name < b.name; });
  return entries;
}

bool is_privileged() {
  constexpr unsigned sys_admin = 21;  // <linux/capability.h>
  bool capable = false;
  std::istringstream status(read_file("/proc/self/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("CapEff:")) capable = (std::stoull(line.substr(7), nullptr, 16) >> sys_admin & 1U) != 0;
  }
  // user_namespaces(7): only the initial one maps all 2^32-1 ids. In another one CAP_SYS_ADMIN cannot make device nodes.
  std::istringstream map(read_file("/proc/self/uid_map"));
  std::uint64_t inside = 1, outside = 1, count = 0;
  map >> inside >> outside >> count;
  return capable && inside == 0 && outside == 0 && count == 4294967295ULL;
}

void require_user_namespaces() {
  const pid_t child = ::fork();
  if (child < 0) throw Complaint(std::string{"cannot fork: "} + std::strerror(errno));
  if (child == 0) {
    if (::unshare(CLONE_NEWUSER) != 0) ::_exit(errno);
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) ::_exit(128 + (errno & 127));
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
  if (code == 0) return;
  const std::string as_root = "run it as root, or ";
  if (code >= 128) {
    throw Complaint(
        std::string{"not enough privilege: a user namespace can be made, but nothing can be mounted in it: "} + std::strerror(code - 128),
        as_root + "on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0");
  }
  switch (code) {
    case ENOSPC:
      throw Complaint("not enough privilege: CAP_SYS_ADMIN is missing, and no user namespace can be made (ENOSPC: the limit is reached)",
                      as_root + "raise it: sysctl user.max_user_namespaces=10000");
    case EPERM:
      throw Complaint("not enough privilege: CAP_SYS_ADMIN is missing, and user namespaces are forbidden here (EPERM)",
                      as_root +
                          "allow them: sysctl kernel.unprivileged_userns_clone=1 (Debian), a container: --security-opt seccomp=unconfined; "
                          "in a chroot the kernel never allows them");
    default:
      throw Complaint(
          std::string{"not enough privilege: CAP_SYS_ADMIN is missing, and no user namespace can be made: "} + std::strerror(code),
          as_root + "use a kernel with CONFIG_USER_NS");
  }
}

}  // namespace rootprep_run
