# SPDX-License-Identifier: GPL-2.0-only
# lib.sh: TAP and waiting for the shell tests of the plugin; to be sourced.
# shellcheck shell=bash

tap_n=0
tap_bad=0

# pass NAME / fail NAME [NOTE...]
pass() { tap_n=$((tap_n + 1)); echo "ok $tap_n - $*"; }
fail() {
	tap_n=$((tap_n + 1)) tap_bad=$((tap_bad + 1))
	echo "not ok $tap_n - $1"
	shift
	[ $# = 0 ] || printf '%s\n' "$@" | sed 's/^/# /'
}
# ok NAME COMMAND...: does the command succeed?
ok() { local name=$1; shift; if "$@"; then pass "$name"; else fail "$name" "failed: $*"; fi; }
# is NAME GOT WANT
is() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "got:  $2" "want: $3"; fi; }
# like NAME TEXT PATTERN: does an extended regular expression match some line?
like() {
	if grep -qE -- "$3" <<<"$2"; then pass "$1"; else fail "$1" "no match for: $3" "$2"; fi
}
unlike() {
	if grep -qE -- "$3" <<<"$2"; then fail "$1" "unwanted match of: $3" "$2"; else pass "$1"; fi
}
skip() { tap_n=$((tap_n + 1)); echo "ok $tap_n - $1 # SKIP $2"; }
done_testing() { echo "1..$tap_n"; [ "$tap_bad" = 0 ]; }
bail() { echo "Bail out! $*"; exit 1; }

# wait_for COMMAND...: until it succeeds, at most 30 s.
wait_for() {
	local end=$((SECONDS + 30))
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.02
	done
}
# gone PID: a zombie that nobody reaps counts as gone.
gone() { case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) in '' | Z*) ;; *) return 1 ;; esac; }
