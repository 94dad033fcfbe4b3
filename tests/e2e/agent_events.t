#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The target changes its address space, forks, executes a program, ends, or is stopped while an agent
# is in the middle of bringing blocks in.
#
# The agents' thread of the pager is held at a phase of a move; the target is told what to do; the
# thread goes on.  The gate may be lent meanwhile, so that the target's system call has to wait for
# its event to be read: it is answered after the release.
# timeout: 300
. "$(dirname "$0")/lib.sh"
in_roots forky

doze() { read -r -t "0.$1" <> <(:) || :; }

agent_there() { AGENT=$(status_of agent_pid 2>/dev/null) && [ "$AGENT" -gt 0 ]; }

# begin PHASE: held there, with an agent and pages pending.
begin() {
	target_of events
	hold_at "$1@2"
	pager_start --agent --thp=always
	unset UFFD_RELOCATE_FAULT
	criu_restore
	held
	until_true "$WAIT" agent_there || die "there is no agent"
	until_true "$WAIT" look || die "no status"
	note "pending: $PENDING bytes"
	[ "$PENDING" -ge 10000000 ] || die "nothing is shown"
}

over() {
	pager_end
	until_true "$WAIT" gone "$AGENT" || die "the agent is still there"
}

# event PHASE COMMAND...: the first one while it is held there; region 2, the lowest, is what an agent
# begins with.  All is right at once, and when all is in.
event() {
	local phase=$1 cmd
	shift
	begin "$phase"
	tell "$1"
	doze 05
	release
	for cmd; do
		[ "$cmd" = "$1" ] || tell "$cmd"
		answer
		case $ANS in
		*bad=0* | *pages=* | *region=* | *pid=*) ;;
		*) die "\"$cmd\" says: $ANS" ;;
		esac
	done
	want verify
	case $1 in
	fork*)	want child 1 verify
		ask child 1 exit
		ask reap ;;
	esac
	over
	[ -z "$(children "$RPID")" ] || die "it has children"
	want verify
	target_end
}

# ends PHASE COMMAND: exec, or exit.
ends() {
	begin "$1"
	tell "$2"
	doze 05
	release
	answer
	[ "$2" = exit ] || want verify
	over
	[ "$2" = exit ] || { want verify; target_end; }
}

# stopped PHASE: SIGSTOP, and SIGCONT when all is in.
stopped() {
	begin "$1"
	kill -STOP "$RPID"
	doze 05
	release
	until_true "$WAIT" nothing_pending || die "a stopped target's memory does not come in"
	[ "$(_state "$RPID")" = T ] || die "the target is not stopped: $(_state "$RPID")"
	kill -CONT "$RPID"
	want verify
	over
	want verify
	target_end
}
nothing_pending() {
	gone "$LPID" || [ "$(status_of pending_bytes 2>/dev/null)" = 0 ]
}

run_case "dump of the target" prepare events victim_events -r 3 -m 16
for phase in agent-stage agent-move agent-ordered agent-moved; do
	run_case "$phase: discards" event $phase "dontneed 2 0 4096" "dontneed 1 100 3000" \
		"discard_rewrite 0 0 4096"
	run_case "$phase: moves" event $phase "move 2 0 4096" "move_over 1 0 1000 0 500"
	run_case "$phase: unmaps" event $phase "unmap 2 0 4096" "unmap 1 1000 2000"
	run_case "$phase: forks" event $phase "fork 1" "dontneed 2 0 4096" "child 1 move 1 0 4096"
	run_case "$phase: executes a program" ends $phase exec
	run_case "$phase: exits" ends $phase exit
	run_case "$phase: is stopped and continued" stopped $phase
done
all_done
