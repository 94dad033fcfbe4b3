#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The races against UFFDIO_MOVE, rows 86 to 112, on the patched kernel or on VARIANT: ROW_SECONDS
# (2) for each row, from SEED; -t is what bounds it.
# timeout: 40000
. "$(dirname "$0")/lib.sh"

seconds=${ROW_SECONDS:-2}
image=$(vm_image "${VARIANT:-patched}") || { echo "$image"; exit 1; }
case $image in /*) ;; *) echo "$image"; exit 0 ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/uffd-relocate-vm.XXXXXX")
# shellcheck disable=SC2064
trap "rm -rf '$work'" EXIT

# shellcheck disable=SC2086
vm_boot "$image" "$work/log" -t $((600 + 60 * seconds)) -b 256 -a numa=fake=2 -- \
	"$TOP/tests/vm/rows.sh" race "$O/tests/vm/race" -r 4000 "${ROWS:-all}" "$seconds" \
	${SEED:-} 2>"$work/err" | tee "$work/out" | sed -u '/^1\.\./d; /^TAP/d'
vm_verdict "$work" "${PIPESTATUS[0]}"
exit 0
