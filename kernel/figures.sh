#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# figures.sh NAME=IMAGE...: guest instructions per 4 KiB page of UFFDIO_MOVE, mremap, fork and
# reclaim on each kernel, side by side.
#
#	kernel/figures.sh base=$(kernel/build.sh base) patched=$(kernel/build.sh patched)
#
# QEMU counts: with -icount a nanosecond of the guest is one instruction, on one CPU.  The same
# kernel gives the same figures but for a few per cent where timer ticks fall.  movecost runs twice
# and its second run is shown, when page tables exist.  After the first kernel, each figure has its
# ratio to the first's.
#
# NAME=@IMAGE is for kernels that boot.sh cannot boot, such as Debian's cloud kernels: an initramfs
# is enough for these.  Without zram in the kernel the cases that need swap say so.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
MEMORY=2048 SECONDS_MAX=${SECONDS_MAX:-900}

say() { echo "kernel/figures.sh: $*" >&2; }
die() { say "$@"; exit 1; }

need() {
	command -v "$1" >/dev/null || die "$1 is not installed: apt-get install $2"
}

programs() {
	local program
	mkdir "$tmp/bin"
	for program in movecost pathcost; do
		cc -O2 -static -o "$tmp/bin/$program" "$HERE/figures/$program.c"
	done
	cat >"$tmp/bin/all" <<-'END'
		#!/bin/sh
		mkdir /sys/fs/cgroup/cost
		movecost >/dev/null
		echo FIGURES
		movecost
		pathcost
		echo END
	END
	chmod +x "$tmp/bin/all"
}

initramfs() {
	local root=$tmp/root applet
	[ ! -e "$tmp/initramfs" ] || return 0
	need busybox busybox-static
	need cpio cpio
	mkdir -p "$root"/{proc,sys,dev}
	cp -r "$tmp/bin" "$root/"
	cp "$(command -v busybox)" "$root/bin/"
	for applet in sh mount mkdir echo mkswap swapon reboot; do
		ln -s busybox "$root/bin/$applet"
	done
	cat >"$root/init" <<-'END'
		#!/bin/sh
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs dev /dev
		mount -t cgroup2 cgroup /sys/fs/cgroup && echo +memory >/sys/fs/cgroup/cgroup.subtree_control
		if [ -e /sys/block/zram0/disksize ]; then
			echo 1500M >/sys/block/zram0/disksize
			mkswap /dev/zram0
			swapon /dev/zram0
		fi >/dev/null
		all
		reboot -f
	END
	chmod +x "$root/init"
	(cd "$root" && find . | cpio -o -H newc --quiet) >"$tmp/initramfs"
}

KERNEL_WORDS="mitigations=off transparent_hugepage=madvise"

by_initramfs() {
	initramfs
	timeout "$SECONDS_MAX" qemu-system-x86_64 -accel tcg,thread=single \
		-icount shift=0,sleep=off -smp 1 -cpu max -m "$MEMORY" -nodefaults -display none \
		-serial stdio -no-reboot -kernel "$1" -initrd "$tmp/initramfs" \
		-append "console=ttyS0 quiet panic=-1 $KERNEL_WORDS" </dev/null 2>&1 || true
}

by_boot() {
	"$HERE/boot.sh" -l -t "$SECONDS_MAX" -m "$MEMORY" -i 0 -z 1500 -a "$KERNEL_WORDS" -d "$tmp/bin" \
		"$1" env PATH="/mnt/share:$PATH" all 2>&1 || true
}

# run IMAGE: its lines, "case<TAB>figure".
run() {
	case $1 in
	@*) by_initramfs "${1#@}" ;;
	*) by_boot "$1" ;;
	esac >"$tmp/out"
	grep -q '^END' "$tmp/out" || { tail -n 20 "$tmp/out" >&2; die "$1 did not come to its end"; }
	tr -d '\r' <"$tmp/out" | sed '0,/^FIGURES/d; /^END/,$d' |
		sed -nE 's/^(.*) (per_page|call)=([0-9.]+)( .*)?$/\1 \2\t\3\4/p; s/^(.*) (error=.*)$/\1 per_page\t-/p'
}

[ $# -gt 0 ] || { sed -n '3,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
need qemu-system-x86_64 qemu-system-x86
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
programs
names=()
for arg; do
	name=${arg%%=*}
	names+=("$name")
	image=${arg#*=}
	[ -e "${image#@}" ] || die "there is no ${image#@}"
	say "$name: $image"
	run "$image" | sed "s/^/$name\t/" >>"$tmp/all"
done
awk -F'\t' -v names="${names[*]}" '
	{ if (!($2 in seen)) { seen[$2] = ++n; cases[n] = $2 }
	  split($3, word, " "); value[$1, $2] = word[1]; rest[$1, $2] = substr($3, length(word[1]) + 1) }
	END {
		split(names, name, " ")
		printf "%-44s", "instructions (per_page: per 4 KiB)"
		for (i = 1; i in name; i++) printf("%10s%8s", name[i], (i > 1 ? "ratio" : ""))
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
