// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "session.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "rootprep/testing/rules.hpp"

namespace rootprep::conformance {

std::string state_of(const std::map<std::string, std::string>& mountinfo, bool absolute) {
  std::map<std::string, int> numbers;
  std::string text;
  for (const auto& [ns, info] : mountinfo) text += "namespace " + ns + ":\n" + to_text(table_from(info, absolute, numbers));
  return text;
}

namespace {

bool is_helpers(const Operation& operation) { return !operation.empty() && operation[0].rfind("h:", 0) == 0; }
Operation without_prefix(Operation operation) {
  operation[0].erase(0, 2);
  return operation;
}

// The order of a sequence, whoever the two processes are.
struct Stage {
  std::function<long(const Operation&)> main{}, helper{};
  std::function<std::string()> current{};  // the main process's namespace
  std::function<std::string()> main_mountinfo{};
  std::function<std::string(const std::string&)> mountinfo_of{};  // seen by somebody else
  std::function<void(const std::string&)> entered{};              // the main process made a namespace
  std::function<std::string()> rule{};
};

std::map<std::string, std::string> look(const Stage& stage, const std::vector<std::string>& namespaces) {
  std::map<std::string, std::string> all;
  for (const auto& ns : namespaces) all[ns] = ns == stage.current() ? stage.main_mountinfo() : stage.mountinfo_of(ns);
  return all;
}

Outcome perform(const Stage& stage, const std::vector<Operation>& operations, const RunOptions& options) {
  Outcome outcome;
  std::vector<std::string> namespaces{"0"};
  for (const Operation& operation : operations) {
    const long result = is_helpers(operation) ? stage.helper(without_prefix(operation)) : stage.main(operation);
    outcome.results.push_back(result < 0 ? result : 0);
    outcome.rules.push_back(stage.rule ? stage.rule() : "");
    if (result >= 0 && (operation[0] == "newns" || operation[0] == "newuserns")) {
      namespaces.push_back(operation[1]);
      stage.entered(operation[1]);
    }
    if (options.each) outcome.states.push_back(state_of(look(stage, namespaces), options.absolute));
    if (result < 0 && options.stop_at_failure) break;
    constexpr std::size_t too_much = std::size_t{1} << 20U;  // shared mounts bound into each other: each bind doubles what is there
    if (options.each && outcome.states.back().size() > too_much) break;
  }
  outcome.mountinfo = look(stage, namespaces);
  return outcome;
}

std::vector<long> numbers_of(const std::vector<std::string>& names) {
  std::vector<long> numbers;
  for (const auto& name : names) {
    const SysCallInfo* info = find_syscall(name);
    if (info == nullptr) throw std::runtime_error("no system call \"" + name + "\"");
    numbers.push_back(info->number);
  }
  return numbers;
}

// A kernel that lacks some calls.
class KernelWithout final : public Kernel {
 public:
  KernelWithout(Kernel& inner, const std::vector<long>& without) : inner_(&inner), without_(without) {}
  void continue_as(Kernel& inner) { inner_ = &inner; }
  long call(const SysCall& call) noexcept override {
    return std::find(without_.begin(), without_.end(), call.number) != without_.end() ? -ENOSYS : inner_->call(call);
  }

 private:
  Kernel* inner_;
  const std::vector<long>& without_;
};

class FakeRunner final : public Runner {
 public:
  FakeRunner(const testing::KernelProfile& profile, bool user_namespace, const std::vector<std::string>& without)
      : profile_(profile), user_namespace_(user_namespace), without_(numbers_of(without)) {}

  Outcome run(const std::vector<Operation>& operations, const RunOptions& options) override {
    testing::FakeKernel kernel(profile_);
    kernel.make_directory("/tmp").make_directory("/proc").mount_filesystem("proc", "/proc");
    testing::FakeProcess& first = kernel.clone(abi::clone_newns | (user_namespace_ ? abi::clone_newuser | abi::clone_newpid : 0));
    Outcome outcome;
    if (const long error = prepare_world(first, "/tmp"); error < 0) {
      outcome.trouble = "cannot prepare: " + std::to_string(error) + " " + kernel.last_rule();
      return outcome;
    }
    testing::FakeProcess& second = first.clone();
    testing::FakeProcess* current = &first;
    KernelWithout first_door(first, without_), second_door(second, without_);
    Actor main(first_door), helper(second_door);
    main.start();
    helper.start();
    Stage stage;
    stage.main = [&](const Operation& op) {
      if (op[0] == "new-process") {
        current = &current->clone();
        first_door.continue_as(*current);
        return 0L;
      }
      if (op[0] == "unprivileged") {
        current->set_capabilities(0);
        return 0L;
      }
      return main.run(op);
    };
    stage.helper = [&](const Operation& op) { return helper.run(op); };
    stage.current = [&] { return main.current_namespace(); };
    stage.main_mountinfo = [&] { return main.read_mountinfo(); };
    stage.mountinfo_of = [&](const std::string& ns) {
      if (ns == "0") return helper.read_mountinfo();
      // Through /proc, as on Linux: what covers it, or forbids its links, keeps both from looking.
      testing::FakeProcess& viewer = second.clone();
      helper.continue_as(viewer);
      const std::string text = helper.enter(helper.namespace_descriptor(ns)) < 0 ? "cannot enter\n" : helper.read_mountinfo();
      helper.continue_as(second_door);
      viewer.exit();
      return text;
    };
    stage.entered = [&](const std::string& ns) { helper.register_namespace(ns, current->getpid()); };
    stage.rule = [&] { return kernel.last_rule(); };
    outcome = perform(stage, operations, options);
    const std::string broken = kernel.check_invariants();
    if (!broken.empty()) outcome.trouble = "broken invariant: " + broken;
    for (std::size_t i = 0; i < outcome.results.size(); ++i) {
      // An operation of several calls may have closed a descriptor since, and a call that was taken away has no rule.
      if (outcome.results[i] >= 0 || outcome.results[i] == -ENOSYS || outcome.rules[i].empty()) continue;
      const testing::Rule* rule = testing::find_rule(outcome.rules[i]);
      const auto error = static_cast<int>(-outcome.results[i]);
      if (rule == nullptr || std::find(rule->errors.begin(), rule->errors.end(), error) == rule->errors.end())
        outcome.trouble =
            "operation " + std::to_string(i) + " failed with " + std::to_string(error) + ", which is not of the rule " + outcome.rules[i];
    }
    return outcome;
  }

 private:
  testing::KernelProfile profile_;
  bool user_namespace_;
  std::vector<long> without_;
};

// --- the real kernel ---

bool send_text(int fd, const std::string& text) {
  const std::uint64_t size = text.size();
  std::string message(reinterpret_cast<const char*>(&size), sizeof size);
  message += text;
  for (std::size_t done = 0; done < message.size();) {
    const ssize_t n = ::write(fd, message.data() + done, message.size() - done);
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

bool receive(int fd, char* data, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = ::read(fd, data + done, size - done);
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}
bool receive_text(int fd, std::string& text) {
  std::uint64_t size = 0;
  if (!receive(fd, reinterpret_cast<char*>(&size), sizeof size) || size > (1ULL << 30U)) return false;
  text.resize(size);
  return receive(fd, text.data(), size);
}

std::string ask(int fd, const nlohmann::json& question) {
  std::string answer;
  if (!send_text(fd, question.dump()) || !receive_text(fd, answer)) return "";
  return answer;
}

// The second process: stays in namespace 0, does operations and looks into namespaces for the first.
[[noreturn]] void serve_as_helper(int fd) {
  Actor actor(linux_kernel());
  send_text(fd, std::to_string(actor.start()));  // before the first operation moves anything
  std::string text;
  while (receive_text(fd, text)) {
    const auto question = nlohmann::json::parse(text);
    const std::string kind = question[0];
    if (kind == "run") {
      send_text(fd, std::to_string(actor.run(question[1].get<Operation>())));
    } else if (kind == "register") {
      send_text(fd, std::to_string(actor.register_namespace(question[1], question[2])));
    } else if (question[1] == "0") {
      send_text(fd, actor.read_mountinfo());
    } else {
      int pipe_fds[2] = {-1, -1};
      if (::pipe2(pipe_fds, O_CLOEXEC) != 0) ::_exit(1);
      const pid_t viewer = ::fork();
      if (viewer == 0) {
        const long entered = actor.enter(actor.namespace_descriptor(question[1]));
        send_text(pipe_fds[1], entered < 0 ? "cannot enter\n" : actor.read_mountinfo());
        ::_exit(0);
      }
      ::close(pipe_fds[1]);
      std::string seen;
      receive_text(pipe_fds[0], seen);
      ::close(pipe_fds[0]);
      ::waitpid(viewer, nullptr, 0);
      send_text(fd, seen);
    }
  }
  ::_exit(0);
}

// One sequence, in a process and a mount namespace of its own.
// A child carries on where this process was: it is in the pid namespace that unshare(2) made for children.
long go_on_as_child() {
  const pid_t child = ::fork();
  if (child < 0) return -errno;
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    return 0;
  }
  ::waitpid(child, nullptr, 0);
  ::_exit(0);
}

long drop_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  return ::syscall(SYS_capset, &header, none) == 0 ? 0 : -errno;
}

[[noreturn]] void serve_one(int answer_fd, const std::vector<Operation>& operations, const RunOptions& options) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  nlohmann::json answer;
  // A root of its own too: a sequence may find a way to make it writable.
  const long error = ::unshare(CLONE_NEWNS) != 0 ? -errno : prepare_world(linux_kernel(), "/s");
  if (error < 0) {
    answer["trouble"] = "cannot prepare the world: error " + std::to_string(-error);
    send_text(answer_fd, answer.dump());
    ::_exit(0);
  }
  int sockets[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) ::_exit(1);
  const pid_t helper = ::fork();
  if (helper == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(sockets[0]);
    serve_as_helper(sockets[1]);
  }
  ::close(sockets[1]);
  std::string ready;
  receive_text(sockets[0], ready);
  Actor main(linux_kernel());
  main.start();
  Stage stage;
  stage.main = [&](const Operation& op) -> long {
    if (op[0] == "new-process") return go_on_as_child();
    if (op[0] == "unprivileged") return drop_capabilities();
    return main.run(op);
  };
  stage.helper = [&](const Operation& op) {
    const std::string text = ask(sockets[0], {"run", op});
    return text.empty() ? -EIO : std::stol(text);
  };
  stage.current = [&] { return main.current_namespace(); };
  stage.main_mountinfo = [&] { return main.read_mountinfo(); };
  stage.mountinfo_of = [&](const std::string& ns) { return ask(sockets[0], {"look", ns}); };
  stage.entered = [&](const std::string& ns) { ask(sockets[0], {"register", ns, ::getpid()}); };
  const Outcome outcome = perform(stage, operations, options);
  answer["results"] = outcome.results;
  answer["mountinfo"] = outcome.mountinfo;
  answer["states"] = outcome.states;
  send_text(answer_fd, answer.dump());
  ::close(sockets[0]);
  ::waitpid(helper, nullptr, 0);
  ::_exit(0);
}

// seccomp(2): these calls answer ENOSYS, for this process and all that come from it.
bool remove_calls(const std::vector<long>& numbers) {
  std::vector<sock_filter> filter;
  filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  for (const long number : numbers) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

bool write_file(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool good = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return good;
}

// Whether a mount namespace is older than another is read off their ids, and each processor hands out ids of a batch of its own
// (gen_cookie_next(), include/linux/cookie.h): made on two processors, the younger may count as the older (measured on 6.18).
void stay_on_one_processor() {
  const int here = ::sched_getcpu();
  if (here < 0) return;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<unsigned>(here), &one);
  ::sched_setaffinity(0, sizeof one, &one);
}

// The process that all sequences are forked from: in the small world, with nothing of the host left in its mount table.
[[noreturn]] void serve_sequences(int fd, bool user_namespace, const std::vector<long>& without) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  stay_on_one_processor();
  std::string trouble;
  const auto uid = ::getuid();
  const auto gid = ::getgid();
  const int flags = CLONE_NEWNS | (user_namespace ? CLONE_NEWUSER | CLONE_NEWPID : 0);
  if (::unshare(flags) != 0) trouble = std::string("unshare: ") + std::strerror(errno);
  if (trouble.empty() && user_namespace) {
    write_file("/proc/self/setgroups", "deny");
    if (!write_file("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1\n") ||
        !write_file("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1\n")) {
      trouble = "cannot write the id maps";
    }
    const pid_t inside = ::fork();  // the first process of the pid namespace
    if (inside != 0) {
      ::waitpid(inside, nullptr, 0);
      ::_exit(0);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  }
  if (trouble.empty()) {
    const long error = prepare_world(linux_kernel(), "/tmp");
    if (error < 0) trouble = std::string("cannot prepare the world: ") + std::strerror(static_cast<int>(-error));
  }
  if (trouble.empty() && !without.empty() && !remove_calls(without)) trouble = std::string("seccomp: ") + std::strerror(errno);
  send_text(fd, trouble);
  std::string text;
  while (trouble.empty() && receive_text(fd, text)) {
    const auto question = nlohmann::json::parse(text);
    RunOptions options;
    options.each = question["each"];
    options.absolute = question["absolute"];
    options.stop_at_failure = question["stop"];
    const pid_t child = ::fork();
    if (child == 0) serve_one(fd, question["operations"].get<std::vector<Operation>>(), options);
    ::waitpid(child, nullptr, 0);
  }
  ::_exit(0);
}

class LinuxRunner final : public Runner {
 public:
  LinuxRunner(int fd, pid_t process) : fd_(fd), process_(process) {}
  ~LinuxRunner() override {
    ::close(fd_);
    ::waitpid(process_, nullptr, 0);
  }
  Outcome run(const std::vector<Operation>& operations, const RunOptions& options) override {
    Outcome outcome;
    const std::string text =
        ask(fd_, {{"operations", operations}, {"each", options.each}, {"absolute", options.absolute}, {"stop", options.stop_at_failure}});
    if (text.empty()) {
      outcome.trouble = "the process that runs sequences is gone";
      return outcome;
    }
    const auto answer = nlohmann::json::parse(text);
    if (answer.contains("trouble")) {
      outcome.trouble = answer["trouble"];
      return outcome;
    }
    outcome.results = answer["results"].get<std::vector<long>>();
    outcome.mountinfo = answer["mountinfo"].get<std::map<std::string, std::string>>();
    outcome.states = answer["states"].get<std::vector<std::string>>();
    outcome.rules.resize(outcome.results.size());
    return outcome;
  }

 private:
  int fd_;
  pid_t process_;
};

}  // namespace

std::optional<testing::KernelProfile> profile_named(const std::string& version) {
  int major = 0, minor = 0, end = 0;
  if (std::sscanf(version.c_str(), "%d.%d%n", &major, &minor, &end) != 2 || static_cast<std::size_t>(end) != version.size()) return {};
  testing::KernelProfile profile;
  profile.name = version;
  profile.version = 1000 * major + minor;
  return profile;
}

std::unique_ptr<Runner> fake_runner(const testing::KernelProfile& profile, bool user_namespace, const std::vector<std::string>& without) {
  return std::make_unique<FakeRunner>(profile, user_namespace, without);
}

std::unique_ptr<Runner> linux_runner(bool user_namespace, std::string& reason, const std::vector<std::string>& without) {
  const std::vector<long> numbers = numbers_of(without);
  ::signal(SIGPIPE, SIG_IGN);
  int sockets[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    reason = "socketpair failed";
    return nullptr;
  }
  const pid_t process = ::fork();
  if (process == 0) {
    ::close(sockets[0]);
    serve_sequences(sockets[1], user_namespace, numbers);
  }
  ::close(sockets[1]);
  if (process < 0 || !receive_text(sockets[0], reason)) reason = "the process that runs sequences did not start";
  if (!reason.empty()) {
    ::close(sockets[0]);
    if (process > 0) ::waitpid(process, nullptr, 0);
    return nullptr;
  }
  return std::make_unique<LinuxRunner>(sockets[0], process);
}

}  // namespace rootprep::conformance
