#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The target changes its address space while pages are pending.
#
# The drain is held at its start, so every event happens with at least three quarters of the
# memory owed.  Each case is run twice: in "faults" the target looks at everything while the drain
# is still held, in "drain" it does not look before the drain has brought everything in.
# timeout: 600
. "$(dirname "$0")/lib.sh"
in_roots forky trixie

MIN=50000000

verify_all() {
	local slot
	want verify
	for slot in $SLOTS; do
		want child "$slot" verify
	done
}

# events HOW IMAGE COMMAND...: restore, do the commands with pages pending, verify.
events() {
	local how=$1 image=$2 cmd slot
	shift 2
	SLOTS=
	target_of "$image"
	hold_at drain-start
	pager_start
	criu_restore
	held
	for cmd; do
		[ "$image" = big ] || [[ $cmd == check* ]] || pending $((MIN / 2))
		case $cmd in
		child*verify*) want "$cmd" ;;
		*) ask "$cmd" ;;
		esac
		case $ANS in
		*bad=0* | *pages=* | *region=* | *pid=* | wipe*) ;;
		*) die "\"$cmd\" says: $ANS" ;;
		esac
		case $cmd in
		fork*) SLOTS="$SLOTS ${cmd#fork }" ;;
		child*fork*) SLOTS="$SLOTS ${cmd##*fork }" ;;
		child*exit*) slot=${cmd#child } SLOTS=${SLOTS/ ${slot%% *}/} ;;
		esac
	done
	[ "$how" = drain ] || verify_all
	release
	[ "$how" = drain ] || verify_all
	if [ -z "$SLOTS" ]; then
		pager_end
	else
		until_true "$WAIT" nothing_pending || die "the drain does not end"
	fi
	verify_all
	for slot in $SLOTS; do
		ask child "$slot" exit
		[[ $ANS == "exit bad=0" ]] || die "child $slot: $ANS"
	done
	target_end
	[ -z "$LPID" ] || pager_end
}

nothing_pending() {
	gone "$LPID" || [ "$(status_of pending_bytes 2>/dev/null)" = 0 ]
}

both() {
	local name=$1
	shift
	run_case "$name, then faults" events faults "$@"
	run_case "$name, then the drain" events drain "$@"
}

# ends COMMAND: the target goes away while pages are pending.
ends() {
	target_of events
	hold_at drain-start
	pager_start
	criu_restore
	held
	pending $MIN
	if [ "$1" = kill ]; then
		kill -9 "$RPID"
		until_true "$WAIT" gone "$RPID" || die "the killed target is still there"
	else
		ask "$1"
	fi
	if [ "$1" = exec ]; then
		want verify
	fi
	release
	pager_end
	[ "$1" != exec ] || { want verify; target_end; }
}

# churn OPTION...: random events with the drain running beside them.
churn() {
	target_of events
	pager_start "$@"
	criu_restore
	want churn "$RANDOM" 1500
	want verify
	want churn "$RANDOM" 1500
	want verify
	tell exit
	answer
	pager_end
}

# The drain meets the pages while they are on their way: between the move and its event a placement
# finds nothing at the old address, and must not conclude that nothing is owed.
shuffle() {
	local times=$1 i region empty=0
	shift
	target_of events
	for ((i = 0; i < times; i++)); do
		pager_start "$@"
		criu_restore
		for region in 0 1 2 3 0 1 2 3; do
			ask shuffle $region 50
			[[ $ANS == *pages=4096* ]] || die "$ANS"
		done
		empty=$((empty + $(grep -ac 'registered no more' "$D/work/lazy.log" || :)))
		pager_end
		want verify
		target_end
	done
	note "old addresses found empty: $empty"
}

on_demand() {
	[ "$PAGER" = ours ] || skip "stock lazy-pages always drains"
	target_of events
	pager_start --no-drain
	criu_restore
	want check 0 0 16
	pending $MIN
	want churn 3 500
	pending 1000000
	# Pages are placed to find out which process a child is: one, or 20 if that does not tell.
	[ "$(status_of copied_drain_bytes)" -le $((4096 * 20 * (1 + $(status_of events_fork)))) ] ||
		die "the drain ran"
	want verify
	target_end
	pager_end
}

run_case "dump of the target" prepare events victim_events -r 4 -m 16
both "MADV_DONTNEED" events "dontneed 0 0 4096" "dontneed 1 100 50" "dontneed 3 4095 1"
both "discard and rewrite" events "discard_rewrite 1 0 2000" "discard_rewrite 2 4000 96"
both "MADV_FREE" events "free 2 0 1000" "free 1 4000 96"
both "munmap" events "unmap 0 1000 1000" "unmap 1 0 4096" "unmap 2 4000 96"
both "mremap to a new place" events "move 1 0 2048" "move 2 1000 500" "move 5 100 50"
both "mremap over other pages" events "move_over 0 0 1000 1 500" "move_over 2 0 500 0 2000"
both "mremap with DONTUNMAP" events "dontunmap 2 0 4096" "dontunmap 0 50 60" "rewrite 2 10 100"
both "mremap grows and shrinks" events "grow 3 4096" "rewrite 3 5000 10" "shrink 2 1000"
both "mremap shrinks and grows back in place" events "shrink 2 1000" "grow 2 1000"
both "moved, then discarded" events "move 0 0 4096" "dontneed 4 0 2000" "move 4 1000 2000" \
	"discard_rewrite 5 500 700"
both "WIPEONFORK" events "wipeonfork 1" "fork 1" "child 1 wiped 1"
both "fork" events "fork 1"
both "fork, then parent and child go apart" events "dontneed 0 0 1000" "fork 1" \
	"dontneed 1 0 2048" "child 1 dontneed 2 0 2048" "child 1 move 3 0 2048" "rewrite 3 0 100"
both "grandchildren" events "fork 1" "child 1 fork 2" "child 2 fork 3" "child 2 dontneed 0 0 4096" \
	"child 3 move 1 0 4096"
both "a child ends, its child lives on" events "fork 1" "child 1 fork 2" "child 1 exit" "reap"
both "guard pages" events "guard 0 100 200" "guard 1 0 1" "check 2 0 64" "guard 2 0 64" \
	"unguard 2 0 64"
both "new threads" events "threads 8"
run_case "exec" ends exec
run_case "exit" ends exit
run_case "killed" ends kill
run_case "random events beside the drain" churn
run_case "random events beside a slow drain" churn --rate 20M
run_case "pages on the move beside the drain" shuffle 16
run_case "pages on the move beside a slower drain" shuffle 4 --rate 100M
run_case "random events, on demand only" on_demand
run_case "dump of a target of 5 GiB" prepare big victim_events -r 1 -m 4 -b 5
both "discard of 3 GiB" big "dontneed 1 1024 786432" "rewrite 1 2048 1"
both "munmap of 3 GiB" big "unmap 1 1024 786432"
both "mremap of 2.5 GiB" big "move 1 2048 655360"
both "mremap of 2.5 GiB with DONTUNMAP" big "dontunmap 1 2048 655360"
all_done
