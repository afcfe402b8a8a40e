// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "catch.hpp"
#include "support/namespaces.hpp"

// Roots as people have them: Debian's, made by mmdebstrap, and one of busybox alone. A shell in them must find a working system.

using namespace rootprep;
using namespace support;

namespace {

int run_shell(const std::string& script) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/bin/sh", "sh", "-c", script.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = -1;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

void run_in(const std::string& image, const std::string& extra_check, bool made_by_ordinary_user) {
  for (const Variant& variant : variants()) {
    INFO(variant.name());
    const bool mine = !variant.user_namespace() || made_by_ordinary_user;
    World world{variant.mode};
    world.build("root", {});
    world.build("src", {"file=content"});
    Pipeline pipeline{
        PrepareRoot{.path = variant.user_namespace() && !variant.features.overlay_in_user_namespace ? image : world / "root"}};
    const bool overlay = !variant.user_namespace() || variant.features.overlay_in_user_namespace;
    if (overlay) pipeline.add(OverlayMount{.lower = {image}, .ephemeral = EphemeralUpper{.size = 16 << 20}});
    pipeline.add(MountSpec::proc());
    pipeline.add(DeviceSetup{});
    if (overlay) pipeline.add(MountSpec::bind(world / "src", "/mnt"));
    pipeline.add(MaskPaths{});
    pipeline.add(ReadonlyPaths{});
    pipeline.add(EnterRoot{});
    CHECK_NOTHING_WRONG(in_namespaces(variant.mode, [&](Inside& inside) {
      inside.prepare(variant, pipeline);
      EXPECT_SAME(
          inside,
          run_shell("test -c /dev/null && echo x > /dev/null && test -r /proc/self/status && test -d /dev/shm && cd / && pwd > /dev/null"),
          0);
      EXPECT_SAME(inside, run_shell(extra_check), 0);
      if (overlay) EXPECT_SAME(inside, run_shell("test \"$(cat /mnt/file)\" = content"), 0);
      // An image of the real root belongs to nobody in a user namespace of one id: there it can only be read.
      if (overlay && mine) EXPECT_SAME(inside, run_shell("echo new > /created && test -s /created"), 0);
      EXPECT_SAME(inside, inside.mount_at("/").type == "overlay", overlay);
    }));
    CHECK(type_of(image + "/created") == "No such file or directory");
  }
}

}  // namespace

TEST_CASE("A root of busybox alone") {
  std::string busybox;
  for (const char* path : {"/bin/busybox", "/usr/bin/busybox"}) {
    if (::access(path, X_OK) == 0) busybox = path;
  }
  if (busybox.empty() || ::system((busybox + " true").c_str()) != 0 || ::system(("ldd " + busybox + " > /dev/null 2>&1").c_str()) == 0) {
    skip("no static busybox (Debian package busybox-static)");
    return;
  }
  World image{Mode::rootless};
  image.build("image", {"bin/", "etc/name=busybox", "proc/", "dev/", "mnt/"});
  std::filesystem::copy_file(busybox, image / "image/bin/busybox");
  for (const char* name : {"sh", "cat", "ls", "test"})
    std::filesystem::create_symlink("busybox", image / (std::string{"image/bin/"} + name));
  run_in(image / "image", "test \"$(cat /etc/name)\" = busybox", true);
}

TEST_CASE("A Debian root made by mmdebstrap") {
  if (::geteuid() != 0 || ::system("command -v mmdebstrap > /dev/null") != 0) {
    skip("mmdebstrap and root are needed (Debian package mmdebstrap)");
    return;
  }
  // Made once, kept in the build directory.
  const std::filesystem::path cache{ROOTPREP_ROOT_CACHE};
  const std::string image = (cache / "debian").string();
  if (!std::filesystem::exists(image + "/etc/debian_version")) {
    std::filesystem::create_directories(cache);
    const std::string unfinished = image + ".new";
    std::filesystem::remove_all(unfinished);
    const std::string log = (cache / "mmdebstrap.log").string();
    if (::system(("timeout 300 mmdebstrap --quiet --variant=minbase bookworm '" + unfinished + "' > '" + log + "' 2>&1").c_str()) != 0) {
      const std::string why = content_of(log);
      skip("mmdebstrap failed: " + why.substr(why.size() > 300 ? why.size() - 300 : 0));
      return;
    }
    std::filesystem::rename(unfinished, image);
  }
  run_in(image, "grep -q Debian /etc/os-release && dpkg --version > /dev/null && test -L /bin", false);
}
