#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 120
# status and wait, against a server that says what the test wants.
. "$(dirname "$0")/lib.sh"
server=$O/tests/tools/fake_server
[ -x "$server" ] || bail "not built: $server"
dir=$tmp/work
mkdir "$dir"

# session PID STATE PENDING [REASON]
session() {
	local reason=null
	[ -z "${4:-}" ] || reason="\"$4\""
	printf '{"id":0,"pid":%s,"vpid":7,"parent":null,"state":"%s","reason":%s,"total_bytes":1073741824,"pending_bytes":%s,"copied_fault_bytes":4096,"copied_around_bytes":65536,"copied_drain_bytes":1572864,"moved_huge_bytes":8388608,"moved_base_bytes":4096,"hot_bytes":2097152,"replayed_bytes":1048576,"zero_bytes":0,"discarded_bytes":0,"faults":11,"events_fork":0,"events_remap":0,"events_remove":0,"events_unmap":0,"any_waiter_us":1500,"summed_wait_us":2500,"latency_us":[0,0,0,0,10,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}' \
		"$1" "$2" "$reason" "$3"
}
# state FILE STATE SESSION...
state() {
	local file=$tmp/$1 state=$2 list
	shift 2
	list=$(printf '%s,' "$@")
	printf '{"version":"0.1.0","keeper_pid":100,"pager_pid":101,"incarnation":3,"state":"%s","restored":true,"sessions":[%s]}\n' \
		"$state" "${list%,}" >"$file"
}
# serve [-w|-s] ANSWER...: the server in the background, listening when this returns.
serve() {
	local mode=()
	[[ $1 != -? ]] || { mode=("$1"); shift; }
	exec {up}< <(cd "$tmp" && exec "$server" "${mode[@]}" "$dir/uffd-relocate.socket" "$@" 2>"$tmp/server")
	server_pid=$!
	read -r -t 10 _ <&"$up" || bail "the server does not listen: $(cat "$tmp/server")"
}
gone() { exec {up}<&-; ! kill -0 "$server_pid" 2>/dev/null || wait "$server_pid"; }
gone_at_all() { kill "$server_pid" 2>/dev/null; exec {up}<&-; }

open_=$(session 42 open 536870912)
state open serving "$open_" "$(session 43 killed 0 "its image shrank")"
state open2 serving "$(session 42 open 1024)" "$(session 43 'done' 0)"
state last 'done' "$(session 42 'done' 0)" "$(session 43 gone 0)"
state killed 'done' "$(session 42 'done' 0)" "$(session 43 killed 0 "its image shrank")"
state failed failed "$open_"
state waiting waiting
state one serving "$(session 42 'done' 0)" "$(session 43 open 4096)"
echo hello >"$tmp/junk"
echo '[1]' >"$tmp/array"
printf '' >"$tmp/nothing"

run status -W "$dir"
ok "status without a socket: 1" is 1
ok "... in one line" says "status: no server in $dir: there is no uffd-relocate.socket"
run wait -W "$dir"
ok "wait without a socket: 1" is 1
ok "... in one line" says "wait: no server in $dir"
run status -W "$tmp/nowhere"
ok "a work directory that is not there: 1" is 1
ok "... in one line" says "$tmp/nowhere: No such file or directory"

serve open
run status -W "$dir"
gone
ok "status: 0" is 0
ok "the first line sums up" grep -qx 'serving, 2 processes; keeper 100, pager 101 (number 3), version 0.1.0' "$tmp/out"
ok "one that is half done" grep -qE '^ +42 +7 open +50% +1.0G +512M +4.0K +64K +1.5M +3.0M +8.0M +0B +0B +11 +<16us +<4ms +1.5 +none$' "$tmp/out"
ok "one that was killed, and why" grep -qE '^ +43 +7 killed .*its image shrank$' "$tmp/out"
run status -W "$dir"
ok "status after the server's end: 1" is 1
ok "... says so" says "it has ended"

serve open
run status -W "$dir" --json
gone
ok "--json hands the answer through" cmp -s "$tmp/out" "$tmp/open"
for bad in junk array; do
	serve $bad
	run status -W "$dir"
	gone
	ok "an answer that is no status ($bad): 1" is 1
	ok "... says so" says "does not speak as a server"
done
serve nothing
run status -W "$dir"
gone
ok "no answer at all: 1" is 1
ok "... says so" says "ended before it answered"
serve - open
before=$SECONDS
run status -W "$dir"
ok "a server that hangs: 1" is 1
ok "... says so" says "does not answer"
ok "... within its time" test $((SECONDS - before)) -le 10
gone_at_all

# What wait makes of the answers: TEXT STATUS SAID ARGUMENTS -- SERVER
try() {
	local text=$1 expect=$2 said=$3 args=()
	shift 3
	while [ "$1" != -- ]; do args+=("$1"); shift; done
	shift
	serve "$@"
	run wait -W "$dir" "${args[@]}"
	gone_at_all
	ok "$text: $expect" is "$expect"
	if [ -n "$said" ]; then
		ok "... says so" says "$said"
	else
		ok "... without a word" quiet
	fi
}
try "done at once" 0 "" -- last
try "done after a while" 0 "" -- waiting open2 open2 last
try "the last word of a server that is gone at the next poll" 0 "" --all -- -l open2 open2 last
try "one was killed" 1 "process 43 was killed: its image shrank" -- open open killed
try "the restore failed" 1 "the restore failed" -- open2 failed
try "the server dies" 1 "ended without saying how; when last seen it was serving, 1024 bytes were owed" -- -s open2 open2
try "the server dies and knows no wait" 1 "ended without saying how" -- -w open2 open2
try "a server that knows no wait, done in time" 0 "" -- -w open2 last
try "time is up" 1 "not done after 1 seconds" --timeout 1 -- open2 open2 open2 open2 open2 open2 open2 open2 open2 open2 open2 open2 last
try "one process that is done while others are not" 0 "" -p 42 -- one one
try "one process that is not done yet" 0 "" -p 43 -- one one last
try "one process that was killed" 1 "process 43 was killed" -p 43 -- open open
try "a process that is not of this restore" 1 "process 5 is not one" -p 5 -- open2 open2
try "a process that has not come yet" 0 "" -p 42 -- waiting last
try "a server that talks nonsense" 1 "does not speak as a server" -- junk
run wait -p x
ok "wait -p x: 2" is 2
run wait --timeout 0
ok "wait --timeout 0: 2" is 2

# A path that is longer than the address of a socket.
deep=$tmp/$(printf 'd%.0s' {1..120})
mkdir "$deep"
cd "$deep" || bail "$deep"
dir=.
exec {up}< <(exec "$server" uffd-relocate.socket "$tmp/open")
server_pid=$!
read -r -t 10 _ <&"$up" || bail "the server does not listen"
cd /
run status -W "$deep"
gone
ok "a long work directory" is 0
finish
