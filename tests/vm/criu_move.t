#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# What it is all for: Debian 12's criu 3.17.1 on Debian 12's kernel with the series of
# kernel/patches.  Agents in the restored processes move pages into place with UFFDIO_MOVE; huge
# pages come back huge, and every byte is proven.  On the kernel as it was this fails, as it must.
# timeout: 1500
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/cases.sh"
in_vm "${VM_VARIANT:-patched}" -t 1200 -m 3072

with_move() { feature_move || die "this kernel has no UFFDIO_MOVE"; }

# huge_kb PID: memory of the process that huge pages map.
huge_kb() { awk '/^AnonHugePages:/ { n += $2 } END { print n + 0 }' "/proc/$1/smaps"; }

# watch_last: keep the last status of the pager in $D/last.json.
watch_last() {
	(cd "$D/work" && exec python3 -c '
import socket
s = socket.socket(socket.AF_UNIX)
s.connect("uffd-relocate.socket")
s.send(b"wait\n")
open("waiting", "w").close()
print(s.makefile().read())') >"$D/last.json" 2>"$D/wait.log" 8>&- 9>&- </dev/null &
	WATCHER=$!
	until_true "$WAIT" test -e "$D/work/waiting" || die "the status cannot be watched"
}

# last KEY: from there, summed over the sessions.
last() {
	python3 -c '
import json, sys
print(sum(x[sys.argv[1]] for x in json.load(open(sys.argv[2]))["sessions"]))' "$1" "$D/last.json"
}

# moved MIB: the pager, now ended, says that so much was moved at least.  This kernel has no
# PAGEMAP_SCAN: which of it came as whole huge pages the pager can only guess; smaps knows.
moved() {
	wait $WATCHER || die "no last status: $(cat "$D/wait.log")"
	note "moved $(last moved_huge_bytes) huge, $(last moved_base_bytes) base; copied" \
		"$(last copied_drain_bytes) drain, $(last copied_fault_bytes) fault;" \
		"collapsed $(last collapsed_bytes)"
	[ $(($(last moved_huge_bytes) + $(last moved_base_bytes))) -ge $(($1 << 20)) ] ||
		die "not $1 MiB were moved"
}

no_agent_left() { ! grep -l . "/proc/$RPID/task/"*/children || die "the target has children"; }

# by_hand MIB ARG...: at least MIB are to come as huge pages.
by_hand() {
	local mib=$1
	shift
	victim_start victim_pattern "$@"
	criu_dump "$VPID"
	pager_start --agent
	watch_last
	criu_restore
	pager_end
	moved "$mib"
	[ "$(huge_kb "$RPID")" -ge $((mib << 10)) ] || die "$(huge_kb "$RPID") kB are huge"
	no_agent_left
	want verify
	ask rewrite all
	want verify
	target_end
}

# While it runs: threads check and rewrite pages all the time.
at_work() {
	victim_start victim_pattern -m 64 -t 4 -H
	ask run 1
	criu_dump "$VPID"
	pager_start --agent
	watch_last
	criu_restore
	want stop
	[ "$(field ops)" -gt 0 ] || die "the threads did nothing: $ANS"
	want verify
	pager_end
	moved 0
	want verify
	no_agent_left
	target_end
}

# plugin_restore [OPTION...]: the plugin starts the pager and places the agent before the task runs.
plugin_restore() {
	rm -rf "$D/work"
	UFFD_RELOCATE_AGENT=yes UFFD_RELOCATE_VERBOSITY=4 UFFD_RELOCATE_CONFIG=/dev/null \
		criu_restore -L "$B" "$@"
	LPID=$(sed -n 's/.*uffd-relocate: .* started, pid //p' "$D/work/restore.log")
	[ -n "$LPID" ] || die "no pager was started"
	grep -q "uffd-relocate: task $RPID: agent: placed" "$D/work/restore.log" ||
		die "no agent was placed: $(grep 'agent:' "$D/work/restore.log")"
}

plugin_moved() {
	local n
	until_true "$WAIT" gone "$LPID" || die "the pager does not end"
	n=$(sed -nE 's/.* moved ([0-9]+), .*/\1/p' "$D/work/uffd-relocate.log" | tail -n 1)
	note "moved ${n:-nothing}"
	[ "${n:-0}" -gt 0 ] || die "nothing was moved"
	no_agent_left
}

by_plugin_moved() {
	victim_start victim_pattern -m 64 -H "$@"
	criu_dump "$VPID"
	plugin_restore
	want touch 500 1
	want verify
	plugin_moved
	ask rewrite all
	want verify
	target_end
}

# Every byte against the images, while the task is stopped.
plugin_stopped() {
	victim_start victim_pattern -m 64 -H -x 700
	criu_dump "$VPID"
	plugin_restore --leave-stopped
	plugin_moved
	note "$(huge_kb "$RPID") kB are huge"
	[ "$(huge_kb "$RPID")" -gt 0 ] || die "nothing is huge"
	memory_equal
	kill -CONT "$RPID"
	want verify
	target_end
}

# killed_at PHASE: the pager is killed there; the next one goes on.
killed_at() {
	victim_start victim_pattern -m 64 -H
	criu_dump "$VPID"
	export UFFD_RELOCATE_FAULT="$1=kill"
	pager_start --agent
	unset UFFD_RELOCATE_FAULT
	criu_restore
	until_true "$WAIT" grep -q 'phase .*: killed' "$D/work/lazy.log" ||
		die "the pager did not come to $1"
	want verify
	pager_end
	note "$(huge_kb "$RPID") kB are huge"
	no_agent_left
	want verify
	target_end
}

run_case "criu 3.17.1 runs here" right_place
run_case "the kernel has UFFDIO_MOVE" with_move
run_case "by hand: huge pages come back huge" by_hand 48 -m 64 -H
run_case "by hand: huge pages with holes" by_hand 48 -m 64 -H -x 700
run_case "by hand: threads at work" at_work
run_case "by plugin" by_plugin_moved
run_case "by plugin: stopped, every byte against the images" plugin_stopped
run_case "the pager is killed over a move" killed_at agent-move@3
export AGENT=--agent
run_case "a tree with a zombie" tree -m 16 -z
run_case "parents by soft-dirty" parents
all_done
