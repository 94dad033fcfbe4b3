# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# vm/cases.sh: restores by criu 3.17.1 that have to go well with and without UFFDIO_MOVE.
#
# $AGENT, "--agent" or nothing, is what the pager is told.

AGENT=

right_place() {
	[[ $(criu --version) == *3.17.1* ]] || skip "criu is $(criu --version | head -n 1), not 3.17.1"
	[[ $(uname -r) == 6.1.* ]] || die "the kernel is $(uname -r)"
	criu check >"$D/check.log" 2>&1 || die "criu check fails: $(tail -n 3 "$D/check.log")"
}

# feature_move: does the pager's own probe find UFFDIO_MOVE here?
feature_move() {
	"$UR" check --json | python3 -c '
import json, sys
sys.exit(not json.load(sys.stdin)["uffd_features"] & 1 << 16)'
}

# stopped [OPTION...]: restore the same images with --leave-stopped and compare every byte.
stopped() {
	pager_start $AGENT
	criu_restore --leave-stopped
	pager_end
	memory_equal
	kill -9 "$RPID"
}

pattern() {
	victim_start victim_pattern "$@"
	criu_dump "$VPID"
	pager_start $AGENT
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

busy() {
	victim_start victim_pattern -m 32 -t 4
	ask run 1
	criu_dump "$VPID"
	pager_start $AGENT
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
	pager_start $AGENT
	criu_restore
	want verify
	[ "$(field tasks)" = 5 ] || die "not all tasks answer: $ANS"
	ask rewrite
	want verify
	ask zombie
	[ "$ANS" = "zombie there status=42" ] || die "$ANS"
	pager_end
	want verify
	target_end
	stopped
}

# A part is written between the dumps, so the last set has pages of its own and of its parents.
parents() {
	victim_start victim_pattern -m 32
	mkdir -p "$V/pre1" "$V/pre2"
	criu pre-dump -t "$VPID" -D "$V/pre1" -o pre.log -v4 --track-mem 8>&- 9>&- ||
		die "criu pre-dump failed with $?"
	ask rewrite 100 3000
	criu pre-dump -t "$VPID" -D "$V/pre2" --prev-images-dir ../pre1 -o pre.log -v4 --track-mem \
		8>&- 9>&- || die "the second criu pre-dump failed with $?"
	ask rewrite 2000 100
	criu_dump "$VPID" --track-mem --prev-images-dir ../pre2
	[ -L "$V/img/parent" ] || die "there is no parent"
	[ "$(du -k --apparent-size "$V"/img/pages-1.img | cut -f1)" -lt 16384 ] ||
		die "everything was dumped again"
	pager_start $AGENT
	criu_restore
	want verify
	ask rewrite all
	want verify
	pager_end
	target_end
	stopped
}

# The plugin and the pager lie together, as in a build tree.
by_plugin() {
	local pager
	[ "$PAGER" = ours ] || skip "stock criu has no plugin"
	victim_start victim_pattern -m 32 -x 7
	criu_dump "$VPID"
	criu_restore -L "$B"
	pager=$(sed -n 's/.*uffd-relocate: .* started, pid //p' "$D/work/restore.log")
	[ -n "$pager" ] || die "no pager was started"
	want touch 100 7
	want verify
	until_true "$WAIT" gone "$pager" || die "the pager does not end"
	want verify
	target_end
	# Once more, stopped, against the images.
	rm -rf "$D/work"
	criu_restore -L "$B" --leave-stopped
	pager=$(sed -n 's/.*uffd-relocate: .* started, pid //p' "$D/work/restore.log")
	until_true "$WAIT" gone "$pager" || die "the pager does not end"
	memory_equal
	kill -9 "$RPID"
}

killed() {
	local old
	[ "$PAGER" = ours ] || skip "stock lazy-pages cannot be killed"
	victim_start victim_pattern -m 32
	criu_dump "$VPID"
	pager_start --rate 2M
	criu_restore
	want touch 100 3
	until_true "$WAIT" look || die "no status"
	[ "$PENDING" -gt 1000000 ] || die "only $PENDING bytes are pending"
	old=$PAGER_PID
	kill -9 "$old"
	until_true "$WAIT" another_pager "$old" || die "nobody took over"
	note "pager $old was killed with $PENDING bytes pending, $PAGER_PID took over"
	want verify
	kill -TERM "$KEEPER_PID"
	target_end
}

another_pager() { look && [ "$PAGER_PID" != "$1" ]; }

# Can the comparison fail?  One byte of the stopped task is changed behind its back.
spoiled() {
	local status=0
	victim_start victim_pattern -m 4
	criu_dump "$VPID"
	pager_start $AGENT
	criu_restore --leave-stopped
	pager_end
	python3 "$T/tools/poke.py" "$RPID" 0x3123
	"$B/tests/tools/memcmp_image" "$D/img" "$RPID" >"$D/memcmp.log" 2>&1 || status=$?
	[ $status = 1 ] || die "memcmp_image exits with $status"
	grep -q '^wrong=1 ' "$D/memcmp.log" || die "wrong count"
	kill -9 "$RPID"
}
