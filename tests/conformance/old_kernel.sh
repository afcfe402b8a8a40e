#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The rootprep authors
#
# usage: old_kernel.sh SCRATCH_DIRECTORY [VERSION [record]]
#
# Does the kernel in memory, told to be an older kernel, answer as that one does? Downloads Debian's kernel of VERSION (6.1 on Debian 12),
# boots it in an emulator, which needs no KVM, and runs there the scenarios, as root and in a user namespace; with FUZZ_SECONDS=N in the environment also the
# comparison on random sequences, N seconds each. Cases that the older kernel answers otherwise are in answers-VERSION.json; "record" writes that file.
# The file is then checked against the kernel in memory. Exit status: 0 no difference, 1 a difference, 2 it could not run.
#
# Packages: qemu-system-x86 cpio busybox-static xz-utils python3, and those of the build with libstdc++ and libc as archives.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source_directory=$PWD
mkdir -p "${1:?usage: old_kernel.sh SCRATCH_DIRECTORY [VERSION [record]]}"
scratch=$(cd "$1" && pwd)
version=${2:-6.1}
mode=${3:-check}
answers=$source_directory/tests/conformance/answers-$version.json
seconds=${FUZZ_SECONDS:-0}
for program in qemu-system-x86_64 cpio busybox xz python3 cmake ninja apt-get dpkg-deb; do
  command -v "$program" >/dev/null || { echo "old_kernel.sh: $program is missing"; exit 2; }
done
if [ ! -e "$answers" ] && [ "$mode" != record ]; then
  echo "old_kernel.sh: there is no $answers: record it first"
  exit 2
fi

# The cloud flavour is the same source with fewer drivers. Unpacked, not installed.
if [ -z "$(find "$scratch/kernel-$version" -name 'vmlinuz-*' 2>/dev/null)" ]; then
  package=$(apt-cache search --names-only "^linux-image-${version//./\\.}\.[0-9].*-cloud-amd64(-unsigned)?$" | cut -d' ' -f1 | sort -V | tail -n 1)
  [ -n "$package" ] || { echo "old_kernel.sh: the archive has no kernel $version"; exit 2; }
  mkdir -p "$scratch/kernel-$version"
  (cd "$scratch/kernel-$version" && apt-get download "$package" && dpkg-deb -x ./*.deb .)
fi
vmlinuz=$(find "$scratch/kernel-$version" -name 'vmlinuz-*')

cmake -S . -B "$scratch/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_EXE_LINKER_FLAGS=-static -DROOTPREP_BUILD_EXAMPLES=OFF >/dev/null
ninja -C "$scratch/build" rootprep-scenarios rootprep-fuzz-kernels
programs=$scratch/build/bin

# --- the initramfs -----------------------------------------------------------------------------------------------------------------------
image=$scratch/image-$version
rm -rf "$image"
mkdir -p "$image"/{bin,modules,scenarios}
cp "$(command -v busybox)" "$image/bin/busybox"
cp "$programs/rootprep-scenarios" "$programs/rootprep-fuzz-kernels" "$image/bin/"
strip "$image"/bin/rootprep-*
cp tests/conformance/scenarios/*.json "$image/scenarios/"
if [ "$mode" = record ]; then echo '{"cases": []}' >"$image/answers.json"; else cp "$answers" "$image/answers.json"; fi
for module in overlay libcrc32c erofs fuse squashfs; do
  find "$scratch/kernel-$version" -name "$module.ko*" -exec cp {} "$image/modules/" \;
done
find "$image/modules" -name '*.xz' -exec xz -d {} +

cat >"$image/init" <<'END'
#!/bin/busybox sh
# An initramfs is no mount that pivot_root(2) could move: on to a tmpfs.
/bin/busybox mkdir -p /root
/bin/busybox mount -t tmpfs -o size=90% root /root
/bin/busybox cp -a /bin /modules /scenarios /answers.json /run.sh /root/
exec /bin/busybox switch_root /root /run.sh
END
cat >"$image/run.sh" <<END
#!/bin/busybox sh
export PATH=/bin
busybox mkdir -p /proc /sys /dev /tmp
busybox mount -t proc proc /proc
busybox --install -s /bin # asks /proc where it is itself
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in overlay libcrc32c erofs fuse squashfs; do
  [ ! -e /modules/\$module.ko ] || insmod /modules/\$module.ko
done
stty -F /dev/ttyS1 raw
exec >/dev/ttyS1 2>/dev/console
mode=$mode seconds=$seconds version=$version
END
cat >>"$image/run.sh" <<'END'
echo "kernel $(uname -r)"
for where in "" --user-namespace; do
  if [ "$mode" = record ]; then
    echo "=== different$where"
    rootprep-scenarios --kernel linux $where --record-different /scenarios/*.json
  else
    echo "=== scenarios$where"
    rootprep-scenarios --kernel linux $where --instead /answers.json --quiet /scenarios/*.json
  fi
  [ "$seconds" = 0 ] || echo "=== sequences$where"
  [ "$seconds" = 0 ] || rootprep-fuzz-kernels --profile "$version" $where --seconds "$seconds"
done
echo "=== end"
sleep 1
echo o >/proc/sysrq-trigger # off
sleep 60
END
chmod +x "$image/init" "$image/run.sh"
(cd "$image" && find . | cpio --quiet -o -H newc | gzip -1) >"$scratch/initramfs-$version.gz"

# --- the run -----------------------------------------------------------------------------------------------------------------------------
output=$scratch/output-$version
timeout 1800 qemu-system-x86_64 -accel tcg -cpu max -m 1024 -no-reboot -display none -kernel "$vmlinuz" \
  -initrd "$scratch/initramfs-$version.gz" -append "console=ttyS0 panic=-1 mitigations=off loglevel=4" \
  -serial "file:$scratch/console-$version" -serial "file:$output" || true
grep -q '^=== end' "$output" || { echo "old_kernel.sh: it did not get to the end:"; tail -n 20 "$scratch/console-$version" "$output"; exit 2; }

# section NAME: what was printed under "=== NAME"
section() { awk -v name="=== $1" '/^=== / { on = $0 == name; next } on' "$output"; }
head -n 1 "$output"
if [ "$mode" = record ]; then
  section different >"$scratch/different.json"
  section different--user-namespace >"$scratch/different-userns.json"
  python3 - "$scratch/different.json" "$scratch/different-userns.json" "$answers" tests/conformance/scenarios/*.json <<'END'
import json, sys
root, userns = ({c["name"]: c for c in json.load(open(name))["cases"]} for name in sys.argv[1:3])
try:
    open_still = {c["name"] for c in json.load(open(sys.argv[3]))["cases"] if "not-modelled" in c["tags"]}
except FileNotFoundError:
    open_still = set()
cases = []
for usual in (c for name in sys.argv[4:] for c in json.load(open(name))["cases"]):
    name, tags = usual["name"], usual.get("tags", [])
    both = not {"init-userns", "only-userns"} & set(tags)
    if both and root.get(name) != userns.get(name):  # an answer for one of them only
        for answer, tag in ((root.get(name), "init-userns"), (userns.get(name), "only-userns")):
            if answer is not None:
                cases.append({**answer, "tags": tags + [tag]})
    elif name in root or name in userns:
        cases.append(root.get(name) or userns[name])
for case in cases:
    if case["name"] in open_still:
        case["tags"] = case["tags"] + ["not-modelled"]
with open(sys.argv[3], "w") as out:
    out.write('{"cases": [\n' + ",\n".join(json.dumps(c, separators=(",", ":"), sort_keys=True) for c in cases) + "\n]}\n")
print(len(cases), "answers differ from those of the scenarios:", sys.argv[3])
END
fi
status=0
for where in "" --user-namespace; do
  if [ "$mode" != record ]; then
    echo "Linux $version $where: scenarios"
    section "scenarios$where"
    section "scenarios$where" | grep -q ' 0 failed' || status=1
  fi
  if [ "$seconds" != 0 ]; then
    echo "Linux $version and the kernel in memory $where: random sequences"
    section "sequences$where"
    section "sequences$where" | grep -q 'no difference' || status=1
  fi
  echo "the kernel in memory as $version $where: scenarios"
  # shellcheck disable=SC2086 # nothing is no argument
  "$programs/rootprep-scenarios" --kernel fake --profile "$version" $where --instead "$answers" --quiet tests/conformance/scenarios/*.json || status=1
done
exit $status
