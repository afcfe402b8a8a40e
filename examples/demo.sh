#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The rootprep authors
# What rootprep-run does, in ten lines of output; `./dev demo` builds it and runs this. Every line is checked: it fails loudly if one is not true.
set -euo pipefail
export LC_ALL=C
run=${ROOTPREP_RUN:-$(dirname "$(readlink -f "$0")")/../build/bin/rootprep-run}
run=$(readlink -f "$run")
[[ -x $run ]] || { echo "demo: $run is not there: run ./dev build" >&2; exit 1; }
[[ -x /bin/busybox ]] || { echo "demo: /bin/busybox is not there: apt-get install busybox-static" >&2; exit 1; }

work=$(mktemp -d)
chmod 755 "$work"
marker=rootprep-demo
cleanup() {
  exec 3>&- 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap cleanup EXIT

broken() {
  printf '\ndemo: NOT AS PROMISED: %s\n' "$*" >&2
  exit 1
}
expect() {  # expect WHAT WANTED FOUND
  [[ $2 == "$3" ]] || broken "$1: expected \"$2\", found \"$3\""
}
title() { printf '\n%s\n' "$*"; }
show() { printf '  %-62s %s\n' "$1" "$2"; }
mounts() { cut -d' ' -f3- /proc/self/mountinfo; }
checksum() { (cd "$1" && find . -printf '%p %y %m %U %G %s %T@ %l\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum) | sha256sum; }

image=$work/image
mkdir -p "$image/bin" "$image/etc"
cp /bin/busybox "$image/bin/"
for tool in sh ls cat hostname touch sleep read; do ln -s busybox "$image/bin/$tool"; done
echo 'a small image' >"$image/etc/motd"
state=$work/state
image_before=$(checksum "$image")
mounts_before=$(mounts)

title "1. Two containers of one image, side by side ($image: $(du -sh "$image" | cut -f1))"
mkfifo "$work/go"
# Each makes a file, says so, and lists / once both have done that.
script='echo hello > /from-$(hostname); echo ready >&2; read go; ls /'
"$run" --image "$image" --state "$state" --name red -- sh -c "$script" <"$work/go" >"$work/red" 2>"$work/red.ready" &
red=$!
"$run" --image "$image" --state "$state" --name blue -- sh -c "$script" <"$work/go" >"$work/blue" 2>"$work/blue.ready" &
blue=$!
exec 3>"$work/go"
for name in red blue; do
  for ((i = 0; i < 100; ++i)); do
    [[ -s $work/$name.ready ]] && break
    sleep 0.1
  done
  grep -qx ready "$work/$name.ready" || broken "container $name did not start: $(cat "$work/$name.ready")"
done
printf 'go\ngo\n' >&3
exec 3>&-
wait "$red" || broken "container red ended with status $?"
wait "$blue" || broken "container blue ended with status $?"
list() { tr '\n' ' ' <"$work/$1"; }
expect 'files of red in red' from-red "$(grep from- "$work/red")"
expect 'files of blue in blue' from-blue "$(grep from- "$work/blue")"
show 'red  makes /from-red  and sees' "$(list red)"
show 'blue makes /from-blue and sees' "$(list blue)"
again=$("$run" --image "$image" --state "$state" --name red -- cat /from-red)
expect 'the file of red at its next run' hello "$again"
show 'red, run again, still has its file:' "$again"
expect 'checksum of the image' "$image_before" "$(checksum "$image")"
show 'checksum of the image before and after:' 'the same'
expect 'mounts of this system' "$mounts_before" "$(mounts)"
show 'mounts of this system before and after:' 'the same'

title '2. A disposable copy of this system: no image, nothing to download'
[[ ! -e /etc/$marker ]] || broken "/etc/$marker exists"
inside=$("$run" -q -- sh -c "echo changed > /etc/$marker && cat /etc/$marker && ls / | wc -l")
expect 'the file in the copy' changed "${inside%%$'\n'*}"
show "in the copy:  echo changed > /etc/$marker; cat it" "${inside%%$'\n'*}"
[[ ! -e /etc/$marker ]] || broken "/etc/$marker is on this system"
show "on this system:  ls /etc/$marker" 'No such file or directory'

user=(setpriv --reuid 1000 --regid 1000 --clear-groups)
((EUID == 0)) || user=()
as=$("${user[@]}" id -u 2>/dev/null) || broken 'setpriv does not work'
title "3. The same without privilege, as user $as"
cp "$run" "$work/rootprep-run"  # the build directory may be closed to that user
inside=$(cd / && HOME=$work "${user[@]}" "$work/rootprep-run" -q -- sh -c "id -u; echo changed > /etc/$marker; cat /etc/$marker" 2>"$work/errors") ||
  broken "as user $as: status $?: $(cat "$work/errors")"
expect 'user and file in the copy' "0 changed" "$(echo $inside)"
show "in the copy:  id -u; echo changed > /etc/$marker; cat it" "$(echo $inside)"
[[ ! -e /etc/$marker ]] || broken "/etc/$marker is on this system"
show "on this system:  ls /etc/$marker" 'No such file or directory'

title '4. What is left'
"$run" --image "$image" --state "$state" --name red --rm -- sh -c :
"$run" --image "$image" --state "$state" --name blue --rm -- sh -c :
[[ ! -e $state/red && ! -e $state/blue ]] || broken "--rm left something: $(ls "$state")"
expect 'mounts of this system' "$mounts_before" "$(mounts)"
expect 'checksum of the image' "$image_before" "$(checksum "$image")"
show 'mounts, directories, changes:' 'none'
