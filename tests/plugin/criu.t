#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The plugin in real criu, 4.2 and 4.1, each in its own root: see inside.sh.  Debian 12's criu
# 3.17.1 does not start on kernels from 6.13 on; its loader's rules are in host.t.
# With names of roots as arguments only in those.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${O:-$here/../../build}" && pwd) || exit 1
# shellcheck source=lib.sh
. "$here/lib.sh"

if [ "$(id -u)" != 0 ]; then
	echo "1..0 # SKIP takes root"
	exit 0
fi
[[ -e $build/uffd-relocate-plugin.so && -x $build/tests/tools/stub_pager &&
	-x $build/tests/tools/enter ]] || bail "not built in $build"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"${CC:-cc}" -Wall -Wextra -fPIC -shared -o "$tmp/other.so" "$here/other.c" || bail "other.c"

[ $# -gt 0 ] || set -- forky trixie
for name; do
	root=$("$here/../roots" "$name") || bail "no root $name"
	timeout 300 "$build/tests/tools/enter" --pid --net --bind "$build:/run/build" \
		--bind "$here:/run/tests" --bind "$tmp:/run/plugins" "$root" \
		bash /run/tests/inside.sh >"$tmp/out" 2>&1 </dev/null
	status=$?
	# One numbering for all roots.
	while IFS= read -r line; do
		case $line in
		"ok "*) pass "$name: ${line#*- }" ;;
		"not ok "*) fail "$name: ${line#*- }" ;;
		1..*) ;;
		*) echo "# $name: $line" ;;
		esac
	done <"$tmp/out"
	if grep -q '^1\.\.' "$tmp/out"; then
		pass "$name: ran to its end"
	else
		fail "$name: ran to its end" "status $status"
	fi
done
done_testing
