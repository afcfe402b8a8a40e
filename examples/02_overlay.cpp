// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors

// One root of two layers, which stay as they are, below a layer in memory that takes the changes. It prints:
//
//   in the container: who is app, base is still here
//   in the container: who is changed
//   on the host:      who is app
#include "rootprep/steps.hpp"
#include "support.hpp"

rootprep::Pipeline example::overlay() {
  using namespace rootprep;
  return {
      PrepareRoot{.path = "/tmp/root", .mount = RootMount::none},  // the overlay is what makes it a mount
      OverlayMount{.lower = {"/tmp/app", "/tmp/base"}, .ephemeral = EphemeralUpper{.size = 1 << 20}},  // the topmost first
      EnterRoot{},
  };
}

int main() {
  example::use_private_tmp();
  example::make_image("/tmp/base");
  example::write_file("/tmp/base/etc/who", "base");
  example::write_file("/tmp/base/etc/base", "still here");
  example::write_file("/tmp/app/etc/who", "app");
  std::filesystem::create_directory("/tmp/root");

  const char* script =
      "echo in the container: who is $(cat /etc/who), base is $(cat /etc/base)\n"
      "echo changed > /etc/who\n"
      "echo in the container: who is $(cat /etc/who)\n";
  const int status = example::run(example::compile_or_exit(example::overlay()), {.exec = {"/bin/sh", "-c", script}});
  std::cout << "on the host:      who is " << example::read_file("/tmp/app/etc/who") << '\n';
  return status;
}
