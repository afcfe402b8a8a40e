// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "print/decode.hpp"
#include "print/effects.hpp"
#include "rootprep/print.hpp"

namespace rootprep {
namespace {

using print::Effect;
using print::EffectKind;
using print::Place;

struct Mount {
  std::string target{};  // on the host
  std::string source{};
  std::string type{};
  std::vector<std::string> attributes{};
  std::vector<std::string> options{};
  bool conditional = false;
};

class Table {
 public:
  explicit Table(const print::Effects& effects) : root_(effects.root) {
    mounts_.push_back({root_.empty() ? "/" : root_, root_.empty() ? "?" : root_, "none", {}, {}, false});
    for (std::size_t i = 0; i < effects.all.size(); ++i) {
      if (effects.all[i].kind == EffectKind::bind && effects.all[i].taken_at != i) before_[effects.all[i].taken_at] = {};
    }
  }

  void apply(const Effect& effect) {
    if (const auto wanted = before_.find(applied_++); wanted != before_.end()) wanted->second = mounts_;
    if (effect.target.base != Place::Base::host) return;
    const std::string& target = effect.target.path;
    for (const print::Condition& condition : effect.conditions) {
      if (condition.kind == print::Condition::Kind::is_directory) return;  // the other way round is shown
    }
    switch (effect.kind) {
      case EffectKind::mount: mount(effect); break;
      case EffectKind::bind: bind(effect); break;
      case EffectKind::move: move(effect.source.path, target); break;
      case EffectKind::unmount: unmount(target); break;
      case EffectKind::set_attributes:
        for (Mount* changed : at(target, effect.recursive)) change(*changed, print::attribute_words(effect.set, effect.clear));
        break;
      case EffectKind::set_propagation:
        if (!root_.empty() && !print::is_at_or_below(target, root_)) break;  // the host's own mounts
        for (Mount* changed : at(target, effect.recursive))
          set_word(*changed, print::propagation_word(effect.propagation), {"private", "slave", "shared", "unbindable"});
        break;
      default: break;
    }
  }

  std::string print() {
    std::vector<Mount> visible;
    for (const Mount& mount : mounts_) {
      if (print::is_at_or_below(mount.target, root_)) visible.push_back(mount);
    }
    // Each below the one that holds it, in the order of attaching.
    std::vector<std::array<std::string, 4>> rows;
    rows.push_back({"TARGET", "SOURCE", "FSTYPE", "OPTIONS"});
    std::vector<std::vector<std::size_t>> below(visible.size());
    for (std::size_t i = 1; i < visible.size(); ++i) below[holder_of(visible, i)].push_back(i);
    append(rows, visible, below, 0, "", "");
    std::array<std::size_t, 3> widths{};
    for (const auto& row : rows) {
      for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
    }
    std::string out;
    for (const auto& row : rows) {
      std::string line;
      for (std::size_t i = 0; i < widths.size(); ++i) line += row[i] + std::string(widths[i] - width_of(row[i]) + 1, ' ');
      line += row[3];
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + '\n';
    }
    return out;
  }

 private:
  // Columns: the drawing characters have three bytes each.
  static std::size_t width_of(const std::string& text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
  }

  std::string inside(const std::string& path) const {
    if (root_ == "/" || root_.empty()) return path;
    const std::string rest = path.substr(root_.size());
    return rest.empty() ? "/" : rest;
  }

  void append(std::vector<std::array<std::string, 4>>& rows, const std::vector<Mount>& mounts,
              const std::vector<std::vector<std::size_t>>& below, std::size_t index, const std::string& first,
              const std::string& rest) const {
    const Mount& mount = mounts[index];
    std::string options;
    const auto add = [&](const std::string& word) { options += (options.empty() ? "" : ",") + word; };
    for (const std::string& word : mount.attributes) add(word);
    for (const std::string& word : mount.options) add(word);
    if (mount.conditional) options += options.empty() ? "(if it exists)" : " (if it exists)";
    rows.push_back({first + print::printable(inside(mount.target)), print::printable(mount.source), print::printable(mount.type),
                    print::printable(options)});
    const std::vector<std::size_t>& children = below[index];
    for (std::size_t k = 0; k < children.size(); ++k) {
      const bool last = k + 1 == children.size();
      append(rows, mounts, below, children[k], rest + (last ? "└─" : "├─"), rest + (last ? "  " : "│ "));
    }
  }

  // The innermost mount above; the first one, the root, holds all that no other does.
  static std::size_t holder_of(const std::vector<Mount>& mounts, std::size_t index) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < mounts.size(); ++i) {
      if (i == index || mounts[i].target == mounts[index].target || !print::is_at_or_below(mounts[index].target, mounts[i].target))
        continue;
      if (best == 0 || mounts[i].target.size() > mounts[best].target.size()) best = i;
    }
    return best;
  }

  // A new mount covers what is mounted at its place and below.
  void attach(Mount mount) {
    if (mount.target == root_ || (root_.empty() && mount.target == "/")) {
      mounts_.clear();
    } else if (!mount.conditional) {
      std::erase_if(mounts_, [&](const Mount& old) { return print::is_at_or_below(old.target, mount.target) && old.target != root_; });
    }
    mounts_.push_back(std::move(mount));
  }

  void mount(const Effect& effect) {
    Mount made{
        effect.target.path,        effect.text.empty() ? "none" : effect.text, effect.type, print::attribute_words(effect.set, 0), {},
        !effect.conditions.empty()};
    if (made.attributes.empty() || made.attributes.front() != "ro") made.attributes.insert(made.attributes.begin(), "rw");
    for (const print::Option& option : effect.options)
      made.options.push_back(option.key + (option.value ? '=' + *option.value : std::string{}));
    attach(std::move(made));
  }

  void bind(const Effect& effect) {
    const std::string& source = effect.source.path;
    const std::string& target = effect.target.path;
    const bool from_root = effect.source.base == Place::Base::host && is_inside(source) && source != root_;
    Mount made{target, from_root ? inside(source) : source, effect.recursive ? "rbind" : "bind", {}, {}, !effect.conditions.empty()};
    std::vector<Mount> copies;
    const auto earlier = before_.find(effect.taken_at);
    for (const Mount& mount : earlier == before_.end() ? mounts_ : earlier->second) {  // as they were when the tree was cloned
      if (mount.target == source && mount.type != "none") {
        made = Mount{target, mount.source, mount.type, mount.attributes, mount.options, made.conditional};
      } else if (effect.recursive && mount.target != source && print::is_at_or_below(mount.target, source)) {
        copies.push_back(mount);
        copies.back().target = (target == "/" ? "" : target) + mount.target.substr(source == "/" ? 0 : source.size());
      }
    }
    attach(std::move(made));
    mounts_.insert(mounts_.end(), copies.begin(), copies.end());
  }

  bool is_inside(const std::string& path) const { return !root_.empty() && print::is_at_or_below(path, root_); }

  void move(const std::string& source, const std::string& target) {
    for (Mount& mount : mounts_) {
      if (print::is_at_or_below(mount.target, source) && mount.target != root_)
        mount.target = (target == "/" ? "" : target) + mount.target.substr(source.size());
    }
  }

  void unmount(const std::string& target) {
    if (target == root_) return;
    std::erase_if(mounts_, [&](const Mount& mount) { return print::is_at_or_below(mount.target, target); });
  }

  std::vector<Mount*> at(const std::string& target, bool recursive) {
    std::vector<Mount*> found;
    for (Mount& mount : mounts_) {
      if (mount.target == target || (recursive && print::is_at_or_below(mount.target, target))) found.push_back(&mount);
    }
    return found;
  }

  static void set_word(Mount& mount, const std::string& word, std::initializer_list<const char*> instead_of) {
    for (const char* other : instead_of) std::erase(mount.attributes, std::string{other});
    if (!word.empty()) mount.attributes.push_back(word);
  }

  static void change(Mount& mount, const std::vector<std::string>& words) {
    static constexpr std::array<std::pair<const char*, const char*>, 6> pairs{
        {{"ro", "rw"}, {"nosuid", "suid"}, {"nodev", "dev"}, {"noexec", "exec"}, {"nosymfollow", "symfollow"}, {"nodiratime", "diratime"}}};
    for (const std::string& word : words) {
      if (word == "noatime" || word == "relatime" || word == "strictatime") {
        set_word(mount, word, {"noatime", "relatime", "strictatime"});
        continue;
      }
      for (const auto& [set, clear] : pairs) {
        if (word != set && word != clear) continue;
        std::erase(mount.attributes, std::string{set});
        std::erase(mount.attributes, std::string{clear});
        mount.attributes.insert(word == "ro" || word == "rw" ? mount.attributes.begin() : mount.attributes.end(), word);
      }
    }
  }

  std::string root_;
  std::vector<Mount> mounts_{};
  std::map<std::size_t, std::vector<Mount>> before_{};  // the mounts before an effect, where a later bind asks for them
  std::size_t applied_ = 0;
};

}  // namespace

std::string to_tree(const Plan& plan) {
  const print::Effects effects = print::effects_of(plan);
  Table table{effects};
  for (const Effect& effect : effects.all) table.apply(effect);
  return table.print();
}

}  // namespace rootprep
