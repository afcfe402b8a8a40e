#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright The rootprep authors
#
# usage: readme.sh SOURCE_DIRECTORY
#
# What the documents say is so: the example in README.md is examples/readme.cpp, which is built with the tests; every relative link leads
# somewhere; SECURITY.md names tests that exist.
set -eu
cd "$1"
status=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

sed -n '/^```cpp$/,/^```$/p' README.md | sed '/^```/d' >"$scratch/shown"
sed -n '/README begins/,/README ends/p' examples/readme.cpp | sed '/README \(begins\|ends\)/d; s/^  //' >"$scratch/built"
[ -s "$scratch/built" ] || {
  echo 'examples/readme.cpp lacks the marks "README begins" and "README ends"'
  status=1
}
diff "$scratch/shown" "$scratch/built" || {
  echo 'README.md shows other code than examples/readme.cpp'
  status=1
}

links=0
for document in ./*.md docs/*.md lib/*.md lib/*/*.md; do
  [ -e "$document" ] || continue
  for link in $(grep -oE '\]\([^)]+\)' "$document" | sed 's/^](//; s/)$//; s/#.*//'); do
    case $link in http*) continue ;; esac
    links=$((links + 1))
    [ -e "$(dirname "$document")/$link" ] || {
      echo "$document: there is no $link"
      status=1
    }
  done
done
[ "$links" -gt 10 ] || {
  echo "only $links links were found"
  status=1
}
# The tests that SECURITY.md names, by the beginning of their names.
grep -oE '"[^"]+…"' SECURITY.md | sed 's/^"//; s/…"$//' | sort -u >"$scratch/named"
[ "$(wc -l <"$scratch/named")" -gt 10 ] || {
  echo 'SECURITY.md names hardly any test'
  status=1
}
while IFS= read -r name; do
  grep -rqF --include="*.cpp" "\"$name" tests || {
    echo "SECURITY.md: there is no test whose name begins with: $name"
    status=1
  }
done <"$scratch/named"
exit "$status"
