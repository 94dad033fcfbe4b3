#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Agents that lie, fall silent or are frozen: the target can write to their memory, so nothing that
# they say may harm the pager, another target, or a target that has done no harm itself.
# timeout: 600
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

# The lies are in a build of its own, see src/agent/hostile.h.
if [ -z "${E2E_INSIDE:-}" ]; then
	O=${O:-$TOP/build}
	case $O in /*) ;; *) O=$PWD/$O ;; esac
	export O UR_DIR=mutants/hostile
	mkdir -p "$O/mutants"
	make -C "$TOP" -s SAN= SANFLAGS= "O=$O/$UR_DIR" "CFLAGS=-O1 -g -DMUTANT_hostile" \
		"$O/$UR_DIR/uffd-relocate" >"$O/$UR_DIR.log" 2>&1 || {
		tail -n 5 "$O/$UR_DIR.log" | sed 's/^/# /'
		echo "Bail out! the hostile agent does not build"
		exit 1
	}
fi
in_roots forky

# each EXPRESSION: a Python expression of s for each session of the status, one a line.
each() {
	timeout 30 "$UR" status --json -W "$D/work" | python3 -c '
import json, sys
for s in json.loads(sys.stdin.readline())["sessions"]:
    print(eval(sys.argv[1]))' "$1"
}

said() { grep -qE "$1" "$D/work/lazy.log"; }

# lie NUMBER LINE: it is noticed, and all else is as without an agent.
lie() {
	target_of lies
	UFFD_RELOCATE_LIE=$1 pager_start --agent --thp=always
	criu_restore
	until_true "$WAIT" said "$2" || die "the lie is not noticed"
	want verify
	pager_end
	[ -z "$(children "$RPID")" ] || die "the agent is still there"
	want verify
	target_end
}

# stopped_agent: somebody has stopped it.
stopped_agent() {
	victim_start victim_pattern -m 64 -H
	criu_dump "$VPID"
	hold_at agent-move@1
	pager_start --agent --thp=always
	unset UFFD_RELOCATE_FAULT
	criu_restore
	held
	kill -STOP "$(each 's["agent_pid"]')"
	release
	until_true "$WAIT" said 'no more of agent' || die "a stopped agent is waited for"
	want verify
	pager_end
	[ -z "$(children "$RPID")" ] || die "the agent is still there"
	target_end
}

one_waits() { [ "$(each 's["pending_bytes"] > 0' | grep -c True)" -le 1 ]; }

# frozen: a frozen agent, which even SIGKILL does not end, holds the gate of its own target only.
frozen() {
	local group=/tmp/freezer/hostile.$$ pid
	mkdir -p /tmp/freezer
	mount -t cgroup -o freezer freezer /tmp/freezer 2>"$D/mount.log" ||
		skip "no freezer of version 1 here"
	mkdir "$group"
	victim_start victim_tree -m 32
	criu_dump "$VPID"
	hold_at agent-move@1
	pager_start --agent --thp=always
	unset UFFD_RELOCATE_FAULT
	criu_restore
	held
	for pid in $(each 's["agent_pid"] or ""'); do echo "$pid" >"$group/cgroup.procs"; done
	echo FROZEN >"$group/freezer.state"
	until_true "$WAIT" grep -q FROZEN "$group/freezer.state" || die "nothing freezes"
	note "$(wc -l <"$group/cgroup.procs") agents are frozen, one with its target's gate"
	release
	until_true "$WAIT" one_waits || die "other targets wait for it: $(each 's["pending_bytes"]')"
	grep -q . "$group/cgroup.procs" || die "no agent is frozen any more"
	echo THAWED >"$group/freezer.state"
	want verify
	pager_end
	want verify
	target_end
	rmdir "$group"
}

# reopened: the agent's descriptors of pages files, opened anew by root, cannot be written to.
reopened() {
	local agent fd seen=0
	victim_start victim_pattern -m 64 -H
	criu_dump "$VPID"
	sha256sum "$V"/img/pages-*.img >"$D/sums"
	hold_at agent-move@2
	pager_start --agent --thp=always
	unset UFFD_RELOCATE_FAULT
	criu_restore
	held
	agent=$(each 's["agent_pid"]')
	for fd in "/proc/$agent/fd/"*; do
		[ -f "$fd" ] && [[ $(readlink "$fd") == /* ]] || continue
		seen=$((seen + 1))
		python3 -c '
import errno, os, sys
try:
    os.open(sys.argv[1], os.O_RDWR)
except OSError as e:
    sys.exit(0 if e.errno == errno.EROFS else str(e))
sys.exit("it opens for writing")' "$fd" || die "descriptor ${fd##*/}"
	done
	[ $seen -gt 0 ] || die "the agent has no pages file: $(ls -l "/proc/$agent/fd")"
	note "$seen descriptors"
	release
	want verify
	pager_end
	sha256sum --quiet -c "$D/sums" || die "the images have changed"
	target_end
}

run_case "dump" prepare lies victim_pattern -m 64 -H
nonsense="no more of agent [0-9]*: its answer makes no sense"
silent="no more of agent [0-9]*: it does not (move on|answer)"
n=0
for what in "another order" "an older order" "more bytes than it was told" "half a page" \
	"an error that is none" "an answer too long" "an answer too short" "two answers" \
	"thousands of answers, each with a descriptor"; do
	n=$((n + 1))
	run_case "lie $n: $what" lie $n "$nonsense"
done
run_case "lie 10: nothing any more" lie 10 "$silent"
run_case "lie 11: it moves, and says nothing" lie 11 "$silent"
run_case "lie 12: no move can be made" lie 12 "agent: 0x[0-9a-f]*: Invalid argument after 0 bytes"
run_case "lie 13: it hangs up" lie 13 "no more of agent [0-9]*: (it does not move on|it has died)"
run_case "a stopped agent" stopped_agent
run_case "frozen agents beside other targets" frozen
run_case "its pages files are not to be written to" reopened
all_done
