// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/plan_builder.hpp"

#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <utility>

#include "plan/host_path.hpp"
#include "plan/lasting_effects.hpp"
#include "plan/syscall_numbers.hpp"
#include "rootprep/plan.hpp"

namespace rootprep {

// --- values ---

Text::Text(std::string_view text) {
  if (!text.empty()) pieces_.push_back({std::string{text}, Fd{}});
}

Text& Text::append(std::string_view text) {
  if (text.empty()) return *this;
  if (!pieces_.empty() && !pieces_.back().descriptor) {
    pieces_.back().literal.append(text);
  } else {
    pieces_.push_back({std::string{text}, Fd{}});
  }
  return *this;
}

Text& Text::path(Fd descriptor) {
  if (descriptor.kind() == Fd::Kind::held) return append("/proc/self/fd/" + std::to_string(descriptor.value()));
  pieces_.push_back({{}, descriptor});
  return *this;
}

Value Value::bytes(std::span<const std::byte> bytes) {
  Value value{0};
  value.kind_ = Kind::bytes;
  value.bytes_.assign(bytes.begin(), bytes.end());
  return value;
}

// --- state ---

namespace {

constexpr std::size_t max_operations = 1U << 20U;
constexpr std::size_t max_slots = 0x3FFF;  // a hole in a text has 14 bits for its slot
constexpr std::size_t max_data = 1U << 30U;

// Jumps are relative to a region until finish() joins the two: the top bit marks a label.
constexpr std::uint32_t label_bit = 0x8000'0000;

struct LabelPlace {
  bool placed = false;
  bool prologue = false;
  std::uint32_t index = 0;
  std::uint32_t same_as = no_operation;  // another label that this one has become
};

struct Attempt {
  std::uint32_t start = 0;
  Label next{};
  std::vector<int> abandon_on{};
  std::string note{};
  bool prologue = false;
  bool open = true;  // until its first operation that leaves something behind
};

}  // namespace

struct PlanBuilder::State {
  explicit State(Context c) : context(c) { data.resize(8); }

  Context context;
  std::deque<Operation> prologue{};  // a deque does not copy what it has when it grows
  std::deque<Operation> body{};
  bool in_prologue = false;
  std::vector<StepInfo> steps{};
  std::vector<std::uint16_t> open_steps{};  // the innermost last
  std::vector<std::string> slots{};
  std::vector<std::byte> data{};
  std::map<std::string, std::uint64_t, std::less<>> strings{};
  std::vector<LabelPlace> labels{};
  std::vector<Attempt> attempts{};
  std::vector<Problem> problems{};
  Fd root{};
  std::string root_path{};
  bool entered = false;
  bool nothing_shared = false;
  std::vector<std::function<void(PlanBuilder&)>> after_entry{};

  std::deque<Operation>& region() { return in_prologue ? prologue : body; }
};

PlanBuilder::PlanBuilder(Context context) : state_(std::make_unique<State>(context)) {}
PlanBuilder::~PlanBuilder() = default;

const KernelFeatures& PlanBuilder::features() const noexcept { return state_->context.features; }
bool PlanBuilder::user_namespace() const noexcept { return state_->context.user_namespace; }
bool PlanBuilder::check_host() const noexcept { return state_->context.check_host; }

void PlanBuilder::fail(PlanErrc code, std::string_view field, std::string_view value, std::string_view expected) {
  Problem problem;
  problem.error = Error::from_plan(code);
  if (!state_->open_steps.empty()) {
    problem.error.step = state_->open_steps.back();
    problem.step = state_->steps[problem.error.step].description;
  }
  problem.field = field;
  problem.value = value;
  problem.expected = expected;
  state_->problems.push_back(std::move(problem));
}
bool PlanBuilder::failed() const noexcept { return !state_->problems.empty(); }
const std::vector<Problem>& PlanBuilder::problems() const noexcept { return state_->problems; }

void PlanBuilder::begin_step(std::string description, bool optional) {
  State& s = *state_;
  if (s.steps.size() >= no_step) {
    fail(PlanErrc::too_large, "Pipeline", std::to_string(s.steps.size()), "at most 65534 steps");
    return;
  }
  s.steps.push_back({std::move(description), optional, static_cast<std::uint16_t>(s.open_steps.size())});
  s.open_steps.push_back(static_cast<std::uint16_t>(s.steps.size() - 1));
}
void PlanBuilder::end_step() {
  if (!state_->open_steps.empty()) state_->open_steps.pop_back();
}
void PlanBuilder::set_optional(bool optional) {
  if (!state_->open_steps.empty()) state_->steps[state_->open_steps.back()].optional = optional;
}

// --- the new root ---

Fd PlanBuilder::root() {
  if (!state_->root) {
    fail(PlanErrc::no_root, "Pipeline", "", "a PrepareRoot step before this one");
    return Fd::held(-1);
  }
  return state_->root;
}
bool PlanBuilder::has_root() const noexcept { return static_cast<bool>(state_->root); }
void PlanBuilder::set_root(Fd root, std::string_view host_path) {
  if (state_->root.kind() == Fd::Kind::slot) state_->slots[static_cast<std::size_t>(state_->root.value())] = "covered";
  state_->root = root;
  state_->root_path = host_path::normalized(host_path);
  if (root.kind() == Fd::Kind::slot) state_->slots[static_cast<std::size_t>(root.value())] = "root";
}
const std::string& PlanBuilder::root_host_path() const noexcept { return state_->root_path; }
void PlanBuilder::mark_entered() {
  state_->entered = true;
  for (const auto& body : std::exchange(state_->after_entry, {})) body(*this);
}
bool PlanBuilder::entered() const noexcept { return state_->entered; }
void PlanBuilder::on_entered(std::function<void(PlanBuilder&)> body) { state_->after_entry.push_back(std::move(body)); }
void PlanBuilder::mark_nothing_shared() { state_->nothing_shared = true; }
bool PlanBuilder::nothing_shared() const noexcept { return state_->nothing_shared; }

// --- regions, labels, alternatives ---

void PlanBuilder::in_prologue(const std::function<void()>& body) {
  const bool before = std::exchange(state_->in_prologue, true);
  body();
  state_->in_prologue = before;
}
bool PlanBuilder::prologue_open() const noexcept { return state_->in_prologue; }

Label PlanBuilder::label() {
  state_->labels.emplace_back();
  return Label{static_cast<std::uint32_t>(state_->labels.size() - 1)};
}

void PlanBuilder::place(Label label) {
  LabelPlace& place = state_->labels.at(label.index_);
  place = {true, state_->in_prologue, static_cast<std::uint32_t>(state_->region().size()), no_operation};
}

void PlanBuilder::skip_if_closed(Fd descriptor, Label label) {
  Call call = add(OperationKind::skip_if_closed, 0, {descriptor});
  call.operation().alternative = label.index_ | label_bit;
}

void PlanBuilder::first_of(const std::vector<Alternative>& alternatives) {
  const Label end = label();
  for (std::size_t i = 0; i < alternatives.size(); ++i) {
    const Alternative& alternative = alternatives[i];
    const bool last = i + 1 == alternatives.size();
    const Label next = label();
    const auto start = static_cast<std::uint32_t>(state_->region().size());
    if (!last) state_->attempts.push_back({start, next, alternative.abandon_on, alternative.note, state_->in_prologue, true});
    alternative.body(*this);
    if (!last) state_->attempts.pop_back();
    std::deque<Operation>& region = state_->region();
    if (!last && region.size() > start) {
      if (region.back().next != no_operation) {
        fail(PlanErrc::bad_jump, "PlanBuilder.first_of", "", "an alternative whose last operation does not jump");
      }
      region.back().next = end.index_ | label_bit;
      // A label at the end of this alternative means the end of all, not the start of the next one.
      for (LabelPlace& placed : state_->labels) {
        if (placed.placed && placed.prologue == state_->in_prologue && placed.index == region.size() && placed.same_as == no_operation)
          placed.same_as = end.index_;
      }
    }
    place(next);
  }
  place(end);
}

// --- operations ---

std::uint64_t PlanBuilder::intern(std::string_view bytes) {
  State& s = *state_;
  if (bytes.empty()) return 0;
  if (auto found = s.strings.find(bytes); found != s.strings.end()) return found->second;
  const std::uint64_t offset = s.data.size();
  if (offset + bytes.size() + 1 > max_data) {
    fail(PlanErrc::too_large, "Plan.data", std::to_string(offset), "at most 1 GiB of strings");
    return 0;
  }
  const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
  s.data.insert(s.data.end(), first, first + bytes.size());
  s.data.push_back(std::byte{0});
  s.strings.emplace(bytes, offset);
  return offset;
}

std::uint64_t PlanBuilder::intern_blob(std::span<const std::byte> bytes) {
  State& s = *state_;
  const std::string key = std::string{'\0'} + std::string{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  if (auto found = s.strings.find(key); found != s.strings.end()) return found->second;
  s.data.resize((s.data.size() + 7U) & ~std::size_t{7U});
  const std::uint64_t offset = s.data.size();
  if (offset + bytes.size() > max_data) {
    fail(PlanErrc::too_large, "Plan.data", std::to_string(offset), "at most 1 GiB of data");
    return 0;
  }
  s.data.insert(s.data.end(), bytes.begin(), bytes.end());
  s.strings.emplace(key, offset);
  return offset;
}

Argument PlanBuilder::argument(const Value& value) {
  Argument argument;
  const auto from_descriptor = [&](Fd fd, ArgumentSource slot_source) {
    if (fd.kind() == Fd::Kind::slot) {
      argument.source = slot_source;
      argument.slot = static_cast<std::uint16_t>(fd.value());
    } else {
      argument.source = fd.kind() == Fd::Kind::held ? ArgumentSource::held_descriptor : ArgumentSource::immediate;
      argument.value = static_cast<std::uint64_t>(static_cast<std::int64_t>(fd.value()));
    }
  };
  switch (value.kind_) {
    case Value::Kind::number: argument.value = value.number_; break;
    case Value::Kind::descriptor: from_descriptor(value.descriptor_, ArgumentSource::descriptor); break;
    case Value::Kind::bytes:
      argument.source = ArgumentSource::blob;
      argument.value = intern_blob(value.bytes_);
      argument.size = static_cast<std::uint32_t>(value.bytes_.size());
      break;
    case Value::Kind::text: {
      const std::vector<Text::Piece>& pieces = value.text_.pieces();
      for (const Text::Piece& piece : pieces) {
        if (piece.literal.find('\0') != std::string::npos) {
          fail(PlanErrc::nul_byte, "path or option", piece.literal.c_str(), "a text without NUL bytes");
          return argument;
        }
        if (piece.descriptor && piece.descriptor.kind() != Fd::Kind::slot) {
          fail(PlanErrc::bad_value, "Text.path", "", "a descriptor that an earlier operation opens, or one that is held");
          return argument;
        }
      }
      if (pieces.empty() || (pieces.size() == 1 && !pieces.front().descriptor)) {
        argument.source = ArgumentSource::string;
        argument.value = pieces.empty() ? 0 : intern(pieces.front().literal);
      } else if (pieces.size() == 1) {
        from_descriptor(pieces.front().descriptor, ArgumentSource::descriptor_path);
      } else {
        std::string encoded;
        for (const Text::Piece& piece : pieces) {
          if (piece.descriptor) {
            const auto slot = static_cast<unsigned>(piece.descriptor.value());
            encoded += '\1';
            encoded += static_cast<char>(0x80U | (slot & 0x7FU));
            encoded += static_cast<char>(0x80U | ((slot >> 7U) & 0x7FU));
          } else {
            for (const char c : piece.literal) encoded.append(c == '\1' ? 2 : 1, c);
          }
        }
        argument.source = ArgumentSource::text;
        argument.value = intern(encoded);
      }
      break;
    }
  }
  return argument;
}

Fd PlanBuilder::new_slot(std::string_view name) {
  State& s = *state_;
  if (s.slots.size() >= max_slots) {
    fail(PlanErrc::too_large, "Plan.slots", std::to_string(s.slots.size()), "at most 16383 descriptors");
    return Fd{Fd::Kind::slot, 0};
  }
  s.slots.emplace_back(name);
  return Fd{Fd::Kind::slot, static_cast<int>(s.slots.size() - 1)};
}

// After the root was entered "/proc/self/fd/N" is looked up in the image's /proc. Where that is no procfs, its "fd/N" would be whatever the
// image has put there, a symbolic link to another mount for example, and a read-only flag would go astray.
void PlanBuilder::require_procfs() {
  Fd descriptors = openat(Fd::cwd(), "/proc/self/fd", abi::o_path | abi::o_directory | abi::o_nofollow | abi::o_cloexec).descriptor("proc");
  verify_filesystem(descriptors, abi::proc_super_magic, 0, 0);
  close(descriptors);
}

Call PlanBuilder::add(OperationKind kind, long number, std::initializer_list<Value> arguments) {
  State& s = *state_;
  const auto is_descriptor_path = [](const Value& value) {
    const std::vector<Text::Piece>& pieces = value.text_.pieces();
    return std::any_of(pieces.begin(), pieces.end(),
                       [](const Text::Piece& p) { return p.descriptor || p.literal.find("/proc/self/fd/") != std::string::npos; });
  };
  const bool by_descriptor_path = std::any_of(arguments.begin(), arguments.end(), is_descriptor_path);
  // A symbolic link may well lead to /proc/self/fd (DeviceSetup makes such): only mount calls look it up now.
  const bool is_mount = kind == OperationKind::system_call && (number == SYS_mount || number == SYS_umount2);
  if (s.entered && !s.in_prologue && ((by_descriptor_path && is_mount) || kind == OperationKind::remount_bind)) require_procfs();
  Operation operation;
  operation.kind = kind;
  operation.number = static_cast<std::uint16_t>(number);
  operation.step = s.open_steps.empty() ? no_step : s.open_steps.back();
  if (operation.step == no_step) fail(PlanErrc::bad_step, "PlanBuilder", "", "begin_step() before the first operation");
  if (arguments.size() > 6) fail(PlanErrc::bad_argument, "PlanBuilder.syscall", std::to_string(arguments.size()), "at most six arguments");
  for (const Value& value : arguments) {
    if (operation.argument_count == 6) break;
    operation.arguments[operation.argument_count++] = argument(value);
  }
  std::deque<Operation>& region = s.region();
  if (region.size() >= max_operations)
    fail(PlanErrc::too_large, "Plan.operations", std::to_string(region.size()), "at most 1048576 operations");
  region.push_back(operation);
  Call call{*this, s.in_prologue, region.size() - 1};

  const SysCallInfo* info = kind == OperationKind::system_call ? find_syscall(number) : nullptr;
  if ((info != nullptr && info->result == ResultKind::descriptor) || kind == OperationKind::open_in_root) (void)call.descriptor();

  if (!s.attempts.empty() && s.attempts.back().open && s.attempts.back().prologue == s.in_prologue &&
      kind != OperationKind::skip_if_closed) {
    Attempt& attempt = s.attempts.back();
    Operation& added = region.back();
    std::size_t i = 0;
    for (const int error_number : attempt.abandon_on) {
      if (i == std::size(added.otherwise)) break;
      added.otherwise[i++] = static_cast<std::uint8_t>(error_number);
    }
    added.alternative = attempt.next.index_ | label_bit;
    added.attempt = attempt.start;
    added.note = static_cast<std::uint32_t>(intern(attempt.note));
    if (leaves_something_behind(added)) attempt.open = false;
  }
  return call;
}

Operation& PlanBuilder::operation(bool prologue, std::size_t index) noexcept {
  return prologue ? state_->prologue[index] : state_->body[index];
}

Operation& Call::operation() noexcept { return builder_->operation(prologue_, index_); }

Call& Call::allow(std::initializer_list<int> error_numbers) {
  Operation& op = operation();
  for (const int error_number : error_numbers) {
    auto* free = std::find(std::begin(op.allowed), std::end(op.allowed), 0);
    if (free == std::end(op.allowed)) {
      builder_->fail(PlanErrc::bad_argument, "Call.allow", std::to_string(error_number), "at most four errno values");
      break;
    }
    *free = static_cast<std::uint8_t>(error_number);
  }
  return *this;
}

Call& Call::otherwise(Label label, std::initializer_list<int> error_numbers, std::string_view note) {
  Operation& op = operation();
  if (error_numbers.size() > std::size(op.otherwise)) {
    builder_->fail(PlanErrc::bad_argument, "Call.otherwise", std::to_string(error_numbers.size()), "at most six errno values");
    return *this;
  }
  std::fill(std::begin(op.otherwise), std::end(op.otherwise), std::uint8_t{0});
  std::transform(error_numbers.begin(), error_numbers.end(), std::begin(op.otherwise), [](int e) { return static_cast<std::uint8_t>(e); });
  op.alternative = label.index_ | label_bit;
  op.attempt = static_cast<std::uint32_t>(index_);
  op.note = static_cast<std::uint32_t>(builder_->intern(note));
  return *this;
}

Call& Call::then(Label label) {
  operation().next = label.index_ | label_bit;
  return *this;
}
Call& Call::exactly() {
  operation().exact = true;
  return *this;
}
Call& Call::enters(RootEntry way) {
  operation().enters_root = way;
  return *this;
}
Fd Call::descriptor(std::string_view name) {
  Operation& op = operation();
  if (op.result == no_slot) op.result = static_cast<std::uint16_t>(builder_->new_slot(name).value());
  std::string& known = builder_->state_->slots[op.result];
  if (known.empty()) known = name;
  return Fd{Fd::Kind::slot, static_cast<int>(op.result)};
}

Call PlanBuilder::named(std::string_view name, std::initializer_list<Value> arguments) {
  return add(OperationKind::system_call, find_syscall(name)->number, arguments);
}

// --- host objects ---

bool PlanBuilder::require_plain_text(std::string_view text, std::string_view field) {
  if (text.empty()) {
    fail(PlanErrc::empty_value, field, "", "a value that is not empty");
    return false;
  }
  if (text.find('\0') != std::string_view::npos) {
    fail(PlanErrc::nul_byte, field, std::string{text}.c_str(), "a value without NUL bytes");
    return false;
  }
  return true;
}

bool PlanBuilder::require_absolute(std::string_view path, std::string_view field) {
  if (!require_plain_text(path, field)) return false;
  if (path.front() != '/') {
    fail(PlanErrc::not_absolute, field, path, "an absolute path of the host, such as \"/srv/images/base\"");
    return false;
  }
  return true;
}

bool PlanBuilder::require_directory(std::string_view path, std::string_view field) {
  if (!require_absolute(path, field)) return false;
  if (!check_host()) return true;
  struct stat status {};
  if (::stat(std::string{path}.c_str(), &status) != 0) {
    const int error_number = errno;
    fail(error_number == ENOENT    ? PlanErrc::not_found
         : error_number == ENOTDIR ? PlanErrc::not_a_directory
                                   : PlanErrc::wrong_type,
         field, path, std::string{"an existing directory ("} + std::strerror(error_number) + ")");
    return false;
  }
  if (!S_ISDIR(status.st_mode)) {
    fail(PlanErrc::not_a_directory, field, path, std::string{"a directory, but this is a "} + host_path::type_name(status.st_mode));
    return false;
  }
  return true;
}

Fd PlanBuilder::host_source(std::string_view path, std::string_view field, SourceOptions options) {
  if (!require_absolute(path, field)) return Fd::held(-1);
  const std::uint64_t tree_flags =
      abi::open_tree_cloexec | (options.clone ? abi::open_tree_clone : 0U) | (options.clone && options.recursive ? abi::at_recursive : 0U);
  const bool clone = options.clone && features().mount_by_descriptor;

  if (!root_host_path().empty() && host_path::is_below(path, root_host_path())) {
    // Made by an earlier step perhaps: opened at its turn, by descriptor, and never outside the root.
    const Label missing = label();
    Fd found = open_in_root(host_path::normalized(path).substr(root_host_path().size()));
    if (options.optional) {
      Call{*this, state_->in_prologue, state_->region().size() - 1}.otherwise(missing, {ENOENT, ENOTDIR},
                                                                              "skipped: the source does not exist");
    }
    Fd source = found;
    if (clone) {
      source = open_tree(found, tree_flags).descriptor("source");
      close(found);
    }
    place(missing);
    return source;
  }
  if (entered()) {
    fail(PlanErrc::host_path_after_entry, field, path, "a step that needs the host before EnterRoot");
    return Fd::held(-1);
  }
  if (check_host() && !options.optional) {
    struct stat status {};
    if ((options.follow_symlinks ? ::stat(std::string{path}.c_str(), &status) : ::lstat(std::string{path}.c_str(), &status)) != 0) {
      const int error_number = errno;
      fail(error_number == ENOENT || error_number == ENOTDIR ? PlanErrc::not_found : PlanErrc::bad_value, field, path,
           std::string{"an existing file or directory of the host ("} + std::strerror(error_number) + ")");
    }
  }
  Fd source;
  in_prologue([&] {
    const Label missing = label();
    const std::uint64_t nofollow = options.follow_symlinks ? 0 : clone ? abi::at_symlink_nofollow : abi::o_nofollow;
    Call call =
        clone ? open_tree(Fd::cwd(), path, tree_flags | nofollow) : openat(Fd::cwd(), path, abi::o_path | abi::o_cloexec | nofollow);
    if (options.optional) call.otherwise(missing, {ENOENT, ENOTDIR}, "skipped: the source does not exist");
    source = call.descriptor("source");
    place(missing);
  });
  return source;
}

Fd PlanBuilder::host_directory(std::string_view path, std::string_view field) {
  if (!require_directory(path, field)) return Fd::held(-1);
  if (entered()) {
    fail(PlanErrc::host_path_after_entry, field, path, "a step that needs the host before EnterRoot");
    return Fd::held(-1);
  }
  Fd directory;
  in_prologue([&] { directory = openat(Fd::cwd(), path, abi::o_path | abi::o_directory | abi::o_cloexec); });
  return directory;
}

// --- objects inside the new root ---

Call PlanBuilder::walk_in_root(std::string_view relative, const InRootOptions& options) {
  const Value like = options.create == Create::like_source ? Value{options.like} : Value{-1};
  return add(OperationKind::open_in_root, 0,
             {root(), Text{relative}, options.flags, static_cast<std::uint64_t>(options.create), std::uint64_t{options.mode}, like});
}

Call PlanBuilder::open_in_root_call(std::string_view path, std::uint64_t flags) {
  const std::string relative = host_path::relative_to_root(path);
  if (!features().openat2) return walk_in_root(relative, {.flags = flags});
  return openat2(root(), relative, {flags, 0, abi::resolve_in_root | abi::resolve_no_magiclinks});
}

Fd PlanBuilder::open_in_root(std::string_view path, InRootOptions options) {
  const std::string relative = host_path::relative_to_root(path);
  if (options.create == Create::nothing) return open_in_root_call(path, options.flags);
  if (!features().openat2) return walk_in_root(relative, options);

  const Label missing = label();
  const Label end = label();
  Call call = open_in_root_call(path, options.flags);
  call.otherwise(missing, {ENOENT}).then(end);
  Fd found = call.descriptor();
  place(missing);
  Call created = walk_in_root(relative, options);
  created.operation().result = static_cast<std::uint16_t>(found.value());
  state_->slots.pop_back();  // it had made one of its own
  place(end);
  return found;
}

Fd PlanBuilder::open_parent_in_root(std::string_view path, std::string& name, Create missing_parents) {
  const std::string relative = host_path::relative_to_root(path);
  const std::size_t slash = relative.rfind('/');
  name = slash == std::string::npos ? relative : relative.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") {
    fail(PlanErrc::bad_value, "path", path, "a path whose last component is a name");
  }
  const std::string parent = slash == std::string::npos ? "." : relative.substr(0, slash);
  return open_in_root(
      parent, {.create = parent == "." ? Create::nothing : missing_parents, .flags = abi::o_path | abi::o_directory | abi::o_cloexec});
}

// --- deferred system calls ---

Call PlanBuilder::open_tree(Fd directory, Text path, std::uint64_t flags) { return named("open_tree", {directory, path, flags}); }
Call PlanBuilder::open_tree(Fd descriptor, std::uint64_t flags) {
  return named("open_tree", {descriptor, Text{}, flags | abi::at_empty_path});
}
Call PlanBuilder::move_mount(Fd from, Fd to) {
  return named("move_mount", {from, Text{}, to, Text{}, abi::move_mount_f_empty_path | abi::move_mount_t_empty_path});
}
Call PlanBuilder::move_mount(Fd from, Text from_path, Fd to, Text to_path, std::uint64_t flags) {
  return named("move_mount", {from, from_path, to, to_path, flags});
}
Call PlanBuilder::fsopen(Text type, std::uint64_t flags) { return named("fsopen", {type, flags}); }
Call PlanBuilder::fsconfig_string(Fd fs, Text key, Text value) { return named("fsconfig", {fs, abi::fsconfig_set_string, key, value, 0}); }
Call PlanBuilder::fsconfig_flag(Fd fs, Text key) { return named("fsconfig", {fs, abi::fsconfig_set_flag, key, nullptr, 0}); }
Call PlanBuilder::fsconfig_fd(Fd fs, Text key, Fd descriptor) {
  return named("fsconfig", {fs, abi::fsconfig_set_fd, key, nullptr, descriptor});
}
Call PlanBuilder::fsconfig_create(Fd fs) { return named("fsconfig", {fs, abi::fsconfig_cmd_create, nullptr, nullptr, 0}); }
Call PlanBuilder::fsmount(Fd fs, std::uint64_t flags, std::uint64_t attributes) { return named("fsmount", {fs, flags, attributes}); }
Call PlanBuilder::mount_setattr(Fd descriptor, std::uint64_t at_flags, const abi::mount_attr& attributes) {
  return mount_setattr(descriptor, Text{}, at_flags | abi::at_empty_path, attributes);
}
Call PlanBuilder::mount_setattr(Fd directory, Text path, std::uint64_t at_flags, const abi::mount_attr& attributes) {
  return named("mount_setattr", {directory, path, at_flags, Value::structure(attributes), sizeof attributes});
}
Call PlanBuilder::mount(Value source, Text target, Value type, std::uint64_t flags, Value data) {
  return named("mount", {source, target, type, flags, data});
}
Call PlanBuilder::umount2(Text target, std::uint64_t flags) { return named("umount2", {target, flags}); }
Call PlanBuilder::pivot_root(Text new_root, Text put_old) { return named("pivot_root", {new_root, put_old}); }
Call PlanBuilder::chroot(Text path) { return named("chroot", {path}); }
Call PlanBuilder::chdir(Text path) { return named("chdir", {path}); }
Call PlanBuilder::fchdir(Fd descriptor) { return named("fchdir", {descriptor}); }
Call PlanBuilder::umask(std::uint32_t mask) { return named("umask", {std::uint64_t{mask}}); }
Call PlanBuilder::openat(Fd directory, Text path, std::uint64_t flags, std::uint32_t mode) {
  return named("openat", {directory, path, flags, std::uint64_t{mode}});
}
Call PlanBuilder::openat2(Fd directory, Text path, const abi::open_how& how) {
  return named("openat2", {directory, path, Value::structure(how), sizeof how});
}
Call PlanBuilder::close(Fd descriptor) { return named("close", {descriptor}); }
Call PlanBuilder::write(Fd descriptor, std::span<const std::byte> bytes) {
  Call call = named("write", {descriptor, Value::bytes(bytes), bytes.size()});
  call.exactly();
  return call;
}
Call PlanBuilder::write(Fd descriptor, std::string_view bytes) {
  return write(descriptor, std::as_bytes(std::span{bytes.data(), bytes.size()}));
}
Call PlanBuilder::mkdirat(Fd directory, Text path, std::uint32_t mode) { return named("mkdirat", {directory, path, std::uint64_t{mode}}); }
Call PlanBuilder::mknodat(Fd directory, Text path, std::uint64_t mode, std::uint32_t device) {
  return named("mknodat", {directory, path, mode, std::uint64_t{device}});
}
Call PlanBuilder::symlinkat(Text target, Fd directory, Text path) { return named("symlinkat", {target, directory, path}); }
Call PlanBuilder::unlinkat(Fd directory, Text path, std::uint64_t flags) { return named("unlinkat", {directory, path, flags}); }
Call PlanBuilder::fchmod(Fd descriptor, std::uint32_t mode) { return named("fchmod", {descriptor, std::uint64_t{mode}}); }
Call PlanBuilder::fchmodat(Fd directory, Text path, std::uint32_t mode) {
  return named("fchmodat", {directory, path, std::uint64_t{mode}});
}
Call PlanBuilder::fchownat(Fd directory, Text path, std::uint32_t owner, std::uint32_t group, std::uint64_t at_flags) {
  return named("fchownat", {directory, path, std::uint64_t{owner}, std::uint64_t{group}, at_flags});
}

// --- composites and extensions ---

Call PlanBuilder::make_parent_private(Fd directory, std::uint64_t propagation) {
  return add(OperationKind::make_parent_private, 0, {directory, propagation});
}
Call PlanBuilder::hide_host_filesystems() { return add(OperationKind::hide_host_filesystems, 0, {root()}); }
Call PlanBuilder::remount_bind(Fd mount, std::uint64_t set_mount_flags, std::uint64_t clear_mount_flags) {
  return add(OperationKind::remount_bind, 0, {mount, set_mount_flags, clear_mount_flags});
}
Call PlanBuilder::verify_node(Fd descriptor, std::uint64_t type, std::uint32_t device) {
  return add(OperationKind::verify, 0, {descriptor, static_cast<std::uint64_t>(Verification::node), type, std::uint64_t{device}});
}
Call PlanBuilder::verify_filesystem(Fd descriptor, std::uint64_t magic, std::uint64_t flags_set, std::uint64_t flags_clear) {
  return add(OperationKind::verify, 0, {descriptor, static_cast<std::uint64_t>(Verification::filesystem), magic, flags_set, flags_clear});
}

Call PlanBuilder::syscall(long number, std::initializer_list<Value> arguments) {
  if (number < 0 || number > 0xFFFF)
    fail(PlanErrc::bad_argument, "PlanBuilder.syscall", std::to_string(number), "the number of a system call");
  return add(OperationKind::system_call, number, arguments);
}

Call PlanBuilder::call(UserFunction function, std::span<const std::byte> data) {
  return add(OperationKind::user_function, 0, {reinterpret_cast<std::uint64_t>(function), Value::bytes(data)});
}

// --- the end ---

result<Plan> PlanBuilder::finish() {
  State& s = *state_;
  if (failed()) return s.problems.front().error;

  std::vector<bool> open(s.slots.size());
  for (const std::deque<Operation>* region : {&s.prologue, &s.body}) {
    for (const Operation& op : *region) {
      if (op.result != no_slot) open[op.result] = true;
      if (op.kind == OperationKind::system_call && op.number == SYS_close && op.arguments[0].source == ArgumentSource::descriptor) {
        open[op.arguments[0].slot] = false;
      }
    }
  }
  s.in_prologue = false;
  if (s.open_steps.empty() && !s.steps.empty()) s.open_steps.push_back(static_cast<std::uint16_t>(s.steps.size() - 1));
  for (std::size_t slot = 0; slot < open.size(); ++slot) {
    if (open[slot]) close(Fd{Fd::Kind::slot, static_cast<int>(slot)});
  }

  PlanParts parts;
  parts.prologue_size = static_cast<std::uint32_t>(s.prologue.size());
  parts.operations.reserve(s.prologue.size() + s.body.size());
  parts.operations.assign(s.prologue.begin(), s.prologue.end());
  parts.operations.insert(parts.operations.end(), s.body.begin(), s.body.end());
  const auto resolve = [&](std::uint32_t& target) {
    if (target == no_operation || (target & label_bit) == 0) return;
    std::uint32_t label = target & ~label_bit;
    while (s.labels[label].same_as != no_operation) label = s.labels[label].same_as;
    const LabelPlace& place = s.labels[label];
    if (!place.placed) {
      fail(PlanErrc::bad_jump, "PlanBuilder.label", "", "a label that was placed");
      target = no_operation;
      return;
    }
    target = place.index + (place.prologue ? 0 : parts.prologue_size);
  };
  for (std::size_t i = 0; i < parts.operations.size(); ++i) {
    Operation& op = parts.operations[i];
    resolve(op.next);
    if (op.next == i + 1) op.next = no_operation;
    resolve(op.alternative);
    if (op.attempt != no_operation && i >= parts.prologue_size) op.attempt += parts.prologue_size;
  }
  if (failed()) return s.problems.front().error;
  parts.steps = std::move(s.steps);
  parts.slots = std::move(s.slots);
  parts.data = std::move(s.data);
  if (s.root.kind() == Fd::Kind::slot) parts.root_slot = static_cast<std::uint16_t>(s.root.value());
  parts.user_namespace = s.context.user_namespace;
  return Plan::create(std::move(parts));
}

}  // namespace rootprep
