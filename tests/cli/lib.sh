# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# lib.sh: TAP, and runs of uffd-relocate that are bounded and cannot be influenced by this machine.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
O=${O:-$here/../../build}
bin=$(cd "$O" && pwd)/uffd-relocate
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset CRIU_CONFIG_FILE
export HOME=$tmp/home
mkdir "$HOME"
rows=0
failed=0

bail() { echo "Bail out! $*"; exit 1; }
[ -x "$bin" ] || bail "not built: $bin"

# ok NAME COMMAND...: one row, good when the command succeeds.
ok() {
	local name=$1
	shift
	rows=$((rows + 1))
	if "$@"; then
		echo "ok $rows - $name"
	else
		failed=$((failed + 1))
		echo "not ok $rows - $name"
		printf '# failed: %s\n' "$*"
		[ ! -s "$tmp/out" ] || sed 's/^/# stdout: /' "$tmp/out" | head -n 40
		[ ! -s "$tmp/err" ] || sed 's/^/# stderr: /' "$tmp/err" | head -n 40
	fi
}
skip() { rows=$((rows + 1)); echo "ok $rows # SKIP $*"; }
finish() { echo "1..$rows"; [ "$failed" = 0 ]; exit; }

# run ARGUMENT...: the program; $status, $tmp/out, $tmp/err.
run() {
	timeout 60 "$bin" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	status=$?
}
# is EXPECTED: the exit status of the last run.
is() { [ "$status" = "$1" ] || { echo "# exit status $status, not $1"; return 1; }; }
# says TEXT: the last run said exactly one line on stderr, and it contains TEXT.
says() { [ "$(wc -l <"$tmp/err")" = 1 ] && grep -qF -- "$1" "$tmp/err"; }
out_has() { grep -qF -- "$1" "$tmp/out"; }
quiet() { [ ! -s "$tmp/err" ]; }
# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	local until=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$until" ] || return 1
		read -r -t 0.02 <> <(:) || :
	done
}
