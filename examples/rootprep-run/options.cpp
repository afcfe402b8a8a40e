// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "options.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <limits>
#include <memory>

namespace rootprep_run {
namespace {

constexpr const char* help_text = R"(Usage: rootprep-run [OPTION...] [--] COMMAND [ARGUMENT...]
Runs COMMAND in a container: by default in a disposable copy of this system,
where everything can be changed and nothing stays changed.
  --image DIR          use the root file system in DIR; repeat it for layers,
                       the lowest last. DIR itself is never changed
  --name NAME          keep what changes for the next run of NAME
  --rm                 with --name: forget it when COMMAND has ended
  --state DIR          where names are kept [/var/lib/rootprep; not as root:
                       $XDG_STATE_HOME/rootprep or ~/.local/state/rootprep]
  --read-only          only /tmp, /dev and what --bind, --tmpfs add can change
  --bind SRC:DST[:ro]  show this system's SRC as DST
  --tmpfs DST[:SIZE]   an empty DST in memory, of at most SIZE: 64m, 1g
  --rootless           use a user namespace; automatic without privilege
  --private-network    nothing but a loopback device; else this system's network
  --hostname NAME, --workdir DIR, --env K=V
  --no-pivot           move the root instead of pivot_root(2): for an initramfs
  --print FORMAT       print the plan as text, tree, json or shell; run nothing
  -q, --quiet          no remarks about what could not be made disposable
  -h, --help, --version
Exit status: COMMAND's; 128+N: it died of signal N; 126: it cannot be executed;
127: it was not found; 125: the container could not be made.
Try: rootprep-run sh -c 'rm -rf /usr/share/doc; du -sh /usr'
)";

void require_absolute_directory_name(const std::string& option, const std::string& path) {
  if (path.empty()) throw Complaint(option + " is empty", "give the absolute path of a directory");
  if (path.front() == '/') return;
  std::error_code ignored;
  const std::filesystem::path absolute = (std::filesystem::current_path(ignored) / path).lexically_normal();
  throw Complaint(option + " " + path + ": a relative path", "did you mean " + option + " " + absolute.string() + " ?");
}

void require_inside(const std::string& option, const std::string& text, const std::string& target) {
  if (target.empty() || target.front() != '/') {
    throw Complaint(option + " " + text + ": the place inside the container must be an absolute path, not \"" + target + "\"",
                    option == "--bind" ? "the form is SRC:DST or SRC:DST:ro" : "the form is DST or DST:SIZE");
  }
}

BindOption parse_bind(const std::string& text) {
  const std::string form = "the form is SRC:DST or SRC:DST:ro";
  const std::size_t first = text.find(':');
  if (first == std::string::npos) throw Complaint("--bind " + text + ": no place inside the container is given", form);
  BindOption bind;
  bind.source = text.substr(0, first);
  bind.target = text.substr(first + 1);
  if (const std::size_t second = bind.target.find(':'); second != std::string::npos) {
    const std::string flag = bind.target.substr(second + 1);
    if (flag != "ro" && flag != "rw") throw Complaint("--bind " + text + ": \"" + flag + "\" is not \"ro\"", form);
    bind.read_only = flag == "ro";
    bind.target.resize(second);
  }
  require_absolute_directory_name("--bind", bind.source);
  require_inside("--bind", text, bind.target);
  return bind;
}

TmpfsOption parse_tmpfs(const std::string& text) {
  const std::size_t colon = text.find(':');
  TmpfsOption tmpfs;
  tmpfs.target = text.substr(0, colon);
  require_inside("--tmpfs", text, tmpfs.target);
  if (colon != std::string::npos) tmpfs.size = parse_size(text.substr(colon + 1), "--tmpfs " + text);
  return tmpfs;
}

void check_name(const std::string& name) {
  if (name.empty()) throw Complaint("--name is empty", "letters, digits, '.', '_' and '-', at most 64");
  if (name.find('/') != std::string::npos) {
    throw Complaint("--name " + name + ": a name cannot hold '/'",
                    "it becomes the name of a directory: letters, digits, '.', '_' and '-', at most 64");
  }
  const std::string allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  if (name.size() > 64 || name.front() == '.' || name.front() == '-' || name.find_first_not_of(allowed) != std::string::npos) {
    throw Complaint("--name " + name + ": not a name", "letters, digits, '.', '_' and '-', at most 64, the first a letter or digit");
  }
}

void check(const Options& options, bool name_given) {
  if (name_given) check_name(options.name);
  if (options.remove && options.name.empty()) {
    throw Complaint("--rm without --name", "without a name nothing is kept anyway: leave out --rm");
  }
  for (const std::string& image : options.images) require_absolute_directory_name("--image", image);
  if (!options.state.empty()) require_absolute_directory_name("--state", options.state);
  if (options.hostname.size() > 64) throw Complaint("--hostname " + options.hostname + ": longer than 64 bytes", "see sethostname(2)");
  if (!options.workdir.empty() && options.workdir.front() != '/') {
    throw Complaint("--workdir " + options.workdir + ": a relative path", "give an absolute path inside the container");
  }
  for (const std::string& variable : options.environment) {
    if (variable.empty() || variable.front() == '=')
      throw Complaint("--env \"" + variable + "\": no name", "the form is K=V, or K for your own value");
  }
  if (options.command.empty() && options.print == PrintFormat::none) {
    throw Complaint("no command is given", "for example: rootprep-run sh");
  }
}

}  // namespace

std::uint64_t parse_size(const std::string& text, const std::string& option) {
  const auto wrong = [&] {
    return Complaint(option + ": \"" + text + "\" is not a size", "a number of bytes, or one with k, m or g: 64m, 1g");
  };
  std::uint64_t number = 0;
  std::size_t i = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
    const auto digit = static_cast<std::uint64_t>(text[i] - '0');
    if (number > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) throw wrong();
    number = number * 10 + digit;
  }
  if (i == 0 || number == 0) throw wrong();
  unsigned shift = 0;
  if (i + 1 == text.size()) {
    switch (text[i]) {
      case 'k':
      case 'K': shift = 10; break;
      case 'm':
      case 'M': shift = 20; break;
      case 'g':
      case 'G': shift = 30; break;
      default: throw wrong();
    }
  } else if (i != text.size()) {
    throw wrong();
  }
  if (number > (std::uint64_t{1} << 62) >> shift) throw wrong();
  return number << shift;
}

std::optional<Options> parse_options(int argc, const char* const* argv) {
  Options options;
  CLI::App app;
  app.name("rootprep-run");
  app.formatter_fn([](const CLI::App*, std::string, CLI::AppFormatMode) { return std::string{help_text}; });
  app.set_help_flag("-h,--help");
  app.set_version_flag("--version", std::string{"rootprep-run "} + ROOTPREP_RUN_VERSION);
  app.prefix_command();  // from the first word that is no option on, everything is the command's

  std::vector<std::string> binds;
  std::vector<std::string> tmpfs;
  const std::map<std::string, PrintFormat> formats{
      {"text", PrintFormat::text}, {"tree", PrintFormat::tree}, {"json", PrintFormat::json}, {"shell", PrintFormat::shell}};
  // One value for each time that the option is given: `--image a sh` must not take "sh".
  app.add_option("--image", options.images)->allow_extra_args(false);
  CLI::Option* name = app.add_option("--name", options.name);
  app.add_option("--state", options.state);
  app.add_flag("--rm", options.remove);
  app.add_flag("--read-only", options.read_only);
  CLI::Option* bind = app.add_option("--bind", binds)->allow_extra_args(false);
  CLI::Option* tmp = app.add_option("--tmpfs", tmpfs)->allow_extra_args(false);
  app.add_flag("--rootless", options.rootless);
  app.add_flag("--private-network", options.private_network);
  app.add_option("--hostname", options.hostname);
  app.add_option("--workdir", options.workdir);
  app.add_option("--env", options.environment)->allow_extra_args(false);
  app.add_flag("--no-pivot", options.no_pivot);
  std::string format;
  app.add_option("--print", format);
  app.add_flag("-q,--quiet", options.quiet);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    app.exit(success);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    throw Complaint(error.what(), "rootprep-run --help lists the options");
  }
  if (!format.empty()) {
    const auto found = formats.find(format);
    if (found == formats.end()) throw Complaint("--print " + format + ": no such format", "text, tree, json or shell");
    options.print = found->second;
  }
  options.command = app.remaining();
  // CLI11 hands an option that it does not know to the command as well, and drops the "--" that would have meant that.
  const std::size_t given = static_cast<std::size_t>(argc) - options.command.size();
  const bool separated = given > 1 && std::string_view{argv[given - 1]} == "--";
  if (!options.command.empty() && !separated && options.command.front().size() > 1 && options.command.front().front() == '-') {
    if (options.command.front() == "--") {
      options.command.erase(options.command.begin());
    } else {
      throw Complaint(options.command.front() + ": no such option", "rootprep-run --help lists the options");
    }
  }
  std::size_t next_bind = 0;
  std::size_t next_tmpfs = 0;
  for (const CLI::Option* option : app.parse_order()) {
    if (option == bind) options.mounts.emplace_back(parse_bind(binds.at(next_bind++)));
    if (option == tmp) options.mounts.emplace_back(parse_tmpfs(tmpfs.at(next_tmpfs++)));
  }
  check(options, name->count() > 0);
  return options;
}

}  // namespace rootprep_run
