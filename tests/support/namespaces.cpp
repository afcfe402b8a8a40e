// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "support/namespaces.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <system_error>

namespace support {
namespace {

namespace fs = std::filesystem;

constexpr uid_t ordinary_user = 1000;

[[noreturn]] void throw_errno(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }
void must(long result, const std::string& what) {
  if (result < 0) throw_errno(what);
}

std::string read_all(int fd) {
  std::string text;
  char buffer[65536];
  while (true) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

void write_file(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  must(fd, path);
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  if (!written) throw_errno(path);
}

void become_ordinary_user() {
  if (::geteuid() != 0) return;
  must(::setgroups(0, nullptr), "setgroups");
  must(::setresgid(ordinary_user, ordinary_user, ordinary_user), "setresgid");
  must(::setresuid(ordinary_user, ordinary_user, ordinary_user), "setresuid");
  must(::prctl(PR_SET_DUMPABLE, 1), "prctl");  // else /proc/self/uid_map belongs to root
}

// Returns in the process that is in all the namespaces; its parent, if there is one between, has gone.
void enter_user_namespace() {
  become_ordinary_user();
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  must(::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNET), "unshare");
  write_file("/proc/self/setgroups", "deny");
  write_file("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1\n");
  write_file("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1\n");
}

// The second fork of a new pid namespace; its status is passed on.
void become_first_process() {
  const pid_t child = ::fork();
  must(child, "fork");
  if (child == 0) return;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

std::string run_child(const std::function<void()>& separate, const std::function<void(Inside&)>& body) {
  int ends[2];
  must(::pipe2(ends, O_CLOEXEC), "pipe2");
  const pid_t child = ::fork();
  must(child, "fork");
  if (child == 0) {
    ::close(ends[0]);
    std::string failures;
    try {
      separate();
      Inside inside;
      try {
        body(inside);
      } catch (const std::exception& e) {
        inside.fail(std::string{"exception: "} + e.what());
      }
      failures = inside.failures();
      if (inside.expectations() == 0 && failures.empty()) failures = "the child expected nothing: this test cannot fail\n";
    } catch (const std::exception& e) {
      failures = std::string{"exception: "} + e.what() + '\n';
    }
    write_all(ends[1], failures);
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string failures = read_all(ends[0]);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    failures += "the child did not end by itself: status " + std::to_string(status) + '\n';
  return failures;
}

bool can_use_user_namespaces() {
  static const bool can = run_child([] { enter_user_namespace(); }, [](Inside& inside) { EXPECT(inside, true); }).empty();
  return can;
}

std::string host_mounts() {
  std::ifstream file{"/proc/self/mountinfo"};
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>(std::stoi(std::string{text.substr(i + 1, 3)}, nullptr, 8));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Once a process.
void not_tried(const std::string& what) {
  static std::set<std::string> said;
  if (said.insert(what).second) std::cerr << "not tried: " << what << std::endl;
}

std::string errno_words() { return std::strerror(errno); }

}  // namespace

const char* name_of(Mode mode) { return mode == Mode::root ? "root" : "rootless"; }

void skip(const std::string& reason) { std::cerr << "SKIPPED: " << reason << std::endl; }

std::vector<Mode> modes() {
  std::vector<Mode> usable;
  if (::geteuid() == 0) {
    usable.push_back(Mode::root);
  } else {
    not_tried("tests as root: run as root for them");
  }
  if (can_use_user_namespaces()) {
    usable.push_back(Mode::rootless);
  } else {
    not_tried("tests in a user namespace: this machine does not allow user namespaces");
  }
  return usable;
}

std::vector<Variant> variants(Mode mode) {
  if (const std::vector<Mode> usable = modes(); std::find(usable.begin(), usable.end(), mode) == usable.end()) {
    skip(std::string{"tests as "} + name_of(mode));
    return {};
  }
  using rootprep::KernelFeatures;
  const KernelFeatures& here = KernelFeatures::probe();
  std::vector<Variant> all;
  const auto add = [&](const char* kernel, const KernelFeatures& features, bool usable) {
    if (usable) {
      all.push_back({mode, kernel, features});
    } else {
      not_tried(std::string{"features of Linux "} + kernel + ": this kernel is older");
    }
  };
  add("6.18", KernelFeatures::linux_6_18(), here.overlay_layers_by_descriptor && here.mount_setattr && here.openat2);
  add("6.1", KernelFeatures::linux_6_1(), here.mount_setattr && here.openat2);
  add("5.4", KernelFeatures::linux_5_4(), here.mount_by_descriptor);
  add("none", KernelFeatures::none(), true);
  return all;
}

std::vector<Variant> variants() {
  std::vector<Variant> all;
  for (const Mode mode : modes()) {
    for (Variant& variant : variants(mode)) all.push_back(std::move(variant));
  }
  if (all.empty()) skip("neither as root nor in a user namespace");
  return all;
}

// --- World ---

World::World(Mode mode) {
  const char* base = std::getenv("TMPDIR");
  std::string name = std::string{base != nullptr ? base : "/tmp"} + "/rootprep-test-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw_errno("mkdtemp " + name);
  path_ = fs::canonical(name).string();
  must(::chmod(path_.c_str(), 0755), "chmod");
  owner_ = mode == Mode::rootless && ::geteuid() == 0 ? ordinary_user : ::geteuid();
  own(path_);
}

World::~World() {
  // Never through a mount that a failed test has left on the host.
  for (const Mount& mount : parse_mountinfo(host_mounts())) {
    if (mount.target == path_ || mount.target.starts_with(path_ + '/')) {
      not_tried("removal of " + path_ + ": " + mount.target + " is a mount");
      return;
    }
  }
  std::error_code ignored;
  for (auto it = fs::recursive_directory_iterator(path_, fs::directory_options::skip_permission_denied, ignored);
       it != fs::recursive_directory_iterator(); it.increment(ignored)) {
    if (ignored) break;
    if (it->is_directory(ignored) && !it->is_symlink(ignored))
      fs::permissions(it->path(), fs::perms::owner_all, fs::perm_options::add, ignored);
  }
  fs::remove_all(path_, ignored);
  if (ignored) not_tried("removal of " + path_ + ": " + ignored.message());
}

void World::own(const std::string& path) const {
  if (::geteuid() == 0 && owner_ != 0) must(::lchown(path.c_str(), owner_, owner_), "lchown " + path);
}

void World::directory(const std::string& name) {
  std::string at = path_;
  std::stringstream names{name};
  for (std::string component; std::getline(names, component, '/');) {
    at += '/' + component;
    if (::mkdir(at.c_str(), 0755) == 0) {
      own(at);
    } else if (errno != EEXIST) {
      throw_errno("mkdir " + at);
    }
  }
}

void World::build(const std::string& below, std::initializer_list<std::string_view> entries) {
  directory(below);
  for (const std::string_view entry : entries) {
    std::string name{entry};
    const auto above = [&] {
      const std::size_t slash = name.rfind('/');
      directory(slash == std::string::npos ? below : below + '/' + name.substr(0, slash));
    };
    if (const std::size_t arrow = name.find(" -> "); arrow != std::string::npos) {
      const std::string target = name.substr(arrow + 4);
      name.resize(arrow);
      above();
      must(::symlink(target.c_str(), ((*this / below) + '/' + name).c_str()), "symlink " + name);
    } else if (const std::size_t equals = name.find('='); equals != std::string::npos) {
      const std::string content = name.substr(equals + 1);
      name.resize(equals);
      above();
      std::ofstream{(*this / below) + '/' + name} << content;
    } else if (name.ends_with('|')) {
      name.pop_back();
      above();
      must(::mkfifo(((*this / below) + '/' + name).c_str(), 0644), "mkfifo " + name);
    } else {
      directory(below + '/' + name.substr(0, name.size() - 1));
      continue;
    }
    own((*this / below) + '/' + name);
  }
}

// --- the child ---

std::vector<Mount> parse_mountinfo(std::string_view text) {
  std::vector<Mount> mounts;
  std::stringstream lines{std::string{text}};
  for (std::string line; std::getline(lines, line);) {
    std::stringstream fields{line};
    Mount mount;
    std::string device;
    std::string options;
    fields >> mount.id >> mount.parent >> device >> mount.root >> mount.target >> options;
    for (std::string field; fields >> field && field != "-";) mount.peers += (mount.peers.empty() ? "" : " ") + field;
    fields >> mount.type >> mount.source >> mount.super_options;
    mount.root = unescaped(mount.root);
    mount.target = unescaped(mount.target);
    std::stringstream single{options};
    for (std::string option; std::getline(single, option, ',');) mount.options.insert(option);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

Inside::Inside() : proc_(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)) { must(proc_, "/proc"); }

bool Inside::expect(bool holds, const std::string& what, const char* file, int line) {
  expectations_ += 1;
  if (!holds) fail(std::string{fs::path{file}.filename()} + ':' + std::to_string(line) + ": not so: " + what);
  return holds;
}

std::vector<Mount> Inside::mounts() const {
  const int fd = ::openat(proc_, "self/mountinfo", O_RDONLY | O_CLOEXEC);  // its root is that of the process now, not when /proc was opened
  must(fd, "mountinfo");
  const std::string text = read_all(fd);
  ::close(fd);
  return parse_mountinfo(text);
}

Mount Inside::mount_at(std::string_view target) const {
  const std::vector<Mount> all = mounts();
  // The topmost: no other mount at the same target has it as its parent.
  for (const Mount& mount : all) {
    if (mount.target != target) continue;
    const bool covered =
        std::any_of(all.begin(), all.end(), [&](const Mount& m) { return m.parent == mount.id && m.target == target && m.id != mount.id; });
    if (!covered) return mount;
  }
  throw std::runtime_error("no mount at " + std::string{target});
}

bool Inside::is_mount(std::string_view target) const {
  const std::vector<Mount> all = mounts();
  return std::any_of(all.begin(), all.end(), [&](const Mount& mount) { return mount.target == target; });
}

rootprep::Plan Inside::compile(const Variant& variant, const rootprep::Pipeline& pipeline) const {
  std::vector<rootprep::Problem> problems;
  rootprep::result<rootprep::Plan> plan =
      pipeline.compile({.features = variant.features, .user_namespace = variant.user_namespace()}, &problems);
  if (plan.has_value()) return std::move(plan).assume_value();
  std::string text = "compile: " + describe(plan.assume_error());
  for (const rootprep::Problem& problem : problems)
    text += "; " + problem.field + " \"" + problem.value + "\": expected " + problem.expected;
  throw std::runtime_error(text);
}

rootprep::Report Inside::attempt(const Variant& variant, const rootprep::Pipeline& pipeline) {
  const rootprep::Plan plan = compile(variant, pipeline);
  return rootprep::Execution{plan}.run();
}

rootprep::Report Inside::prepare(const Variant& variant, const rootprep::Pipeline& pipeline) {
  const rootprep::Plan plan = compile(variant, pipeline);
  rootprep::Execution execution{plan};
  const rootprep::Report& report = execution.run();
  if (report.error.domain != rootprep::Domain::none) {
    throw std::runtime_error("prepare: " + describe(report.error, &plan) + ' ' +
                             std::string{report.kernel_message, report.kernel_message_size});
  }
  return report;
}

namespace {
void enter_namespaces(Mode mode) {
  if (mode == Mode::root) {
    must(::unshare(CLONE_NEWNS | CLONE_NEWIPC), "unshare");
  } else {
    enter_user_namespace();
    become_first_process();
  }
}
}  // namespace

std::string in_namespaces(Mode mode, const std::function<void(Inside&)>& body) {
  return run_child(
      [mode] {
        enter_namespaces(mode);
        // A host that shares its mounts must not see what a test does before the code under test has separated them.
        if (mode == Mode::root) must(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make / private");
      },
      body);
}

std::string in_namespaces_of_sharing_host(Mode mode, const std::function<void(Inside&)>& body) {
  return run_child(
      [] {
        must(::unshare(CLONE_NEWNS), "unshare");
        must(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make / private");
        must(::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr), "make / shared");
      },
      [&](Inside& host) {
        const std::string before = host_mounts();
        if (const std::string failures = run_child([mode] { enter_namespaces(mode); }, body); !failures.empty()) host.fail(failures);
        host.expect(before.find("shared:") != std::string::npos, "the host shares its mounts", __FILE__, __LINE__);
        if (!host.expect(host_mounts() == before, "the host's mounts are as before", __FILE__, __LINE__)) host.fail(host_mounts());
      });
}

std::string in_child(const std::function<void(Inside&)>& body) {
  return run_child([] {}, body);
}

std::string describe(const rootprep::Error& error, const rootprep::Plan* plan) {
  if (error.domain == rootprep::Domain::none) return "success";
  std::string text = rootprep::make_error_code(error).message();
  if (const rootprep::SysCallInfo* info = rootprep::find_syscall(long{error.system_call});
      error.domain == rootprep::Domain::kernel && error.system_call != 0 && info != nullptr) {
    text += " from " + std::string{info->name};
  }
  if (error.operation != rootprep::no_operation) text += ", operation " + std::to_string(error.operation);
  if (plan != nullptr && error.step < plan->steps().size()) text += " of \"" + plan->steps()[error.step].description + '"';
  return text;
}

// --- looking ---

std::string show(const std::string& value) { return '"' + value + '"'; }
std::string show(std::int64_t value) { return std::to_string(value); }

std::string mode_of(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return errno_words();
  char text[8];
  std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(status.st_mode & 07777U));
  return text;
}

std::string type_of(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return errno_words();
  const auto number = [&] { return std::to_string(major(status.st_rdev)) + ':' + std::to_string(minor(status.st_rdev)); };
  switch (status.st_mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "directory";
    case S_IFLNK: return "link -> " + fs::read_symlink(path).string();
    case S_IFCHR: return "char " + number();
    case S_IFBLK: return "block " + number();
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    default: return "unknown";
  }
}

std::string content_of(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return errno_words();
  std::string text = read_all(fd);
  ::close(fd);
  return text;
}

int write_to(const std::string& path, std::string_view content) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return errno;
  const ssize_t put = ::write(fd, content.data(), content.size());
  const int error_number = put < 0 ? errno : 0;
  ::close(fd);
  return error_number;
}

bool writable(const std::string& directory) {
  const std::string probe = directory + "/rootprep-write-probe";
  if (write_to(probe, "") != 0) return false;
  ::unlink(probe.c_str());
  return true;
}

std::string snapshot(const std::string& directory) {
  std::map<std::string, std::string> entries;
  const auto add = [&](const fs::path& path) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) throw_errno("lstat " + path.string());
    std::stringstream text;
    text << path.string() << ' ' << type_of(path) << ' ' << mode_of(path) << ' ' << status.st_uid << ':' << status.st_gid << ' '
         << status.st_nlink << ' ' << status.st_size << ' ' << status.st_mtim.tv_sec << '.' << status.st_mtim.tv_nsec << ' '
         << status.st_ctim.tv_sec << '.' << status.st_ctim.tv_nsec;
    if (S_ISREG(status.st_mode)) text << ' ' << content_of(path);
    entries.emplace(path.string(), text.str());
  };
  add(directory);
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory)) add(entry.path());
  std::string all;
  for (const auto& [path, text] : entries) all += text + '\n';
  return all;
}

std::string open_descriptors() {
  std::set<int> open;
  for (int fd = 0; fd < 1024; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) open.insert(fd);
  }
  std::string text;
  for (const int fd : open) text += std::to_string(fd) + ' ';
  return text;
}

std::string inheritable_descriptors() {
  std::string text;
  for (int fd = 3; fd < 1024; ++fd) {
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0) text += std::to_string(fd) + ' ';
  }
  return text;
}

}  // namespace support
