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
	what='ls'
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
vma 0x10000010000 8
vma 0x10000020000 8
vma 0x7fffffff8000 6
entry 0x10000000000 24 ls
entry 0x10000021000 2 ls
entry 0x7fffffff9000 5 ls
END
whole "an entry over three VMAs, and one right below 2^47" all 30

many() {
	local vpid
	for vpid in 10 20 30 40 50; do
		printf 'task %u\nvma 0x2%u00000000 40\nentry 0x2%u00001000 32 ls\n' $vpid $vpid $vpid
	done
	printf 'zombie 60\nzombie 61\n'
}
image < <(many)
whole "five tasks and two zombies" all 10 20 30 40 50
ok "all seven were counted" eval '! logged "restore is complete after"'
whole "the same backwards" reverse 10 20 30 40 50

serve
restorer
cmds connect "zombie 61" "task 40" "task 10"
ok "before the last task has come: a fault of the second is answered" \
	gives "right *" "do 10 touch 0x21000001000"
ok "... and of the first" gives "right *" "do 40 touch 0x24000020000"
ok "... a hole is zeros" gives "right *" "do 40 touch 0x24000000000"
ok "... and nothing else is brought in" gives 2 "present 40"
cmds "task 50" "task 20" "zombie 60" "task 30" magic close
ok "... all of them afterwards" right 50 40 30 20 10
ok "... exit 0" exits 0

free=$(($(cat /proc/sys/kernel/pid_max) - 1))
while [ -e /proc/$free ]; do free=$((free - 1)); done
image <<END
task $free
vma 0x10000000000 64
entry 0x10000000000 64 ls
END
serve
restorer -n
cmds connect all magic close
ok "a task of our own pid namespace" right $free
ok "... exit 0" exits 0

image <<END
sparse 1000
task 9
vma 0x30000000000 790528
vma 0x38000000000 65536
entry 0x30000001000 700000 ls
entry 0x300bb800000 20000 ls
entry 0x38000000000 65536 ls
END
serve --no-drain
restorer
ok "2.7 GiB in one entry: handed over" cmds connect all magic close
ok "... the total" wait_for 10 sums total_bytes $(((700000 + 20000 + 65536) * 4096))
page() { printf '%#x' $((0x30000001000 + $1 * 4096)); }
for at in 0 1000 524000 525000 699000 699999; do
	ok "... page $at" gives "right *" "do 9 touch $(page $at)"
done
ok "... a hole of the pages file is zeros" gives "right *" "do 9 touch $(page 524288)"
ok "... nothing before the entry" gives "right *" "do 9 touch 0x30000000000"
ok "... nothing after it" gives "right *" "do 9 touch $(page 700000)"
ok "... the second entry" gives "right *" "do 9 touch 0x300bb800000"
ok "... discarding 2.4 GiB at once" gives "right *" "do 9 drop 0x30000001000 630000"
# Some pages of it were there: those touched, and a few that showed which process it is.
gone=$(($(sum discarded_bytes) / 4096))
ok "... counts as what it was" [ $gone -gt $((630000 - 32)) -a $gone -le $((630000 - 5)) ]
adds_up() {
	local n=0 key
	for key in pending discarded copied_fault copied_around copied_drain; do
		n=$((n + $(sum ${key}_bytes)))
	done
	[ $n = "$(sum total_bytes)" ] || { echo "# the parts are $n"; return 1; }
}
ok "... the parts add up" adds_up
ok "... and reads as zeros" gives "right *" "do 9 touch $(page 1000)"
ok "... what lies behind it is still owed" gives "right *" "do 9 touch $(page 699000)"
quit
ok "... a target that ends needs nothing: exit 0" exits 0
finish
