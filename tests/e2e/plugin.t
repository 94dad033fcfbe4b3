#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The agents that the plugin places before the tasks run, and what becomes of tasks for which there
# is nobody.
# timeout: 900
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/runc.sh"
in_roots forky trixie

AGENT=yes THP=auto

# plugin: what criu needs to find it, and it its pager.
plugin() {
	[ "$PAGER" = ours ] || skip "criu's own pager has no agent"
	mkdir -p "$D/plugins"
	ln -sf "$B/uffd-relocate-plugin.so" "$D/plugins"
	export UFFD_RELOCATE_PAGER=$UR UFFD_RELOCATE_VERBOSITY=4 UFFD_RELOCATE_CONFIG=/dev/null
	export UFFD_RELOCATE_AGENT=$AGENT UFFD_RELOCATE_THP=$THP
}
# said: LPID, the keeper that the plugin has started, of criu's log.
said() { LPID=$(sed -n 's/.*uffd-relocate: pager .* started, pid //p' "$D/work/restore.log"); }
# restore [OPTION...]: with the plugin, which starts the pager.
restore() {
	plugin
	criu_restore -L "$D/plugins" "$@"
	said
}
# words PID: what the plugin says of its agent.
words() { sed -n "s/.*uffd-relocate: task $1: agent: \\(.*\\); [0-9]* us/\\1/p" "$D/work/restore.log"; }
says() { [ "$(words "$1")" = "$2" ] || die "task $1: the plugin says: $(words "$1")"; }
logged() { grep -aqE "$1" "$D/work/uffd-relocate.log"; }
children() { cat "/proc/$1/task/"*/children; }
# maps_of PID: its VMAs; neighbours of one kind count as one, since criu merges some.
maps_of() {
	awk '{ split($1, at, "-"); kind = $2 " " $6 }
		kind ~ /\[v/ { next }
		at[1] != end || kind != last { if (last) print start, end, last; start = at[1] }
		{ end = at[2]; last = kind }
		END { print start, end, last }' "/proc/$1/maps"
}
# over: the pager ends by itself, and the target is as it was.
over() {
	until_true "$WAIT" gone "$LPID" || die "the pager does not end"
	! logged ' Error' || die "the pager reports an error"
	maps_of "$RPID" >"$D/maps.after"
	diff "$D/maps.before" "$D/maps.after" || die "the target's maps are not what they were"
	! grep -l . "/proc/$RPID/task/"*/children || die "it has children"
}
# huge ARG...: a target with huge pages, dumped.
huge() {
	victim_start victim_pattern -m 64 -H "$@"
	maps_of "$VPID" >"$D/maps.before"
	criu_dump "$VPID"
}

placed() {
	huge "$@"
	restore
	says "$RPID" placed
	over
	logged 'agent [0-9]+ is at work' || die "the agent does not work"
	ask rewrite all
	want verify
	target_end
}

stopped() {
	huge
	restore -s
	says "$RPID" placed
	over
	memory_equal
	kill -CONT "$RPID"
	want verify
	target_end
}

# One that was stopped when it was dumped.
in_stop() { [ "$(_state "$1")" = T ]; }
asleep() {
	victim_start victim_pattern -m 64 -H
	maps_of "$VPID" >"$D/maps.before"
	kill -STOP "$VPID"
	until_true "$WAIT" in_stop "$VPID" || die "it does not stop"
	criu_dump "$VPID"
	restore
	says "$RPID" placed
	over
	[ "$(_state "$RPID")" = T ] || die "it is not stopped but $(_state "$RPID")"
	kill -CONT "$RPID"
	want verify
	target_end
}

settings() {
	AGENT=no
	huge
	restore
	says "$RPID" "none, by the settings"
	want verify
	over
	logged 'moved 0\b' || die "something was moved"
	target_end
}

# A filter that would kill an agent: the hand places one later and stays its tracer.
filtered() {
	huge -S
	restore
	says "$RPID" "a seccomp filter would kill the agent"
	over
	logged 'agent [0-9]+ placed in process' || die "no agent came later"
	logged 'agent [0-9]+ is at work' || die "the agent does not work"
	want verify
	target_end
}

# The hand is killed in the middle of placing one: better no target than one with foreign registers.
handless() {
	local status=0 step=$1
	huge
	export UFFD_RELOCATE_FAULT=$step=kill
	pager_start --agent
	unset UFFD_RELOCATE_FAULT
	criu_restore
	until_true "$WAIT" gone "$RPID" || die "the target lives"
	until_true "$WAIT" gone $LPID || die "the pager does not end"
	wait $LPID || status=$?
	grep -aq "the hand was killed at work on process $RPID" "$D/work/lazy.log" ||
		die "the reason is not named"
	[ $status = 1 ] || die "the pager's exit status is $status"
}

# Agents in all tasks of a tree.
tree() {
	local n
	THP=always
	victim_start victim_tree -m 24 -n 5 -z
	criu_dump "$VPID"
	restore
	n=$(grep -ac 'agent: placed' "$D/work/restore.log")
	note "$n agents"
	[ "$n" -ge 4 ] || die "only $n tasks have an agent"
	want verify
	ask rewrite
	want verify
	until_true "$WAIT" gone "$LPID" || die "the pager does not end"
	ask zombie
	target_end
}

# The pager dies over the plugin's message: the next one answers it.
killed() {
	huge
	export UFFD_RELOCATE_FAULT="$1=kill"
	restore
	unset UFFD_RELOCATE_FAULT
	logged "phase ${1%@*}: killed" || die "the pager did not come to $1"
	says "$RPID" placed
	want verify
	until_true "$WAIT" gone "$LPID" || die "the pager does not end"
	[ -z "$(children "$RPID")" ] || die "the agent is still there"
	want verify
	target_end
}

# Keeper and pager are gone when the plugin waits for their word: the task must not run.
lost() {
	local rc=0 criu child both
	huge
	plugin
	hold_at wire-received
	criu_restore -L "$D/plugins" >"$D/restore.out" 2>&1 &
	criu=$!
	held
	unset UFFD_RELOCATE_FAULT
	said
	for child in $(children "$LPID"); do
		[ "$(cat "/proc/$child/comm")" = uffd-hand ] || both="$LPID $child"
	done
	# shellcheck disable=SC2086
	kill -9 $both
	wait $criu || rc=$?
	[ $rc != 0 ] || die "the restore does not fail"
	grep -aq 'is killed, for its memory is lost: the pager has ended, and its keeper with it' \
		"$D/work/restore.log" || die "the reason is not named"
}

# A pager that was started by hand is found by the plugin.
by_hand() {
	huge
	plugin
	pager_start --agent
	criu_restore -L "$D/plugins"
	says "$RPID" placed
	pager_end
	cp "$D/work/lazy.log" "$D/work/uffd-relocate.log"
	over
	logged 'agent [0-9]+ is at work' || die "the agent does not work"
	want verify
	target_end
}
by_hand_without() {
	huge
	plugin
	pager_start --no-agent
	criu_restore -L "$D/plugins"
	says "$RPID" "not wanted"
	want verify
	pager_end
	target_end
}

container() {
	plugin
	export CRIU_LIBS_DIR=$D/plugins UFFD_RELOCATE_LAZY=yes
	runc_dump -m 64 -H
	runc_restore
	said
	grep -aq 'agent: placed' "$D/work/restore.log" || die "$(grep -a 'agent:' "$D/work/restore.log")"
	want touch 1000 3
	want verify
	until_true "$WAIT" gone "$LPID" || die "the pager does not end"
	want verify
	runc_end
}

run_case "an agent is placed before the task runs" placed
run_case "in a process with threads" placed -t 4
run_case "in a task that stays stopped" stopped
run_case "in a task that was dumped stopped" asleep
run_case "agent = no" settings
run_case "the hand is killed while it places one" handless place-6
run_case "the hand is killed while it takes one out" handless cure-25
run_case "a seccomp filter: later, and traced" filtered
run_case "in a tree of processes" tree
for phase in wire-received wire-received@2 wire-handled wire-handled@2; do
	run_case "pager killed at $phase" killed $phase
done
run_case "pager and keeper killed: the task does not run" lost
run_case "with a pager that was started by hand" by_hand
run_case "with one that wants no agents" by_hand_without
run_case "in a runc container" container
all_done
