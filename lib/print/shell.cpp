// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <algorithm>
#include <iterator>
#include <set>
#include <utility>
#include <vector>

#include "print/decode.hpp"
#include "print/effects.hpp"
#include "rootprep/abi.hpp"
#include "rootprep/print.hpp"

namespace rootprep {
namespace {

using print::Condition;
using print::Effect;
using print::EffectKind;
using print::Place;

constexpr std::uint64_t type_mask = 0170000;

bool is_plain(std::string_view text) {
  return !text.empty() &&
         text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-") == std::string_view::npos;
}

// One word of a shell, whatever bytes it has: in single quotes nothing is special but the quote itself.
std::string word(std::string_view text) {
  if (is_plain(text)) return std::string{text};
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + '\'';
}

// A file name that does not begin with a dash, which a command would take for an option.
std::string operand(const std::string& text) { return text.starts_with('-') ? "./" + text : text; }

// For comments: one line.
std::string comment(std::string_view text) {
  std::string out = print::printable(text);
  std::replace(out.begin(), out.end(), '\n', ' ');
  return out;
}

// printf(1) as POSIX has it: octal escapes in the format.
std::string printf_format(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    if (c == '%') {
      out += "%%";
    } else if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c >= 0x20 && c < 0x7F) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '\\';
      for (const unsigned shift : {6U, 3U, 0U}) out += static_cast<char>('0' + (byte >> shift & 7U));
    }
  }
  return out;
}

// The functions that a script may need, each written once, and only if it is used.
struct Function {
  const char* name = "";
  const char* text = "";
};
constexpr Function functions[] = {
    {"fail",
     "fail() {\n"
     "  printf '%s\\n' \"$0: $1\" >&2\n"
     "  exit 1\n"
     "}\n"},
    {"make_directory",
     "# PATH MODE: what exists stays as it is; missing parents get 0755 from the umask above\n"
     "make_directory() {\n"
     "  [ -d \"$1\" ] || { mkdir -p \"$1\" && chmod \"$2\" \"$1\"; }\n"
     "}\n"},
    {"make_file",
     "make_file() {  # PATH MODE\n"
     "  [ -e \"$1\" ] || { mkdir -p \"${1%/*}\" && : > \"$1\" && chmod \"$2\" \"$1\"; }\n"
     "}\n"},
    {"make_like",
     "make_like() {  # PATH MODE SOURCE: a place to bind SOURCE on\n"
     "  if [ -d \"$3\" ]; then make_directory \"$1\" \"$2\"; else make_file \"$1\" 0644; fi\n"
     "}\n"},
    {"options_of",
     "# MOUNTPOINT: the flags that its topmost mount has now. mount(8) would clear what is not named.\n"
     "options_of() {\n"
     "  found=rw\n"
     "  escaped=$1\n"
     "  case $1 in *[\\\\\\ ]*) escaped=$(printf '%s' \"$1\" | sed 's/\\\\/\\\\134/g; s/ /\\\\040/g') ;; esac\n"
     "  while read -r _ _ _ _ mountpoint options _; do\n"
     "    [ \"$mountpoint\" != \"$escaped\" ] || found=$options\n"
     "  done < /proc/self/mountinfo\n"
     "  printf '%s' \"$found\"\n"
     "}\n"},
    {"set_attributes",
     "set_attributes() {  # MOUNTPOINT OPTIONS\n"
     "  mount -o \"remount,bind,$(options_of \"$1\"),$2\" \"$1\"\n"
     "}\n"},
    {"set_attributes_below",
     "set_attributes_below() {  # MOUNTPOINT OPTIONS: the mount and all below it\n"
     "  findmnt --noheadings --list --submounts --output TARGET --mountpoint \"$1\" | while IFS= read -r mountpoint; do\n"
     "    set_attributes \"$mountpoint\" \"$2\"\n"
     "  done\n"
     "}\n"},
    {"hide_filesystems",
     "# ROOT: the host's procfs and sysfs stay below the new root when it is moved; a process that finds its way there must not find them\n"
     "hide_filesystems() {\n"
     "  findmnt --noheadings --raw --types proc,sysfs --output TARGET | sort -r | while IFS= read -r mountpoint; do\n"
     "    case $mountpoint in \"$1\" | \"$1\"/*) ;; *) mount --make-rslave \"$mountpoint\" && umount -l \"$mountpoint\" ;; esac\n"
     "  done\n"
     "}\n"},
};

const char* flag_of(std::uint64_t propagation, bool recursive) {
  if ((propagation & abi::ms_private) != 0) return recursive ? "--make-rprivate" : "--make-private";
  if ((propagation & abi::ms_slave) != 0) return recursive ? "--make-rslave" : "--make-slave";
  if ((propagation & abi::ms_shared) != 0) return recursive ? "--make-rshared" : "--make-shared";
  return recursive ? "--make-runbindable" : "--make-unbindable";
}

class Script {
 public:
  explicit Script(const Plan& plan) : plan_(plan), effects_(print::effects_of(plan)) {}

  std::string print() {
    std::string body = from(0);
    std::string out =
        "#!/bin/sh\n"
        "# What this plan does, as far as a shell can: it names targets by paths where rootprep holds descriptors, so a symbolic link of a\n"
        "# hostile image would lead it to the host. Use it to read and to try, with images that you trust.\n"
        "# Needs util-linux and coreutils, /proc, and a mount namespace of its own; runs COMMAND in the new root:\n"
        "#   unshare --mount sh SCRIPT [COMMAND...]\n"
        "set -eu\n"
        "umask 022\n";
    if (!effects_.root.empty() && effects_.root != "/") out += "root=" + word(effects_.root) + '\n';
    out += '\n';
    use("fail");
    out += functions_used();
    out +=
        "\nif [ \"$$\" != 1 ] && [ \"$(readlink /proc/self/ns/mnt)\" = \"$(readlink /proc/1/ns/mnt || :)\" ]; then\n"
        "  fail 'this is the mount namespace of the host: run me by unshare --mount'\n"
        "fi\n" +
        body;
    return out;
  }

 private:
  void use(const char* name) { used_.insert(name); }
  std::string functions_used() const {
    std::string out;
    for (const Function& function : functions) {
      if (used_.contains(function.name)) out += function.text;
    }
    return out;
  }

  // The commands of the effects from `index` on. After a chroot the others are the program that it runs.
  std::string from(std::size_t index) {
    std::string out;
    std::uint16_t step = no_step;
    std::vector<Condition> conditions;
    const auto close = [&] {
      if (!conditions.empty()) out += "fi\n";
      conditions.clear();
    };
    for (std::size_t i = index; i < effects_.all.size(); ++i) {
      const Effect& effect = effects_.all[i];
      if (effect.step != step) {
        close();
        step = effect.step;
        out += "\n# step " + std::to_string(step) + ": " + comment(plan_.steps()[step].description) + '\n';
      }
      if (effect.conditions != conditions) {
        close();
        conditions = effect.conditions;
        if (!conditions.empty()) out += "if " + tests(conditions) + "; then\n";
      }
      if (effect.kind == EffectKind::enter_root && effect.entry != RootEntry::pivot_root) {
        close();
        const std::string program = "exec chroot " + path_from_here(effect.target) + " /bin/sh -c ";
        entered_ = true;
        std::set<std::string> outside;
        std::swap(used_, outside);
        const std::string rest = from(i + 1);
        const std::string inner = "set -eu\numask 022\n" + functions_used() + rest;
        std::swap(used_, outside);
        return out + "# chroot(1) runs a program in the new root: the rest of this script\n" + program + word(inner) + " sh \"$@\"\n";
      }
      for (const std::string& line : commands(effect, i)) out += (conditions.empty() ? "" : "  ") + line + '\n';
      note(out, effect, conditions.empty() ? "" : "  ");
      if (effect.kind == EffectKind::enter_root) entered_ = true;
    }
    close();
    out += "\nif [ $# -gt 0 ]; then exec \"$@\"; fi\n";
    return out;
  }

  // What else the plan would do: a shell does not see an errno.
  void note(std::string& out, const Effect& effect, const char* indent) const {
    const Operation& op = plan_.operations()[effect.operation];
    if (op.otherwise[0] == 0 || op.note == 0 || effect.kind == EffectKind::change_directory) return;
    std::string names;
    for (const std::uint8_t error_number : op.otherwise) {
      if (error_number != 0) names += (names.empty() ? "" : " or ") + print::errno_name(error_number);
    }
    out += indent + std::string{"# not in this script: on "} + names + ", " + comment(plan_.string_at(op.note)) + '\n';
  }

  std::string tests(const std::vector<Condition>& conditions) const {
    std::string out;
    for (const Condition& condition : conditions) {
      if (!out.empty()) out += " && ";
      const std::string place = path(condition.place);
      switch (condition.kind) {
        case Condition::Kind::exists: out += "[ -e " + place + " ]"; break;
        case Condition::Kind::is_directory: out += "[ -d " + place + " ]"; break;
        case Condition::Kind::is_no_directory: out += "[ ! -d " + place + " ]"; break;
      }
    }
    return out;
  }

  // A path as this script reaches it: below "$root" before the root was entered, from "/" after.
  std::string path(const Place& place) const { return path_text(place.path); }
  // A mount that is moved over "/" keeps no path of its own: only the working directory still leads there.
  std::string path_from_here(const Place& place) const { return place == working_directory_ ? "." : path(place); }
  std::string path_text(const std::string& text, bool as_operand = true) const {
    const std::string& root = effects_.root;
    if (root.empty() || root == "/" || !text.starts_with('/') || !print::is_at_or_below(text, root))
      return word(as_operand ? operand(text) : text);
    const std::string rest = text.substr(root.size());
    if (entered_) return word(rest.empty() ? "/" : rest);
    if (rest.empty()) return "\"$root\"";
    return is_plain(rest) ? "\"$root" + rest + '"' : "\"$root\"" + word(rest);
  }

  // "lowerdir=/a:/b,upperdir=..." as mount(8) takes it. Layers that are given one by one become one list.
  std::string options_of(const Effect& effect) const {
    std::vector<std::string> all;
    const bool overlay = effect.type == "overlay";
    std::string lower;
    bool plain = true;
    for (const print::Option& option : effect.options) {
      if (!overlay || option.key != "lowerdir+") continue;
      const std::string layer = escaped_layer(option.value.value_or(""));
      plain = plain && is_plain(layer);
      lower += (lower.empty() ? "" : ":") + layer;
    }
    if (!lower.empty()) all.push_back("lowerdir=" + (plain ? lower : word(lower)));
    for (const std::string& attribute : print::attribute_words(effect.set, 0)) all.push_back(attribute);
    for (const print::Option& option : effect.options) {
      if (overlay && option.key == "lowerdir+") continue;
      const bool is_path = overlay && (option.key == "upperdir" || option.key == "workdir");
      // With fsconfig() a value stands alone; mount(2)'s data was escaped already.
      const std::string value = is_path && !by_mount(effect) ? escaped_layer(option.value.value_or("")) : option.value.value_or("");
      all.push_back(word(option.key) + (option.value ? '=' + path_text(value, false) : std::string{}));
    }
    std::string out;
    for (const std::string& option : all) out += (out.empty() ? "" : ",") + option;
    return out;
  }
  bool by_mount(const Effect& effect) const { return print::call_name(plan_.operations()[effect.operation]) == "mount"; }

  static std::string escaped_layer(const std::string& path) {
    std::string out;
    for (const char c : path) {
      if (c == ':' || c == ',' || c == '\\') out += '\\';
      out += c;
    }
    return out;
  }

  std::vector<std::string> commands(const Effect& effect, std::size_t index) {
    const std::string target = path(effect.target);
    const std::string mode = print::octal(effect.mode & 07777U);
    const auto tolerant = [&](std::string command) { return effect.may_fail ? command + " || :" : command; };
    switch (effect.kind) {
      case EffectKind::mount: {
        const std::string options = options_of(effect);
        return {"mount -t " + word(effect.type) + (options.empty() ? "" : " -o " + options) + ' ' +
                word(operand(effect.text.empty() ? "none" : effect.text)) + ' ' + target};
      }
      case EffectKind::bind: return bind(effect, index);
      case EffectKind::move: return {"mount --move " + path_from_here(effect.source) + ' ' + target};
      case EffectKind::set_attributes: return {set_attributes(target, effect.set, effect.clear, effect.recursive)};
      case EffectKind::set_propagation:
        if (effect.target.base == Place::Base::old_root) return {};  // done before pivot_root, see there
        return {std::string{"mount "} + flag_of(effect.propagation, effect.recursive) + ' ' + target};
      case EffectKind::separate_parent:
        return {tolerant(std::string{"mount "} + flag_of(effect.propagation, false) +
                         " \"$(findmnt --noheadings --output TARGET --target " + target + " | tail -n 1)\"")};
      case EffectKind::unmount:
        return {std::string{effect.lazily ? "umount -l " : "umount "} + (effect.target.base == Place::Base::old_root ? "." : target)};
      case EffectKind::hide_filesystems: use("hide_filesystems"); return {"hide_filesystems " + target};
      case EffectKind::make_directory:
        if (effect.with_parents) use("make_directory");
        if (effect.with_parents) return {"make_directory " + target + ' ' + mode};
        return {(effect.keep ? "[ -d " + target + " ] || " : std::string{}) + "mkdir -m " + mode + ' ' + target};
      case EffectKind::make_file: {
        const std::string file_mode = print::octal(effect.mode & 0777U);
        if (effect.keep) use("make_file");
        if (effect.keep) return {"make_file " + target + ' ' + (effect.with_parents ? print::octal(effect.mode & 0666U) : file_mode)};
        return {"(set -C; : > " + target + ')', "chmod " + file_mode + ' ' + target};
      }
      case EffectKind::make_like:
        for (const char* name : {"make_like", "make_directory", "make_file"}) use(name);
        return {"make_like " + target + ' ' + mode + ' ' + path(effect.source)};
      case EffectKind::make_node: {
        const std::uint64_t type = effect.mode & type_mask;
        std::string command = (effect.keep ? "[ -e " + target + " ] || " : std::string{}) + "mknod -m " + mode + ' ' + target;
        if (type == abi::s_ififo) return {command + " p"};
        if (type != abi::s_ifchr && type != abi::s_ifblk) return not_possible("mknod of this type");
        return {command + (type == abi::s_ifchr ? " c " : " b ") + std::to_string(abi::device_major(effect.device)) + ' ' +
                std::to_string(abi::device_minor(effect.device))};
      }
      case EffectKind::make_symlink:
        return {(effect.keep ? "[ -e " + target + " ] || [ -L " + target + " ] || " : std::string{}) + "ln -s -T " +
                (effect.text.starts_with('-') ? "-- " : "") + word(effect.text) + ' ' + target};
      case EffectKind::write:
        return {"printf " + std::string{effect.text.starts_with('-') ? "-- " : ""} + word(printf_format(effect.text)) + " >> " + target};
      case EffectKind::remove:
        if (effect.recursive) return {(effect.keep ? "[ ! -e " + target + " ] || " : std::string{}) + "rmdir " + target};
        return {(effect.keep ? "rm -f " : "rm ") + target};
      case EffectKind::change_mode: return {"chmod " + mode + ' ' + target};
      case EffectKind::change_owner: return {"chown -h " + id(effect.owner) + ':' + id(effect.group) + ' ' + target};
      case EffectKind::change_directory:
        if (effect.target.base != Place::Base::host) return {};
        if (entered_ && !effects_.root.empty() && !print::is_at_or_below(effect.target.path, effects_.root))
          return {};  // the old root, by descriptor
        working_directory_ = effect.target;
        return {"cd " + target};
      case EffectKind::enter_root: return pivot(effect, index);
      case EffectKind::check_node: return check_node(effect, target);
      case EffectKind::check_filesystem: return check_filesystem(effect, target);
      case EffectKind::set_hostname: return {"hostname " + word(effect.text)};
      case EffectKind::unknown: break;
    }
    return not_possible(effect.text);
  }

  std::string set_attributes(const std::string& target, std::uint64_t set, std::uint64_t clear, bool recursive) {
    std::string options;
    for (const std::string& attribute : print::attribute_words(set, clear)) options += (options.empty() ? "" : ",") + attribute;
    for (const char* name : {"options_of", "set_attributes"}) use(name);
    if (recursive) use("set_attributes_below");
    return (recursive ? "set_attributes_below " : "set_attributes ") + target + ' ' + options;
  }

  std::vector<std::string> bind(const Effect& effect, std::size_t index) {
    const std::string target = path(effect.target);
    std::vector<std::string> out{std::string{effect.recursive ? "mount --rbind " : "mount --bind "} + path(effect.source) + ' ' + target};
    // The plan has cloned the tree before these changes; the script clones it after them.
    for (std::size_t i = effect.taken_at; i < index; ++i) {
      const Effect& between = effects_.all[i];
      if (between.kind != EffectKind::set_attributes || between.set == 0 || !print::is_at_or_below(effect.source.path, between.target.path))
        continue;
      if (!between.recursive && between.target != effect.source && !between.conditions.empty()) continue;
      out.push_back(set_attributes(target, 0, between.set, effect.recursive && between.recursive));
    }
    return out;
  }

  std::vector<std::string> not_possible(const std::string& what) {
    use("fail");
    return {"fail " + word("a shell cannot do this: " + comment(what))};
  }

  static std::string id(std::uint32_t number) { return number == 0xFFFF'FFFFU ? "" : std::to_string(number); }

  std::vector<std::string> pivot(const Effect& effect, std::size_t index) const {
    std::vector<std::string> out;
    const bool stacked = effect.source == effect.target;
    const bool separates = std::any_of(
        effects_.all.begin() + static_cast<std::ptrdiff_t>(index), effects_.all.end(),
        [](const Effect& later) { return later.kind == EffectKind::set_propagation && later.target.base == Place::Base::old_root; });
    if (separates) {
      out.emplace_back("# rootprep does this to the old root alone, after it was left; a shell cannot go back there");
      out.emplace_back("mount --make-rslave /");
    }
    out.push_back(stacked ? "pivot_root . ." : "pivot_root " + path(effect.target) + ' ' + path(effect.source));
    out.emplace_back("# from here on all commands are those of the new root: it needs a umount and, if more follows, a mount");
    return out;
  }

  std::vector<std::string> check_node(const Effect& effect, const std::string& target) {
    use("fail");
    const std::uint64_t type = effect.mode & type_mask;
    const char* test = type == abi::s_ifchr   ? "-c"
                       : type == abi::s_ifblk ? "-b"
                       : type == abi::s_ififo ? "-p"
                       : type == abi::s_ifdir ? "-d"
                                              : "-f";
    std::string command = std::string{"[ "} + test + ' ' + target + " ]";
    if (type == abi::s_ifchr || type == abi::s_ifblk) {
      const auto hex = [](std::uint32_t number) {
        std::string digits;
        for (; number != 0; number >>= 4U) digits.insert(digits.begin(), "0123456789abcdef"[number & 15U]);
        return digits.empty() ? std::string{"0"} : digits;
      };
      command += " && [ \"$(stat -c %t:%T " + target + ")\" = " + hex(abi::device_major(effect.device)) + ':' +
                 hex(abi::device_minor(effect.device)) + " ]";
    }
    return {"{ " + command + "; } || fail 'wrong type or device number: '" + target};
  }

  std::vector<std::string> check_filesystem(const Effect& effect, const std::string& target) {
    use("fail");
    std::vector<std::string> out;
    if (effect.magic != 0) {
      std::string hex;
      for (std::uint64_t number = effect.magic; number != 0; number >>= 4U) hex.insert(hex.begin(), "0123456789abcdef"[number & 15U]);
      out.push_back("[ \"$(stat -f -c %t " + target + ")\" = " + hex + " ] || fail 'another file system than expected: '" + target);
    }
    // access(2) says EROFS also to root.
    if ((effect.clear & abi::st_rdonly) != 0) out.push_back("[ -w " + target + " ] || fail 'mounted read-only: '" + target);
    if ((effect.set & abi::st_rdonly) != 0) out.push_back("[ ! -w " + target + " ] || fail 'writable: '" + target);
    return out;
  }

  const Plan& plan_;
  print::Effects effects_;
  std::set<std::string> used_{};
  Place working_directory_{};
  bool entered_ = false;
};

}  // namespace

std::string to_shell(const Plan& plan) { return Script{plan}.print(); }

}  // namespace rootprep
