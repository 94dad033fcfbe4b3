#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The agent in the target: huge pages come back huge, and nothing of it is left behind.
# timeout: 600
. "$(dirname "$0")/lib.sh"
in_roots forky trixie

# huge_kb PID: memory of the process that huge pages map.
huge_kb() { awk '/^AnonHugePages:/ { n += $2 } END { print n + 0 }' "/proc/$1/smaps"; }

# last KEY: from the last status of the pager, see `ended`.
last() {
	python3 -c '
import json, sys
print(sum(x[sys.argv[1]] for x in json.load(open(sys.argv[2]))["sessions"]))' "$1" "$D/last.json"
}

# agent_start: our pager, whose last word is kept.
agent_start() {
	[ "$PAGER" = ours ] || skip "criu's own pager has no agent"
	pager_start "$@"
	(cd "$D/work" && exec python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("uffd-relocate.socket")
s.send(b"wait\n")
open("waiting", "w").close()
print(s.makefile().read())') >"$D/last.json" 2>"$D/wait.log" 8>&- 9>&- </dev/null &
	WAITER=$!
	until_true "$WAIT" test -e "$D/work/waiting" || die "the waiter does not get through"
}

ended() {
	pager_end
	wait $WAITER || die "the waiter failed: $(cat "$D/wait.log")"
	note "moved $(last moved_huge_bytes) huge, $(last moved_base_bytes) base, copied" \
		"$(last copied_drain_bytes) drain, $(last copied_fault_bytes) fault"
}

huge() {
	victim_start victim_pattern -m 128 "$@"
	maps_of "$VPID" >"$D/maps.before"
	criu_dump "$VPID"
	agent_start
	criu_restore
	ended
	[ "$(last moved_huge_bytes)" -ge $((120 << 20)) ] || die "not moved as huge pages"
	[ "$(huge_kb "$RPID")" -ge $((120 << 10)) ] || die "$(huge_kb "$RPID") kB are huge"
	maps_of "$RPID" >"$D/maps.after"
	diff "$D/maps.before" "$D/maps.after" || die "the target's maps are not what they were"
	[ -z "$(children "$RPID")" ] || die "the agent is still there"
	want verify
	ask rewrite all
	want verify
	target_end
}

# touched: blocks that were touched before the agent came to them are made huge in the end.
touched() {
	victim_start victim_pattern -m 128 -H
	criu_dump "$VPID"
	hold_at agent-stage@1
	agent_start
	unset UFFD_RELOCATE_FAULT
	criu_restore
	held
	want touch 100 3
	release
	ended
	[ "$(last collapsed_bytes)" -gt 0 ] || die "nothing was collapsed"
	[ "$(huge_kb "$RPID")" -ge $((115 << 10)) ] || die "$(huge_kb "$RPID") kB are huge"
	want verify
	target_end
}

# killed PHASE[@N]: the pager is killed there; the next one goes on with the agent.
killed() {
	victim_start victim_pattern -m 128 -H
	criu_dump "$VPID"
	export UFFD_RELOCATE_FAULT="$1=kill"
	agent_start
	unset UFFD_RELOCATE_FAULT
	criu_restore
	until_true "$WAIT" grep -q 'phase .*: killed' "$D/work/lazy.log" ||
		die "the pager did not come to $1"
	want verify
	pager_end
	wait $WAITER || :
	[ -z "$(children "$RPID")" ] || die "the agent is still there"
	note "$(huge_kb "$RPID") kB are huge"
	want verify
	target_end
}

# dead: the agent is killed while the pager is about to give it an order.
dead() {
	victim_start victim_pattern -m 128 -H
	criu_dump "$VPID"
	hold_at "$1@3"
	agent_start
	unset UFFD_RELOCATE_FAULT
	criu_restore
	held
	kill -9 "$(status_of agent_pid)"
	release
	want verify
	ended
	[ -z "$(children "$RPID")" ] || die "the agent is still there"
	want verify
	target_end
}

# frozen PHASE: the agent stands still from then on; what is left comes without it.
frozen() {
	victim_start victim_pattern -m 128 -H
	criu_dump "$VPID"
	hold_at "$1@3"
	agent_start
	unset UFFD_RELOCATE_FAULT
	criu_restore
	held
	kill -STOP "$(status_of agent_pid)"
	release
	want verify
	ended
	grep -q 'no more of agent' "$D/work/lazy.log" || [ "$1" = agent-stage ] ||
		die "the frozen agent was waited for"
	[ -z "$(children "$RPID")" ] || die "the agent is still there"
	want verify
	target_end
}

# gone_by PHASE: the target is killed in the middle.
gone_by() {
	victim_start victim_pattern -m 128 -H
	criu_dump "$VPID"
	hold_at "$1@3"
	agent_start
	unset UFFD_RELOCATE_FAULT
	criu_restore
	held
	kill -9 "$RPID"
	release
	ended
	until_true "$WAIT" gone "$RPID" || die "the target is still there"
}

# several: agents in all tasks of a tree share a budget of one block.
several() {
	victim_start victim_tree -m 32
	criu_dump "$VPID"
	agent_start --thp=always --staging 2M
	criu_restore
	ended
	[ "$(grep -o 'agent [0-9]* is at work' "$D/work/lazy.log" | sort -u | wc -l)" -ge 3 ] ||
		die "not all tasks had an agent"
	[ "$(last moved_huge_bytes)" -ge $((32 << 20)) ] || die "too little was moved"
	want verify
	ask rewrite
	want verify
	target_end
}

# truncated: the pages file shrinks under the agent's eyes: the target is ended by name.
truncated() {
	local status=0
	victim_start victim_pattern -m 128 -H
	criu_dump "$VPID"
	hold_at agent-stage@3
	agent_start
	unset UFFD_RELOCATE_FAULT
	criu_restore
	held
	truncate -s 64K "$D"/img/pages-1.img
	release
	until_true "$WAIT" gone "$RPID" || die "the target lives on"
	until_true "$WAIT" gone $LPID || die "the pager does not end"
	wait $LPID || status=$?
	wait $WAITER || :
	[ $status = 1 ] || die "the pager ended with $status"
	grep -q 'killing process .*its pages file changed or shrank' "$D/work/lazy.log" ||
		die "it was not ended by name"
}

# cold: what is not in the page cache is read past it.
cold() {
	local n
	victim_start victim_pattern -m 128 -H
	criu_dump "$VPID"
	n=$("$B/tests/tools/cached" -d "$D/img/pages-1.img")
	[ "$n" -le $((16 << 20)) ] || skip "the pages file does not leave the page cache"
	agent_start
	criu_restore
	ended
	[ "$(last moved_huge_bytes)" -ge $((120 << 20)) ] || die "not moved as huge pages"
	n=$("$B/tests/tools/cached" "$D/img/pages-1.img")
	note "$n bytes of the pages file are cached"
	[ "$n" -le $((64 << 20)) ] || die "the pages file was read into the page cache"
	want verify
	target_end
}

# orphaned: with pager and keeper killed at once the agent still holds the memory: no zeros.
orphaned() {
	local agent line
	victim_start victim_pattern -m 128 -H
	criu_dump "$VPID"
	hold_at agent-stage@3
	agent_start
	unset UFFD_RELOCATE_FAULT
	criu_restore
	held
	agent=$(status_of agent_pid)
	look || die "no status"
	kill -STOP "$KEEPER_PID" "$PAGER_PID"
	kill -KILL "$KEEPER_PID" "$PAGER_PID"
	until_true "$WAIT" gone "$KEEPER_PID" && until_true "$WAIT" gone "$PAGER_PID" || die "still there"
	tell verify
	! IFS= read -r -t 3 -u 9 line || die "the target goes on: $line"
	kill -9 "$RPID"
	until_true "$WAIT" gone "$RPID" || die "the target cannot be ended"
	until_true "$WAIT" gone "$agent" || die "the agent outlives its target"
}

# debugged: what somebody else traces is not cured, and the pager does not wait for that for ever.
debugged() {
	local tracer line
	victim_start victim_pattern -m 64 -H
	criu_dump "$VPID"
	hold_at agent-moved@3
	agent_start
	unset UFFD_RELOCATE_FAULT
	criu_restore
	held
	coproc "$B/tests/tools/tracer" "$RPID" 8>&- 9>&-
	tracer=$COPROC_PID
	read -r -t "$WAIT" line <&"${COPROC[0]}" || die "the target cannot be traced"
	release
	ended
	grep -q 'keeps its dead agent, a zombie' "$D/work/lazy.log" || die "not said what is left"
	[ -n "$(children "$RPID")" ] || die "the agent is gone, so this shows nothing"
	want verify
	kill -9 "$tracer"
	target_end
}

# never: no huge pages are wanted, so nobody comes.
never() {
	victim_start victim_pattern -m 32 -H
	criu_dump "$VPID"
	agent_start --thp=never
	criu_restore
	want verify
	ended
	[ "$(last moved_huge_bytes)" = 0 ] || die "something was moved"
	grep -q '"agent": *"none: nothing to bring in as huge pages"' "$D/last.json" ||
		die "status does not say why there is no agent"
	target_end
}

run_case "huge pages come back huge" huge -H
run_case "huge pages with holes" huge -H -x 511
run_case "cold images are read past the page cache" cold
run_case "agents in several tasks, with room for one block" several
run_case "the pages file shrinks" truncated
run_case "blocks that were touched are collapsed" touched
for phase in agent-stage agent-move agent-ordered agent-moved; do
	run_case "pager killed at $phase" killed $phase@3
done
run_case "agent killed before an order to read" dead agent-stage
run_case "agent killed before an order to move" dead agent-move
run_case "agent killed with an order to move under way" dead agent-ordered
run_case "agent stopped before an order to read" frozen agent-stage
run_case "agent stopped before an order to move" frozen agent-move
run_case "target killed with an order to move under way" gone_by agent-ordered
run_case "pager and keeper killed at once: blocked, not zeros" orphaned
run_case "a debugger is in the way of the cure" debugged
run_case "no huge pages wanted, no agent" never
all_done
