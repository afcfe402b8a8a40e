// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "rootprep/execution.hpp"
#include "rootprep/pipeline.hpp"
#include "rootprep/steps.hpp"

// Tests against the running kernel. A test builds a World (directories that are removed afterwards), runs a function in a forked child
// inside namespaces of its own, and gets back what the child found wrong:
//
//   World world{variant.mode};
//   world.build("root", {"etc/", "bin/sh=#!", "var/run -> /run"});
//   CHECK(in_namespaces(variant.mode, [&](Inside& inside) {
//     inside.prepare(variant, {PrepareRoot{.path = world / "root"}, EnterRoot{}});
//     EXPECT(inside, inside.mounts().size() == 1);
//   }));
namespace support {

enum class Mode : std::uint8_t {
  root,      // the caller's root in mount and ipc namespaces of its own
  rootless,  // an ordinary user, root in a user namespace, with mount, pid, ipc and network namespaces
};
const char* name_of(Mode mode);

// The same test for what a kernel can do and for who asks.
struct Variant {
  Mode mode = Mode::root;
  std::string kernel{};  // "6.18", "6.1", "5.4", "none"
  rootprep::KernelFeatures features{};
  std::string name() const { return std::string{name_of(mode)} + ", features of " + kernel; }
  bool user_namespace() const noexcept { return mode == Mode::rootless; }
};
// Those that can be tried by this user on this kernel. The others are printed; if there is none, as "SKIPPED: ...".
std::vector<Mode> modes();
std::vector<Variant> variants();
std::vector<Variant> variants(Mode mode);

// Prints "SKIPPED: reason", which makes the whole test case count as skipped: for one that has tried nothing.
void skip(const std::string& reason);

// A directory of its own, which belongs to the user that the mode runs as, and is removed afterwards, unless something is mounted below it.
class World {
 public:
  explicit World(Mode mode);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  const std::string& path() const noexcept { return path_; }
  std::string operator/(std::string_view name) const { return path_ + '/' + std::string{name}; }
  // "dir/", "file=content", "link -> target", "fifo|"; missing parents are made.
  void build(const std::string& below, std::initializer_list<std::string_view> entries);
  void directory(const std::string& name);

 private:
  void own(const std::string& path) const;
  std::string path_;
  uid_t owner_ = 0;
};

// One line of /proc/self/mountinfo.
struct Mount {
  int id = 0;
  int parent = 0;
  std::string root{};
  std::string target{};
  std::set<std::string> options{};  // of the mount
  std::string peers{};              // "shared:7 master:3"
  std::string type{};
  std::string source{};
  std::string super_options{};

  bool has(const std::string& option) const { return options.contains(option); }
  bool shared() const { return peers.find("shared:") != std::string::npos; }
  bool slave() const { return peers.find("master:") != std::string::npos; }
  bool unbindable() const { return peers.find("unbindable") != std::string::npos; }
};
std::vector<Mount> parse_mountinfo(std::string_view text);

std::string show(const std::string& value);
std::string show(std::int64_t value);
inline std::string show(const char* value) { return show(std::string{value}); }
inline std::string show(std::string_view value) { return show(std::string{value}); }
inline std::string show(int value) { return show(std::int64_t{value}); }
inline std::string show(unsigned value) { return show(std::int64_t{value}); }
inline std::string show(std::size_t value) { return show(static_cast<std::int64_t>(value)); }
inline std::string show(bool value) { return value ? "true" : "false"; }

// What a test sees in its child.
class Inside {
 public:
  Inside();
  bool expect(bool holds, const std::string& what, const char* file, int line);
  template <class A, class B>
  bool same(const A& a, const B& b, const char* what, const char* file, int line) {
    return a == b ? expect(true, what, file, line) : expect(false, std::string{what} + ": " + show(a) + " and " + show(b), file, line);
  }

  // The mounts that the calling process can reach, also after it has entered another root.
  std::vector<Mount> mounts() const;
  // The topmost at a target; throws if there is none.
  Mount mount_at(std::string_view target) const;
  bool is_mount(std::string_view target) const;

  // Compiles; throws with the problems if that fails.
  rootprep::Plan compile(const Variant& variant, const rootprep::Pipeline& pipeline) const;
  // Compiles and runs. prepare() throws what failed; attempt() returns the report.
  rootprep::Report prepare(const Variant& variant, const rootprep::Pipeline& pipeline);
  rootprep::Report attempt(const Variant& variant, const rootprep::Pipeline& pipeline);

  std::size_t expectations() const noexcept { return expectations_; }
  const std::string& failures() const noexcept { return failures_; }
  void fail(const std::string& text) { failures_ += text + '\n'; }

 private:
  int proc_;
  std::size_t expectations_ = 0;
  std::string failures_{};
};
#define EXPECT(inside, ...) (inside).expect(static_cast<bool>(__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__)
// With the two values when they differ.
#define EXPECT_SAME(inside, a, b) (inside).same((a), (b), #a " == " #b, __FILE__, __LINE__)

// Runs `body` in a child inside new namespaces. "" if it made at least one expectation, all held, and it ended by itself; else what was
// wrong.
std::string in_namespaces(Mode mode, const std::function<void(Inside&)>& body);
// The same with a host around it that shares all its mounts, as systemd does: "" only if its mount table is the same afterwards, too.
std::string in_namespaces_of_sharing_host(Mode mode, const std::function<void(Inside&)>& body);
// A child without namespaces of its own, for a test that makes them itself.
std::string in_child(const std::function<void(Inside&)>& body);

// The error in words, with its operation: for messages of failed tests.
std::string describe(const rootprep::Error& error, const rootprep::Plan* plan = nullptr);

// "0755" of what is at the path (not followed), or the errno in words.
std::string mode_of(const std::string& path);
std::string type_of(
    const std::string& path);  // "directory", "file", "link -> target", "char 1:3", "block 8:0", "fifo", "socket", or the errno in words
std::string content_of(const std::string& path);
int write_to(const std::string& path, std::string_view content);  // 0 or an errno; creates
bool writable(const std::string& directory);                      // can a file be created there?

// Names, types, modes, owners, sizes, times, contents of everything below: equal if nothing was changed.
std::string snapshot(const std::string& directory);
// "0 1 2 5": the open descriptors of this process.
std::string open_descriptors();
// "5: /etc/passwd": descriptors without FD_CLOEXEC above 2.
std::string inheritable_descriptors();

}  // namespace support

// For the result of in_namespaces(): shows what was wrong, not the source text of the whole body.
#define CHECK_NOTHING_WRONG(...)                    \
  do {                                              \
    const std::string what_was_wrong = __VA_ARGS__; \
    INFO(what_was_wrong);                           \
    CHECK(what_was_wrong.empty());                  \
  } while (false)
