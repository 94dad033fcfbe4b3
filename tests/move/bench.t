#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# bench: every case has its figure or its reason, the order of things is right, and a kernel without
# UFFDIO_MOVE is named.
. "$(dirname "$0")/lib.sh"
deny=$O/tests/deny/deny

# figure KEY: nanoseconds per page.
figure() { grep -oE '"key":"'"$1"'",[^}]*' "$tmp/out" | sed -nE 's/.*"page_ns":([0-9.]+).*/\1/p'; }
cheaper() { awk -v a="$(figure "$1")" -v b="$(figure "$2")" 'BEGIN { exit !(a > 0 && b > 0 && a < b) }'; }

run check --no-criu --json
if ! grep -q '"key":"uffd.move"[^}]*"answer":"yes"' "$tmp/out"; then
	skip "this kernel or user has no UFFDIO_MOVE to measure"
	finish
fi
run bench --size 32M --rounds 3 --json
ok "status 0" is 0
ok "nothing on stderr" quiet
ok "one line" test "$(wc -l <"$tmp/out")" = 1
for key in memcpy memcpy_fresh copy_4k copy_64k copy_2m move_4k move_64k move_2m mremap_4k \
	mremap_64k mremap_2m mremap_all; do
	ok "$key has a figure" test -n "$(figure $key)"
done
if [ -n "$(figure move_2m_huge)" ]; then
	# By a factor of a thousand, so no other load turns it round.
	ok "moving huge pages costs less than copying" cheaper move_2m_huge copy_2m
else
	ok "without huge pages it says so" out_has "no huge pages"
fi
ok "one mremap of all costs less than one a page" cheaper mremap_all mremap_4k
run bench --size 4M --rounds 1
ok "text: status 0" is 0
ok "... a head and a line a case" test "$(wc -l <"$tmp/out")" = 15
ok "... memcpy is the measure" grep -qE '^memcpy.* 1\.000$' "$tmp/out"
run bench --size 3M
ok "not whole huge pages: 2" is 2
ok "... told" says "multiple of 2M"
run bench --size 0
ok "nothing: 2" is 2
run bench --size 1048576T
ok "more memory than there can be: 1 or 2" test "$status" = 1 -o "$status" = 2

[ -x "$deny" ] || bail "not built: $deny"
timeout 60 "$deny" ioctl:UFFDIO_MOVE -- "$bin" bench --size 4M --rounds 1 >"$tmp/out" 2>"$tmp/err"
status=$?
ok "without UFFDIO_MOVE: 3" is 3
ok "... named" says "UFFDIO_MOVE"
ok "... the rest is measured" grep -qE '^mremap.*[0-9]$' "$tmp/out"
finish
