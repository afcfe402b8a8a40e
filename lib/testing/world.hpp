// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "rootprep/abi.hpp"
#include "rootprep/testing/fake_kernel.hpp"

// What the kernel in memory remembers. Rooms: inodes (names and contents), path_walk, mount_tree, propagation, namespaces,
// filesystem_types, overlay, procfs, permissions, mountinfo; *_calls translate system calls.
//
// Everything belongs to the World and lives until it dies: a test's world is small and short, and an object that is still referred
// to (a deleted directory that somebody works in, a mount that was detached) needs no counting.
namespace rootprep::testing::model {

struct Dentry;
struct Inode;
struct Mount;
struct PeerGroup;
struct Superblock;
struct Task;
struct World;

enum class Kind : std::uint8_t { directory, regular, symlink, character, block, fifo, socket };

// What a file of procfs is, beyond an ordinary one.
enum class ProcEntry : std::uint8_t {
  none,
  self,
  thread_self,
  pid_directory,
  task_directory,
  fd_directory,
  fdinfo_directory,
  ns_directory,
  fd_link,
  ns_link,
  root_link,
  cwd_link,
  exe_link,
  mountinfo,
  mounts,
  uid_map,
  gid_map,
  setgroups,
  filesystems,
  fdinfo,
  status,
};

struct UserNamespace {
  UserNamespace* parent = nullptr;
  int level = 0;
  unsigned owner = 0;  // kernel uid of its creator
  struct Extent {
    unsigned inside = 0, outside = 0, count = 0;  // outside: kernel ids
  };
  std::vector<Extent> uids{}, gids{};
  bool setgroups_denied = false;
  bool maker_had_setfcap = true;  // in the parent
  std::uint64_t sequence = 0;
};

// Any namespace that is not a mount or user namespace: only its identity and its owner matter to mounts.
struct PlainNamespace {
  std::uint64_t kind = 0;  // CLONE_NEW*
  UserNamespace* owner = nullptr;
  std::uint64_t sequence = 0;
  std::string hostname{}, domainname{};  // uts
  Superblock* superblock = nullptr;      // the instance of sysfs, mqueue, cgroup2 that shows it
  PlainNamespace* parent = nullptr;      // pid
  int last_pid = 0;                      // pid
};

struct MountNamespace {
  std::uint64_t sequence = 0;
  UserNamespace* owner = nullptr;
  Mount* root = nullptr;  // the absolute root: has no parent
  std::size_t count = 0;
  bool anonymous = false;             // holds a detached tree
  std::uint64_t origin_sequence = 0;  // anonymous: the namespace its maker was in
  bool dead = false;
};

struct Path {
  Mount* mount = nullptr;
  Dentry* dentry = nullptr;
  bool operator==(const Path&) const = default;
  explicit operator bool() const { return dentry != nullptr; }
};

struct Inode {
  std::uint64_t number = 0;
  Kind kind = Kind::regular;
  unsigned mode = 0;  // permission bits only
  unsigned uid = 0, gid = 0;
  std::uint32_t rdev = 0;
  unsigned links = 1;
  std::string data{};  // contents; target of a symlink
  std::map<std::string, std::string, std::less<>> xattrs{};
  // procfs
  ProcEntry proc = ProcEntry::none;
  int pid = 0;
  int fd = -1;
  // nsfs
  MountNamespace* mount_namespace = nullptr;
  UserNamespace* user_namespace = nullptr;
  PlainNamespace* plain_namespace = nullptr;
  // overlay: where the object really is; both empty in every other file system
  Dentry* upper = nullptr;
  std::vector<Dentry*> lower{};
  // in an upper layer: it has overlay's attribute "origin"
  bool has_origin = false;
};

struct Dentry {
  Superblock* superblock = nullptr;
  Dentry* parent = nullptr;  // itself's null for a root
  std::string name{};
  Inode* inode = nullptr;
  std::map<std::string, Dentry*, std::less<>> children{};
  bool dead = false;
  bool permanently_empty = false;  // procfs and sysfs directories made to be mounted on
  std::unordered_set<Mount*> mounts_here{};
};

struct OverlayLayers {
  Dentry* upper = nullptr;
  Dentry* work = nullptr;
  std::vector<Dentry*> lower{};
  int depth = 1;
  bool writes_nowhere = false;  // no upper layer, or no work directory could be made
  bool userxattr = false;
  bool can_mark = false;  // in the upper layer, by attributes of its kind
  std::string opaque_name() const { return userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque"; }
};

struct FilesystemType;

struct Superblock {
  const FilesystemType* type = nullptr;
  unsigned device_minor = 0;
  unsigned device_major = 0;
  std::string source{};
  std::string options{};  // as mountinfo's last column shows them, without ro/rw
  UserNamespace* owner = nullptr;
  bool read_only = false;
  Dentry* root = nullptr;
  std::unique_ptr<OverlayLayers> overlay{};
  PlainNamespace* shown = nullptr;  // proc: pid namespace
  // tmpfs
  std::uint64_t size_limit = 0, used = 0;     // bytes, 0: none
  std::uint64_t inode_limit = 0, inodes = 0;  // 0: none
  unsigned ptmx_count = 0;
  unsigned ptmx_mode = 0, pts_mode = 0600, pts_gid = 0;
};

struct MountFlags {
  bool read_only = false, nosuid = false, nodev = false, noexec = false, nosymfollow = false, nodiratime = false;
  enum class Atime : std::uint8_t { relative, none, strict } atime = Atime::relative;
  bool operator==(const MountFlags&) const = default;
};

struct FlagLocks {
  bool read_only = false, nosuid = false, nodev = false, noexec = false, atime = false;
};

struct Mount {
  std::uint64_t id = 0;
  Superblock* superblock = nullptr;
  Dentry* root = nullptr;
  std::string source{};
  Mount* parent = nullptr;
  Dentry* mountpoint = nullptr;
  // children in the order of their attaching
  Mount *first_child = nullptr, *last_child = nullptr, *previous_sibling = nullptr, *next_sibling = nullptr;
  MountNamespace* ns = nullptr;
  PeerGroup* group = nullptr;        // shared
  PeerGroup* pure_master = nullptr;  // slave and not shared
  bool unbindable = false;
  MountFlags flags{};
  FlagLocks locks{};
  bool locked = false;
  bool unmounted = false;
  bool expiring = false;
  UserNamespace* idmap = nullptr;

  PeerGroup* master() const;
  bool shared() const { return group != nullptr; }
};

struct ById {
  template <class T>
  bool operator()(const T* a, const T* b) const {
    return a->id < b->id;
  }
};

struct PeerGroup {
  std::uint64_t id = 0;  // identity, never reused
  unsigned number = 0;   // what mountinfo shows: the lowest that was free
  std::set<Mount*, ById> members{};
  PeerGroup* master = nullptr;
  std::set<PeerGroup*, ById> slave_groups{};
  std::set<Mount*, ById> slave_mounts{};
};

inline PeerGroup* Mount::master() const { return group != nullptr ? group->master : pure_master; }

// fsopen(2), fspick(2)
struct FilesystemContext {
  enum class State : std::uint8_t { parameters, created, awaiting_mount_done, reconfigure, failed } state = State::parameters;
  const FilesystemType* type = nullptr;
  UserNamespace* owner = nullptr;
  std::string source{};
  bool has_source = false;
  std::vector<std::pair<std::string, std::string>> options{};
  std::string legacy_options{};  // of a type that parses them when it is mounted
  bool read_only = false;
  bool keeps_read_only = false;  // fspick(2): as the superblock is, until told
  std::vector<Path> lower_layers{};
  std::vector<std::pair<std::string, Path>> layer_paths{};
  Superblock* superblock = nullptr;
  std::vector<std::string> log{};
  PlainNamespace* shown = nullptr;
};

// An open file description.
struct OpenFile {
  Path path{};
  std::uint64_t flags = 0;
  std::uint64_t position = 0;
  bool path_only = false;
  bool writes = false, reads = false;
  bool owns_tree = false;  // closing it dissolves the detached tree that is rooted at path.mount
  std::unique_ptr<FilesystemContext> context{};
  std::string contents{};  // procfs: made at open
  bool generated = false;
  World* world = nullptr;
  OpenFile() = default;
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile();
};

struct Descriptor {
  std::shared_ptr<OpenFile> file{};
  bool close_on_exec = false;
};

struct Task {
  World* world = nullptr;
  int pid = 1;
  MountNamespace* ns = nullptr;
  UserNamespace* user = nullptr;
  std::uint64_t capabilities = 0;
  unsigned uid = 0, gid = 0;  // kernel ids
  Path root{}, cwd{};
  unsigned umask = 022;
  std::map<int, Descriptor> fds{};
  std::map<std::uint64_t, PlainNamespace*> namespaces{};  // by CLONE_NEW*
  PlainNamespace* children_pid_namespace = nullptr;
  std::map<const PlainNamespace*, int> pids{};  // pid_namespaces(7): its number in each pid namespace that sees it
  bool alive = true;
  std::string rule{};
};

inline constexpr std::uint64_t all_capabilities = (1ULL << 41U) - 1;
enum Cap : unsigned {
  cap_chown = 0,
  cap_dac_override = 1,
  cap_dac_read_search = 2,
  cap_fowner = 3,
  cap_fsetid = 4,
  cap_setgid = 6,
  cap_setuid = 7,
  cap_sys_chroot = 18,
  cap_sys_admin = 21,
  cap_mknod = 27,
  cap_setfcap = 31,
};

struct PairHash {
  std::size_t operator()(const std::pair<const Mount*, const Dentry*>& p) const noexcept {
    return std::hash<const void*>{}(p.first) * 31 + std::hash<const void*>{}(p.second);
  }
};

struct World {
  explicit World(const KernelProfile& kernel_profile);
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  KernelProfile profile;
  std::size_t mount_max = 100'000;

  std::vector<std::unique_ptr<Dentry>> dentries{};
  std::vector<std::unique_ptr<Inode>> inodes{};
  std::vector<std::unique_ptr<Superblock>> superblocks{};
  std::vector<std::unique_ptr<Mount>> mounts{};
  std::vector<std::unique_ptr<PeerGroup>> groups{};
  std::vector<std::unique_ptr<MountNamespace>> mount_namespaces{};
  std::vector<std::unique_ptr<UserNamespace>> user_namespaces{};
  std::vector<std::unique_ptr<PlainNamespace>> plain_namespaces{};
  std::vector<std::unique_ptr<Task>> tasks{};
  std::vector<std::unique_ptr<FakeProcess>> processes{};

  std::unordered_map<std::pair<const Mount*, const Dentry*>, Mount*, PairHash> mount_table{};
  std::unordered_map<const void*, Dentry*> namespace_files{};
  std::set<unsigned> free_group_numbers{};
  unsigned next_group_number = 1;
  std::uint64_t next_inode = 1, next_mount = 1, next_group = 1, next_sequence = 1;
  unsigned next_minor = 20;
  UserNamespace* initial_user = nullptr;
  Mount* nsfs = nullptr;
  Mount* anonymous_files = nullptr;  // where descriptors without a file system live
  Dentry* context_file = nullptr;    // what fsopen(2) and fspick(2) open: an ordinary file there
  Superblock* devtmpfs = nullptr;
  Task* current = nullptr;
  std::string last_rule{};
  std::set<std::string> not_modelled{};
  bool dying = false;

  Task* find_task(int pid) const;  // by its number in the initial pid namespace
  // The answer of a refusal, and the rule it came from.
  long refuse(int error, const char* rule) {
    last_rule = rule;
    return -error;
  }
  long unmodelled(const std::string& what) {
    last_rule = "not-modelled";
    not_modelled.insert(what);
    return -ENOSYS;
  }
  bool has(Quirk quirk) const { return profile.has(quirk); }
};

inline constexpr std::size_t path_max = 4096;
inline constexpr std::size_t name_max = 255;

}  // namespace rootprep::testing::model
