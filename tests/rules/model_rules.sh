#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright The rootprep authors
#
# usage: model_rules.sh SOURCE_DIRECTORY
#
# Each refusal of the kernel in memory names a rule of the table in lib/testing/rules.cpp, and each rule of the table is used; the
# functions that lib/testing/README.md names exist.
set -eu
cd "$1/lib/testing"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

id='[a-z0-9_]+(-[a-z0-9_]+)*\.[a-z0-9_]+(-[a-z0-9_]+)*'
grep -oE "^    \{\"($id|not-modelled)\"" rules.cpp | tr -d ' {"' | sort >"$work/listed"
# A refusal: world.refuse(ERRNO, "id") or complain(world, context, ERRNO, "id", ...), up to the end of the statement.
find . -name '*.[ch]pp' ! -name 'rules.cpp' -exec cat {} + | tr '\n' ' ' | grep -oE '(refuse|complain)\([^;]*;' >"$work/refusals"
grep -oE "\"$id\"" "$work/refusals" | tr -d '"' | sort -u >"$work/used"
echo not-modelled >>"$work/used"
sort -o "$work/used" "$work/used"

status=0
twice=$(uniq -d "$work/listed")
[ -z "$twice" ] || { echo "listed twice:"; echo "$twice"; status=1; }
unlisted=$(comm -13 "$work/listed" "$work/used")
[ -z "$unlisted" ] || { echo "not in the table of rules.cpp:"; echo "$unlisted"; status=1; }
unused=$(comm -23 "$work/listed" "$work/used")
[ -z "$unused" ] || { echo "in the table of rules.cpp, and no refusal has it:"; echo "$unused"; status=1; }
nameless=$(grep -vE "\"$id\"|(refuse|complain)\((int|World|world, error, rule|error, rule)" "$work/refusals" || true)
[ -z "$nameless" ] || { echo "refusals without a rule:"; echo "$nameless"; status=1; }

grep '^| ' README.md | sed 's/.*|\([^|]*\)|$/\1/' | grep -oE '`[a-z_]+`' | tr -d '`' | sort -u >"$work/functions"
[ "$(wc -l <"$work/functions")" -ge 20 ] || { echo "README.md names no functions: this check no longer checks"; status=1; }
while read -r function; do
  grep -qE "^[A-Za-z].*[ *]$function\(" ./*.cpp || { echo "README.md names $function(), which does not exist"; status=1; }
done <"$work/functions"

count=$(wc -l <"$work/used")
[ "$count" -ge 300 ] || { echo "only $count rules found: this check no longer checks"; status=1; }
echo "$count rules"
exit "$status"
