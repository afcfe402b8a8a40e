// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/testing/fake_kernel.hpp"

#include <algorithm>
#include <system_error>

#include "testing/calls.hpp"
#include "testing/filesystem_types.hpp"
#include "testing/inodes.hpp"
#include "testing/mount_tree.hpp"
#include "testing/mountinfo.hpp"
#include "testing/path_walk.hpp"
#include "testing/permissions.hpp"
#include "testing/world.hpp"

// The public face: profiles, the door of each process, builders, snapshots.
namespace rootprep::testing {

namespace model {

World::World(const KernelProfile& kernel_profile) : profile(kernel_profile) {
  auto user = std::make_unique<UserNamespace>();
  constexpr unsigned all_ids = 0xffffffffU;
  user->uids.push_back({0, 0, all_ids});
  user->gids.push_back({0, 0, all_ids});
  user->sequence = next_sequence++;
  initial_user = user.get();
  user_namespaces.push_back(std::move(user));

  const auto internal_mount = [&](std::string_view type) {
    Superblock* superblock = host_superblock(*this, type, type);
    return new_mount(*this, superblock, superblock->root, {}, type);
  };
  nsfs = internal_mount("nsfs");
  anonymous_files = internal_mount("anon_inodefs");
  context_file = add_file(*this, anonymous_files->root, "[fscontext]", "", 0600);
  next_mount = 1;

  auto first = std::make_unique<Task>();
  first->world = this;
  first->user = initial_user;
  first->capabilities = all_capabilities;
  for (const std::uint64_t kind :
       {abi::clone_newcgroup, abi::clone_newuts, abi::clone_newipc, abi::clone_newpid, abi::clone_newnet, abi::clone_newtime}) {
    auto ns = std::make_unique<PlainNamespace>();
    ns->kind = kind;
    ns->owner = initial_user;
    ns->sequence = next_sequence++;
    ns->hostname = "host";
    first->namespaces[kind] = ns.get();
    plain_namespaces.push_back(std::move(ns));
  }
  number_task(*first, first->namespaces[abi::clone_newpid]);
  // Standard input, output and error: the host's /dev/null, so to say.
  Dentry* null = add_file(*this, anonymous_files->root, "null", "", 0666);
  null->inode->kind = Kind::character;
  null->inode->rdev = abi::device_number(1, 3);
  auto file = std::make_shared<OpenFile>();
  file->world = this;
  file->path = {anonymous_files, null};
  file->reads = file->writes = true;
  file->flags = abi::o_rdwr;
  for (int fd = 0; fd < 3; ++fd) first->fds[fd] = {file, false};
  current = first.get();
  tasks.push_back(std::move(first));
}

World::~World() {
  dying = true;
  for (const auto& task : tasks) task->fds.clear();
}

Task* World::find_task(int pid) const {
  for (const auto& task : tasks) {
    if (task->alive && task->pid == pid) return task.get();
  }
  return nullptr;
}

}  // namespace model

using model::Task;
using model::World;

namespace {

KernelProfile profile_of(std::string name, int version) {
  KernelProfile profile;
  profile.name = std::move(name);
  profile.version = version;
  return profile;
}

int version_number(std::string_view text) {
  int major = 0, minor = 0;
  std::size_t i = 0;
  for (; i < text.size() && text[i] != '.'; ++i) major = major * 10 + (text[i] - '0');
  for (++i; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) minor = minor * 10 + (text[i] - '0');
  return major * 1000 + minor;
}

}  // namespace

std::span<const QuirkInfo> quirks() noexcept {
  static constexpr QuirkInfo table[] = {
#define ROOTPREP_QUIRK(name, since, until, meaning) {Quirk::name, #name, since, until, meaning},
#include "rootprep/testing/quirks.def"
#undef ROOTPREP_QUIRK
  };
  static_assert(std::size(table) <= 64);  // KernelProfile::changed has a bit for each
  return table;
}

bool KernelProfile::has(Quirk quirk) const noexcept {
  const auto index = static_cast<std::size_t>(quirk);
  const QuirkInfo& info = quirks()[index];
  const bool usual = version >= info.since && (info.until == 0 || version < info.until);
  return usual != ((changed >> index & 1U) != 0);
}

KernelProfile& KernelProfile::set(Quirk quirk, bool value) noexcept {
  if (has(quirk) != value) changed ^= std::uint64_t{1} << static_cast<unsigned>(quirk);
  return *this;
}

KernelProfile KernelProfile::linux_5_4() { return profile_of("5.4", 5004); }
KernelProfile KernelProfile::linux_5_15() { return profile_of("5.15", 5015); }
KernelProfile KernelProfile::linux_6_1() { return profile_of("6.1", 6001); }
KernelProfile KernelProfile::linux_6_18() { return profile_of("6.18", 6018); }

FakeProcess::~FakeProcess() = default;

template <class Body>
long FakeProcess::enter(const char* name, Body body) noexcept {
  World& world = *task_->world;
  world.current = task_;
  world.last_rule.clear();
  long result = 0;
  const SysCallInfo* info = find_syscall(name);
  if (!task_->alive) {
    result = world.refuse(ESRCH, "process.ended");
  } else if (info != nullptr && !info->since.empty() && version_number(info->since) > world.profile.version) {
    result = world.refuse(ENOSYS, "profile.call-is-younger");
  } else {
    result = body(*task_);
  }
  if (result >= 0) world.last_rule.clear();
  task_->rule = world.last_rule;
  return result;
}

long FakeProcess::call(const SysCall& call) noexcept {
  World& world = *task_->world;
  world.last_rule.clear();
  const long result = TypedKernel::call(call);
  if (result == -ENOSYS && world.last_rule.empty()) {
    const SysCallInfo* info = find_syscall(call.number);
    task_->rule = "not-modelled";
    return world.unmodelled(info != nullptr ? std::string(info->name) : "system call " + std::to_string(call.number));
  }
  return result;
}

long FakeProcess::unknown(const SysCall& call) noexcept {
  task_->rule = "not-modelled";
  return task_->world->unmodelled("system call " + std::to_string(call.number));
}

#define ROOTPREP_FORWARD(name, parameters, call)                          \
  long FakeProcess::name parameters noexcept {                            \
    return enter(#name, [&](Task& task) -> long { return model::call; }); \
  }
ROOTPREP_FORWARD(open_tree, (int dirfd, const char* path, unsigned flags), call_open_tree(task, dirfd, path, flags, nullptr, 0, false))
ROOTPREP_FORWARD(open_tree_attr, (int dirfd, const char* path, unsigned flags, abi::mount_attr* attr, std::size_t size),
                 call_open_tree(task, dirfd, path, flags, attr, size, true))
ROOTPREP_FORWARD(move_mount, (int from_dirfd, const char* from_path, int to_dirfd, const char* to_path, unsigned flags),
                 call_move_mount(task, from_dirfd, from_path, to_dirfd, to_path, flags))
ROOTPREP_FORWARD(fsopen, (const char* fsname, unsigned flags), call_fsopen(task, fsname, flags))
ROOTPREP_FORWARD(fspick, (int dirfd, const char* path, unsigned flags), call_fspick(task, dirfd, path, flags))
ROOTPREP_FORWARD(fsconfig, (int fs_fd, unsigned cmd, const char* key, const void* value, int aux),
                 call_fsconfig(task, fs_fd, cmd, key, value, aux))
ROOTPREP_FORWARD(fsmount, (int fs_fd, unsigned flags, unsigned attr_flags), call_fsmount(task, fs_fd, flags, attr_flags))
ROOTPREP_FORWARD(mount_setattr, (int dirfd, const char* path, unsigned flags, abi::mount_attr* attr, std::size_t size),
                 call_mount_setattr(task, dirfd, path, flags, attr, size))
ROOTPREP_FORWARD(mount, (const char* source, const char* target, const char* type, unsigned long flags, const void* data),
                 call_mount(task, source, target, type, flags, data))
ROOTPREP_FORWARD(umount2, (const char* target, int flags), call_umount2(task, target, flags))
ROOTPREP_FORWARD(pivot_root, (const char* new_root, const char* put_old), call_pivot_root(task, new_root, put_old))
ROOTPREP_FORWARD(chroot, (const char* path), call_chroot(task, path))
ROOTPREP_FORWARD(chdir, (const char* path), call_chdir(task, path))
ROOTPREP_FORWARD(fchdir, (int fd), call_fchdir(task, fd))
ROOTPREP_FORWARD(getcwd, (char* buf, std::size_t size), call_getcwd(task, buf, size))
ROOTPREP_FORWARD(unshare, (unsigned long flags), call_unshare(task, flags))
ROOTPREP_FORWARD(setns, (int fd, int nstype), call_setns(task, fd, nstype))
ROOTPREP_FORWARD(sethostname, (const char* name, std::size_t len), call_setname(task, name, len, false))
ROOTPREP_FORWARD(setdomainname, (const char* name, std::size_t len), call_setname(task, name, len, true))
ROOTPREP_FORWARD(openat2, (int dirfd, const char* path, const abi::open_how* how, std::size_t size),
                 call_openat2(task, dirfd, path, how, size))
ROOTPREP_FORWARD(close, (int fd), call_close(task, fd))
ROOTPREP_FORWARD(close_range, (unsigned first, unsigned last, unsigned flags), call_close_range(task, first, last, flags))
ROOTPREP_FORWARD(dup3, (int oldfd, int newfd, int flags), call_dup3(task, oldfd, newfd, flags))
ROOTPREP_FORWARD(read, (int fd, void* buf, std::size_t count), call_read(task, fd, buf, count))
ROOTPREP_FORWARD(write, (int fd, const void* buf, std::size_t count), call_write(task, fd, buf, count))
ROOTPREP_FORWARD(lseek, (int fd, long offset, int whence), call_lseek(task, fd, offset, whence))
ROOTPREP_FORWARD(getdents64, (int fd, void* dirp, std::size_t count), call_getdents64(task, fd, dirp, count))
ROOTPREP_FORWARD(ftruncate, (int fd, long length), call_ftruncate(task, fd, length))
ROOTPREP_FORWARD(mkdirat, (int dirfd, const char* path, unsigned mode), call_mkdirat(task, dirfd, path, mode))
ROOTPREP_FORWARD(mknodat, (int dirfd, const char* path, unsigned mode, unsigned dev), call_mknodat(task, dirfd, path, mode, dev))
ROOTPREP_FORWARD(symlinkat, (const char* target, int newdirfd, const char* linkpath), call_symlinkat(task, target, newdirfd, linkpath))
ROOTPREP_FORWARD(linkat, (int olddirfd, const char* oldpath, int newdirfd, const char* newpath, int flags),
                 call_linkat(task, olddirfd, oldpath, newdirfd, newpath, flags))
ROOTPREP_FORWARD(unlinkat, (int dirfd, const char* path, int flags), call_unlinkat(task, dirfd, path, flags))
ROOTPREP_FORWARD(renameat2, (int olddirfd, const char* oldpath, int newdirfd, const char* newpath, unsigned flags),
                 call_renameat2(task, olddirfd, oldpath, newdirfd, newpath, flags))
ROOTPREP_FORWARD(readlinkat, (int dirfd, const char* path, char* buf, std::size_t bufsiz), call_readlinkat(task, dirfd, path, buf, bufsiz))
ROOTPREP_FORWARD(statx, (int dirfd, const char* path, int flags, unsigned mask, abi::statx* statxbuf),
                 call_statx(task, dirfd, path, flags, mask, statxbuf))
ROOTPREP_FORWARD(fstatfs, (int fd, abi::statfs* buf), call_fstatfs(task, fd, buf))
ROOTPREP_FORWARD(fchmod, (int fd, unsigned mode), call_fchmod(task, fd, mode))
ROOTPREP_FORWARD(fchmodat, (int dirfd, const char* path, unsigned mode), call_fchmodat(task, dirfd, path, mode))
ROOTPREP_FORWARD(fchownat, (int dirfd, const char* path, unsigned owner, unsigned group, int flags),
                 call_fchownat(task, dirfd, path, owner, group, flags))
ROOTPREP_FORWARD(fsetxattr, (int fd, const char* name, const void* value, std::size_t size, int flags),
                 call_fsetxattr(task, fd, name, value, size, flags))
ROOTPREP_FORWARD(fgetxattr, (int fd, const char* name, void* value, std::size_t size), call_fgetxattr(task, fd, name, value, size))
#undef ROOTPREP_FORWARD

long FakeProcess::umask(unsigned mask) noexcept {
  return enter("umask", [&](Task& task) -> long {
    const unsigned old = task.umask;
    task.umask = mask & 0777U;
    return static_cast<long>(old);
  });
}

long FakeProcess::openat(int dirfd, const char* path, int flags, unsigned mode) noexcept {
  return enter("openat", [&](Task& task) -> long {
    abi::open_how how;
    how.flags = static_cast<unsigned>(flags);
    // open(2): without O_CREAT the mode is ignored; with O_PATH, all flags but three.
    if ((how.flags & abi::o_path) != 0) how.flags &= abi::o_path | abi::o_directory | abi::o_nofollow | abi::o_cloexec;
    if ((how.flags & abi::o_creat) != 0) how.mode = mode & 07777U;
    return model::call_open(task, dirfd, path, how);
  });
}

namespace {

class ProcessDoor final : public FakeProcess {
 public:
  explicit ProcessDoor(Task* task) { task_ = task; }
};

model::Path find(const Task& task, std::string_view path, bool follow) {
  // Looking is not acting: as root, without a trace in the rules.
  World& world = *task.world;
  Task eye;
  eye.world = &world;
  eye.pid = task.pid;
  eye.pids = task.pids;
  eye.ns = task.ns;
  eye.user = world.initial_user;
  eye.capabilities = model::all_capabilities;
  eye.root = task.root;
  eye.cwd = task.cwd;
  const std::string rule = world.last_rule;
  model::WalkOptions options;
  options.follow = follow;
  options.keep_expiry = true;
  model::Path found;
  const std::string text(path);
  model::walk(eye, abi::at_fdcwd, text.c_str(), options, found);
  world.last_rule = rule;
  return found;
}

}  // namespace

FakeProcess& FakeProcess::clone(std::uint64_t namespaces) {
  World& world = *task_->world;
  Task* child = model::fork_task(world, *task_);
  const unsigned uid = task_->uid, gid = task_->gid;
  const long error = namespaces == 0 ? 0 : model::call_unshare(*child, namespaces);
  if (error != 0) {
    child->alive = false;
    throw std::system_error(static_cast<int>(-error), std::generic_category(), "clone (" + world.last_rule + ")");
  }
  // clone(2), unlike unshare(2), puts the child itself into the new pid namespace.
  if ((namespaces & abi::clone_newpid) != 0) {
    child->namespaces[abi::clone_newpid] = child->children_pid_namespace;
    child->children_pid_namespace = nullptr;
    model::number_task(*child, child->namespaces[abi::clone_newpid]);
  }
  if ((namespaces & abi::clone_newuser) != 0) {
    child->user->uids.push_back({0, uid, 1});
    child->user->gids.push_back({0, gid, 1});
  }
  world.processes.push_back(std::make_unique<ProcessDoor>(child));
  return *world.processes.back();
}

void FakeProcess::exit() { model::end_task(*task_); }
int FakeProcess::pid() const { return task_->pid; }
int FakeProcess::getpid() const { return task_->pids.at(task_->namespaces.at(abi::clone_newpid)); }

void FakeProcess::map_ids(unsigned inside, unsigned outside, unsigned count) {
  model::UserNamespace& user = *task_->user;
  if (user.parent == nullptr) return;
  const unsigned uid = model::to_kernel_uid(user.parent, outside), gid = model::to_kernel_gid(user.parent, outside);
  user.uids.push_back({inside, uid, count});
  user.gids.push_back({inside, gid, count});
}
void FakeProcess::set_ids(unsigned uid, unsigned gid) {
  task_->uid = uid;
  task_->gid = gid;
}
void FakeProcess::set_capabilities(std::uint64_t bits) { task_->capabilities = bits; }

std::string FakeProcess::mountinfo() const { return model::mountinfo_of(*task_->world, *task_); }

namespace {

// Mounts in the order of the tree, children by mountpoint; groups numbered in the order in which they appear.
struct Printer {
  const Task& task;
  std::map<const model::PeerGroup*, std::size_t> numbers{};
  std::string text{};

  std::size_t number(const model::PeerGroup* group) { return numbers.emplace(group, numbers.size() + 1).first->second; }

  std::string propagation(const model::Mount* mount) {
    std::string line;
    if (mount->shared()) line += " shared:" + std::to_string(number(mount->group));
    if (const model::PeerGroup* master = mount->master()) line += " master:" + std::to_string(number(master));
    if (mount->unbindable) line += " unbindable";
    return line;
  }

  void print(model::Mount* mount, int depth, bool indent) {
    std::string point;
    const bool visible = model::reachable_path({mount, mount->root}, task.root, point);
    if (visible) {
      const std::string root = model::path_in_filesystem(mount->root);
      text += (indent ? std::string(static_cast<std::size_t>(depth) * 2, ' ') : "") + point + " " +
              std::string(mount->superblock->type->name) + " " + (mount->source.empty() ? "none" : mount->source) +
              (root == "/" ? "" : "[" + root + "]") + " " + model::mount_flags_text(mount->flags) +
              (mount->superblock->read_only ? " superblock-ro" : "") + propagation(mount) + "\n";
    }
    std::vector<std::pair<std::string, model::Mount*>> children;
    for (model::Mount* child = mount->first_child; child != nullptr; child = child->next_sibling) {
      std::string at;
      model::reachable_path({child, child->root}, task.root, at);
      children.emplace_back(at, child);
    }
    std::sort(children.begin(), children.end(),
              [](const auto& a, const auto& b) { return a.first < b.first || (a.first == b.first && a.second->id < b.second->id); });
    for (const auto& child : children) print(child.second, depth + (visible ? 1 : 0), indent);
  }
};

}  // namespace

std::string FakeProcess::mount_table() const {
  Printer printer{*task_};
  printer.print(task_->ns->root, 0, false);
  return printer.text;
}

std::string FakeProcess::tree() const {
  Printer printer{*task_};
  printer.print(task_->ns->root, 0, true);
  return printer.text;
}

bool FakeProcess::exists(std::string_view path) const { return static_cast<bool>(find(*task_, path, false)); }

std::string FakeProcess::read_file(std::string_view path) const {
  const model::Path found = find(*task_, path, true);
  if (!found || model::attributes(found.dentry).kind != model::Kind::regular) return "";
  return model::attributes(found.dentry).data;
}

std::vector<std::string> FakeProcess::list(std::string_view path) const {
  const model::Path found = find(*task_, path, true);
  if (!found || !model::is_directory(found.dentry)) return {};
  return model::child_names(*task_, found.dentry);
}

abi::statx FakeProcess::stat(std::string_view path) const {
  abi::statx result;
  const model::Path found = find(*task_, path, false);
  if (found) model::fill_statx(*task_, found, static_cast<unsigned>(abi::statx_basic_stats | abi::statx_mnt_id), result);
  return result;
}

std::vector<int> FakeProcess::descriptors() const {
  std::vector<int> numbers;
  for (const auto& fd : task_->fds) numbers.push_back(fd.first);
  return numbers;
}

const std::string& FakeProcess::rule_of_last_error() const { return task_->rule; }

std::string difference(const Snapshot& before, const Snapshot& after) {
  std::string text;
  std::vector<std::string> lines;
  std::set_difference(before.lines.begin(), before.lines.end(), after.lines.begin(), after.lines.end(), std::back_inserter(lines));
  for (const auto& line : lines) text += "- " + line + "\n";
  lines.clear();
  std::set_difference(after.lines.begin(), after.lines.end(), before.lines.begin(), before.lines.end(), std::back_inserter(lines));
  for (const auto& line : lines) text += "+ " + line + "\n";
  return text;
}

FakeKernel::FakeKernel(FakeKernel&& other) noexcept : world_(std::move(other.world_)) { task_ = other.task_; }
FakeKernel::~FakeKernel() = default;

namespace {

// Mounted somewhere, or held by a descriptor, a working directory, or an overlay that is.
std::set<const model::Superblock*> live_superblocks(const World& world) {
  std::set<const model::Superblock*> alive;
  for (const auto& mount : world.mounts) {
    if (mount->ns != nullptr) alive.insert(mount->superblock);
  }
  for (const auto& task : world.tasks) {
    if (!task->alive) continue;
    alive.insert(task->root.dentry->superblock);
    alive.insert(task->cwd.dentry->superblock);
    for (const auto& fd : task->fds) alive.insert(fd.second.file->path.dentry->superblock);
  }
  for (auto superblock = world.superblocks.rbegin(); superblock != world.superblocks.rend(); ++superblock) {
    const model::OverlayLayers* layers = (*superblock)->overlay.get();
    if (layers == nullptr || alive.count(superblock->get()) == 0) continue;
    if (layers->upper != nullptr) alive.insert(layers->upper->superblock);
    for (const model::Dentry* lower : layers->lower) alive.insert(lower->superblock);
  }
  return alive;
}

}  // namespace

Snapshot FakeKernel::snapshot() const {
  Snapshot snapshot;
  const World& world = *world_;
  std::size_t index = 0;
  for (const auto& ns : world.mount_namespaces) {
    const std::size_t number = index++;
    if (ns->dead || ns->root == nullptr) continue;
    for (model::Mount* m = ns->root; m != nullptr; m = model::next_in_tree(m, ns->root)) {
      std::string point;
      model::reachable_path({m, m->root}, {ns->root, ns->root->root}, point);
      std::string line = std::string(ns->anonymous ? "detached tree " : "mount namespace ") + std::to_string(number) + ": " + point + " " +
                         std::string(m->superblock->type->name) + " " + m->source + " " + model::path_in_filesystem(m->root) + " " +
                         model::mount_flags_text(m->flags);
      if (m->shared()) line += " shared:" + std::to_string(m->group->number);
      if (const model::PeerGroup* master = m->master()) line += " master:" + std::to_string(master->number);
      if (m->unbindable) line += " unbindable";
      snapshot.lines.push_back(std::move(line));
    }
  }
  const auto alive = live_superblocks(world);
  for (const auto& superblock : world.superblocks) {
    if (alive.count(superblock.get()) == 0) continue;  // nobody can see it any more
    if (superblock->root == nullptr || superblock->type->behaviour != model::Behaviour::memory) continue;
    const std::string name = "file system " + std::to_string(superblock->device_minor) + " (" + std::string(superblock->type->name) + "): ";
    snapshot.lines.push_back(name + (superblock->read_only ? "ro" : "rw"));
    std::vector<std::pair<std::string, const model::Dentry*>> open{{"", superblock->root}};
    while (!open.empty()) {
      const auto [path, dentry] = open.back();
      open.pop_back();
      const model::Inode& inode = *dentry->inode;
      char mode[16] = {};
      std::snprintf(mode, sizeof mode, "%06o", model::full_mode(inode));
      std::string line =
          name + (path.empty() ? "/" : path) + " " + mode + " " + std::to_string(inode.uid) + ":" + std::to_string(inode.gid);
      if (inode.kind == model::Kind::symlink) line += " -> " + inode.data;
      if (inode.kind == model::Kind::regular)
        line += " \"" + inode.data.substr(0, 60) + "\" (" + std::to_string(inode.data.size()) + " bytes)";
      if (inode.rdev != 0)
        line += " device " + std::to_string(abi::device_major(inode.rdev)) + ":" + std::to_string(abi::device_minor(inode.rdev));
      for (const auto& [key, value] : inode.xattrs) line += " " + key + "=" + value;
      snapshot.lines.push_back(std::move(line));
      for (const auto& child : dentry->children) open.emplace_back(path + "/" + child.first, child.second);
    }
  }
  for (const auto& task : world.tasks) {
    if (!task->alive) continue;
    for (const auto& fd : task->fds) {
      snapshot.lines.push_back("process " + std::to_string(task->pid) + ": descriptor " + std::to_string(fd.first) + " " +
                               model::path_text(world, fd.second.file->path, task->root));
    }
  }
  std::sort(snapshot.lines.begin(), snapshot.lines.end());
  return snapshot;
}

std::vector<FakeProcess*> FakeKernel::processes() const {
  std::vector<FakeProcess*> all{const_cast<FakeKernel*>(this)};
  for (const auto& process : world_->processes) {
    const Task* task = world_->find_task(process->pid());
    if (task != nullptr) all.push_back(process.get());
  }
  return all;
}

const std::string& FakeKernel::last_rule() const { return world_->last_rule; }
std::vector<std::string> FakeKernel::not_modelled() const { return {world_->not_modelled.begin(), world_->not_modelled.end()}; }
FakeKernel& FakeKernel::set_mount_max(std::size_t limit) {
  world_->mount_max = limit;
  return *this;
}

// The invariants of the model's structure; each message names the broken one.
std::string FakeKernel::check_invariants() const {
  std::string broken;
  const World& world = *world_;
  for (const auto& ns : world.mount_namespaces) {
    if (ns->dead || ns->root == nullptr) continue;
    std::size_t count = 0;
    for (model::Mount* m = ns->root; m != nullptr; m = model::next_in_tree(m, ns->root)) {
      ++count;
      if (m->ns != ns.get()) broken += "a mount is reachable from a namespace that is not its own\n";
      if (m != ns->root && model::mounted_at(world, m->parent, m->mountpoint) != m) broken += "a mount is not found where it is mounted\n";
    }
    if (count != ns->count) broken += "a namespace counts mounts that are not there\n";
  }
  for (const auto& m : world.mounts) {
    if (m->group != nullptr && m->group->members.count(m.get()) == 0) broken += "a shared mount is not a member of its group\n";
    if (m->group != nullptr && m->pure_master != nullptr) broken += "a shared mount has a master of its own\n";
    if (m->pure_master != nullptr && m->pure_master->members.empty()) broken += "a slave's master group is empty\n";
    if (m->unmounted && (m->group != nullptr || m->pure_master != nullptr || m->ns != nullptr))
      broken += "an unmounted mount still propagates\n";
  }
  for (const auto& group : world.groups) {
    if (group->members.empty() && (!group->slave_mounts.empty() || !group->slave_groups.empty())) broken += "an empty group has slaves\n";
  }
  return broken;
}

}  // namespace rootprep::testing
