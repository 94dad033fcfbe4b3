# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# fuzz NAME CORPUS EDGES: tests/fuzz/NAME.c under libFuzzer with ASan and UBSan, for SECONDS_MAX
# seconds (20), starting from the seeds in CORPUS.  What it finds is kept as $O/fuzz/crash-*.
set -uo pipefail

cd "$(dirname "$0")/../.." || exit 1
O=${O:-build}
seconds=${SECONDS_MAX:-20}
out=$O/fuzz
san=-fsanitize=address,undefined\ -fno-sanitize-recover=undefined\ -fno-omit-frame-pointer
unset MAKEFLAGS MAKELEVEL

skip() {
	echo "1..0 # SKIP $1"
	exit 0
}

fuzz() {
	local target=$out/$1 corpus=$2 edges=$3 objs=() c p

	command -v clang >/dev/null || skip "clang is missing: apt-get install clang"
	mkdir -p "$out"
	tmp=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)/uffd-relocate-fuzz.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	echo 'int LLVMFuzzerTestOneInput(const char *d, long n); int LLVMFuzzerTestOneInput(const char *d, long n) { return !d && n; }' >"$tmp/try.c"
	clang -fsanitize=fuzzer -o "$tmp/try" "$tmp/try.c" 2>/dev/null ||
		skip "clang's fuzzer runtime is missing: apt-get install libclang-rt-dev"

	for p in proto/*.proto; do objs+=("$out/${p%.proto}.pb-c.o"); done
	for c in src/image/*.c src/core/order.c src/util/fd.c "tests/fuzz/${target##*/}.c"; do
		objs+=("$out/${c%.c}.o")
	done
	make O="$out" CC=clang CFLAGS="-O1 -g" SANFLAGS="-fsanitize=fuzzer-no-link $san" \
		CPPFLAGS="-I. -D_GNU_SOURCE -Isrc -I$out" "${objs[@]}" >"$tmp/make.log" 2>&1 &&
		clang -fsanitize=fuzzer $san -o "$target" "${objs[@]}" -lprotobuf-c >>"$tmp/make.log" 2>&1
	built=$?
	if [ $built != 0 ]; then
		sed 's/^/# /' "$tmp/make.log" | tail -n 20
		echo "not ok 1 - the fuzz target builds"
		echo "1..1"
		exit 1
	fi
	echo "ok 1 - the fuzz target builds"

	seeds=$(find "$corpus" -type f | wc -l)
	TMPDIR=$tmp "$target" -runs=0 "$corpus" >"$tmp/seeds.log" 2>&1
	status=$?
	[ $status = 0 ] || { sed 's/^/# /' "$tmp/seeds.log" | tail -n 40; printf 'not '; }
	echo "ok 2 - nothing is wrong with the $seeds seeds"

	mkdir "$tmp/new"
	TMPDIR=$tmp "$target" -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=1024 \
		-artifact_prefix="$out/" -print_final_stats=1 "$tmp/new" "$corpus" >"$tmp/run.log" 2>&1
	bad=$?
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$tmp/run.log")
	cov=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$tmp/run.log" | tail -n 1)
	if [ $bad != 0 ]; then
		grep -v '^#[0-9]' "$tmp/run.log" | sed 's/^/# /' | tail -n 60
		printf 'not '
	fi
	echo "ok 3 - nothing is found in $seconds s: ${runs:-0} runs, ${cov:-0} edges covered"

	# A target that does nothing finds nothing.
	[ "${runs:-0}" -ge $((seconds * 50)) ] && [ "${cov:-0}" -ge "$edges" ] || printf 'not '
	echo "ok 4 - the parsers were reached: at least $((seconds * 50)) runs and $edges edges"
	echo "1..4"
	[ $status = 0 ] && [ $bad = 0 ]
}
