#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# rows.sh selftest DIR | race ARGUMENT...: inside a machine, set up what the rows of UFFDIO_MOVE's
# tests need (swap, a file system that can do O_DIRECT), and run them.  The output is TAP.
#
# Swap is compressed memory at first; the programs whose rows are about swap are run once more with
# a disk in its place, which writes in the background and fills the swap cache.
set -uo pipefail

[ -n "${UFFD_RELOCATE_VM:-}" ] || { echo "rows.sh is for machines only: it changes swap" >&2; exit 2; }
export UFFD_MOVE_HWPOISON=1
count=0 failed=0

swap_zram() {
	echo 192M >/sys/block/zram0/disksize && mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
}

swap_disk() {
	[ -b /dev/vda ] && swapoff -a && mkswap /dev/vda >/dev/null && swapon /dev/vda
}

# A directory on ext4; tmpfs knows no O_DIRECT.
direct_dir() {
	truncate -s 48M /tmp/direct.img && mkfs.ext4 -q /tmp/direct.img && mkdir -p /tmp/direct &&
		mount -o loop /tmp/direct.img /tmp/direct && cd /tmp/direct || return 1
}

# program WHERE FILE: its rows, numbered on, with the place where they ran.
program() {
	local where=$1 file=$2 out=/tmp/out
	timeout 600 "$file" >$out 2>/tmp/err
	[ $? != 124 ] || echo "not ok 0 - $(basename "$file") is late" >>$out
	grep -qE '^(not )?ok ' $out || echo "not ok 0 - $(basename "$file") did not run" >>$out
	awk -v n=$count -v where="$where" '
		/^(not )?ok [0-9]+/ {
			n++
			text = $0
			sub(/^(not )?ok [0-9]+ */, "", text)
			# "# SKIP name: reason" has no name in front of it.
			name = ""
			if (match(text, /^# SKIP [a-z0-9_]+: /)) {
				name = substr(text, 8, RLENGTH - 9) " "
				text = "# SKIP " substr(text, RLENGTH + 1)
			}
			print ($1 == "not" ? "not ok " : "ok ") n " - " where ": " name text
			next
		}
		/^# .*:(row|Expected)|Test (terminated|failed)/ { print }' $out
	count=$((count + $(grep -cE '^(not )?ok [0-9]+' $out)))
	failed=$((failed + $(grep -cE '^not ok' $out)))
}

selftests() {
	local dir=$1 file
	direct_dir || echo "# no ext4: row 66 has to do without"
	swap_zram || echo "# no zram"
	for file in "$dir"/uffd-move-*; do
		program zram "$file"
	done
	if swap_disk; then
		program disk "$dir/uffd-move-swap"
		program disk "$dir/uffd-move-entry"
	else
		echo "# no disk to swap to"
	fi
	echo "1..$count"
	exit $((failed != 0))
}

case ${1:-} in
selftest)
	selftests "$2"
	;;
race)
	shift
	swap_zram || echo "# no zram"
	exec "$@"
	;;
*)
	sed -n '3p' "$0" >&2
	exit 2
	;;
esac
