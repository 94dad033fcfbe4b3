#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The rows of UFFDIO_MOVE, functional and races, on a kernel with KASAN, DEBUG_VM and
# PAGE_TABLE_CHECK.  The other debug kernels are for `make stress`.
# timeout: 2400
export VM_VARIANT=kasan RACE_SECONDS=1
here=$(dirname "$0")
count=0
for test in selftest race; do
	out=$("$here/$test.t" 2>&1)
	# One numbering for both.
	awk -v n=$count -v test=$test '
		/^(not )?ok [0-9]+/ {
			n++
			sub(/^(not )?ok [0-9]+/, ($1 == "not" ? "not ok " : "ok ") n)
			sub(/ - /, " - " test ": ")
			print
			next
		}
		/^1\.\.0/ { print "ok " ++n " - " test " " substr($0, 6); next }
		!/^1\.\./' <<<"$out"
	count=$((count + $(grep -cE '^(not )?ok [0-9]+|^1\.\.0' <<<"$out")))
done
echo "1..$count"
