#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# matrix.sh [NAME]...: compile what the series touches in configurations in which parts of mm are
# missing, and for other machines; with W=1, and by sparse where it can.
#
# A row is "ok" when the compiler says nothing, and sparse nothing that it does not say of the base
# as well.  Objects only: nothing is linked, which keeps a row short.  All of them by default:
#
#	all nothp noswap noksm nomigration nouffd i386 arm64
set -uo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

ROWS=(all nothp noswap noksm nomigration nouffd i386 arm64)
COMMON=(MMU PROC_FS PROC_PAGE_MONITOR MEMCG CGROUPS SHMEM BLOCK SYSFS ADVISE_SYSCALLS PRINTK NET
	SPARSEMEM_VMEMMAP CHECKPOINT_RESTORE MEM_SOFT_DIRTY DEBUG_FS DEBUG_KERNEL IDLE_PAGE_TRACKING
	HUGETLBFS EXPERT DAMON DAMON_PADDR)

die_usage() { sed -n '3,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }

# Options of a row: "+NAME" set, "-NAME" not.
options() {
	local want=(+64BIT +SMP +TRANSPARENT_HUGEPAGE +SWAP +KSM +COMPACTION +MIGRATION +USERFAULTFD +DEBUG_VM)
	case $1 in
	all) ;;
	nothp) want+=(-TRANSPARENT_HUGEPAGE) ;;
	noswap) want+=(-SWAP) ;;
	noksm) want+=(-KSM) ;;
	nomigration) want+=(-TRANSPARENT_HUGEPAGE -COMPACTION -MIGRATION -DEBUG_VM) ;;
	nouffd) want+=(-USERFAULTFD) ;;
	i386) want+=(-64BIT +HIGHMEM64G +HIGHPTE -SPARSEMEM_VMEMMAP) ;;
	arm64) want+=(-DEBUG_VM) ;;
	*) die_usage ;;
	esac
	printf '+%s\n' "${COMMON[@]}"
	printf '%s\n' "${want[@]}"
}

# objects TREE: what the series changes or adds, as targets of make.
objects() {
	sed -nE 's#^\+\+\+ b/((mm|fs)/.*)\.c$#\1.o#p' "$KERNEL_DIR"/patches/00*.patch | sort -u
}

# row NAME TREE LOG: compile, everything said in LOG.
row() {
	local name=$1 tree=$2 log=$3 out arch=x86_64 cross='' sparse=2 targets=() target
	case $name in
	i386) arch=i386 ;;
	arm64) arch=arm64 cross=aarch64-linux-gnu- sparse=0 ;;
	esac
	command -v sparse >/dev/null || sparse=0
	out=$(mktemp -d "$T/out.XXXX")
	options "$name" | sed -nE 's/^\+(.*)/CONFIG_\1=y/p; s/^-(.*)/# CONFIG_\1 is not set/p' |
		awk '{ n = $0; sub(/^# /, "", n); sub(/[= ].*/, "", n); last[n] = $0 } END { for (n in last) print last[n] }' \
		>"$out/wanted"
	make -s -C "$tree" O="$out" ARCH=$arch CROSS_COMPILE=$cross KCONFIG_ALLCONFIG="$out/wanted" \
		allnoconfig >"$log" 2>&1 || return 1
	# An option that is to be missing has to be.
	while read -r option; do
		if grep -q "^CONFIG_$option=y" "$out/.config"; then
			echo "CONFIG_$option cannot be left out" >>"$log"
			return 1
		fi
	done < <(options "$name" | tac | awk '{ n = substr($0, 2); if (!(n in s)) { s[n] = 1; if (/^-/) print n } }')
	while IFS= read -r target; do
		case $target in
		mm/userfaultfd.o | mm/move_anon.o | fs/userfaultfd.o) [ "$name" != nouffd ] || continue ;;
		mm/huge_memory.o) [[ $name != not* && $name != nomig* ]] || continue ;;
		mm/ksm.o) [ "$name" != noksm ] || continue ;;
		esac
		[ ! -e "$tree/${target%.o}.c" ] || targets+=("$target")
	done < <(objects)
	nice make -k -C "$tree" O="$out" ARCH=$arch CROSS_COMPILE=$cross W=1 C=$sparse -j"$(nproc)" \
		"${targets[@]}" >>"$log" 2>&1
}

# said LOG: warnings and errors without their line numbers, as the base's lines are others.
said() {
	grep -E '(warning|error): |\*\*\*|cannot be left out' "$1" |
		sed -E 's#^.*/((mm|fs|include)/)#\1#; s/:[0-9]+(:[0-9]+)?:/:/' | sort
}

base_find
base=$(base_tree) || exit 1
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
mapfile -t patches < <(series_files)
tree_make "$T/linux" "${patches[@]}" || exit 1
[ $# -gt 0 ] || set -- "${ROWS[@]}"
failed=0
for name; do
	if [ "$name" = arm64 ] && ! command -v aarch64-linux-gnu-gcc >/dev/null; then
		echo "skip $name: gcc-aarch64-linux-gnu is not installed"
		continue
	fi
	status=0
	row "$name" "$T/linux" "$T/log" || status=1
	new=$(said "$T/log")
	if [ -n "$new" ] && [ $status = 0 ]; then
		row "$name" "$base" "$T/base.log"
		new=$(said "$T/log" | comm -13 <(said "$T/base.log") -)
	fi
	compiled=$(grep -cE '^  CC +(mm|fs)/' "$T/log")
	if [ $status = 0 ] && [ -z "$new" ] && [ "$compiled" -gt 5 ]; then
		echo "ok $name ($compiled objects)"
	else
		failed=1
		echo "not ok $name ($compiled objects)"
		head -n 40 <<<"${new:-$(tail -n 20 "$T/log")}"
	fi
done
exit $failed
