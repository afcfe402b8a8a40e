// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "operations.hpp"

#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <set>
#include <sstream>
#include <string_view>

#include "raw_call.hpp"

namespace rootprep::conformance {
namespace {

std::uint64_t word(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }
std::uint64_t word(const std::string& text) { return word(text.c_str()); }
std::uint64_t word(int number) { return static_cast<std::uint64_t>(static_cast<std::int64_t>(number)); }
constexpr std::uint64_t here = static_cast<std::uint64_t>(static_cast<std::int64_t>(abi::at_fdcwd));

// '.' is /s, 'A' is /s/A, '@...' is what follows the '@', literally.
std::string real_path(const std::string& path) {
  if (!path.empty() && path[0] == '@') return path.substr(1);
  if (path == ".") return "/s";
  return "/s/" + path;
}

std::uint64_t mount_flags(const std::string& letters) {
  std::uint64_t flags = 0;
  for (const char letter : letters) {
    switch (letter) {
      case 'r': flags |= abi::ms_rdonly; break;
      case 's': flags |= abi::ms_nosuid; break;
      case 'd': flags |= abi::ms_nodev; break;
      case 'x': flags |= abi::ms_noexec; break;
      case 'a': flags |= abi::ms_noatime; break;
      default: break;
    }
  }
  return flags;
}

std::uint64_t attributes(const std::string& letters) {
  std::uint64_t bits = 0;
  for (const char letter : letters) {
    switch (letter) {
      case 'r': bits |= abi::mount_attr_rdonly; break;
      case 's': bits |= abi::mount_attr_nosuid; break;
      case 'd': bits |= abi::mount_attr_nodev; break;
      case 'x': bits |= abi::mount_attr_noexec; break;
      case 'a': bits |= abi::mount_attr_noatime; break;
      case 'A': bits |= abi::mount_attr_atime_mask; break;
      default: break;
    }
  }
  return bits;
}

std::uint64_t propagation(const std::string& name) {
  if (name == "shared") return abi::ms_shared;
  if (name == "slave") return abi::ms_slave;
  if (name == "private") return abi::ms_private;
  if (name == "unbindable") return abi::ms_unbindable;
  return 0;
}

struct Call {
  Kernel& kernel;
  long operator()(long number, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0, std::uint64_t d = 0,
                  std::uint64_t e = 0) const {
    return kernel.call({number, {a, b, c, d, e, 0}});
  }
  long mount(const std::string& source, const std::string& target, const char* type, std::uint64_t flags,
             const char* data = nullptr) const {
    return (*this)(SYS_mount, word(source), word(target), word(type), flags, word(data));
  }
};

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

// How many arguments each operation takes.
const std::map<std::string, std::size_t>& arities() {
  static const std::map<std::string, std::size_t> table{
      {"mount", 2},         {"bind", 2},          {"rbind", 2},       {"move", 2},         {"umount", 1},       {"umount-detach", 1},
      {"umount-nf", 1},     {"umount-expire", 1}, {"hold", 2},        {"open_tree", 2},    {"open_rtree", 2},   {"attach", 2},
      {"drop", 1},          {"move-beneath", 2},  {"set-group", 2},   {"remount-bind", 2}, {"setattr", 4},      {"rsetattr", 4},
      {"newns", 1},         {"newuserns", 1},     {"enterns", 1},     {"pivot_root", 2},   {"chroot", 1},       {"chdir", 1},
      {"mkdir", 1},         {"rmdir", 1},         {"symlink", 2},     {"touch", 1},        {"unlink", 1},       {"rename", 2},
      {"mount-options", 3}, {"remount", 2},       {"mknod", 3},       {"write", 2},        {"open_tree_nr", 2}, {"attach-in", 3},
      {"overlay", 2},       {"open", 2},          {"openat2", 4},     {"fsmount", 2},      {"exists", 1},       {"map-ids", 0},
      {"reads", 2},         {"mode-is", 2},       {"new-process", 0}, {"unprivileged", 0}};
  return table;
}

}  // namespace

long prepare_world(Kernel& kernel, const std::string& place) {
  const Call call{kernel};
  const auto step = [](long result, long& error) {
    if (error >= 0 && result < 0) error = result;
  };
  long error = 0;
  step(call.mount("none", "/", nullptr, abi::ms_rec | abi::ms_private), error);
  step(call.mount("kxroot", place, "tmpfs", 0), error);
  const std::string proc_place = place + "/proc", s_place = place + "/s";
  for (const std::string& directory : {proc_place, s_place}) step(call(SYS_mkdirat, here, word(directory), 0755), error);
  long proc = call.mount("proc", proc_place, "proc", 0);
  if (proc == -EPERM) proc = call.mount("/proc", proc_place, nullptr, abi::ms_bind | abi::ms_rec);
  step(proc, error);
  step(call(SYS_chdir, word(place)), error);
  step(call(SYS_pivot_root, word("."), word(".")), error);
  step(call(SYS_umount2, word("."), abi::mnt_detach), error);
  step(call(SYS_chdir, word("/")), error);
  step(call.mount("none", "/", nullptr, abi::ms_remount | abi::ms_rdonly), error);
  step(call.mount("S", "/s", "tmpfs", 0), error);
  return error;
}

bool Actor::known(const Operation& operation) const {
  if (operation.empty()) return false;
  const std::string& name = operation[0];
  if (name == "fails" || name == "repeat") return operation.size() > 2 && known({operation.begin() + 2, operation.end()});
  if (name == "call") return operation.size() > 2 && find_syscall(operation[2]) != nullptr;
  if (starts_with(name, "make-")) return operation.size() == 2 && propagation(name.substr(name[5] == 'r' ? 6 : 5)) != 0;
  const auto found = arities().find(name);
  return found != arities().end() && operation.size() == found->second + 1;
}

long Actor::open_at(int directory, const std::string& path, std::uint64_t flags) {
  return kernel_->call({SYS_openat, {word(directory), word(path), flags | abi::o_cloexec, 0644, 0, 0}});
}

long Actor::start() {
  const long proc = open_at(abi::at_fdcwd, "/proc", abi::o_rdonly | abi::o_directory);
  if (proc < 0) return proc;
  proc_ = static_cast<int>(proc);
  const long ns = open_at(proc_, "self/ns/mnt", abi::o_rdonly);
  if (ns < 0) return ns;
  namespaces_["0"] = static_cast<int>(ns);
  return 0;
}

long Actor::take(const std::string& name, long descriptor) {
  if (descriptor < 0) return descriptor;
  const auto old = slots_.find(name);
  if (old != slots_.end()) kernel_->call({SYS_close, {word(old->second), 0, 0, 0, 0, 0}});
  slots_[name] = static_cast<int>(descriptor);
  return 0;
}

int Actor::slot(const std::string& name) const {
  const auto found = slots_.find(name);
  return found == slots_.end() ? 987'654 : found->second;  // a number that is open nowhere: EBADF
}

long Actor::register_namespace(const std::string& name, int pid) {
  const long ns = open_at(proc_, std::to_string(pid) + "/ns/mnt", abi::o_rdonly);
  if (ns >= 0) namespaces_[name] = static_cast<int>(ns);
  return ns;
}
int Actor::namespace_descriptor(const std::string& name) const {
  const auto found = namespaces_.find(name);
  return found == namespaces_.end() ? -1 : found->second;
}
long Actor::enter(int descriptor) { return kernel_->call({SYS_setns, {word(descriptor), abi::clone_newns, 0, 0, 0, 0}}); }

std::string Actor::read_mountinfo() {
  const long fd = open_at(proc_, "self/mountinfo", abi::o_rdonly);
  if (fd < 0) return "cannot open mountinfo: " + std::to_string(fd) + "\n";
  std::string text;
  std::array<char, 16384> buffer{};
  for (;;) {
    const long count = kernel_->call({SYS_read, {word(static_cast<int>(fd)), word(buffer.data()), buffer.size(), 0, 0, 0}});
    if (count <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  kernel_->call({SYS_close, {word(static_cast<int>(fd)), 0, 0, 0, 0, 0}});
  return text;
}

std::vector<std::string> young_calls_of(const Operation& op) {
  std::vector<std::string> calls;
  const std::map<std::string, std::vector<std::string>> table{
      {"open_tree", {"open_tree"}},  {"open_rtree", {"open_tree"}},  {"fsmount", {"fsopen", "fsconfig", "fsmount"}},
      {"attach", {"move_mount"}},    {"attach-in", {"move_mount"}},  {"move-beneath", {"move_mount"}},
      {"set-group", {"move_mount"}}, {"setattr", {"mount_setattr"}}, {"rsetattr", {"mount_setattr"}},
      {"openat2", {"openat2"}}};
  if (op.empty()) return calls;
  if (op.size() > 2 && (op[0] == "fails" || op[0] == "repeat")) return young_calls_of({op.begin() + 2, op.end()});
  const std::string name = starts_with(op[0], "h:") ? op[0].substr(2) : op[0];
  if (name == "call" && op.size() > 2) {
    const SysCallInfo* info = find_syscall(op[2]);
    if (info != nullptr && !info->since.empty()) calls.push_back(op[2]);
  } else if (const auto found = table.find(name); found != table.end()) {
    calls = found->second;
  }
  return calls;
}

// {"call", slot of the result or "", system call, arguments...}
long Actor::run_raw(const Operation& op) {
  const RawCall raw({op.begin() + 2, op.end()},
                    [&](const std::string& name) { return name.rfind("ns-", 0) == 0 ? namespace_descriptor(name.substr(3)) : slot(name); });
  const long result = kernel_->call(raw.call());
  if (result < 0 || raw.info()->result != ResultKind::descriptor) return result < 0 ? result : 0;
  if (!op[1].empty()) return take(op[1], result);
  kernel_->call({SYS_close, {word(static_cast<int>(result)), 0, 0, 0, 0, 0}});
  return 0;
}

long Actor::run(const Operation& op) {
  if (!known(op)) return -ENOSYS;
  if (op[0] == "call") return run_raw(op);
  if (op[0] == "fails") {  // errno, operation
    const long result = run({op.begin() + 2, op.end()});
    const char* error = ::strerrorname_np(static_cast<int>(-result));
    if (result == -ENOSYS) return result;
    return result < 0 && error != nullptr && op[1] == error ? 0 : -EBADMSG;
  }
  if (op[0] == "repeat") {  // how often, operation
    long result = 0;
    for (unsigned long i = std::stoul(op[1]); i > 0 && result >= 0; --i) result = run({op.begin() + 2, op.end()});
    return result;
  }
  const Call call{*kernel_};
  const std::string& name = op[0];
  const std::string a = op.size() > 1 ? real_path(op[1]) : "";
  const std::string b = op.size() > 2 ? real_path(op[2]) : "";

  if (starts_with(name, "make-")) {
    const bool recursive = name[5] == 'r';
    return call.mount("none", a, nullptr, propagation(name.substr(recursive ? 6 : 5)) | (recursive ? abi::ms_rec : 0));
  }
  if (name == "mount" || name == "mount-options") {
    const std::string source = "t" + std::to_string(++mounts_);
    return call.mount(source, b, op[1].c_str(), 0, name == "mount" ? nullptr : op[3].c_str());
  }
  if (name == "overlay") {  // target, options with paths literally
    return call.mount("overlay", a, "overlay", 0, op[2].c_str());
  }
  if (name == "bind") return call.mount(a, b, nullptr, abi::ms_bind);
  if (name == "rbind") return call.mount(a, b, nullptr, abi::ms_bind | abi::ms_rec);
  if (name == "move") return call.mount(a, b, nullptr, abi::ms_move);
  if (name == "umount") return call(SYS_umount2, word(a), 0);
  if (name == "umount-detach") return call(SYS_umount2, word(a), abi::mnt_detach);
  if (name == "umount-nf") return call(SYS_umount2, word(a), abi::umount_nofollow);
  if (name == "umount-expire") return call(SYS_umount2, word(a), abi::mnt_expire);
  if (name == "remount-bind") return call.mount("none", a, nullptr, abi::ms_remount | abi::ms_bind | mount_flags(op[2]));
  if (name == "remount") return call.mount("none", a, nullptr, abi::ms_remount | mount_flags(op[2]));
  if (name == "hold") return take(op[1], open_at(abi::at_fdcwd, b, abi::o_rdonly | abi::o_directory));
  if (name == "drop") {
    const long result = call(SYS_close, word(slot(op[1])));
    slots_.erase(op[1]);
    return result;
  }
  if (name == "open_tree" || name == "open_rtree") {
    const std::uint64_t flags = abi::open_tree_clone | abi::open_tree_cloexec | (name == "open_rtree" ? abi::at_recursive : 0);
    return take(op[1], call(SYS_open_tree, here, word(b), flags));
  }
  if (name == "fsmount") {  // slot, type: a detached new file system
    const long context = call(SYS_fsopen, word(op[2]), abi::fsopen_cloexec);
    if (context < 0) return context;
    const std::string source = "t" + std::to_string(++mounts_);
    call(SYS_fsconfig, word(static_cast<int>(context)), abi::fsconfig_set_string, word("source"), word(source), 0);
    long result = call(SYS_fsconfig, word(static_cast<int>(context)), abi::fsconfig_cmd_create);
    if (result >= 0) result = take(op[1], call(SYS_fsmount, word(static_cast<int>(context)), abi::fsmount_cloexec, 0));
    call(SYS_close, word(static_cast<int>(context)));
    return result;
  }
  if (name == "attach") return call(SYS_move_mount, word(slot(op[1])), word(""), here, word(b), abi::move_mount_f_empty_path);
  if (name == "attach-in") {  // slot, slot of the directory, name below it
    return call(SYS_move_mount, word(slot(op[1])), word(""), word(slot(op[2])), word(op[3]), abi::move_mount_f_empty_path);
  }
  if (name == "move-beneath" || name == "set-group") {
    return call(SYS_move_mount, here, word(a), here, word(b), name == "set-group" ? abi::move_mount_set_group : abi::move_mount_beneath);
  }
  if (name == "setattr" || name == "rsetattr") {
    const abi::mount_attr attr{attributes(op[2]), attributes(op[3]), propagation(op[4]), 0};
    return call(SYS_mount_setattr, here, word(a), name == "rsetattr" ? abi::at_recursive : 0, word(&attr), sizeof attr);
  }
  if (name == "newns" || name == "newuserns") {
    const long result = call(SYS_unshare, abi::clone_newns | (name == "newuserns" ? abi::clone_newuser : 0));
    if (result < 0) return result;
    current_ = op[1];
    const long ns = open_at(proc_, "self/ns/mnt", abi::o_rdonly);
    if (ns >= 0) namespaces_[op[1]] = static_cast<int>(ns);
    return 0;
  }
  if (name == "enterns") {
    const long result = enter(namespace_descriptor(op[1]));
    if (result >= 0) current_ = op[1];
    return result;
  }
  if (name == "pivot_root") return call(SYS_pivot_root, word(a), word(b));
  if (name == "chroot") return call(SYS_chroot, word(a));
  if (name == "chdir") return call(SYS_chdir, word(a));
  if (name == "mkdir") return call(SYS_mkdirat, here, word(a), 0755);
  if (name == "rmdir") return call(SYS_unlinkat, here, word(a), abi::at_removedir);
  if (name == "unlink") return call(SYS_unlinkat, here, word(a), 0);
  if (name == "rename") return call(SYS_renameat2, here, word(a), here, word(b), 0);
  if (name == "symlink") return call(SYS_symlinkat, word(op[1]), here, word(b));  // the target is literal
  if (name == "mknod") {                                                          // path, mode in octal with its type, device number
    return call(SYS_mknodat, here, word(a), std::stoul(op[2], nullptr, 8), std::stoul(op[3]));
  }
  if (name == "touch" || name == "write") {
    const long fd = call(SYS_openat, here, word(a), abi::o_wronly | abi::o_creat | abi::o_cloexec, 0644);
    if (fd < 0) return fd;
    long result = 0;
    if (name == "write") result = call(SYS_write, word(static_cast<int>(fd)), word(op[2]), op[2].size());
    call(SYS_close, word(static_cast<int>(fd)));
    return result;
  }
  if (name == "open") {  // path, flags: letters of r(ead) w(rite) d(irectory) n(ofollow) p(ath) c(reate) e(xclusive) t(runcate)
    std::uint64_t flags = abi::o_cloexec;
    for (const char letter : op[2]) {
      const std::map<char, std::uint64_t> bits{{'r', abi::o_rdonly}, {'w', abi::o_wronly}, {'d', abi::o_directory}, {'n', abi::o_nofollow},
                                               {'p', abi::o_path},   {'c', abi::o_creat},  {'e', abi::o_excl},      {'t', abi::o_trunc}};
      const auto bit = bits.find(letter);
      if (bit != bits.end()) flags |= bit->second;
    }
    const long fd = call(SYS_openat, here, word(a), flags, 0644);
    if (fd >= 0) call(SYS_close, word(static_cast<int>(fd)));
    return fd < 0 ? fd : 0;
  }
  if (name == "openat2") {  // slot of the directory ("" = cwd), path, open flags (octal), resolve flags (octal)
    const abi::open_how how{std::stoul(op[3], nullptr, 8), 0, std::stoul(op[4], nullptr, 8)};
    const long fd = call(SYS_openat2, op[1].empty() ? here : word(slot(op[1])), word(op[2]), word(&how), sizeof how);
    if (fd >= 0) call(SYS_close, word(static_cast<int>(fd)));
    return fd < 0 ? fd : 0;
  }
  if (name == "map-ids") {  // id 0 of the new user namespace is id 0 of its parent; proc_ may be another process's view by now
    for (const auto& [file, text] :
         {std::pair{"self/setgroups", "deny"}, std::pair{"self/uid_map", "0 0 1"}, std::pair{"self/gid_map", "0 0 1"}}) {
      const long fd = open_at(proc_, file, abi::o_wronly);
      if (fd < 0) return fd;
      const long result = call(SYS_write, word(static_cast<int>(fd)), word(text), std::string_view(text).size());
      call(SYS_close, word(static_cast<int>(fd)));
      if (result < 0) return result;
    }
    return 0;
  }
  if (name == "reads") {  // slot, text: one read(2) gives exactly that
    std::array<char, 4096> buffer{};
    const long count = call(SYS_read, word(slot(op[1])), word(buffer.data()), buffer.size());
    if (count < 0) return count;
    return std::string_view(buffer.data(), static_cast<std::size_t>(count)) == op[2] ? 0 : -EBADMSG;
  }
  if (name == "mode-is") {  // path, mode with its type, octal
    abi::statx data;
    const long result = call(SYS_statx, here, word(a), abi::at_symlink_nofollow, abi::statx_basic_stats, word(&data));
    if (result < 0) return result;
    return data.mode == std::stoul(op[2], nullptr, 8) ? 0 : -EBADMSG;
  }
  if (name == "exists") {
    abi::statx data;
    return call(SYS_statx, here, word(a), abi::at_symlink_nofollow, abi::statx_basic_stats, word(&data));
  }
  return -ENOSYS;
}

namespace {

struct Line {
  int id = 0, parent = 0;
  std::string root{}, mountpoint{}, flags{}, optional{}, source{};
};

std::vector<Line> parse(const std::string& mountinfo) {
  std::vector<Line> lines;
  std::istringstream text(mountinfo);
  std::string row;
  while (std::getline(text, row)) {
    std::istringstream fields(row);
    Line line;
    std::string device, field, type;
    if (!(fields >> line.id >> line.parent >> device >> line.root >> line.mountpoint >> line.flags)) continue;
    while (fields >> field && field != "-") line.optional += (line.optional.empty() ? "" : ",") + field;
    fields >> type >> line.source;
    lines.push_back(line);
  }
  return lines;
}

std::string renumber(const std::string& optional, std::map<std::string, int>& numbers) {
  std::string text;
  std::istringstream fields(optional);
  std::string field;
  while (std::getline(fields, field, ',')) {
    const std::size_t colon = field.find(':');
    if (colon != std::string::npos) {
      const auto number = numbers.emplace(field.substr(colon + 1), static_cast<int>(numbers.size()) + 1).first->second;
      field = field.substr(0, colon + 1) + std::to_string(number);
    }
    text += (text.empty() ? "" : ",") + field;
  }
  return text.empty() ? "private" : text;
}

}  // namespace

Table table_from(const std::string& mountinfo, bool absolute, std::map<std::string, int>& numbers) {
  std::vector<Line> lines = parse(mountinfo);
  const auto outside = [&](const Line& line) { return !absolute && line.mountpoint != "/s" && !starts_with(line.mountpoint, "/s/"); };
  lines.erase(std::remove_if(lines.begin(), lines.end(), outside), lines.end());
  // Rows without a listed parent are children of none: thousands of rows are not rare, for copies breed.
  constexpr int none = -1;
  std::map<int, std::vector<const Line*>> below;
  std::set<int> listed;
  for (const Line& line : lines) listed.insert(line.id);
  for (const Line& line : lines) below[line.parent != line.id && listed.count(line.parent) != 0 ? line.parent : none].push_back(&line);
  for (auto& [parent, children] : below) {
    std::sort(children.begin(), children.end(), [](const Line* x, const Line* y) { return x->mountpoint < y->mountpoint; });
  }
  Table table;
  const std::function<void(int, int)> add = [&](int parent, int parent_row) {
    const auto found = below.find(parent);
    if (found == below.end()) return;
    const std::vector<const Line*>& children = found->second;
    for (const Line* line : children) {
      Row row;
      row.mountpoint = absolute ? line->mountpoint : line->mountpoint == "/s" ? "." : line->mountpoint.substr(3);
      row.source = line->source + ":" + line->root;
      if (line->source == "nsfs")
        row.source.resize(std::min(row.source.size(), row.source.find('[')));  // the number of a namespace is chance
      row.propagation = renumber(line->optional, numbers);
      row.flags = line->flags;
      row.parent = parent_row;
      table.push_back(row);
      add(line->id, static_cast<int>(table.size()) - 1);
    }
  };
  add(none, -1);
  return table;
}

std::string to_text(const Table& table) {
  std::string text;
  for (const Row& row : table) {
    text += row.mountpoint + " " + row.source + " " + row.propagation + " " + row.flags + " (parent " + std::to_string(row.parent) + ")\n";
  }
  return text;
}

}  // namespace rootprep::conformance
