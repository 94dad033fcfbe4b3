#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 180
# Traces: what is recorded, that it is placed before anything else the next time, and first what was
# touched first; whom it does not fit.
. "$(dirname "$0")/lib.sh"

base=0x10000000000
# set_of PAGES
set_of() {
	image <<-END
		sparse 1
		task 12
		vma $base $1
		entry $base $1 ls
	END
}
begin() { serve "$@" && restorer && cmds connect all magic close; }
# touch PAGE...
touch_pages() {
	local p
	for p; do gives "right 1" "do 12 touch $((base + p * 4096))" || return 1; done
}
end() { kill -TERM "$keeper" && exits 0; }
known() { logged "is process"; }
trace() { "$bin" trace -D "$img" "$@"; }
# What was touched, in order, as first and last page.
order() {
	local what at count
	while read -r what at _ count; do
		[ "$what" != touched ] ||
			echo -n "$(((${at%-*} - base) / 4096))-$(((${at#*-} - base) / 4096 - 1)):$count "
	done < <(trace show --ranges)
}
order_is() { local o; o=$(order); [ "$o" = "$1 " ] || { echo "# order: $o"; return 1; }; }
sum_is() { [ "$(sum "$1")" = "$2" ]; }
reaches() { wait_for 20 sum_is "$@" || { echo "# $1: $(sum "$1"), not $2"; return 1; }; }

# ---- recording ----
set_of 2048
begin --no-drain --record
# The first page showed which process it is, and does not fault.
wait_for 10 known
ok "recording: pages are touched" touch_pages 700 701 702 30 1000 29 700 31
ok "... the pager ends" end
ok "... in the order of first touch" order_is "700-702:1 30-30:1 1000-1000:1 29-29:1 31-31:1"
ok "... one restore" eval 'trace show --json | grep -q "\"images\":\"of these images\",\"restores\":1,"'
ok "... nothing of the temporary file is left" eval '[ "$(cd "$img"; echo *.new)" = "*.new" ]'

cp "$img/uffd-relocate.trace" "$tmp/first"

begin --no-drain --record
wait_for 10 known
ok "recorded again: nothing was placed first" sums hot_bytes 0
ok "... other pages, some the same" touch_pages 1000 30 500
ok "... the pager ends" end
ok "... merged by the earliest" order_is "1000-1000:2 700-702:1 30-30:2 500-500:1 29-29:1 31-31:1"
ok "... two restores" eval 'trace show | grep -q ": 2 recorded restores, of these images"'

cp "$img/uffd-relocate.trace" "$tmp/both"
trace drop
ok "merge: two traces into one that is not there" trace merge "$tmp/first" "$tmp/first"
ok "... count twice" order_is "700-702:2 30-30:2 1000-1000:2 29-29:2 31-31:2"
ok "... the other run on top" trace merge "$tmp/both"
ok "... four restores" eval 'trace show --json | grep -q "\"restores\":4,"'
ok "... a file that is no trace is refused" eval '! trace merge "$tmp/spec" 2>"$tmp/said" && grep -q "magic" "$tmp/said"'
ok "... and has changed nothing" eval 'trace show --json | grep -q "\"restores\":4,"'
cp "$tmp/both" "$img/uffd-relocate.trace"

begin --no-drain --record=once
wait_for 10 known
ok "recorded once: not a third time" touch_pages 77
end
ok "... the trace is as it was" order_is "1000-1000:2 700-702:1 30-30:2 500-500:1 29-29:1 31-31:1"

# ---- placing ----
begin --no-drain --hot-budget 30s
ok "with a trace: all that was touched is placed first" reaches hot_bytes $((8 * 4096))
wait_for 10 known
faults=$(sum faults)
ok "... it is right" touch_pages 700 701 702 30 1000 29 31 500
ok "... and takes no fault" sums faults "$faults"
ok "... nothing else is placed but what showed which process it is" gives "[89]" present 12
ok "... the rest faults" eval 'touch_pages 5 && [ "$(sum faults)" -gt "$faults" ]'
ok "... the pager ends" end
ok "... every page is right" right 12

begin --no-drain --hot-budget 8K
ok "a budget of two pages: reached" reaches hot_bytes 8192
wait_for 10 known
faults=$(sum faults)
ok "... those that were touched first" touch_pages 1000 700
ok "... take no fault" sums faults "$faults"
ok "... the others do" eval 'touch_pages 30 && [ "$(sum faults)" -gt "$faults" ]'
end

begin --no-drain --hot-budget 0
wait_for 10 known
ok "no budget: nothing is placed first" sums hot_bytes 0
end
begin --no-drain --no-trace
wait_for 10 known
ok "no trace: nothing is placed first" sums hot_bytes 0
end

# The rest of the order comes before everything else: its eight pages are four pieces.
hold fifth
begin UFFD_RELOCATE_FAULT="drain-place@5=hold:$HOLD" --hot-budget 0
ok "after the budget: the drain is held at its fifth piece" held
ok "... it has gone by the order" sums replayed_bytes $((8 * 4096))
ok "... but for what showed which process it is" eval '[ "$(sum copied_drain_bytes)" -le 4096 ]'
release
ok "... the rest follows" exits 0
ok "... every page is right" right 12

# ---- a moved page, a forked child ----
set_of 64
begin --no-drain --record
wait_for 10 known
ok "a fork: the task forks" gives "right *" "do 12 fork"
ok "... the child touches all" gives "right *" "do 12 child"
end
# Some pages, two as a rule, showed which processes the two are.
touched() { trace show --json | grep -o '"vpid":[0-9]*,"touched_bytes":[0-9]*'; }
ok "... which goes to the task whose image it is" eval '[[ $(touched) == "\"vpid\":12,"* ]]'
ok "... all of it" eval '[ "$(touched | cut -d: -f3)" -ge $((48 * 4096)) ]'

# ---- whom it does not fit ----
cp "$img/uffd-relocate.trace" "$tmp/theirs"
set_of 65
cp "$tmp/theirs" "$img/uffd-relocate.trace"
begin --hot-budget 30s
ok "of other images: the restore goes on" exits 0
ok "... without it, and says why" logged "uffd-relocate.trace: is of other images: pages-1.img"
ok "... every page is right" right 12
begin --record
exits 0
ok "... it is not written over" eval 'cmp -s "$tmp/theirs" "$img/uffd-relocate.trace"'
ok "... which is told" logged "nothing is recorded"
ok "... show says so, too" eval 'trace show 2>&1 | grep -q "1 recorded restore, of other images"'
ok "... merge refuses it" eval '! trace merge "$tmp/theirs" --trace new 2>"$tmp/said" && grep -q "is of other images" "$tmp/said"'
ok "drop removes it" eval 'trace drop && [ ! -e "$img/uffd-relocate.trace" ]'

head -c 60 "$tmp/theirs" >"$img/uffd-relocate.trace"
begin --hot-budget 30s
ok "damaged: the restore goes on" exits 0
ok "... and it is told" logged "uffd-relocate.trace: .*; going on without it"
ok "... every page is right" right 12
begin --record --no-drain
wait_for 10 known
touch_pages 3
end
ok "... the next record takes its place" order_is "3-3:1"

# ---- death of the pager ----
set_of 64
begin --no-drain --record
wait_for 10 known
touch_pages 9 10 40
old=$(pager_pid)
wait_for 30 [ -e "$img/uffd-relocate.trace" ]
kill -9 "$old"
replaced() { local new; new=$(pager_pid); [ -n "$new" ] && [ "$new" != "$old" ]; }
ok "a killed pager: there is another one" wait_for 10 replaced
ok "... more is touched" touch_pages 2 10
ok "... the pager ends" end
ok "... what was written is kept, the rest appended, as one restore" order_is "9-10:1 40-40:1 2-2:1"
ok "... as one restore" eval 'trace show --json | grep -q "\"restores\":1,"'
finish
