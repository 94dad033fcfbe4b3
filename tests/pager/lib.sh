# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# lib.sh: the real pager with a stand-in for criu restore (tests/tools/restorer.c).
#
# A test writes the image with `image`, starts the pager with `serve`, the stand-in with
# `restorer`, and leads the stand-in through a restore with `cmd`.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
O=$(cd "${O:-$here/../../build}" 2>/dev/null && pwd) || { echo "Bail out! not built"; exit 1; }
bin=$O/uffd-relocate
mkimage=$O/tests/tools/mkimage
restorer=$O/tests/tools/restorer
tmp=$(mktemp -d)
img=$tmp/img work=$tmp/work
rows=0 failed=0
keeper='' restorer_pid='' reply=''
unset CRIU_CONFIG_FILE "${!UFFD_RELOCATE_@}"
export HOME=$tmp

bail() { echo "Bail out! $*"; exit 1; }
skip_all() { echo "1..0 # SKIP $*"; exit 0; }
for need in "$bin" "$mkimage" "$restorer"; do [ -x "$need" ] || bail "not built: $need"; done
[ "$(id -u)" = 0 ] || skip_all "takes root: userfaultfd with events, pid namespaces"

cleanup() {
	quit
	[ -z "$keeper" ] || wait_for 5 ended || kill_pagers
	cd / || exit
	rm -rf "$tmp"
}
trap cleanup EXIT

# ok NAME COMMAND...: one row, good when the command succeeds.
ok() {
	local name=$1
	shift
	rows=$((rows + 1))
	if "$@"; then
		echo "ok $rows - $name"
		return
	fi
	failed=$((failed + 1))
	echo "not ok $rows - $name"
	printf '# failed: %s\n' "$*"
	printf '# last answer: %s\n' "$reply"
	[ ! -s "$tmp/err" ] || sed 's/^/# stderr: /' "$tmp/err" | tail -n 20
	[ ! -s "$work/log" ] || sed 's/^/# log: /' "$work/log" | tail -n 20
}
skip() { rows=$((rows + 1)); echo "ok $rows - $1 # SKIP $2"; }
finish() { echo "1..$rows"; [ "$failed" = 0 ]; exit; }
# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	local until=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -le "$until" ] || return 1
		read -r -t 0.02 <> <(:) || :
	done
}

# image: an image set in $img, described on stdin as in tests/tools/imgspec.h.
image() {
	rm -rf "$img"
	cat >"$tmp/spec"
	"$mkimage" "$tmp/spec" "$img" || bail "mkimage"
}

# serve [VAR=VALUE...] [OPTION...]: the pager, in a fresh work directory; returns when it listens
# (status 1: it has ended instead).  $status is its exit status once `ended` says so.
serve() {
	local env=()
	while [[ ${1:-} == [A-Z]*=* ]]; do env+=("$1"); shift; done
	rm -rf "$work" "$tmp/rc" "$tmp/keeper"
	mkdir "$work"
	again "${env[@]}" "$@"
}
# again: the same in the work directory as it is.
again() {
	local env=()
	while [[ ${1:-} == [A-Z]*=* ]]; do env+=("$1"); shift; done
	# Else the pager would hold the pipe that tells an old stand-in to end.
	quit
	rm -f "$tmp/rc" "$tmp/keeper" "$tmp/ready"
	mkfifo "$tmp/ready"
	(
		# shellcheck disable=SC2086
		env "${env[@]}" ${WRAP:-} bash -c 'echo $$ >"$0"; exec "$@"' "$tmp/keeper" "$bin" lazy-pages \
			-D "${IMG:-$img}" -W "$work" --no-default-config -v4 -o log --status-fd 7 "$@" \
			7>"$tmp/ready" >"$tmp/out" 2>"$tmp/err" </dev/null
		echo $? >"$tmp/rc.new"
		mv "$tmp/rc.new" "$tmp/rc"
	) &
	[ "$(timeout 30 head -c 1 "$tmp/ready" | wc -c)" = 1 ]
	local listens=$?
	keeper=$(cat "$tmp/keeper")
	return $listens
}
ended() { [ -e "$tmp/rc" ] && status=$(cat "$tmp/rc"); }
# exits STATUS [SECONDS]: the pager ends in time, and so.
exits() {
	wait_for "${2:-30}" ended || { echo "# it goes on"; return 1; }
	[ "$status" = "$1" ] || { echo "# exit status $status, not $1"; return 1; }
}
pager_pid() { state | grep -o '"pager_pid":[0-9]*' | cut -d: -f2; }
# Only for one that would not end: both at once, since each would bring the other back.
kill_pagers() {
	local pager
	pager=$(pgrep -P "$keeper" 2>/dev/null)
	# shellcheck disable=SC2086
	kill -9 "$keeper" $pager 2>/dev/null
}

# restorer [-n]: the stand-in; an older one is ended first, with its tasks.
restorer() {
	quit
	coproc RESTORER { exec "$restorer" "$@" "$tmp/spec" "$work/lazy-pages.socket" 2>"$tmp/restorer"; }
	restorer_pid=$RESTORER_PID
	exec {to}>&"${RESTORER[1]}" {from}<&"${RESTORER[0]}"
}
quit() {
	[ -n "$restorer_pid" ] || return 0
	exec {to}>&- {from}<&-
	eval "exec ${RESTORER[1]:-9}>&- ${RESTORER[0]:-9}<&-" 2>/dev/null
	wait "$restorer_pid" 2>/dev/null
	restorer_pid=
}
# cmd COMMAND...: one command to the stand-in; $reply is its answer.
cmd() {
	reply=
	echo "$*" >&"$to"
	read -r -t 30 reply <&"$from" || reply='error no answer'
	[[ $reply != error* ]]
}
# cmds COMMAND...: several; each has to work.
cmds() {
	local c
	for c; do cmd "$c" || { echo "# $c: $reply"; return 1; }; done
}
# gives ANSWER COMMAND...: the stand-in answers so (a pattern).
gives() {
	local want=$1
	shift
	cmd "$@"
	# shellcheck disable=SC2053
	[[ $reply == $want ]] || { echo "# $*: $reply"; return 1; }
}
# Tasks that have all that they should have.
right() {
	local vpid
	for vpid; do gives "right *" "do $vpid verify" || return 1; done
}

state() { timeout 30 "$bin" status --json -W "$work" 2>&1; }
# sum KEY: over all sessions.
sum() {
	local n=0 v
	for v in $(state | grep -o "\"$1\":[0-9]*" | cut -d: -f2); do n=$((n + v)); done
	echo $n
}
# sums KEY N
sums() { local n; n=$(sum "$1"); [ "$n" = "$2" ] || { echo "# $1: $n, not $2"; return 1; }; }
serving() { state | grep -q '"restored":true'; }

# line TEXT: stderr is one line, which contains TEXT; a second one may name a process that was
# killed.
line() {
	grep -v ': killing process ' "$tmp/err" >"$tmp/said"
	[ "$(wc -l <"$tmp/said")" = 1 ] && grep -qE -- "$1" "$tmp/said"
}
silent() { [ ! -s "$tmp/err" ]; }
logged() { grep -qE -- "$1" "$work/log"; }

# hold NAME: FIFOs of a phase that is to be held; HOLD is what goes into UFFD_RELOCATE_FAULT.
hold() { HOLD=$tmp/$1; rm -f "$HOLD.up" "$HOLD.down"; mkfifo "$HOLD.up" "$HOLD.down"; }
held() { timeout 30 cat "$HOLD.up" >"$tmp/held" && [ -s "$tmp/held" ]; }
release() { timeout 30 bash -c ': >"$0"' "$HOLD.down"; }
