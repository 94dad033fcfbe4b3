#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 600
# move: base pages, huge pages, parts, holes, several ranges, areas of every kind.  Each time every
# byte is checked by the victim, and the process is otherwise as it was.
. "$(dirname "$0")/lib.sh"
needs_move

# moved I A J B N [OPTION]...: move N pages, and tell the victim.
moved() {
	local i=$1 a=$2 j=$3 b=$4 n=$5
	shift 5
	run move -p "$victim" "$(addr "$i" "$a")" "$(addr "$j" "$b")" $((n * page)) "$@"
	[ "$status" = 0 ] || return 1
	ask take "$i" "$a" "$j" "$b" "$n"
}
# keeps_frames I J N: pages of I go to J and back until none of them was migrated by the kernel in
# between; a copy has other frames every time.
keeps_frames() {
	local before after try
	for try in 1 2 3 4 5; do
		before=$(frames "$1" 0 "$3")
		moved "$1" 0 "$2" 0 "$3" || return 1
		after=$(frames "$2" 0 "$3")
		[ "$before" != "$after" ] || return 0
		echo "# attempt $try: $before, then $after"
		moved "$2" 0 "$1" 0 "$3" || return 1
	done
	return 1
}
as_before() { snapshot >"$tmp/after"; diff "$tmp/before" "$tmp/after" | sed 's/^/# /'; cmp -s "$tmp/before" "$tmp/after"; }

victim_start
area 0 4096
area 1 4096
area 2 64
ask fill 0
ask fill 2
snapshot >"$tmp/before"
ok "base pages move" keeps_frames 0 1 4096
ok "... and keep their frames; nothing on stderr" quiet
ok "... all of them" test "$(there 1 0 4096)" = 4096
ok "... the source is empty" test "$(there 0 0 4096)" = 0
ok "... and still mapped, the process as it was" as_before
ok "... every byte is right" verified $((4096 + 64))
ok "... how many is told" grep -qE '^moved 16777216 bytes in [0-9.]+ ms$' "$tmp/out"
ok "they move back" moved 1 0 0 0 4096
ok "... every byte is right" verified $((4096 + 64))
ok "a part in the middle moves elsewhere" moved 0 1000 1 17 1500
ok "... only that" test "$(there 1 0 4096) $(there 0 0 4096)" = "1500 2596"
ok "... every byte is right" verified $((4096 + 64))
ok "one page moves" moved 2 63 1 4095 1
ok "... every byte is right" verified $((4096 + 64))
ask spoil 0 0
ask verify
ok "a wrong bit would be found" test "$(of bad)" = 1
victim_kill

victim_start
area 0 4096 huge
area 1 4096
area 2 4096 huge odd
ask fill 0
ask hugekb 0
if [ "$(of kb)" = 16384 ]; then
	snapshot >"$tmp/before"
	run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 16M --dry-run
	ok "huge pages are announced" out_has "16M in huge pages (0B of it will be split)"
	ok "... and move" keeps_frames 0 1 4096
	ask hugekb 1
	ok "... and are huge" test "$(of kb)" = 16384
	ok "... every byte is right" verified 4096
	ok "... the process is as it was" as_before
	run move -p "$victim" "$(addr 1 0)" "$(addr 2 0)" 16M --dry-run
	ok "where they do not fit it is said" out_has "16M in huge pages (16M of it will be split)"
	ok "... and they move all the same" moved 1 0 2 0 4096
	ok "... every byte is right" verified 4096
	ok "... the process is as it was" as_before
else
	skip "no huge pages are to be had here"
fi
ok "the victim ends well" victim_end

victim_start
area 0 64
area 1 64
ask fill 0
ask discard 0 10 3
ask discard 0 63 1
run move -p "$victim" "$(addr 0 0)" "$(addr 1 0)" 256K
ok "a hole in the source is refused" is 1
ok "... by name and address" says "source $(addr 0 10): never touched (--holes leaves such pages out) (16K)"
ok "... nothing has moved" test "$(there 1 0 64)" = 0
ok "--holes leaves it out" moved 0 0 1 0 64 --holes
ok "... it is a hole at the destination" test "$(there 1 10 3) $(there 1 63 1) $(there 1 0 64)" = "0 0 60"
ok "... every byte is right" verified 60

ask drop 0
ask fill 1 0 64
gone=$(printf '%#x' "${at[0]}")
run move -p "$victim" "$(addr 1 0)" "$gone" 256K
ok "no destination: refused" is 1
ok "... by name" says "(--map-dst maps it)"
run move -p "$victim" "$(addr 1 0)" "$gone" 256K --map-dst --dry-run
ok "--map-dst --dry-run: says what it would map" out_has "256K of the destination to be mapped"
run move -p "$victim" "$(addr 1 0)" "$gone" 256K --map-dst
ok "the room is kept by other memory: refused" is 1
ok "the victim ends well" victim_end

victim_start
area 0 64 rwx
ask fill 0
free=$(room)
snapshot >"$tmp/before"
run move -p "$victim" "$(addr 0 0)" "$free" 256K --map-dst
ok "--map-dst maps and moves" is 0
grep "^${free#0x}-" "/proc/$victim/maps" >"$tmp/out"
ok "... memory with the same access" grep -q " rwxp 00000000 00:00 0" "$tmp/out"
ok "... of that size" grep -q "^${free#0x}-$(printf '%x' $((free + 64 * page))) " "$tmp/out"
grep -v "^${free#0x}-" < <(snapshot) >"$tmp/after"
ok "... and no other" test -z "$(diff "$tmp/before" "$tmp/after")"
run move -p "$victim" "$free" "$(addr 0 0)" 256K
ok "... from there it moves back" is 0
ok "... every byte is right" verified 64
ok "the victim ends well" victim_end

# Memory that is mapped is locked then, and full; the source is locked, too.
victim_start
area 0 64
ask future
area 1 64
ask fill 1
free=$(room)
run move -p "$victim" "$(addr 1 0)" "$free" 256K --map-dst
ok "--map-dst where all that is mapped gets locked" is 0
run move -p "$victim" "$free" "$(addr 1 0)" 256K
ok "... and back" test "$status" = 0
ok "... every byte is right" verified 64
ask fill 0
snapshot | grep -v '^[1-9][0-9]* ' >"$tmp/before"
run move -p "$victim" "$(addr 0 0)" "$(printf '%#x' $((free + mib)))" 256K --map-dst
ok "... but a source that is not locked: status 1" is 1
ok "... said" grep -q "only the destination is locked" "$tmp/err"
snapshot | grep -v '^[1-9][0-9]* ' >"$tmp/after"
ok "... nothing is left of the destination" cmp "$tmp/before" "$tmp/after"
ok "... every byte is right" verified 128
ok "the victim ends well" victim_end

for kind in rwx zero locked; do
	victim_start
	area 0 512 $kind
	# Locked memory is populated at once.
	area 1 512 ${kind/locked/dontneed}
	ask fill 0
	snapshot >"$tmp/before"
	ok "$kind: moves" keeps_frames 0 1 512
	ok "$kind: every byte is right" verified 512
	ok "$kind: the process is as it was" as_before
	ok "$kind: the victim ends well" victim_end
done

victim_start
area 0 600
area 1 600
area 2 600
ask fill 0
ask split 0 100
ask split 1 350
snapshot >"$tmp/before"
ok "over the borders of areas on either side" moved 0 0 1 0 600
ok "... every byte is right" verified 600
ok "... the process is as it was" as_before
{
	echo "# three ranges, one a line"
	echo "$(addr 1 0) $(addr 2 500) 400K   # to the end"
	echo
	echo "$((at[1] + 100 * page)) $((at[2])) 0x64000"
	echo "$(addr 1 200) $(addr 0 200) $((400 * page))"
} >"$tmp/ranges"
run move -p "$victim" --from-file "$tmp/ranges" --json
ok "several ranges from a file" is 0
ask take 1 0 2 500 100
ask take 1 100 2 0 100
ask take 1 200 0 200 400
ok "... every byte is right" verified 600
ok "... told range by range" grep -q '"whole_ranges":3,"next_range_bytes":0,' "$tmp/out"
if command -v python3 >/dev/null; then
	ok "... in lines of JSON: plan, progress, result" python3 - "$tmp/out" <<'END'
import json, sys
with open(sys.argv[1], encoding="utf-8") as f:
    lines = [json.loads(line) for line in f]
events = [line["event"] for line in lines]
assert events[0] == "plan" and events[-1] == "result" and "progress" in events[1:-1], events
assert lines[0]["total_bytes"] == lines[-1]["moved_bytes"] == lines[-2]["total_bytes"]
assert lines[0]["issues"] == [] and len(lines[0]["ranges"]) == 3
assert lines[-1]["status"] == 0 and lines[-1]["why"] is None and lines[-1]["move_ns"] > 0
END
else
	skip "python3 is missing: JSON is not read"
fi
echo "$(addr 2 500) $(addr 1 0) 400K" >"$tmp/ranges"
run move -p "$victim" --from-file - <"$tmp/ranges"
ok "a file and ends of input: nothing to move" is 2
timeout 60 "$bin" move -p "$victim" --from-file - "$(addr 2 0)" "$(addr 1 100)" 400K <"$tmp/ranges" >"$tmp/out" 2>&1
status=$?
ok "standard input and words together" is 0
ask take 2 500 1 0 100
ask take 2 0 1 100 100
ok "... every byte is right" verified 600
ok "... the process is as it was" as_before
run move -p "$victim" "$(addr 1 0)" "$(addr 2 0)" 800K --dry-run
ok "--dry-run: 0" is 0
ok "... nothing has moved" test "$(there 1 0 200) $(there 2 0 600)" = "200 0"
run move -p "$victim" "$(addr 1 0)" "$(addr 2 0)" 800K --progress
ok "--progress draws a bar" grep -q '\[#*\] 800K of 800K' "$tmp/err"
ask take 1 0 2 0 200
ok "... every byte is right" verified 600
ok "the victim ends well" victim_end
finish
