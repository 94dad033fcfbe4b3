#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# maps: what it says about memory of every kind, in text and JSON.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || { echo "1..0 # SKIP python3 is missing: JSON is not read"; exit 0; }

# about I KEY: what the last run with --json said about the area at ${at[I]}.
about() {
	python3 - "$tmp/out" "${at[$1]}" "$2" <<'END'
import json, sys
with open(sys.argv[1], encoding="utf-8") as f:
    areas = json.load(f)["areas"]
for area in areas:
    if area["start"] == int(sys.argv[2]):
        print(area[sys.argv[3]])
END
}
says_of() { [[ $(about "$1" why_not) == *"$2"* ]] || { echo "# $(about "$1" why_not)"; return 1; }; }
moves() { [ "$(about "$1" movable_bytes)" = $(($2 * page)) ] || { echo "# $(about "$1" movable_bytes)"; return 1; }; }

victim_start
area 0 64
ask fill 0 0 48
area 1 64 ro
area 2 64 rwx
ask fill 2
area 3 64 shared
ask fill 3
area 4 64 file
ask fill 4
area 5 64 zero
ask fill 5
area 6 64 locked
ask fill 6
area 7 1536 huge odd
ask fill 7
area 8 64
ask fill 8
ask guard 8 7
guard=$(of error)

snapshot >"$tmp/before"
run maps -p "$victim" --json
ok "status 0" is 0
ok "nothing on stderr" quiet
ok "plain memory: what was touched moves" moves 0 48
ok "... is resident" test "$(about 0 resident_bytes)" = $((48 * page))
ok "... without more words" test "$(about 0 why_not)" = None
ok "read-only memory does not move" says_of 1 "not writable"
ok "executable memory does" moves 2 64
ok "shared memory does not" says_of 3 "shared memory"
ok "... nothing of it" moves 3 0
ok "a private file does not" says_of 4 "of a file"
ok "private /dev/zero does" moves 5 64
ok "locked memory does" moves 6 64
ask hugekb 7
if [ "$(of kb)" -gt 0 ]; then
	ok "huge pages are seen" test "$(about 7 huge_bytes)" = $(($(of kb) << 10))
else
	skip "no huge page is to be had: are they seen?"
fi
ok "... and move, with what is not huge" moves 7 1536
if [ "$guard" = 0 ]; then
	ok "a guard page does not" says_of 8 "4K guard pages"
	ok "... the others do" moves 8 63
else
	skip "the kernel has no guard pages" && skip "the kernel has no guard pages"
fi
ok "the whole process is there" test "$(grep -o '"start"' "$tmp/out" | wc -l)" = "$(wc -l <"/proc/$victim/maps")"
snapshot >"$tmp/after"
ok "the process is as it was" cmp "$tmp/before" "$tmp/after"

ask fork
run maps -p "$victim" --json
ok "pages shared by a fork do not move" says_of 0 "192K shared by a fork"
ok "... not one" moves 0 0
ok "... huge ones neither" moves 7 0
ask unfork
run maps -p "$victim" --json
if [ -r /proc/kpageflags ]; then
	ok "nor when the child is gone" moves 0 0
	ok "... huge ones neither" moves 7 0
else
	skip "/proc/kpageflags cannot be read: is the child gone?"
	skip "/proc/kpageflags cannot be read: is the child gone, huge pages?"
fi
ask fill 0 0 5
run maps -p "$victim" --json
ok "those that were written to since do" moves 0 5

run maps -p "$victim"
ok "text: status 0" is 0
ok "... a line an area, a head and a sum" test "$(wc -l <"$tmp/out")" = $(($(wc -l <"/proc/$victim/maps") + 2))
ok "... with what moves" grep -qE "^$(printf '%x' "${at[0]}")-[0-9a-f]+ +rw-p +256K +192K +0B +0B +20K  ! 172K shared" "$tmp/out"
ask fill 2
run maps -p "$victim" --movable
ok "--movable: no area of files" test "$(grep -c 'of a file' "$tmp/out")" = 0
ok "... the others" grep -q "^$(printf '%x' "${at[2]}")-" "$tmp/out"
ok "the victim's memory is right" verified $((48 + 64 * 5 + 1536 + 63))
ok "the victim ends well" victim_end

run maps -p 2
ok "a kernel thread has no memory: 1" is 1
ok "... told" says "process 2"
run maps -p 2147483647
ok "no such process: 1" is 1
ok "... told" says "there is none"
run maps
ok "no pid: 2" is 2
run maps -p 0
ok "pid 0: 2" is 2
finish
