#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# SIGKILL to the pager, to the keeper, and to both in turn, at random times and at named phases,
# while the target works on its memory.  No wrong byte, every run ends.
#
# A kill counts only when at least a quarter of the memory was still owed afterwards and another
# pager's pid was seen then.  The last row demands $KILLS of them in each root.
# timeout: 600
. "$(dirname "$0")/../e2e/lib.sh"
in_roots forky trixie

KILLS=${KILLS:-100}
QUARTER=$((64 * 1024 * 1024 / 4))
COUNT=/mnt/w/kills

# another_pager OLD: a pager with another pid answers.
another_pager() { look && [ "$PAGER_PID" != "$1" ]; }

doze() { # MILLISECONDS: when to kill is up to chance
	local s
	printf -v s '0.%03d' "$1"
	read -r -t "$s" <> <(:) || :
}

# kill_one WHOM: kill, wait for the successor, count.
kill_one() {
	local old old_keeper
	until_true 10 look || die "no status"
	old=$PAGER_PID old_keeper=$KEEPER_PID
	case $1 in
	pager)	kill -9 "$old" ;;
	keeper)	kill -9 "$old_keeper" ;;
	esac
	until_true 10 another_pager "$old" || die "nobody took over from $1 (pager $old)"
	[ "$1" = pager ] || [ "$KEEPER_PID" != "$old_keeper" ] || die "the killed keeper answers"
	if [ "$PENDING" -ge $QUARTER ]; then
		KILLED=$((KILLED + 1))
		PIDS="$PIDS $1:$old>$PAGER_PID"
	fi
}

# ended: everything of ours is gone, however often its pids changed.
ended() {
	local pid
	for pid in /proc/[0-9]*; do
		pid=${pid#/proc/}
		[ "$(readlink "/proc/$pid/exe" 2>/dev/null)" != "$(realpath "$UR")" ] ||
			gone "$pid" || return 1
	done
}

finish() { # by faults, or by a drain without a limit
	if [ "$1" = faults ]; then
		want verify
	else
		look && kill -TERM "$KEEPER_PID"
		until_true "$WAIT" ended || die "the drain does not end after SIGTERM"
		want verify
	fi
	target_end
	until_true "$WAIT" ended || die "the pager does not end"
	PIDS=${PIDS# }
	note "kills counted: $KILLED; $(fold -s -w 90 <<<"$PIDS" | sed '2,$s/^/#   /')"
	echo "$KILLED" >>"$COUNT"
}

# sweep_random HOW N WHOM...: N kills of the given ones in turn at random times.
sweep_random() {
	local how=$1 n=$2 i whom
	shift 2
	KILLED=0 PIDS=
	target_of events
	pager_start --rate 4M
	criu_restore
	for ((i = 0; i < n; i++)); do
		tell churn "$((RANDOM * 1000 + i))" 60
		doze $((RANDOM % 25))
		whom=$1
		shift
		set -- "$@" "$whom"
		kill_one "$whom"
		answer
		[[ $ANS == *" bad=0"* ]] || die "after a kill of the $whom: $ANS"
	done
	[ "$KILLED" = "$n" ] || die "only $KILLED of $n kills count"
	finish "$how"
}

# children of the target live on through kills.
sweep_fork() {
	local slot
	KILLED=0 PIDS=
	target_of events
	pager_start --rate 4M
	criu_restore
	for slot in 1 2 3; do
		tell fork $slot
		doze $((RANDOM % 3))
		kill_one pager
		answer
		ask child $slot dontneed 0 $((slot * 100)) 50
		want child $slot churn $slot 30
		kill_one pager
	done
	ask child 2 fork 4
	kill_one keeper
	for slot in 4 3 2 1; do
		want child $slot verify
		ask child $slot exit
	done
	finish faults
}

# sweep_phase PHASE HOW N...: the pager ends itself the Nth time that it comes by.
sweep_phase() {
	local phase=$1 how=$2 fault="" n
	shift 2
	KILLED=0 PIDS=
	for n; do fault="$fault,$phase@$n=kill"; done
	target_of events
	UFFD_RELOCATE_FAULT=${fault#,} pager_start --rate 4M
	criu_restore
	ask fork 1
	want child 1 check 0 0 64
	ask child 1 exit
	# As much work as it takes, and no more: work brings pages in.
	for ((n = 0; n < 30; n++)); do
		want churn $n 15
		_killed_times $# && break
	done
	until_true 10 _killed_times $# || die "$((INCARNATION - 1)) of $# kills took place"
	if [ "$PENDING" -ge $QUARTER ]; then
		KILLED=$((INCARNATION - 1))
	fi
	[ "$KILLED" -ge $# ] || die "only $PENDING bytes were pending in the end"
	PIDS="$phase@${*// /,}: $(grep -ac 'starting another' "$D/work/lazy.log") successors, now $PAGER_PID"
	finish "$how"
}
_killed_times() { look && [ "$INCARNATION" -gt "$1" ]; }

# Phases that come once a restore: the incarnation after it must do the rest.
sweep_once() {
	KILLED=0 PIDS=
	target_of events
	UFFD_RELOCATE_FAULT="$1=kill" pager_start --rate 4M
	criu_restore
	until_true 10 _killed_times 1 || die "no kill took place"
	[ "$PENDING" -lt $QUARTER ] || KILLED=1
	want churn 3 100
	PIDS="$1: now $PAGER_PID"
	finish drain
}

# What criu's own daemon makes of it, in the same harness.
stock_fails() {
	local i line
	target_of large
	PAGER=stock
	pager_start
	criu_restore
	# Its own code and stack are in then; the region is not, by far.
	ask ping
	kill -STOP "$LPID"
	kill -9 "$LPID"
	until_true "$WAIT" gone "$LPID"
	tell verify
	for ((i = 0; i < 20; i++)); do
		while IFS= read -r -t 1 -u 9 line; do
			case $line in
			wrong:*) note "$line" ;;
			verify*bad=0*) die "it did not fail: $line" ;;
			verify*) note "stock: $line"; return 0 ;;
			esac
		done
		gone "$RPID" && { note "stock: the target is dead"; return 0; }
	done
	die "the target hangs"
}

counted() {
	local sum=0 n
	while read -r n; do sum=$((sum + n)); done <"$COUNT"
	note "$sum kills with at least a quarter of the memory pending and a new pager afterwards"
	[ "$sum" -ge "$KILLS" ] || die "wanted $KILLS"
}

run_case "dump of the target" prepare events victim_events -r 4 -m 16
run_case "pager killed 20 times at random, then faults" sweep_random faults 20 pager
run_case "pager killed 20 times at random, then the drain" sweep_random drain 20 pager
run_case "keeper killed 12 times at random" sweep_random faults 12 keeper
run_case "pager and keeper killed in turn" sweep_random drain 20 pager keeper
run_case "killed around forks" sweep_fork
for phase in before-read after-read before-record event-applied fault-place fault-placed \
		drain-place drain-placed; do
	run_case "killed at $phase" sweep_phase $phase faults 3 20 41
	run_case "killed at $phase, then the drain" sweep_phase $phase drain 1 2 11 60
done
for phase in session-open image-loaded drain-start; do
	run_case "killed at $phase" sweep_once $phase
done
run_case "enough kills counted" counted
run_case "dump of a larger target" prepare large victim_pattern -m 512
run_case "stock criu lazy-pages loses bytes when killed" stock_fails
all_done
