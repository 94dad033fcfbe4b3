#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 900
# move, on processes that do not stand still: threads at work on what is moved before and after,
# writes in the very moment, mappings that come and go, ends of all kinds in the middle of it.
. "$(dirname "$0")/lib.sh"
needs_move

M=2048
victim_start
for i in 0 1 2 3; do area $i $M; done
area 4 4096 huge
area 5 4096 huge
for i in 0 2 4; do ask fill $i; done
ask threads 4
# home[I]: where pages of area I are now, I or its twin.  A quarter at a time is parked and moved.
declare -a home
good=0
for round in $(seq 40); do
	i=$((round % 3 * 2)) q=$((round / 3 % 4)) n=$((M / 4))
	[ $i != 4 ] || n=1024
	from=${home[i * 4 + q]:-$i}
	to=$((i * 2 + 1 - from))
	first=$((q * n))
	ask park "$from" $first $n
	run move -p "$victim" "$(addr "$from" $first)" "$(addr "$to" $first)" $((n * page))
	[ "$status" = 0 ] || { sed 's/^/# /' "$tmp/err"; break; }
	ask take "$from" $first "$to" $first $n
	ask unpark "$from" $first $n
	home[i * 4 + q]=$to
	good=$((good + 1))
done
ok "forty moves to and fro under four threads at work" test $good = 40
ask halt
ok "... the threads have found every byte right" test "$(of bad)" = 0
ok "... and done something" test "$(of ops)" -gt 1000
ok "... every byte is right" verified $((M + M + 4096))
ok "the victim ends well" victim_end

# Writes to pages that are moved in that moment.
lost=0 moved=0 writes=0
for round in 1 2 3 4 5 6; do
	victim_start
	area 0 4096
	area 1 4096
	ask fill 0
	ask write 0
	run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 16M
	[ "$status" = 0 ] || { sed 's/^/# /' "$tmp/err"; lost=$((lost + 1)); }
	ask unwrite 0 1
	lost=$((lost + $(of bad))) moved=$((moved + $(of moved))) writes=$((writes + $(of writes)))
	victim_kill
done
ok "no write is lost, each is moved or stays" test $lost = 0
ok "... of all pages" test $moved = $((6 * 4096))
ok "... while there were writes" test "$writes" -gt 4096
victim_start
area 0 16
area 1 16
ask fill 0
ask write 0
ask take 0 0 1 0 0
run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 64K
ask fill 1 7 1
ask unwrite 0 1
ok "a lost write would be found" test "$(of bad)" -gt 0
victim_kill

# The process unmaps and maps source or destination all the time.
for side in 0 1; do
	victim_start
	area 0 1024
	area 1 1024
	area 2 1024
	ask fill 2
	ask park 0 0 1024
	ask park 1 0 1024
	ask threads 2
	ask churn $side
	wrong=0
	for round in $(seq 15); do
		[ $side = 0 ] || ask fill 0
		run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 4M --holes --partial
		case $status in
		0 | 1 | 4) ;;
		*) wrong=$((wrong + 1)); sed 's/^/# /' "$tmp/err" ;;
		esac
		[ "$status" = 0 ] || [ -s "$tmp/err" ] || wrong=$((wrong + 1))
		# What has become of these two is not the business of the oracle.
		ask discard $((1 - side)) 0 1024
	done
	ask unchurn
	churns=$(of n)
	ok "areas that come and go at the $([ $side = 0 ] && echo source || echo destination): each move ends, with a reason" test $wrong = 0
	ok "... they came and went" test "$churns" -gt 15
	ask halt
	ok "... the other threads have found every byte right" test "$(of bad)" = 0
	ok "... the rest is right" verified 1024
	ok "the victim ends well" victim_end
done

# ---- in the middle ----

P=16384
# half: a victim with area 0 filled and a move of it to area 1 on its way, page by page, and stopped as
# soon as it has begun; $mover is its pid.
for ((i = 0; i < P; i++)); do echo "$i"; done >"$tmp/pages"
half() {
	local line
	victim_start
	area 0 $P
	area 1 $P
	ask fill 0
	snapshot >"$tmp/before"
	while read -r i; do
		echo $((at[0] + i * page)) $((at[1] + i * page)) $page
	done <"$tmp/pages" >"$tmp/ranges"
	# The bar is drawn for the first time after the first batch.
	exec {lines}< <(exec "$bin" move -p "$victim" --from-file "$tmp/ranges" --json --progress \
		2>&1 >"$tmp/out")
	mover=$!
	read -r -d ']' -t 120 -u "$lines" line || bail "the move does not begin: $line"
	kill -STOP "$mover"
}
# over: the move's end; its last line is in $tmp/out, how much it moved in $moved_pages.
over() {
	tr '\r' '\n' <&"$lines" | grep -v '^\[' >"$tmp/err"
	wait "$mover"
	status=$?
	exec {lines}<&-
	moved_pages=$(sed -nE 's/^\{"event":"result".*"moved_bytes":([0-9]+).*/\1/p' "$tmp/out")
	moved_pages=$((${moved_pages:-0} / page))
}
# middle: did the move not come to its end?
middle() { [ "$status" != 0 ] && ! grep -q '"status":0,' "$tmp/out"; }
middle_seen() { middle && [ "$(there 1 0 $P)" -lt $P ]; }
# in_the_middle CHECK COMMAND...: does that in the middle of a move; again when the move was over.
in_the_middle() {
	local try check=$1
	shift
	for try in 1 2 3 4 5 6 7 8; do
		half
		"$@"
		kill -CONT "$mover" 2>/dev/null
		over
		! "$check" || return 0
		echo "# attempt $try: the move was over"
		victim_kill
	done
	bail "the move is always over"
}
stop_mover() { kill -"$1" "$mover"; }

for sig in INT TERM; do
	ok "SIG$sig in the middle" in_the_middle middle stop_mover $sig
	ok "... status 4" is 4
	ok "... said" grep -qE "stopped; $((moved_pages * page)) of $((P * page)) bytes were moved$" "$tmp/err"
	ok "... exactly so many have moved" test "$(there 1 0 $P) $(there 0 0 $P)" = "$moved_pages $((P - moved_pages))"
	ask take 0 0 1 0 "$moved_pages"
	ok "... every byte is right" verified $P
	snapshot >"$tmp/after"
	ok "... the process is as it was" cmp "$tmp/before" "$tmp/after"
	run move -p "$victim" "$(addr 0 "$moved_pages")" "$(addr 1 "$moved_pages")" $(((P - moved_pages) * page))
	ok "... it can be gone on from there" is 0
	ask take 0 "$moved_pages" 1 "$moved_pages" $((P - moved_pages))
	ok "... every byte is right" verified $P
	ok "the victim ends well" victim_end
done

# The victim has no other children.
agents() { cat "/proc/$victim/task"/*/children | tr -d ' '; }
ok "SIGKILL in the middle" in_the_middle middle_seen stop_mover KILL
# It may still be at work on its last batch.
idle() { grep -q '^State:.S' "/proc/$(agents)/status"; }
ok "... the agent is left, and sleeps" wait_for 60 idle
moved_pages=$(there 1 0 $P)
ok "... a part has moved, no page is lost" test $((moved_pages + $(there 0 0 $P))) = $P
ask take 0 0 1 0 "$moved_pages"
ok "... every byte is right" verified $P
ask fill 1 $((P - 1)) 1
ok "... nobody waits for it who touches the destination" test "$(there 1 $((P - 1)) 1)" = 1
ask discard 1 $((P - 1)) 1
kill -9 "$(agents)"
run move -p "$victim" "$(addr 0 "$moved_pages")" "$(addr 1 "$moved_pages")" $(((P - moved_pages) * page))
ok "... the rest can be moved" is 0
ask take 0 "$moved_pages" 1 "$moved_pages" $((P - moved_pages))
ok "... every byte is right" verified $P
ok "the victim ends well" victim_end

kill_agent() { kill -9 "$(agents)"; }
ok "the agent is killed in the middle" in_the_middle middle_seen kill_agent
ok "... status 4" is 4
ok "... said" grep -q "was killed or got stuck; $((moved_pages * page)) of" "$tmp/err"
ok "... exactly so many have moved" test "$(there 1 0 $P) $(there 0 0 $P)" = "$moved_pages $((P - moved_pages))"
ask take 0 0 1 0 "$moved_pages"
ok "... every byte is right" verified $P
snapshot >"$tmp/after"
ok "... the process is as it was" cmp "$tmp/before" "$tmp/after"
ok "the victim ends well" victim_end

stop_agent() { kill -STOP "$(agents)"; }
ok "the agent is frozen in the middle" in_the_middle middle_seen stop_agent
ok "... it is given up after a while: status 4" is 4
ok "... said" grep -q "was killed or got stuck; $((moved_pages * page)) of" "$tmp/err"
ok "... exactly so many have moved" test "$(there 1 0 $P) $(there 0 0 $P)" = "$moved_pages $((P - moved_pages))"
ask take 0 0 1 0 "$moved_pages"
ok "... every byte is right" verified $P
snapshot >"$tmp/after"
ok "... the process is as it was" cmp "$tmp/before" "$tmp/after"
ok "the victim ends well" victim_end

kill_victim() { kill -9 "$victim"; }
ok "the process is killed in the middle" in_the_middle middle kill_victim
ok "... status 1" is 1
ok "... said" grep -q "the process has ended" "$tmp/err"
victim_kill
tell_exec() { tell exec; wait_for 60 grep -q sleep "/proc/$victim/comm"; }
ok "the process executes another program in the middle" in_the_middle middle tell_exec
ok "... status 1" is 1
ok "... said" grep -q "the process executes another program now" "$tmp/err"
ok "... that goes on" grep -q sleep "/proc/$victim/comm"
ok "... alone" test -z "$(agents)"
victim_kill
stop_victim() { kill -STOP "$victim"; }
stopped_anew() { [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$victim/status")" = T ]; }
half
stop_victim
kill -CONT "$mover"
over
ok "the process is stopped in the middle: the move goes on" is 0
ok "... it is still stopped" wait_for 10 stopped_anew
run move -p "$victim" "$(addr 1 0)" "$(addr 0 0)" $((P * page))
ok "a stopped process can have its pages moved" is 0
ok "... it is still stopped" wait_for 10 stopped_anew
kill -CONT "$victim"
ok "... every byte is right" verified $P
ok "the victim ends well" victim_end

# ---- others ----

# What the filter of the process forbids, the agent does all the same.
victim_start "$O/tests/deny/deny" userfaultfd ioctl:UFFDIO_MOVE --
area 0 64
area 1 64
ask fill 0
snapshot >"$tmp/before"
ok "the process has a seccomp filter" grep -qP '^Seccomp:\t2$' "/proc/$victim/status"
run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 256K
ok "... its pages move" is 0
ask take 0 0 1 0 64
ok "... every byte is right" verified 64
snapshot >"$tmp/after"
ok "... the process is as it was" cmp "$tmp/before" "$tmp/after"
ok "the victim ends well" victim_end

# An unprivileged process may make no userfaultfd that serves the kernel, and needs none.
if command -v setpriv >/dev/null; then
	victim_start setpriv --reuid 65534 --regid 65534 --clear-groups --
	area 0 64
	area 1 64
	ask fill 0
	run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 256K
	ok "the process has no privileges: its pages move" is 0
	ask take 0 0 1 0 64
	ok "... every byte is right" verified 64
	ok "the victim ends well" victim_end
else
	skip "setpriv is missing"
fi

if command -v python3 >/dev/null; then
	cat >"$tmp/holder.py" <<'END'
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
sys.exit("PTRACE_SEIZE") if libc.ptrace(0x4206, int(sys.argv[1]), None, None) else None
print("held", flush=True)
sys.stdin.read()
END
	mkfifo "$tmp/hold"
	# hold: somebody traces the victim from now on; let_go: until now.
	hold() {
		rm -f "$tmp/held"
		python3 "$tmp/holder.py" "$victim" <"$tmp/hold" >"$tmp/held" &
		holder=$!
		exec {hold}>"$tmp/hold"
		wait_for 60 grep -qs held "$tmp/held" || bail "PTRACE_SEIZE"
	}
	let_go() {
		exec {hold}>&-
		wait "$holder"
	}
	all_moved() { [ "$(there 1 0 $P)" = $P ]; }

	victim_start
	area 0 64
	area 1 64
	ask fill 0
	hold
	run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 256K
	ok "somebody traces the process: status 1" is 1
	ok "... said" says "no agent can be placed"
	let_go
	run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 256K
	ok "... it moves once nobody does" is 0
	ask take 0 0 1 0 64
	ok "... every byte is right" verified 64
	ok "the victim ends well" victim_end

	half
	hold
	kill -CONT "$mover"
	ok "somebody begins to trace it in the middle: it moves" wait_for 120 all_moved
	let_go
	over
	ok "... and waits until nobody does" is 0
	ask take 0 0 1 0 $P
	ok "... every byte is right" verified $P
	snapshot >"$tmp/after"
	ok "... the process is as it was" cmp "$tmp/before" "$tmp/after"
	ok "the victim ends well" victim_end

	half
	hold
	kill -CONT "$mover"
	wait_for 120 all_moved
	kill -INT "$mover"
	over
	ok "... or is told not to: status 4" is 4
	ok "... said which process is left, and what to do" grep -q "the agent, process $(agents), is left in the process: .*; kill it" "$tmp/err"
	let_go
	ask take 0 0 1 0 $P
	ok "... every byte is right" verified $P
	kill -9 "$(agents)"
	ok "the victim ends well" victim_end

	cat >"$tmp/victim.py" <<'END'
import ctypes, hashlib, mmap, random, sys, threading
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
size = 8 << 20
src, dst = mmap.mmap(-1, size, flags=flags), mmap.mmap(-1, size, flags=flags)
src.write(random.Random(1).randbytes(size))
digest = hashlib.sha256(src).hexdigest()
address = lambda m: ctypes.addressof(ctypes.c_char.from_buffer(m))
stop, errors = threading.Event(), []
def work(seed):
    r = random.Random(seed)
    while not stop.is_set():
        data = {r.random(): str(i) for i in range(1000)}
        if sorted(data) != sorted(data, key=float) or len(data) != 1000:
            errors.append(seed)
threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
[t.start() for t in threads]
print(address(src), address(dst), size, flush=True)
sys.stdin.readline()
stop.set()
[t.join() for t in threads]
good = hashlib.sha256(dst).hexdigest() == digest and src[:] == bytes(size) and not errors
print("good" if good else "bad", flush=True)
END
	mkfifo "$tmp/py.in" "$tmp/py.out"
	python3 "$tmp/victim.py" <"$tmp/py.in" >"$tmp/py.out" &
	python=$!
	exec {py_in}>"$tmp/py.in" {py_out}<"$tmp/py.out"
	read -r -t 60 src dst size <&"$py_out" || bail "python3"
	run move -p $python "$src" "$dst" "$size"
	ok "python3 with threads: moves" is 0
	echo >&"$py_in"
	read -r -t 120 verdict <&"$py_out"
	ok "... and finds everything right" test "$verdict" = good
	wait $python
	ok "... and ends well" test $? = 0
	exec {py_in}>&- {py_out}<&-
else
	skip "python3 is missing"
fi
finish
