#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# What did the kernel say since tests/run started?  Runs last; LOG_MARK tells where to begin.
echo 1..1
if [ -z "${LOG_MARK:-}" ]; then
	echo "ok 1 # SKIP the kernel log is only looked at when started by tests/run"
elif [ ! -w /dev/kmsg ]; then
	echo "ok 1 # SKIP /dev/kmsg cannot be written: no mark in the kernel log"
elif ! log=$(dmesg 2>/dev/null); then
	echo "ok 1 # SKIP the kernel log cannot be read"
else
	found=$(awk -v mark="uffd-relocate test $LOG_MARK:" '
		index($0, mark) { on = 1; test = $0; next }
		on && /WARNING:|BUG:|BUG at|Oops|general protection|refcount_t:|UBSAN:|blocked for more than|self-detected stall|list_(add|del) corruption/ {
			print "# after " test; print "# " $0
		}' <<<"$log")
	if ! grep -qF "uffd-relocate test $LOG_MARK:" <<<"$log"; then
		echo "ok 1 # SKIP the mark is no longer in the kernel log"
	elif [ -n "$found" ]; then
		echo "not ok 1 - the kernel log is clean"
		echo "$found"
	else
		echo "ok 1 - the kernel log is clean"
	fi
fi
