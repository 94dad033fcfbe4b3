# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# e2e/lib.sh: restores with a real criu, in other roots.
#
# Theory of operation
# -------------------
# A test file sources this, defines functions, and calls `in_roots NAME... ` with the roots it
# wants.  On the outside in_roots runs the same file once in each root (tests/tools/enter: own
# PIDs, network, /tmp) and joins what the runs print into one TAP stream.  On the inside in_roots
# just returns, and the file goes on with `run_case NAME FUNCTION` for each of its cases.
#
# Inside, $B is the build directory, $T the tests, and every case has a directory $D of its own,
# which lies on the machine's file system.  The target's FIFOs and images lie in $V, which is $D
# unless the case calls `target_of NAME`, to restore again what `run_case "..." prepare NAME
# VICTIM ARG...` dumped once for several cases.  A case runs in a subshell under `set -e`; it fails by
# a non-zero status, is skipped by `skip REASON`.  Whatever waits does so with a time-out
# ($WAIT seconds).  When a case fails the logs in $D are shown.  After a case every process in the
# namespace but the test itself is killed: the case must have seen to the ends it cares about.
#
# PAGER_OPTS are more options for our pager ("--agent --thp=always"), PAGER_WRAP is what starts it
# ("$B/tests/deny/deny ptrace --").
# PAGER=stock runs everything that can be with `criu lazy-pages` in place of ours.

[ -n "${TOP:-}" ] || TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PAGER=${PAGER:-ours}
WAIT=${WAIT:-60}

# ---- outside ----

in_roots() {
	[ -z "${E2E_INSIDE:-}" ] || return 0
	local O=${O:-$TOP/build} name root work rows=0 status=0 self
	case $O in /*) ;; *) O=$PWD/$O ;; esac
	self=$(realpath "$0")
	if [ "$(id -u)" != 0 ]; then
		echo "1..0 # SKIP restoring takes root rights"
		exit 0
	fi
	[ -x "$O/tests/tools/enter" ] || { echo "Bail out! $O/tests/tools/enter is missing"; exit 1; }
	work=$(mktemp -d "${TMPDIR:-/tmp}/uffd-relocate-e2e.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf --one-file-system '$work'" EXIT
	for name; do
		case " ${ONLY_ROOT:-$name} " in *" $name "*) ;; *) continue ;; esac
		if ! root=$("$TOP/tests/roots" "$name"); then
			rows=$((rows + 1))
			echo "ok $rows - $name # SKIP no root of that name can be made here"
			continue
		fi
		mkdir -p "$work/$name"
		env E2E_INSIDE="$name" PAGER="$PAGER" WAIT="$WAIT" TOP=/mnt \
			"$O/tests/tools/enter" --pid --net --bind "$TOP/tests:/mnt/tests" \
			--bind "$O:/mnt/build" --bind "$work/$name:/mnt/w" "$root" -- \
			bash "/mnt/tests/${self#"$TOP"/tests/}" >"$work/out.$name" 2>"$work/err.$name"
		status=$?
		awk -v rows="$rows" -v name="$name" '
			/^(not )?ok / { rows++; sub(/ok [0-9]+ -/, "ok " rows " - " name ":") }
			!/^1\.\./ { print }' "$work/out.$name"
		rows=$((rows + $(grep -cE '^(not )?ok ' "$work/out.$name")))
		if ! grep -q '^1\.\.' "$work/out.$name"; then
			rows=$((rows + 1))
			echo "not ok $rows - $name: ended early, status $status"
		fi
		sed 's/^/# stderr: /' "$work/err.$name" | tail -n 40
	done
	echo "1..$rows"
	exit 0
}

# ---- inside ----

B=/mnt/build
T=/mnt/tests
UR=$B/${UR_DIR:-.}/uffd-relocate	# UR_DIR: another build below $O
_row=0
_only=${ONLY_CASE:-}

note() { echo "# $*"; }

skip() {
	echo "$*" >"$D/skip"
	exit 77
}

die() {
	note "$*"
	exit 1
}

# Kill what the case left: in this PID namespace everything but us and our ancestors is its.
sweep() {
	local pid killed="" self=$BASHPID keep=" 1 $$ $BASHPID $PPID "
	for pid in /proc/[0-9]*; do
		pid=${pid#/proc/}
		case $keep in *" $pid "*) continue ;; esac
		[ "$pid" != "$self" ] && kill -9 "$pid" 2>/dev/null && killed="$killed $pid"
	done
	wait 2>/dev/null
	# Zombies, too: the next case may restore a task with that pid.
	for pid in $killed; do
		until_true 10 test ! -e "/proc/$pid"
	done
	# The kernel gives the number back a moment after the entry in /proc has gone.
	[ -z "$killed" ] || read -r -t 0.05 <> <(:) || :
}

_logs() {
	local f
	for f in "$D"/*.log "$D"/*/*.log; do
		[ -s "$f" ] || continue
		note "---- ${f#"$D"/}"
		grep -aiE 'error|warn|fail|uffd-relocate|pager|keeper' "$f" | tail -n 12 | sed 's/^/#   /'
		tail -n 6 "$f" | sed 's/^/#   | /'
	done
}

# run_case NAME FUNCTION [ARG...]
run_case() {
	local name=$1 status t0=$EPOCHREALTIME
	shift
	[ -z "$_only" ] || [[ $name == *$_only* || $name == dump* ]] || return 0
	_row=$((_row + 1))
	D=/mnt/w/case$_row V=$D
	mkdir -p "$D"
	(
		set -e
		"$@"
	) >"$D/case.out" 2>&1
	status=$?
	case $status in
	0)	echo "ok $_row - $name" ;;
	77)	echo "ok $_row - $name # SKIP $(cat "$D/skip")" ;;
	*)	echo "not ok $_row - $name (status $status)" ;;
	esac
	grep -a '^#' "$D/case.out"
	case $status in
	0 | 77)	;;
	*)	grep -av '^#' "$D/case.out" | tail -n 20 | sed 's/^/# /'
		_logs ;;
	esac
	note "$(awk -v a="$t0" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }')"
	sweep
	[ -n "${KEEP:-}" ] || rm -rf "$D"
	return 0
}

all_done() { echo "1..$_row"; }

# until_true SECONDS COMMAND...: poll a condition; 1 when it never came true.
until_true() {
	local end=$((SECONDS + $1 + 1))
	shift
	while ! "$@"; do
		[ $SECONDS -lt $end ] || return 1
		read -r -t 0.01 <> <(:) || :
	done
}

gone() {
	kill -0 "$1" 2>/dev/null || return 0
	case $(_state "$1") in Z | X | "") return 0 ;; esac
	return 1
}
_state() { awk '{ sub(/.*\) /, ""); print $1 }' "/proc/$1/stat" 2>/dev/null; }

# ---- the target ----

# aligned_stack PID: does a stack pointer below PID stand at the very start of a page?  criu (3.17.1
# to 4.2) then takes every page for one of a stack, and dumps none as lazy: one target in 256.
aligned_stack() {
	local file sp pid
	for file in "/proc/$1/task/"*/syscall; do
		sp=$(awk 'NF > 1 { print $(NF - 1) }' "$file" 2>/dev/null)
		[[ $sp != *000 ]] || return 0
	done
	for pid in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
		! aligned_stack "$pid" || return 0
	done
	return 1
}

_settled() { ! grep -q running "/proc/$1/syscall"; }

# lucky FUNCTION [ARG...]: have it start $VPID, again if that has such a stack.
lucky() {
	local try
	for try in 1 2 3 4 5; do
		"$@"
		until_true 2 _settled "$VPID" || :
		aligned_stack "$VPID" || return 0
		note "start $try: a stack pointer at the start of a page; again"
		# shellcheck disable=SC2046
		kill -9 $(cat "/proc/$VPID/task/"*/children) "$VPID"
		wait "$VPID" 2>/dev/null || :
	done
	die "five targets in a row with a stack pointer at the start of a page"
}

# victim_start PROGRAM [ARG...]: start one of the victims (*.py: by python3) and wait until its memory is full; sets VPID, READY.
victim_start() { lucky _victim_start "$@"; }

_victim_start() {
	local prog=("$B/tests/victim/$1")
	case $1 in *.py) prog=(python3 "$T/victim/$1") ;; esac
	shift
	mkdir -p "$V"
	rm -f "$V/cmd" "$V/ans"
	mkfifo "$V/cmd" "$V/ans"
	exec 8<>"$V/cmd" 9<>"$V/ans"
	setsid "${prog[@]}" "$V" "$@" </dev/null >/dev/null 2>&1 8>&- 9>&- &
	VPID=$!
	answer
	READY=$ANS
	case $READY in ready\ *) ;; *) die "the victim says: $READY" ;; esac
}

# target_of NAME: use what `prepare NAME` dumped.
target_of() {
	V=/mnt/w/$1
	[ -e "$V/img/inventory.img" ] || die "$1 was not dumped"
	exec 8<>"$V/cmd" 9<>"$V/ans"
}

# prepare NAME VICTIM [ARG...]: start and dump, for `target_of NAME`.
prepare() {
	V=/mnt/w/$1
	shift
	victim_start "$@"
	criu_dump "$VPID"
}

# answer: the next answer into ANS.
answer() {
	local line
	while :; do
		IFS= read -r -t "$WAIT" -u 9 line || die "no answer within $WAIT s (after: ${ASKED:-start})"
		case $line in
		wrong:*) note "$line"; WRONG=1 ;;
		failed:*) die "victim $line" ;;
		*) ANS=$line; return 0 ;;
		esac
	done
}

tell() { ASKED=$*; echo "$*" >&8; }

# ask COMMAND...: send, and wait for the answer.
ask() { tell "$@"; answer; }

# want COMMAND...: ask, and insist on bad=0.
want() {
	ask "$@"
	[[ $ANS == *" bad=0"* ]] || die "\"$*\" says: $ANS"
}

# field KEY: the value of KEY= in the last answer.
field() { local v=${ANS#*" $1="}; echo "${v%% *}"; }

# ---- criu ----

# criu_dump PID [OPTION...]: into $D/img; waits until the target is gone.
criu_dump() {
	local pid=$1
	shift
	mkdir -p "$V/img"
	timeout "$WAIT" criu dump -t "$pid" -D "$V/img" -o dump.log -v4 "$@" 8>&- 9>&- ||
		die "criu dump failed with $?"
	until_true "$WAIT" gone "$pid" || die "the dumped task is still there"
	wait "$pid" 2>/dev/null || :
	mv "$V/img/dump.log" "$D/dump.log"
}

# pager_start [OPTION...]: start lazy-pages for $D/img and wait until it listens; sets LPID.
pager_start() {
	local cmd=("$UR" lazy-pages)
	[ "$PAGER" = ours ] || cmd=(criu lazy-pages)
	# shellcheck disable=SC2206
	[ "$PAGER" != ours ] || cmd=(${PAGER_WRAP:-} "${cmd[@]}" ${PAGER_OPTS:-})
	mkdir -p "$D/work"
	rm -f "$D/status" "$D/work/lazy-pages.socket"
	mkfifo "$D/status"
	"${cmd[@]}" -D "$V/img" -W "$D/work" -o lazy.log -v4 --status-fd 5 "$@" \
		5>"$D/status" 8>&- 9>&- </dev/null &
	LPID=$!
	# One byte when it listens; none when it ended.
	[ "$(timeout "$WAIT" head -c 1 "$D/status" | wc -c)" = 1 ] || {
		gone "$LPID" || die "lazy-pages does not say that it listens"
		die "lazy-pages ended before it listened"
	}
}

# criu_restore [OPTION...]: lazily, detached; sets RPID, the pid of the root task.
criu_restore() {
	mkdir -p "$D/work"
	rm -f "$D/work/pid"
	timeout "$WAIT" criu restore -D "$V/img" -W "$D/work" --lazy-pages -d -o restore.log -v4 \
		--pidfile pid "$@" 8>&- 9>&- </dev/null || die "criu restore failed with $?"
	RPID=$(cat "$D/work/pid")
}

# pager_end: wait for lazy-pages; its status must be 0.
pager_end() {
	local status=0
	until_true "$WAIT" gone $LPID || die "lazy-pages does not end"
	wait $LPID || status=$?
	[ $status = 0 ] || die "lazy-pages ended with $status"
	LPID=
}

target_end() {
	tell exit
	answer
	[[ $ANS == "exit bad=0"* ]] || die "the target says: $ANS"
	until_true "$WAIT" gone "$RPID" || die "the target does not end"
}

# ---- holding our pager at a phase ----

# hold_at PHASE[@N]: to be called before pager_start.
hold_at() {
	[ "$PAGER" = ours ] || skip "stock lazy-pages cannot be held at a phase"
	rm -f "$D/hold.up" "$D/hold.down"
	mkfifo "$D/hold.up" "$D/hold.down"
	exec 7<>"$D/hold.up"
	export UFFD_RELOCATE_FAULT="$1=hold:$D/hold"
}

# held: wait until the pager is there.
held() {
	local line
	IFS= read -r -t "$WAIT" -u 7 line || die "the pager did not come to ${UFFD_RELOCATE_FAULT%%=*}"
	note "held at $line"
}

release() {
	timeout "$WAIT" bash -c ': >"$1"' - "$D/hold.down" || die "the held pager is gone"
}

# status_of KEY: a number from the status of our pager: a sum over sessions for per-session keys.
status_of() {
	timeout 10 "$UR" status --json -W "$D/work" | python3 -c '
import json, sys
s = json.loads(sys.stdin.readline())
k = sys.argv[1]
print(s[k] if k in s else sum(x[k] for x in s["sessions"] if x["state"] == "open"))' "$1"
}

# pending: insist on pages being pending, and say how many bytes.
pending() {
	local n
	n=$(status_of pending_bytes) || die "no status"
	note "pending: $n bytes"
	[ "$n" -ge "${1:-1}" ] || die "only $n bytes are pending"
}

# memory_equal: every byte of the (stopped) tasks below $RPID against the images.
memory_equal() {
	"$B/tests/tools/memcmp_image" "$V/img" "$RPID" >"$D/memcmp.log" 2>&1 || {
		sed 's/^/# /' "$D/memcmp.log" | tail -n 20
		die "memory differs from the images"
	}
	sed 's/^/# /' "$D/memcmp.log" | tail -n 1
}

# ---- agents ----

# children PID: what stands below it; an agent does.
children() { cat "/proc/$1/task/"*/children; }

# maps_of PID: its VMAs; neighbours of one kind count as one, since criu merges some.
maps_of() {
	awk '{ split($1, at, "-"); kind = $2 " " $6 }
		kind ~ /\[v/ { next }
		at[1] != end || kind != last { if (last) print start, end, last; start = at[1] }
		{ end = at[2]; last = kind }
		END { print start, end, last }' "/proc/$1/maps"
}

# ---- killing ----

# look: PAGER_PID, KEEPER_PID, INCARNATION and PENDING (of session 0) of our pager; 1 when it
# cannot tell just now.
look() {
	local s
	s=$(timeout 5 "$UR" status --json -W "$D/work" 2>/dev/null) || return 1
	[[ $s =~ \"pager_pid\":\ *([0-9]+) ]] || return 1
	PAGER_PID=${BASH_REMATCH[1]}
	[[ $s =~ \"keeper_pid\":\ *([0-9]+) ]] || return 1
	KEEPER_PID=${BASH_REMATCH[1]}
	[[ $s =~ \"incarnation\":\ *([0-9]+) ]] || return 1
	INCARNATION=${BASH_REMATCH[1]}
	PENDING=0
	[[ $s =~ \"pending_bytes\":\ *([0-9]+) ]] && PENDING=${BASH_REMATCH[1]}
	return 0
}
