#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The functional rows of UFFDIO_MOVE (kernel/selftests) on the patched kernel, or on VARIANT.
# timeout: 3600
. "$(dirname "$0")/lib.sh"
. "$TOP/kernel/lib.sh"

image=$(vm_image "${VARIANT:-patched}") || { echo "$image"; exit 1; }
case $image in /*) ;; *) echo "$image"; exit 0 ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/uffd-relocate-vm.XXXXXX")
# shellcheck disable=SC2064
trap "rm -rf '$work'" EXIT

# As kselftest's Makefile does it, with the headers of the series.
base_find
vm=$(base_tree)/tools/testing/selftests/vm
mkdir -p "$O/tests/vm/selftests"
for file in "$TOP"/kernel/selftests/uffd-move-*.c; do
	name=$(basename "$file" .c)
	[ "$name" != uffd-move-util ] || continue
	cc -Wall -O2 -static -I"$vm" -isystem "$TOP/kernel/uapi" -o "$O/tests/vm/selftests/$name" \
		"$file" "$TOP/kernel/selftests/uffd-move-util.c" -lpthread || {
		echo "1..1"
		echo "not ok 1 - $name builds"
		exit 1
	}
done

vm_boot "$image" "$work/log" -t 1500 -b 256 -a numa=fake=2 -- \
	"$TOP/tests/vm/rows.sh" selftest "$O/tests/vm/selftests" 2>"$work/err" |
	tee "$work/out" | sed -u '/^1\.\./d'
vm_verdict "$work" "${PIPESTATUS[0]}"
exit 0
