#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The races against UFFDIO_MOVE, rows 86 to 112, on the patched kernel or on VM_VARIANT: RACE_SECONDS
# (2) for each row, with RACE_SEED.
# timeout: 1500
. "$(dirname "$0")/lib.sh"

seconds=${RACE_SECONDS:-2}
image=$(vm_image "${VM_VARIANT:-patched}") || { echo "$image"; exit 1; }
case $image in /*) ;; *) echo "$image"; exit 0 ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/uffd-relocate-vm.XXXXXX")
# shellcheck disable=SC2064
trap "rm -rf '$work'" EXIT

# shellcheck disable=SC2086
vm_boot "$image" "$work/log" -t $((1200 + 60 * seconds)) -b 256 -a numa=fake=2 -- \
	"$TOP/tests/vm/rows.sh" race "$O/tests/vm/race" -r 4000 "${RACE_ROWS:-all}" "$seconds" \
	${RACE_SEED:-} 2>"$work/err" | tee "$work/out" | sed -u '/^1\.\./d; /^TAP/d'
vm_verdict "$work" "${PIPESTATUS[0]}"
exit 0
