// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "plan/host_path.hpp"
#include "rootprep/execution.hpp"
#include "rootprep/pipeline.hpp"

// The walk by components (kernels without openat2) against openat2(RESOLVE_IN_ROOT) itself.

using namespace rootprep;
namespace fs = std::filesystem;

namespace {

constexpr int kept_descriptor = 200;

// Opens a path inside a root and leaves the descriptor open as number 200.
struct OpenAndKeep {
  std::string root{};
  std::string path{};
  InRootOptions options{};
  void lower(PlanBuilder& b) const {
    b.set_root(b.openat(Fd::cwd(), root, abi::o_path | abi::o_directory | abi::o_cloexec), root);
    Fd found = b.open_in_root(path, options);
    b.syscall(SYS_fcntl, {found, F_DUPFD_CLOEXEC, kept_descriptor});  // not in the table: nobody closes its result
  }
  std::string describe() const { return "open " + path; }
};

struct Answer {
  int error = 0;
  dev_t device = 0;
  ino_t inode = 0;
  std::string where{};
  bool operator==(const Answer& other) const {
    return (error != 0) == (other.error != 0) && device == other.device && inode == other.inode;
  }
};

Answer look_at(int fd) {
  Answer answer;
  struct stat status {};
  if (::fstat(fd, &status) != 0) {
    answer.error = errno;
    return answer;
  }
  answer.device = status.st_dev;
  answer.inode = status.st_ino;
  std::error_code ignored;
  answer.where = fs::read_symlink("/proc/self/fd/" + std::to_string(fd), ignored).string();
  return answer;
}

Answer by_walk(const std::string& root, const std::string& path, InRootOptions options) {
  const result<Plan> plan = Pipeline{OpenAndKeep{root, path, options}}.compile({.features = KernelFeatures::none()});
  if (!plan.has_value()) throw std::system_error(make_error_code(plan.assume_error()), "compile");
  Execution execution{plan.assume_value()};
  const Report& report = execution.run();
  Answer answer;
  if (report.error.domain != Domain::none) {
    answer.error = report.error.domain == Domain::kernel ? report.error.code : 1000 + report.error.code;
    return answer;
  }
  answer = look_at(kept_descriptor);
  ::close(kept_descriptor);
  return answer;
}

Answer by_openat2(const std::string& root, const std::string& path, std::uint64_t flags) {
  const int directory = ::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  const abi::open_how how{flags, 0, abi::resolve_in_root | abi::resolve_no_magiclinks};
  long fd = -1;
  do {  // EAGAIN: somebody anywhere on the machine renames or mounts while ".." is walked (openat2(2))
    fd = ::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how);
  } while (fd < 0 && errno == EAGAIN);
  Answer answer;
  if (fd < 0) {
    answer.error = errno;
  } else {
    answer = look_at(static_cast<int>(fd));
    ::close(static_cast<int>(fd));
  }
  ::close(directory);
  return answer;
}

bool has_openat2() {
  const bool has = KernelFeatures::probe().openat2;
  if (!has) std::cerr << "SKIPPED: no openat2 here to compare with" << std::endl;
  return has;
}

class Tree {
 public:
  Tree() {
    std::string name = fs::exists("/dev/shm") ? "/dev/shm/rootprep-walk-XXXXXX" : "/tmp/rootprep-walk-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), name);
    top_ = name;
    fs::create_directories(root());
    fs::create_directories(outside());
  }
  ~Tree() {
    std::error_code ignored;
    fs::remove_all(top_, ignored);
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  std::string root() const { return top_ + "/root"; }
  std::string outside() const { return top_ + "/outside"; }

 private:
  std::string top_;
};

using Random = std::minstd_rand;
std::size_t pick(Random& random, std::size_t n) { return std::uniform_int_distribution<std::size_t>{0, n - 1}(random); }

std::string random_path(Random& random, const Tree& tree) {
  static const std::vector<std::string> names{"a", "b", "c", "d", "..", ".", "a", "b", "e"};
  std::string path = pick(random, 4) == 0 ? "/" : "";
  const std::size_t length = 1 + pick(random, 5);
  for (std::size_t i = 0; i < length; ++i) path += (i == 0 ? "" : pick(random, 8) == 0 ? "//" : "/") + names[pick(random, names.size())];
  if (pick(random, 6) == 0) path += '/';
  if (pick(random, 40) == 0) path = tree.outside() + '/' + path;
  return path;
}

void grow(Random& random, const Tree& tree) {
  std::vector<std::string> directories{tree.root()};
  for (int i = 0; i < 40; ++i) {
    static const std::vector<std::string> names{"a", "b", "c", "d"};
    const std::string place = directories[pick(random, directories.size())] + '/' + names[pick(random, names.size())];
    switch (pick(random, 5)) {
      case 0:
      case 1:
        if (::mkdir(place.c_str(), 0755) == 0) directories.push_back(place);
        break;
      case 2: {
        const int fd = ::open(place.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd >= 0) ::close(fd);
        break;
      }
      default: (void)::symlink(random_path(random, tree).c_str(), place.c_str());
    }
  }
}

}  // namespace

TEST_CASE("open_in_root: the walk and openat2 give the same answer for a table of paths") {
  if (!has_openat2()) return;
  Tree tree;
  const std::string root = tree.root();
  fs::create_directories(root + "/dir/sub");
  fs::create_directories(root + '/' + std::string(255, 'n'));
  REQUIRE(::mkfifo((root + "/fifo").c_str(), 0644) == 0);
  REQUIRE(::close(::open((root + "/file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) == 0);
  const std::vector<std::pair<std::string, std::string>> links{{"abs", "/dir"},
                                                               {"rel", "dir/sub"},
                                                               {"climb", "../../../.."},
                                                               {"climb-in", "../../dir"},
                                                               {"dangling", "nowhere"},
                                                               {"self", "self"},
                                                               {"ping", "pong"},
                                                               {"pong", "ping"},
                                                               {"to-file", "file"},
                                                               {"file-slash", "file/"},
                                                               {"dir-slash", "dir/"},
                                                               {"dir-dot", "dir/."},
                                                               {"dir/up", ".."},
                                                               {"dir/upup", "../.."},
                                                               {"outside", tree.outside()},
                                                               {"root", "/"},
                                                               {"dots", "./././dir/../dir"},
                                                               {"file-dot", "file/."},
                                                               {"file-up", "file/.."},
                                                               {"dangling-slash", "nowhere/"},
                                                               {"long", std::string(200, '/') + "dir"},
                                                               {"to-link", "abs"},
                                                               {"up-abs", "dir/../abs/sub"}};
  for (const auto& [name, target] : links) REQUIRE(::symlink(target.c_str(), (root + '/' + name).c_str()) == 0);
  for (int i = 0; i < 45; ++i)
    REQUIRE(::symlink(i == 0 ? "dir" : ("chain" + std::to_string(i - 1)).c_str(), (root + "/chain" + std::to_string(i)).c_str()) == 0);

  std::vector<std::string> paths{".",
                                 "..",
                                 "/",
                                 "dir",
                                 "dir/sub",
                                 "dir/../dir/sub/..",
                                 "file",
                                 "file/x",
                                 "fifo",
                                 "none",
                                 "none/x",
                                 std::string(255, 'n'),
                                 std::string(256, 'n'),
                                 "dir/sub/../../../../dir",
                                 "chain38",
                                 "chain39",
                                 "chain40",
                                 "chain44",
                                 "chain20/../chain18",
                                 std::string(4000, '/') + "dir"};
  for (const auto& [name, target] : links) {
    for (const char* tail : {"", "/.", "/..", "/sub", "/x", "/../dir"}) paths.push_back(name + tail);
  }
  std::size_t found = 0;
  for (const std::uint64_t flags : {abi::o_path, abi::o_path | abi::o_nofollow, abi::o_path | abi::o_directory}) {
    for (const std::string& path : paths) {
      const Answer kernel = by_openat2(root, host_path::relative_to_root(path), flags | abi::o_cloexec);
      const Answer walk = by_walk(root, path, {.flags = flags | abi::o_cloexec});
      INFO(path.substr(0, 80) << ", flags " << flags << ": openat2 " << kernel.error << ' ' << kernel.where << ", walk " << walk.error
                              << ' ' << walk.where);
      CHECK(walk == kernel);
      if (kernel.error != 0 && path.size() < 1000) CHECK(walk.error == kernel.error);
      found += kernel.error == 0 ? 1 : 0;
    }
  }
  CHECK(found > 100);
}

TEST_CASE("open_in_root: the walk and openat2 give the same answer in random trees") {
  if (!has_openat2()) return;
  Random random{12345};
  std::size_t found = 0;
  std::size_t compared = 0;
  for (int round = 0; round < 100; ++round) {
    Tree tree;
    grow(random, tree);
    for (int i = 0; i < 100; ++i) {
      const std::string path = random_path(random, tree);
      const std::uint64_t flags =
          abi::o_path | abi::o_cloexec | (pick(random, 3) == 0 ? abi::o_nofollow : 0) | (pick(random, 3) == 0 ? abi::o_directory : 0);
      const std::string given = host_path::relative_to_root(path);  // as the builder does; links in the tree keep their spelling
      const Answer kernel = by_openat2(tree.root(), given, flags);
      const Answer walk = by_walk(tree.root(), path, {.flags = flags});
      compared += 1;
      found += kernel.error == 0 ? 1 : 0;
      if (walk == kernel && walk.error == kernel.error) continue;
      INFO("round " << round << ", " << path << ", flags " << flags << ": openat2 " << kernel.error << ' ' << kernel.where << ", walk "
                    << walk.error << ' ' << walk.where);
      CHECK(walk == kernel);
      CHECK(walk.error == kernel.error);
    }
  }
  CHECK(compared == 10000);
  CHECK(found > 1000);
}

TEST_CASE("open_in_root: what is created lies inside the root, whatever the tree is") {
  Random random{54321};
  std::size_t created = 0;
  for (int round = 0; round < 100; ++round) {
    Tree tree;
    grow(random, tree);
    for (int i = 0; i < 20; ++i) {
      const std::string path = random_path(random, tree);
      const Create kind = pick(random, 2) == 0 ? Create::directory : Create::file;
      const Answer answer = by_walk(tree.root(), path, {.create = kind, .mode = 0711});
      INFO("round " << round << ", " << path << ": " << answer.error << ' ' << answer.where);
      if (answer.error == 0) {
        CHECK((answer.where == tree.root() || answer.where.starts_with(tree.root() + '/')));
        created += 1;
      } else {
        CHECK((answer.error == ENOTDIR || answer.error == ELOOP || answer.error == ENOENT || answer.error == EISDIR));
      }
      CHECK(fs::is_empty(tree.outside()));
    }
  }
  CHECK(created > 500);
}

TEST_CASE("open_in_root: a missing path is created with mode and parents as asked, a link in its end is followed inside the root") {
  Tree tree;
  const std::string root = tree.root();
  REQUIRE(::symlink("/made/by/link", (root + "/link").c_str()) == 0);
  REQUIRE(::symlink((tree.outside() + "/x").c_str(), (root + "/out").c_str()) == 0);
  const mode_t mask = ::umask(077);
  CHECK(by_walk(root, "/a/b/../c/d", {.create = Create::directory, .mode = 01700}).where == root + "/a/c/d");
  CHECK(by_walk(root, "link", {.create = Create::file, .mode = 0640}).where == root + "/made/by/link");
  CHECK(by_walk(root, "out", {.create = Create::directory}).where == root + tree.outside() + "/x");
  ::umask(mask);
  const auto mode = [&](const char* name) {
    struct stat status {};
    REQUIRE(::lstat((root + name).c_str(), &status) == 0);
    return status.st_mode;
  };
  CHECK(mode("/a") == (S_IFDIR | 0755));
  CHECK(mode("/a/c/d") == (S_IFDIR | 01700));
  CHECK(mode("/made/by") == (S_IFDIR | 0755));
  CHECK(mode("/made/by/link") == (S_IFREG | 0640));
  CHECK(fs::is_empty(tree.outside()));
}
