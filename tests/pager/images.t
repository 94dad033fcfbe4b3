#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 120
# What is owed: levels of parents, old and new page counts, large ranges, several tasks.
. "$(dirname "$0")/lib.sh"

# whole SPEC-NAME ORDER VPID...: restore, verify all in the tasks, end well.
whole() {
	local name=$1 order=$2
	shift 2
	ok "$name: the pager listens" serve
	restorer
	ok "$name: handed over" cmds connect "$order" magic close
	ok "$name: every page as in the image" right "$@"
	ok "$name: exit 0" exits 0
	ok "$name: nothing on stderr" silent
}

for style in old 317 42; do
	# Without flags every entry of an old image is stored and none is lazy.
	what=ls
	[ $style != old ] || what=s
	image <<-END
		style $style
		task 77
		vma 0x10000000000 64
		vma 0x10000100000 16
		entry 0x10000000000 3 $what
		entry 0x10000005000 40 $what
		entry 0x10000100000 16 $what
	END
	if [ $style = old ]; then
		serve
		restorer
		cmds connect all magic close
		ok "style old: nothing is lazy there, so nothing is owed" exits 0
		ok "style old: ... and it was not put anywhere" gives "0" present 77
	else
		whole "style $style" all 77
	fi
done

image <<END
task 5
vma 0x10000000000 128
level 0
entry 0x10000000000 8 ls
entry 0x10000008000 24 pl
entry 0x10000020000 4 p
entry 0x10000024000 4 s
entry 0x10000028000 60 pl
level 1
entry 0x10000000000 2 ls
entry 0x10000004000 12 ls
entry 0x10000010000 28 p
entry 0x1000002c000 60 ls
level 2
entry 0x10000008000 9 s
entry 0x10000011000 40 pl
level 3
entry 0x1000000a000 70 ls
END
whole "parents three deep" all 5
ok "PARENT or PRESENT without LAZY are not owed" \
	logged "task 5: uffd [0-9]+, owed $(((8 + 24 + 60) * 4096)) bytes"

image <<END
task 30
vma 0x10000000000 8
vma 0x10000008000 8
vma 0x10000010000 8 0x2022
vma 0x10000018000 8
entry 0x10000000000 32 ls
END
serve
restorer
ok "an entry over four VMAs: handed over" cmds connect all magic close
ok "one of them is locked: the other three are owed" logged "owed $((24 * 4096)) bytes"
ok "the third is not registered, and not filled" gives "wrong 8*zero*" do 30 verify || :
