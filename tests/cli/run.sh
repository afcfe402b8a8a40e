#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The rootprep authors
# run.sh PROGRAM: what rootprep-run promises, tried. Afterwards the host must be as before.
set -uo pipefail
export LC_ALL=C
program=$1
failures=0
checks=0
if [[ -z ${ROOTPREP_CLI_TEST_WORK:-} ]]; then
  # In a mount namespace with a /tmp, a /run and a /var/lib of its own: nothing of this reaches the host.
  if ! unshare --mount true 2>/dev/null; then
    echo 'SKIPPED: needs a mount namespace of its own: run it as root'
    exit 0
  fi
  export ROOTPREP_CLI_TEST_WORK=/tmp
  exec unshare --mount --propagation private bash -c '
    exec 9<"$1" 8<"$2" && mount -t tmpfs -o mode=1777 cli-test /tmp && mount -t tmpfs cli-test /run && mount -t tmpfs cli-test /var/lib &&
    cp /proc/self/fd/9 /tmp/rootprep-run && cp /proc/self/fd/8 /tmp/script && chmod 755 /tmp/rootprep-run && exec 9<&- 8<&- && exec bash /tmp/script /tmp/rootprep-run
  ' _ "$program" "$0"
fi

cd /tmp || exit 1
run=$program
mkdir -p image/bin image/etc extra/etc data
cp /bin/busybox image/bin/ 2>/dev/null || { echo 'SKIPPED: needs /bin/busybox: apt-get install busybox-static'; exit 0; }
for tool in sh ls cat touch id hostname ip sleep pwd df env kill rm mkdir; do ln -s busybox image/bin/$tool; done
echo base >image/etc/who
echo extra >extra/etc/who
echo not executable >image/bin/text
printf '#!/no/such/interpreter\n' >image/bin/script
chmod +x image/bin/script
echo outside >data/file
chmod 777 data
image=/tmp/image
user=(setpriv --reuid 1000 --regid 1000 --clear-groups env HOME=/tmp/home)
mkdir -m 777 home
before=$(cat /proc/self/mountinfo)
image_before=$(find image extra -printf '%p %y %m %s %T@\n' | sort)

ok() {  # ok NAME WANTED FOUND
  checks=$((checks + 1))
  [[ $2 == "$3" ]] && return 0
  failures=$((failures + 1))
  printf 'FAILED: %s: wanted "%s", found "%s"\n' "$1" "$2" "$3"
}
# is NAME STATUS OUTPUT COMMAND...: standard output and error together
is() {
  local name=$1 status=$2 wanted=$3 found
  shift 3
  found=$("$@" 2>&1 </dev/null)
  local got=$?
  ok "$name" "$status: $wanted" "$got: $found"
}
wait_for() {  # wait_for COMMAND...: at most 10 s
  for _ in {1..200}; do "$@" && return 0; sleep 0.05; done
  return 1
}

# --- images ---
is 'a command in an image'            0 base             $run --image $image cat /etc/who
is 'layers, the lowest last'          0 extra            $run --image /tmp/extra --image $image cat /etc/who
is 'process 1'                        0 1                $run --image $image sh -c 'echo $$'
is 'options of the command are its own' 0 '--name'       $run --image $image sh -c 'echo "$1"' _ --name
is 'options of the command after --'  0 '-q'             $run --image $image -- sh -c 'echo "$1"' _ -q
is 'an ephemeral writable layer'      0 new              $run --image $image sh -c 'echo new >/etc/who; cat /etc/who'
is 'a clean environment'              0 'HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin A=1' \
  env -u TERM SECRET=1 $run --image $image --env A=1 sh -c 'echo $(env -u PWD -u SHLVL | while read l; do case $l in HOME=*) echo $l;; esac; done) PATH=$PATH A=$A$SECRET'
is 'a variable passed on'             0 mine             env B=mine $run --image $image --env B sh -c 'echo $B'
is 'host name: the default'           0 rootprep         $run --image $image hostname
is 'host name'                        0 box              $run --image $image --hostname box hostname
is 'working directory'                0 /etc             $run --image $image --workdir /etc pwd
is 'read-only, but for /tmp'          1 'sh: can'"'"'t create /x: Read-only file system' $run --image $image --read-only sh -c 'touch /tmp/x && echo >/x'
is 'a bind'                           0 outside          $run --image $image --bind /tmp/data:/data cat /data/file
is 'a bind of a file'                 0 outside          $run --image $image --bind /tmp/data/file:/new/place cat /new/place
is 'a read-only bind'                 1 "sh: can't create /data/x: Read-only file system" $run --image $image --bind /tmp/data:/data:ro sh -c 'echo >/data/x'
is 'a writable bind'                  0 ''               $run --image $image --bind /tmp/data:/data sh -c 'echo in >/data/made'
ok 'it wrote there' in "$(cat data/made)"; rm data/made
is 'a tmpfs of 64k'                   0 64               $run --image $image --tmpfs /scratch:64k sh -c 'df -k /scratch | while read a b c; do [ $b = 64 ] && echo $b; done'
is 'mounts in the order given'        0 outside          $run --image $image --tmpfs /a:1m --bind /tmp/data:/a/b cat /a/b/file
is 'a private network'                0 'lo'             $run --image $image --private-network sh -c 'ip -o link | while read a b c; do echo ${b%:}; done'
is 'without pivot_root'               0 base             $run --image $image --no-pivot cat /etc/who
is 'a user namespace, as root'        0 'base 0'         $run --image $image --rootless sh -c 'echo $(cat /etc/who) $(id -u)'
is 'devices work'                     0 ''               $run --image $image sh -c 'echo >/dev/null'
is 'devices work in a user namespace' 0 ''               $run --image $image --rootless sh -c 'echo >/dev/null'

# --- exit status ---
is 'status 0'                         0 ''               $run --image $image sh -c :
is 'status 3'                         3 ''               $run --image $image sh -c 'exit 3'
$run --image $image sh -c 'sh -c "kill -9 \$\$"; exit $?' >out 2>&1; ok 'a part of it killed by a signal' 137 $?
$run --image $image text >out 2>&1; ok '126: not executable' 126 $?
$run --image $image script >out 2>&1; ok '126: the interpreter is missing' 126 $?
ok 'and it is named' 1 "$(grep -c /no/such/interpreter out)"
$run --image $image nothing >out 2>&1; ok '127: no such command' 127 $?

# --- signals ---
signal() {  # signal NAME SIGNAL STATUS SCRIPT
  local name=$1 number=$2 status=$3
  shift 3
  rm -f started
  $run --image $image --bind /tmp/data:/data sh -c "$1" >out 2>&1 &
  local supervisor=$!
  wait_for test -e data/started
  kill "-$number" $supervisor
  wait $supervisor
  ok "$name" "$status" $?
  rm -f data/started
}
signal 'TERM ends a command without a handler' TERM 143 'touch /data/started; sleep 60; :'
signal 'HUP too'                               HUP  129 'touch /data/started; sleep 60; :'
signal 'a handler gets the signal'             TERM   9 'trap "exit 9" TERM; touch /data/started; while :; do sleep 0.1; done'
signal 'an ignored signal stays ignored'       USR1   4 'trap "" USR1; touch /data/started; sleep 0.5; exit 4'

# --- names ---
named=("$run" --image "$image" --state /tmp/state)
is 'a name: the first run'            0 ''               "${named[@]}" --name one touch /mine
is 'another name does not see it'     0 no               "${named[@]}" --name two sh -c '[ -e /mine ] || echo no'
is 'the name sees its own file'       0 /mine            "${named[@]}" --name one ls /mine
is 'the host name of a name'          0 one              "${named[@]}" --name one hostname
is '--rm removes it at the end'       0 /mine            "${named[@]}" --name one --rm ls /mine
ok 'and nothing else' two "$(ls state)"
$run --image $image --state /tmp/state --name three --workdir /nowhere sh -c : >out 2>&1; ok 'a run that fails at first' 125 $?
ok 'no directory of it' two "$(ls state)"
is 'a copy of the system with a name' 0 ''               $run --state /tmp/state --name copy -q touch /etc/rootprep-test
is 'keeps what it changed'            0 /etc/rootprep-test $run --state /tmp/state --name copy -q --rm ls /etc/rootprep-test

# --- after SIGKILL ---
killed() {  # killed ARGUMENT...: starts a container and kills its supervisor
  $run "$@" --image $image --bind /tmp/data:/data sh -c 'touch /layer; touch /data/started; sleep 61; :' >out 2>&1 &
  local supervisor=$!
  wait_for test -e data/started
  disown $supervisor
  kill -KILL $supervisor
  rm -f data/started
}
gone() { ! pgrep -f 'sleep 61' >/dev/null; }
killed --state /tmp/state --name hit
wait_for gone; ok 'the container dies with its supervisor' 0 $?
is 'the name works again'             0 /layer           "${named[@]}" --name hit ls /layer
killed --state /tmp/state --name hit --rm
wait_for gone
is 'what --rm should have removed is gone at the next run' 0 none "${named[@]}" --name hit --rm sh -c '[ -e /layer ] || echo none'
killed
wait_for gone
ok 'a directory is left' 1 "$(ls /run/rootprep | wc -l)"
is 'the next run'                     0 ''               $run --image $image sh -c :
ok 'removes it' no "$(ls -d /run/rootprep 2>/dev/null || echo no)"

# --- a copy of the system ---
is 'a copy can be changed'            0 changed          $run -q sh -c 'echo changed >/etc/rootprep-test && cat /etc/rootprep-test'
ok 'the system is not' no "$([[ -e /etc/rootprep-test ]] || echo no)"
is 'it starts where the caller is'    0 /usr/share       bash -c "cd /usr/share && $run -q pwd"
is 'other file systems are copied too' 0 'x none'        $run -q sh -c 'echo x >/var/lib/rootprep-test; echo $(cat /var/lib/rootprep-test) $(ls /tmp; echo none)'
ok 'and unchanged' no "$([[ -e /var/lib/rootprep-test ]] || echo no)"
is 'a copy in a user namespace'       0 changed          $run -q --rootless sh -c 'echo changed >/etc/rootprep-test && cat /etc/rootprep-test'
is 'a copy as user 1000'              0 '0 changed'      "${user[@]}" $run -q sh -c 'echo changed >/etc/rootprep-test && echo $(id -u) $(cat /etc/rootprep-test)'
is 'an image as user 1000, by name'   0 ''               "${user[@]}" $run --image $image --name mine touch /mine
is 'and again'                        0 /mine            "${user[@]}" $run --image $image --name mine --rm ls /mine
ok 'nothing left of it' '' "$(ls home/.local/state/rootprep 2>/dev/null)"
is 'what is not disposable is said'   0 1                bash -c "$run --rootless true 2>&1 | grep -c 'no overlay can make it disposable'"
is 'or not, with -q'                  0 ''               $run -q --rootless true

# --- printing ---
tree() { find /tmp /run /var/lib -printf '%p %y %m %s\n' 2>/dev/null | grep -v '^/tmp/out '; }
for format in text tree json shell; do
  files=$(tree)
  $run --image $image --name shown --state /tmp/state --print $format >out 2>&1; ok "--print $format" 0 $?
  ok "--print $format prints" yes "$([[ -s out ]] && echo yes)"
  ok "--print $format runs nothing" "$files" "$(tree)"
done
$run --help >out; ok '--help' 0 $?
ok '--help fits a screen: lines'   yes "$( (($(wc -l <out) <= 24)) && echo yes)"
ok '--help fits a screen: columns' yes "$( (($(wc -L <out) <= 80)) && echo yes)"

# --- a terminal ---
if command -v script >/dev/null; then
  is 'a terminal is passed on'        0 tty              bash -c "script -qec \"$run --image $image sh -c 'test -t 0 && echo tty'\" /dev/null </dev/null | tr -d '\r'"
  # exec: script(1) has the command run by $SHELL, and some shells stay between, where Ctrl-C reaches them too.
  key() {  # key NAME STATUS SCRIPT: what Ctrl-C does
    { wait_for test -e data/started; printf '\003'; sleep 0.5; } | script -qec "exec $run --image $image --bind /tmp/data:/data sh -c '$3'" /dev/null >out 2>&1
    ok "$1" "$2" "${PIPESTATUS[1]}"
    rm -f data/started
  }
  key 'Ctrl-C ends a command without a handler' 130 'touch /data/started; sleep 60; :'
  key 'Ctrl-C reaches a handler once'             7 'trap "echo >>/data/hits" INT; touch /data/started; sleep 1; sleep 0.3; exit 7'
  ok 'once' 1 "$(wc -l <data/hits)"
  rm -f data/hits
fi

# --- inside a restricted container ---
unshare --mount bash -c "mount -t tmpfs none /proc/sys; $run --rootless --image $image sh -c :" >out 2>&1; ok 'a masked /proc' 125 $?
ok 'explains itself' yes "$(grep -q 'EPERM' out && grep -qi 'mask\|revealing\|over-mount\|covered' out && echo yes)"

ok 'the mounts are as before' "$before" "$(cat /proc/self/mountinfo)"
ok 'the image is as before' "$image_before" "$(find image extra -printf '%p %y %m %s %T@\n' | sort)"
ok 'no directory is left' no "$(ls -d /run/rootprep /tmp/rootprep-1000 2>/dev/null || echo no)"
echo "$checks promises, $failures not kept"
((failures == 0 && checks >= 87))
