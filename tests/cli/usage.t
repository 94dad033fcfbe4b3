#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The program as a whole: verbs, help, version, exit statuses, and words on the right stream.
. "$(dirname "$0")/lib.sh"

run
ok "without a verb: usage on stderr" grep -q '^Usage:' "$tmp/err"
ok "... and status 2" is 2
run nonsense
ok "an unknown verb has status 2" is 2
ok "... and is named" says "no verb 'nonsense'"
for flag in -h --help; do
	run $flag
	ok "$flag: status 0" is 0
	ok "$flag: on stdout" out_has "Verbs:"
	ok "$flag: nothing on stderr" quiet
done
for flag in -V --version; do
	run $flag
	ok "$flag: status 0" is 0
	ok "$flag: one line with name and number" grep -qxE 'uffd-relocate [0-9]+\.[0-9]+\.[0-9]+' "$tmp/out"
done
run --help >/dev/null
verbs=$(sed -n '/^Verbs:/,/^$/s/^  \([a-z-]*\) .*/\1/p' "$tmp/out")
ok "there are verbs" test "$(wc -w <<<"$verbs")" -ge 4
for verb in $verbs; do
	run "$verb" --help
	ok "$verb --help: status 0" is 0
	ok "$verb --help: its usage" out_has "Usage: uffd-relocate $verb"
	run "$verb" -V
	ok "$verb -V: status 0" is 0
	ok "$verb -V: the version" out_has "uffd-relocate "
	run "$verb" --no-such-option
	ok "$verb: an unknown option has status 2" is 2
	ok "$verb: ... and one line names verb and option" says "uffd-relocate: $verb: unknown or ambiguous option '--no-such-option'"
	run "$verb" -Q
	ok "$verb: an unknown letter has status 2" is 2
	ok "$verb: ... and one line names it" says "unknown option '-Q'"
	run "$verb" superfluous
	ok "$verb: an operand has status 2" is 2
	ok "$verb: ... and is named" says "'superfluous'"
done
"$bin" --help >/dev/full 2>"$tmp/err"
status=$?
ok "output that cannot be written is a failure" is 1
finish
