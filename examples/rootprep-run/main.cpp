// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors

// rootprep-run: runs a command in a container. With no options, in a disposable copy of the running system.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>

#include "host.hpp"
#include "options.hpp"
#include "pipeline.hpp"
#include "rootprep/explain.hpp"
#include "rootprep/launch.hpp"
#include "rootprep/print.hpp"
#include "supervise.hpp"
#include "workspace.hpp"

namespace rootprep_run {
namespace {

using rootprep::Namespace;

// --- before any side effect ---

void require_directory(const std::string& option, const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw Complaint(option + " " + path + ": " + std::strerror(errno),
                    errno == ENOENT ? "is the path spelled right? `mmdebstrap bookworm DIR` makes an image" : "");
  }
  if (!S_ISDIR(status.st_mode)) {
    throw Complaint(option + " " + path + ": a file, not a directory", "unpack it first: mkdir DIR; tar -xf FILE -C DIR");
  }
}

void check_sources(const Options& options) {
  constexpr std::size_t most_layers = 500;  // overlayfs: OVL_MAX_STACK
  if (options.images.size() > most_layers) {
    throw Complaint(std::to_string(options.images.size()) + " images: overlayfs takes at most 500 layers",
                    "merge some of them into one directory");
  }
  for (const std::string& image : options.images) require_directory("--image", image);
  for (const auto& mount : options.mounts) {
    const BindOption* bind = std::get_if<BindOption>(&mount);
    struct stat status {};
    if (bind != nullptr && ::stat(bind->source.c_str(), &status) != 0) {
      throw Complaint("--bind " + bind->source + ":" + bind->target + ": " + bind->source + ": " + std::strerror(errno),
                      "the source is a file or directory of this system; the form is SRC:DST or SRC:DST:ro");
    }
  }
}

std::string without_line_end(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

rootprep::Plan compile(const rootprep::Pipeline& pipeline, const rootprep::CompileOptions& options) {
  std::vector<rootprep::Problem> problems;
  rootprep::result<rootprep::Plan> plan = pipeline.compile(options, &problems);
  if (plan) return std::move(plan).assume_value();
  std::string text;
  for (const rootprep::Problem& problem : problems) text += rootprep::explain(problem);
  throw Complaint(without_line_end(text.empty() ? rootprep::explain(plan.assume_error()) : text));
}

// --- what the container is ---

std::vector<std::string> environment_of(const Options& options) {
  std::vector<std::string> environment;
  if (options.images.empty()) {
    environment = rootprep::current_environment();
  } else {
    environment = {"PATH=" + std::string{rootprep::default_path}, "HOME=/root"};
    if (const char* terminal = std::getenv("TERM")) environment.push_back("TERM=" + std::string{terminal});
  }
  for (std::string variable : options.environment) {
    const std::size_t equals = variable.find('=');
    const std::string name = variable.substr(0, equals);
    std::erase_if(environment, [&](const std::string& other) { return other.starts_with(name + "="); });
    if (equals == std::string::npos) {
      const char* value = std::getenv(name.c_str());
      if (value == nullptr) continue;
      variable += "=" + std::string{value};
    }
    environment.push_back(variable);
  }
  return environment;
}

// A copy of the system starts where the caller is, if that is a place that the copy shows.
std::string working_directory_of(const Options& options) {
  if (!options.workdir.empty()) return options.workdir;
  if (!options.images.empty()) return "/";
  std::error_code error;
  const std::string here = std::filesystem::current_path(error).string();
  const bool shown = !error && !is_at_or_below(here, "/tmp") && !is_at_or_below(here, "/proc") && !is_at_or_below(here, "/sys") &&
                     !is_at_or_below(here, "/dev");
  return shown ? here : "/";
}

// All ids that the caller has: possible with CAP_SETUID; without it, its own one becomes 0.
std::vector<rootprep::IdMap> all_ids(const char* file) {
  std::vector<rootprep::IdMap> maps;
  std::ifstream lines(file);
  for (std::uint32_t inside = 0, outside = 0, count = 0; lines >> inside >> outside >> count;) maps.push_back({inside, inside, count});
  return maps;
}

rootprep::LaunchOptions launch_options(const Options& options, bool rootless, bool privileged) {
  rootprep::LaunchOptions launch;
  launch.namespaces = Namespace::mount | Namespace::pid | Namespace::uts | Namespace::ipc | Namespace::cgroup;
  if (options.private_network) launch.namespaces |= Namespace::net;
  if (rootless) launch.namespaces |= Namespace::user;
  if (rootless && privileged) {
    launch.uid_maps = all_ids("/proc/self/uid_map");
    launch.gid_maps = all_ids("/proc/self/gid_map");
  }
  launch.hostname = !options.hostname.empty() ? options.hostname : !options.name.empty() ? options.name : "rootprep";
  launch.working_directory = working_directory_of(options);
  launch.exec = options.command;
  launch.environment = environment_of(options);
  launch.parent_death_signal = SIGKILL;  // the container goes with this program, whatever ends it
  return launch;
}

// --- the two things that the program does ---

void print(PrintFormat format, const rootprep::Plan& plan, const std::string& root) {
  switch (format) {
    case PrintFormat::text: std::cout << rootprep::to_text(plan); break;
    case PrintFormat::json: {
      const rootprep::result<std::string> json = rootprep::to_json(plan);
      if (!json) throw Complaint(without_line_end(rootprep::explain(json.assume_error(), plan)));
      std::cout << json.assume_value() << '\n';
      break;
    }
    case PrintFormat::tree: std::cout << rootprep::to_tree(plan); break;
    case PrintFormat::shell:
      std::cout << rootprep::to_shell(plan);
      std::cerr << "rootprep-run: before this script runs: mkdir -p " << root << '\n';
      break;
    case PrintFormat::none: break;
  }
}

// As shells do: 127 if there is no such command, 126 if it cannot be executed.
int exec_status(const rootprep::LaunchReport& report) {
  if (report.stage != rootprep::LaunchStage::exec) return 125;
  return report.error.is_errno(ENOENT) && report.exec.interpreter.empty() ? 127 : 126;
}

int run_container(const Options& options, const rootprep::Plan& plan, bool rootless, bool privileged, Workspace& workspace,
                  const ForwardedSignals& signals) {
  rootprep::LaunchReport report;
  rootprep::result<rootprep::Child> child = rootprep::launch(plan, launch_options(options, rootless, privileged), &report);
  if (!child) {
    const bool of_the_plan = report.stage == rootprep::LaunchStage::plan && report.error.domain != rootprep::Domain::none;
    std::string why = without_line_end(of_the_plan ? rootprep::explain(report.error, plan, &report.plan) : rootprep::explain(report, plan));
    if (report.stage == rootprep::LaunchStage::working_directory) why = "--workdir " + working_directory_of(options) + ": " + why;
    throw Complaint(why, {}, exec_status(report));
  }
  workspace.keep();
  return supervise(child.assume_value(), signals);
}

int run(const Options& options) {
  const ForwardedSignals signals;  // before any directory is made: what ends this program then lets it clean up
  const bool privileged = is_privileged();
  Surroundings surroundings;
  surroundings.rootless = options.rootless || !privileged;
  check_sources(options);
  if (surroundings.rootless) require_user_namespaces();
  if (options.images.empty()) {
    surroundings.mounts = host_mounts();
    if (surroundings.rootless) surroundings.entries = top_level_entries();
  }
  const std::string state = !options.state.empty() ? options.state
                            : options.name.empty() ? default_run_directory(privileged)
                                                   : default_state_directory(privileged);
  require_fit_for_upper(state);

  // Once without directories of its own, only to find mistakes. /proc stands for the root that does not exist yet.
  rootprep::CompileOptions compile_options;
  compile_options.user_namespace = surroundings.rootless;
  surroundings.root = "/proc";
  (void)compile(make_pipeline(options, surroundings).pipeline, compile_options);

  const std::string container = state + "/" + (options.name.empty() ? "box" : options.name);
  if (options.print != PrintFormat::none) {
    surroundings.root = options.name.empty() ? container : container + "/root";
    if (!options.name.empty()) {
      surroundings.layer = [&](const std::string& layer, const std::string&) {
        return LayerDirectories{container + "/layers/" + layer + "/upper", container + "/layers/" + layer + "/work"};
      };
    }
    compile_options.check_host = false;  // its directories are not there
    print(options.print, compile(make_pipeline(options, surroundings).pipeline, compile_options), surroundings.root);
    return 0;
  }

  Workspace workspace =
      options.name.empty() ? Workspace::unnamed(state) : Workspace::named(state, options.name, options.images, options.remove);
  surroundings.root = workspace.root();
  if (!options.name.empty())
    surroundings.layer = [&](const std::string& layer, const std::string& top) { return workspace.layer(layer, top); };
  const ContainerPipeline made = make_pipeline(options, surroundings);
  const rootprep::Plan plan = compile(made.pipeline, compile_options);
  if (!made.remarks.empty() && !options.quiet) {
    std::cerr << "rootprep-run: read-only here, because no overlay can make it disposable:";
    for (const std::string& remark : made.remarks) std::cerr << (&remark == made.remarks.data() ? " " : ", ") << remark;
    std::cerr << std::endl;
  }
  return run_container(options, plan, surroundings.rootless, privileged, workspace, signals);
}

}  // namespace
}  // namespace rootprep_run

int main(int argc, char** argv) {
  try {
    const std::optional<rootprep_run::Options> options = rootprep_run::parse_options(argc, argv);
    return options ? rootprep_run::run(*options) : 0;
  } catch (const rootprep_run::Complaint& complaint) {
    std::cerr << "rootprep-run: " << complaint.what() << '\n';
    if (!complaint.advice().empty()) std::cerr << "  " << complaint.advice() << '\n';
    return complaint.status();
  } catch (const std::exception& error) {
    std::cerr << "rootprep-run: " << error.what() << '\n';
    return 125;
  }
}
