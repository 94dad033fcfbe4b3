#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Plain lazy restores: one task, holes, threads, trees with a zombie and shared memory.
# timeout: 300
. "$(dirname "$0")/lib.sh"
in_roots forky trixie

# pattern ARG...: every byte, after running on; then once more stopped, against the images.
pattern() {
	victim_start victim_pattern "$@"
	criu_dump "$VPID"
	pager_start
	criu_restore
	want touch 100 7
	want verify
	ask rewrite all
	want verify
	pager_end
	want verify
	target_end
	stopped
}

# stopped: restore the same images with --leave-stopped and compare every byte.
stopped() {
	pager_start
	criu_restore --leave-stopped
	pager_end
	memory_equal
	kill -9 "$RPID"
}

busy() {
	victim_start victim_pattern -m 64 -t 4
	want verify
	ask run 1
	criu_dump "$VPID"
	pager_start
	criu_restore
	want stop
	[ "$(field ops)" -gt 0 ] || die "the threads did nothing: $ANS"
	want verify
	pager_end
	want verify
	target_end
	stopped
}

tree() {
	victim_start victim_tree "$@"
	criu_dump "$VPID"
	pager_start
	criu_restore
	want verify
	[ "$(field tasks)" = 5 ] || die "not all tasks answer: $ANS"
	ask rewrite
	want verify
	if [ "${*: -1}" = -z ]; then
		ask zombie
		[ "$ANS" = "zombie there status=42" ] || die "$ANS"
	fi
	pager_end
	want verify
	target_end
	stopped
}

# Can the comparison fail?  One byte of the stopped task is changed behind its back.
spoiled() {
	local status=0
	victim_start victim_pattern -m 4
	criu_dump "$VPID"
	pager_start
	criu_restore --leave-stopped
	pager_end
	python3 "$T/tools/poke.py" "$RPID" 0x3123
	"$B/tests/tools/memcmp_image" "$D/img" "$RPID" >"$D/memcmp.log" 2>&1 || status=$?
	[ $status = 1 ] || die "memcmp_image exits with $status"
	grep -q '^wrong: pid [0-9]* address 0x[0-9a-f]*123 ' "$D/memcmp.log" || die "wrong report"
	grep -q '^wrong=1 ' "$D/memcmp.log" || die "wrong count"
	kill -9 "$RPID"
}

run_case "one changed byte in a stopped task is noticed" spoiled
run_case "one task, 64 MiB" pattern -m 64
run_case "every other page" pattern -m 64 -x 1
run_case "threads" pattern -m 64 -t 4
run_case "threads that write at dump and restore" busy
run_case "five tasks, memory shared copy-on-write" tree -m 32
run_case "a tree with a zombie" tree -m 16 -z
all_done
