#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# SIGKILL to pager, keeper, agent, and the hand with agents at work: at random times, at each phase of
# a move, and at each step of placing an agent and of taking it out.
#
# Afterwards the target is right and nothing of an agent is left in it; or it is dead, where it had
# been stopped in the middle of a step (PTRACE_O_EXITKILL), and the log names the reason.  A kill
# counts only when there were pages pending; the last row demands $KILLS of them.
# timeout: 600
. "$(dirname "$0")/../e2e/lib.sh"
in_roots forky

KILLS=${KILLS:-50}
COUNT=/mnt/w/kills
LOST="hand(: Warn:| was) killed (by signal 9 while|at work on)"

said() { grep -aqE "$1" "$D/work/lazy.log"; }
count() { KILLED=$((KILLED + 1)); }

# users EXE: processes that run it.
users() {
	local pid exe=$1
	for pid in /proc/[0-9]*; do
		pid=${pid#/proc/}
		[ "$(readlink "/proc/$pid/exe" 2>/dev/null)" != "$exe" ] || gone "$pid" || echo "$pid"
	done
}
ended() { [ -z "$(users "$(realpath "$UR")")" ]; }

# hand_pids [WORKER]: the hand, or its workers.
hand_pids() {
	local pid parent
	for pid in $(users "$(realpath "$UR")"); do
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = uffd-hand ] || continue
		parent=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || continue
		parent=$(cat "/proc/$parent/comm" 2>/dev/null) || :
		[ "$parent" = uffd-hand ] && parent=worker || parent=
		[ "$parent" != "${1:-}" ] || echo "$pid"
	done
}

# begin IMAGE [PHASE[@N]=kill,...] [OPTION...]: restored, and our pager at work.
begin() {
	local fault=$2
	target_of "$1"
	shift 2
	KILLED=0
	[ -z "$fault" ] || export UFFD_RELOCATE_FAULT=$fault
	pager_start --agent --thp=always "$@"
	unset UFFD_RELOCATE_FAULT
	criu_restore
}
# begin_held IMAGE PHASE[@N] [OPTION...]: and held there.
begin_held() {
	local image=$1 phase=$2
	shift 2
	hold_at "$phase"
	begin "$image" "$UFFD_RELOCATE_FAULT" "$@"
	held
}

agent_there() { AGENT=$(status_of agent_pid 2>/dev/null) && [ "$AGENT" -gt 0 ]; }
another_pager() { look && [ "$PAGER_PID" != "$1" ]; }
another_hand() { [ -n "$(hand_pids)" ] && [ "$(hand_pids)" != "$1" ]; }

# finish: all comes in and is right, and the target is as it was.
finish() {
	want verify
	until_true "$WAIT" ended || {
		note "$(timeout 5 "$UR" status --json -W "$D/work")"
		die "still there: $(users "$(realpath "$UR")")"
	}
	[ -z "$(children "$RPID")" ] || die "the agent is still there"
	maps_of "$RPID" >"$D/maps.after"
	diff "$V/maps.before" "$D/maps.after" || die "the target's maps are not what they were"
	ask rewrite all
	want verify
	target_end
	note "kills counted: $KILLED"
	echo "$KILLED" >>"$COUNT"
}

# finish_or_dead: as finish, or the target has been killed for a reason that is named.
finish_or_dead() {
	tell verify
	until_true "$WAIT" verified_or_gone || {
		note "$(grep -E '^(State|TracerPid|Sig|Shd)' "/proc/$RPID/status" | tr '\n\t' '; ')"
		note "$(cat "/proc/$RPID/syscall" "/proc/$RPID/wchan" "/proc/$RPID/stack")"
		die "the target hangs"
	}
	if ! gone "$RPID"; then
		[[ $ANS == *" bad=0"* ]] || die "the target says: $ANS"
		finish
		return
	fi
	until_true "$WAIT" ended || die "still there: $(users "$(realpath "$UR")")"
	said "$LOST" || die "the target is dead and the log does not say why"
	until_true "$WAIT" nobody_left || die "left behind: $(users "$(realpath "$B/tests/victim/victim_pattern")")"
	note "kills counted: $KILLED, the target with it: $(grep -aohE "$LOST.*" "$D/work/lazy.log" | head -n 1)"
	echo "$KILLED" >>"$COUNT"
}
verified_or_gone() {
	local line
	if read -t 0 -u 9 && IFS= read -r -t "$WAIT" -u 9 line; then
		case $line in
		wrong:* | failed:*) die "$line" ;;
		verify*) ANS=$line; return 0 ;;
		esac
	fi
	gone "$RPID"
}
nobody_left() { [ -z "$(users "$(realpath "$B/tests/victim/victim_pattern")")" ]; }

save() {
	V=/mnt/w/$1
	shift
	victim_start victim_pattern -H "$@"
	maps_of "$VPID" >"$V/maps.before"
	criu_dump "$VPID"
}

# random N WHOM...: in turn.
random() {
	local n=$1 i whom old s
	shift
	begin large "" --rate 16M
	until_true "$WAIT" agent_there || die "no agent comes"
	for ((i = 0; i < n; i++)); do
		tell touch 3 "$((RANDOM * 100 + i))"
		printf -v s '0.%03d' $((RANDOM % 120))
		read -r -t "$s" <> <(:) || :
		whom=$1
		shift
		set -- "$@" "$whom"
		until_true 10 look || die "no status"
		case $whom in
		pager)	old=$PAGER_PID
			kill -9 "$old"
			until_true 10 another_pager "$old" || die "nobody takes over" ;;
		keeper)	old=$PAGER_PID
			kill -9 "$KEEPER_PID"
			until_true 10 another_pager "$old" || die "nobody takes over" ;;
		hand)	old=$(hand_pids)
			# shellcheck disable=SC2086
			[ -z "$old" ] || kill -9 $old ;;
		agent)	agent_there && kill -9 "$AGENT" ;;
		esac
		until_true 10 look || die "no status"
		[ "$PENDING" -eq 0 ] || count
		answer
		[[ $ANS == *" bad=0"* ]] || die "after a kill of the $whom: $ANS"
	done
	[ "$KILLED" = "$n" ] || die "only $KILLED of $n kills count"
	look && kill -TERM "$KEEPER_PID"
	finish
}

# rightless: a pager that takes its keeper's place has no right to another hand.  All comes in and is
# right; that the dead agent cannot be taken out is said.
rightless() {
	begin_held large agent-move@1
	until_true 10 look || die "no status"
	[ "$PENDING" -eq 0 ] || count
	# shellcheck disable=SC2046
	kill -9 "$KEEPER_PID" $(hand_pids)
	release
	want verify
	until_true "$WAIT" ended || die "still there: $(users "$(realpath "$UR")")"
	said "process $RPID keeps what is left of its agent" || die "it is not said"
	ask rewrite all
	want verify
	target_end
	until_true "$WAIT" nobody_left || die "left behind"
	echo "$KILLED" >>"$COUNT"
}

# phases PHASE N...: the pager ends itself there.
phases() {
	local phase=$1 fault="" n
	shift
	for n; do fault="$fault,$phase@$n=kill"; done
	begin large "${fault#,}" --rate 64M
	until_true "$WAIT" killed_times $# || die "$((INCARNATION - 1)) of $# kills took place"
	[ "$PENDING" -gt 0 ] || die "nothing was pending any more"
	KILLED=$#
	look && kill -TERM "$KEEPER_PID"
	finish
}
killed_times() { look && [ "$INCARNATION" -gt "$1" ]; }

# agent_at PHASE: the agent is killed while the pager is there.
agent_at() {
	begin_held small "$1@2"
	pending
	count
	kill -9 "$(status_of agent_pid)"
	release
	finish
}

# hand_at PHASE: the hand with an agent at work.
hand_at() {
	begin_held small "$1@2"
	pending
	count
	# shellcheck disable=SC2046
	kill -9 $(hand_pids)
	release
	finish
}

# step PHASE: the worker that places, or takes out, is killed there.  It is held until then, so that
# criu has seen the target run.
step() {
	begin_held small "$1@1"
	until_true 10 look || die "no status"
	[ "$PENDING" -eq 0 ] || count
	[ -n "$(hand_pids worker)" ] || die "there is no worker"
	# shellcheck disable=SC2046
	kill -9 $(hand_pids worker)
	finish_or_dead
}

# beside PHASE WHOM: somebody else is killed while a worker is in the middle.
beside() {
	begin_held small "$1@1"
	until_true 10 look || die "no status"
	case $2 in
	pager)	kill -9 "$PAGER_PID" ;;
	keeper)	kill -9 "$KEEPER_PID" ;;
	hand)	# shellcheck disable=SC2046
		kill -9 $(hand_pids) ;;
	esac
	[ "$PENDING" -eq 0 ] || count
	release
	finish_or_dead
}

# tracer: the worker that is the tracer of an agent, which dies with it.
tracer() {
	begin_held filtered agent-stage@2
	pending
	count
	[ -n "$(hand_pids worker)" ] || die "no worker traces the agent"
	# shellcheck disable=SC2046
	kill -9 $(hand_pids worker)
	until_true "$WAIT" no_worker || die "still there"
	release
	finish
}
no_worker() { [ -z "$(hand_pids worker)" ]; }

counted() {
	local sum=0 n
	while read -r n; do sum=$((sum + n)); done <"$COUNT"
	note "$sum kills with pages pending"
	[ "$sum" -ge "$KILLS" ] || die "wanted $KILLS"
}

run_case "dump of a target" save small -m 32
run_case "dump of a larger target" save large -m 192
run_case "dump of a target with a filter" save filtered -m 32 -S
run_case "pager killed at random" random 10 pager
run_case "pager and keeper killed in turn" random 8 pager keeper
run_case "hand and pager killed in turn, then the agent" random 5 hand pager hand pager agent
run_case "keeper and hand killed" rightless
for phase in agent-stage agent-move agent-ordered agent-moved; do
	run_case "pager killed at $phase" phases $phase 1 2 5 9
	run_case "agent killed at $phase" agent_at $phase
done
run_case "hand killed at agent-ordered" hand_at agent-ordered
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
	run_case "hand killed at step $n of placing" step place-$n
done
for n in 21 22 23 24 25 26 27 28; do
	run_case "hand killed at step $n of taking out" step cure-$n
done
for phase in place-4 place-8 place-12 cure-25; do
	for whom in pager keeper hand; do
		run_case "$whom killed beside $phase" beside $phase $whom
	done
done
run_case "the tracer of an agent killed" tracer
run_case "enough kills counted" counted
all_done
