#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# guest.sh: init of the machines that boot.sh starts.
#
# The root is the outer machine's and read-only.  What has to be written to is covered by file
# systems of our own; a checkout or build directory that is covered by that is shown again in its
# place.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=${TERM:-linux}
export LC_ALL=C.UTF-8 UFFD_RELOCATE_VM=1

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -sfn /proc/self/fd /dev/fd
ln -sfn /proc/self/fd/0 /dev/stdin
ln -sfn /proc/self/fd/1 /dev/stdout
ln -sfn /proc/self/fd/2 /dev/stderr

mount -t tmpfs mnt /mnt
mkdir /mnt/.root /mnt/.job /mnt/share
mount --bind / /mnt/.root
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 job /mnt/.job
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /mnt/share
for dir in /tmp /run /var/tmp; do
	mount -t tmpfs -o mode=1777 tmpfs $dir
done
mkdir -p /run/lock

# It sets TOP, O, cwd, command and zram_mib.
# shellcheck disable=SC1091
. /mnt/.job/job
# shellcheck disable=SC2154
for dir in "$TOP" "$O" "$cwd"; do
	[ -z "$dir" ] || [ -e "$dir" ] || [ ! -d "/mnt/.root$dir" ] || {
		mkdir -p "$dir"
		mount --bind "/mnt/.root$dir" "$dir"
	}
done

mount -t debugfs debugfs /sys/kernel/debug
[ ! -d /sys/kernel/tracing ] || mount -t tracefs tracefs /sys/kernel/tracing
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo "+cpu +cpuset +memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
ip link set lo up 2>/dev/null
hostname uffd-relocate 2>/dev/null

# shellcheck disable=SC2154
if [ -n "$zram_mib" ]; then
	echo "${zram_mib}M" >/sys/block/zram0/disksize
	mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
fi

cd "$cwd" 2>/dev/null || cd /
# shellcheck disable=SC2154
if [ ${#command[@]} = 0 ]; then
	PS1='\w# ' setsid --ctty bash --norc -i </dev/hvc0 >/dev/hvc0 2>&1
	echo $? >/mnt/.job/status
else
	port=
	for p in /sys/class/virtio-ports/*; do
		[ "$(cat "$p/name")" != out ] || port=/dev/${p##*/}
	done
	setsid "${command[@]}" </dev/null >"$port" 2>&1
	echo $? >/mnt/.job/status
fi
sync
# -no-reboot makes QEMU end here.
echo b >/proc/sysrq-trigger
sleep 1000
