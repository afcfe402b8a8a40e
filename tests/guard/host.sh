#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright The rootprep authors
#
# usage: host.sh before|after DIRECTORY MARK
#
# What a whole test run must leave as it was: the mount table of the host, and no process of the tests. The tests run with the
# environment variable ROOTPREP_TEST_MARK=MARK, by which their processes are known.
set -eu
when=$1
directory=$2
mark=$3

# Processes of the tests that nobody waits for: they are not below ctest, which runs this script.
orphans() {
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    { tr '\0' '\n' <"$process/environ" | grep -qxF "ROOTPREP_TEST_MARK=$mark"; } 2>/dev/null || continue  # it may end meanwhile
    parent=$pid
    while [ "$parent" != "$PPID" ] && [ "${parent:-0}" -gt 1 ]; do
      parent=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$parent/status" 2>/dev/null) || parent=0
    done
    [ "$parent" = "$PPID" ] || { echo "$pid $(tr '\0' ' ' <"$process/cmdline")"; } 2>/dev/null
  done
}

mkdir -p "$directory"
cat /proc/self/mountinfo >"$directory/mounts.$when"
orphans >"$directory/orphans.$when"
[ "$when" = after ] || exit 0

status=0
if ! diff "$directory/mounts.before" "$directory/mounts.after"; then
  echo 'guard: the mount table of the host has changed, see above: by the tests, or by another program meanwhile' >&2
  status=1
fi
if new=$(grep -vxFf "$directory/orphans.before" "$directory/orphans.after") && [ -n "$new" ]; then
  echo "guard: the tests left processes behind:
$new" >&2
  status=1
fi
exit "$status"
