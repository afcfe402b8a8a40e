// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "launch/id_maps.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string_view>

#include "launch/descriptor.hpp"
#include "try.hpp"

namespace rootprep {
namespace {

bool is_own_id(const std::vector<IdMap>& maps, std::uint32_t own) noexcept {
  return maps.size() == 1 && maps[0].count == 1 && maps[0].outside == own;
}

result<void> write_file(std::int32_t pid, std::string_view name, std::string_view content) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + std::string{name};
  const Descriptor file{static_cast<int>(parent_call(SYS_openat, AT_FDCWD, path.c_str(), O_WRONLY | O_CLOEXEC))};
  if (file.get() < 0) return failed_call(SYS_openat, file.get());
  // One write(2) or none: user_namespaces(7).
  const long written = parent_call(SYS_write, file.get(), content.data(), content.size());
  if (written < 0) return failed_call(SYS_write, written);
  return outcome::success();
}

result<void> write_map(std::int32_t pid, std::string_view name, const std::vector<IdMap>& maps) {
  std::string text;
  for (const IdMap& map : maps)
    text += std::to_string(map.inside) + ' ' + std::to_string(map.outside) + ' ' + std::to_string(map.count) + '\n';
  return write_file(pid, name, text);
}

result<void> run_helper(const char* program, std::int32_t pid, const std::vector<IdMap>& maps, std::string& message) {
  std::vector<std::string> words{program, std::to_string(pid)};
  for (const IdMap& map : maps) {
    for (const std::uint32_t number : {map.inside, map.outside, map.count}) words.push_back(std::to_string(number));
  }
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& one : words) argv.push_back(one.data());
  argv.push_back(nullptr);

  int ends[2] = {-1, -1};
  if (const long made = parent_call(SYS_pipe2, ends, O_CLOEXEC); made < 0) return failed_call(SYS_pipe2, made);
  const Descriptor reader{ends[0]};
  Descriptor writer{ends[1]};

  // The helper is not ours: it gets the signals of a fresh program, whatever this thread blocks.
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  if (const int error = posix_spawnattr_init(&attributes); error != 0) return Error::from_errno(error);
  if (const int error = posix_spawn_file_actions_init(&actions); error != 0) {
    posix_spawnattr_destroy(&attributes);
    return Error::from_errno(error);
  }
  pid_t helper = 0;
  int error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  if (error == 0) error = posix_spawnattr_setsigmask(&attributes, &none);
  if (error == 0) error = posix_spawnattr_setsigdefault(&attributes, &all);
  if (error == 0) error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, writer.get(), 1);
  if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, writer.get(), 2);
  if (error == 0) error = posix_spawnp(&helper, program, &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  writer.reset(-1);
  if (error != 0) {
    message = std::string{program} + " could not be executed";
    return Error::from_errno(error, SYS_execve);
  }

  char buffer[512];
  while (true) {
    const long got = parent_call(SYS_read, reader.get(), buffer, sizeof buffer);
    if (got == -EINTR) continue;
    if (got <= 0) break;
    if (message.size() < 2048) message.append(buffer, static_cast<std::size_t>(got));
  }
  while (!message.empty() && message.back() == '\n') message.pop_back();
  int status = 0;
  long waited = -EINTR;
  while (waited == -EINTR) waited = parent_call(SYS_wait4, helper, &status, 0, nullptr);
  if (waited == -ECHILD)
    return outcome::success();  // reaped by somebody else (SIGCHLD ignored): the child will tell whether its ids are there
  if (waited < 0) return failed_call(SYS_wait4, waited);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return Error::from_errno(EPERM);
  message.clear();
  return outcome::success();
}

}  // namespace

Caller Caller::current() noexcept {
  Caller caller;
  caller.uid = static_cast<std::uint32_t>(parent_call(SYS_geteuid));
  caller.gid = static_cast<std::uint32_t>(parent_call(SYS_getegid));
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (parent_call(SYS_capget, &header, data) >= 0) {  // it cannot fail for the calling thread; and no capability is the careful answer
    caller.cap_setuid = (data[0].effective & (1U << CAP_SETUID)) != 0;
    caller.cap_setgid = (data[0].effective & (1U << CAP_SETGID)) != 0;
  }
  return caller;
}

IdMaps IdMaps::from(const LaunchOptions& options, const Caller& caller) {
  IdMaps maps;
  maps.uids = options.uid_maps;
  maps.gids = options.gid_maps;
  if (maps.uids.empty()) maps.uids.push_back({.inside = 0, .outside = caller.uid, .count = 1});
  if (maps.gids.empty()) maps.gids.push_back({.inside = 0, .outside = caller.gid, .count = 1});
  maps.uid_helper = !caller.cap_setuid && !is_own_id(maps.uids, caller.uid);
  maps.gid_helper = !caller.cap_setgid && !is_own_id(maps.gids, caller.gid);
  maps.deny_setgroups = options.deny_setgroups || (!caller.cap_setgid && !maps.gid_helper);
  return maps;
}

std::optional<std::uint32_t> IdMaps::outside(const std::vector<IdMap>& maps, std::uint32_t inside) noexcept {
  for (const IdMap& map : maps) {
    if (inside >= map.inside && inside - map.inside < map.count) return map.outside + (inside - map.inside);
  }
  return std::nullopt;
}

result<void> IdMaps::write(std::int32_t pid, std::string& message) const {
  // "deny" comes before the group map: afterwards it is too late (user_namespaces(7), "The /proc/pid/setgroups file").
  if (deny_setgroups) {
    ROOTPREP_TRY(write_file(pid, "setgroups", "deny"));
  }
  if (uid_helper) {
    ROOTPREP_TRY(run_helper("newuidmap", pid, uids, message));
  } else {
    ROOTPREP_TRY(write_map(pid, "uid_map", uids));
  }
  if (gid_helper) return run_helper("newgidmap", pid, gids, message);
  return write_map(pid, "gid_map", gids);
}

}  // namespace rootprep
