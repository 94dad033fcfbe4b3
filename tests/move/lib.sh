# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# lib.sh: a victim (tests/victim/victim_move.c) whose memory is moved, on top of what the tests of
# the command line have.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"

victim_bin=$O/tests/victim/victim_move
[ -x "$victim_bin" ] || bail "not built: $victim_bin"
victim=
page=4096
mib=$((1 << 20))

# victim_start [WRAPPER...]: a victim, started by that; $victim is its pid.
victim_start() {
	rm -f "$tmp/cmd" "$tmp/ans"
	# Of whatever user the victim is.
	chmod 755 "$tmp"
	mkfifo "$tmp/cmd" "$tmp/ans"
	chmod 666 "$tmp/cmd" "$tmp/ans"
	exec {cmd}<>"$tmp/cmd" {ans}<>"$tmp/ans"
	"$@" "$victim_bin" "$tmp" <&- >"$tmp/victim.out" 2>&1 {cmd}<&- {ans}<&- &
	victim=$!
	heard ready || bail "the victim does not start: $(cat "$tmp/victim.out")"
}

# heard NAME: wait for the answer that begins so; it is then in $reply.
heard() {
	while read -r -t 120 -u "$ans" reply; do
		case $reply in
		"$1" | "$1 "*) return 0 ;;
		failed:*) echo "# victim: $reply"; return 1 ;;
		*) echo "# victim: $reply" ;;
		esac
	done
	echo "# the victim does not answer $1"
	return 1
}

# ask COMMAND WORD...: the answer is in $reply.
ask() {
	echo "$*" >&"$cmd"
	heard "$1" || bail "victim: $*"
}
# tell COMMAND WORD...: without an answer.
tell() { echo "$*" >&"$cmd"; }

# of NAME: that field of the last answer.
of() { sed -nE "s/.* $1=([^ ]*).*/\1/p" <<<"$reply"; }
# area I PAGES [FLAG]...: a new area; its address is in ${at[I]}.
declare -a at
area() {
	ask map "$@"
	at[$1]=$(($(of addr)))
}
# addr I PAGE: the address of that page.
addr() { printf '%#x' $((at[$1] + $2 * page)); }

# room: an address at which a gigabyte is free, and 256 MiB below it.
room() {
	local range last=0
	while read -r range _; do
		if [ $last != 0 ] && [ $((0x${range%-*} - last)) -gt $((5 << 28)) ]; then
			printf '%#x' $((last + (1 << 28)))
			return 0
		fi
		last=$((0x${range#*-}))
	done <"/proc/$victim/maps"
	bail "the victim has no room"
}

verified() { ask verify; [ "$(of bad)" = 0 ] && [ "$(of pages)" = "$1" ]; }
# there I A N: how many pages stand there.
there() { ask empty "$@"; of there; }
frames() { ask pfns "$@"; echo "$(of sum) $(of present)"; }

# snapshot: what a cure must bring back: areas, descriptors, children, threads, status.
snapshot() {
	local pid=$victim
	cut -d' ' -f1-6 "/proc/$pid/maps"
	for fd in "/proc/$pid/fd"/*; do echo "${fd##*/} $(readlink "$fd")"; done
	cat "/proc/$pid/task"/*/children
	grep -E '^(Sig|Shd|Threads|TracerPid|Seccomp|VmLck|RssAnon|VmSwap)' "/proc/$pid/status" |
		grep -v '^SigQ'
	cat "/proc/$pid/limits"
}

victim_end() {
	local how
	[ -n "$victim" ] || return 0
	tell exit
	wait "$victim"
	how=$?
	victim=
	exec {cmd}<&- {ans}<&-
	return $how
}
victim_kill() {
	[ -z "$victim" ] || { kill -9 "$victim"; wait "$victim"; } 2>/dev/null
	victim=
	exec {cmd}<&- {ans}<&-
}
trap '[ -z "$victim" ] || kill -9 "$victim" 2>/dev/null; rm -rf "$tmp"' EXIT

# needs_move: skips the whole file where nothing can be moved.
needs_move() {
	run check --no-criu --json
	if [ "$(id -u)" != 0 ] || ! grep -q '"key":"uffd.move"[^}]*"answer":"yes"' "$tmp/out"; then
		echo "1..0 # SKIP needs root and a kernel with UFFDIO_MOVE"
		exit 0
	fi
}
