#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Restored a second time, with a trace: what was touched the first time is there before it is
# touched, and nothing else has changed.
# timeout: 900
. "$(dirname "$0")/lib.sh"
in_roots forky trixie

[ "$PAGER" = ours ] || { echo "1..0 # SKIP traces are ours"; exit 0; }

sum_of() {
	timeout 10 "$UR" status --json -W "$D/work" | python3 -c '
import json, sys
print(sum(x[sys.argv[1]] for x in json.loads(sys.stdin.readline())["sessions"]))' "$1"
}
hot_in() { grep -q 'hot pages are in' "$D/work/lazy.log"; }

# finish: let the pager bring in the rest, which takes its lines out of the log's way.
finish_pager() {
	# It has ended already where all that it owed was touched.
	kill -TERM "$LPID" 2>/dev/null || :
	pager_end
	mv "$D/work/lazy.log" "$D/lazy.$1.log"
}

# plugin_restore: by criu alone; its plugin starts the pager.
plugin_restore() {
	mkdir -p "$D/plugin"
	cp "$B/uffd-relocate-plugin.so" "$D/plugin"
	rm -rf "$D/work"
	(
		export UFFD_RELOCATE_PAGER=$UR UFFD_RELOCATE_DRAIN=no UFFD_RELOCATE_VERBOSITY=5
		export UFFD_RELOCATE_HOT_BUDGET=60s UFFD_RELOCATE_LOG=lazy.log
		criu_restore -L "$D/plugin"
	)
	RPID=$(cat "$D/work/pid")
	until_true "$WAIT" look || die "no status"
	LPID=$KEEPER_PID
}

plugin_pager_end() {
	kill -TERM "$LPID" 2>/dev/null || :
	until_true "$WAIT" gone "$LPID" || die "the pager does not end"
	mv "$D/work/lazy.log" "$D/lazy.held.log"
}

# held_run WORK: restored by criu alone; its plugin starts the pager, and holds the tasks back.
held_run() {
	local work=$1 replay touched lines
	plugin_restore
	$work
	replay=$(sum_of faults)
	touched=$("$UR" trace -D "$V/img" show --json | python3 -c '
import json, sys
print(sum(t["touched_bytes"] for t in json.load(sys.stdin)["tasks"]))')
	note "faults: $replay after being held back; $(sum_of hot_bytes) of $touched bytes were hot"
	# Some have faulted before criu was through.
	[ $(($(sum_of hot_bytes) * 100)) -ge $((touched * 95)) ] || die "not all that was touched was hot"
	[ $((replay * 100)) -le $((PLAIN * 3)) ] || die "more than 3 % of the faults are left"
	# The plugin got its answer after that, and criu let the task go after the plugin.
	lines=$(grep -nE 'hot pages are in|the plugin said' "$D/work/lazy.log")
	[[ $lines == *"hot pages are in"*"the plugin said"* ]] || die "it was not held back: $lines"
	plugin_pager_end
}

# three_runs WORK VERIFY END: restore plainly, recorded, and by the trace; each does WORK.
three_runs() {
	local work=$1 verify=$2 end=$3 plain replay hot total
	pager_start --no-drain --no-trace
	criu_restore
	$work
	plain=$(sum_of faults)
	PLAIN=$plain
	finish_pager plain
	$verify
	$end

	pager_start --no-drain --record
	criu_restore
	$work
	finish_pager record
	$verify
	$end
	"$UR" trace -D "$V/img" | sed 's/^/# /'

	pager_start --no-drain --hot-budget 60s
	criu_restore
	until_true "$WAIT" hot_in || die "the hot pages do not come"
	hot=$(sum_of hot_bytes) total=$(sum_of total_bytes)
	$work
	replay=$(sum_of faults)
	note "faults: $plain plainly, $replay by the trace; $((hot >> 10)) of $((total >> 10)) KiB were hot"
	[ $((hot * 10)) -le $((total * 3)) ] || die "more than 30 % of the image is hot"
	[ $((replay * 100)) -le $((plain * 3)) ] || die "more than 3 % of the faults are left"
	[ "$hot" -ge $((4 << 20)) ] || die "that is too little to tell"
	finish_pager replay
	$verify
	$end

	held_run "$work"
	$verify
	$end

	# What is placed by a trace is what the images say.
	pager_start --hot-budget 60s
	criu_restore --leave-stopped
	pager_end
	memory_equal
	kill -9 "$RPID"
}

# ---- redis ----

cli() { timeout "$WAIT" redis-cli -s "$D/redis.sock" "$@"; }
redis_answers() { [ "$(timeout 5 redis-cli -s "$D/redis.sock" ping 2>/dev/null)" = PONG ]; }
redis_work() {
	local n
	n=$(awk 'BEGIN { for (i = 0; i < 4000; i++) print "get key:" i * 97 % 400000 }' | cli | wc -c)
	[ "$n" -ge 400000 ] || die "4000 answers have $n bytes"
}
redis_verify() {
	[ "$(cli debug digest)" = "$DIGEST" ] || die "the digest is not what it was"
}
redis_end() {
	cli shutdown nosave >/dev/null 2>&1 || :
	until_true "$WAIT" gone "$RPID" || die "redis does not end"
	rm -f "$D/redis.sock"
}
redis_launch() {
	cd "$D"
	setsid redis-server --save '' --appendonly no --enable-debug-command yes --daemonize no --logfile '' \
		--dir "$D" --port 0 --unixsocket "$D/redis.sock" --activerehashing no --hz 1 \
		</dev/null >/dev/null 2>&1 8>&- 9>&- &
	VPID=$!
	until_true "$WAIT" redis_answers || die "redis does not answer"
}
redis() {
	lucky redis_launch
	cli debug populate 400000 key 500 >/dev/null
	DIGEST=$(cli debug digest)
	[ ${#DIGEST} = 40 ] || die "no digest: $DIGEST"
	criu_dump "$VPID"
	rm -f "$D/redis.sock"
	three_runs redis_work redis_verify redis_end
}

# ---- CPython ----

python_work() { want some 20; }
python_verify() { want verify; }
cpython() {
	victim_start victim_python.py 150000
	criu_dump "$VPID"
	three_runs python_work python_verify target_end
}

# ---- what was huge ----

huge_list() { "$UR" trace -D "$1" show --ranges | awk '$1 == "huge" { print $2 }'; }
smaps_huge_kb() { awk '/^AnonHugePages:/ { n += $2 } END { print n + 0 }' "/proc/$VPID/smaps"; }

# What the plugin notes in a dump is what is seen of the process before it, block for block.
dumped_huge() {
	local kb before after
	victim_start victim_pattern -m 64 -H
	kb=$(smaps_huge_kb)
	[ "$kb" -ge $((8 << 10)) ] || skip "no huge pages to be had: $kb KiB"
	mkdir "$D/hint" "$D/plugin"
	cp "$B/uffd-relocate-plugin.so" "$D/plugin"
	"$UR" trace -D "$D/hint" --from "$VPID" || die "trace --from"
	before=$(huge_list "$D/hint")
	UFFD_RELOCATE_PAGER=$UR criu_dump "$VPID" -L "$D/plugin"
	after=$(huge_list "$V/img")
	note "$kb KiB are huge: $(echo $after)"
	[ -n "$after" ] && [ "$after" = "$before" ] || die "before the dump: $before"
	[ "$("$UR" trace -D "$V/img" | awk 'NR == 3 { print $5 }')" = "$kb" ] || die "smaps says $kb KiB"
	"$UR" trace -D "$V/img" | grep -q 'of these images' || die "it is not of these images"
	# And it is no hindrance.
	pager_start
	criu_restore
	want verify
	pager_end
	target_end
}

# Huge pages that nothing but the trace tells of: neither the VMA nor the system asks for them.
moved_as_huge() {
	local mode
	mode=$(cat /sys/kernel/mm/transparent_hugepage/enabled)
	[[ $mode != *"[always]"* ]] || skip "all memory gets huge pages here"
	victim_start victim_pattern -m 64
	ask collapse
	[ "$(smaps_huge_kb)" -ge $((60 << 10)) ] || skip "no huge pages to be had: $ANS"
	"$UR" trace -D "$D" --from "$VPID" || die "trace --from"
	criu_dump "$VPID"
	pager_start --agent
	criu_restore
	pager_end
	VPID=$RPID
	[ "$(smaps_huge_kb)" -lt $((8 << 10)) ] || die "huge pages with nothing to ask for them"
	target_end

	mv "$D/uffd-relocate.trace" "$V/img"
	pager_start --agent
	criu_restore
	pager_end
	VPID=$RPID
	note "$(smaps_huge_kb) KiB are huge"
	[ "$(smaps_huge_kb)" -ge $((60 << 10)) ] || die "only $(smaps_huge_kb) KiB came as huge pages"
	want verify
	target_end
}

run_case "what a dump finds in huge pages is noted" dumped_huge
# Pages 0 to 999, which are two blocks, were touched: the agent moves these as a whole, and no others.
hot_blocks() {
	local copied moved
	victim_start victim_pattern -m 64 -H
	[ "$(smaps_huge_kb)" -ge $((60 << 10)) ] || skip "no huge pages to be had"
	criu_dump "$VPID"
	pager_start --no-drain --record
	criu_restore
	ask rewrite 0 1000
	finish_pager record
	target_end

	pager_start --no-drain --agent --hot-budget 60s
	criu_restore
	until_true "$WAIT" grep -q 'has moved its hot blocks' "$D/work/lazy.log" ||
		die "the agent does not come to its end"
	moved=$(sum_of moved_huge_bytes)
	note "$moved bytes were moved as huge pages"
	# One may have lost its huge page to what showed which process it is.
	[ "$moved" -ge $((2 << 20)) ] && [ "$moved" -le $((4 << 20)) ] || die "that is not the hot blocks"
	copied=$(sum_of copied_fault_bytes)
	ask rewrite 0 1000
	# It also writes to memory that it had not used before, which comes as zeros.  A block for which
	# there was no huge page is not moved, and pages that had shown which process it is when it was
	# recorded have not faulted then.
	[ $(($(sum_of copied_fault_bytes) - copied)) -le $(((4 << 20) - moved + (64 << 10))) ] || die "faults on hot pages"
	want verify
	finish_pager replay
	target_end
}

run_case "what was huge at the dump comes huge" moved_as_huge
run_case "hot huge blocks are moved as a whole" hot_blocks
# ---- held back ----

log_has() { grep -q "$1" "$D/work/restore.log" 2>/dev/null; }

# The pager is held in the middle of the hot pages: criu must not let the task go.
recorded_pattern() {
	victim_start victim_pattern -m 16 -x 1
	criu_dump "$VPID"
	pager_start --no-drain --record
	criu_restore
	ask rewrite 0 100
	finish_pager record
	target_end
}
held_back() {
	local restore status=0
	recorded_pattern
	hold_at drain-place@1
	plugin_restore &
	restore=$!
	held
	until_true "$WAIT" log_has 'Run late stage hook' || die "criu does not come to its hook"
	read -r -t 0.5 <> <(:) || :
	log_has 'Tasks resumed' && die "the task runs while hot pages are on their way"
	release
	wait $restore || status=$?
	[ $status = 0 ] || die "the restore ended with $status"
	log_has 'Tasks resumed' || die "the task was not let go"
	unset UFFD_RELOCATE_FAULT
	RPID=$(cat "$D/work/pid")
	until_true "$WAIT" look || die "no status"
	LPID=$KEEPER_PID
	want verify
	plugin_pager_end
	target_end
}

# Its successor serves them, and goes by no trace.
held_killed() {
	recorded_pattern
	export UFFD_RELOCATE_FAULT=drain-place@10=kill
	plugin_restore
	unset UFFD_RELOCATE_FAULT
	[ "$INCARNATION" = 2 ] || die "this is pager number $INCARNATION"
	want verify
	plugin_pager_end
	want verify
	target_end
}

# With agents: what is hot is in place, by whole huge pages, before the task runs.
held_agent() {
	local kb lines moved copied
	victim_start victim_pattern -m 64 -H
	kb=$(smaps_huge_kb)
	[ "$kb" -ge $((60 << 10)) ] || skip "no huge pages to be had: $kb KiB"
	criu_dump "$VPID"
	pager_start --no-drain --record
	criu_restore
	ask rewrite 0 4000
	finish_pager record
	target_end

	export UFFD_RELOCATE_AGENT=yes
	plugin_restore
	unset UFFD_RELOCATE_AGENT
	lines=$(grep -nE 'has moved its hot blocks|the plugin said' "$D/work/lazy.log")
	moved=$(sum_of moved_huge_bytes)
	note "$moved bytes were moved as huge pages"
	[ "$moved" -ge $((2 << 20)) ] || die "that is not the hot blocks: $lines"
	# ASK, PLACED: the second answer comes when the blocks are in.
	[[ $lines == *"the plugin said"*"has moved its hot blocks"*"the plugin said"* ]] ||
		die "it was not held back: $lines"
	copied=$(sum_of copied_fault_bytes)
	ask rewrite 0 4000
	[ $(($(sum_of copied_fault_bytes) - copied)) -le $(((16 << 20) - moved + (64 << 10))) ] || die "faults on hot pages"
	want verify
	plugin_pager_end
	want verify
	target_end
}

run_case "hot huge blocks are moved before the task runs" held_agent
run_case "tasks are held back while hot pages are on their way" held_back
run_case "the pager is killed while hot pages are on their way" held_killed
run_case "redis: 4000 requests" redis
run_case "CPython: a twentieth of its objects" cpython
all_done
