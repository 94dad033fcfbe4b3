#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Every option of a verb stands in its man page and the other way round; the pages are well formed
# and have their sections in the usual order.
. "$(dirname "$0")/lib.sh"
man=$here/../../man

order='NAME SYNOPSIS DESCRIPTION OPTIONS FILES EXIT STATUS EXAMPLES NOTES LIMITATIONS SEE ALSO '
sections() {
	local have
	have=$(sed -n 's/^\.SH //p' "$1" | grep -vx FILES | tr '\n' ' ')
	[ "$have" = "${order/FILES /}" ] || { echo "# $have"; return 1; }
}

run --help
verbs=$(sed -n '/^Verbs:/,/^$/s/^  \([a-z-]*\) .*/\1/p' "$tmp/out")
[ -n "$verbs" ] || bail "no verbs"
for page in uffd-relocate $(printf 'uffd-relocate-%s ' $verbs); do
	file=$man/$page.8
	ok "$page.8 exists" test -s "$file"
	ok "... has its sections in order" sections "$file"
	if command -v mandoc >/dev/null; then
		mandoc -Tlint -W warning "$file" >"$tmp/out" 2>&1
		status=$?
		ok "... and is well formed" is 0
	else
		skip "mandoc is missing"
	fi
done

# --[no-]x is two names; "-x" after a blank or a comma is a letter.
names() { sed 's/--\[no-\]\([a-z-]*\)/--\1 --no-\1/g' | grep -oE '(^|[^a-zA-Z-])(--[a-z][a-z-]+|-[A-Za-z])\>' | grep -oE -- '-.*' | sort -u; }
for verb in $verbs; do
	run "$verb" --help
	# A page may leave out the negation of an option that it has; it may not invent one.
	sed -n '/^Options:/,$p' "$tmp/out" | names >"$tmp/table"
	sed -n '/^\.SH OPTIONS/,/^\.SH \(FILES\|EXIT STATUS\)/p' "$man/uffd-relocate-$verb.8" |
		sed '1d;$d;s/\\-/-/g;s/\\f[A-Z]/ /g;s/"//g;s/^\.[A-Z]* / /' | names >"$tmp/page"
	lacks=$(comm -23 "$tmp/table" "$tmp/page" | while read -r name; do
		[[ $name == --no-* ]] && grep -qx -e "--${name#--no-}" "$tmp/page" || echo "$name"
	done)
	extra=$(comm -13 "$tmp/table" "$tmp/page")
	ok "$verb: has options" test "$(wc -l <"$tmp/table")" -ge 4
	ok "$verb: the page has all of them" test -z "$lacks"
	ok "$verb: and no others" test -z "$extra"
	[ -z "$lacks$extra" ] || echo "# lacks:" $lacks "- extra:" $extra
done
finish
