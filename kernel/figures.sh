#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# figures.sh [NAME=]IMAGE...: guest instructions per 4 KiB page of UFFDIO_MOVE, mremap, fork and
# reclaim on each kernel, side by side.
#
#	kernel/figures.sh base=$(kernel/build.sh base) patched=$(kernel/build.sh patched)
#
# QEMU counts: with -icount a nanosecond of the guest is one instruction, on one CPU.  The same
# kernel gives the same figures but for a few per cent where timer ticks fall.  movecost runs twice
# and its second run is shown, when page tables exist.  After the first kernel, each figure has its
# ratio to the first's.  An image is a bzImage with the serial console built in; without zram in it
# the cases that need swap say so.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
MEMORY=2G SECONDS_MAX=${SECONDS_MAX:-900}

say() { echo "kernel/figures.sh: $*" >&2; }
die() { say "$@"; exit 1; }

need() {
	command -v "$1" >/dev/null || die "$1 is not installed: apt-get install $2"
}

initramfs() {
	local root=$tmp/root applet
	mkdir -p "$root"/{bin,proc,sys,dev}
	cp "$(command -v busybox)" "$root/bin/"
	for applet in sh mount mkdir echo mkswap swapon reboot; do
		ln -s busybox "$root/bin/$applet"
	done
	for program in movecost pathcost; do
		cc -O2 -static -o "$root/bin/$program" "$HERE/figures/$program.c"
	done
	cat >"$root/init" <<-'END'
		#!/bin/sh
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs dev /dev
		if mount -t cgroup2 cgroup /sys/fs/cgroup; then
			echo +memory >/sys/fs/cgroup/cgroup.subtree_control
			mkdir /sys/fs/cgroup/cost
		fi
		if [ -e /sys/block/zram0/disksize ]; then
			echo 1500M >/sys/block/zram0/disksize
			mkswap /dev/zram0
			swapon /dev/zram0
		fi >/dev/null
		movecost >/dev/null
		echo FIGURES
		movecost
		pathcost
		echo END
		reboot -f
	END
	chmod +x "$root/init"
	(cd "$root" && find . | cpio -o -H newc --quiet) >"$tmp/initramfs"
}

# run IMAGE: its lines, "case<TAB>figure".
run() {
	timeout "$SECONDS_MAX" qemu-system-x86_64 -accel tcg,thread=single \
		-icount shift=0,sleep=off -smp 1 -cpu max -m "$MEMORY" -nodefaults -display none \
		-serial stdio -no-reboot -kernel "$1" -initrd "$tmp/initramfs" \
		-append "console=ttyS0 quiet panic=-1 mitigations=off transparent_hugepage=madvise" \
		</dev/null >"$tmp/out" 2>&1 || true
	grep -q '^END' "$tmp/out" || { tail -n 20 "$tmp/out" >&2; die "$1 did not come to its end"; }
	tr -d '\r' <"$tmp/out" | sed '1,/^FIGURES/d; /^END/,$d' |
		sed -nE 's/^(.*) (per_page|call)=([0-9.]+)( .*)?$/\1 \2\t\3\4/p; s/^(.*) (error=.*)$/\1 per_page\t-/p'
}

[ $# -gt 0 ] || { sed -n '3,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
need qemu-system-x86_64 qemu-system-x86
need busybox busybox-static
need cpio cpio
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
initramfs
names=()
for arg; do
	name=${arg%%=*}
	names+=("$name")
	[ -e "${arg#*=}" ] || die "there is no ${arg#*=}"
	say "$name: ${arg#*=}"
	run "${arg#*=}" | sed "s/^/$name\t/" >>"$tmp/all"
done
awk -F'\t' -v names="${names[*]}" '
	{ if (!($2 in seen)) { seen[$2] = ++n; cases[n] = $2 }
	  split($3, word, " "); value[$1, $2] = word[1]; rest[$1, $2] = substr($3, length(word[1]) + 1) }
	END {
		split(names, name, " ")
		printf "%-44s", "instructions (per_page: per 4 KiB)"
		for (i = 1; i in name; i++) printf "%10s%8s", name[i], i > 1 ? "ratio" : ""
		print ""
		for (c = 1; c <= n; c++) {
			printf "%-44s", cases[c]
			first = value[name[1], cases[c]]
			for (i = 1; i in name; i++) {
				v = value[name[i], cases[c]]
				ratio = i > 1 && first > 0 && v > 0 ? sprintf("%.3f", v / first) : ""
				printf "%10s%8s%s", v == "" ? "-" : v, ratio, rest[name[i], cases[c]]
			}
			print ""
		}
	}' "$tmp/all"
