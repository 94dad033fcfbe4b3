#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# stress.sh [PART]...: what is too long for make check; hours.  RESULTS.md holds the last results.
#
#	patches		every patch of the series builds without a warning and boots
#	matrix		configurations that lack something, and other machines: see matrix.sh
#	selftests	the kernel's own tests of these paths, base and patched in one table
#	debug		the functional and race rows on the three debug kernels
#	races		the race rows, ROW_SECONDS (600) each, from SEED
#	negative	kernels in which a rule is undone: what notices?
#	deb		Debian packages, and a boot of what is in them
#
# Prints a line a result, "ok" or "not ok" first; the outputs are in $O/stress.  Without arguments:
# all.
set -uo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

export TOP=${TOP:-$(dirname "$KERNEL_DIR")}
export O=${O:-$TOP/build}
RESULTS=$O/stress
SECONDS_EACH=${ROW_SECONDS:-600}
failed=0

# verdict NAME COMMAND...: one line; the output goes to $RESULTS/NAME.log.
verdict() {
	local name=$1 start=$EPOCHSECONDS
	shift
	if "$@" >"$RESULTS/${name//[ \/]/_}.log" 2>&1; then
		echo "ok - $name ($((EPOCHSECONDS - start)) s)"
	else
		echo "not ok - $name ($((EPOCHSECONDS - start)) s): see $RESULTS/${name//[ \/]/_}.log"
		failed=1
	fi
}

image() { "$KERNEL_DIR/build.sh" "$@" | tail -n 1; }

# ---- every patch by itself ----

boots() {
	local img
	img=$(image -w -p "$1" patched) && [ -n "$img" ] || return 1
	"$KERNEL_DIR/boot.sh" -t 300 -z 64 "$img" sh -c 'uname -r && criu check'
}

part_patches() {
	local n=0 patch
	while read -r patch; do
		n=$((n + 1))
		verdict "patch $n $(basename "$patch" .patch | cut -c6-50)" boots $n
	done < <(series_files)
}

part_matrix() { verdict "matrix" "$KERNEL_DIR/matrix.sh"; cat "$RESULTS/matrix.log"; }

# ---- the kernel's own tests ----

OLD_TESTS="userfaultfd mremap_test ksm_tests khugepaged split_huge_page_test migration soft-dirty
	gup_test madv_populate mlock2-tests"

# One test a line: its arguments.  A program that is not told more runs all that it has.
old_runs() {
	cat <<-END
		userfaultfd anon 20 2
		userfaultfd shmem 20 2
		userfaultfd anon:dev 20 2
		mremap_test
		ksm_tests -M -p 10
		ksm_tests -U
		ksm_tests -Z -p 10 -z 0
		ksm_tests -N -m 1
		ksm_tests -N -m 0
		khugepaged all:anon
		split_huge_page_test
		migration
		soft-dirty
		madv_populate
		gup_test -u -m 4
		gup_test -a -m 4
		gup_test -b -m 4
		gup_test -L -m 4
		mlock2-tests
	END
}

old_all() {
	local dir=$1 line status bad
	echo always >/sys/kernel/mm/transparent_hugepage/enabled
	echo 64 >/proc/sys/vm/nr_hugepages
	old_runs | while IFS= read -r line; do
		# shellcheck disable=SC2086
		(cd "$dir" && timeout 400 ./$line) >/tmp/out 2>&1 </dev/null
		status=$?
		bad=$(grep -ac '^not ok' /tmp/out)
		[ "$bad" = 0 ] || status+="+$bad"
		echo "RESULT $status $line"
		tail -n 3 /tmp/out
	done
}

# old_table: exit status and, after "+", rows that are not ok, of base and patched; a test that is not
# as it was fails.
old_table() {
	local dir=$RESULTS/old img variant
	base_find
	mkdir -p "$dir"
	rm -rf "$dir/linux"
	tree_make "$dir/linux" || return 1
	make -s -C "$dir/linux" headers >/dev/null || return 1
	# shellcheck disable=SC2046,SC2086
	make -s -C "$dir/linux/tools/testing/selftests/vm" CFLAGS="-O2 -I$dir/linux/usr/include -I$dir/linux" -k \
		$(printf "$dir/linux/tools/testing/selftests/vm/%s " $OLD_TESTS) 2>&1 | tail -n 20
	for variant in base patched; do
		# shellcheck disable=SC2086
		img=$(image ${OLD_CONFIG--f old} $variant) && [ -n "$img" ] || return 1
		"$KERNEL_DIR/boot.sh" -l -t 3000 -m 3072 -z 256 -a numa=fake=2 -k "$dir/$variant.klog" \
			"$img" "$KERNEL_DIR/stress.sh" --old "$dir/linux/tools/testing/selftests/vm" \
			>"$dir/$variant.out" 2>&1
	done
	grep -a ^RESULT "$dir/base.out" | while read -r _ status line; do
		printf '%-34s base %-4s patched %s\n' "$line" "$status" \
			"$(grep -aF "$line" "$dir/patched.out" | awk '/^RESULT/ { print $2; exit }')"
	done | tee "$dir/table"
	grep -q 'base 0' "$dir/table" && ! awk '{ split($0, at, " base ") } split(at[2], n, " ") && n[1] != n[3]' \
		"$dir/table" | grep .
}

part_selftests() {
	verdict "old selftests" old_table
	cat "$RESULTS/old/table"
}

# ---- rows and races ----

vm_test() { env VM_VARIANT="$1" "${@:3}" "$TOP/tests/run" "$TOP/tests/vm/$2"; }

part_debug() {
	local variant test
	for variant in kasan lockdep kcsan; do
		for test in selftest.t race.t; do
			verdict "$variant $test" vm_test $variant $test
		done
	done
}

part_races() {
	local seed=${SEED:-$RANDOM}
	echo "# seed $seed, $SECONDS_EACH s each row"
	verdict "races" vm_test patched race.t RACE_SECONDS="$SECONDS_EACH" RACE_SEED="$seed"
}

part_negative() { verdict "negative controls" "$TOP/tests/vm/negative.sh"; }

part_deb() { verdict "Debian packages" "$KERNEL_DIR/deb.sh"; }

if [ "${1:-}" = --old ]; then
	old_all "$2"
	exit
fi
[ $# != 0 ] || set -- patches matrix selftests debug races negative deb
mkdir -p "$RESULTS"
for part; do
	declare -F "part_$part" >/dev/null || die "there is no part $part"
done
for part; do
	echo "# $part"
	"part_$part"
done
exit $failed
