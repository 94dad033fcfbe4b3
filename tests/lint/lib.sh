# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What the lints share: which files there are, and TAP with one row a rule.
#
# LINT_TOP names another tree to look at (prove.t does, with trees that break each rule).
set -uo pipefail

LINT_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LINT_TOP=${LINT_TOP:-$(cd "$LINT_DIR/../.." && pwd)}
O=${O:-$LINT_TOP/build}
case $O in /*) ;; *) O=$LINT_TOP/$O ;; esac
cd "$LINT_TOP" || exit 1

lint_count=0
lint_failed=0

# verdict NAME SEEN BAD: one row.  It fails when BAD (lines) is not empty, and when SEEN, the
# number of things that were looked at, is 0: a lint that looked at nothing has shown nothing.
verdict() {
	local name=$1 seen=$2 bad=$3
	lint_count=$((lint_count + 1))
	if [ -n "$bad" ] || [ "$seen" = 0 ]; then
		lint_failed=$((lint_failed + 1))
		echo "not ok $lint_count - $name ($seen seen)"
		[ "$seen" != 0 ] || echo "# there was nothing to look at"
		[ -z "$bad" ] || sed 's/^/# /' <<<"$bad"
	else
		echo "ok $lint_count - $name ($seen seen)"
	fi
}

# skip NAME WHY
skip() {
	lint_count=$((lint_count + 1))
	echo "ok $lint_count - $1 # SKIP $2"
}

finish() {
	echo "1..$lint_count"
	exit $((lint_failed != 0))
}

# All files that belong to the tree, one a line.
all_files() {
	if [ -e .git ] && git ls-files >/dev/null 2>&1; then
		git ls-files -co --exclude-standard
	else
		find . \( -name .git -o -name 'build*' \) -prune -o -type f -print | sed 's|^\./||'
	fi | sort | while IFS= read -r f; do [ ! -f "$f" ] || echo "$f"; done
}

c_files() {
	all_files | grep -E '\.[ch]$'
}

# is_script FILE [INTERPRETER]: does it begin with #! and name that interpreter?
is_script() {
	local line=
	IFS= read -r line <"$1" 2>/dev/null
	[[ $line == '#!'*"${2:-}"* ]]
}

shell_files() {
	all_files | while IFS= read -r f; do
		case $f in
		*.sh) echo "$f" ;;
		*.[ch] | *.py | *.md) ;;
		*) if LC_ALL=C is_script "$f" sh 2>/dev/null; then echo "$f"; fi ;;
		esac
	done
}

# table FILE: its lines without comments and empty ones.
table() {
	sed -e 's/^#.*//' -e 's/[[:space:]]#[[:space:]].*//' -e '/^[[:space:]]*$/d' "$1"
}
