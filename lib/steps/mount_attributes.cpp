// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "rootprep/steps/mount_attributes.hpp"

namespace rootprep {

std::string MountAttributes::describe() const {
  std::string words;
  const auto add = [&](const char* word) {
    if (!words.empty()) words += ',';
    words += word;
  };
  const auto flag = [&](Setting setting, const char* when_set, const char* when_clear) {
    if (setting != Setting::keep) add(setting == Setting::set ? when_set : when_clear);
  };
  flag(ro, "ro", "rw");
  flag(nosuid, "nosuid", "suid");
  flag(nodev, "nodev", "dev");
  flag(noexec, "noexec", "exec");
  flag(nosymfollow, "nosymfollow", "symfollow");
  flag(nodiratime, "nodiratime", "diratime");
  switch (atime) {
    case Atime::keep: break;
    case Atime::relatime: add("relatime"); break;
    case Atime::noatime: add("noatime"); break;
    case Atime::strictatime: add("strictatime"); break;
  }
  return words;
}

const char* name_of(Propagation propagation) noexcept {
  switch (propagation) {
    case Propagation::keep: return "unchanged";
    case Propagation::private_: return "private";
    case Propagation::slave: return "slave";
    case Propagation::shared: return "shared";
    case Propagation::unbindable: return "unbindable";
  }
  return "unknown";
}

}  // namespace rootprep
