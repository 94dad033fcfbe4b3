#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# negative.sh [-s SECONDS] [-k DIR] [NAME]...: show that the tests of UFFDIO_MOVE find mistakes.
#
# Theory of operation
# -------------------
# Each tests/vm/negative/NAME.patch undoes one rule in the series.  Its head says which rule, what
# is run ("selftest PROGRAM...", "race ROW,..."), and what is known of the outcome: "Caught: no" is
# a rule whose loss nothing here finds.  One tree is patched, built, run and unpatched again, so that
# only what has changed is compiled: some files and the link.  The kernel is a small one with lockdep
# and the checks of mm (negative/negative.config); it boots from an initramfs that has busybox
# and the test programs, in QEMU without KVM.
#
# First the series as it is has to pass everything that any of them runs.  A mistake counts as found
# when a test fails, the kernel complains, dies or hangs.
#
#	-s SECONDS	for each row of the races (20)
#	-k DIR		where the tree is kept for the next time, and the logs
#
# The output is TAP.
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
O=${O:-$TOP/build}
case $O in /*) ;; *) O=$TOP/$O ;; esac
# shellcheck source=../../kernel/lib.sh
. "$TOP/kernel/lib.sh"

# A row that hangs takes 40 s to say so, a functional one up to 120.
QUIET_SECONDS=130
SELFTESTS=(api vma range entry thp swap fail)
seconds=20 keep=''
while getopts s:k: opt; do
	case $opt in
	s) seconds=$OPTARG ;;
	k) keep=$OPTARG ;;
	*) sed -n '3p' "$0" | cut -c3- >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))

for tool in qemu-system-x86_64 busybox cpio; do
	command -v $tool >/dev/null || die "$tool is missing: run make deps"
done
[ -x "$O/tests/vm/race" ] || die "$O/tests/vm/race is missing: run make first"
work=${keep:-$(mktemp -d "${TMPDIR:-/tmp}/negative.XXXXXX")}
[ -n "$keep" ] || trap 'rm -rf "$work"' EXIT
mkdir -p "$work/logs"

# head_of PATCH FIELD
head_of() {
	sed -n "s/^$2: //p;/^---/q" "$1"
}

tree_ready() {
	local patches
	base_find
	mapfile -t patches < <(series_files)
	if [ ! -e "$work/linux/.ready" ]; then
		rm -rf "$work/linux"
		tree_make "$work/linux" "${patches[@]}" || return 1
		touch "$work/linux/.ready"
	fi
	[ -e "$work/obj/.config" ] ||
		config_make "$work/linux" "$work/obj" "$HERE/negative/negative.config"
}

tree_build() {
	make -C "$work/linux" O="$work/obj" -j"$(nproc)" bzImage >"$work/logs/build.log" 2>&1
}

# The test programs and an init that runs /cmd.
root_make() {
	local vm=$work/linux/tools/testing/selftests/vm name
	rm -rf "$work/root"
	mkdir -p "$work"/root/{bin,dev,proc,sys,tmp,t}
	cp "$(command -v busybox)" "$work/root/bin/"
	cp "$O/tests/vm/race" "$work/root/t/"
	for name in "${SELFTESTS[@]}"; do
		cc -O2 -static -I"$vm" -isystem "$TOP/kernel/uapi" -o "$work/root/t/uffd-move-$name" \
			"$TOP/kernel/selftests/uffd-move-$name.c" \
			"$TOP/kernel/selftests/uffd-move-util.c" -lpthread || return 1
	done
	cat >"$work/root/init" <<-'END'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		export PATH=/bin:/t UFFD_RELOCATE_VM=1 UFFD_MOVE_HWPOISON=1
		mount -t proc proc /proc
		mount -t sysfs sys /sys
		mount -t devtmpfs dev /dev
		mount -t debugfs debug /sys/kernel/debug
		mount -t tmpfs tmp /tmp
		mount -t cgroup2 cgroup /sys/fs/cgroup
		echo 192M >/sys/block/zram0/disksize
		mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
		cd /tmp
		sh /cmd 2>&1
		echo "=== log"
		dmesg | grep -E 'WARNING:|BUG:|kernel BUG|Bad (rss|page)|non-zero pgtables|Oops|INFO: task'
		echo "=== end"
		reboot -f
	END
	chmod +x "$work/root/init"
}

# What "Run:" says, as a script.
script_of() {
	local step what
	IFS=';' read -ra step <<<"$1"
	for what in "${step[@]}"; do
		# shellcheck disable=SC2086
		set -- $what
		case $1 in
		selftest) shift; printf '/t/uffd-move-%s\n' "$@" ;;
		race) echo "/t/race -r 5000 -l 40000 $2 $seconds" ;;
		esac
	done
}

# run_it NAME RUN: into logs/NAME.log
run_it() {
	local log=$work/logs/$1.log
	script_of "$2" >"$work/root/cmd"
	(cd "$work/root" && find . | cpio -o -H newc --quiet) >"$work/initrd"
	qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1G -display none \
		-serial stdio -monitor none -no-reboot \
		-kernel "$work/obj/arch/x86/boot/bzImage" -initrd "$work/initrd" \
		-append "console=ttyS0 loglevel=5 oops=panic panic=-1 mitigations=off no_timer_check" \
		</dev/null >"$log" 2>&1 &
	watch_it $! "$log"
}

# watch_it PID LOG: wait for the machine, and end it when it has said nothing for long.
watch_it() {
	local size last=-1 quiet=0
	while kill -0 "$1" 2>/dev/null; do
		size=$(stat -c %s "$2")
		[ "$size" != "$last" ] && quiet=0
		last=$size quiet=$((quiet + 1))
		if [ $quiet -gt $((QUIET_SECONDS + seconds)) ]; then
			kill "$1"
			break
		fi
		sleep 1
	done
	wait "$1" 2>/dev/null
}

# symptom NAME: what was wrong first, or nothing.
symptom() {
	local log=$work/logs/$1.log bad
	bad=$(grep -aE '^not ok|WARNING:|BUG:|kernel BUG|Bad (rss|page)|non-zero pgtables|Oops|INFO: task|Kernel panic' \
		"$log" | head -n 1 | tr -d '\r')
	[ -n "$bad" ] || grep -qa '=== end' "$log" || bad="the machine hangs or is dead"
	echo "${bad:0:120}"
}

if [ $# = 0 ]; then
	patches=("$HERE"/negative/*.patch)
else
	patches=()
	for name; do
		patches+=("$HERE/negative/$name.patch")
	done
fi
for patch in "${patches[@]}"; do
	[ -r "$patch" ] || die "there is no $patch"
done

echo "1..$((${#patches[@]} + 1))"
{ tree_ready && root_make && tree_build; } >&2 || die "cannot build the series: see $work/logs/build.log"
all=$(for patch in "${patches[@]}"; do head_of "$patch" Run; done)
programs=$(grep -oE 'selftest [a-z ]+' <<<"$all" | tr ' ' '\n' | grep -v selftest | sort -u | xargs)
rows=$(grep -oE 'race [0-9,]+' <<<"$all" | cut -d' ' -f2 | tr ',' '\n' | sort -nu | paste -sd,)
run_it control "${programs:+selftest $programs}${rows:+;race $rows}"
found=$(symptom control)
failed=0 n=1
if [ -z "$found" ]; then
	echo "ok 1 - the series as it is passes"
else
	echo "not ok 1 - the series as it is passes"
	echo "# $found"
	failed=1
fi

for patch in "${patches[@]}"; do
	name=$(basename "$patch" .patch)
	n=$((n + 1))
	found=''
	if ! patch -d "$work/linux" -p1 -f -s --no-backup-if-mismatch <"$patch" >&2; then
		found='' why="the patch does not apply"
	elif ! tree_build; then
		why="does not build: $(grep -m1 -E 'error' "$work/logs/build.log")"
	else
		run_it "$name" "$(head_of "$patch" Run)"
		found=$(symptom "$name") why="nothing found it"
	fi
	patch -d "$work/linux" -p1 -f -s -R --no-backup-if-mismatch <"$patch" >&2
	if [ -n "$found" ]; then
		echo "ok $n - $name: $(head_of "$patch" Run)"
		echo "# $found"
	elif [ "$(head_of "$patch" Caught)" = no ] && [ "$why" = "nothing found it" ]; then
		echo "ok $n - $name: not found, as is known # SKIP a test that finds it"
	else
		echo "not ok $n - $name"
		echo "# $why"
		failed=1
	fi
done
exit $failed
