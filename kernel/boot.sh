#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# boot.sh [OPTION]... IMAGE [COMMAND [ARG]...]: run one command in a machine that runs IMAGE.
#
# Theory of operation
# -------------------
# The machine's root is this one's, read-only over 9p, so what is installed here is there, under
# the same paths; /tmp, /run, /mnt, /dev and the like are the machine's own.  guest.sh is its init:
# it runs the command as root, sends what that writes (both outputs) through a virtio port to our
# standard output, leaves the exit status in a directory that both sides share, and ends the
# machine.  The kernel's log comes by the serial line into a file.  Without a command: a shell.
#
#	-t SECONDS	time for all of it (300); late is status 124
#	-m MIB		memory (2048)
#	-c CPUS		(2)
#	-a WORDS	for the kernel's command line
#	-k FILE		where the kernel's log is to be kept; without it, it is shown after a failure
#	-d DIR		a directory of this side that is writable as /mnt/share
#	-b MIB		a disk /dev/vda of that size, empty
#	-r BYTES	... that does so many bytes a second
#	-z MIB		swap of that size on zram
#	-i N		count instructions: one CPU, one instruction is 2^N ns, figures repeat exactly
#	-l		let the kernel log warnings
#
# Exit status: the command's; 124 when late, 125 when the kernel could not be booted or died, 126
# when its log has a WARNING, BUG or the like.  UFFD_RELOCATE_KVM=1 uses KVM; TCG works everywhere,
# and not every /dev/kvm does.
set -uo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

time_s=300 mem_mib=2048 cpus=2 append='' log='' share='' disk_mib='' disk_bps='' zram_mib='' icount='' lax=''
usage() { sed -n '3p;14,25p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
while getopts t:m:c:a:k:d:b:r:z:i:l opt; do
	case $opt in
	t) time_s=$OPTARG ;;
	m) mem_mib=$OPTARG ;;
	c) cpus=$OPTARG ;;
	a) append=$OPTARG ;;
	k) log=$OPTARG ;;
	d) share=$OPTARG ;;
	b) disk_mib=$OPTARG ;;
	r) disk_bps=$OPTARG ;;
	z) zram_mib=$OPTARG ;;
	i) icount=$OPTARG ;;
	l) lax=1 ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] || usage
image=$1
shift
[ -r "$image" ] || die "$image: cannot be read"
qemu=$(command -v qemu-system-x86_64) || die "qemu-system-x86_64 is missing: run make deps"
[ "$(id -u)" = 0 ] || die "must be run as root, for the machine's root is this one's"

work=$(mktemp -d "${TMPDIR:-/tmp}/uffd-relocate-vm.XXXXXX")
# shellcheck disable=SC2064
trap "rm -rf '$work'" EXIT
: "${log:=$work/kernel.log}"
mkdir "$work/share"
if [ -n "$share" ]; then
	share=$(realpath "$share")
else
	share=$work/share
fi

# What the guest has to know: see guest.sh.
{
	printf 'export TOP=%q O=%q\n' "${TOP:-$(dirname "$KERNEL_DIR")}" "${O:-}"
	printf 'cwd=%q zram_mib=%q\n' "$PWD" "$zram_mib"
	printf 'command=('
	[ $# = 0 ] || printf '%q ' "$@"
	printf ')\n'
} >"$work/job"

# shellcheck disable=SC2054
args=(-nodefaults -no-user-config -display none -no-reboot -m "$mem_mib" -cpu max
	-kernel "$image" -serial "file:$log"
	-fsdev "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
	-device virtio-9p-pci,fsdev=root,mount_tag=/dev/root
	-fsdev "local,id=job,path=$work,security_model=none"
	-device virtio-9p-pci,fsdev=job,mount_tag=job
	-fsdev "local,id=share,path=$share,security_model=none"
	-device virtio-9p-pci,fsdev=share,mount_tag=share
	-device virtio-rng-pci -device virtio-serial-pci)
if [ -n "$icount" ]; then
	# shellcheck disable=SC2054
	args+=(-accel tcg,thread=single -smp 1 -icount "shift=$icount,sleep=off")
elif [ -n "${UFFD_RELOCATE_KVM:-}" ]; then
	# shellcheck disable=SC2054
	args+=(-accel kvm -smp "$cpus")
else
	# shellcheck disable=SC2054
	args+=(-accel tcg,thread=multi -smp "$cpus")
fi
if [ $# = 0 ]; then
	# shellcheck disable=SC2054
	args+=(-chardev stdio,id=tty,signal=off -device virtconsole,chardev=tty)
else
	# shellcheck disable=SC2054
	args+=(-chardev "file,id=out,path=$work/out" -device virtserialport,chardev=out,name=out)
fi
if [ -n "$disk_mib" ]; then
	truncate -s "${disk_mib}M" "$work/disk"
	# shellcheck disable=SC2054
	args+=(-drive "file=$work/disk,format=raw,if=none,id=disk,cache=unsafe${disk_bps:+,throttling.bps-total=$disk_bps}"
		-device virtio-blk-pci,drive=disk)
fi

# An emulated CPU gets no time for seconds when the machine below is busy: watchdogs are patient.
cmdline="root=/dev/root rootfstype=9p rootflags=trans=virtio,version=9p2000.L,msize=262144,cache=loose ro"
cmdline+=" init=$KERNEL_DIR/guest.sh console=ttyS0 panic=-1 oops=panic loglevel=7"
cmdline+=" rcupdate.rcu_cpu_stall_timeout=120 hung_task_timeout_secs=240 tsc=nowatchdog $append"

status=0
if [ $# = 0 ]; then
	say "a shell in $(basename "$(dirname "$image")"); leave it with exit; /mnt/share is $share"
	old=$(stty -g)
	stty raw -echo
	"$qemu" "${args[@]}" -append "$cmdline" || status=$?
	stty "$old"
else
	mkfifo "$work/out"
	cat "$work/out" &
	timeout --foreground -k 5 "$time_s" "$qemu" "${args[@]}" -append "$cmdline" </dev/null \
		>"$work/qemu.log" 2>&1 || status=$?
	# Had QEMU not come so far as to open it, cat would wait for ever.
	dd if=/dev/null of="$work/out" oflag=nonblock conv=notrunc 2>/dev/null
	wait
fi

kernel_log_bad() {
	grep -aE 'WARNING:|BUG:|BUG at|Oops|KASAN|KCSAN|UBSAN|general protection|refcount_t:|list_(add|del) corruption|Kernel panic|blocked for more than|detected stalls|self-detected stall|soft lockup|possible (circular|recursive) locking|inconsistent lock state|suspicious RCU|Bad rss-counter|pgtables_bytes|Bad page|bad: scheduling|scheduling while atomic|sleeping function called|stack end corrupt|Unable to handle|page_table_check' "$log" |
		grep -avE 'Command line:|page_table_check (=|is)'
}

if [ "$status" = 124 ] || [ "$status" = 137 ]; then
	say "late: $time_s s"
	result=124
elif [ ! -s "$work/status" ]; then
	say "the machine ended early (QEMU: $status)"
	cat "$work/qemu.log" >&2
	result=125
else
	result=$(cat "$work/status")
fi
if [ -z "$lax" ] && bad=$(kernel_log_bad); then
	say "the kernel complains:"
	head -n 20 <<<"$bad" | sed 's/^/  /' >&2
	[ "$result" != 0 ] || result=126
fi
case $log in "$work"/*)
	if [ "$result" -ge 124 ]; then
		say "the end of its log:"
		tail -n 60 "$log" | sed 's/^/  | /' >&2
	fi ;;
esac
exit "$result"
