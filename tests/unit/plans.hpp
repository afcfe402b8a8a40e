// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <functional>

#include "rootprep/pipeline.hpp"
#include "rootprep/plan_builder.hpp"
#include "rootprep/steps.hpp"

// Plans that several tests print.
namespace rootprep::testing {

inline Plan plan_of(const std::function<void(PlanBuilder&)>& body, bool user_namespace = false) {
  PlanBuilder b{{KernelFeatures::linux_6_18(), user_namespace, false}};
  b.begin_step("test");
  body(b);
  b.end_step();
  return b.finish().value();
}

inline Pipeline canonical_pipeline() {
  return {
      PrepareRoot{.path = "/var/lib/box/root"},
      OverlayMount{.lower = {"/srv/app", "/srv/base"}, .upper = "/var/lib/box/upper", .work = "/var/lib/box/work"},
      MountSpec::proc(),
      MountSpec::sysfs(),
      MountSpec::tmpfs("/tmp", {.size = 64U << 20U}),
      MountSpec::bind("/srv/data", "/data").with({.ro = Setting::set}),
      MountSpec::bind("/opt/tools", "/opt/tools").optional_source(),
      DeviceSetup{},
      Pipeline{WriteFile{.path = "/etc/hostname", .content = "box\n"}, MakeSymlink{.target = "/proc/mounts", .path = "/etc/mtab"}},
      EnterRoot{},
      RemountReadonly{},
  };
}

inline Plan canonical(const KernelFeatures& features, bool user_namespace = false) {
  return canonical_pipeline().compile({.features = features, .user_namespace = user_namespace, .check_host = false}).value();
}

}  // namespace rootprep::testing
