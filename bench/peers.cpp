// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// Other programs doing the canonical container's work, as whole processes: the price of a program that is executed, not of a library that
// is linked. Compare with program/rootprep-run, which is ours. What is not installed is left out, and said.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "canonical.hpp"

namespace {

bool installed(const std::string& program) {
  if (program.starts_with('/')) return ::access(program.c_str(), X_OK) == 0;
  for (const char* directory : {"/usr/bin/", "/usr/sbin/", "/bin/"}) {
    if (::access((directory + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

int run(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  int status = -1;
  if (error == 0) ::waitpid(pid, &status, 0);
  return status;
}

void peer(benchmark::State& state, const std::vector<std::string>& command) {
  if (!installed(command.front())) {
    state.SkipWithError(("not installed: " + command.front()).c_str());
    return;
  }
  for (auto _ : state) {
    if (run(command) != 0) {
      state.SkipWithError((command.front() + " failed").c_str());
      return;
    }
  }
}

const std::vector<std::string>& bubblewrap() {
  static const std::vector<std::string> command{"bwrap",         "--ro-bind",     bench::image(), "/",    "--proc", "/proc",
                                                "--dev",         "/dev",          "--ro-bind",    "/sys", "/sys",   "--unshare-pid",
                                                "--unshare-uts", "--unshare-ipc", "/bin/true"};
  return command;
}

// An OCI bundle with the canonical mounts and no cgroup, network or seccomp work.
const std::string& bundle() {
  static const std::string directory = [] {
    const std::string path = bench::image() + "-bundle";
    std::filesystem::create_directory(path);
    std::ofstream{path + "/config.json"}
        << R"({"ociVersion":"1.0.2","process":{"user":{"uid":0,"gid":0},"args":["/bin/true"],"cwd":"/","env":["PATH=/bin"]},
"root":{"path":")"
        << bench::image() << R"(","readonly":true},"mounts":[
{"destination":"/proc","type":"proc","source":"proc"},
{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","strictatime","mode=755","size=65536k"]},
{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620"]},
{"destination":"/dev/shm","type":"tmpfs","source":"shm","options":["nosuid","noexec","nodev","mode=1777","size=65536k"]},
{"destination":"/dev/mqueue","type":"mqueue","source":"mqueue","options":["nosuid","noexec","nodev"]},
{"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]}],
"linux":{"namespaces":[{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"mount"}]}})";
    return path;
  }();
  return directory;
}

// Our own program, which lies beside this one. Its overlay with an ephemeral upper is more than the others do: they bind the image.
void run_rootprep(benchmark::State& state) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "rootprep-run";
  peer(state, {program, "--quiet", "--read-only", "--image", bench::image(), "true"});
}
BENCHMARK(run_rootprep)->Name("program/rootprep-run")->Unit(benchmark::kMicrosecond)->UseRealTime();

void run_bwrap(benchmark::State& state) { peer(state, bubblewrap()); }
void run_crun(benchmark::State& state) {
  peer(state, {"crun", "--cgroup-manager=disabled", "run", "--bundle", bundle(), "rootprep-bench-crun"});
}
void run_runc(benchmark::State& state) { peer(state, {"runc", "run", "--bundle", bundle(), "rootprep-bench-runc"}); }
BENCHMARK(run_bwrap)->Name("program/bwrap")->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(run_crun)->Name("program/crun")->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(run_runc)->Name("program/runc")->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
