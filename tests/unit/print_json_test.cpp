// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "golden.hpp"
#include "rootprep/explain.hpp"
#include "rootprep/print.hpp"
#include "unit/plans.hpp"

using namespace rootprep;
using rootprep::testing::canonical;
using rootprep::testing::plan_of;
using rootprep::testing::require_golden;

namespace {

void require_round_trip(const Plan& plan) {
  const std::string json = to_json(plan).value();
  const result<Plan> back = plan_from_json(json);
  REQUIRE(back.has_value());
  CHECK(back.value() == plan);
  CHECK(to_text(back.value()) == to_text(plan));
  CHECK(to_json(back.value()).value() == json);
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  INFO("looking for " << from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

Plan small() {
  return plan_of([](PlanBuilder& b) {
    Fd root = b.openat(Fd::cwd(), "/srv/root", abi::o_path | abi::o_cloexec);
    b.set_root(root, "/srv/root");
    b.mkdirat(root, "dev", 0755).allow({EEXIST});
    b.mknodat(root, "null", abi::s_ifchr | 0666U, abi::device_number(1, 3));
    b.mount(nullptr, Text::path_of(root), nullptr, abi::ms_bind | abi::ms_rec | 0x400000U, nullptr);
    b.openat2(root, "etc", {abi::o_path, 0, abi::resolve_in_root}).descriptor();
    b.mount_setattr(root, 0, {abi::mount_attr_rdonly, 0, abi::ms_private, 0});
    b.fsconfig_create(Fd::held(9));
    b.write(Fd::held(1), "a\n");
    b.write(Fd::held(1), "\xff\n");
    b.pivot_root(".", ".").enters(RootEntry::pivot_root);
  });
}

}  // namespace

TEST_CASE("to_json: what is written reads back equal") {
  for (const bool user_namespace : {false, true}) {
    require_round_trip(canonical(KernelFeatures::linux_6_18(), user_namespace));
    require_round_trip(canonical(KernelFeatures::linux_6_1(), user_namespace));
  }
  require_round_trip(canonical(KernelFeatures::linux_5_4()));
  require_round_trip(canonical(KernelFeatures::none()));
  require_round_trip(small());
  require_round_trip(Plan{});
}

TEST_CASE("to_json: bytes that are no UTF-8, the byte that marks holes, and numbers at their limits survive") {
  require_round_trip(plan_of([](PlanBuilder& b) {
    Fd fd = b.openat(Fd::cwd(), "/srv/\xff\xfe", abi::o_path).descriptor("na\xffme");
    b.chdir("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa7");
    b.chdir("\xed\xa0\x80");  // a surrogate
    b.chdir("\xc0\xaf");      // a longer form of '/'
    b.chdir("\x01\"\\\n\x7f");
    b.mount("x", Text::path_of(fd), "y", 0, Text("\x01\xff=").path(fd).append("\x01").path(fd));
    b.write(Fd::held(1), std::string{"\0\xff", 2});
    b.fchownat(fd, "x", 0xFFFF'FFFFU, 0, 0);
    b.syscall(900, {-1, std::uint64_t{0xFFFF'FFFF'FFFF'FFFF}, 0, Value::bytes({}), Fd::cwd(), ""});
    b.mknodat(fd, "y", 0x1FFFF, 0xFFFF'FFFFU);
    b.verify_node(fd, 12345, 7);
    b.verify_filesystem(fd, 0, 0, 0x8000);
  }));
}

TEST_CASE("to_json: a small plan, as people read it") { require_golden("small_plan.json", to_json(small()).value()); }

TEST_CASE("to_json: a plan with a function of this process is refused") {
  const Plan plan = plan_of([](PlanBuilder& b) { b.call([](const ChildContext&) noexcept -> long { return 0; }); });
  CHECK(to_json(plan).error().is(PlanErrc::not_portable));
}

TEST_CASE("plan_from_json: what is not a plan is an error, never an exception") {
  const std::string good = to_json(small()).value();
  struct Row {
    PlanErrc expected;
    std::string text;
  };
  const std::vector<Row> rows{
      {PlanErrc::bad_format, ""},
      {PlanErrc::bad_format, "{"},
      {PlanErrc::bad_format, "[]"},
      {PlanErrc::bad_format, "null"},
      {PlanErrc::bad_format, "{}"},
      {PlanErrc::bad_format, R"({"format": 5})"},
      {PlanErrc::bad_format, R"({"format": "rootprep plan"})"},
      {PlanErrc::bad_format, std::string(100'000, '[')},
      {PlanErrc::bad_format, std::string(100'000, '[') + std::string(100'000, ']')},
      {PlanErrc::bad_format, good + "x"},
      {PlanErrc::bad_format, "\xff" + good},
      {PlanErrc::bad_format, replaced(good, "rootprep plan", "rootprep plans")},
      {PlanErrc::format_version, replaced(good, R"("format_version": 1)", R"("format_version": 2)")},
      {PlanErrc::bad_format, replaced(good, R"("format_version": 1)", R"("format_version": "1")")},
      {PlanErrc::bad_format, replaced(good, R"("format_version": 1)", R"("format_version": -1)")},
      {PlanErrc::bad_format, replaced(good, R"("user_namespace": false)", R"("user_namespace": 0)")},
      {PlanErrc::bad_format, replaced(good, R"("user_namespace": false)", R"("user_namespace": false, "unknown": 1)")},
      {PlanErrc::bad_format, replaced(good, R"("user_namespace": false,)", "")},
      {PlanErrc::bad_format, replaced(good, R"("prologue_size": 0)", R"("prologue_size": -1)")},
      {PlanErrc::bad_format, replaced(good, R"("prologue_size": 0)", R"("prologue_size": 4294967296)")},
      {PlanErrc::bad_operation, replaced(good, R"("prologue_size": 0)", R"("prologue_size": 4000)")},
      {PlanErrc::bad_slot, replaced(good, R"("root": 0)", R"("root": 77)")},
      {PlanErrc::bad_format, replaced(good, R"("root": 0)", R"("root": 65536)")},
      {PlanErrc::bad_format, replaced(good, R"({"description":"test"})", R"({"description":7})")},
      {PlanErrc::bad_format, replaced(good, R"({"description":"test"})", R"({"description":"test","depth":"0"})")},
      {PlanErrc::bad_format, replaced(good, R"({"description":"test"})", "{}")},
      {PlanErrc::bad_step, replaced(good, R"({"description":"test"})", "")},
      {PlanErrc::bad_format, replaced(good, R"("step":0)", R"("step":0,"colour":1)")},
      {PlanErrc::bad_step, replaced(good, R"("step":0)", R"("step":1)")},
      {PlanErrc::bad_format, replaced(good, R"("call":"mkdirat")", R"("call":"mkdira")")},
      {PlanErrc::bad_format, replaced(good, R"("call":"mkdirat")", R"("call":"user_function")")},
      {PlanErrc::bad_format, replaced(good, R"("call":"mkdirat")", R"("call":65536)")},
      {PlanErrc::bad_format, replaced(good, R"("dev",{"mode":"0755"})", R"("dev",{"mode":"0855"})")},
      {PlanErrc::bad_format, replaced(good, R"("dev",{"mode":"0755"})", R"("dev",{"mode":755})")},
      {PlanErrc::bad_format, replaced(good, R"("dev",{"mode":"0755"})", R"("d\u0000v",{"mode":"0755"})")},
      {PlanErrc::bad_format, replaced(good, R"("dev",{"mode":"0755"})", R"({"base64":"?"},{"mode":"0755"})")},
      {PlanErrc::bad_format, replaced(good, R"("dev",{"mode":"0755"})", R"("dev",{"flags":"MS_BIND"})")},
      {PlanErrc::bad_format, replaced(good, R"("dev",{"mode":"0755"})", R"("dev",true)")},
      {PlanErrc::bad_format, replaced(good, R"("dev",{"mode":"0755"})", R"("dev",1.5)")},
      {PlanErrc::bad_format, replaced(good, R"("dev",{"mode":"0755"})", R"("dev",null)")},
      {PlanErrc::bad_format, replaced(good, R"("dev",{"mode":"0755"})", R"("dev",{"mode":"0755"},0)")},
      {PlanErrc::bad_operation, replaced(good, R"("dev",{"mode":"0755"})", R"("dev")")},
      {PlanErrc::bad_slot, replaced(good, R"([{"slot":0},"dev")", R"([{"slot":99},"dev")")},
      {PlanErrc::bad_format, replaced(good, R"([{"slot":0},"dev")", R"([{"slot":-1},"dev")")},
      {PlanErrc::bad_format, replaced(good, R"(["EEXIST"])", R"(["EEXISTS"])")},
      {PlanErrc::bad_format, replaced(good, R"(["EEXIST"])", R"(["EEXIST","EPERM","EPERM","EPERM","EPERM"])")},
      {PlanErrc::bad_format, replaced(good, R"(["EEXIST"])", R"([0])")},
      {PlanErrc::bad_jump, replaced(good, R"("allowed":["EEXIST"])", R"("otherwise":["EEXIST"],"alternative":0,"attempt":1)")},
      {PlanErrc::bad_jump, replaced(good, R"("allowed":["EEXIST"])", R"("next":0)")},
      {PlanErrc::bad_format, replaced(good, R"("MS_BIND|MS_REC)", R"("MS_BIND||MS_REC)")},
      {PlanErrc::bad_format, replaced(good, R"("device":[1,3])", R"("device":[1,3,5])")},
      {PlanErrc::bad_format, replaced(good, R"("device":[1,3])", R"("device":[4096,3])")},
      {PlanErrc::bad_format, replaced(good, R"("resolve":"RESOLVE_IN_ROOT")", R"("resolve":16)")},
      {PlanErrc::bad_format, replaced(good, R"("bytes":"ff0a")", R"("bytes":"ff0")")},
      {PlanErrc::bad_format, replaced(good, R"("bytes":"ff0a")", R"("bytes":"zz")")},
      {PlanErrc::bad_format, replaced(good, R"("content":"a\n")", R"("content":5)")},
      {PlanErrc::bad_format, replaced(good, R"("name":"AT_FDCWD")", R"("name":"AT_FDCWDS")")},
      {PlanErrc::bad_format, replaced(good, R"("enters_root":"pivot_root")", R"("enters_root":"magic")")},
  };
  for (const Row& row : rows) {
    INFO(row.text.substr(0, 2000));
    const result<Plan> plan = plan_from_json(row.text);
    REQUIRE(plan.has_error());
    CHECK(plan.error().code == static_cast<int>(row.expected));
    CHECK(plan.error().domain == Domain::plan);
  }
}

TEST_CASE("plan_from_json: the error names the operation") {
  const std::string text = replaced(to_json(small()).value(), R"("call":"mkdirat")", R"("call":"mkdira")");
  CHECK(plan_from_json(text).error().operation == 1);
}

TEST_CASE("plan_from_json: no changed byte makes it throw, and what it accepts can be printed") {
  const std::string good = to_json(small()).value();
  std::size_t refused = 0;
  std::size_t printed = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const char c : {'\0', '"', '9', '{', '\xff'}) {
      std::string text = good;
      text[i] = c;
      const result<Plan> plan = plan_from_json(text);
      if (plan.has_error()) {
        refused += 1;
        continue;
      }
      printed += to_text(plan.value()).size() + to_tree(plan.value()).size() + to_shell(plan.value()).size();
      Error error = Error::from_errno(EINVAL);
      for (error.operation = 0; error.operation < plan.value().operations().size(); ++error.operation) {
        printed += explain(error, plan.value()).size();
      }
    }
  }
  CHECK(printed > good.size());
  CHECK(refused > good.size());
}

TEST_CASE("plan_from_json: a plan for another architecture's system call numbers is refused") {
  const Plan plan = plan_of([](PlanBuilder& b) { b.syscall(900, {0}); });
  const std::string json = to_json(plan).value();
  CHECK(json.find(R"("call":900)") != std::string::npos);
  const std::size_t at = json.find(R"("architecture": ")");
  REQUIRE(at != std::string::npos);
  CHECK(plan_from_json(replaced(json, R"("architecture": ")", R"("architecture": "not-)")).error().is(PlanErrc::bad_format));
}
