#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Real programs: redis under load, CPython, a process in namespaces of its own, a runc container.
# timeout: 600
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/runc.sh"
in_roots forky trixie

# ---- redis ----

cli() { timeout "$WAIT" redis-cli "${CLI[@]}" "$@"; }
redis_answers() { [ "$(timeout 5 redis-cli "${CLI[@]}" ping 2>/dev/null)" = PONG ]; }

redis_launch() { # OPTION...
	cd "$D"
	setsid redis-server --save '' --appendonly no --enable-debug-command yes --daemonize no \
		--logfile '' --dir "$D" "$@" </dev/null >/dev/null 2>&1 8>&- 9>&- &
	VPID=$!
	until_true "$WAIT" redis_answers || die "redis does not answer"
}

redis_start() { # OPTION...
	lucky redis_launch "$@"
	# 500,000 keys with 1000 bytes each.
	cli debug populate 500000 key 1000 >/dev/null
	DIGEST=$(cli debug digest)
	[ ${#DIGEST} = 40 ] || die "no digest: $DIGEST"
	note "redis $(redis-server --version | cut -d ' ' -f 3): $(awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$VPID/status") MiB, digest $DIGEST"
}

redis_verify() {
	local now
	cli -n 1 flushdb >/dev/null
	[ "$(cli dbsize)" = 500000 ] || die "keys are missing"
	now=$(cli debug digest)
	[ "$now" = "$DIGEST" ] || die "the digest is $now"
	note "digest after: $now"
}

redis_end() {
	cli shutdown nosave >/dev/null 2>&1 || :
	until_true "$WAIT" gone "$RPID" || die "redis does not end"
}

loaded() { [ -n "$(cli -n 1 randomkey)" ]; }
load() { redis-benchmark "${CLI[@]}" --dbnum 1 -t set,get -c 4 -r 20000 -d 200 "$@" >"$D/load.log" 2>&1; }

# Clients are connected by TCP all the time, from before the dump to after the drain.
redis_tcp() {
	case $E2E_INSIDE in trixie) skip "criu 4.1.1 cannot dump inet sockets on this kernel" ;; esac
	CLI=(-h 127.0.0.1 -p 7001)
	redis_start --port 7001 --bind 127.0.0.1
	load -n 60000 --csv &
	local load=$! before after
	until_true "$WAIT" loaded || die "no load"
	criu_dump "$VPID" --tcp-established --network-lock nftables
	before=$(cat "$D/load.log")
	pager_start
	criu_restore --tcp-established --network-lock nftables
	gone $load && die "the load was over before the restore"
	until_true "$WAIT" gone $load || die "the load does not end: $(tail -c 300 "$D/load.log"); $(nft list ruleset 2>&1 | tr "\n" " "; ss -tn | head -12)"
	wait $load || die "the load failed: $(tail -n 3 "$D/load.log")"
	after=$(grep -c '^"[SG]ET"' "$D/load.log") || :
	[ "$after" = 2 ] || die "the load reports: $(tail -n 5 "$D/load.log") (before: $before)"
	redis_verify
	pager_end
	redis_verify
	redis_end
}

# By unix socket, whose clients cannot be carried over: the load starts at once after the restore.
redis_unix() {
	CLI=(-s "$D/redis.sock")
	redis_start --port 0 --unixsocket "$D/redis.sock"
	criu_dump "$VPID"
	rm -f "$D/redis.sock"
	pager_start
	criu_restore
	load -n 40000 --csv || die "the load failed: $(tail -n 3 "$D/load.log")"
	[ "$(grep -c '^"[SG]ET"' "$D/load.log")" = 2 ] || die "the load reports: $(cat "$D/load.log")"
	redis_verify
	pager_end
	redis_verify
	redis_end
}

# ---- CPython ----

python_objects() {
	victim_start victim_python.py 150000
	criu_dump "$VPID"
	pager_start
	criu_restore
	want verify
	ask mutate
	want verify
	pager_end
	want verify
	target_end
	pager_start
	criu_restore --leave-stopped
	pager_end
	memory_equal
	kill -9 "$RPID"
}

# ---- namespaces ----

namespaces() {
	local jail=$D/jail
	mkdir -p "$jail"
	mkfifo "$jail/cmd" "$jail/ans"
	cp "$B/tests/victim/victim_pattern" "$jail/victim"
	exec 8<>"$jail/cmd" 9<>"$jail/ans"
	VPID=$("$B/tests/tools/jail" "$jail" /victim / -m 64 -t 2)
	answer
	[[ $ANS == "ready pid=1 "* ]] || die "$ANS"
	criu_dump "$VPID"
	mount --bind "$jail" "$jail"
	pager_start
	criu_restore --root "$jail"
	[ "$(awk '/^NSpid/ { print $NF }' "/proc/$RPID/status")" = 1 ] || die "not pid 1 in there"
	want touch 1000 3
	want verify
	pager_end
	want verify
	target_end
	pager_start
	criu_restore --root "$jail" --leave-stopped
	pager_end
	memory_equal
	kill -9 "$RPID"
	until_true "$WAIT" gone "$RPID"
	umount "$jail"
}

# ---- runc ----

runc_container() {
	runc_dump -m 64
	pager_start
	runc_restore
	want touch 1000 3
	want verify
	pager_end
	want verify
	runc_end
}

run_case "redis by TCP, under load from before the dump to the end" redis_tcp
run_case "redis by unix socket, under load from resume on" redis_unix
run_case "CPython" python_objects
run_case "a PID and mount namespace" namespaces
run_case "runc checkpoint, runc restore --lazy-pages" runc_container
all_done
