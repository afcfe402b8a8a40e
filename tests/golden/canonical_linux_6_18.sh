#!/bin/sh
# What this plan does, as far as a shell can: it names targets by paths where rootprep holds descriptors, so a symbolic link of a
# hostile image would lead it to the host. Use it to read and to try, with images that you trust.
# Needs util-linux and coreutils, /proc, and a mount namespace of its own; runs COMMAND in the new root:
#   unshare --mount sh SCRIPT [COMMAND...]
set -eu
umask 022
root=/var/lib/box/root

fail() {
  printf '%s\n' "$0: $1" >&2
  exit 1
}
# PATH MODE: what exists stays as it is; missing parents get 0755 from the umask above
make_directory() {
  [ -d "$1" ] || { mkdir -p "$1" && chmod "$2" "$1"; }
}
make_file() {  # PATH MODE
  [ -e "$1" ] || { mkdir -p "${1%/*}" && : > "$1" && chmod "$2" "$1"; }
}
make_like() {  # PATH MODE SOURCE: a place to bind SOURCE on
  if [ -d "$3" ]; then make_directory "$1" "$2"; else make_file "$1" 0644; fi
}
# MOUNTPOINT: the flags that its topmost mount has now. mount(8) would clear what is not named.
options_of() {
  found=rw
  escaped=$1
  case $1 in *[\\\ ]*) escaped=$(printf '%s' "$1" | sed 's/\\/\\134/g; s/ /\\040/g') ;; esac
  while read -r _ _ _ _ mountpoint options _; do
    [ "$mountpoint" != "$escaped" ] || found=$options
  done < /proc/self/mountinfo
  printf '%s' "$found"
}
set_attributes() {  # MOUNTPOINT OPTIONS
  mount -o "remount,bind,$(options_of "$1"),$2" "$1"
}

if [ "$$" != 1 ] && [ "$(readlink /proc/self/ns/mnt)" = "$(readlink /proc/1/ns/mnt || :)" ]; then
  fail 'this is the mount namespace of the host: run me by unshare --mount'
fi

# step 0: prepare root /var/lib/box/root (rslave, bound on itself)
mount --make-rslave /
mount --make-private "$(findmnt --noheadings --output TARGET --target "$root" | tail -n 1)"
mount --rbind "$root" "$root"

# step 1: overlay on / (2 lower, upper /var/lib/box/upper)
mount -t overlay -o lowerdir=/srv/app:/srv/base,upperdir=/var/lib/box/upper,workdir=/var/lib/box/work overlay "$root"
[ "$(stat -f -c %t "$root")" = 794c7630 ] || fail 'another file system than expected: '"$root"
[ -w "$root" ] || fail 'mounted read-only: '"$root"

# step 2: mount proc on /proc (nosuid,nodev,noexec)
make_directory "$root/proc" 0755
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"

# step 3: mount sysfs on /sys (ro,nosuid,nodev,noexec)
make_directory "$root/sys" 0755
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"

# step 4: mount tmpfs on /tmp (nosuid,nodev)
make_directory "$root/tmp" 0755
mount -t tmpfs -o nosuid,nodev,size=67108864 tmpfs "$root/tmp"

# step 5: bind /srv/data on /data (ro)
make_like "$root/data" 0755 /srv/data
mount --rbind /srv/data "$root/data"
set_attributes "$root/data" ro

# step 6: bind /opt/tools on /opt/tools (optional)
if [ -e /opt/tools ]; then
  make_like "$root/opt/tools" 0755 /opt/tools
  mount --rbind /opt/tools "$root/opt/tools"
fi

# step 7: devices in /dev (new tmpfs)
make_directory "$root/dev" 0755
mount -t tmpfs -o nosuid,strictatime,size=67108864,mode=0755 tmpfs "$root/dev"
mknod -m 0666 "$root/dev/null" c 1 3
# not in this script: on EPERM, mknod is not permitted: the devices of the host are bound instead
{ [ -c "$root/dev/null" ] && [ "$(stat -c %t:%T "$root/dev/null")" = 1:3 ]; } || fail 'wrong type or device number: '"$root/dev/null"
mknod -m 0666 "$root/dev/zero" c 1 5
{ [ -c "$root/dev/zero" ] && [ "$(stat -c %t:%T "$root/dev/zero")" = 1:5 ]; } || fail 'wrong type or device number: '"$root/dev/zero"
mknod -m 0666 "$root/dev/full" c 1 7
{ [ -c "$root/dev/full" ] && [ "$(stat -c %t:%T "$root/dev/full")" = 1:7 ]; } || fail 'wrong type or device number: '"$root/dev/full"
mknod -m 0666 "$root/dev/random" c 1 8
{ [ -c "$root/dev/random" ] && [ "$(stat -c %t:%T "$root/dev/random")" = 1:8 ]; } || fail 'wrong type or device number: '"$root/dev/random"
mknod -m 0666 "$root/dev/urandom" c 1 9
{ [ -c "$root/dev/urandom" ] && [ "$(stat -c %t:%T "$root/dev/urandom")" = 1:9 ]; } || fail 'wrong type or device number: '"$root/dev/urandom"
mknod -m 0666 "$root/dev/tty" c 5 0
{ [ -c "$root/dev/tty" ] && [ "$(stat -c %t:%T "$root/dev/tty")" = 5:0 ]; } || fail 'wrong type or device number: '"$root/dev/tty"
[ -e "$root/dev/fd" ] || [ -L "$root/dev/fd" ] || ln -s -T /proc/self/fd "$root/dev/fd"
[ -e "$root/dev/stdin" ] || [ -L "$root/dev/stdin" ] || ln -s -T /proc/self/fd/0 "$root/dev/stdin"
[ -e "$root/dev/stdout" ] || [ -L "$root/dev/stdout" ] || ln -s -T /proc/self/fd/1 "$root/dev/stdout"
[ -e "$root/dev/stderr" ] || [ -L "$root/dev/stderr" ] || ln -s -T /proc/self/fd/2 "$root/dev/stderr"
ln -s -T pts/ptmx "$root/dev/ptmx"
mkdir -m 0755 "$root/dev/pts"
mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
mkdir -m 0755 "$root/dev/shm"
mount -t tmpfs -o nosuid,nodev,noexec,size=67108864,mode=1777 tmpfs "$root/dev/shm"
mkdir -m 0755 "$root/dev/mqueue"
mount -t mqueue -o nosuid,nodev,noexec mqueue "$root/dev/mqueue"

# step 9: write file /etc/hostname (4 bytes, 0644)
make_directory "$root/etc" 0755
rm -f "$root/etc/hostname"
(set -C; : > "$root/etc/hostname")
chmod 0644 "$root/etc/hostname"
printf 'box\n' >> "$root/etc/hostname"

# step 10: make symbolic link /etc/mtab -> /proc/mounts
make_directory "$root/etc" 0755
ln -s -T /proc/mounts "$root/etc/mtab"

# step 11: enter root by pivot_root, or by moving it
cd "$root"
pivot_root . .
# from here on all commands are those of the new root: it needs a umount and, if more follows, a mount
# not in this script: on EINVAL, pivot_root refused (as on an initramfs): the root is moved over / instead
umount -l .

# step 12: make / read-only
set_attributes / ro

if [ $# -gt 0 ]; then exec "$@"; fi
