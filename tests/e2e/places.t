#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Agents where there is little room: a tight memory cgroup, a small staging budget for many targets.
# timeout: 300
. "$(dirname "$0")/lib.sh"
in_roots forky

# What the pager's log says was moved, in KiB, over all sessions.
moved_kib() {
	grep -oE 'moved [0-9]+' "$D/work/lazy.log" | awk '{ n += $2 } END { print n + 0 }'
}

# tight cached|cold: the target's group has room for its memory and 20 MiB.
tight() {
	local group=/tmp/memory/places.$EPOCHREALTIME mib=96 limit cache
	mkdir -p /tmp/memory
	mount -t cgroup -o memory memory /tmp/memory 2>"$D/mount.log" ||
		skip "no memory controller of version 1 here"
	mkdir "$group" || skip "no memory group can be made here"
	limit=$(((mib + 20) << 20))
	echo $limit >"$group/memory.limit_in_bytes"
	victim_start victim_pattern -m $mib -H
	criu_dump "$VPID"
	sync -d "$V"/img/*
	[ "$1" = cached ] || python3 -c '
import os, sys
for name in sys.argv[1:]:
    fd = os.open(name, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)' "$V"/img/pages-*.img
	pager_start --agent
	# What criu restores stays in the group that criu is in.
	mkdir -p "$D/work"
	(
		echo $BASHPID >"$group/cgroup.procs"
		criu_restore
	)
	RPID=$(cat "$D/work/pid")
	grep -qx "$RPID" "$group/cgroup.procs" || die "the target is not in the group"
	pager_end
	want verify
	[ "$(moved_kib)" -ge $((mib * 1024 / 2)) ] || die "only $(moved_kib) KiB were moved"
	cache=$(awk '$1 == "cache" { print $2 }' "$group/memory.stat")
	note "peak $(cat "$group/memory.max_usage_in_bytes") of $limit, cache $cache, moved $(moved_kib) KiB"
	# The image read by the agent must not have been charged to the target.
	[ "$cache" -lt $((4 << 20)) ] || die "$cache bytes of page cache are charged to the target"
	target_end
	until_true 10 rmdir "$group" || die "the group does not become empty"
}

# budget: five targets, and room for one block at a time among all of them.
budget() {
	victim_start victim_tree -m 32
	criu_dump "$VPID"
	pager_start --agent --thp=always --staging 2M
	criu_restore
	want verify
	pager_end
	[ "$(moved_kib)" -gt 0 ] || die "nothing was moved"
	note "moved $(moved_kib) KiB"
	want verify
	target_end
}

run_case "a tight memory group, images in the page cache" tight cached
run_case "a tight memory group, cold images" tight cold
run_case "five targets and staging for one block" budget
# Those of cases that failed; the tasks in them have been ended.
for group in /tmp/memory/places.*; do [ ! -d "$group" ] || rmdir "$group"; done
all_done
