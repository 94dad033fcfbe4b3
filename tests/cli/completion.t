#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The completion for bash: offers every verb, every option of each verb as --help has it and no
# other, and for an option's argument what fits.
. "$(dirname "$0")/lib.sh"

run --completion
ok "--completion: status 0" is 0
ok "... nothing on stderr" quiet
cp "$tmp/out" "$tmp/completion"
ok "bash can read it" bash -n "$tmp/completion"

# offers WORD...: what bash would offer for the last of the words, one a line, sorted.
offers() {
	bash --norc --noprofile -c '
		compopt() { :; }
		. "$1"
		shift
		complete -p uffd-relocate | grep -q _uffd_relocate || exit 1
		COMP_WORDS=("$@")
		COMP_CWORD=$(($# - 1))
		_uffd_relocate
		printf "%s\n" "${COMPREPLY[@]}"
	' completion "$tmp/completion" "$@" | sort -u
}
# offered WHAT WORD...: is WHAT among the offers?
offered() {
	local what=$1
	shift
	offers "$@" | grep -qxF -e "$what"
}
same() { diff "$tmp/have" "$tmp/want" | sed 's/^/# /'; cmp -s "$tmp/have" "$tmp/want"; }

run --help
verbs=$(sed -n '/^Verbs:/,/^$/s/^  \([a-z-]*\) .*/\1/p' "$tmp/out")
ok "there are verbs" test "$(wc -w <<<"$verbs")" -ge 6
offers uffd-relocate '' >"$tmp/have"
printf '%s\n' $verbs -h --help -V --version --completion | sort -u >"$tmp/want"
ok "all verbs and the options without a verb are offered, nothing else" same

names() { sed 's/--\[no-\]\([a-z-]*\)/--\1 --no-\1/g' | grep -oE '(^|[^a-zA-Z-])(--[a-z][a-z-]+|-[A-Za-z])\>' | grep -oE -- '-.*' | sort -u; }
for verb in $verbs; do
	run "$verb" --help
	# What --help says about an option may name another.
	{
		sed -nE '/^Options:/,/^$/s/^(  (-., )?--[^ ]+).*/\1/p' "$tmp/out"
		sed '1,/^Accepted because/d' "$tmp/out"
	} | names >"$tmp/want"
	offers uffd-relocate "$verb" '' >"$tmp/have"
	ok "$verb: there are options" test "$(wc -l <"$tmp/want")" -ge 4
	ok "$verb: exactly its options are offered" same
done

mkdir -p "$tmp/some/dir"
touch "$tmp/some/file"
ok "a beginning narrows it" test "$(offers uffd-relocate sta)" = status
ok "a directory for DIR" test "$(offers uffd-relocate status -W "$tmp/some/")" = "$tmp/some/dir"
ok "... also after =" test "$(offers uffd-relocate status --work-dir = "$tmp/some/")" = "$tmp/some/dir"
ok "a file for FILE" offered "$tmp/some/file" uffd-relocate lazy-pages --pidfile "$tmp/some/"
ok "a process for PID" offered "$$" uffd-relocate maps -p "$$"
ok "... and no other" test "$(offers uffd-relocate maps -p "$$" | grep -cv "^$$")" = 0
ok "nothing for a number" test -z "$(offers uffd-relocate wait --timeout '')"
finish
