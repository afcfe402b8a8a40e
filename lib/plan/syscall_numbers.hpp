// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <sys/syscall.h>

// Numbers that the system headers of Debian 12 do not have. Since 5.1 new calls have one number on all architectures.
#ifndef SYS_statmount
#define SYS_statmount 457
#endif
#ifndef SYS_listmount
#define SYS_listmount 458
#endif
#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif
