#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright The rootprep authors
#
# usage: includes.sh SOURCE_DIRECTORY
#
# Holds the table of lib/README.md to the code: who may include whom.
set -eu
cd "$1"
status=0

# rule FOLDER ALLOWED: each project header, and each header of a dependency, that a file below FOLDER includes matches ALLOWED.
rule() {
  [ -d "$1" ] || return 0
  wrong=$(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+("|<(nlohmann|CLI|boost|catch2|rootprep))' "$1" |
    grep -vE "include[[:space:]]+[\"<]($2)[\">]" || true)
  [ -z "$wrong" ] || {
    echo "$1 may not include:
$wrong"
    status=1
  }
  checked=$((checked + $(grep -rlE '^[[:space:]]*#[[:space:]]*include' "$1" | wc -l)))
}
checked=0

public='rootprep/(steps/)?[a-z_]+\.(hpp|def)'
common="$public|try\.hpp"
rule lib/child 'child/[a-z_]+\.hpp|plan/syscall_numbers\.hpp|rootprep/(operation|kernel|abi|error|launch_stage)\.hpp|rootprep/syscalls\.def'
rule lib/plan "$common|plan/[a-z_]+\.hpp|child/system_calls\.hpp"  # the probe of kernel features makes raw system calls
rule lib/steps "$common|(plan|steps)/[a-z_]+\.hpp"
rule lib/launch "$common|(launch|child|plan)/[a-z_]+\.hpp"
rule lib/print "$common|(print|explain|plan)/[a-z_]+\.hpp|nlohmann/json\.hpp"
rule lib/explain "$common|(print|explain|plan)/[a-z_]+\.hpp|nlohmann/json\.hpp"
rule lib/oci "$common|oci/[a-z_]+\.hpp|nlohmann/json\.hpp"
rule lib/testing "$common|rootprep/testing/[a-z_]+\.(hpp|def)|(testing|plan)/[a-z_]+\.hpp"
# What is installed: our own headers, and Boost.Outcome in one of them.
rule include/rootprep "rootprep/([a-z]+/)?[a-z_]+\.(hpp|def)|boost/outcome/[a-z_/]+\.hpp"

# A check that checks nothing is a defect.
[ "$checked" -ge 40 ] || {
  echo "only $checked files with includes were found below $1"
  status=1
}
exit "$status"
