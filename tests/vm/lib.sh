# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# vm/lib.sh: tests in a machine with a kernel of ours; the machine's programs are this one's.
#
# A file says `in_vm VARIANT [OPTION of kernel/boot.sh]...` where the tests in e2e say in_roots.
# On the outside the kernel is built if need be and booted, and the file is run in it, in the same
# surroundings as the files of e2e have (tests/tools/enter); what it prints is passed on.  On the
# inside in_vm returns, and all of e2e/lib.sh can be used.

. "$(dirname "${BASH_SOURCE[0]}")/../e2e/lib.sh"

if [ -z "${E2E_INSIDE:-}" ]; then
	export TOP O=${O:-$TOP/build}
	case $O in /*) ;; *) O=$PWD/$O ;; esac
fi

# vm_image VARIANT: the path of its image, or the test is skipped.  VM_IMAGE=FILE takes that one.
vm_image() {
	local missing='' tool
	[ -z "${VM_IMAGE:-}" ] || { echo "$VM_IMAGE"; return; }
	[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP takes root rights"; exit 0; }
	for tool in qemu-system-x86_64 flex bison bc; do
		command -v $tool >/dev/null || missing+=" $tool"
	done
	[ -z "$missing" ] || { echo "1..0 # SKIP missing:$missing"; exit 0; }
	"$TOP/kernel/build.sh" "$1" | tail -n 1
	[ "${PIPESTATUS[0]}" = 0 ] || { echo "Bail out! no kernel $1"; exit 1; }
}

# vm_boot IMAGE LOG [OPTION]... -- COMMAND...: boot.sh, with O and TOP known to it.
vm_boot() {
	local image=$1 log=$2 options=()
	shift 2
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	"$TOP/kernel/boot.sh" -k "$log" "${options[@]}" "$image" "$@"
}

in_vm() {
	[ -z "${E2E_INSIDE:-}" ] || return 0
	local variant=$1 image work self status=0 rows
	shift
	self=$(realpath "$0")
	image=$(vm_image "$variant") || { echo "$image"; exit 1; }
	case $image in /*) ;; *) echo "$image"; exit 0 ;; esac
	work=$(mktemp -d "${TMPDIR:-/tmp}/uffd-relocate-vm.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf --one-file-system '$work'" EXIT
	echo "# $(basename "$(dirname "$image")"), $(cat "$(dirname "$image")/what" 2>/dev/null | head -n 1)"
	# shellcheck disable=SC2016
	vm_boot "$image" "$work/log" "$@" -- bash -c 'mkdir /run/w && exec "$O/tests/tools/enter" \
		--pid --net --bind "$TOP/tests:/mnt/tests" --bind "$O:/mnt/build" \
		--bind /run/w:/mnt/w / -- env E2E_INSIDE=vm TOP=/mnt PAGER="$1" WAIT="$2" bash "$3"' \
		- "$PAGER" "${VM_WAIT:-120}" "/mnt/tests/${self#"$TOP"/tests/}" \
		2>"$work/err" | tee "$work/out" | sed -u '/^1\.\./d'
	status=${PIPESTATUS[0]}
	vm_verdict "$work" "$status"
	exit 0
}

# vm_verdict DIR STATUS: one more row, on how the machine ended, and the plan.
vm_verdict() {
	local work=$1 status=$2 rows
	rows=$(grep -cE '^(not )?ok ' "$work/out")
	rows=$((rows + 1))
	if [ "$status" = 0 ] && grep -q '^1\.\.' "$work/out"; then
		echo "ok $rows - the machine ends well, its kernel's log is clean"
	else
		echo "not ok $rows - the machine: status $status"
		sed 's/^/# /' "$work/err"
		tail -n 40 "$work/log" | sed 's/^/# log: /'
	fi
	echo "1..$rows"
}
