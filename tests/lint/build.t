#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 900
# A copy of the tree builds without a warning, with gcc elsewhere and with clang in place; the first
# leaves the tree as it was, and so does "make clean" after the second.
. "$(dirname "$0")/lib.sh"

T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
mkdir "$T/tree"
all_files | tar -cf - --verbatim-files-from -T - | tar -xf - -C "$T/tree"
cd "$T/tree" || exit 1
# What was handed to the make that runs this test is not for this build.
unset O MAKEFLAGS MAKELEVEL MFLAGS SAN MUTANT CFLAGS CPPFLAGS LDFLAGS V

tree() {
	find . | sort
}

# build COMPILER ARG...: everything, and what it complained about.
build() {
	local cc=$1
	shift
	nice make -k -j"$(nproc)" CC="$cc" "$@" >"$T/log" 2>&1 ||
		{ echo "make failed:"; grep -E 'error:|Error |\*\*\*' "$T/log" | head -n 30; }
	grep -E '(^|[^a-z])warning: ' "$T/log"
}

tree >"$T/before"
for cc in gcc clang; do
	command -v $cc >/dev/null || { skip "$cc builds everything without a warning" "$cc is not installed"; continue; }
	if [ $cc = gcc ]; then
		bad=$(build gcc O="$T/out")
		verdict "gcc builds everything without a warning" 1 "$bad"
		tree >"$T/after"
		verdict "a build elsewhere leaves the tree as it was" "$(wc -l <"$T/before")" \
			"$(diff "$T/before" "$T/after")"
	else
		bad=$(build clang)
		verdict "clang builds everything without a warning" 1 "$bad"
		made=$(tree | comm -13 "$T/before" - | wc -l)
		make clean >"$T/log" 2>&1 || sed 's/^/# /' "$T/log"
		tree >"$T/after"
		verdict "make clean removes all that make made" "$made" "$(diff "$T/before" "$T/after")"
	fi
done
finish
