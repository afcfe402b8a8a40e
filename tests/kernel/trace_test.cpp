// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "rootprep/print.hpp"
#include "rootprep/testing/fault_kernel.hpp"
#include "support/namespaces.hpp"

// What the printed plan says is what happens: strace is the witness. And what happens when one of those calls fails, on the real kernel.

using namespace rootprep;
using namespace support;

namespace {

Pipeline rich(const std::string& world) {
  return {PrepareRoot{.path = world + "/root"},
          OverlayMount{.lower = {world + "/a", world + "/b"}, .ephemeral = EphemeralUpper{.size = 1 << 20}},
          MountSpec::proc(),
          MountSpec::sysfs(),
          DeviceSetup{},
          MountSpec::tmpfs("/tmp", {.size = 1 << 20, .mode = 01777}),
          MountSpec::bind(world + "/src", "/data").with({.ro = Setting::set, .nosuid = Setting::set}),
          MountSpec::bind(world + "/missing", "/missing").optional_source(),
          WriteFile{.path = "/etc/hostname", .content = "box\n"},
          MakeSymlink{.target = "/proc/mounts", .path = "/etc/mtab"},
          MakeDirectory{.path = "/new"},
          EnterRoot{},
          RemountReadonly{}};
}

void build_rich(World& world) {
  world.build("root", {});
  world.build("a", {"etc/", "proc/", "sys/", "dev/"});
  world.build("b", {"tmp/", "data/"});
  world.build("src", {"file=content"});
}

struct Line {
  std::string call{};    // "openat(3, "x", O_PATH) "
  std::string result{};  // "= 4", a name in a plan
};

// A line of the plan: without its number and without what follows the call.
std::optional<Line> plan_line(const std::string& text) {
  static const std::regex numbered{R"(^ +\d+  (\w+\(.*?\))(?: = (\w+))?(?: \[.*\])*$)"};
  std::smatch match;
  if (!std::regex_match(text, match, numbered)) return std::nullopt;
  return Line{match[1], match[2]};
}

std::optional<Line> strace_line(const std::string& text) {
  static const std::regex traced{R"(^\d+ +(\w+\(.*\)) += (\S+)(?: .*)?$)"};
  std::smatch match;
  if (!std::regex_match(text, match, traced)) return std::nullopt;
  static const std::regex comment{R"( /\* [^*]* \*/)"};  // strace wonders about a propagation of 0
  return Line{std::regex_replace(match[1].str(), comment, ""), match[2]};
}

// Flags in the order of the alphabet: strace and the plan may list them in different ones.
std::string canonical(std::string call) {
  static const std::regex flags{R"([A-Z0-9_]+(\|[A-Z0-9_]+)+)"};
  std::string out;
  std::smatch match;
  std::string rest = call;
  while (std::regex_search(rest, match, flags)) {
    std::vector<std::string> names;
    std::stringstream list{match.str()};
    for (std::string name; std::getline(list, name, '|');) names.push_back(name);
    std::sort(names.begin(), names.end());
    out += match.prefix();
    for (std::size_t i = 0; i < names.size(); ++i) out += (i == 0 ? "" : "|") + names[i];
    rest = match.suffix();
  }
  return out + rest;
}

std::string with_numbers(const std::string& call, const std::map<std::string, std::string>& numbers) {
  static const std::regex word{R"("(?:[^"\\]|\\.)*"|\w+)"};
  std::string out;
  auto at = call.cbegin();
  for (std::sregex_iterator it{call.begin(), call.end(), word}, end; it != end; ++it) {
    out.append(at, call.cbegin() + it->position());
    const auto known = numbers.find(it->str());
    out += known != numbers.end() ? known->second : it->str();
    at = call.cbegin() + it->position() + it->length();
  }
  out.append(at, call.cend());
  static const std::regex hole{R"(/proc/self/fd/\{(\w+)\})"};
  std::smatch match;
  while (std::regex_search(out, match, hole)) {
    const auto known = numbers.find(match[1]);
    out = match.prefix().str() + "/proc/self/fd/" + (known != numbers.end() ? known->second : "?") + match.suffix().str();
  }
  return out;
}

// Is `traced` the expected call? The number of a descriptor that a composite has opened is known only from its first use.
bool matches(const std::string& expected, const std::string& traced, const std::string& unknown,
             std::map<std::string, std::string>& numbers) {
  if (unknown.empty() || expected.find(unknown) == std::string::npos) return expected == traced;
  static const std::regex special{R"([.^$|()\[\]{}*+?\\])"};
  const std::string pattern =
      std::regex_replace(std::regex_replace(expected, special, "\\$&"), std::regex{"\\b" + unknown + "\\b"}, "(\\d+)");
  std::smatch match;
  if (!std::regex_match(traced, match, std::regex{pattern})) return false;
  numbers[unknown] = match[1];
  return true;
}

}  // namespace

TEST_CASE("A run that strace watches (made by the trace test)", "[.traced]") {
  const char* world = std::getenv("ROOTPREP_TRACED_WORLD");
  const char* kernel = std::getenv("ROOTPREP_TRACED_KERNEL");
  REQUIRE(world != nullptr);
  REQUIRE(kernel != nullptr);
  for (const Variant& variant : variants(Mode::root)) {
    if (variant.kernel != kernel) continue;
    CHECK_NOTHING_WRONG(in_namespaces(Mode::root, [&](Inside& inside) {
      const Plan plan = inside.compile(variant, rich(world));
      std::ofstream{std::string{world} + "/plan.txt"} << to_text(plan);
      const Report& report = Execution{plan}.run();
      EXPECT_SAME(inside, describe(report.error, &plan), "success");
    }));
  }
}

TEST_CASE("The strace log of a run is the printed plan, call by call") {
  if (::geteuid() != 0 || ::system("strace -V > /dev/null 2>&1") != 0) {
    skip("strace and root are needed (Debian package strace)");
    return;
  }
  for (const std::string kernel : {"6.18", "5.4", "none"}) {
    INFO("features of " << kernel);
    World world{Mode::root};
    build_rich(world);
    const std::string log = world / "strace.txt";
    REQUIRE(::setenv("ROOTPREP_TRACED_WORLD", world.path().c_str(), 1) == 0);
    REQUIRE(::setenv("ROOTPREP_TRACED_KERNEL", kernel.c_str(), 1) == 0);
    const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    // LeakSanitizer cannot look at a process that is traced.
    const std::string command =
        "ASAN_OPTIONS=detect_leaks=0 strace -f -s 5000 -o '" + log + "' '" + self + "' '[.traced]' > '" + (world / "out.txt") + "' 2>&1";
    const int status = ::system(command.c_str());
    INFO(content_of(world / "out.txt"));
    REQUIRE(status == 0);

    // The run lies between the umask(0) that begins it and the umask that ends it.
    std::vector<Line> traced;
    std::ifstream log_lines{log};
    bool running = false;
    for (std::string line; std::getline(log_lines, line);) {
      const std::optional<Line> parsed = strace_line(line);
      if (!parsed) continue;
      if (parsed->call.starts_with("umask(")) {
        running = !running;
        continue;
      }
      if (running) traced.push_back(*parsed);
    }
    REQUIRE(traced.size() > 100);

    std::ifstream plan_lines{world / "plan.txt"};
    std::map<std::string, std::string> numbers;
    std::size_t at = 0;
    std::size_t compared = 0;
    bool in_composite = false;
    std::string unknown;
    std::size_t jump_to = 0;
    bool skipping = false;  // after an alternative: until its first call appears
    for (std::string text; std::getline(plan_lines, text);) {
      const std::optional<Line> line = plan_line(text);
      if (!line) continue;
      const std::string name = line->call.substr(0, line->call.find('('));
      if (std::stoul(text) < jump_to) continue;
      if (name == "skip_if_closed") {
        const std::string slot = line->call.substr(name.size() + 1, line->call.size() - name.size() - 2);
        if (!numbers.contains(slot)) jump_to = std::stoul(text.substr(text.rfind("-> ") + 3));
        continue;
      }
      if (find_syscall(std::string_view{name}) == nullptr) {  // several calls, or another one: make_parent_private, verify_node
        in_composite = true;
        // Where the call before it has found the descriptor, this one was jumped over.
        if (!line->result.empty() && !numbers.contains(line->result)) unknown = line->result;
        continue;
      }
      const std::string expected = canonical(with_numbers(line->call, numbers));
      std::size_t found = at;
      if (in_composite) {
        while (found < traced.size() && !matches(expected, canonical(traced[found].call), unknown, numbers)) ++found;
        if (found - at > 60) found = at;  // a composite makes some calls, not any number
      }
      if (found >= traced.size() || !matches(expected, canonical(traced[found].call), unknown, numbers)) {
        if (in_composite || skipping || text.find("->") != std::string::npos) continue;  // jumped over
        INFO("plan:   " << expected << "\nstrace: " << (at < traced.size() ? canonical(traced[at].call) : "the end"));
        CHECK(traced[found].call == expected);
        break;
      }
      if (numbers.contains(unknown)) unknown.clear();
      if (!line->result.empty() && traced[found].result != "-1") numbers[line->result] = traced[found].result;
      skipping = text.find("then ->") != std::string::npos;
      in_composite = false;
      at = found + 1;
      compared += 1;
    }
    CHECK(at == traced.size());
    CHECK(compared > 60);
  }
}

TEST_CASE(
    "Faults on the real kernel: the error names the failing call, or the documented other way is taken, nothing stays open and nothing outside the root changes") {
  for (const Variant& variant : variants(Mode::root)) {
    if (variant.kernel != "6.18" && variant.kernel != "none") continue;
    INFO(variant.name());
    World world{variant.mode};
    build_rich(world);
    const std::string before = snapshot(world.path());
    std::uint64_t calls = 1;
    for (std::uint64_t n = 0; n <= calls; ++n) {
      for (const int error_number : n == 0       ? std::vector<int>{0}
                                    : n % 2 == 0 ? std::vector<int>{EPERM, ENOENT, ENOMEM}
                                                 : std::vector<int>{EINVAL, EBUSY, ENOSYS}) {
        std::string failures = in_namespaces(variant.mode, [&](Inside& inside) {
          const Plan plan = inside.compile(variant, rich(world.path()));
          testing::FaultKernel kernel{linux_kernel()};
          std::uint64_t fallible = 0;
          SysCall refused;
          kernel.fail_when(
              [&](const SysCall& call) {
                if (call.number == SYS_close || call.number == SYS_umask || ++fallible != n) return false;
                refused = call;
                return true;
              },
              error_number);
          const std::string open = open_descriptors();
          const Report report = Execution{plan, kernel}.run();
          EXPECT_SAME(inside, open_descriptors(), open);
          const auto documented = [&](const Operation& op) {
            const auto holds = [&](auto& errors) {
              return std::find(std::begin(errors), std::end(errors), error_number) != std::end(errors);
            };
            return op.kind == OperationKind::system_call ? op.number == refused.number && (holds(op.allowed) || holds(op.otherwise))
                                                         : op.kind != OperationKind::skip_if_closed;
          };
          const bool other_way = std::any_of(plan.operations().begin(), plan.operations().end(), documented);
          if (n == 0) {
            EXPECT_SAME(inside, describe(report.error, &plan), "success");
            inside.fail('!' + std::to_string(fallible));
          } else if (report.error.domain == Domain::none) {
            EXPECT(inside, other_way);
          } else if (EXPECT(inside, report.error.operation < plan.operations().size())) {
            const Operation& op = plan.operations()[report.error.operation];
            if (op.kind == OperationKind::system_call && !report.event_count && !other_way) {
              EXPECT(inside, report.error.is_errno(error_number));
              EXPECT_SAME(inside, std::size_t{report.error.system_call}, static_cast<std::size_t>(refused.number));
            }
            EXPECT(inside, !(report.entered_by == RootEntry::chroot));
          }
        });
        if (n == 0) {
          REQUIRE(failures.starts_with('!'));
          calls = std::stoull(failures.substr(1));
          CHECK(calls > 80);
          continue;
        }
        INFO("call " << n << ", errno " << error_number);
        CHECK_NOTHING_WRONG(failures);
      }
    }
    CHECK(snapshot(world.path()) == before);
  }
}
