// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <cstdint>
#include <string>

#include "rootprep/abi.hpp"
#include "rootprep/export.hpp"

namespace rootprep {

enum class Setting : std::uint8_t { keep, set, clear };

enum class Atime : std::uint8_t { keep, relatime, noatime, strictatime };

// What a mount allows. Three states each: `set` and `clear` change a flag, `keep` leaves it as it is (on a new mount: clear).
//
//   MountSpec::bind("/srv/data", "/data").with({.ro = Setting::set, .nosuid = Setting::set, .nodev = Setting::set});
//
// Flags that an outer user namespace has locked are kept; clearing one of them is EPERM (mount_namespaces(7), user_namespaces(7)).
// Source: mount_setattr(2). nosymfollow needs Linux 5.10 (mount(2)) or 5.14 (mount_setattr(2)).
struct MountAttributes {
  Setting ro = Setting::keep;
  Setting nosuid = Setting::keep;
  Setting nodev = Setting::keep;
  Setting noexec = Setting::keep;
  Setting nosymfollow = Setting::keep;
  Setting nodiratime = Setting::keep;
  Atime atime = Atime::keep;

  constexpr bool operator==(const MountAttributes&) const = default;

  // For mount_setattr(2): an atime mode is set by clearing the whole mode first.
  constexpr std::uint64_t attr_set() const noexcept {
    return bit(ro, Setting::set, abi::mount_attr_rdonly) | bit(nosuid, Setting::set, abi::mount_attr_nosuid) |
           bit(nodev, Setting::set, abi::mount_attr_nodev) | bit(noexec, Setting::set, abi::mount_attr_noexec) |
           bit(nosymfollow, Setting::set, abi::mount_attr_nosymfollow) | bit(nodiratime, Setting::set, abi::mount_attr_nodiratime) |
           (atime == Atime::noatime       ? abi::mount_attr_noatime
            : atime == Atime::strictatime ? abi::mount_attr_strictatime
                                          : 0);
  }
  constexpr std::uint64_t attr_clr() const noexcept {
    return bit(ro, Setting::clear, abi::mount_attr_rdonly) | bit(nosuid, Setting::clear, abi::mount_attr_nosuid) |
           bit(nodev, Setting::clear, abi::mount_attr_nodev) | bit(noexec, Setting::clear, abi::mount_attr_noexec) |
           bit(nosymfollow, Setting::clear, abi::mount_attr_nosymfollow) | bit(nodiratime, Setting::clear, abi::mount_attr_nodiratime) |
           (atime == Atime::keep ? 0 : abi::mount_attr_atime_mask);
  }
  // For mount(2), which has other numbers.
  constexpr std::uint64_t mount_flags_set() const noexcept { return mount_flags(Setting::set) | atime_mount_flag(); }
  constexpr std::uint64_t mount_flags_clear() const noexcept { return mount_flags(Setting::clear); }
  constexpr bool changes_nothing() const noexcept { return *this == MountAttributes{}; }

  // "ro,nosuid" or "rw,dev,relatime", as in mount(8). Empty if nothing changes.
  ROOTPREP_EXPORT std::string describe() const;

 private:
  static constexpr std::uint64_t bit(Setting setting, Setting wanted, std::uint64_t flag) noexcept { return setting == wanted ? flag : 0; }
  constexpr std::uint64_t mount_flags(Setting wanted) const noexcept {
    return bit(ro, wanted, abi::ms_rdonly) | bit(nosuid, wanted, abi::ms_nosuid) | bit(nodev, wanted, abi::ms_nodev) |
           bit(noexec, wanted, abi::ms_noexec) | bit(nosymfollow, wanted, abi::ms_nosymfollow) |
           bit(nodiratime, wanted, abi::ms_nodiratime);
  }
  constexpr std::uint64_t atime_mount_flag() const noexcept {
    switch (atime) {
      case Atime::relatime: return abi::ms_relatime;
      case Atime::noatime: return abi::ms_noatime;
      case Atime::strictatime: return abi::ms_strictatime;
      case Atime::keep: break;
    }
    return 0;
  }
};

// How mounts made at one place appear at others: mount_namespaces(7), "Shared subtrees".
enum class Propagation : std::uint8_t { keep, private_, slave, shared, unbindable };

// The flag of mount(2) and of mount_attr.propagation; 0 for keep.
constexpr std::uint64_t propagation_flag(Propagation propagation) noexcept {
  switch (propagation) {
    case Propagation::private_: return abi::ms_private;
    case Propagation::slave: return abi::ms_slave;
    case Propagation::shared: return abi::ms_shared;
    case Propagation::unbindable: return abi::ms_unbindable;
    case Propagation::keep: break;
  }
  return 0;
}
ROOTPREP_EXPORT const char* name_of(Propagation propagation) noexcept;

}  // namespace rootprep
