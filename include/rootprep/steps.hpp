// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

// All steps. Each header begins with an example.
#include "rootprep/steps/device_setup.hpp"
#include "rootprep/steps/enter_root.hpp"
#include "rootprep/steps/files.hpp"
#include "rootprep/steps/hidden_paths.hpp"
#include "rootprep/steps/mount_attributes.hpp"
#include "rootprep/steps/mount_spec.hpp"
#include "rootprep/steps/overlay_mount.hpp"
#include "rootprep/steps/prepare_root.hpp"
#include "rootprep/steps/remount_readonly.hpp"
