// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/explain.hpp"

#include <sys/syscall.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "golden.hpp"
#include "rootprep/execution.hpp"
#include "unit/plans.hpp"

using namespace rootprep;
using rootprep::testing::canonical;
using rootprep::testing::plan_of;
using rootprep::testing::require_golden;

namespace {

Error failure_at(const Plan& plan, std::uint32_t operation, int error_number) {
  Error error = Error::from_errno(error_number, plan.operations()[operation].number);
  error.operation = operation;
  error.step = plan.operations()[operation].step;
  return error;
}

std::uint32_t first_call(const Plan& plan, long number, std::uint32_t from = 0) {
  for (std::uint32_t i = from; i < plan.operations().size(); ++i) {
    if (plan.operations()[i].kind == OperationKind::system_call && plan.operations()[i].number == number) return i;
  }
  FAIL("the plan has no system call " << number);
  return no_operation;
}

std::string ids(const std::vector<Hint>& found) {
  std::string text;
  for (const Hint& hint : found) text += (text.empty() ? "" : " ") + std::string{hint.id};
  return text;
}

Report report_of(const Error& error, const std::string& message = {}, std::vector<Event> events = {}) {
  Report report;
  report.error = error;
  report.kernel_message_size = static_cast<std::uint32_t>(message.size());
  std::memcpy(report.kernel_message, message.data(), message.size());
  for (const Event& event : events) report.events[report.event_count++] = event;
  return report;
}

Fd fs_of(PlanBuilder& b, const char* type) { return b.fsopen(type); }

}  // namespace

TEST_CASE("explain: the call, its errno and what the plan did before decide the causes") {
  struct Row {
    int error_number;
    std::uint32_t operation;
    bool user_namespace;
    std::string expected;
    std::function<void(PlanBuilder&)> body;
  };
  const std::vector<Row> rows{
      // pivot_root(2)
      {EINVAL, 1, false, "RP-PIVOT-NOT-MOUNTPOINT RP-PIVOT-SHARED RP-PIVOT-INITRAMFS",
       [](PlanBuilder& b) {
         Fd root = b.openat(Fd::cwd(), "/srv/root", abi::o_path);
         b.set_root(root, "/srv/root");
         b.pivot_root(".", ".");
       }},
      {EINVAL, 3, false, "RP-PIVOT-INITRAMFS",
       [](PlanBuilder& b) {
         b.mount(nullptr, "/", nullptr, abi::ms_slave | abi::ms_rec, nullptr);
         b.mount("/srv/root", "/srv/root", nullptr, abi::ms_bind | abi::ms_rec, nullptr);
         Fd root = b.openat(Fd::cwd(), "/srv/root", abi::o_path);
         b.set_root(root, "/srv/root");
         b.pivot_root(".", ".");
       }},
      {EINVAL, 2, false, "RP-PIVOT-NOT-MOUNTPOINT RP-PIVOT-PUT-OLD RP-PIVOT-INITRAMFS",
       [](PlanBuilder& b) {
         b.mount(nullptr, "/", nullptr, abi::ms_private | abi::ms_rec, nullptr);
         b.chdir("/srv/root");
         b.pivot_root(".", "/mnt");
       }},
      {EINVAL, 1, false, "RP-PIVOT-CHROOTED",
       [](PlanBuilder& b) {
         b.chroot("/srv");
         b.pivot_root(".", ".");
       }},
      {EBUSY, 0, false, "RP-PIVOT-CURRENT-ROOT", [](PlanBuilder& b) { b.pivot_root(".", "."); }},
      {ENOTDIR, 0, false, "RP-PIVOT-NOT-DIRECTORY RP-PATH-NOT-DIRECTORY", [](PlanBuilder& b) { b.pivot_root(".", "."); }},
      {EPERM, 0, false, "RP-NO-PRIVILEGE", [](PlanBuilder& b) { b.pivot_root(".", "."); }},
      // umount2(2)
      {EBUSY, 0, false, "RP-UMOUNT-BUSY", [](PlanBuilder& b) { b.umount2("/mnt", 0); }},
      {EBUSY, 0, false, "", [](PlanBuilder& b) { b.umount2("/mnt", abi::mnt_detach); }},
      {EINVAL, 0, false, "RP-UMOUNT-LOCKED", [](PlanBuilder& b) { b.umount2("/mnt", abi::mnt_detach); }},
      // changing mounts
      {EPERM, 0, true, "RP-REMOUNT-LOCKED-FLAGS RP-NO-PRIVILEGE", [](PlanBuilder& b) { b.remount_bind(Fd::held(7), abi::ms_rdonly, 0); }},
      {EPERM, 0, true, "RP-REMOUNT-LOCKED-FLAGS RP-NO-PRIVILEGE",
       [](PlanBuilder& b) { b.mount(nullptr, "/mnt", nullptr, abi::ms_remount | abi::ms_bind | abi::ms_rdonly, nullptr); }},
      {EPERM, 0, false, "RP-NO-PRIVILEGE",
       [](PlanBuilder& b) { b.mount(nullptr, "/mnt", nullptr, abi::ms_remount | abi::ms_bind | abi::ms_rdonly, nullptr); }},
      {EPERM, 0, true, "RP-REMOUNT-LOCKED-FLAGS RP-NO-PRIVILEGE",
       [](PlanBuilder& b) {
         b.mount_setattr(Fd::held(7), 0, {0, abi::mount_attr_nosuid, 0, 0});
       }},
      {EPERM, 0, true, "RP-NO-PRIVILEGE",
       [](PlanBuilder& b) {
         b.mount_setattr(Fd::held(7), 0, {abi::mount_attr_rdonly, 0, 0, 0});
       }},
      {EBUSY, 0, false, "RP-READONLY-OPEN-FILES",
       [](PlanBuilder& b) {
         b.mount_setattr(Fd::held(7), 0, {abi::mount_attr_rdonly, 0, 0, 0});
       }},
      {EINVAL, 0, false, "RP-PROPAGATION-NOT-A-MOUNT",
       [](PlanBuilder& b) { b.mount(nullptr, "/", nullptr, abi::ms_slave | abi::ms_rec, nullptr); }},
      {EINVAL, 0, false, "RP-PROPAGATION-NOT-A-MOUNT RP-MOUNT-NOT-A-MOUNT",
       [](PlanBuilder& b) {
         b.mount_setattr(Fd::held(7), 0, {0, 0, abi::ms_shared, 0});
       }},
      {EINVAL, 0, false, "RP-MOUNT-NOT-A-MOUNT RP-IDMAP-UNSUPPORTED",
       [](PlanBuilder& b) {
         b.mount_setattr(Fd::held(7), 0, {abi::mount_attr_idmap, 0, 0, 3});
       }},
      {EINVAL, 0, false, "RP-MOUNT-SHARED-PARENT RP-MOUNT-OTHER-NAMESPACE", [](PlanBuilder& b) { b.move_mount(Fd::held(7), Fd::held(8)); }},
      {ENOSPC, 0, false, "RP-MOUNT-LIMIT RP-NO-SPACE", [](PlanBuilder& b) { b.move_mount(Fd::held(7), Fd::held(8)); }},
      {ENOTDIR, 0, false, "RP-BIND-KIND-MISMATCH", [](PlanBuilder& b) { b.move_mount(Fd::held(7), Fd::held(8)); }},
      // bind mounts
      {EINVAL, 0, true, "RP-MOUNT-OTHER-NAMESPACE RP-BIND-LOCKED-CHILDREN RP-BIND-UNBINDABLE",
       [](PlanBuilder& b) { b.mount("/", "/mnt", nullptr, abi::ms_bind, nullptr); }},
      {EINVAL, 0, true, "RP-MOUNT-OTHER-NAMESPACE RP-BIND-UNBINDABLE",
       [](PlanBuilder& b) { b.mount("/", "/mnt", nullptr, abi::ms_bind | abi::ms_rec, nullptr); }},
      {EINVAL, 0, true, "RP-MOUNT-OTHER-NAMESPACE RP-BIND-LOCKED-CHILDREN RP-BIND-UNBINDABLE",
       [](PlanBuilder& b) { b.open_tree(Fd::cwd(), "/sys", abi::open_tree_clone); }},
      // overlayfs
      {ENOENT, 0, false, "RP-OVL-OPTIONS-TOO-LONG",
       [](PlanBuilder& b) { b.mount("overlay", "/mnt", "overlay", 0, "lowerdir=" + std::string(4200, 'a') + ":/b"); }},
      {EINVAL, 0, false, "RP-OVL-UPPER-ON-OVERLAY RP-OVL-WORK-UPPER-APART RP-OVL-VOLATILE-LEFT RP-OVL-DEPTH",
       [](PlanBuilder& b) { b.mount("overlay", "/mnt", "overlay", 0, "lowerdir=/a,upperdir=/u,workdir=/w"); }},
      {EINVAL, 0, false, "RP-OVL-ONE-LOWER", [](PlanBuilder& b) { b.mount("overlay", "/mnt", "overlay", 0, "lowerdir=/a"); }},
      {EINVAL, 2, false, "RP-OVL-ONE-LOWER",
       [](PlanBuilder& b) {
         Fd fs = fs_of(b, "overlay");
         b.fsconfig_string(fs, "lowerdir+", "/a");
         b.fsconfig_create(fs);
       }},
      {EINVAL, 3, false, "RP-OVL-DEPTH",
       [](PlanBuilder& b) {
         Fd fs = fs_of(b, "overlay");
         b.fsconfig_string(fs, "lowerdir+", "/a");
         b.fsconfig_string(fs, "lowerdir+", "/b");
         b.fsconfig_create(fs);
       }},
      {EBUSY, 0, false, "RP-OVL-IN-USE",
       [](PlanBuilder& b) { b.mount("overlay", "/mnt", "overlay", 0, "lowerdir=/a,upperdir=/u,workdir=/w"); }},
      {ELOOP, 0, false, "RP-MOUNT-INTO-ITSELF RP-OVL-CONFLICTING-LAYERS",
       [](PlanBuilder& b) { b.mount("overlay", "/mnt", "overlay", 0, "lowerdir=/a:/a"); }},
      {EIO, 0, true, "RP-OVL-USERXATTR", [](PlanBuilder& b) { b.mkdirat(Fd::held(7), "a", 0755); }},
      // the kernel's own file systems
      {EPERM, 1, true, "RP-PROC-PID-NAMESPACE RP-PROC-TOO-REVEALING RP-NO-PRIVILEGE",
       [](PlanBuilder& b) { b.fsconfig_create(fs_of(b, "proc")); }},
      {EPERM, 0, true, "RP-PROC-PID-NAMESPACE RP-PROC-TOO-REVEALING RP-NO-PRIVILEGE",
       [](PlanBuilder& b) { b.mount("proc", "/proc", "proc", 0, nullptr); }},
      {EPERM, 0, false, "RP-NO-PRIVILEGE", [](PlanBuilder& b) { b.mount("proc", "/proc", "proc", 0, nullptr); }},
      {EPERM, 0, true, "RP-SYSFS-NET-NAMESPACE RP-SYSFS-READ-ONLY RP-NO-PRIVILEGE",
       [](PlanBuilder& b) { b.mount("sysfs", "/sys", "sysfs", 0, nullptr); }},
      {EPERM, 0, true, "RP-CGROUP-NAMESPACE RP-NO-PRIVILEGE", [](PlanBuilder& b) { b.mount("cgroup2", "/mnt", "cgroup2", 0, nullptr); }},
      {EPERM, 0, true, "RP-MQUEUE-IPC-NAMESPACE RP-NO-PRIVILEGE", [](PlanBuilder& b) { b.mount("mqueue", "/mnt", "mqueue", 0, nullptr); }},
      {EPERM, 0, true, "RP-FS-NOT-IN-USER-NAMESPACE RP-NO-PRIVILEGE",
       [](PlanBuilder& b) { b.mount("/dev/sda", "/mnt", "ext4", 0, nullptr); }},
      {EINVAL, 1, true, "RP-DEVPTS-GID", [](PlanBuilder& b) { b.fsconfig_string(fs_of(b, "devpts"), "gid", "5"); }},
      {EINVAL, 1, false, "RP-FS-OPTION", [](PlanBuilder& b) { b.fsconfig_string(fs_of(b, "tmpfs"), "size", "much"); }},
      {ENODEV, 0, false, "RP-FS-UNKNOWN", [](PlanBuilder& b) { b.fsopen("tmfps"); }},
      {ENODEV, 0, false, "RP-FS-UNKNOWN", [](PlanBuilder& b) { b.mount("x", "/mnt", "tmfps", 0, nullptr); }},
      // device nodes, paths, the rest
      {EPERM, 0, false, "RP-MKNOD-NOT-PERMITTED RP-NO-PRIVILEGE",
       [](PlanBuilder& b) { b.mknodat(Fd::held(7), "null", abi::s_ifchr | 0666U, 259); }},
      {EPERM, 0, true, "RP-MKNOD-NOT-PERMITTED", [](PlanBuilder& b) { b.mknodat(Fd::held(7), "null", abi::s_ifchr | 0666U, 259); }},
      {ENOENT, 0, false, "RP-PATH-MISSING-IN-ROOT", [](PlanBuilder& b) { b.openat(Fd::held(7), "proc", abi::o_path); }},
      {ENOENT, 0, false, "RP-PATH-MISSING-ON-HOST",
       [](PlanBuilder& b) { b.in_prologue([&] { b.openat(Fd::cwd(), "/srv", abi::o_path); }); }},
      {EACCES, 0, false, "RP-PATH-NO-SEARCH", [](PlanBuilder& b) { b.openat(Fd::cwd(), "/home/a/b", abi::o_path); }},
      {EROFS, 0, false, "RP-PATH-READ-ONLY", [](PlanBuilder& b) { b.mkdirat(Fd::held(7), "a", 0755); }},
      {EEXIST, 0, false, "RP-PATH-EXISTS", [](PlanBuilder& b) { b.symlinkat("a", Fd::held(7), "b"); }},
      {ENOSPC, 0, false, "RP-NO-SPACE", [](PlanBuilder& b) { b.write(Fd::held(7), "a"); }},
      {ENOSYS, 0, false, "RP-KERNEL-CALL-MISSING", [](PlanBuilder& b) { b.fsopen("tmpfs"); }},
  };
  for (const Row& row : rows) {
    const Plan plan = plan_of(row.body, row.user_namespace);
    const std::string found = ids(causes(failure_at(plan, row.operation, row.error_number), plan));
    INFO("the row that expects " << row.expected);
    CHECK(found == row.expected);
  }
}

TEST_CASE("explain: the kernel's own message makes a cause certain") {
  const Plan plan = plan_of([](PlanBuilder& b) { b.fsconfig_string(fs_of(b, "overlay"), "upperdir", "/mnt"); });
  const Error error = failure_at(plan, 1, EINVAL);
  const Report upper = report_of(error, "e overlay: filesystem on /mnt not supported as upperdir\n");
  CHECK(ids(causes(error, plan, &upper)) == "RP-OVL-UPPER-ON-OVERLAY");
  const Report option = report_of(error, "e overlay: Unknown parameter 'uperdir'\n");
  CHECK(ids(causes(error, plan, &option)) == "RP-FS-OPTION");
}

TEST_CASE("explain: what the launcher meets") {
  struct Row {
    long number;
    int error_number;
    std::string expected;
  };
  const std::vector<Row> rows{
      {SYS_clone3, EPERM, "RP-USERNS-RESTRICTED RP-NO-PRIVILEGE"},
      {SYS_clone, ENOSPC, "RP-USERNS-LIMIT"},
      {SYS_execve, ENOENT, "RP-EXEC-INTERPRETER"},
      {SYS_execve, EACCES, "RP-EXEC-NOT-EXECUTABLE RP-PATH-NO-SEARCH"},
      {SYS_execve, ENOEXEC, "RP-EXEC-FORMAT"},
      {SYS_setgroups, EPERM, "RP-SETGROUPS-DENIED RP-NO-PRIVILEGE"},
  };
  for (const Row& row : rows) {
    CHECK(ids(causes(Error::from_errno(row.error_number, static_cast<std::uint16_t>(row.number)))) == row.expected);
  }
}

TEST_CASE("explain: every hint has an id of its own, a cause and a remedy, and prints within 100 columns") {
  std::set<std::string_view> seen;
  std::string table;
  for (const Hint& hint : hints()) {
    INFO(hint.id);
    CHECK(hint.id.starts_with("RP-"));
    CHECK(hint.id.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ-") == std::string_view::npos);
    CHECK(seen.insert(hint.id).second);
    CHECK_FALSE(hint.symptom.empty());
    CHECK_FALSE(hint.cause.empty());
    CHECK_FALSE(hint.remedy.empty());
    CHECK_FALSE(hint.cause.ends_with('.'));
    CHECK_FALSE(hint.remedy.ends_with('.'));
    table.append(hint.id).append("\n  ").append(hint.symptom).append("\n");
  }
  for (const int error_number : {EPERM, ENOENT, EINVAL, EBUSY, EACCES, ENOSPC, ENOSYS, ELOOP, EROFS}) {
    for (const long number : {SYS_mount, SYS_pivot_root, SYS_fsconfig, SYS_mount_setattr, SYS_clone3, SYS_execve, SYS_mknodat}) {
      const std::string text = explain(Error::from_errno(error_number, static_cast<std::uint16_t>(number)));
      std::istringstream lines{text};
      for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 100);
    }
  }
  require_golden("hints.txt", table);
}

TEST_CASE("explain: every plan error and child error has exactly one first cause") {
  for (int code = 1; code <= static_cast<int>(PlanErrc::bad_option); ++code) {
    INFO(code);
    CHECK(causes(Error::from_plan(static_cast<PlanErrc>(code))).size() == 1);
  }
  for (int code = 1; code <= static_cast<int>(ChildErrc::exited_early); ++code) {
    INFO(code);
    const std::size_t count = causes(Error::from_child(static_cast<ChildErrc>(code))).size();
    CHECK(count == (static_cast<ChildErrc>(code) == ChildErrc::not_read_only ? 2 : 1));
  }
}

TEST_CASE("explain: whole texts") {
  std::string all;
  const auto add = [&](const std::string& title, const std::string& text) { all += "--- " + title + "\n" + text + '\n'; };

  const Plan forgot_bind = Pipeline{PrepareRoot{.path = "/srv/root", .mount = RootMount::none}, PivotRoot{}}
                               .compile({.features = KernelFeatures::linux_6_18(), .check_host = false})
                               .value();
  add("pivot_root without the bind", explain(failure_at(forgot_bind, first_call(forgot_bind, SYS_pivot_root), EINVAL), forgot_bind));

  const Plan rootless = canonical(KernelFeatures::linux_6_18(), true);
  const std::uint32_t proc = first_call(rootless, SYS_fsopen, rootless.prologue_size());
  const Error proc_refused = failure_at(rootless, first_call(rootless, SYS_fsconfig, proc + 2), EPERM);
  add("proc in a user namespace", explain(proc_refused, rootless));

  const Plan overlay = plan_of([](PlanBuilder& b) { b.fsconfig_string(fs_of(b, "overlay"), "upperdir", "/var/lib/box/upper"); });
  const Error refused = failure_at(overlay, 1, EINVAL);
  const Report report = report_of(refused, "e overlay: filesystem on /var/lib/box/upper not supported as upperdir\n\n");
  add("upper on overlayfs", explain(refused, overlay, &report));

  const Plan old = canonical(KernelFeatures::linux_6_1(), true);
  const std::uint32_t overlay_mount = first_call(old, SYS_mount, old.prologue_size());
  const Error old_refused = failure_at(old, overlay_mount, EPERM);
  add("a long call", explain(old_refused, old));

  const Plan full = canonical(KernelFeatures::linux_6_18());
  const std::uint32_t optional = first_call(full, SYS_open_tree, first_call(full, SYS_open_tree, first_call(full, SYS_open_tree) + 1) + 1);
  const std::uint32_t umount = first_call(full, SYS_umount2);
  const Error late = failure_at(full, umount, EINVAL);
  const Report before = report_of(late, {}, {{optional, ENOENT}});
  add("after a skipped step", explain(late, full, &before));

  Error child = Error::from_child(ChildErrc::not_read_only);
  child.operation = 5;
  child.step = 0;
  add("found in the child", explain(child, full));
  add("nothing known but the number", explain(Error::from_errno(EINVAL, 999)));
  add("launching", explain(Error::from_errno(ENOENT, SYS_execve), full));
  add("a bad plan", explain(Error::from_plan(PlanErrc::format_version)));
  add("no error", explain(Error{}));

  std::vector<Problem> problems;
  const Pipeline wrong{PrepareRoot{.path = "srv/root"}, OverlayMount{.lower = {"/a"}, .upper = "/u"},
                       DeviceSetup{.pts_options = {.gid = 5}}};
  CHECK(wrong.compile({.features = KernelFeatures::linux_6_18(), .user_namespace = true, .check_host = false}, &problems).has_error());
  for (const Problem& problem : problems) add("a wrong value", explain(problem));
  require_golden("explain.txt", all);
}

TEST_CASE("describe: the way in and what was skipped") {
  const Plan plan = canonical(KernelFeatures::linux_6_18());
  Report report = report_of(Error{});
  report.entered_by = RootEntry::pivot_root;
  CHECK(describe(report, plan) == "entered the root by pivot_root\n");
  const std::uint32_t optional = first_call(plan, SYS_open_tree, first_call(plan, SYS_open_tree, first_call(plan, SYS_open_tree) + 1) + 1);
  report.entered_by = RootEntry::move_root;
  report.events[0] = {optional, ENOENT};
  report.events[1] = {first_call(plan, SYS_pivot_root), EINVAL};
  report.event_count = 2;
  CHECK(describe(report, plan) ==
        "step 6: bind /opt/tools on /opt/tools (optional): skipped: the source does not exist (open_tree:\n"
        "  ENOENT, operation " +
            std::to_string(optional) +
            ")\n"
            "step 11: enter root by pivot_root, or by moving it: pivot_root refused (as on an initramfs): the\n"
            "  root is moved over / instead (pivot_root: EINVAL, operation " +
            std::to_string(first_call(plan, SYS_pivot_root)) +
            ")\n"
            "entered the root by moving it over /: the host's mounts stay hidden below it\n");
  CHECK(describe(Report{}, plan).empty());
}
