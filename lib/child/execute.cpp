// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
// Runs between clone() and execve(). No allocation, locks, errno, exceptions, containers.
#include <cerrno>

#include "child/composites.hpp"
#include "child/frame.hpp"
#include "child/system_calls.hpp"

namespace rootprep::child {
namespace {

// openat2(2): EAGAIN means that the tree changed during the walk; the caller shall try again. Bounded, because a hostile image can
// change it for ever.
constexpr int max_retries = 128;

bool holds(const std::uint8_t* errors, std::size_t count, long error_number) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    if (errors[i] != 0 && errors[i] == error_number) return true;
  }
  return false;
}

// Fills the holes of the arguments. False: a slot that should hold a descriptor is empty.
class Resolver {
 public:
  explicit Resolver(const Frame& frame) noexcept : frame_(frame), scratch_(frame.scratch) {}

  bool resolve(const Argument& argument, std::uint64_t& out) noexcept {
    switch (argument.source) {
      case ArgumentSource::immediate:
      case ArgumentSource::held_descriptor: out = argument.value; return true;
      case ArgumentSource::string:
      case ArgumentSource::blob: out = word(frame_.data + argument.value); return true;
      case ArgumentSource::descriptor: out = word(frame_.slots[argument.slot]); return frame_.slots[argument.slot] >= 0;
      case ArgumentSource::descriptor_path:
        out = word(scratch_);
        scratch_ = DescriptorPath::write(scratch_, frame_.slots[argument.slot]) + 1;
        return frame_.slots[argument.slot] >= 0;
      case ArgumentSource::text: out = word(scratch_); return fill(frame_.data + argument.value);
    }
    return false;
  }

 private:
  bool fill(const char* encoded) noexcept {  // PlanText describes the encoding; verify() has checked that every mark is whole
    bool filled = true;
    for (; *encoded != '\0'; ++encoded) {
      if (*encoded != '\1') {
        *scratch_++ = *encoded;
      } else if (encoded[1] == '\1') {
        *scratch_++ = *encoded++;
      } else {
        const unsigned low = static_cast<unsigned char>(encoded[1]) & 0x7FU;
        const unsigned high = static_cast<unsigned char>(encoded[2]) & 0x7FU;
        const int descriptor = frame_.slots[low | (high << 7U)];
        filled = filled && descriptor >= 0;
        scratch_ = DescriptorPath::write(scratch_, descriptor);
        encoded += 2;
      }
    }
    *scratch_++ = '\0';
    return filled;
  }

  const Frame& frame_;
  char* scratch_;
};

long call_with_retries(Kernel& kernel, const SysCall& call) noexcept {
  long result = kernel.call(call);
  for (int i = 0; i < max_retries && (result == -EINTR || (result == -EAGAIN && call.number == SYS_openat2)); ++i) {
    if (call.number == SYS_close) return 0;  // close(2): Linux has released the descriptor even if it says EINTR
    result = kernel.call(call);
  }
  return result;
}

long perform(Frame& frame, const Operation& op, std::uint64_t (&a)[6]) noexcept {
  Kernel& kernel = *frame.kernel;
  switch (op.kind) {
    case OperationKind::system_call: return call_with_retries(kernel, SysCall{op.number, {a[0], a[1], a[2], a[3], a[4], a[5]}});
    case OperationKind::user_function: {
      const int root = frame.root_slot == no_slot ? -1 : frame.slots[frame.root_slot];
      const ChildContext context{kernel, reinterpret_cast<const void*>(a[1]), op.arguments[1].size, root};
      return reinterpret_cast<UserFunction>(a[0])(context);  // NOLINT(clang-analyzer-core.CallAndMessage): verify() refuses a null function
    }
    case OperationKind::open_in_root:
      return open_in_root(kernel, static_cast<int>(a[0]), reinterpret_cast<const char*>(a[1]), a[2], static_cast<Create>(a[3]),
                          static_cast<std::uint32_t>(a[4]), static_cast<int>(a[5]));
    case OperationKind::make_parent_private: return make_parent_private(kernel, static_cast<int>(a[0]), a[1]);
    case OperationKind::hide_host_filesystems: return hide_host_filesystems(kernel, static_cast<int>(a[0]));
    case OperationKind::remount_bind: return remount_bind(kernel, static_cast<int>(a[0]), a[1], a[2]);
    case OperationKind::verify: return verify(kernel, static_cast<int>(a[0]), static_cast<Verification>(a[1]), a[2], a[3], a[4]);
    case OperationKind::skip_if_closed: break;
  }
  return -ENOSYS;
}

// A failed file system context knows more than its errno: one message a read (fsopen's descriptor; ENODATA ends it).
void read_kernel_message(Frame& frame, int fs_context) noexcept {
  Report& report = frame.report;
  std::size_t size = 0;
  for (int i = 0; i < 8 && size + 2 < sizeof report.kernel_message; ++i) {
    const long got = invoke(*frame.kernel, SYS_read, fs_context, report.kernel_message + size, sizeof report.kernel_message - size - 1);
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
    if (report.kernel_message[size - 1] != '\n') report.kernel_message[size++] = '\n';
  }
  report.kernel_message_size = static_cast<std::uint32_t>(size);
}

void record_failure(Frame& frame, std::uint32_t index, long result, const std::uint64_t (&a)[6]) noexcept {
  const Operation& op = frame.operations[index];
  Error& error = frame.report.error;
  if (result <= child_failure(ChildErrc::ok)) {
    error = Error::from_child(static_cast<ChildErrc>(child_failure(ChildErrc::ok) - result));
  } else {
    error = Error::from_errno(static_cast<int>(-result), op.kind == OperationKind::system_call ? op.number : std::uint16_t{0});
  }
  error.operation = index;
  error.step = op.step;
  if (op.kind == OperationKind::system_call && (op.number == SYS_fsconfig || op.number == SYS_fsmount)) {
    read_kernel_message(frame, static_cast<int>(a[0]));
  }
}

// Returns the index of the operation to go on with, or no_operation after a failure.
std::uint32_t step_once(Frame& frame, std::uint32_t index) noexcept {
  const Operation& op = frame.operations[index];
  const bool is_close =
      op.kind == OperationKind::system_call && op.number == SYS_close && op.arguments[0].source == ArgumentSource::descriptor;
  if (op.kind == OperationKind::skip_if_closed && frame.slots[op.arguments[0].slot] < 0) return op.alternative;
  if (op.kind == OperationKind::skip_if_closed) return op.next == no_operation ? index + 1 : op.next;

  std::uint64_t arguments[6] = {};
  Resolver resolver{frame};
  bool filled = true;
  for (std::size_t i = 0; i < op.argument_count; ++i) filled = resolver.resolve(op.arguments[i], arguments[i]) && filled;
  long result = 0;
  if (filled) {
    result = perform(frame, op, arguments);
    frame.report.executed += 1;
  } else if (!is_close) {
    result = child_failure(ChildErrc::no_descriptor);
  }
  if (is_close) frame.slots[op.arguments[0].slot] = -1;
  if (result >= 0 && op.exact && static_cast<std::uint64_t>(result) != arguments[2]) result = child_failure(ChildErrc::short_write);

  if (result >= 0) {
    if (op.result != no_slot) frame.slots[op.result] = static_cast<int>(result);
    if (op.enters_root != RootEntry::none) frame.report.entered_by = op.enters_root;
    return op.next == no_operation ? index + 1 : op.next;
  }
  if (holds(op.allowed, sizeof op.allowed, -result)) return op.next == no_operation ? index + 1 : op.next;
  if (holds(op.otherwise, sizeof op.otherwise, -result)) {
    Report& report = frame.report;
    if (op.note == 0) return op.alternative;  // of no interest to anybody
    if (report.event_count < sizeof report.events / sizeof report.events[0]) {
      report.events[report.event_count] = Event{index, static_cast<std::int32_t>(-result)};
    }
    report.event_count += 1;
    return op.alternative;
  }
  record_failure(frame, index, result, arguments);
  return no_operation;
}

}  // namespace

void execute(Frame& frame) noexcept {
  frame.report = Report{};
  for (std::size_t slot = 0; slot < frame.slot_count; ++slot) frame.slots[slot] = -1;
  const long old_mask = invoke(*frame.kernel, SYS_umask, 0);  // modes are those of the plan, whatever the caller's umask
  std::uint32_t index = 0;
  while (index < frame.operation_count) {
    index = step_once(frame, index);
    if (index == no_operation) break;
  }
  for (std::size_t slot = 0; slot < frame.slot_count; ++slot) {
    if (frame.slots[slot] >= 0)
      (void)invoke(*frame.kernel, SYS_close, frame.slots[slot]);  // after a failure; nothing could be done about EIO
    frame.slots[slot] = -1;
  }
  (void)invoke(*frame.kernel, SYS_umask, old_mask);  // umask(2) cannot fail
}

}  // namespace rootprep::child
