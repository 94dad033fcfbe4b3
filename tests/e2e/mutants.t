#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Can the e2e tests fail?  Pagers built to ignore one kind of event, to take EAGAIN for fatal, or
# to have no gate are run through the case that is to catch them.
# timeout: 600
set -u
here=$(cd "$(dirname "$0")" && pwd)
TOP=$(cd "$here/../.." && pwd)
O=${O:-$TOP/build}
case $O in /*) ;; *) O=$PWD/$O ;; esac
rows=0

[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP restoring takes root rights"; exit 0; }

# mutant NAME TEST CASE: the case must pass with the real pager and fail with the mutant.
mutant() {
	local name=$1 test=$2 case=$3 dir=$O/mutants/$1 out
	rows=$((rows + 1))
	if ! make -C "$TOP" -s SAN= SANFLAGS= "O=$dir" "CFLAGS=-O1 -g -DMUTANT_$name" \
			"$dir/uffd-relocate" >"$dir.log" 2>&1; then
		echo "not ok $rows - mutant $name does not build"
		tail -n 5 "$dir.log" | sed 's/^/# /'
		return
	fi
	# The dump comes first; "ok 2" or "not ok 2" is the case.
	out=$(O=$O UR_DIR=mutants/$name ONLY_ROOT=forky ONLY_CASE="$case" WAIT=8 "$here/$test" 2>&1)
	if grep -q '^ok 1 ' <<<"$out" && grep -q "^not ok 2 - forky: $case" <<<"$out"; then
		echo "ok $rows - mutant $name is caught: $case"
		grep -aE '^# (wrong|no answer|"|lazy-pages|the target)' <<<"$out" | head -n 3
	else
		echo "not ok $rows - mutant $name is caught: $case"
		sed 's/^/# /' <<<"$out" | head -n 30
	fi
}

mkdir -p "$O/mutants"
mutant no_fork events.t "fork, then faults"
mutant no_remap events.t "mremap to a new place, then the drain"
mutant no_remap events.t "mremap over other pages, then faults"
mutant no_remove events.t "MADV_DONTNEED, then the drain"
mutant no_remove events.t "MADV_DONTNEED, then faults"
mutant no_unmap events.t "mremap shrinks and grows back in place, then faults"
mutant eagain_fatal gate.t "parked while pages are unmapped"
mutant no_gate gate.t "parked while pages are discarded and a few rewritten"
echo "1..$rows"
