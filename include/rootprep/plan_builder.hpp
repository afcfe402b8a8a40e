// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "rootprep/abi.hpp"
#include "rootprep/error.hpp"
#include "rootprep/export.hpp"
#include "rootprep/kernel_features.hpp"
#include "rootprep/operation.hpp"

namespace rootprep {

class PlanBuilder;
class Call;

// A descriptor that will exist when the plan runs: the result of an earlier operation, one that the caller holds, or the working
// directory. A value; nothing is open yet.
class Fd {
 public:
  enum class Kind : std::uint8_t { none, slot, held, cwd };

  constexpr Fd() = default;
  // AT_FDCWD: names are host names. The fearful way round: only for the prologue.
  static constexpr Fd cwd() noexcept { return Fd{Kind::cwd, abi::at_fdcwd}; }
  // An open descriptor of the calling process, inherited by the child. The caller keeps it open until the plan has run.
  static constexpr Fd held(int descriptor) noexcept { return Fd{Kind::held, descriptor}; }

  constexpr Kind kind() const noexcept { return kind_; }
  constexpr int value() const noexcept { return value_; }
  constexpr explicit operator bool() const noexcept { return kind_ != Kind::none; }
  constexpr bool operator==(const Fd&) const = default;

 private:
  friend class PlanBuilder;
  friend class Call;
  constexpr Fd(Kind kind, int value) noexcept : kind_(kind), value_(value) {}
  Kind kind_ = Kind::none;
  int value_ = -1;
};

// A text that may hold "/proc/self/fd/N" of descriptors that do not exist yet.
//
//   b.mount("overlay", Text::path_of(target), "overlay", 0, Text("lowerdir=").path(lower).append(",upperdir=").path(upper));
class ROOTPREP_EXPORT Text {
 public:
  Text(const char* text) : Text(std::string_view{text}) {}         // NOLINT(google-explicit-constructor): a text is a text
  Text(const std::string& text) : Text(std::string_view{text}) {}  // NOLINT(google-explicit-constructor)
  Text(std::string_view text);                                     // NOLINT(google-explicit-constructor)
  Text() = default;

  static Text path_of(Fd descriptor) { return Text().path(descriptor); }
  Text& append(std::string_view text);
  Text& path(Fd descriptor);

  struct Piece {
    std::string literal{};
    Fd descriptor{};
    bool operator==(const Piece&) const = default;
  };
  const std::vector<Piece>& pieces() const noexcept { return pieces_; }
  bool operator==(const Text&) const = default;

 private:
  std::vector<Piece> pieces_{};
};

// A place in the plan that an operation before it can jump to.
class Label {
 public:
  constexpr Label() = default;

 private:
  friend class PlanBuilder;
  friend class Call;
  constexpr explicit Label(std::uint32_t index) noexcept : index_(index) {}
  std::uint32_t index_ = no_operation;
};

// An argument of PlanBuilder::syscall(): a number, a descriptor, a text, or bytes that the kernel reads or writes.
class ROOTPREP_EXPORT Value {
 public:
  template <std::integral Integer>
  Value(Integer number) noexcept
      : number_(static_cast<std::uint64_t>(static_cast<std::int64_t>(number))) {}      // NOLINT(google-explicit-constructor)
  Value(std::uint64_t number) noexcept : number_(number) {}                            // NOLINT(google-explicit-constructor)
  Value(std::nullptr_t) noexcept {}                                                    // NOLINT(google-explicit-constructor)
  Value(Fd descriptor) noexcept : kind_(Kind::descriptor), descriptor_(descriptor) {}  // NOLINT(google-explicit-constructor)
  Value(Text text) : kind_(Kind::text), text_(std::move(text)) {}                      // NOLINT(google-explicit-constructor)
  Value(const char* text) : Value(Text(text)) {}                                       // NOLINT(google-explicit-constructor)
  Value(const std::string& text) : Value(Text(text)) {}                                // NOLINT(google-explicit-constructor)
  // A structure, or bytes. Copied into the plan, aligned to 8.
  static Value bytes(std::span<const std::byte> bytes);
  template <class Structure>
  requires std::is_trivially_copyable_v<Structure>
  static Value structure(const Structure& structure) { return bytes(std::as_bytes(std::span<const Structure, 1>{&structure, 1})); }

 private:
  friend class PlanBuilder;
  enum class Kind : std::uint8_t { number, descriptor, text, bytes };
  Kind kind_ = Kind::number;
  std::uint64_t number_ = 0;
  Fd descriptor_{};
  Text text_{};
  std::vector<std::byte> bytes_{};
};

// A deferred operation, for refining it: valid until the next operation is added.
class ROOTPREP_EXPORT Call {
 public:
  // These errno values are success: `b.mkdirat(root, "dev", 0755).allow({EEXIST})`. At most 4.
  Call& allow(std::initializer_list<int> error_numbers);
  // On these errno values execution goes on at `label`. With a `note`, a phrase that says what it means ("skipped"), it is reported
  // (deviations()); without one it is of no interest to anybody. At most 6.
  Call& otherwise(Label label, std::initializer_list<int> error_numbers, std::string_view note = {});
  // On success, go on at `label` instead of the next operation.
  Call& then(Label label);
  // A short write is an error.
  Call& exactly();
  // This operation is the moment at which the new root is entered.
  Call& enters(RootEntry way);
  // The result is a descriptor (for PlanBuilder::syscall(); the named calls know).
  Fd descriptor(std::string_view name = {});

  operator Fd() { return descriptor(); }  // NOLINT(google-explicit-constructor): Fd fd = b.openat(...);

 private:
  friend class PlanBuilder;
  Call(PlanBuilder& builder, bool prologue, std::size_t index) noexcept : builder_(&builder), prologue_(prologue), index_(index) {}
  Operation& operation() noexcept;
  PlanBuilder* builder_;
  bool prologue_;
  std::size_t index_;
};

// What is wrong with a value of a step. fail() collects them; explain(const Problem&) makes a sentence of one.
struct Problem {
  Error error{};
  std::string step{};      // description of the step
  std::string field{};     // "OverlayMount.upper"
  std::string value{};     // what was given
  std::string expected{};  // what would have been right, and what to do
  bool operator==(const Problem&) const = default;
};

// How a host object is opened.
struct SourceOptions {
  bool recursive = true;
  bool optional = false;        // a missing source is not an error: the slot stays empty, see skip_unless_open()
  bool clone = true;            // a detached copy of the mount tree (open_tree), or, if false, an O_PATH descriptor
  bool follow_symlinks = true;  // in the last component
};

// How an object inside the new root is found.
struct InRootOptions {
  Create create = Create::nothing;
  std::uint32_t mode = 0755;  // of a created target; its missing parents are 0755. The umask of the caller does not apply.
  Fd like{};                  // for Create::like_source
  std::uint64_t flags = abi::o_path | abi::o_cloexec;
};

// Collects deferred system calls: what Step::lower() writes into. The functions have the names and the argument order of the man pages of
// section 2, so that lower() reads like a man page's example. Nothing runs and nothing fails here: a wrong value is remembered by
// fail(), and compile() returns it.
//
//   void MountNothing::lower(PlanBuilder& b) const {
//     Fd fs = b.fsopen("tmpfs", abi::fsopen_cloexec);
//     b.fsconfig_string(fs, "size", "0");
//     b.fsconfig_create(fs);
//     Fd mount = b.fsmount(fs, abi::fsmount_cloexec, abi::mount_attr_rdonly);
//     b.close(fs);
//     Fd target = b.open_in_root("nothing", {.create = Create::directory});
//     b.move_mount(mount, target);
//     b.close(target);
//     b.close(mount);
//   }
//
// Allocates; for the parent only; one thread at a time.
class ROOTPREP_EXPORT PlanBuilder {
 public:
  struct Context {
    KernelFeatures features{};
    bool user_namespace = false;
    bool check_host = true;
  };
  explicit PlanBuilder(Context context);
  ~PlanBuilder();
  PlanBuilder(const PlanBuilder&) = delete;
  PlanBuilder& operator=(const PlanBuilder&) = delete;

  // --- what the plan is for ---
  const KernelFeatures& features() const noexcept;
  // The child will be in a user namespace of its own: no device nodes, locked mounts, userxattr.
  bool user_namespace() const noexcept;
  // Whether lower() may look at the host to find mistakes early. False for plans that are only read.
  bool check_host() const noexcept;

  // --- mistakes ---
  // Remembers what is wrong; the first one becomes the error of compile(). Later calls of the same step go on as if nothing had happened.
  void fail(PlanErrc code, std::string_view field, std::string_view value, std::string_view expected);
  bool failed() const noexcept;
  const std::vector<Problem>& problems() const noexcept;

  // --- steps ---
  void begin_step(std::string description, bool optional = false);
  void end_step();
  void set_optional(bool optional);  // the current step

  // --- the new root ---
  // Descriptor of the new root. Without a step that has set one: fail(no_root).
  Fd root();
  bool has_root() const noexcept;
  // `host_path`: where it is on the host, or empty if nowhere.
  void set_root(Fd root, std::string_view host_path);
  const std::string& root_host_path() const noexcept;
  // From here on no host path may be used: the root was entered. Runs what on_entered() has collected, in order.
  void mark_entered();
  bool entered() const noexcept;
  // Lowers `body` right after the root was entered, as part of the step that enters it.
  void on_entered(std::function<void(PlanBuilder&)> body);
  // No mount of this namespace is shared any more: an unmount of the old root cannot reach the host.
  void mark_nothing_shared();
  bool nothing_shared() const noexcept;

  // --- regions, labels, alternatives ---
  // Operations added inside `body` go to the prologue, which runs while the host is visible.
  void in_prologue(const std::function<void()>& body);
  bool prologue_open() const noexcept;
  Label label();
  void place(Label label);
  // Jumps to `label` if `descriptor` was never opened (an optional source).
  void skip_if_closed(Fd descriptor, Label label);

  struct Alternative {
    std::function<void(PlanBuilder&)> body{};
    std::vector<int> abandon_on{};  // errno values on which the next alternative is tried; at most 6
    std::string note{};             // what going on to the next one means, for the report
  };
  // The first alternative that works. One may be abandoned only up to and including its first operation that leaves something
  // behind (syscalls.def knows); after that a failure is a failure.
  void first_of(const std::vector<Alternative>& alternatives);

  // --- host objects, opened in the prologue ---
  // A source on the host (or, if it lies below root_host_path(), inside the new root at its turn). Checks that it exists, if
  // check_host(). `field` names it in errors.
  Fd host_source(std::string_view path, std::string_view field, SourceOptions options = {});
  Fd host_directory(std::string_view path, std::string_view field);
  // For lower(): is `path` fit to be used, and of this kind? Reports through fail(). Only the form is looked at if not check_host().
  bool require_absolute(std::string_view path, std::string_view field);
  bool require_directory(std::string_view path, std::string_view field);
  bool require_plain_text(std::string_view text, std::string_view field);  // not empty, no NUL

  // --- objects inside the new root ---
  // `path` is relative to the root; a leading '/' and symbolic links in the image mean the root itself. openat2(RESOLVE_IN_ROOT)
  // where there is one, else a walk by components.
  Fd open_in_root(std::string_view path, InRootOptions options = {});
  // As open_in_root without creation, as a call whose errors can be allowed: `b.open_in_root_call("proc/acpi").otherwise(missing,
  // {ENOENT})`.
  Call open_in_root_call(std::string_view path, std::uint64_t flags = abi::o_path | abi::o_cloexec);
  // As open_in_root, for the directory above `path`: creates missing parents. `name` gets the last component.
  Fd open_parent_in_root(std::string_view path, std::string& name, Create missing_parents = Create::directory);

  // --- deferred system calls ---
  Call open_tree(Fd directory, Text path, std::uint64_t flags);
  Call open_tree(Fd descriptor, std::uint64_t flags);  // AT_EMPTY_PATH
  Call move_mount(Fd from, Fd to);                     // both by descriptor
  Call move_mount(Fd from, Text from_path, Fd to, Text to_path, std::uint64_t flags);
  Call fsopen(Text type, std::uint64_t flags = abi::fsopen_cloexec);
  Call fsconfig_string(Fd fs, Text key, Text value);
  Call fsconfig_flag(Fd fs, Text key);
  Call fsconfig_fd(Fd fs, Text key, Fd descriptor);
  Call fsconfig_create(Fd fs);
  Call fsmount(Fd fs, std::uint64_t flags, std::uint64_t attributes);
  Call mount_setattr(Fd descriptor, std::uint64_t at_flags, const abi::mount_attr& attributes);  // AT_EMPTY_PATH
  Call mount_setattr(Fd directory, Text path, std::uint64_t at_flags, const abi::mount_attr& attributes);
  Call mount(Value source, Text target, Value type, std::uint64_t flags, Value data);
  Call umount2(Text target, std::uint64_t flags);
  Call pivot_root(Text new_root, Text put_old);
  Call chroot(Text path);
  Call chdir(Text path);
  Call fchdir(Fd descriptor);
  Call umask(std::uint32_t mask);
  Call openat(Fd directory, Text path, std::uint64_t flags, std::uint32_t mode = 0);
  Call openat2(Fd directory, Text path, const abi::open_how& how);
  Call close(Fd descriptor);
  Call write(Fd descriptor, std::span<const std::byte> bytes);  // exactly()
  Call write(Fd descriptor, std::string_view bytes);
  Call mkdirat(Fd directory, Text path, std::uint32_t mode);
  Call mknodat(Fd directory, Text path, std::uint64_t mode, std::uint32_t device);
  Call symlinkat(Text target, Fd directory, Text path);
  Call unlinkat(Fd directory, Text path, std::uint64_t flags = 0);
  Call fchmod(Fd descriptor, std::uint32_t mode);
  Call fchmodat(Fd directory, Text path, std::uint32_t mode);
  Call fchownat(Fd directory, Text path, std::uint32_t owner, std::uint32_t group, std::uint64_t at_flags);

  // --- composites ---
  Call make_parent_private(Fd directory, std::uint64_t propagation = abi::ms_private);
  Call hide_host_filesystems();
  Call remount_bind(Fd mount, std::uint64_t set_mount_flags, std::uint64_t clear_mount_flags);
  Call verify_node(Fd descriptor, std::uint64_t type, std::uint32_t device);
  Call verify_filesystem(Fd descriptor, std::uint64_t magic, std::uint64_t flags_set, std::uint64_t flags_clear);

  // --- extension ---
  // A system call by its number, known to the library or not.
  Call syscall(long number, std::initializer_list<Value> arguments);
  // A function of yours, called in the child: see UserFunction for what it may do. `data` is copied into the plan. The plan is no longer
  // portable.
  Call call(UserFunction function, std::span<const std::byte> data = {});

  // --- the end ---
  // Closes what is still open, joins the regions, verifies. The first problem is the error. The builder is used up.
  result<class Plan> finish();

 private:
  friend class Call;
  struct State;
  std::unique_ptr<State> state_;

  Call add(OperationKind kind, long number, std::initializer_list<Value> arguments);
  Call named(std::string_view name, std::initializer_list<Value> arguments);
  Call walk_in_root(std::string_view relative, const InRootOptions& options);
  void require_procfs();
  Argument argument(const Value& value);
  std::uint64_t intern(std::string_view bytes);
  std::uint64_t intern_blob(std::span<const std::byte> bytes);
  Fd new_slot(std::string_view name);
  Operation& operation(bool prologue, std::size_t index) noexcept;
};

}  // namespace rootprep
