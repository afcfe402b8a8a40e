// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "print/effects.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "plan/host_path.hpp"
#include "print/decode.hpp"
#include "rootprep/abi.hpp"

namespace rootprep::print {
namespace {

constexpr std::uint64_t propagation_flags = abi::ms_private | abi::ms_slave | abi::ms_shared | abi::ms_unbindable;

struct AttributeWord {
  std::uint64_t attribute = 0;
  std::uint64_t mount_flag = 0;
  const char* set = "";
  const char* clear = "";
};
constexpr AttributeWord words[] = {
    {abi::mount_attr_rdonly, abi::ms_rdonly, "ro", "rw"},
    {abi::mount_attr_nosuid, abi::ms_nosuid, "nosuid", "suid"},
    {abi::mount_attr_nodev, abi::ms_nodev, "nodev", "dev"},
    {abi::mount_attr_noexec, abi::ms_noexec, "noexec", "exec"},
    {abi::mount_attr_nosymfollow, abi::ms_nosymfollow, "nosymfollow", "symfollow"},
    {abi::mount_attr_nodiratime, abi::ms_nodiratime, "nodiratime", "diratime"},
    {abi::mount_attr_noatime, abi::ms_noatime, "noatime", ""},
    {abi::mount_attr_strictatime, abi::ms_strictatime, "strictatime", ""},
};

std::uint64_t attributes_of(std::uint64_t mount_flags) noexcept {
  std::uint64_t attributes = 0;
  for (const AttributeWord& word : words) attributes |= (mount_flags & word.mount_flag) != 0 ? word.attribute : 0;
  return attributes;
}

// "a//b/../c", seen from the top of a tree that ".." does not leave.
std::string resolved(const std::string& path) {
  std::vector<std::string> parts;
  const std::string normal = host_path::normalized(path);
  for (std::size_t at = 0; at < normal.size();) {
    const std::size_t end = std::min(normal.find('/', at), normal.size());
    const std::string part = normal.substr(at, end - at);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    at = end + 1;
  }
  std::string out;
  for (const std::string& part : parts) out += '/' + part;
  return out.empty() ? "/" : out;
}

Place below(const Place& directory, const std::string& path) {
  if (path.empty() || path == ".") return directory;
  Place place = directory;
  place.path = resolved((directory.path == "/" ? "" : directory.path) + '/' + path);
  return place;
}

// A mount that is not attached yet, or a file system that is being configured.
struct Detached {
  EffectKind kind = EffectKind::mount;  // or bind
  Place source{};                       // of a bind
  std::string type{};
  std::string name{};  // the "source" of a file system
  std::vector<Option> options{};
  std::size_t taken_at = 0;
  bool recursive = false;
  std::uint64_t set = 0;
  std::uint64_t clear = 0;
  bool attributes_recursive = false;
  std::uint64_t propagation = 0;
  bool propagation_recursive = false;
};

// What a descriptor stands for.
struct Object {
  enum class Kind : std::uint8_t { nothing, place, context, detached };
  Kind kind = Kind::nothing;
  Place place{};
  Detached mount{};

  // Where it is, or, if it is detached, where it comes from.
  const Place& origin() const noexcept { return kind == Kind::detached ? mount.source : place; }
};

class Interpreter {
 public:
  explicit Interpreter(const Plan& plan) : plan_(plan), slots_(plan.slot_count()), walked_(plan.operations().size()) {}

  Effects run() {
    cwd_ = process_root_ = Place{Place::Base::host, "/"};
    walk(0, static_cast<std::uint32_t>(plan_.operations().size()));
    const std::uint16_t root = plan_.parts().root_slot;
    if (entered_root_) {
      effects_.root = entered_root_->path;
    } else if (root != no_slot && root_place_) {
      effects_.root = root_place_->path;
    }
    return std::move(effects_);
  }

 private:
  void walk(std::uint32_t first, std::uint32_t last) {
    std::uint32_t i = first;
    while (i < last) {
      leave_conditions(i);
      i = operation(i);
    }
    leave_conditions(last);
  }

  // --- conditions: a range of operations that happens only if something is there ---
  struct Range {
    Condition condition{};
    std::uint32_t end = 0;
  };
  void enter_condition(Condition::Kind kind, const Place& place, std::uint32_t end) {
    if (place.base != Place::Base::unknown) ranges_.push_back({{kind, place}, end});
  }
  void leave_conditions(std::uint32_t index) {
    std::erase_if(ranges_, [&](const Range& range) { return range.end <= index; });
  }

  Effect& add(EffectKind kind, std::uint32_t index) {
    const std::size_t before = effects_.all.size();
    Effect& effect = effects_.all.emplace_back();
    effect.kind = kind;
    effect.taken_at = before;
    effect.step = plan_.operations()[index].step;
    effect.operation = index;
    for (const Range& range : ranges_) effect.conditions.push_back(range.condition);
    effect.may_fail = plan_.operations()[index].allowed[0] != 0;
    return effect;
  }
  void add_unknown(std::uint32_t index) { add(EffectKind::unknown, index).text = call(plan_, plan_.operations()[index]); }

  // --- arguments ---
  const Argument& argument(const Operation& op, std::size_t i) const { return op.arguments[i]; }

  Place place_of_slot(std::uint16_t slot) const {
    const Object& object = slots_[slot];
    if (object.kind == Object::Kind::place) return object.place;
    return {Place::Base::unknown, '{' + plan_.slot_name(slot) + '}'};
  }

  // A directory argument: a descriptor, or AT_FDCWD.
  Place directory(const Operation& op, std::size_t i) const {
    const Argument& a = argument(op, i);
    if (a.source == ArgumentSource::descriptor) return place_of_slot(a.slot);
    if (a.source == ArgumentSource::held_descriptor) return {Place::Base::host, "/proc/self/fd/" + std::to_string(a.value)};
    if (a.source == ArgumentSource::immediate && static_cast<std::int32_t>(static_cast<std::uint32_t>(a.value)) == abi::at_fdcwd)
      return cwd_;
    return {};
  }

  // A text with its descriptor holes as the paths that they stand for. `escape`: a layer of overlayfs, in which colons and commas mean
  // something.
  std::string resolved_text(const Argument& a, bool escape = false) const {
    const auto hole = [&](std::uint16_t slot) {
      const std::string path = place_of_slot(slot).path;
      if (!escape) return path;
      std::string out;
      for (const char c : path) {
        if (c == ':' || c == ',' || c == '\\') out += '\\';
        out += c;
      }
      return out;
    };
    if (a.source == ArgumentSource::descriptor_path) return hole(a.slot);
    if (a.source != ArgumentSource::text) return text_of(plan_, a);
    std::string text;
    for (const PlanText::Piece& piece : PlanText::pieces(plan_.string_at(a.value)))
      text += piece.slot == no_slot ? std::string{piece.literal} : hole(piece.slot);
    return text;
  }

  Place path(const Argument& a, const Place& relative_to) const {
    if (a.source == ArgumentSource::descriptor_path) return place_of_slot(a.slot);
    const std::string text = resolved_text(a);
    if (text.empty()) return relative_to;
    return text.front() == '/' ? below(process_root_, text) : below(relative_to, text);
  }
  Place at(const Operation& op, std::size_t directory_index) const {
    return path(argument(op, directory_index + 1), directory(op, directory_index));
  }

  // What lies there after pivot_root(".", "."): the old root, on top of the new one.
  Place topmost(const Place& place) const {
    const bool outside = entered_root_ && place.base == Place::Base::host && !is_at_or_below(place.path, process_root_.path);
    if (outside || (old_root_covers_ && place == process_root_)) return {Place::Base::old_root, "/"};
    return place;
  }

  static bool has(const std::uint8_t* errors, std::size_t count, int error_number) {
    return std::find(errors, errors + count, error_number) != errors + count;
  }
  static bool allows(const Operation& op, int error_number) { return has(op.allowed, std::size(op.allowed), error_number); }

  void set_place(std::uint16_t slot, const Place& place) {
    if (slot == no_slot) return;
    slots_[slot] = {Object::Kind::place, place, {}};
    if (slot == plan_.parts().root_slot) root_place_ = place;
  }

  // --- one operation: the index of the next one ---
  std::uint32_t operation(std::uint32_t i) {
    const Operation& op = plan_.operations()[i];
    const std::uint32_t following = op.next == no_operation ? i + 1 : op.next;
    switch (op.kind) {
      case OperationKind::system_call: break;
      case OperationKind::skip_if_closed: {
        enter_condition(Condition::Kind::exists, slots_[op.arguments[0].slot].origin(), op.alternative);
        return i + 1;
      }
      case OperationKind::user_function: add_unknown(i); return following;
      case OperationKind::open_in_root:
        open_in_root(op, i);
        (void)created_if_missing(i);
        return following;
      case OperationKind::make_parent_private: {
        Effect& effect = add(EffectKind::separate_parent, i);
        effect.target = directory(op, 0);
        effect.propagation = op.arguments[1].value;
        return following;
      }
      case OperationKind::hide_host_filesystems: add(EffectKind::hide_filesystems, i).target = directory(op, 0); return following;
      case OperationKind::remount_bind: {
        Effect& effect = add(EffectKind::set_attributes, i);
        effect.target = directory(op, 0);
        effect.set = attributes_of(op.arguments[1].value);
        effect.clear = attributes_of(op.arguments[2].value);
        return following;
      }
      case OperationKind::verify: verify(op, i); return following;
    }
    const SysCallInfo* info = find_syscall(long{op.number});
    if (info == nullptr || !system_call(info->name, op, i)) add_unknown(i);
    if (const std::uint32_t after = created_if_missing(i); after != no_operation) return after;
    return following;
  }

  // openat2() that on ENOENT goes on at an open_in_root() of the same slot, which creates: together they are that open_in_root().
  std::uint32_t created_if_missing(std::uint32_t i) {
    const Operation& op = plan_.operations()[i];
    if (op.otherwise[0] == 0 || op.result == no_slot) return no_operation;
    const bool on_missing = has(op.otherwise, std::size(op.otherwise), ENOENT);
    const Operation* next = i + 1 < plan_.operations().size() ? &plan_.operations()[i + 1] : nullptr;
    if (on_missing && op.alternative == i + 1 && next != nullptr && next->kind == OperationKind::open_in_root &&
        next->result == op.result) {
      open_in_root(*next, i + 1);
      return op.next == no_operation ? i + 2 : op.next;
    }
    // What is missing is skipped.
    if (on_missing && op.alternative > i + 1) enter_condition(Condition::Kind::exists, slots_[op.result].origin(), op.alternative);
    return no_operation;
  }

  void open_in_root(const Operation& op, std::uint32_t i) {
    const Place place = at(op, 0);
    set_place(op.result, place);
    const auto create = static_cast<Create>(op.arguments[3].value);
    if (create == Create::nothing) return;
    Effect& effect = add(create == Create::directory ? EffectKind::make_directory
                         : create == Create::file    ? EffectKind::make_file
                                                     : EffectKind::make_like,
                         i);
    effect.target = place;
    effect.mode = static_cast<std::uint32_t>(op.arguments[4].value);
    effect.keep = effect.with_parents = true;
    if (create == Create::like_source) {
      effect.source = directory(op, 5);
      const Argument& like = op.arguments[5];
      if (like.source == ArgumentSource::descriptor && slots_[like.slot].kind == Object::Kind::detached) {
        effect.source = slots_[like.slot].mount.source;
        if (slots_[like.slot].mount.kind == EffectKind::mount) effect.kind = EffectKind::make_directory;
      }
    }
  }

  void verify(const Operation& op, std::uint32_t i) {
    const Argument& a = op.arguments[0];
    const Place target = a.source == ArgumentSource::descriptor ? slots_[a.slot].origin() : directory(op, 0);
    if (static_cast<Verification>(op.arguments[1].value) == Verification::node) {
      Effect& effect = add(EffectKind::check_node, i);
      effect.target = target;
      effect.mode = static_cast<std::uint32_t>(op.arguments[2].value);
      effect.device = static_cast<std::uint32_t>(op.arguments[3].value);
    } else {
      Effect& effect = add(EffectKind::check_filesystem, i);
      effect.target = target;
      effect.magic = op.arguments[2].value;
      effect.set = op.arguments[3].value;
      effect.clear = op.argument_count > 4 ? op.arguments[4].value : 0;
    }
  }

  // False: not understood.
  bool system_call(std::string_view name, const Operation& op, std::uint32_t i) {
    const auto number = [&](std::size_t k) { return op.arguments[k].value; };
    if (name == "close") {
      if (op.arguments[0].source == ArgumentSource::descriptor) slots_[op.arguments[0].slot] = {};
      return true;
    }
    if (name == "openat" || name == "openat2") return open(name, op, i);
    if (name == "open_tree") return open_tree(op);
    if (name == "fsopen") {
      Object object{Object::Kind::context, {}, {}};
      object.mount.type = resolved_text(op.arguments[0]);
      slots_[op.result] = std::move(object);
      return true;
    }
    if (name == "fsconfig") return fsconfig(op);
    if (name == "fsmount") return fsmount(op);
    if (name == "move_mount") return move_mount(op, i);
    if (name == "mount_setattr") return mount_setattr(op, i);
    if (name == "mount") return mount(op, i);
    if (name == "umount2") {
      Effect& effect = add(EffectKind::unmount, i);
      effect.target = topmost(path(op.arguments[0], cwd_));
      if (effect.target.base == Place::Base::old_root) old_root_covers_ = false;
      effect.lazily = (number(1) & abi::mnt_detach) != 0;
      return true;
    }
    if (name == "pivot_root") {
      Effect& effect = add(EffectKind::enter_root, i);
      effect.target = path(op.arguments[0], cwd_);
      effect.source = path(op.arguments[1], cwd_);  // put_old
      effect.entry = RootEntry::pivot_root;
      old_root_covers_ = effect.source == effect.target;
      enter(effect.target);
      return true;
    }
    if (name == "chroot") {
      Effect& effect = add(EffectKind::enter_root, i);
      effect.target = path(op.arguments[0], cwd_);
      effect.entry = op.enters_root == RootEntry::none ? RootEntry::chroot : op.enters_root;
      enter(effect.target);
      return true;
    }
    if (name == "chdir" || name == "fchdir") {
      cwd_ = name == "chdir" ? path(op.arguments[0], cwd_) : directory(op, 0);
      add(EffectKind::change_directory, i).target = cwd_;
      return true;
    }
    if (name == "umask") return true;  // modes are exact anyway
    if (name == "sethostname") {
      add(EffectKind::set_hostname, i).text = resolved_text(op.arguments[0]);
      return op.arguments[0].source == ArgumentSource::string;
    }
    return file_call(name, op, i);
  }

  bool file_call(std::string_view name, const Operation& op, std::uint32_t i) {
    const auto mode = [&](std::size_t k) { return static_cast<std::uint32_t>(op.arguments[k].value); };
    if (name == "mkdirat") {
      Effect& effect = add(EffectKind::make_directory, i);
      effect.target = at(op, 0);
      effect.mode = mode(2);
      effect.keep = allows(op, EEXIST);
      return true;
    }
    if (name == "mknodat") {
      const bool file = (op.arguments[2].value & 0170000U) == abi::s_ifreg;
      Effect& effect = add(file ? EffectKind::make_file : EffectKind::make_node, i);
      effect.target = at(op, 0);
      effect.mode = file ? mode(2) & 07777U : mode(2);
      effect.device = mode(3);
      effect.keep = allows(op, EEXIST);
      return true;
    }
    if (name == "symlinkat") {
      Effect& effect = add(EffectKind::make_symlink, i);
      effect.text = resolved_text(op.arguments[0]);
      effect.target = at(op, 1);
      effect.keep = allows(op, EEXIST);
      return true;
    }
    if (name == "unlinkat") {
      Effect& effect = add(EffectKind::remove, i);
      effect.target = at(op, 0);
      effect.recursive = (op.arguments[2].value & abi::at_removedir) != 0;
      effect.keep = allows(op, ENOENT);
      return true;
    }
    if (name == "fchmodat" || name == "fchmod") {
      Effect& effect = add(EffectKind::change_mode, i);
      effect.target = name == "fchmod" ? directory(op, 0) : at(op, 0);
      effect.mode = mode(name == "fchmod" ? 1 : 2);
      return true;
    }
    if (name == "fchownat") {
      Effect& effect = add(EffectKind::change_owner, i);
      effect.target = at(op, 0);
      effect.owner = mode(2);
      effect.group = mode(3);
      return true;
    }
    if (name == "write" && op.arguments[1].source == ArgumentSource::blob) {
      const auto bytes = bytes_of(plan_, op.arguments[1]);
      Effect& effect = add(EffectKind::write, i);
      effect.target = directory(op, 0);
      effect.text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      return true;
    }
    return false;
  }

  void enter(const Place& root) {
    entered_root_ = root;
    process_root_ = root;
  }

  bool open(std::string_view name, const Operation& op, std::uint32_t i) {
    Place place = at(op, 0);
    std::uint64_t flags = op.arguments[2].value;
    std::uint64_t mode = op.arguments[3].value;
    if (name == "openat2") {
      const auto how = structure_of<abi::open_how>(plan_, op.arguments[2]);
      flags = how.flags;
      mode = how.mode;
      // RESOLVE_IN_ROOT: an absolute path starts at the directory.
      if ((how.resolve & (abi::resolve_in_root | abi::resolve_beneath)) != 0)
        place = below(directory(op, 0), resolved_text(op.arguments[1]));
    }
    set_place(op.result, place);
    if ((flags & abi::o_creat) != 0) {
      Effect& effect = add(EffectKind::make_file, i);
      effect.target = place;
      effect.mode = static_cast<std::uint32_t>(mode);
      effect.keep = (flags & abi::o_excl) == 0;
    }
    return true;
  }

  bool open_tree(const Operation& op) {
    const Place place = at(op, 0);
    if ((op.arguments[2].value & abi::open_tree_clone) == 0) {
      set_place(op.result, place);
      return true;
    }
    Object object{Object::Kind::detached, {}, {}};
    object.mount.kind = EffectKind::bind;
    object.mount.source = place;
    object.mount.taken_at = effects_.all.size();
    object.mount.recursive = (op.arguments[2].value & abi::at_recursive) != 0;
    slots_[op.result] = std::move(object);
    return true;
  }

  bool fsconfig(const Operation& op) {
    const Argument& fs = op.arguments[0];
    if (fs.source != ArgumentSource::descriptor || slots_[fs.slot].kind != Object::Kind::context) return false;
    Detached& mount = slots_[fs.slot].mount;
    const std::uint64_t command = op.arguments[1].value;
    if (command == abi::fsconfig_cmd_create || command == abi::fsconfig_cmd_create_excl) return true;
    const std::string key = resolved_text(op.arguments[2]);
    if (command == abi::fsconfig_set_flag) {
      mount.options.push_back({key, {}});
    } else if (command == abi::fsconfig_set_string) {
      const std::string value = resolved_text(op.arguments[3]);
      if (key == "source") {
        mount.name = value;
      } else {
        mount.options.push_back({key, value});
      }
    } else if (command == abi::fsconfig_set_fd) {
      mount.options.push_back({key, directory(op, 4).path});
    } else {
      return false;
    }
    return true;
  }

  bool fsmount(const Operation& op) {
    const Argument& fs = op.arguments[0];
    if (fs.source != ArgumentSource::descriptor || slots_[fs.slot].kind != Object::Kind::context) return false;
    Object object = slots_[fs.slot];
    object.kind = Object::Kind::detached;
    object.mount.set = op.arguments[2].value;
    slots_[op.result] = std::move(object);
    return true;
  }

  // Attaches a detached mount: the effect, and, after it, what was changed while it was detached.
  void attach(const Detached& mount, const Place& target, std::uint32_t i) {
    Effect& effect = add(mount.kind, i);
    effect.target = target;
    effect.source = mount.source;
    effect.type = mount.type;
    effect.text = mount.name;
    effect.options = mount.options;
    effect.taken_at = mount.taken_at;
    effect.recursive = mount.recursive;
    if (mount.kind == EffectKind::mount) effect.set = mount.set;
    if (mount.kind == EffectKind::bind && (mount.set | mount.clear) != 0) {
      Effect& attributes = add(EffectKind::set_attributes, i);
      attributes.target = target;
      attributes.set = mount.set;
      attributes.clear = mount.clear;
      attributes.recursive = mount.attributes_recursive;
    }
    if (mount.propagation != 0) {
      Effect& propagation = add(EffectKind::set_propagation, i);
      propagation.target = target;
      propagation.propagation = mount.propagation;
      propagation.recursive = mount.propagation_recursive;
    }
  }

  bool move_mount(const Operation& op, std::uint32_t i) {
    const Place target = at(op, 2);
    const Argument& from = op.arguments[0];
    const bool by_descriptor = resolved_text(op.arguments[1]).empty();
    const std::uint32_t other_kind = file_on_directory(op, i);
    if (other_kind != no_operation) ranges_.push_back({{Condition::Kind::is_no_directory, target}, other_kind});
    if (from.source == ArgumentSource::descriptor && by_descriptor && slots_[from.slot].kind == Object::Kind::detached) {
      attach(slots_[from.slot].mount, target, i);
      set_place(from.slot, target);
    } else if (from.source == ArgumentSource::held_descriptor) {  // a detached mount of the caller
      Effect& effect = add(EffectKind::bind, i);
      effect.target = target;
      effect.source = directory(op, 0);
      effect.recursive = true;
    } else {
      Effect& effect = add(EffectKind::move, i);
      effect.source = at(op, 0);
      effect.target = target;
      if (from.source == ArgumentSource::descriptor && by_descriptor) set_place(from.slot, target);
    }
    walk_directory_kind(op, i, target);
    return true;
  }

  // A file is mounted, and where the target turns out to be a directory (EINVAL from move_mount, ENOTDIR from mount), something else: both
  // ways are of interest, and a shell can tell them apart before. Returns where the other way begins.
  std::uint32_t file_on_directory(const Operation& op, std::uint32_t i) const {
    const bool kinds = has(op.otherwise, std::size(op.otherwise), EINVAL) || has(op.otherwise, std::size(op.otherwise), ENOTDIR);
    if (!kinds || op.note != 0) return no_operation;
    return end_of_other_way(op, i) == no_operation ? no_operation : op.alternative;
  }
  // Where both ways meet again: this operation, or the last one before the other way, jumps over that.
  std::uint32_t end_of_other_way(const Operation& op, std::uint32_t i) const {
    if (op.next != no_operation) return op.next > op.alternative ? op.next : no_operation;
    if (op.alternative <= i + 1) return no_operation;
    const Operation& before = plan_.operations()[op.alternative - 1];
    return before.next != no_operation && before.next > op.alternative ? before.next : no_operation;
  }
  void walk_directory_kind(const Operation& op, std::uint32_t i, const Place& target) {
    const std::uint32_t begin = file_on_directory(op, i);
    if (begin == no_operation || walked_[begin]) return;
    walked_[begin] = true;
    const std::uint32_t end = end_of_other_way(op, i);
    constexpr int deepest = 16;  // a plan from elsewhere could nest them without end
    if (depth_ == deepest) return;
    depth_ += 1;
    const std::vector<Object> slots = slots_;
    const std::vector<Range> ranges = ranges_;
    std::erase_if(ranges_, [&](const Range& range) { return range.condition == Condition{Condition::Kind::is_no_directory, target}; });
    ranges_.push_back({{Condition::Kind::is_directory, target}, end});
    walk(begin, end);
    depth_ -= 1;
    slots_ = slots;
    ranges_ = ranges;
  }

  bool mount_setattr(const Operation& op, std::uint32_t i) {
    const auto attributes = structure_of<abi::mount_attr>(plan_, op.arguments[3]);
    const bool recursive = (op.arguments[2].value & abi::at_recursive) != 0;
    if ((attributes.attr_set & abi::mount_attr_idmap) != 0) return false;
    const Argument& a = op.arguments[0];
    if (a.source == ArgumentSource::descriptor && slots_[a.slot].kind == Object::Kind::detached && resolved_text(op.arguments[1]).empty()) {
      Detached& mount = slots_[a.slot].mount;
      mount.set = (mount.set & ~attributes.attr_clr) | attributes.attr_set;
      mount.clear |= attributes.attr_clr;
      if ((attributes.attr_set | attributes.attr_clr) != 0) mount.attributes_recursive = recursive;
      if (attributes.propagation != 0) {
        mount.propagation = attributes.propagation;
        mount.propagation_recursive = recursive;
      }
      return true;
    }
    const Place target = at(op, 0);
    if ((attributes.attr_set | attributes.attr_clr) != 0) {
      Effect& effect = add(EffectKind::set_attributes, i);
      effect.target = target;
      effect.set = attributes.attr_set;
      effect.clear = attributes.attr_clr;
      effect.recursive = recursive;
    }
    if (attributes.propagation != 0) {
      Effect& effect = add(EffectKind::set_propagation, i);
      effect.target = target;
      effect.propagation = attributes.propagation;
      effect.recursive = recursive;
    }
    return true;
  }

  bool mount(const Operation& op, std::uint32_t i) {
    const std::uint64_t flags = op.arguments[3].value;
    const Place target = path(op.arguments[1], cwd_);
    if ((flags & abi::ms_remount) != 0) {
      if ((flags & abi::ms_bind) == 0) return false;  // of the file system itself
      Effect& effect = add(EffectKind::set_attributes, i);
      effect.target = target;
      effect.set = attributes_of(flags);
      return true;
    }
    if ((flags & propagation_flags) != 0) {
      Effect& effect = add(EffectKind::set_propagation, i);
      effect.target = topmost(target);
      effect.propagation = flags & propagation_flags;
      effect.recursive = (flags & abi::ms_rec) != 0;
      return true;
    }
    if ((flags & abi::ms_move) != 0) {
      Effect& effect = add(EffectKind::move, i);
      effect.source = path(op.arguments[0], cwd_);
      effect.target = target;
      return true;
    }
    if ((flags & abi::ms_bind) != 0) {
      const std::uint32_t other_kind = file_on_directory(op, i);
      if (other_kind != no_operation) ranges_.push_back({{Condition::Kind::is_no_directory, target}, other_kind});
      Effect& effect = add(EffectKind::bind, i);
      effect.source = path(op.arguments[0], cwd_);
      if (op.arguments[0].source == ArgumentSource::held_descriptor) effect.source = directory(op, 0);
      effect.target = target;
      effect.recursive = (flags & abi::ms_rec) != 0;
      walk_directory_kind(op, i, target);
      return true;
    }
    Effect& effect = add(EffectKind::mount, i);
    effect.target = target;
    effect.type = resolved_text(op.arguments[2]);
    effect.text = resolved_text(op.arguments[0]);
    effect.set = attributes_of(flags);
    const std::string data = resolved_text(op.arguments[4], effect.type == "overlay");
    for (std::size_t at_byte = 0; at_byte < data.size();) {
      std::size_t end = at_byte;
      while (end < data.size() && data[end] != ',') end += data[end] == '\\' && end + 1 < data.size() ? 2U : 1U;
      const std::string option = data.substr(at_byte, end - at_byte);
      const std::size_t equals = option.find('=');
      if (equals == std::string::npos) {
        effect.options.push_back({option, {}});
      } else {
        effect.options.push_back({option.substr(0, equals), option.substr(equals + 1)});
      }
      at_byte = end + 1;
    }
    return true;
  }

  const Plan& plan_;
  std::vector<Object> slots_;
  std::vector<bool> walked_;  // ways for another kind of target, by their first operation
  int depth_ = 0;
  std::vector<Range> ranges_{};
  Place cwd_{};
  Place process_root_{};
  bool old_root_covers_ = false;
  std::optional<Place> entered_root_{};
  std::optional<Place> root_place_{};
  Effects effects_{};
};

}  // namespace

Effects effects_of(const Plan& plan) { return Interpreter{plan}.run(); }

std::vector<std::string> attribute_words(std::uint64_t set, std::uint64_t clear) {
  std::vector<std::string> out;
  for (const AttributeWord& word : words) {
    if ((set & word.attribute) != 0) {
      out.emplace_back(word.set);
    } else if ((clear & word.attribute) != 0 && *word.clear != '\0') {
      out.emplace_back(word.clear);
    }
  }
  // MOUNT_ATTR_RELATIME is 0: the absence of the two others, asked for by clearing the mask.
  if ((clear & abi::mount_attr_atime_mask) == abi::mount_attr_atime_mask && (set & abi::mount_attr_atime_mask) == 0)
    out.emplace_back("relatime");
  return out;
}

std::string propagation_word(std::uint64_t propagation) {
  if ((propagation & abi::ms_private) != 0) return "private";
  if ((propagation & abi::ms_slave) != 0) return "slave";
  if ((propagation & abi::ms_shared) != 0) return "shared";
  return (propagation & abi::ms_unbindable) != 0 ? "unbindable" : "";
}

bool is_at_or_below(std::string_view path, std::string_view top) noexcept {
  if (top.empty() || top == "/") return path.starts_with('/');
  return path.starts_with(top) && (path.size() == top.size() || path[top.size()] == '/');
}

}  // namespace rootprep::print
