// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <cerrno>
#include <string>

#include "catch.hpp"
#include "golden.hpp"
#include "rootprep/print.hpp"
#include "unit/plans.hpp"

using namespace rootprep;
using rootprep::testing::canonical;
using rootprep::testing::plan_of;
using rootprep::testing::require_golden;

namespace {

Plan compiled(const Pipeline& pipeline, const KernelFeatures& features = KernelFeatures::linux_6_18()) {
  return pipeline.compile({.features = features, .check_host = false}).value();
}

bool has_line(const std::string& text, const std::string& line) { return ("\n" + text).find("\n" + line + "\n") != std::string::npos; }

}  // namespace

TEST_CASE("to_tree: the canonical container, the same on every kernel but for the way in which layers are named") {
  require_golden("canonical_tree.txt", to_tree(canonical(KernelFeatures::linux_6_18())));
  const std::string old = to_tree(canonical(KernelFeatures::none()));
  require_golden("canonical_tree_mount.txt", old);
  CHECK(to_tree(canonical(KernelFeatures::linux_6_1())) == old);
  CHECK(to_tree(canonical(KernelFeatures::linux_5_4())) == old);
}

TEST_CASE("to_tree: a later mount covers an earlier one, and a recursive bind takes its mounts along") {
  const Plan plan = compiled({
      PrepareRoot{.path = "/srv/root"},
      MountSpec::tmpfs("/a"),
      MountSpec::tmpfs("/a/b"),
      MountSpec::bind("/srv/root/a", "/c").with({.ro = Setting::set}),
      MountSpec::tmpfs("/d"),
      MountSpec::bind("/srv/data", "/d").with_propagation(Propagation::shared).with({.nosuid = Setting::set, .atime = Atime::noatime}),
      EnterRoot{},
      RemountReadonly{.recursive = true, .writable = {"/d"}},
  });
  CHECK(to_tree(plan) ==
        "TARGET   SOURCE    FSTYPE OPTIONS\n"
        "/        /srv/root rbind  ro\n"
        "├─/a     tmpfs     tmpfs  ro,nosuid,nodev\n"
        "│ └─/a/b tmpfs     tmpfs  ro,nosuid,nodev\n"
        "├─/c     tmpfs     tmpfs  ro,nosuid,nodev\n"
        "│ └─/c/b tmpfs     tmpfs  ro,nosuid,nodev\n"
        "└─/d     /srv/data rbind  nosuid,noatime,shared\n");
}

TEST_CASE("to_tree: a plan without mounts, and one without anything") {
  CHECK(to_tree(compiled({PrepareRoot{.path = "/mnt", .mount = RootMount::none}, Chroot{}})) ==
        "TARGET SOURCE FSTYPE OPTIONS\n"
        "/      /mnt   none\n");
  CHECK(to_tree(Plan{}) ==
        "TARGET SOURCE FSTYPE OPTIONS\n"
        "/      ?      none\n");
}

TEST_CASE("to_tree: masked paths show once, and say that they may be missing") {
  const std::string tree =
      to_tree(compiled({PrepareRoot{.path = "/srv/root"}, MountSpec::proc(), MaskPaths{.paths = {"/proc/kcore"}}, EnterRoot{}}));
  CHECK(tree ==
        "TARGET          SOURCE    FSTYPE OPTIONS\n"
        "/               /srv/root rbind\n"
        "└─/proc         proc      proc   rw,nosuid,nodev,noexec\n"
        "  └─/proc/kcore /dev/null bind   (if it exists)\n");
}

TEST_CASE("to_shell: the canonical container") {
  require_golden("canonical_linux_6_18.sh", to_shell(canonical(KernelFeatures::linux_6_18())));
  require_golden("canonical_mount.sh", to_shell(canonical(KernelFeatures::none())));
}

TEST_CASE("to_shell: any name is one word, and none is an option or a command") {
  const std::string script = to_shell(compiled({
      PrepareRoot{.path = "/srv/it's; $(reboot) `x`\n#"},
      MountSpec::bind("/srv/a b", "/$HOME\\*"),
      MakeSymlink{.target = "-n 'x'", .path = "/-f"},
      WriteFile{.path = "/a/%s", .content = "100% \\ '\x01\xff\n"},
  }));
  CHECK(has_line(script, "root='/srv/it'\\''s; $(reboot) `x`\n#'"));
  CHECK(has_line(script, "mount --rbind '/srv/a b' \"$root\"'/$HOME\\*'"));
  CHECK(has_line(script, "ln -s -T -- '-n '\\''x'\\''' \"$root/-f\""));
  CHECK(has_line(script, "printf '100%% \\\\ '\\''\\001\\377\\n' >> \"$root/a/%s\""));
  CHECK(has_line(script, "# step 0: prepare root /srv/it's; $(reboot) `x`\\012# (rslave, bound on itself)"));
}

TEST_CASE("to_shell: layers whose names have colons and commas are escaped") {
  const OverlayMount overlay{.lower = {"/srv/a:b", "/srv/c,d"}, .upper = "/srv/u\\p", .work = "/srv/work"};
  const std::string line = R"(mount -t overlay -o lowerdir='/srv/a\:b:/srv/c\,d',upperdir='/srv/u\\p',workdir=/srv/work overlay "$root")";
  for (const KernelFeatures& features : {KernelFeatures::linux_6_18(), KernelFeatures::linux_6_1(), KernelFeatures::none()}) {
    const std::string script = to_shell(compiled({PrepareRoot{.path = "/srv/root"}, overlay}, features));
    INFO(script);
    CHECK(has_line(script, line));
  }
}

TEST_CASE("to_shell: after a chroot the rest is the program that it runs") {
  const std::string script = to_shell(compiled({PrepareRoot{.path = "/mnt"}, MsMoveRoot{}, MakeDirectory{.path = "/made"}}));
  require_golden("move_root.sh", script);
  CHECK(script.find("mount --move . /\n") != std::string::npos);
  CHECK(script.find("exec chroot . /bin/sh -c 'set -eu") != std::string::npos);
  CHECK(script.find("make_directory /made 0755") != std::string::npos);
}

TEST_CASE("to_shell: where propagation was not separated, it is before the pivot") {
  const std::string script = to_shell(compiled({PrepareRoot{.path = "/mnt", .propagation = Propagation::shared}, PivotRoot{}}));
  CHECK(script.find("mount --make-rslave /\npivot_root . .\n") != std::string::npos);
  CHECK(has_line(script, "umount -l ."));
  CHECK(has_line(script, "mount --make-rshared /"));
}

TEST_CASE("to_shell: what a shell cannot do ends the script there") {
  const std::string script = to_shell(plan_of([](PlanBuilder& b) {
    b.call([](const ChildContext&) noexcept -> long { return 0; });
    b.syscall(900, {1, "it's"});
  }));
  CHECK(has_line(script, "fail 'a shell cannot do this: user_function(0 bytes)'"));
  CHECK(has_line(script, "fail 'a shell cannot do this: syscall_0x384(0x1, \"it'\\''s\")'"));
}

TEST_CASE("to_shell: conditions of the plan are conditions of the script, on every kernel") {
  for (const KernelFeatures& features :
       {KernelFeatures::linux_6_18(), KernelFeatures::linux_6_1(), KernelFeatures::linux_5_4(), KernelFeatures::none()}) {
    const std::string script = to_shell(compiled(
        {
            PrepareRoot{.path = "/srv/root"},
            MountSpec::bind("/opt/x", "/opt/x").optional_source(),
            MaskPaths{.paths = {"/proc/kcore"}},
        },
        features));
    INFO(script);
    CHECK(script.find("if [ -e /opt/x ]; then\n  make_like \"$root/opt/x\" 0755 /opt/x\n  mount --rbind /opt/x \"$root/opt/x\"\nfi\n") !=
          std::string::npos);
    CHECK(script.find("if [ -e \"$root/proc/kcore\" ] && [ ! -d \"$root/proc/kcore\" ]; then\n"
                      "  mount --bind \"$root/dev/null\" \"$root/proc/kcore\"\nfi\n") != std::string::npos);
    CHECK(script.find("if [ -e \"$root/proc/kcore\" ] && [ -d \"$root/proc/kcore\" ]; then\n  mount -t tmpfs -o ") != std::string::npos);
  }
}
