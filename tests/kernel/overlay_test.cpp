// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/namespaces.hpp"

// OverlayMount: layers, names, limits, and what becomes of writes.

using namespace rootprep;
using namespace support;

namespace {

// Overlay in a user namespace needs 5.11: the plans for the two older kernels are refused, and that is all there is to test.
bool refused(const Variant& variant, const OverlayMount& overlay, const std::string& root) {
  if (!variant.user_namespace() || variant.features.overlay_in_user_namespace) return false;
  const result<Plan> plan = Pipeline{PrepareRoot{.path = root, .mount = RootMount::none}, overlay, EnterRoot{}}.compile(
      {.features = variant.features, .user_namespace = true});
  CHECK((plan.has_error() && plan.assume_error().is(PlanErrc::unsupported_by_kernel)));
  return true;
}

void in_overlay(const Variant& variant, const World& world, const OverlayMount& overlay, const std::function<void(Inside&)>& body) {
  if (refused(variant, overlay, world / "root")) return;
  CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
    inside.prepare(variant, {PrepareRoot{.path = world / "root", .mount = RootMount::none}, overlay, EnterRoot{}});
    body(inside);
  }));
}

}  // namespace

TEST_CASE("OverlayMount: the first lower is the topmost, writes go to the upper layer, the lower ones stay as they are") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"covered/"});
    world.build("a", {"both=a", "only-a=1"});
    world.build("b", {"both=b", "only-b=2", "gone=x"});
    world.build("up", {"upper/", "work/"});
    const std::string before = snapshot(world / "a") + snapshot(world / "b");
    in_overlay(variant, world, {.lower = {world / "a", world / "b"}, .upper = world / "up/upper", .work = world / "up/work"},
               [&](Inside& inside) {
                 EXPECT_SAME(inside, content_of("/both"), "a");
                 EXPECT_SAME(inside, content_of("/only-a") + content_of("/only-b"), "12");
                 EXPECT_SAME(inside, type_of("/covered"), "No such file or directory");
                 EXPECT_SAME(inside, write_to("/new", "n"), 0);
                 EXPECT_SAME(inside, ::unlink("/gone"), 0);
                 EXPECT_SAME(inside, inside.mounts().size(), std::size_t{1});
                 EXPECT_SAME(inside, inside.mount_at("/").super_options.find("userxattr") != std::string::npos, variant.user_namespace());
               });
    CHECK(snapshot(world / "a") + snapshot(world / "b") == before);
    if (!variant.user_namespace() || variant.features.overlay_in_user_namespace) CHECK(content_of(world / "up/upper/new") == "n");
  }
}

TEST_CASE("OverlayMount: layer names with colons, commas, backslashes, spaces, quotes, newlines and percent signs") {
  const std::vector<std::string> names{"a:b", "a,b", "a\\b", "a b", "a\"\n%", "a\\:b\\,c\\\\"};
  for (const Variant& variant : variants()) {
    for (const std::string& name : names) {
      INFO(variant.name() << ", \"" << name << '"');
      World world{variant.mode};
      world.build("root", {});
      world.build("l1" + name, {"one=1"});
      world.build("l2" + name, {"two=2"});
      world.build("up" + name, {});
      world.directory("up" + name + "/u" + name);
      world.directory("up" + name + "/w" + name);
      in_overlay(variant, world,
                 {.lower = {world / ("l1" + name), world / ("l2" + name)},
                  .upper = world / ("up" + name + "/u" + name),
                  .work = world / ("up" + name + "/w" + name)},
                 [&](Inside& inside) {
                   EXPECT_SAME(inside, content_of("/one") + content_of("/two"), "12");
                   EXPECT_SAME(inside, write_to("/new", "n"), 0);
                 });
      if (!variant.user_namespace() || variant.features.overlay_in_user_namespace)
        CHECK(content_of(world / ("up" + name + "/u" + name + "/new")) == "n");
    }
  }
}

TEST_CASE("OverlayMount: 2, 150, 151 and 500 lower layers, writable, ephemeral or not, 501 are refused") {
  World layers{Mode::rootless};
  std::vector<std::string> all;
  {
    for (int i = 0; i < 501; ++i) {
      // A name that is long, and needs escaping where there is any.
      const std::string name = "layers/" + std::string(40, 'x') + ":," + std::to_string(i);
      layers.build(name, {});
      if (i == 0 || i == 1 || i == 149 || i == 150 || i == 499)
        layers.build(name, {("file" + std::to_string(i) + "=" + std::to_string(i)).c_str()});
      all.push_back(layers / name);
    }
  }
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {});
    for (const std::size_t count : {std::size_t{2}, std::size_t{150}, std::size_t{151}, std::size_t{500}}) {
      for (const bool ephemeral : {false, true}) {
        INFO(count << (ephemeral ? " ephemeral" : " read-only"));
        OverlayMount overlay{.lower = {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count)}};
        if (ephemeral) overlay.ephemeral = EphemeralUpper{.size = 1 << 20};
        in_overlay(variant, world, overlay, [&](Inside& inside) {
          EXPECT_SAME(inside, content_of("/file0"), "0");
          EXPECT_SAME(inside, content_of("/file" + std::to_string(count - 1)), std::to_string(count - 1));
          EXPECT_SAME(inside, writable("/"), ephemeral);
        });
      }
    }
    const result<Plan> plan = Pipeline{PrepareRoot{.path = world / "root"}, OverlayMount{.lower = all}}.compile(
        {.features = variant.features, .user_namespace = variant.user_namespace()});
    CHECK((plan.has_error() && plan.assume_error().is(PlanErrc::too_many_layers)));
  }
}

TEST_CASE("OverlayMount: an ephemeral upper has its size and leaves nothing") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"untouched=x"});
    world.build("base", {"file=content"});
    const std::string before = snapshot(world.path());
    in_overlay(variant, world, {.lower = {world / "base"}, .ephemeral = EphemeralUpper{.size = 1 << 20}}, [&](Inside& inside) {
      struct statvfs status {};
      EXPECT(inside, ::statvfs("/", &status) == 0 && status.f_blocks * status.f_frsize == (1U << 20U));
      EXPECT_SAME(inside, write_to("/file", "changed"), 0);
      EXPECT_SAME(inside, write_to("/big", std::string(2 << 20, 'x')), 0);  // a short write: it does not fit
      EXPECT(inside, content_of("/big").size() < (1U << 20U));
      EXPECT_SAME(inside, type_of("/upper"), "No such file or directory");
      EXPECT_SAME(inside, type_of("/work"), "No such file or directory");
    });
    CHECK(snapshot(world.path()) == before);
  }
}

TEST_CASE("OverlayMount: read-only with two lowers, with one it is a read-only bind that does not show the mounts below the layer") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {});
    world.build("a", {"file=a"});
    world.build("b", {"other=b"});
    in_overlay(variant, world, {.lower = {world / "a", world / "b"}}, [&](Inside& inside) {
      EXPECT_SAME(inside, content_of("/other"), "b");
      EXPECT_SAME(inside, write_to("/new", "x"), EROFS);
      EXPECT_SAME(inside, inside.mount_at("/").type, "overlay");
    });
    const OverlayMount single{.lower = {world / "a"}};
    if (refused(variant, single, world / "root")) continue;
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      inside.prepare(variant, {PrepareRoot{.path = world / "root", .mount = RootMount::none}, single, EnterRoot{}});
      EXPECT_SAME(inside, content_of("/file"), "a");
      EXPECT_SAME(inside, write_to("/new", "x"), EROFS);
      EXPECT(inside, inside.mount_at("/").type != "overlay");
    }));
  }
}

TEST_CASE("OverlayMount: upper and work are made if asked, and else must exist") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {});
    world.build("a", {"file=a"});
    world.build("state", {});
    const OverlayMount overlay{.lower = {world / "a"}, .upper = world / "state/upper", .work = world / "state/work"};
    const result<Plan> without = Pipeline{PrepareRoot{.path = world / "root"}, overlay}.compile(
        {.features = variant.features, .user_namespace = variant.user_namespace()});
    CHECK((without.has_error() && without.assume_error().is(PlanErrc::not_found)));
    OverlayMount with = overlay;
    with.create_upper_and_work = true;
    if (refused(variant, with, world / "root")) continue;
    for (int again = 0; again < 2; ++again) {
      in_overlay(variant, world, with, [&](Inside& inside) { EXPECT_SAME(inside, write_to("/new" + std::to_string(again), "x"), 0); });
    }
    CHECK(mode_of(world / "state/upper") == "0755");
    CHECK(content_of(world / "state/upper/new0") + content_of(world / "state/upper/new1") == "xx");
  }
}

TEST_CASE("OverlayMount: one that comes up read-only although it has an upper is an error") {
  for (const Variant& variant : variants(Mode::rootless)) {
    if (::geteuid() != 0) {
      skip("an upper of another owner: making it needs root");
      return;
    }
    INFO(variant.name());
    World world{Mode::root};  // everything belongs to root, which this user namespace does not know
    world.build("root", {});
    world.build("a", {"file=a"});
    world.build("up", {"upper/", "work/"});
    const OverlayMount overlay{.lower = {world / "a"}, .upper = world / "up/upper", .work = world / "up/work"};
    if (refused(variant, overlay, world / "root")) continue;
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      const Report report = inside.attempt(variant, {PrepareRoot{.path = world / "root", .mount = RootMount::none}, overlay, EnterRoot{}});
      EXPECT(inside, report.error.is(ChildErrc::mounted_read_only));
      EXPECT(inside, report.entered_by == RootEntry::none);
    }));
  }
}

TEST_CASE("OverlayMount: a directory removed and made again works, also in a user namespace") {
  for (const Variant& variant : variants()) {
    for (const bool ephemeral : {false, true}) {
      INFO(variant.name() << (ephemeral ? ", ephemeral" : ""));
      World world{variant.mode};
      world.build("root", {});
      world.build("a", {"dir/old=x", "dir2/sub/deep=y"});
      world.build("up", {"upper/", "work/"});
      OverlayMount overlay{.lower = {world / "a"}};
      if (ephemeral) {
        overlay.ephemeral = EphemeralUpper{};
      } else {
        overlay.upper = world / "up/upper";
        overlay.work = world / "up/work";
      }
      in_overlay(variant, world, overlay, [&](Inside& inside) {
        for (const char* name : {"/dir", "/dir2"}) {
          EXPECT(inside, std::filesystem::remove_all(name) > 0);
          EXPECT_SAME(inside, ::mkdir(name, 0755), 0);
          EXPECT(inside, std::filesystem::is_empty(name));
          EXPECT(inside, writable(name));
        }
      });
    }
  }
}

TEST_CASE("OverlayMount: volatile, metacopy, redirect_dir, index and xino reach the kernel, attributes are those of the mount") {
  for (const Variant& variant : variants(Mode::root)) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {});
    world.build("a", {"file=a"});
    world.build("up", {"upper/", "work/"});
    OverlayMount overlay{.lower = {world / "a"},
                         .upper = world / "up/upper",
                         .work = world / "up/work",
                         .metacopy = true,
                         .redirect_dir = true,
                         .index = true,
                         .xino = "off"};
    overlay.volatile_upper = variant.features.overlay_volatile;
    overlay.attributes = {.nosuid = Setting::set, .nodev = Setting::set, .atime = Atime::noatime};
    in_overlay(variant, world, overlay, [&](Inside& inside) {
      const Mount mount = inside.mount_at("/");
      for (const char* option : {"metacopy=on", "redirect_dir=on", "index=on"})
        EXPECT(inside, mount.super_options.find(option) != std::string::npos);
      EXPECT_SAME(inside, mount.super_options.find("volatile") != std::string::npos, variant.features.overlay_volatile);
      EXPECT(inside, mount.has("nosuid") && mount.has("nodev") && mount.has("noatime"));
    });
  }
}

TEST_CASE("OverlayMount: below the root, on a directory that is made, and twice") {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    World world{variant.mode};
    world.build("root", {"etc/"});
    world.build("a", {"file=a"});
    world.build("b", {"file=b"});
    OverlayMount first{.lower = {world / "a", world / "b"}, .ephemeral = EphemeralUpper{}, .target = "/opt/one"};
    OverlayMount second{.lower = {world / "b", world / "a"}, .target = "/opt/two"};
    if (refused(variant, first, world / "root")) continue;
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      inside.prepare(variant, {PrepareRoot{.path = world / "root"}, first, second, EnterRoot{}});
      EXPECT_SAME(inside, content_of("/opt/one/file") + content_of("/opt/two/file"), "ab");
      EXPECT(inside, writable("/opt/one"));
      EXPECT_SAME(inside, write_to("/opt/two/x", "x"), EROFS);
      EXPECT_SAME(inside, inside.mount_at("/").type != "overlay", true);
    }));
  }
}
