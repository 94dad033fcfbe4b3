#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A placement is parked between decision and ioctl while the target discards, rewrites, moves or
# forks the very pages.  No discarded byte may come back (and EAGAIN, which the parked ioctl then
# gets, is no error).
#
# The drain follows the last fault, so a page of region 2 is touched last; the twentieth placement
# then lies inside region 2, whichever way the batches are cut.
# timeout: 300
. "$(dirname "$0")/lib.sh"
in_roots forky trixie

blocked() {
	local nr
	read -r -t 0 -u 9 && return 0
	read -r nr _ <"/proc/$RPID/syscall" || return 1
	case $nr in
	28 | 25 | 56 | 57 | 58 | 11 | -1) return 0 ;;	# madvise mremap clone fork vfork munmap
	esac
	return 1
}

# parked COMMAND [MORE...]: the first while a placement is parked, the others afterwards.
parked() {
	local first=$1 step children="" slot
	shift
	target_of events
	hold_at drain-start
	UFFD_RELOCATE_FAULT="$UFFD_RELOCATE_FAULT,drain-place@20=hold:$D/hold"
	pager_start
	criu_restore
	held
	# What the command itself needs is fetched before, so that only its own call can block.
	ask dontneed 3 4095 1
	want check 3 4000 1
	ask guard 3 4000 1
	ask unguard 3 4000 1
	ask dontunmap 3 3000 2
	ask warm
	want check 2 100 1
	release
	held
	pending 10000000
	tell "$first"
	until_true "$WAIT" blocked || die "the target neither waits nor goes on"
	if read -r -t 0 -u 9; then
		note "the target went on"
	else
		note "the target waits in system call $(cut -d ' ' -f 1 "/proc/$RPID/syscall")"
	fi
	release
	answer
	case $first in
	fork*)	children=${first#fork } ;;
	esac
	for step; do
		ask "$step"
	done
	if [ -z "$children" ]; then
		pager_end
	fi
	want verify
	for slot in $children; do
		want child "$slot" verify
		ask child "$slot" exit
	done
	target_end
	[ -z "$LPID" ] || pager_end
}

run_case "dump of the target" prepare events victim_events -r 4 -m 16
run_case "parked while pages are discarded" parked "dontneed 2 0 4096"
run_case "parked while pages are discarded and a few rewritten" parked "dontneed 2 0 4096" \
	"rewrite 2 3000 100"
run_case "parked while pages are discarded and rewritten" parked "discard_rewrite 2 0 4096"
run_case "parked while pages are moved away (DONTUNMAP)" parked "dontunmap 2 0 4096"
run_case "parked while pages are moved away" parked "move 2 0 4096"
run_case "parked while pages are unmapped" parked "unmap 2 0 4096"
run_case "parked while other pages are moved over these" parked "move_over 1 0 4096 2 0"
run_case "parked while the target forks" parked "fork 1" "dontneed 2 0 4096" \
	"child 1 rewrite 2 0 100"
all_done
