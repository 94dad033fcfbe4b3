#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 600
# move: whatever cannot be moved is named beforehand with its first address, nothing is moved then;
# with --partial exactly what comes before it is moved, and the page that stopped it is named.
. "$(dirname "$0")/lib.sh"
needs_move

N=64
# stops NAME K SIDE WHY-BEFORE WHY-AT-THE-PAGE: moving area 0 to area 1 stops at page K.
stops() {
	local name=$1 k=$2 side=$3 before=$4 at_page=$5 where had pages
	where=$(addr $((side == 1)) "$k")
	had=$(there 1 0 $N)
	snapshot >"$tmp/before"
	run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" $((N * page)) --dry-run
	ok "$name: --dry-run has status 1" is 1
	ok "$name: ... and says where and why" says "$where: $before"
	run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" $((N * page))
	ok "$name: without --partial: status 1" is 1
	ok "$name: ... says where and why" says "$where: $before"
	ok "$name: ... nothing has moved" test "$(there 1 0 $N)" = "$had"
	pages=$(ask verify; of pages)
	run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" $((N * page)) --partial --json
	ok "$name: --partial: status $((k ? 4 : 1))" is $((k ? 4 : 1))
	ok "$name: ... exactly what comes before it has moved" out_has "\"moved_bytes\":$((k * page)),"
	ok "$name: ... the page that did not is named" out_has "\"stopped_at\":{\"src\":$((at[0] + k * page)),\"dst\":$((at[1] + k * page))}"
	ok "$name: ... and why" grep -qF -- "the page at $(addr 0 "$k") does not move to $(addr 1 "$k"): $at_page" "$tmp/err"
	[ "$k" = 0 ] || ask take 0 0 1 0 "$k"
	ok "$name: ... every byte is right" verified "$pages"
	snapshot >"$tmp/after"
	ok "$name: ... the process is as it was" cmp "$tmp/before" "$tmp/after"
}
# two [FLAGS]... -- [FLAGS]...: a victim with areas 0 and 1, the first filled.
two() {
	local a=()
	while [ "$1" != -- ]; do a+=("$1"); shift; done
	shift
	victim_start
	area 0 $N "${a[@]}"
	area 1 $N "$@"
}
done_with() { ok "$1: the victim ends well" victim_end; }

two --
ask fill 0
ask discard 0 5 2
run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 256K --dry-run --json
ok "JSON tells of it, too" out_has "\"issues\":[{\"range\":0,\"side\":\"src\",\"address\":$((at[0] + 5 * page)),\"bytes\":8192,\"why\":\"never touched"
stops "a hole" 5 0 "never touched" "the source has no page there"
ask discard 1 0 $N
done_with "a hole"

two --
ask fill 0
ask fill 1 30 1
stops "a destination in use" 30 1 "not empty" "the destination is not empty"
done_with "a destination in use"

two --
ask fill 0
ask fork
ask fill 0 0 20
stops "shared with a child" 20 0 "shared by a fork" "it is shared with another process since a fork"
ask unfork
done_with "shared with a child"

two --
ask fill 0
ask fork
ask unfork
ask fill 0 0 20
if [ -r /proc/kpageflags ]; then
	stops "once shared with a child" 20 0 "shared by a fork" "it is shared with another process since a fork"
else
	skip "/proc/kpageflags cannot be read"
fi
done_with "once shared with a child"

two --
ask fill 0
ask guard 0 12
if [ "$(of error)" = 0 ]; then
	stops "a guard page in the source" 12 0 "guard pages" "a guard page cannot be moved"
	done_with "a guard page in the source"
	two --
	ask fill 0
	ask guard 1 13
	stops "a guard page at the destination" 13 1 "not empty" "a guard page stands at the destination"
	done_with "a guard page at the destination"
else
	skip "the kernel has no guard pages"
	done_with "no guard pages"
fi

# Pins do not show before.
two --
ask fill 0
ask pin 0 40
if [ "$(of error)" = 0 ]; then
	run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" $((N * page))
	ok "pinned: status 4" is 4
	ok "pinned: said where, why and how much" says "the page at $(addr 0 40) does not move to $(addr 1 40): it is pinned for input or output"
	ok "pinned: ... how much" says "; $((40 * page)) of $((N * page)) bytes were moved, all before it"
	ask take 0 0 1 0 40
	ok "pinned: every byte is right" verified $N
	ask unpin
	moves_on() {
		run move -p "$victim" "$(addr 0 40)" "$(addr 1 40)" $(((N - 40) * page))
		[ "$status" = 0 ]
	}
	# The pin is given back a moment later, by a worker of the kernel.
	ok "pinned: once it is not, it goes on from there" wait_for 30 moves_on
	ask take 0 40 1 40 $((N - 40))
	ok "pinned: every byte is right" verified $N
else
	skip "io_uring cannot be used here"
fi
done_with "pinned"

two --
ask fill 0
ask merge 0 33 8
ksm=/sys/kernel/mm/ksm/run
ksm_was=$(cat $ksm 2>/dev/null)
merged() { ask ksmkb 0; [ "$(of kb)" -ge 32 ]; }
if [ "$(of error)" = 0 ] && { echo 1 >$ksm; } 2>/dev/null; then
	wait_for 60 merged
	merged=$?
	[ "$ksm_was" = 1 ] || echo "${ksm_was:-0}" >$ksm
	if [ $merged = 0 ]; then
		stops "merged by KSM" 33 0 "merged by KSM" "it is merged by KSM"
	else
		skip "ksmd has merged nothing within a minute"
	fi
else
	skip "the kernel has no KSM"
fi
done_with "merged by KSM"

victim_start
area 0 1024 huge
area 1 1024 huge
ask fill 0
ask hugekb 0
huge=$(of kb)
ask pin 0 700
if [ "$(of error)" = 0 ] && [ "$huge" = 4096 ]; then
	run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 4M
	ok "a huge page pinned in part: status 4" is 4
	ok "... it is named" says "the page at $(addr 0 512) does not move to $(addr 1 512): it is pinned"
	ok "... the one before has moved" test "$(there 1 0 1024) $(there 0 0 1024)" = "512 512"
	ask hugekb 1
	ok "... and is huge" test "$(of kb)" = 2048
	ask take 0 0 1 0 512
	ok "... every byte is right" verified 1024
	ask unpin
else
	skip "no huge pages, or no io_uring here"
fi
done_with "pinned in part"

# What an area is not fit for.
two ro --
stops "read-only" 0 0 "not writable" "not writable"
done_with "read-only"
for kind in shared file; do
	two $kind --
	ask fill 0
	why="of a file"
	[ $kind = file ] || why="shared memory"
	stops "$kind" 0 0 "$why" "$why"
	done_with $kind
done
two -- ro
ask fill 0
stops "a read-only destination" 0 1 "not writable" "not writable"
done_with "a read-only destination"
two rwx --
ask fill 0
stops "another access" 0 1 "source and destination differ in what access they allow" "source and destination differ"
done_with "another access"
two locked --
ask fill 0
stops "a locked source" 0 1 "only the source is locked" "only the source is locked"
done_with "a locked source"
two -- dontneed
ask fill 0
stops "a locked destination" 0 1 "only the destination is locked" "only the destination is locked"
done_with "a locked destination"
two --
ask fill 0
ask watch 1
stops "a userfaultfd of its own" 0 1 "registered with a userfaultfd of the process's own" "registered with a userfaultfd"
ask unwatch
run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 256K
ok "a userfaultfd of its own: without it, it moves" is 0
ask take 0 0 1 0 $N
ok "a userfaultfd of its own: every byte is right" verified $N
done_with "a userfaultfd of its own"

# An area that begins in the middle of the range and is not fit.
two --
area 2 $N
ask fill 0
ask drop 2
vdso=$(sed -n 's/-.*\[vdso\]$//p' "/proc/$victim/maps")
run move -p "$victim" "0x$vdso" "$(addr 1 0)" 4K
ok "the vdso does not move" says "source 0x$vdso: the kernel's or a driver's own"
run move -p "$victim" "$(printf '%#x' "${at[2]}")" "$(addr 1 0)" 4K
ok "nothing is mapped at the source: status 1" is 1
run move -p "$victim" 0x10000 "$(addr 1 0)" 4K
ok "... said" says "source 0x10000: no memory is mapped there"
run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" $(((N + 1) * page))
ok "a range longer than its areas: status 1" is 1
ok "... nothing has moved" test "$(there 1 0 $N)" = 0
run move -p 2147483647 0x10000 0x20000 4K
ok "no such process: status 1" is 1
ok "... said" says "there is none"
run move -p 2 0x10000 0x20000 4K
ok "a kernel thread: status 1" is 1
ok "every byte is right" verified $N
ok "the victim ends well" victim_end

# A kernel without it.
two --
ask fill 0
timeout 60 "$O/tests/deny/deny" ioctl:UFFDIO_MOVE -- "$bin" move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 256K >"$tmp/out" 2>"$tmp/err"
status=$?
ok "no UFFDIO_MOVE: status 3" is 3
ok "... named" says "the kernel has no UFFDIO_MOVE"
timeout 60 "$O/tests/deny/deny" -e EPERM ptrace -- "$bin" move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 256K >"$tmp/out" 2>"$tmp/err"
status=$?
ok "ptrace is refused: status 1" is 1
ok "... named" says "no agent can be placed"
ok "nothing has moved" test "$(there 1 0 $N)" = 0
done_with "what is refused"
finish
