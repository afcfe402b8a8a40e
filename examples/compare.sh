#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# compare.sh PROGRAM SOURCE: does PROGRAM print what the first comment of SOURCE says?
# The expected output is the comment's lines that are indented by three blanks: one place for readers and for the test.
set -u
program=$1
source=$2
directory=$(mktemp -d) || exit 1
trap 'rm -rf "$directory"' EXIT
awk '/^\/\/   / { print substr($0, 6); started = 1; next } /^\/\/$/ { next } started { exit }' "$source" >"$directory/expected"
[ -s "$directory/expected" ] || { echo "$source does not say what it prints"; exit 1; }
cat /proc/self/mountinfo | awk '{ $1 = $2 = ""; print }' >"$directory/mounts.before"
"$program" >"$directory/output" 2>"$directory/errors" </dev/null
status=$?
if [ $status -eq 77 ]; then
  cat "$directory/errors"  # SKIPPED: and why
  exit 77
fi
cat /proc/self/mountinfo | awk '{ $1 = $2 = ""; print }' >"$directory/mounts.after"
failed=0
[ $status -eq 0 ] || { echo "exit status $status"; failed=1; }
[ ! -s "$directory/errors" ] || { echo "on standard error:"; cat "$directory/errors"; failed=1; }
sed 's/[[:blank:]]*$//' "$directory/output" >"$directory/trimmed"
diff -u "$directory/expected" "$directory/trimmed" || failed=1
diff -u "$directory/mounts.before" "$directory/mounts.after" || { echo "the host has other mounts than before"; failed=1; }
exit $failed
