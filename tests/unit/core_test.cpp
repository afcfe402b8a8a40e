// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "plan/host_path.hpp"
#include "rootprep/execution.hpp"
#include "rootprep/pipeline.hpp"
#include "rootprep/steps.hpp"
#include "rootprep/testing/recording_kernel.hpp"
#include "support/allocations.hpp"

// The core without privilege: values that are refused, plans that are refused, texts, errors, what a plan needs and costs.

using namespace rootprep;

namespace {

// A step from a function: the third depth of extension in one line.
struct Lowered {
  std::function<void(PlanBuilder&)> body{};
  void lower(PlanBuilder& b) const { body(b); }
  std::string describe() const { return "a step of the test"; }
};

PlanErrc code_of(const Pipeline& pipeline, const CompileOptions& options = {.features = KernelFeatures::linux_6_18()}) {
  const result<Plan> plan = pipeline.compile(options);
  if (plan.has_value()) return PlanErrc::ok;
  REQUIRE(plan.assume_error().domain == Domain::plan);
  return static_cast<PlanErrc>(plan.assume_error().code);
}

// Answers 0 to everything (a new number where a descriptor is expected), but for one call.
class AgreeableKernel final : public Kernel {
 public:
  long call(const SysCall& call) noexcept override {
    if (call.number == refused) return -refusal;
    const SysCallInfo* info = find_syscall(call.number);
    if (info != nullptr && info->result == ResultKind::descriptor) return ++descriptor_;
    return call.number == SYS_write ? static_cast<long>(call.arguments[2]) : 0;
  }
  long refused = -1;
  int refusal = 0;

 private:
  int descriptor_ = 100;
};

std::string calls_of(const Plan& plan, AgreeableKernel& kernel) {
  testing::RecordingKernel recorder{kernel};
  Execution execution{plan, recorder};
  execution.run();
  std::string names;
  for (const testing::RecordedCall& made : recorder.calls()) {
    if (made.call.number == SYS_umask) continue;
    const SysCallInfo* info = find_syscall(made.call.number);
    names += (names.empty() ? "" : " ") + (info != nullptr ? std::string{info->name} : std::to_string(made.call.number));
  }
  return names;
}

}  // namespace

TEST_CASE("Pipelines: each wrong value is refused before anything happens, with field, value and remedy") {
  const std::string here = std::filesystem::temp_directory_path().string();
  const PrepareRoot root{.path = here};
  std::vector<std::string> many(501, here);
  struct Row {
    Pipeline pipeline;
    PlanErrc code;
    const char* field;
  };
  const std::vector<Row> rows{
      {{PrepareRoot{}}, PlanErrc::empty_value, "PrepareRoot.path"},
      {{PrepareRoot{.path = "srv/root"}}, PlanErrc::not_absolute, "PrepareRoot.path"},
      {{PrepareRoot{.path = std::string("/srv\0x", 6)}}, PlanErrc::nul_byte, "PrepareRoot.path"},
      {{PrepareRoot{.path = "/no/such/directory"}}, PlanErrc::not_found, "PrepareRoot.path"},
      {{PrepareRoot{.path = "/dev/null"}}, PlanErrc::not_a_directory, "PrepareRoot.path"},
      {{PrepareRoot{.path = "/dev/null/x"}}, PlanErrc::not_a_directory, "PrepareRoot.path"},
      {{PrepareRoot{.path = here, .propagation = Propagation::keep}}, PlanErrc::bad_value, "PrepareRoot.propagation"},
      {{MountSpec::proc()}, PlanErrc::no_root, "Pipeline"},
      {{DeviceSetup{}}, PlanErrc::no_root, "Pipeline"},
      {{EnterRoot{}}, PlanErrc::no_root, "Pipeline"},
      {{root, MountSpec::bind("relative", "/x")}, PlanErrc::not_absolute, "MountSpec.source"},
      {{root, MountSpec::bind("/no/such/source", "/x")}, PlanErrc::not_found, "MountSpec.source"},
      {{root, MountSpec::bind("/", "")}, PlanErrc::empty_value, "MountSpec.target"},
      {{root, MountSpec::bind("/", std::string("/x\0y", 4))}, PlanErrc::nul_byte, "MountSpec.target"},
      {{root, MountSpec::tmpfs("/x").optional_source()}, PlanErrc::conflict, "MountSpec.optional"},
      {{root, EnterRoot{}, MountSpec::bind("/etc", "/x")}, PlanErrc::host_path_after_entry, "MountSpec.source"},
      {{root, EnterRoot{}, OverlayMount{.lower = {here}, .ephemeral = EphemeralUpper{}, .target = "/x"}},
       PlanErrc::host_path_after_entry,
       "OverlayMount.lower"},
      {{root, OverlayMount{}}, PlanErrc::empty_value, "OverlayMount.lower"},
      {{root, OverlayMount{.lower = many}}, PlanErrc::too_many_layers, "OverlayMount.lower"},
      {{root, OverlayMount{.lower = {here, here}}}, PlanErrc::conflict, "OverlayMount.lower"},
      {{root, OverlayMount{.lower = {here}, .upper = here + "/u"}}, PlanErrc::empty_value, "OverlayMount.work"},
      {{root, OverlayMount{.lower = {here}, .upper = here, .work = here + "/w", .ephemeral = EphemeralUpper{}}},
       PlanErrc::conflict,
       "OverlayMount.ephemeral"},
      {{root, OverlayMount{.lower = {here}, .upper = "/no/upper", .work = "/no/work"}}, PlanErrc::not_found, "OverlayMount.upper"},
      {{root, OverlayMount{.lower = {"/usr"}, .upper = "/tmp", .work = "/proc"}}, PlanErrc::upper_work_apart, "OverlayMount.work"},
      {{root, OverlayMount{.lower = {"/usr"}, .upper = "/", .work = "/tmp"}}, PlanErrc::upper_work_apart, "OverlayMount.work"},
      {{root, WriteFile{.path = "/"}}, PlanErrc::bad_value, "path"},
      {{root, WriteFile{.path = "a/.."}}, PlanErrc::bad_value, "path"},
      {{root, WriteFile{}}, PlanErrc::empty_value, "WriteFile.path"},
      {{root, MakeSymlink{.path = "/x"}}, PlanErrc::empty_value, "MakeSymlink.target"},
      {{root, RemoveFile{.path = std::string("x\0", 2)}}, PlanErrc::nul_byte, "RemoveFile.path"},
      {{root, DeviceSetup{.directory = ""}}, PlanErrc::empty_value, "DeviceSetup.directory"},
      {{root, DeviceSetup{.extra_devices = {{.path = "x", .major = 4096}}}}, PlanErrc::bad_value, "Device"},
      {{root, RemountReadonly{.path = "/a", .writable = {"/b"}}}, PlanErrc::bad_value, "RemountReadonly.writable"},
  };
  for (const Row& row : rows) {
    std::vector<Problem> problems;
    const result<Plan> plan = row.pipeline.compile({.features = KernelFeatures::linux_6_18()}, &problems);
    INFO(static_cast<int>(row.code) << ' ' << row.field << ", step "
                                    << (row.pipeline.steps().empty() ? "" : row.pipeline.steps().back().describe()));
    REQUIRE(plan.has_error());
    REQUIRE(!problems.empty());
    CHECK(plan.assume_error().is(row.code));
    CHECK(plan.assume_error() == problems.front().error);
    CHECK(problems.front().field == row.field);
    CHECK(!problems.front().expected.empty());
    CHECK(!problems.front().step.empty());
    CHECK(plan.assume_error().step == row.pipeline.steps().size() - 1);
  }
}

TEST_CASE("Pipelines: what a kernel or a user namespace cannot do is refused by name") {
  const PrepareRoot root{.path = "/tmp"};
  struct Row {
    Step step;
    KernelFeatures features;
    bool user_namespace;
    PlanErrc code;
  };
  using F = KernelFeatures;
  const OverlayMount overlay{.lower = {"/usr"}, .ephemeral = EphemeralUpper{}};
  OverlayMount fast = overlay;
  fast.volatile_upper = true;
  OverlayMount metacopy = overlay;
  metacopy.metacopy = true;
  const std::vector<Row> rows{
      {MountSpec::bind("/usr", "/x").with({.nosymfollow = Setting::set}), F::linux_5_4(), false, PlanErrc::unsupported_by_kernel},
      {MountSpec::bind("/usr", "/x").with_recursive({.ro = Setting::set}), F::linux_5_4(), false, PlanErrc::unsupported_by_kernel},
      {MountSpec::bind("/usr", "/x").with_recursive({.ro = Setting::set}), F::linux_6_1(), false, PlanErrc::ok},
      {RemountReadonly{.recursive = true}, F::none(), false, PlanErrc::unsupported_by_kernel},
      {RemountReadonly{.path = "/x"}, F::none(), false, PlanErrc::unsupported_by_kernel},
      {overlay, F::linux_5_4(), false, PlanErrc::ok},
      {overlay, F::linux_5_4(), true, PlanErrc::unsupported_by_kernel},
      {overlay, F::linux_6_1(), true, PlanErrc::ok},
      {fast, F::linux_5_4(), false, PlanErrc::unsupported_by_kernel},
      {metacopy, F::linux_6_18(), true, PlanErrc::conflict},
      {DeviceSetup{.pts_options = {.gid = 5U}}, F::linux_6_18(), true, PlanErrc::bad_value},
      {DeviceSetup{.pts_options = {.gid = 5U}}, F::linux_6_18(), false, PlanErrc::ok},
      {MountSpec::filesystem("tmpfs", "/x", {{"mpol", "interleave:0,1"}}), F::none(), false, PlanErrc::bad_value},
      {MountSpec::filesystem("tmpfs", "/x", {{"mpol", "interleave:0,1"}}), F::linux_5_4(), false, PlanErrc::ok},
      {MountSpec::filesystem("tmpfs", "/x", {{"long", std::string(5000, 'x')}}), F::none(), false, PlanErrc::too_large},
  };
  for (const Row& row : rows) {
    INFO(row.step.describe() << (row.user_namespace ? ", in a user namespace" : ""));
    CHECK(code_of({root, row.step}, {.features = row.features, .user_namespace = row.user_namespace}) == row.code);
  }
}

TEST_CASE("Builder: misuse is an error of compile(), not of the child") {
  struct Row {
    const char* what;
    std::function<void(PlanBuilder&)> body;
    PlanErrc code;
  };
  const std::vector<Row> rows{
      {"a label that is never placed", [](PlanBuilder& b) { b.chdir("/").otherwise(b.label(), {ENOENT}); }, PlanErrc::bad_jump},
      {"a jump backwards",
       [](PlanBuilder& b) {
         const Label back = b.label();
         b.place(back);
         b.chdir("/").otherwise(back, {ENOENT});
       },
       PlanErrc::bad_jump},
      {"a descriptor that only one way opens",
       [](PlanBuilder& b) {
         const Label missing = b.label();
         Fd fd = b.openat(Fd::cwd(), "/x", abi::o_path).otherwise(missing, {ENOENT}).descriptor();
         b.place(missing);
         b.fchdir(fd);
       },
       PlanErrc::bad_slot},
      {"the same, but looked at first",
       [](PlanBuilder& b) {
         const Label missing = b.label();
         const Label end = b.label();
         Fd fd = b.openat(Fd::cwd(), "/x", abi::o_path).otherwise(missing, {ENOENT}).descriptor();
         b.place(missing);
         b.skip_if_closed(fd, end);
         b.fchdir(fd);
         b.place(end);
       },
       PlanErrc::ok},
      {"a descriptor after it was closed",
       [](PlanBuilder& b) {
         Fd fd = b.openat(Fd::cwd(), "/", abi::o_path);
         b.close(fd);
         b.fchdir(fd);
       },
       PlanErrc::bad_slot},
      {"a descriptor whose absence is allowed",
       [](PlanBuilder& b) { b.fchdir(b.openat(Fd::cwd(), "/", abi::o_path).allow({ENOENT}).descriptor()); }, PlanErrc::bad_slot},
      {"five allowed errno values",
       [](PlanBuilder& b) {
         b.chdir("/").allow({1, 2, 3, 4, 5});
       },
       PlanErrc::bad_argument},
      {"seven other errno values",
       [](PlanBuilder& b) {
         b.chdir("/").otherwise(b.label(), {1, 2, 3, 4, 5, 6, 7});
       },
       PlanErrc::bad_argument},
      {"seven arguments",
       [](PlanBuilder& b) {
         b.syscall(400, {1, 2, 3, 4, 5, 6, 7});
       },
       PlanErrc::bad_argument},
      {"no system call", [](PlanBuilder& b) { b.syscall(-1, {}); }, PlanErrc::bad_argument},
      {"a number where a path belongs", [](PlanBuilder& b) { b.syscall(SYS_chdir, {0x7fff0000}); }, PlanErrc::bad_argument},
      {"too few arguments of a known call",
       [](PlanBuilder& b) {
         b.syscall(SYS_mount, {1, 2});
       },
       PlanErrc::bad_operation},
      {"more bytes than there are",
       [](PlanBuilder& b) {
         b.syscall(SYS_write, {1, Value::bytes(std::as_bytes(std::span{"abc", 3})), 4000});
       },
       PlanErrc::bad_argument},
      {"an unknown call",
       [](PlanBuilder& b) {
         b.syscall(999, {"text", 1});
       },
       PlanErrc::ok},
      {"a NUL in a path", [](PlanBuilder& b) { b.chdir(std::string("/a\0b", 4)); }, PlanErrc::nul_byte},
      {"the working directory as a path", [](PlanBuilder& b) { b.chdir(Text::path_of(Fd::cwd())); }, PlanErrc::bad_value},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    CHECK(code_of({Lowered{row.body}}) == row.code);
  }
  PlanBuilder without_step{{}};
  without_step.chdir("/");
  CHECK(without_step.finish().assume_error().is(PlanErrc::bad_step));
}

TEST_CASE("first_of: the next alternative is tried up to the first operation that leaves something, and nothing falls through into it") {
  const auto alternatives = [](bool with_label) {
    return Pipeline{Lowered{[with_label](PlanBuilder& b) {
      b.first_of({{[&](PlanBuilder& first) {
                     first.chdir("/first");
                     const Label end = first.label();
                     if (with_label) first.fchdir(Fd::held(7)).otherwise(end, {ENOENT});
                     first.mkdirat(Fd::cwd(), "made", 0755);
                     first.mknodat(Fd::cwd(), "late", 0, 0);
                     first.place(end);  // the end of the first alternative, not the start of the second
                   },
                   {EPERM},
                   "second way"},
                  {[](PlanBuilder& second) { second.symlinkat("t", Fd::cwd(), "s"); }, {}, {}}});
      b.unlinkat(Fd::cwd(), "after");
    }}};
  };
  struct Row {
    bool with_label;
    long refused;
    int error;
    const char* calls;
    bool fails;
  };
  for (const Row& row :
       {Row{false, -1, 0, "chdir mkdirat mknodat unlinkat", false}, Row{false, SYS_chdir, EPERM, "chdir symlinkat unlinkat", false},
        Row{false, SYS_mkdirat, EPERM, "chdir mkdirat symlinkat unlinkat", false},
        Row{false, SYS_mknodat, EPERM, "chdir mkdirat mknodat", true}, Row{false, SYS_mkdirat, EACCES, "chdir mkdirat", true},
        Row{true, -1, 0, "chdir fchdir mkdirat mknodat unlinkat", false}, Row{true, SYS_fchdir, ENOENT, "chdir fchdir unlinkat", false}}) {
    const result<Plan> plan = alternatives(row.with_label).compile();
    REQUIRE(plan.has_value());
    AgreeableKernel kernel;
    kernel.refused = row.refused;
    kernel.refusal = row.error;
    INFO(row.calls);
    CHECK(calls_of(plan.assume_value(), kernel) == row.calls);
    Execution execution{plan.assume_value(), kernel};
    CHECK((execution.run().error.domain != Domain::none) == row.fails);
  }
  // A plan made by hand that would abandon an alternative too late is no plan.
  PlanParts parts = alternatives(false).compile().value().parts();
  for (Operation& op : parts.operations) {
    if (op.number != SYS_mknodat) continue;
    op.otherwise[0] = EPERM;
    op.alternative = static_cast<std::uint32_t>(parts.operations.size());
    op.attempt = 0;
  }
  CHECK(verify(parts).assume_error().is(PlanErrc::lasting_alternative));
}

TEST_CASE("verify: every way to damage a plan is noticed") {
  const Pipeline pipeline{PrepareRoot{.path = "/tmp"}, MountSpec::bind("/usr", "/usr").optional_source(),
                          WriteFile{.path = "/etc/x", .content = "x"}, EnterRoot{}};
  const PlanParts good = pipeline.compile({.features = KernelFeatures::linux_6_18()}).value().parts();
  REQUIRE(verify(good).has_value());
  const auto find = [&](PlanParts& parts, long number) -> Operation& {
    for (Operation& op : parts.operations) {
      if (op.kind == OperationKind::system_call && op.number == number) return op;
    }
    FAIL("no such call in the plan");
    return parts.operations.front();
  };
  struct Row {
    const char* what;
    std::function<void(PlanParts&)> damage;
    PlanErrc code;
  };
  const std::vector<Row> rows{
      {"unknown kind", [](PlanParts& p) { p.operations[0].kind = static_cast<OperationKind>(200); }, PlanErrc::bad_operation},
      {"seven arguments", [](PlanParts& p) { p.operations[0].argument_count = 7; }, PlanErrc::bad_operation},
      {"an argument too few", [](PlanParts& p) { p.operations[0].argument_count -= 1; }, PlanErrc::bad_operation},
      {"no such way to enter", [](PlanParts& p) { p.operations[0].enters_root = static_cast<RootEntry>(77); }, PlanErrc::bad_operation},
      {"no such step", [](PlanParts& p) { p.operations[0].step = 99; }, PlanErrc::bad_step},
      {"prologue longer than the plan", [](PlanParts& p) { p.prologue_size = 100000; }, PlanErrc::bad_operation},
      {"string outside the data", [&](PlanParts& p) { find(p, SYS_openat).arguments[1].value = 1U << 20U; }, PlanErrc::bad_data},
      {"string without an end",
       [&](PlanParts& p) {
         find(p, SYS_openat).arguments[1].value = p.data.size() - 1;
         p.data.back() = std::byte{'x'};
       },
       PlanErrc::bad_data},
      {"note outside the data", [](PlanParts& p) { p.operations[0].note = 0x7FFFFFFF; }, PlanErrc::bad_data},
      {"data that does not start with the empty string", [](PlanParts& p) { p.data[0] = std::byte{1}; }, PlanErrc::bad_data},
      {"blob not aligned", [&](PlanParts& p) { find(p, SYS_openat2).arguments[2].value += 1; }, PlanErrc::bad_data},
      {"blob smaller than the size given", [&](PlanParts& p) { find(p, SYS_openat2).arguments[2].size = 8; }, PlanErrc::bad_argument},
      {"an address of the process instead of a blob",
       [&](PlanParts& p) { find(p, SYS_openat2).arguments[2].source = ArgumentSource::immediate; }, PlanErrc::bad_argument},
      {"slot that is not there", [&](PlanParts& p) { find(p, SYS_fchdir).arguments[0].slot = 5000; }, PlanErrc::bad_slot},
      {"result slot that is not there", [&](PlanParts& p) { find(p, SYS_openat).result = 5000; }, PlanErrc::bad_slot},
      {"descriptor call without a result", [&](PlanParts& p) { find(p, SYS_openat).result = no_slot; }, PlanErrc::bad_operation},
      {"root slot that is not there", [](PlanParts& p) { p.root_slot = 5000; }, PlanErrc::bad_slot},
      {"jump to itself", [&](PlanParts& p) { p.operations[3].next = 3; }, PlanErrc::bad_jump},
      {"jump backwards", [&](PlanParts& p) { p.operations[3].next = 0; }, PlanErrc::bad_jump},
      {"jump beyond the end", [&](PlanParts& p) { p.operations[3].next = static_cast<std::uint32_t>(p.operations.size() + 1); },
       PlanErrc::bad_jump},
      {"alternative without a target", [](PlanParts& p) { p.operations[0].otherwise[0] = ENOENT; }, PlanErrc::bad_jump},
      {"alternative backwards, its errno not in the first place",
       [](PlanParts& p) {
         p.operations[3].otherwise[0] = 0;
         p.operations[3].otherwise[4] = ENOENT;
         p.operations[3].alternative = 0;
         p.operations[3].attempt = 3;
       },
       PlanErrc::bad_jump},
      {"a descriptor that may be missing, its errno not in the first place",
       [&](PlanParts& p) {
         for (Operation& op : p.operations) {
           if (op.number == SYS_openat && op.result == p.operations[p.operations.size() - 1].arguments[0].slot) op.allowed[2] = ENOENT;
         }
         find(p, SYS_openat).allowed[3] = ENOENT;
       },
       PlanErrc::bad_slot},
      {"mark of a hole cut off",
       [&](PlanParts& p) {
         Argument& text = find(p, SYS_openat).arguments[1];
         text.source = ArgumentSource::text;
         text.value = p.data.size();
         for (const char c : {'/', '\1', '\0'}) p.data.push_back(static_cast<std::byte>(c));
       },
       PlanErrc::bad_data},
      {"hole of a slot that is not there",
       [&](PlanParts& p) {
         Argument& text = find(p, SYS_openat).arguments[1];
         text.source = ArgumentSource::text;
         text.value = p.data.size();
         for (const int c : {1, 0xFF, 0xFF, 0}) p.data.push_back(static_cast<std::byte>(c));
       },
       PlanErrc::bad_slot},
      {"listmount with more room promised than there is",
       [&](PlanParts& p) {
         Operation op;
         op.number = 458;
         op.step = 0;
         op.argument_count = 4;
         p.data.resize((p.data.size() + 7U) & ~std::size_t{7U});
         op.arguments[0] = {ArgumentSource::blob, 0, no_slot, 256, p.data.size()};
         op.arguments[1] = {ArgumentSource::blob, 0, no_slot, 64, p.data.size()};
         op.arguments[2].value = 64;  // numbers of 8 bytes each
         p.data.resize(p.data.size() + 256);
         p.operations.push_back(op);
       },
       PlanErrc::bad_argument},
      {"user function without an address",
       [](PlanParts& p) {
         p.operations[0] = Operation{};
         p.operations[0].kind = OperationKind::user_function;
         p.operations[0].step = 0;
         p.operations[0].argument_count = 2;
       },
       PlanErrc::bad_argument},
      {"a walk without a result",
       [](PlanParts& p) {
         for (Operation& op : p.operations) {
           if (op.kind == OperationKind::open_in_root) op.result = no_slot;
         }
       },
       PlanErrc::bad_argument},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    PlanParts parts = good;
    row.damage(parts);
    const result<void> answer = verify(parts);
    REQUIRE(answer.has_error());
    CHECK(answer.assume_error().is(row.code));
    CHECK(Plan::create(parts).has_error());
  }
}

TEST_CASE("verify: a plan damaged at random is refused, or harmless to the process that runs it") {
  const PlanParts good =
      Pipeline{PrepareRoot{.path = "/tmp"}, DeviceSetup{}, EnterRoot{}}.compile({.features = KernelFeatures::linux_6_18()}).value().parts();
  std::minstd_rand random{99};
  std::size_t accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    PlanParts parts = good;
    for (int k = 0; k < 3; ++k) {
      auto* bytes = reinterpret_cast<unsigned char*>(&parts.operations[random() % parts.operations.size()]);
      const std::size_t at = random() % sizeof(Operation);
      // A bool is 0 or 1: to read another value of it is undefined, and no way in from outside makes one.
      bytes[at] ^= static_cast<unsigned char>(at == offsetof(Operation, exact) ? 1U : 1U << (random() % 8));
    }
    result<Plan> plan = Plan::create(std::move(parts));
    if (plan.has_error()) continue;
    accepted += 1;
    AgreeableKernel kernel;
    Execution execution{plan.assume_value(), kernel};
    CHECK(execution.run().executed <= plan.assume_value().operations().size());  // it ends
  }
  CHECK(accepted > 100);
}

TEST_CASE("Text: holes are filled with the numbers of the descriptors, and every byte of a literal stays") {
  std::string bytes;
  for (int c = 1; c < 256; ++c) bytes += static_cast<char>(c);
  const Pipeline pipeline{Lowered{[&](PlanBuilder& b) {
    std::vector<Fd> slots;
    for (int i = 0; i < 200; ++i) slots.push_back(b.openat(Fd::cwd(), "/", abi::o_path));
    b.chdir(Text{bytes}.path(slots[0]).append(bytes).path(slots[127]).path(slots[128]).append("\1\1").path(slots[199]));
    b.chdir(bytes);
    b.chdir(Text::path_of(slots[5]));
    b.chdir(Text{}.append("").append("a").append("b"));
    b.chdir(Text::path_of(Fd::held(77)));
  }}};
  AgreeableKernel kernel;
  testing::RecordingKernel recorder{kernel};
  const Plan plan = pipeline.compile().value();
  Execution execution{plan, recorder};
  execution.run();
  std::vector<std::string> paths;
  for (const testing::RecordedCall& made : recorder.calls()) {
    if (made.call.number == SYS_chdir) paths.push_back(*made.texts[0]);
  }
  REQUIRE(paths.size() == 5);
  CHECK(paths[0] == bytes + "/proc/self/fd/101" + bytes + "/proc/self/fd/228/proc/self/fd/229" + "\1\1" + "/proc/self/fd/300");
  CHECK(paths[1] == bytes);
  CHECK(paths[2] == "/proc/self/fd/106");
  CHECK(paths[3] == "ab");
  CHECK(paths[4] == "/proc/self/fd/77");
}

TEST_CASE("host_path: texts of paths") {
  struct Row {
    const char* path;
    const char* normalized;
    const char* relative;
    const char* parent;
  };
  for (const Row& row : {Row{"/", "/", ".", "/"}, Row{"", "", ".", "/"}, Row{"//srv/./a/", "/srv/a", "srv/a", "/srv"},
                         Row{"a//b/.", "a/b", "a/b", "a"}, Row{".", ".", ".", "/"}, Row{"/srv", "/srv", "srv", "/"},
                         Row{"/..", "/..", "..", "/"}, Row{"/a/../b", "/a/../b", "a/../b", "/a/.."}, Row{"///", "/", ".", "/"}}) {
    INFO('"' << row.path << '"');
    CHECK(host_path::normalized(row.path) == row.normalized);
    CHECK(host_path::relative_to_root(row.path) == row.relative);
    CHECK(host_path::parent(row.path) == row.parent);
  }
  CHECK(host_path::is_below("/srv/root", "/srv/root"));
  CHECK(host_path::is_below("/srv//root/x", "/srv/root/"));
  CHECK(!host_path::is_below("/srv/root2", "/srv/root"));
  CHECK(!host_path::is_below("/srv", "/srv/root"));
  CHECK(host_path::is_below("/anything", "/"));
  CHECK(!host_path::is_below("relative", "/"));
}

TEST_CASE("Errors: coordinates, categories and words for every code") {
  const Error none;
  CHECK(!make_error_code(none));
  CHECK(make_error_code(Error::from_errno(ENOENT)) == std::errc::no_such_file_or_directory);
  std::vector<std::string> seen;
  for (int code = 1; code <= static_cast<int>(PlanErrc::bad_option); ++code) seen.push_back(plan_category().message(code));
  for (int code = 1; code <= static_cast<int>(ChildErrc::exited_early); ++code) seen.push_back(child_category().message(code));
  std::vector<std::string> unique = seen;
  std::sort(unique.begin(), unique.end());
  unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
  CHECK(unique.size() == seen.size());
  for (const std::string& words : seen) CHECK(words.find("unknown") == std::string::npos);
  CHECK(plan_category().message(-1) == "unknown plan error");
  CHECK(child_category().message(-1) == "unknown child error");
  const result<Plan> refused = Pipeline{PrepareRoot{}}.compile();
  CHECK_THROWS_AS(refused.value(), std::system_error);
}

TEST_CASE("Execution: interrupted calls are made again, a short write is an error, an empty slot is a defect that is named") {
  struct Interrupted final : Kernel {
    int left = 3;
    int calls = 0;
    long call(const SysCall& call) noexcept override {
      if (call.number == SYS_umask) return 022;
      calls += 1;
      if (call.number == SYS_write) return 1;
      return left-- > 0 ? -EINTR : 50;
    }
  };
  const Plan opens = Pipeline{Lowered{[](PlanBuilder& b) { b.close(b.openat(Fd::cwd(), "/", abi::o_path)); }}}.compile().value();
  Interrupted kernel;
  CHECK(Execution(opens, kernel).run().error.domain == Domain::none);
  CHECK(kernel.calls == 5);
  Interrupted stubborn;
  stubborn.left = 1 << 20;
  CHECK(Execution(opens, stubborn).run().error.is_errno(EINTR));
  CHECK(stubborn.calls < 200);
  const Plan writes = Pipeline{Lowered{[](PlanBuilder& b) { b.write(Fd::held(1), "two"); }}}.compile().value();
  Interrupted short_writer;
  CHECK(Execution(writes, short_writer).run().error.is(ChildErrc::short_write));
}

TEST_CASE("Plan::needs: capabilities, the Linux version and descriptors") {
  const PrepareRoot root{.path = "/tmp", .propagation = Propagation::private_};
  const Needs devices = Pipeline{root, DeviceSetup{.method = DeviceMethod::mknod}, EnterRoot{.allow_move = false}}
                            .compile({.features = KernelFeatures::none()})
                            .value()
                            .needs();
  CHECK(devices.capabilities == std::vector<Capability>{Capability::sys_admin, Capability::mknod});
  CHECK(devices.linux_version.empty());
  CHECK(Pipeline{root, MountSpec::proc()}.compile({.features = KernelFeatures::linux_5_4()}).value().needs().linux_version == "5.2");
  CHECK(Pipeline{root, MountSpec::bind("/usr", "/usr").with({.ro = Setting::set})}
            .compile({.features = KernelFeatures::linux_6_18()})
            .value()
            .needs()
            .linux_version == "5.12");
  CHECK(Pipeline{root, EnterRoot{}}.compile().value().needs().capabilities ==
        std::vector<Capability>{Capability::sys_admin, Capability::sys_chroot});
  CHECK(Pipeline{Lowered{[](PlanBuilder& b) { b.chdir("/"); }}}.compile().value().needs() == Needs{});
  const Needs one_at_a_time = Pipeline{Lowered{[](PlanBuilder& b) {
                                for (int i = 0; i < 10; ++i) b.close(b.openat(Fd::cwd(), "/", abi::o_path));
                              }}}.compile()
                                  .value()
                                  .needs();
  CHECK(one_at_a_time.descriptors == 1);
}

TEST_CASE("compile: the canonical container costs less than 100 KB of allocations, on every kernel") {
  if (!test_support::allocations_are_counted()) {
    std::cout << "SKIPPED: the sanitizer's allocator cannot be counted\n";
    return;
  }
  for (const KernelFeatures& features :
       {KernelFeatures::linux_6_18(), KernelFeatures::linux_6_1(), KernelFeatures::linux_5_4(), KernelFeatures::none()}) {
    const Pipeline pipeline{
        PrepareRoot{.path = "/tmp"}, MountSpec::proc(), MountSpec::sysfs(), DeviceSetup{}, EnterRoot{}, RemountReadonly{}};
    const std::size_t before = test_support::allocations().bytes;
    const result<Plan> plan = pipeline.compile({.features = features});
    const std::size_t bytes = test_support::allocations().bytes - before;
    INFO(bytes << " bytes, " << plan.value().operations().size() << " operations");
    CHECK(bytes < 100'000);
    CHECK(bytes > 1000);  // it counts
  }
}

TEST_CASE("Value semantics: a step, a pipeline and a plan are values, a pipeline is a step") {
  const Pipeline inner{MountSpec::proc(), MountSpec::sysfs()};
  Pipeline outer{PrepareRoot{.path = "/tmp"}, inner};
  const Pipeline copy = outer;
  outer.add(EnterRoot{});
  CHECK(copy.steps().size() == 2);
  const Plan a = copy.compile().value();
  const Plan b = copy.compile().value();
  CHECK(a == b);
  CHECK(!(a == outer.compile().value()));
  CHECK(a.steps().size() == 4);
  CHECK(a.steps()[2].depth == 1);
  CHECK(MountSpec::bind("/a", "/b") == MountSpec::bind("/a", "/b"));
  CHECK(!(MountSpec::bind("/a", "/b") == MountSpec::bind("/a", "/b").not_recursive()));
  CHECK(Plan{}.operations().empty());
  CHECK(Execution(Plan{}).run().error.domain == Domain::none);
}
