// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors

// One directory of the host three times in a container: as a shared, a slave and a private mount. It prints who sees the mounts of whom:
//
//   a mount of the host is seen in the container: shared slave
//   a mount of the container is seen on the host:  shared
#include "rootprep/steps.hpp"
#include "support.hpp"

rootprep::Pipeline example::propagation() {
  using namespace rootprep;
  return {
      // The default, rslave, would make every one of them a slave. Not recursive: only "/" itself changes.
      PrepareRoot{.path = "/tmp/root", .propagation = Propagation::private_, .recursive = false},
      MountSpec::bind("/tmp/shared", "/shared"),
      MountSpec::bind("/tmp/slave", "/slave").with_propagation(Propagation::slave),
      MountSpec::bind("/tmp/private", "/private").with_propagation(Propagation::private_),
      MountSpec::proc(),
      EnterRoot{},
  };
}

int main() {
  using namespace rootprep;
  example::use_private_tmp();
  example::make_image("/tmp/root");
  const std::string kinds[] = {"shared", "slave", "private"};
  for (const std::string& kind : kinds) {
    const std::string place = "/tmp/" + kind;
    std::filesystem::create_directory(place);
    if (::mount("example", place.c_str(), "tmpfs", 0, nullptr) != 0 || ::mount(nullptr, place.c_str(), nullptr, MS_SHARED, nullptr) != 0)
      return 1;
    for (const char* name : {"/of-the-host", "/of-the-container"}) std::filesystem::create_directory(place + name);
  }

  // The program waits for a line on its standard input: until the host has mounted.
  const char* script =
      "read go\n"
      "echo a mount of the host is seen in the container: \\\n"
      "  $(for kind in shared slave private; do [ -e /$kind/of-the-host/file ] && echo $kind; done)\n"
      "for kind in shared slave private; do mount -t tmpfs example /$kind/of-the-container; echo > /$kind/of-the-container/file; done\n";
  int line[2] = {-1, -1};
  if (::pipe2(line, O_CLOEXEC) != 0) return 1;
  const Plan plan = example::compile_or_exit(example::propagation());
  LaunchReport report;
  result<Child> child = launch(
      plan,
      {.namespaces = Namespace::mount | Namespace::pid, .exec = {"/bin/sh", "-c", script}, .pass_descriptors = {{.fd = line[0], .as = 0}}},
      &report);
  if (!child) {
    std::cerr << explain(report, plan);
    return 1;
  }
  for (const std::string& kind : kinds) {
    const std::string place = "/tmp/" + kind + "/of-the-host";
    if (::mount("example", place.c_str(), "tmpfs", 0, nullptr) != 0) return 1;
    example::write_file(place + "/file", "");
  }
  if (::write(line[1], "\n", 1) != 1) return 1;
  const int status = child.assume_value().wait().value().shell_code();

  std::cout << "a mount of the container is seen on the host: ";
  for (const std::string& kind : kinds) {
    if (std::filesystem::exists("/tmp/" + kind + "/of-the-container/file")) std::cout << ' ' << kind;
  }
  std::cout << '\n';
  return status;
}
