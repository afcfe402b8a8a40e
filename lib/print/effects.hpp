// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rootprep/plan.hpp"

// What a plan means: its operations read with symbols in place of descriptors. Every slot stands for a path, for a mount that is not yet
// attached, or for a file system that is being configured; an operation on it becomes an effect on a path. The way of success is followed:
// alternatives are not, except where the kind of a target decides.
namespace rootprep::print {

// A path as the effects name it: a path of the host, or one of the new root, wherever the process itself is by then.
struct Place {
  enum class Base : std::uint8_t { unknown, host, old_root };
  Base base = Base::unknown;
  std::string path{};  // absolute
  bool operator==(const Place&) const = default;
};

enum class EffectKind : std::uint8_t {
  mount,             // a new file system: type, source, options, attributes
  bind,              // source -> target
  move,              // an attached mount: source -> target
  set_attributes,    // set, clear, recursive
  set_propagation,   // propagation, recursive
  separate_parent,   // make_parent_private
  unmount,           // lazily, or not
  hide_filesystems,  // hide_host_filesystems
  make_directory,    // missing parents too, if `with_parents`; what exists stays, if `keep`
  make_file,
  make_like,     // a directory or a file, as `source` is
  make_node,     // mode with its type, device
  make_symlink,  // text
  write,         // text, to the end of a file that was made before
  remove,        // recursive: a directory
  change_mode,
  change_owner,  // owner, group
  change_directory,
  enter_root,        // entry
  check_node,        // mode: type; device
  check_filesystem,  // magic; set and clear are statfs flags
  set_hostname,
  unknown,  // text: the operation as to_text() shows it
};

// The effect happens only if this holds.
struct Condition {
  enum class Kind : std::uint8_t { exists, is_directory, is_no_directory };
  Kind kind = Kind::exists;
  Place place{};
  bool operator==(const Condition&) const = default;
};

struct Option {
  std::string key{};
  std::optional<std::string> value{};
};

struct Effect {
  EffectKind kind = EffectKind::unknown;
  std::uint16_t step = no_step;
  std::uint32_t operation = no_operation;
  std::vector<Condition> conditions{};
  Place target{};
  Place source{};
  std::string type{};
  std::string text{};
  std::vector<Option> options{};
  std::uint64_t set = 0;  // MOUNT_ATTR_*
  std::uint64_t clear = 0;
  std::uint64_t propagation = 0;  // MS_*
  std::uint64_t magic = 0;
  std::uint32_t mode = 0;
  std::uint32_t device = 0;
  std::uint32_t owner = 0;
  std::uint32_t group = 0;
  std::size_t taken_at = 0;  // bind: effects before this one had happened when the source was cloned
  bool recursive = false;
  bool keep = false;
  bool with_parents = false;
  bool lazily = false;
  bool may_fail = false;  // an errno of it is allowed
  RootEntry entry = RootEntry::none;
};

struct Effects {
  std::vector<Effect> all{};
  std::string root{};  // path of the new root on the host; empty: not known
};

Effects effects_of(const Plan& plan);

// The kind of mount attributes as words of mount(8): "ro,nosuid"; cleared ones as "rw,suid".
std::vector<std::string> attribute_words(std::uint64_t set, std::uint64_t clear);
std::string propagation_word(std::uint64_t propagation);

// Is `path` the directory `top` or below it? Both as a Place has them: absolute, without "..", doubled or last slashes.
bool is_at_or_below(std::string_view path, std::string_view top) noexcept;

}  // namespace rootprep::print
