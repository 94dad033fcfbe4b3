#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# The hand beside keeper and pager: what it holds, whom it outlives, and who starts it again.
# What it does for its requests is in tests/unit/hand.c.
. "$(dirname "$0")/lib.sh"

# Blocks that are brought in as huge pages, so that an agent is wanted.
image <<END
task 12
vma 0x10000000000 2048
entry 0x10000000000 2048 ls
END

# pids of the keeper's children, by name: hand or pager.
child() {
	local pid
	for pid in $(cat "/proc/$keeper/task/$keeper/children"); do
		case $1-$(cat "/proc/$pid/comm" 2>/dev/null) in
		hand-uffd-hand) echo "$pid"; return ;;
		hand-* | pager-uffd-hand) ;;
		*) echo "$pid"; return ;;
		esac
	done
	return 1
}
hand() { child hand; }
gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }
other_hand() { local now; now=$(hand) && [ "$now" != "$1" ]; }
holds() { readlink "/proc/$1/fd/"* | grep -q "$2"; }
holds_not() { ! holds "$@"; }
agent_placed() { logged "agent [0-9]+ placed in process"; }
begin() { serve "$@" && restorer && cmds connect "task 12"; }
finish_restore() { cmds magic close; }

ok "--no-agent: begins" serve --no-agent
ok "... there is no hand" eval '! hand'
restorer && cmds connect all magic close
ok "... and it serves" right 12
ok "... exit 0" exits 0

ok "--agent: begins, a task is there" begin --agent --thp=always
first=$(hand)
ok "there is a hand" test -n "$first"
ok "the keeper holds a userfaultfd" wait_for 10 holds "$keeper" userfaultfd
ok "the hand does not" holds_not "$first" userfaultfd
ok "nor sockets but its own" [ "$(readlink "/proc/$first/fd/"* | grep -c socket:)" = 1 ]
ok "it is not in the keeper's session" [ "$(ps -o sid= -p "$first" | tr -d ' ')" = "$first" ]
kill -9 "$first"
ok "killed: there is another" wait_for 10 other_hand "$first"
second=$(hand)
ok "... which does not hold the userfaultfd either" wait_for 10 holds_not "$second" userfaultfd
ok "... it is said" logged "hand \(pid $first\) has ended"
finish_restore
ok "... and it places the agent" wait_for 20 agent_placed
ok "the task has all its bytes" right 12
ok "exit 0" exits 0
ok "the hand is gone" gone "$second"

ok "killed with the pager: begins" begin --agent --thp=always
first=$(hand)
kill -9 "$first" "$(child pager)"
ok "... there is another hand" wait_for 10 other_hand "$first"
finish_restore
ok "... and it places the agent" wait_for 20 agent_placed
ok "... the task has all its bytes" right 12
ok "... exit 0" exits 0

ok "keeper killed: begins" begin --agent --thp=always
first=$(hand)
kill -9 "$keeper"
ok "... the pager takes its place" wait_for 10 logged "taking its place"
ok "... the hand lives" eval '! gone "$first"'
finish_restore
ok "... and places the agent" wait_for 20 agent_placed
ok "... the task has all its bytes" right 12
ok "... the hand goes with the last of them" wait_for 20 gone "$first"
wait_for 10 ended

ok "keeper and pager killed: begins" begin --agent --thp=always
first=$(hand)
kill -9 "$keeper" "$(child pager)"
ok "... the hand goes, too" wait_for 10 gone "$first"
wait_for 10 ended
finish
