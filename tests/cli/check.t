#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 120
# check: text, JSON and exit status, on this kernel, on lesser kernels (tests/deny) and with criu's
# of all kinds played by scripts.
. "$(dirname "$0")/lib.sh"
deny=$O/tests/deny/deny
[ -x "$deny" ] || bail "not built: $deny"

# fake VERSION STATUS OUTPUT: a criu of that version whose check says OUTPUT and ends with STATUS.
fake() {
	cat >"$tmp/criu" <<-SH
	#!/bin/sh
	case \$1 in
	--version) echo "Version: $1"; exit 0 ;;
	esac
	cat "$tmp/criu.out"
	exit $2
	SH
	printf '%b' "$3" >"$tmp/criu.out"
	chmod +x "$tmp/criu"
}
# answers KEY yes|no|unknown: what the last run with --json said about that item.
answers() { grep -oE '\{"key":"'"${1//./\\.}"'"[^}]*' "$tmp/out" | grep -q '"answer":"'"$2"'"'; }
# has KEY cause|remedy TEXT
has() { grep -oE '\{"key":"'"${1//./\\.}"'"[^}]*' "$tmp/out" | grep -qE '"'"$2"'":"[^"]*'"$3"; }
lacks() { grep -q '"lacks":"'"$1"'"' "$tmp/out"; }
# lesser ARGUMENT... -- ARGUMENT...: run check on a kernel that lacks something.
lesser() {
	local how=()
	while [ "$1" != -- ]; do how+=("$1"); shift; done
	shift
	timeout 60 "$deny" "${how[@]}" -- "$bin" check "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	status=$?
}

run check --no-criu --json
base=$status
ok "JSON is one line" test "$(wc -l <"$tmp/out")" = 1
if command -v python3 >/dev/null; then
	ok "... and well formed" python3 -m json.tool "$tmp/out" "$tmp/pretty"
else
	skip "python3 is missing: JSON is not parsed"
fi
ok "there is an answer for uffd" answers uffd '[a-z]*'
features=
# Without a descriptor there is nothing to ask about.
! answers uffd yes || features="uffd.events uffd.ioctls uffd.move uffd.poison"
for key in $features pidfd_open pidfd_getfd collapse memfd \
	   pagemap pagemap_scan guard seccomp thp cap.sys_ptrace cap.restore cap.kill cap.sys_nice \
	   cap.ipc_lock cap.sys_resource limit.nofile limit.memlock limit.both_killed; do
	ok "there is an answer for $key" answers $key '[a-z]*'
done
no_cause=$(grep -oE '\{"key":[^}]*' "$tmp/out" | grep '"answer":"no"' | grep '"cause":null')
ok "each no has its cause" test -z "$no_cause"
cp "$tmp/out" "$tmp/base"
run check --no-criu
ok "text and JSON agree on the status" is "$base"
ok "text ends with a verdict" grep -qE '^A lazy restore can(not)? work here' "$tmp/out"
ok "... that fits the status" test "$(grep -c '^A lazy restore can work' "$tmp/out")" = $((base == 0))

# The tests of the kernel do for themselves what a lazy restore needs.
witnesses=0
for witness in fork_event_child_uffd remap_event unmap_event remove_event_zero copy_eexist \
	       zeropage_on_present_eexist wake_reraises_fault; do
	[ -x "$O/tests/kapi/$witness" ] || continue
	if timeout 60 "$O/tests/kapi/$witness" >"$tmp/witness" 2>&1 &&
		! grep -qi '# *skip' "$tmp/witness"; then
		witnesses=$((witnesses + 1))
	fi
done
if [ "$(id -u)" = 0 ] && [ "$witnesses" = 7 ]; then
	ok "what the tests of the kernel can do, check finds" test "$base" = 0
fi
if [ "$base" != 0 ]; then
	skip "a lazy restore cannot work for this user on this kernel: $(tail -n 1 "$tmp/out")"
	finish
fi

lesser userfaultfd -- --no-criu --json
ok "no userfaultfd: 3" is 3
ok "... named" lacks uffd
ok "... with cause" has uffd cause "no such system call"
ok "... and remedy" has uffd remedy CONFIG_USERFAULTFD
lesser userfaultfd -- --no-criu
ok "... and so does the text" grep -q '^A lazy restore cannot work here, for want of "a userfaultfd' "$tmp/out"
lesser -e EPERM userfaultfd -- --no-criu --json
ok "userfaultfd is forbidden: 1, no fault of the kernel" is 1
ok "... with cause" has uffd cause "seccomp filter"
lesser ioctl:0xc018aa3f -- --no-criu --json
ok "UFFDIO_API is refused: 3" is 3
ok "... named" lacks uffd.events
lesser ioctl:0xc020aa00 -- --no-criu --json
ok "UFFDIO_REGISTER is refused: 3" is 3
ok "... named" lacks uffd.ioctls
lesser pidfd_open -- --no-criu --json
ok "no pidfd_open: 3" is 3
ok "... named" lacks pidfd_open
ok "... what depends on it is unknown" answers pidfd_getfd unknown
lesser memfd_create -- --no-criu --json
ok "no memfd_create: 3" is 3
ok "... named" lacks memfd
for optional in "uffd.move ioctl:UFFDIO_MOVE" "pidfd_getfd pidfd_getfd" \
		"collapse process_madvise" "pagemap_scan ioctl:PAGEMAP_SCAN" "seccomp seccomp"; do
	lesser "${optional#* }" -- --no-criu --json
	ok "without ${optional#* }: 0 all the same" is 0
	ok "... and a no for ${optional% *}" answers "${optional% *}" no
done
lesser madvise:MADV_GUARD_INSTALL -- --no-criu --json
ok "a kernel without guard pages needs nothing to see them" answers guard yes

# What a kernel that has it all must say, else the rows above prove nothing.
for key in uffd uffd.events uffd.ioctls pidfd_open memfd pagemap; do
	ok "here $key is a yes" grep -qE '"key":"'"${key/./\\.}"'"[^}]*"answer":"yes"' "$tmp/base"
done

fake 4.2.1 0 'uffd-noncoop is supported\nLooks good.\n'
run check --criu "$tmp/criu" --json
ok "a criu that works: 0" is 0
ok "... its version is told" grep -q '"value":"4.2.1, ' "$tmp/out"
ok "... it is content" answers criu.check yes
fake 3.17.1 1 'Error (criu/util.c:642): exited, status=1\nError (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds\n'
run check --criu "$tmp/criu" --json
ok "a criu too old for the kernel: 1" is 1
ok "... named" lacks criu.lazy
ok "... with cause" has criu.lazy cause "vDSO"
ok "... and remedy" has criu.lazy remedy "criu 4.1 or later"
fake 4.1.1 1 "Error (criu/util.c:544): Can't open /proc/self/fd: No such file or directory\n"
run check --criu "$tmp/criu" --json
ok "a criu without /proc: 1" is 1
ok "... with cause" has criu.lazy cause "/proc is not mounted"
fake 4.1.1 1 'Error (criu/x.c:1): something new\n'
run check --criu "$tmp/criu" --json
ok "a criu that fails for another reason: 1" is 1
ok "... is quoted" has criu.lazy cause "something new"
fake 2.0 0 'uffd-noncoop is supported\n'
run check --criu "$tmp/criu" --json
ok "a criu that is too old: 1" is 1
ok "... named" lacks criu.version
printf '#!/bin/sh\nkill -SEGV $$\n' >"$tmp/criu"
run check --criu "$tmp/criu" --json
ok "a criu that crashes: 1" is 1
ok "... says so" has criu.version cause "signal 11"
run check --criu "$tmp/none" --json
ok "no criu: 1" is 1
ok "... with remedy" has criu.version remedy "install criu"
finish
