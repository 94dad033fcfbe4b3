#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# status, wait and check beside a real restore.
# timeout: 300
. "$(dirname "$0")/lib.sh"
in_roots forky trixie

# said STATUS COMMAND...: run it, its words into $D/out and $D/err, and insist on its status.
said() {
	local expect=$1 status=0
	shift
	timeout "$WAIT" "$@" >"$D/out" 2>"$D/err" || status=$?
	[ "$status" = "$expect" ] || {
		sed 's/^/# /' "$D/out" "$D/err"
		die "status $status, not $expect: $*"
	}
}
line() { grep -qE -- "$1" "$D/out" "$D/err" || { sed 's/^/# /' "$D/out" "$D/err"; die "nobody said: $1"; }; }

check() {
	said 0 "$UR" check
	line '^  yes  criu starts and can restore lazily'
	line '^A lazy restore can work here'
}

one_by_one() {
	target_of small
	hold_at drain-start
	pager_start
	said 0 "$UR" status -W "$D/work"
	line "^waiting, 0 processes; keeper $LPID, pager [0-9]+ \\(number 1\\)"
	said 1 "$UR" wait -W "$D/work" --timeout 1
	line 'not done after 1 seconds'
	criu_restore
	held
	said 0 "$UR" status -W "$D/work"
	line "^serving, 1 process; keeper $LPID,"
	line "^ *$RPID +[0-9]+ open +[0-9]+%"
	said 1 "$UR" wait -W "$D/work" -p "$RPID" --timeout 1
	said 1 "$UR" wait -W "$D/work" -p 1
	line 'process 1 is not one of those'
	release
	pager_end
	said 1 "$UR" status -W "$D/work"
	line 'it has ended'
	want verify
	target_end
}

# A wait that begins with everything owed learns how it ended, although the server is gone then.
to_the_end() {
	local waiter status=0
	local knows=yes
	target_of small
	hold_at drain-start
	pager_start
	criu_restore
	held
	python3 - "$D/work" <<-'PY' || knows=no
	import os, socket, sys
	os.chdir(sys.argv[1])
	s = socket.socket(socket.AF_UNIX)
	s.connect("uffd-relocate.socket")
	s.sendall(b"wait\n")
	s.settimeout(1)
	try:
	    s.recv(4096)
	    sys.exit(1)
	except TimeoutError:
	    sys.exit(0)
	PY
	if [ $knows = no ]; then
		release
		pager_end
		skip "the server does not know \"wait\""
	fi
	timeout "$WAIT" "$UR" wait -W "$D/work" 2>"$D/wait.err" 8>&- 9>&- &
	waiter=$!
	_waits() {
		local child
		read -r child <"/proc/$waiter/task/$waiter/children"
		readlink "/proc/$child/fd/"* 2>/dev/null | grep -q '^socket:'
	}
	until_true "$WAIT" _waits || die "wait does not connect"
	# Connections are served in turn: once this one was, that of the wait has been too.
	said 0 "$UR" status -W "$D/work"
	release
	pager_end
	wait $waiter || status=$?
	[ "$status" = 0 ] || die "wait ended with $status: $(cat "$D/wait.err")"
	want verify
	target_end
}

run_case "check finds all that it needs" check
run_case "a target to restore" prepare small victim_pattern -m 16
run_case "status and wait while everything is owed" one_by_one
run_case "a target to restore again" prepare small victim_pattern -m 16
run_case "wait to the end" to_the_end
all_done
