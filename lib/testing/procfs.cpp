// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "testing/procfs.hpp"

#include <array>
#include <cstdlib>
#include <sstream>

#include "testing/filesystem_types.hpp"
#include "testing/inodes.hpp"
#include "testing/mountinfo.hpp"
#include "testing/path_walk.hpp"
#include "testing/permissions.hpp"

namespace rootprep::testing::model {
namespace {

struct NamespaceName {
  std::string_view name{};
  std::uint64_t kind = 0;
};
constexpr std::array<NamespaceName, 8> namespace_names{{{"cgroup", abi::clone_newcgroup},
                                                        {"ipc", abi::clone_newipc},
                                                        {"mnt", abi::clone_newns},
                                                        {"net", abi::clone_newnet},
                                                        {"pid", abi::clone_newpid},
                                                        {"time", abi::clone_newtime},
                                                        {"user", abi::clone_newuser},
                                                        {"uts", abi::clone_newuts}}};

std::uint64_t namespace_kind(std::string_view name) {
  for (const auto& n : namespace_names) {
    if (n.name == name) return n.kind;
  }
  return 0;
}

bool parse_number(std::string_view text, int& number) {
  if (text.empty() || text.size() > 9 || (text[0] == '0' && text.size() > 1)) return false;
  number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + (c - '0');
  }
  return true;
}

Dentry* entry(World& world, Dentry* parent, std::string_view name, Kind kind, unsigned mode, ProcEntry what, int pid, int fd = -1) {
  const auto found = parent->children.find(name);
  if (found != parent->children.end()) return found->second;
  const Task* owner = world.find_task(pid);
  const unsigned uid = owner != nullptr && what != ProcEntry::none ? owner->uid : 0;
  Inode* inode = new_inode(world, kind, mode, uid, owner != nullptr ? owner->gid : 0);
  inode->proc = what;
  inode->pid = pid;
  inode->fd = fd;
  return new_dentry(world, parent->superblock, parent, name, inode);
}

struct PidFile {
  std::string_view name{};
  Kind kind = Kind::regular;
  unsigned mode = 0;
  ProcEntry what = ProcEntry::none;
};
constexpr std::array<PidFile, 14> pid_files{{{"cwd", Kind::symlink, 0777, ProcEntry::cwd_link},
                                             {"exe", Kind::symlink, 0777, ProcEntry::exe_link},
                                             {"fd", Kind::directory, 0500, ProcEntry::fd_directory},
                                             {"fdinfo", Kind::directory, 0555, ProcEntry::fdinfo_directory},
                                             {"gid_map", Kind::regular, 0644, ProcEntry::gid_map},
                                             {"mountinfo", Kind::regular, 0444, ProcEntry::mountinfo},
                                             {"mounts", Kind::regular, 0444, ProcEntry::mounts},
                                             {"ns", Kind::directory, 0511, ProcEntry::ns_directory},
                                             {"oom_score_adj", Kind::regular, 0644, ProcEntry::none},
                                             {"root", Kind::symlink, 0777, ProcEntry::root_link},
                                             {"setgroups", Kind::regular, 0644, ProcEntry::setgroups},
                                             {"status", Kind::regular, 0444, ProcEntry::status},
                                             {"task", Kind::directory, 0555, ProcEntry::task_directory},
                                             {"uid_map", Kind::regular, 0644, ProcEntry::uid_map}}};

// What the instance of procfs calls the process; 0: does not see it. pid_namespaces(7).
int number_in(const Dentry* file, const Task& task) {
  const auto found = task.pids.find(file->superblock->shown);
  return found == task.pids.end() ? 0 : found->second;
}
const Task* task_by_number(const World& world, const Dentry* file, int number) {
  for (const auto& task : world.tasks) {
    if (task->alive && number != 0 && number_in(file, *task) == number) return task.get();
  }
  return nullptr;
}

Dentry* lookup_in_process(World& world, Dentry* directory, std::string_view name, int pid) {
  const bool is_thread = directory->parent != nullptr && directory->parent->inode->proc == ProcEntry::task_directory;
  if (is_thread && name == "task") return nullptr;
  if (name == "attr") {
    Dentry* attr = entry(world, directory, "attr", Kind::directory, 0555, ProcEntry::none, 0);
    if (attr->children.empty()) {
      for (const char* file : {"current", "exec", "fscreate", "keycreate", "sockcreate"}) add_file(world, attr, file, "", 0666);
    }
    return attr;
  }
  for (const auto& file : pid_files) {
    if (file.name == name) return entry(world, directory, name, file.kind, file.mode, file.what, pid);
  }
  return nullptr;
}

}  // namespace

void populate_procfs(World& world, Dentry* root) {
  root->inode->mode = 0555;
  Dentry* self = add_file(world, root, "self", "", 0777);
  self->inode->kind = Kind::symlink;
  self->inode->proc = ProcEntry::self;
  Dentry* thread_self = add_file(world, root, "thread-self", "", 0777);
  thread_self->inode->kind = Kind::symlink;
  thread_self->inode->proc = ProcEntry::thread_self;
  Dentry* mounts = add_file(world, root, "mounts", "self/mounts", 0777);
  mounts->inode->kind = Kind::symlink;
  Dentry* net = add_file(world, root, "net", "self/net", 0777);
  net->inode->kind = Kind::symlink;
  Dentry* filesystems = add_file(world, root, "filesystems", "", 0444);
  filesystems->inode->proc = ProcEntry::filesystems;
  for (const char* file : {"cmdline", "cpuinfo", "devices", "interrupts", "kcore", "keys", "kmsg", "latency_stats", "loadavg", "meminfo",
                           "modules", "sched_debug", "stat", "swaps", "sysrq-trigger", "timer_list", "timer_stats", "uptime", "version"}) {
    add_file(world, root, file, "", 0444);
  }
  for (const char* directory : {"acpi", "asound", "bus", "driver", "fs", "irq", "scsi", "sys", "tty"})
    add_directory(world, root, directory, 0555);
  Dentry* fs = root->children.find("fs")->second;
  // Made to be mounted on (proc_create_mount_point()), so a mount there hides nothing.
  add_directory(world, fs, "nfsd", 0555)->permanently_empty = true;
  Dentry* sys = root->children.find("sys")->second;
  for (const char* directory : {"abi", "debug", "dev", "fs", "kernel", "net", "user", "vm"}) add_directory(world, sys, directory, 0555);
  Dentry* sys_fs = sys->children.find("fs")->second;
  add_directory(world, sys_fs, "binfmt_misc", 0555)->permanently_empty = true;
  add_file(world, sys_fs, "mount-max", std::to_string(world.mount_max) + "\n");
  Dentry* kernel = sys->children.find("kernel")->second;
  for (const auto& [file, text] : {std::pair{"hostname", "host\n"}, std::pair{"domainname", "(none)\n"},
                                   std::pair{"overflowuid", "65534\n"}, std::pair{"overflowgid", "65534\n"}}) {
    add_file(world, kernel, file, text);
  }
}

Dentry* procfs_lookup(Task& task, Dentry* directory, std::string_view name, long& error) {
  World& world = *task.world;
  const Inode& inode = *directory->inode;
  int number = 0;
  switch (inode.proc) {
    case ProcEntry::pid_directory:
      if (world.find_task(inode.pid) == nullptr) break;
      if (Dentry* found = lookup_in_process(world, directory, name, inode.pid)) return found;
      break;
    case ProcEntry::task_directory:  // one thread each, and its number is the process's
      if (const Task* owner = world.find_task(inode.pid);
          owner != nullptr && parse_number(name, number) && number == number_in(directory, *owner)) {
        return entry(world, directory, name, Kind::directory, 0555, ProcEntry::pid_directory, inode.pid);
      }
      break;
    case ProcEntry::fd_directory:
    case ProcEntry::fdinfo_directory: {
      const Task* owner = world.find_task(inode.pid);
      if (owner == nullptr || !parse_number(name, number) || owner->fds.count(number) == 0) break;
      const bool link = inode.proc == ProcEntry::fd_directory;
      return entry(world, directory, name, link ? Kind::symlink : Kind::regular, link ? 0700 : 0400,
                   link ? ProcEntry::fd_link : ProcEntry::fdinfo, inode.pid, number);
    }
    case ProcEntry::ns_directory:
      if (const std::uint64_t kind = namespace_kind(name); kind != 0 && world.find_task(inode.pid) != nullptr) {
        Dentry* made = entry(world, directory, name, Kind::symlink, 0777, ProcEntry::ns_link, inode.pid);
        made->inode->rdev = static_cast<std::uint32_t>(kind);
        return made;
      }
      break;
    default: {
      const auto found = directory->children.find(name);
      if (found != directory->children.end() && found->second->inode->proc != ProcEntry::pid_directory) return found->second;
      if (directory->parent == nullptr && parse_number(name, number)) {
        if (const Task* owner = task_by_number(world, directory, number)) {
          return entry(world, directory, name, Kind::directory, 0555, ProcEntry::pid_directory, owner->pid);
        }
      }
    }
  }
  error = world.refuse(ENOENT, "procfs.no-such-entry");  // also for making one: procfs's lookup refuses first
  return nullptr;
}

std::vector<std::string> procfs_names(Task& task, Dentry* directory) {
  const World& world = *task.world;
  std::vector<std::string> names;
  const Inode& inode = *directory->inode;
  switch (inode.proc) {
    case ProcEntry::pid_directory:
      names.emplace_back("attr");
      for (const auto& file : pid_files) names.emplace_back(file.name);
      return names;
    case ProcEntry::task_directory:
      if (const Task* owner = world.find_task(inode.pid)) names.push_back(std::to_string(number_in(directory, *owner)));
      return names;
    case ProcEntry::fd_directory:
    case ProcEntry::fdinfo_directory:
      if (const Task* owner = world.find_task(inode.pid)) {
        for (const auto& fd : owner->fds) names.push_back(std::to_string(fd.first));
      }
      return names;
    case ProcEntry::ns_directory:
      for (const auto& n : namespace_names) names.emplace_back(n.name);
      return names;
    default: break;
  }
  for (const auto& child : directory->children) {
    if (child.second->inode->proc != ProcEntry::pid_directory) names.push_back(child.first);
  }
  if (directory->parent == nullptr) {
    for (const auto& t : world.tasks) {
      if (const int number = number_in(directory, *t); t->alive && number != 0) names.push_back(std::to_string(number));
    }
  }
  return names;
}

std::string procfs_link_text(const Task& task, const Dentry* link) {
  const World& world = *task.world;
  const Inode& inode = *link->inode;
  if (inode.proc == ProcEntry::self || inode.proc == ProcEntry::thread_self) {
    const int number = number_in(link, task);
    if (number == 0) return "";  // a procfs of a pid namespace that does not see this process
    const std::string text = std::to_string(number);
    return inode.proc == ProcEntry::self ? text : text + "/task/" + text;
  }
  const Task* owner = world.find_task(inode.pid);
  if (owner == nullptr) return inode.data;
  switch (inode.proc) {
    case ProcEntry::root_link: return path_text(world, owner->root, task.root);
    case ProcEntry::cwd_link: return path_text(world, owner->cwd, task.root);
    case ProcEntry::exe_link: return "/bin/program";
    case ProcEntry::fd_link: {
      const auto found = owner->fds.find(inode.fd);
      if (found == owner->fds.end()) return "";
      if (found->second.file->context != nullptr) return "anon_inode:[fscontext]";
      return path_text(world, found->second.file->path, task.root);
    }
    case ProcEntry::ns_link: {
      Path target;
      if (magic_link_target(const_cast<Task&>(task), link, target) == 0) return target.dentry->name;
      return "";
    }
    default: return inode.data;
  }
}

namespace {

Path namespace_file_of(World& world, Dentry* dentry) { return {world.nsfs, dentry}; }

template <class Namespace>
Dentry* namespace_dentry(World& world, Namespace* ns, Namespace* Inode::*member, std::string_view kind) {
  Dentry*& dentry = world.namespace_files[ns];
  if (dentry == nullptr) {
    Inode* inode = new_inode(world, Kind::regular, 0444, 0, 0);
    inode->*member = ns;
    dentry = new_dentry(world, world.nsfs->superblock, nullptr, std::string(kind) + ":[" + std::to_string(4026531840U + ns->sequence) + "]",
                        inode);
  }
  return dentry;
}

}  // namespace

Path namespace_file(World& world, MountNamespace* ns) {
  return namespace_file_of(world, namespace_dentry(world, ns, &Inode::mount_namespace, "mnt"));
}
Path namespace_file(World& world, UserNamespace* ns) {
  return namespace_file_of(world, namespace_dentry(world, ns, &Inode::user_namespace, "user"));
}
Path namespace_file(World& world, PlainNamespace* ns) {
  std::string_view kind = "ns";
  for (const auto& n : namespace_names) {
    if (n.kind == ns->kind) kind = n.name;
  }
  return namespace_file_of(world, namespace_dentry(world, ns, &Inode::plain_namespace, kind));
}

long magic_link_target(Task& task, const Dentry* link, Path& target) {
  World& world = *task.world;
  const Inode& inode = *link->inode;
  const Task* owner = world.find_task(inode.pid);
  if (owner == nullptr) return world.refuse(ENOENT, "procfs.process-is-gone");
  switch (inode.proc) {
    case ProcEntry::root_link: target = owner->root; return 0;
    case ProcEntry::cwd_link: target = owner->cwd; return 0;
    case ProcEntry::exe_link: return world.unmodelled("following /proc/PID/exe");
    case ProcEntry::fd_link: {
      const auto found = owner->fds.find(inode.fd);
      if (found == owner->fds.end()) return world.refuse(ENOENT, "procfs.descriptor-not-open");
      target = found->second.file->path;
      return 0;
    }
    default: break;
  }
  if (inode.rdev == abi::clone_newns) {
    target = namespace_file(world, owner->ns);
  } else if (inode.rdev == abi::clone_newuser) {
    target = namespace_file(world, owner->user);
  } else {
    const auto found = owner->namespaces.find(inode.rdev);
    if (found == owner->namespaces.end()) return world.refuse(ENOENT, "procfs.no-such-namespace");
    target = namespace_file(world, found->second);
  }
  return 0;
}

namespace {

std::string map_text(const std::vector<UserNamespace::Extent>& extents) {
  std::string text;
  for (const auto& e : extents) {
    char line[64] = {};
    std::snprintf(line, sizeof line, "%10u %10u %10u\n", e.inside, e.outside, e.count);
    text += line;
  }
  return text;
}

}  // namespace

std::string procfs_contents(Task& task, const Dentry* file) {
  World& world = *task.world;
  const Inode& inode = *file->inode;
  Task* owner = world.find_task(inode.pid);
  switch (inode.proc) {
    case ProcEntry::mountinfo: return owner != nullptr ? mountinfo_of(world, *owner) : "";
    case ProcEntry::mounts: return owner != nullptr ? mounts_of(world, *owner) : "";
    case ProcEntry::filesystems: return known_filesystem_types();
    case ProcEntry::uid_map: return owner != nullptr ? map_text(owner->user->uids) : "";
    case ProcEntry::gid_map: return owner != nullptr ? map_text(owner->user->gids) : "";
    case ProcEntry::setgroups: return owner != nullptr && owner->user->setgroups_denied ? "deny\n" : "allow\n";
    case ProcEntry::fdinfo:
      if (owner != nullptr) {
        const auto found = owner->fds.find(inode.fd);
        if (found != owner->fds.end()) {
          const OpenFile& open = *found->second.file;
          std::ostringstream text;
          text << "pos:\t" << open.position << "\nflags:\t0" << std::oct << open.flags << std::dec << "\nmnt_id:\t" << open.path.mount->id
               << "\nino:\t" << attributes(open.path.dentry).number << "\n";
          return text.str();
        }
      }
      return "";
    case ProcEntry::status:
      if (owner != nullptr) {
        std::ostringstream text;
        text << "Name:\tprogram\nUmask:\t0" << std::oct << owner->umask << std::dec << "\nPid:\t" << number_in(file, *owner)
             << "\nThreads:\t1\nCapEff:\t" << std::hex << owner->capabilities << "\n";
        return text.str();
      }
      return "";
    default: return inode.data;
  }
}

long procfs_write(Task& task, const Dentry* file, std::string_view text) {
  World& world = *task.world;
  const Inode& inode = *file->inode;
  Task* owner = world.find_task(inode.pid);
  if (owner == nullptr) return world.refuse(ESRCH, "procfs.process-is-gone");
  UserNamespace& user = *owner->user;
  if (inode.proc == ProcEntry::setgroups) {
    if (!capable_in(task, &user, cap_sys_admin)) return world.refuse(EACCES, "idmap.setgroups-needs-capability");
    if (text.substr(0, 4) == "deny") {
      if (!user.gids.empty()) return world.refuse(EPERM, "idmap.setgroups-after-gid-map");
      user.setgroups_denied = true;
    } else if (text.substr(0, 5) == "allow") {
      if (user.setgroups_denied) return world.refuse(EPERM, "idmap.setgroups-stays-denied");
    } else {
      return world.refuse(EINVAL, "idmap.setgroups-value");
    }
    return static_cast<long>(text.size());
  }
  const bool users = inode.proc == ProcEntry::uid_map;
  auto& extents = users ? user.uids : user.gids;
  if (!extents.empty()) return world.refuse(EPERM, "idmap.written-once");
  if (user.parent == nullptr || !capable_in(task, &user, cap_sys_admin))
    return world.refuse(EPERM, "idmap.needs-sys-admin-in-the-namespace");
  if (task.user != &user && task.user != user.parent) return world.refuse(EPERM, "idmap.writer-is-a-stranger");
  std::istringstream lines{std::string(text)};
  std::vector<UserNamespace::Extent> wanted;
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    UserNamespace::Extent e;
    std::string rest;
    if (!(fields >> e.inside >> e.outside >> e.count) || fields >> rest || e.count == 0) return world.refuse(EINVAL, "idmap.bad-line");
    wanted.push_back(e);
  }
  if (wanted.empty() || wanted.size() > 340) return world.refuse(EINVAL, "idmap.number-of-lines");
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const auto overlap = [](unsigned a, unsigned b, unsigned n, unsigned m) { return a < b + m && b < a + n; };
      if (overlap(wanted[i].inside, wanted[j].inside, wanted[i].count, wanted[j].count) ||
          overlap(wanted[i].outside, wanted[j].outside, wanted[i].count, wanted[j].count)) {
        return world.refuse(EINVAL, "idmap.lines-overlap");
      }
    }
  }
  // user_namespaces(7): without CAP_SETUID/CAP_SETGID in the parent only one's own id, once; for groups after setgroups=deny.
  const bool privileged = capable_in(task, user.parent, users ? cap_setuid : cap_setgid);
  for (auto& e : wanted) {
    const unsigned kernel = users ? to_kernel_uid(user.parent, e.outside) : to_kernel_gid(user.parent, e.outside);
    const unsigned own = users ? task.uid : task.gid;
    if (!privileged &&
        !(wanted.size() == 1 && e.count == 1 && kernel == own && user.owner == task.uid && (users || user.setgroups_denied))) {
      return world.refuse(EPERM, "idmap.unprivileged-maps-only-itself");
    }
    if (kernel == unmapped_id) return world.refuse(EPERM, "idmap.parent-has-no-such-id");
    // user_namespaces(7): since 5.12 who maps the parent's id 0 must have had CAP_SETFCAP there.
    const bool may_map_root = task.user == &user ? user.maker_had_setfcap : capable_in(task, user.parent, cap_setfcap);
    if (users && e.outside == 0 && !may_map_root && world.has(Quirk::mapping_root_takes_setfcap))
      return world.refuse(EPERM, "idmap.root-needs-setfcap");
    e.outside = kernel;
  }
  extents = wanted;
  return static_cast<long>(text.size());
}

}  // namespace rootprep::testing::model
