#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The rootprep authors
# bad_input.sh PROGRAM: every bad input is a clear error with the right exit status, before any side effect. A table; each row is a promise.
set -uo pipefail
export LC_ALL=C
program=$1
failures=0
checks=0
own=${ROOTPREP_CLI_TEST_WORK:-}
if [[ -z $own ]]; then
  # In a mount namespace with a /tmp and a /run of its own: nothing of this reaches the host.
  if ! unshare --mount true 2>/dev/null; then
    echo 'SKIPPED: needs a mount namespace of its own: run it as root'
    exit 0
  fi
  export ROOTPREP_CLI_TEST_WORK=/tmp
  exec unshare --mount --propagation private bash -c '
    exec 9<"$1" 8<"$2" && mount -t tmpfs -o mode=1777 cli-test /tmp && mount -t tmpfs cli-test /run &&
    cp /proc/self/fd/9 /tmp/rootprep-run && cp /proc/self/fd/8 /tmp/script && chmod 755 /tmp/rootprep-run && exec 9<&- 8<&- && exec bash /tmp/script /tmp/rootprep-run
  ' _ "$program" "$0"
fi

cd /tmp || exit 1
mkdir -p image/bin image/etc big state-parent
cp /bin/busybox image/bin/ 2>/dev/null || { echo 'SKIPPED: needs /bin/busybox: apt-get install busybox-static'; exit 0; }
ln -s busybox image/bin/sh
echo text >file
mkdir -p overlay/{lower,upper,work,merged}
mount -t overlay overlay -o lowerdir=overlay/lower,upperdir=overlay/upper,workdir=overlay/work overlay/merged || exit 1
mkdir overlay/merged/state
tree() { find /tmp /run /var/lib/rootprep -path /tmp/chroot -prune -o -printf '%p %y %m %s\n' 2>/dev/null | grep -v -e '^/tmp/out ' -e '^/tmp/err ' -e '^/tmp ' | sort; }
: >out; : >err

# row NAME STATUS WORDS COMMAND...: WORDS, a regular expression, must be in the error; nothing must have changed.
row() {
  local name=$1 status=$2 words=$3 before after got mounts
  shift 3
  before=$(tree)
  mounts=$(cat /proc/self/mountinfo)
  "$@" >out 2>err </dev/null
  got=$?
  after=$(tree)
  checks=$((checks + 1))
  local problem=
  [[ $got == "$status" ]] || problem+=" exit status $got, not $status;"
  tr '\n' ' ' <err | grep -Eq -- "$words" || problem+=" the error does not say \"$words\";"
  [[ ! -s out ]] || problem+=" something on standard output;"
  [[ $before == "$after" ]] || problem+=" files changed: $(diff <(echo "$before") <(echo "$after") | head -5);"
  [[ $mounts == "$(cat /proc/self/mountinfo)" ]] || problem+=" mounts changed;"
  if [[ -n $problem ]]; then
    failures=$((failures + 1))
    printf 'FAILED: %s:%s\n' "$name" "$problem"
    sed 's/^/    /' err
  fi
}
run=$program
image=/tmp/image

#   what                                       status  words                                        command
row 'no command'                               125 'no command.*rootprep-run sh'                 $run
row 'no command after --'                      125 'no command'                                  $run --image $image --
row 'an option that does not exist'            125 '--imgae: no such option.*--help'             $run --imgae $image sh
row 'an option without its value'              125 '--image'                                     $run --image
row 'a relative image'                         125 'relative path.*did you mean --image /tmp/image' $run --image image sh
row 'an empty image'                           125 '--image is empty'                            $run --image '' sh
row 'a missing image'                          125 '--image /nowhere: No such file'              $run --image /nowhere sh
row 'an image that is a file'                  125 '/tmp/file: a file, not a directory.*tar'     $run --image /tmp/file sh
row 'the second of two images is missing'      125 '--image /nowhere: No such'                   $run --image $image --image /nowhere sh
row 'the same image twice'                     125 'same directory'                              $run --image $image --image $image sh
row 'a name with a slash'                      125 "name cannot hold '/'"                        $run --image $image --name a/b sh
row 'a name that is ..'                        125 'not a name'                                  $run --image $image --name .. sh
row 'an empty name'                            125 '--name is empty'                             $run --image $image --name '' sh
row 'a name with a space'                      125 'not a name'                                  $run --image $image --name 'a b' sh
row '--rm without a name'                      125 '--rm without --name'                         $run --rm sh
row 'a relative state directory'               125 '--state .*relative'                          $run --state st --name a --image $image sh
row 'a state directory below a file'           125 '/tmp/file'                                   $run --state /tmp/file/st --name a --image $image sh
row 'a state directory on overlayfs'           125 'lies on overlayfs.*--state'                  $run --state /tmp/overlay/merged/state --name a --image $image sh
row 'a new state directory on overlayfs'       125 'lies on overlayfs.*--state'                  $run --state /tmp/overlay/merged/new/er --name a --image $image sh
row 'a bind without a target'                  125 '--bind /etc.*SRC:DST'                        $run --image $image --bind /etc sh
row 'a bind with a missing source'             125 '/nowhere: No such file'                      $run --image $image --bind /nowhere:/x sh
row 'a bind with a relative source'            125 'relative path'                               $run --image $image --bind etc:/x sh
row 'a bind with a relative target'            125 'must be an absolute path'                    $run --image $image --bind /etc:x sh
row 'a bind with another flag'                 125 '"rx" is not "ro"'                            $run --image $image --bind /etc:/x:rx sh
row 'a tmpfs size that is no number'           125 '"lots" is not a size.*64m'                   $run --image $image --tmpfs /x:lots sh
row 'a tmpfs size of nothing'                  125 'not a size'                                  $run --image $image --tmpfs /x: sh
row 'a negative tmpfs size'                    125 'not a size'                                  $run --image $image --tmpfs /x:-1 sh
row 'a tmpfs size beyond all numbers'          125 'not a size'                                  $run --image $image --tmpfs /x:99999999999999999999g sh
row 'a relative tmpfs'                         125 'must be an absolute path'                    $run --image $image --tmpfs x sh
row 'a relative working directory'             125 '--workdir x: a relative path'                $run --image $image --workdir x sh
row 'a variable without a name'                125 'no name'                                     $run --image $image --env =v sh
row 'a host name of 65 bytes'                  125 'longer than 64'                              $run --image $image --hostname "$(printf 'h%.0s' {1..65})" sh
row 'a format that does not exist'             125 'text, tree, json or shell'                   $run --image $image --print xml sh
many=(); for _ in {1..501}; do many+=(--image "$image"); done
row '501 images'                               125 '501 images.*at most 500'                     $run "${many[@]}" sh
row 'a command that does not exist'            127 'nothing-of-this-name'                        $run --image $image nothing-of-this-name
row 'a command that cannot be executed'        126 '/etc'                                        $run --image $image /etc
row 'a working directory that does not exist'  125 '--workdir /nowhere.*No such file'             $run --image $image --workdir /nowhere sh
row 'user namespaces are used up'              125 'not enough privilege.*user.max_user_namespaces.' \
  unshare --user --map-root-user bash -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"' _ $run --image $image sh
mkdir chroot && mount --rbind / chroot
row 'no privilege in a chroot'                 125 'not enough privilege.*chroot' \
  chroot chroot setpriv --reuid 1000 --regid 1000 --clear-groups $run --image $image sh
umount --lazy chroot

# Two containers of one name at once.
mkfifo go
$run --image $image --state /tmp/state-parent/st --name twin sh -c 'echo up; read x' <go >twin.out 2>twin.err &
exec 3>go
for _ in {1..100}; do [[ -s twin.out ]] && break; sleep 0.05; done
row 'two containers of one name at once'       125 'twin: a container of this name is running'   $run --image $image --state /tmp/state-parent/st --name twin sh -c :
echo >&3; exec 3>&-; wait
row 'a name made of another image'             125 'made of another image.*/tmp/image'           $run --image /tmp/big --state /tmp/state-parent/st --name twin sh -c :

umount overlay/merged
echo "$checks bad inputs, $failures not as promised"
((failures == 0 && checks >= 40))
