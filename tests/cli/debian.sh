#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The rootprep authors
# debian.sh PROGRAM CACHE: rootprep-run with a Debian root directory, which mmdebstrap unpacks into CACHE once. In a mount namespace of its own.
set -uo pipefail
export LC_ALL=C
program=$1
image=$2/debian

if [[ ! -e $image/complete ]]; then
  rm -rf "$image"
  mkdir -p "$image"
  # shellcheck source=/dev/null
  suite=$(. /etc/os-release && printf %s "${VERSION_CODENAME:-bookworm}")
  if ! said=$(mmdebstrap --quiet --variant=extract --include=base-files,dash,coreutils,passwd "$suite" "$image/root" 2>&1); then
    rm -rf "$image"
    printf 'SKIPPED: mmdebstrap could not make a Debian root directory: %s\n' "$(tail -n 1 <<<"$said")"
    exit 0
  fi
  chmod 755 "$image" "$image/root"
  touch "$image/complete"
fi

failures=0
is() {  # is NAME WANTED COMMAND...
  local name=$1 wanted=$2 found
  shift 2
  found=$("$@" 2>&1 </dev/null)
  [[ $found == "$wanted" ]] && return 0
  failures=$((failures + 1))
  printf 'FAILED: %s: wanted "%s", found "%s"\n' "$name" "$wanted" "$found"
}
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
listing() { find "$image/root" -printf '%p %y %m %s %T@\n' | sort; }
before=$(listing)
run=("$program" --quiet --state "$state" --image "$image/root")

is 'a Debian root runs its own programs' 0 "${run[@]}" id -u
is 'it can be changed' changed "${run[@]}" sh -c 'echo changed > /etc/debian_version; cat /etc/debian_version'
is 'by name it keeps what changes, one' '' "${run[@]}" --name one sh -c 'echo mine > /root/file'
is 'by name it keeps what changes, two' mine "${run[@]}" --name one cat /root/file
is 'read-only' 'sh: 1: cannot create /x: Read-only file system' "${run[@]}" --read-only sh -c 'echo > /x'
is 'devices' '1:3 666' "${run[@]}" stat -c '%Hr:%Lr %a' /dev/null
is 'in a user namespace' 0 "${run[@]}" --rootless id -u
is 'the image is as before' "$before" listing

((failures == 0)) || exit 1
echo 'a Debian root directory: 8 checks passed'
