// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "launch/options_check.hpp"

#include <fcntl.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "launch/descriptor.hpp"
#include "launch/id_maps.hpp"

namespace rootprep {
namespace {

constexpr std::size_t longest_host_name = 64;  // __NEW_UTS_LEN (sethostname(2))
constexpr int last_signal = 64;

std::string octal(std::uint32_t number) {
  std::string digits;
  for (; number != 0; number /= 8) digits.insert(digits.begin(), static_cast<char>('0' + number % 8));
  return "0" + digits;
}

std::string text_of(const IdMap& map) {
  return std::to_string(map.inside) + " " + std::to_string(map.outside) + " " + std::to_string(map.count);
}

class Checker {
 public:
  Checker(const Plan& plan, const LaunchOptions& options, std::vector<Problem>& problems)
      : plan_(plan), options_(options), problems_(problems) {}

  void run() {
    program();
    namespaces();
    ids();
    descriptors();
    rest();
  }

 private:
  void problem(std::string_view field, std::string value, std::string expected) {
    problems_.push_back(
        {Error::from_plan(PlanErrc::bad_option), {}, "LaunchOptions." + std::string{field}, std::move(value), std::move(expected)});
  }
  void without_nul(std::string_view field, const std::string& value) {
    if (value.find('\0') != std::string::npos) problem(field, value, "no NUL byte: the kernel would read only what is before it");
  }
  bool in(Namespace one) const noexcept { return contains(options_.namespaces, one); }

  void program() {
    if (options_.exec.empty()) {
      problem("exec", "", "the program and its arguments, such as sh -c hostname");
    } else if (options_.exec.front().empty() && options_.executable.empty()) {
      problem("exec", "", "the name of the program first");
    }
    for (const std::string& one : options_.exec) without_nul("exec", one);
    without_nul("executable", options_.executable);
    for (const std::string& one : options_.environment) {
      without_nul("environment", one);
      if (one.find('=') == std::string::npos || one.front() == '=') problem("environment", one, "NAME=value");
    }
    without_nul("working_directory", options_.working_directory);
    if (!options_.working_directory.empty() && options_.working_directory.front() != '/') {
      problem("working_directory", options_.working_directory, "an absolute path: it is looked up inside the new root");
    }
  }

  bool plan_mounts() const {
    const auto mounts = [](const Operation& operation) {
      switch (operation.kind) {
        case OperationKind::make_parent_private:
        case OperationKind::hide_host_filesystems:
        case OperationKind::remount_bind: return true;
        case OperationKind::system_call: {
          const SysCallInfo* info = find_syscall(operation.number);
          return info != nullptr && info->leaves == Leaves::mounts;
        }
        default: return false;
      }
    };
    return std::any_of(plan_.operations().begin(), plan_.operations().end(), mounts);
  }

  void namespaces() {
    if (!in(Namespace::mount) && plan_mounts()) {
      problem("namespaces", "without Namespace::mount",
              "Namespace::mount, because the plan mounts: without it the mounts of the calling process would change. "
              "prepare_here() is for a process that already has a mount namespace of its own");
    }
    if (!plan_.operations().empty() && plan_.for_user_namespace() != in(Namespace::user)) {
      if (in(Namespace::user)) {
        problem("namespaces", "with Namespace::user",
                "a plan for a user namespace (CompileOptions::user_namespace = true), or no Namespace::user");
      } else {
        problem("namespaces", "without Namespace::user",
                "Namespace::user, because the plan was compiled with CompileOptions::user_namespace = true");
      }
    }
    for (const auto& [field, value] : {std::pair<std::string_view, const std::string&>{"hostname", options_.hostname},
                                       std::pair<std::string_view, const std::string&>{"domainname", options_.domainname}}) {
      without_nul(field, value);
      if (value.size() > longest_host_name) problem(field, value, "at most 64 bytes: the kernel takes no more");
      if (!value.empty() && !in(Namespace::uts)) {
        problem(field, value, "Namespace::uts in LaunchOptions.namespaces: without it the name of the host would change");
      }
    }
  }

  void map(std::string_view field, const std::vector<IdMap>& maps) {
    for (const IdMap& one : maps) {
      constexpr std::uint64_t ids = 0xFFFF'FFFF;  // (uid_t)-1 is no id
      if (one.count == 0 || std::uint64_t{one.inside} + one.count > ids || std::uint64_t{one.outside} + one.count > ids) {
        problem(field, text_of(one), "a range of at least one id that ends below 4294967295");
      }
    }
    if (!maps.empty() && !in(Namespace::user)) problem(field, text_of(maps.front()), "Namespace::user in LaunchOptions.namespaces");
  }

  void ids() {
    map("uid_maps", options_.uid_maps);
    map("gid_maps", options_.gid_maps);
    if (options_.deny_setgroups && !in(Namespace::user)) problem("deny_setgroups", "true", "Namespace::user in LaunchOptions.namespaces");
    if (!options_.credentials) return;
    const Credentials& wanted = *options_.credentials;
    if (!in(Namespace::user)) return;
    const IdMaps maps = IdMaps::from(options_, Caller::current());
    if (!IdMaps::outside(maps.uids, wanted.uid)) {
      problem("credentials.uid", std::to_string(wanted.uid), "an id of the user namespace: one that LaunchOptions.uid_maps has");
    }
    if (!IdMaps::outside(maps.gids, wanted.gid)) {
      problem("credentials.gid", std::to_string(wanted.gid), "an id of the user namespace: one that LaunchOptions.gid_maps has");
    }
    for (const std::uint32_t group : wanted.groups) {
      if (!IdMaps::outside(maps.gids, group)) {
        problem("credentials.groups", std::to_string(group), "an id of the user namespace: one that LaunchOptions.gid_maps has");
      }
    }
    if (maps.deny_setgroups && !wanted.groups.empty()) {
      problem("credentials.groups", std::to_string(wanted.groups.front()),
              "no supplementary groups, because setgroups(2) is denied in the user namespace: the kernel demands that of a caller "
              "without CAP_SETGID, unless "
              "newgidmap(1) writes a map of ranges from /etc/subgid");
    }
  }

  void descriptors() {
    std::vector<int> targets;
    for (const PassedDescriptor& one : options_.pass_descriptors) {
      if (parent_call(SYS_fcntl, one.fd, F_GETFD) < 0) problem("pass_descriptors", std::to_string(one.fd), "an open descriptor");
      if (one.as < 0)
        problem("pass_descriptors", std::to_string(one.as), "a descriptor number, 0 or more: `as` is the number in the program");
      targets.push_back(one.as);
    }
    std::sort(targets.begin(), targets.end());
    if (const auto twice = std::adjacent_find(targets.begin(), targets.end()); twice != targets.end()) {
      problem("pass_descriptors", std::to_string(*twice), "each number in the program once");
    }
  }

  void rest() {
    if (options_.parent_death_signal < 0 || options_.parent_death_signal > last_signal) {
      problem("parent_death_signal", std::to_string(options_.parent_death_signal), "a signal, 1 to 64, or 0 for none");
    }
    if (options_.umask && (*options_.umask & ~0777U) != 0) problem("umask", octal(*options_.umask), "permission bits, at most 0777");
    if (options_.controlling_terminal && !options_.new_session) {
      problem("controlling_terminal", "true",
              "new_session too: only the leader of a session can take a terminal (ioctl_tty(2), TIOCSCTTY)");
    }
  }

  const Plan& plan_;
  const LaunchOptions& options_;
  std::vector<Problem>& problems_;
};

}  // namespace

void check_options(const Plan& plan, const LaunchOptions& options, std::vector<Problem>& problems) {
  Checker{plan, options, problems}.run();
}

}  // namespace rootprep
