// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// The script that to_shell() prints, run by sh(1): its mounts and files are those of the plan.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "catch.hpp"
#include "rootprep/explain.hpp"
#include "rootprep/print.hpp"
#include "support/namespaces.hpp"

using namespace rootprep;
using namespace support;

namespace {

// What can be compared: not the numbers of mounts, devices and peer groups.
std::string comparable(const std::string& mountinfo) {
  std::vector<std::string> lines;
  for (const Mount& mount : parse_mountinfo(mountinfo)) {
    std::string line = mount.target + ' ' + mount.root + ' ' + mount.type + ' ' + mount.source;
    for (const std::string& option : mount.options) line += ' ' + option;
    line += mount.shared() ? " shared" : mount.slave() ? " slave" : mount.unbindable() ? " unbindable" : " private";
    lines.push_back(line);
  }
  std::sort(lines.begin(), lines.end());
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  return text;
}

std::string read_file(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

// Runs a program, with its output in a file.
std::string output_of(const std::vector<std::string>& arguments, int& status) {
  const std::filesystem::path output = std::filesystem::temp_directory_path() / ("rootprep-shell-" + std::to_string(getpid()));
  const pid_t child = fork();
  if (child == 0) {
    const int fd = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  waitpid(child, &status, 0);
  const std::string text = read_file(output);
  std::filesystem::remove(output);
  return text;
}

// After the container has been made: its mounts, and all that is in it but the kernel's file systems.
const char* const look =
    "cat /proc/self/mountinfo; echo; ls -la /dev /etc /data /made 2>&1 | sed 's/ [A-Z][a-z][a-z] .*[0-9][0-9]:[0-9][0-9] / /'; cat /etc/hostname";

struct Seen {
  std::string mounts{};
  std::string files{};
};
Seen split(const std::string& text) {
  const std::size_t gap = text.find("\n\n");
  if (gap == std::string::npos) return {text, {}};
  return {comparable(text.substr(0, gap + 1)), text.substr(gap + 2)};
}

}  // namespace

TEST_CASE("to_shell: the script makes the container that the plan makes") {
  const std::vector<Mode> all = modes();
  if (std::find(all.begin(), all.end(), Mode::root) == all.end()) {
    skip("needs root");
    return;
  }
  if (!std::filesystem::exists("/bin/busybox")) {
    skip("needs /bin/busybox: apt-get install busybox-static");
    return;
  }
  const World world{Mode::root};
  for (const Variant& variant : variants(Mode::root)) {
    for (const bool ephemeral : {true, false}) {
      INFO(variant.name() << (ephemeral ? ", overlay" : ", bind"));
      std::vector<Seen> seen;
      std::string script;
      for (const char* name : {"plan", "script"}) {
        const std::string top = world / (variant.kernel + (ephemeral ? "-overlay-" : "-bind-") + "it's");
        std::filesystem::remove_all(top);
        for (const char* directory : {"/root/bin", "/root/etc", "/one,a/bin", "/two:b/etc", "/data/below"})
          std::filesystem::create_directories(top + directory);
        for (const char* image : {"/root/bin", "/one,a/bin"}) {
          std::filesystem::copy_file("/bin/busybox", top + image + "/busybox");
          for (const char* applet : {"sh", "mount", "umount", "cat", "ls", "sed", "stat"})
            std::filesystem::create_symlink("busybox", top + image + '/' + applet);
        }
        std::ofstream{top + "/data/file"} << "data\n";
        Pipeline pipeline{PrepareRoot{.path = top + "/root"}};
        if (ephemeral) pipeline.add(OverlayMount{.lower = {top + "/one,a", top + "/two:b"}, .ephemeral = EphemeralUpper{.size = 1 << 20}});
        for (const Step& step : std::vector<Step>{
                 MountSpec::proc(), MountSpec::tmpfs("/tmp", {.size = 1 << 20}),
                 MountSpec::bind(top + "/data", "/data").with({.ro = Setting::set, .nodev = Setting::set, .atime = Atime::noatime}),
                 MountSpec::bind(top + "/data/file", "/made/by/bind").with_propagation(Propagation::shared),
                 MountSpec::bind(top + "/missing", "/missing").optional_source(), DeviceSetup{},
                 MaskPaths{.paths = {"/proc/kcore", "/proc/acpi", "/proc/fs"}},
                 WriteFile{.path = "/etc/hostname", .content = "it's 100% \\ box\n", .mode = 0640},
                 MakeSymlink{.target = "../proc/mounts", .path = "/dev/mtab"}, MakeDirectory{.path = "/made/directory", .mode = 0701},
                 EnterRoot{}, RemountReadonly{}}) {
          pipeline.add(step);
        }
        const Plan plan = pipeline.compile({.features = variant.features}).value();
        int status = -1;
        if (std::string{name} == "script") {
          script = to_shell(plan);
          const std::string file = top + "/script";
          std::ofstream{file} << script;
          seen.push_back(
              split(output_of({"unshare", "--mount", "--ipc", "--propagation", "unchanged", "sh", file, "/bin/sh", "-c", look}, status)));
        } else {
          const std::string file = top + "/plan.json";
          std::ofstream{file} << to_json(plan).value();
          int ends[2] = {-1, -1};
          REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
          const pid_t child = fork();
          if (child == 0) {
            dup2(ends[1], 1);
            dup2(ends[1], 2);
            if (unshare(CLONE_NEWNS | CLONE_NEWIPC) != 0) _exit(125);
            Report report;
            const result<void> done = prepare_here(plan_from_json(read_file(file)).value(), &report);
            if (done.has_error()) {
              const std::string text = explain(done.error(), plan, &report);
              (void)!write(2, text.data(), text.size());
              _exit(124);
            }
            execl("/bin/sh", "sh", "-c", look, nullptr);
            _exit(127);
          }
          close(ends[1]);
          std::string text;
          char buffer[4096];
          for (ssize_t got = 0; (got = read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(got));
          close(ends[0]);
          waitpid(child, &status, 0);
          seen.push_back(split(text));
        }
        INFO(name << ": " << seen.back().mounts << seen.back().files);
        REQUIRE(WIFEXITED(status));
        REQUIRE(WEXITSTATUS(status) == 0);
        std::filesystem::remove_all(top);
      }
      INFO(script);
      CHECK(seen[1].mounts == seen[0].mounts);
      CHECK(seen[1].files == seen[0].files);
      CHECK(std::count(seen[0].mounts.begin(), seen[0].mounts.end(), '\n') >= 9);
    }
  }
}
