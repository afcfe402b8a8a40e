#!/bin/sh
# What this plan does, as far as a shell can: it names targets by paths where rootprep holds descriptors, so a symbolic link of a
# hostile image would lead it to the host. Use it to read and to try, with images that you trust.
# Needs util-linux and coreutils, /proc, and a mount namespace of its own; runs COMMAND in the new root:
#   unshare --mount sh SCRIPT [COMMAND...]
set -eu
umask 022
root=/mnt

fail() {
  printf '%s\n' "$0: $1" >&2
  exit 1
}
# ROOT: the host's procfs and sysfs stay below the new root when it is moved; a process that finds its way there must not find them
hide_filesystems() {
  findmnt --noheadings --raw --types proc,sysfs --output TARGET | sort -r | while IFS= read -r mountpoint; do
    case $mountpoint in "$1" | "$1"/*) ;; *) mount --make-rslave "$mountpoint" && umount -l "$mountpoint" ;; esac
  done
}

if [ "$$" != 1 ] && [ "$(readlink /proc/self/ns/mnt)" = "$(readlink /proc/1/ns/mnt || :)" ]; then
  fail 'this is the mount namespace of the host: run me by unshare --mount'
fi

# step 0: prepare root /mnt (rslave, bound on itself)
mount --make-rslave /
mount --make-private "$(findmnt --noheadings --output TARGET --target "$root" | tail -n 1)"
mount --rbind "$root" "$root"

# step 1: enter root by moving it over /
hide_filesystems "$root"
cd "$root"
mount --move . /
# chroot(1) runs a program in the new root: the rest of this script
exec chroot . /bin/sh -c 'set -eu
umask 022
# PATH MODE: what exists stays as it is; missing parents get 0755 from the umask above
make_directory() {
  [ -d "$1" ] || { mkdir -p "$1" && chmod "$2" "$1"; }
}

# step 2: make directory /made (0755)
make_directory /made 0755

if [ $# -gt 0 ]; then exec "$@"; fi
' sh "$@"
