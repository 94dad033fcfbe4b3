#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 120
# How it starts and ends: daemon, pidfile, scripts, descriptors, configuration, exit status.
. "$(dirname "$0")/lib.sh"

cat >"$tmp/one" <<END
task 12
vma 0x10000000000 64
entry 0x10000000000 64 ls
END
image <"$tmp/one"
restore() { restorer && cmds connect all magic close; }

# run ARGUMENT...: to its end (or its daemon's start); $status, $tmp/out, $tmp/err.
run() {
	timeout 10 "$bin" lazy-pages --no-default-config "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	status=$?
}
fresh() { rm -rf "$work"; mkdir "$work"; }
gone() { [ ! -e "/proc/$1" ]; }

fresh
run -D "$img" -W "$work" -d --pidfile pid -v4 -o log
ok "-d: exit 0 once it listens" [ $status = 0 ]
ok "... silently" silent
daemon=$(cat "$work/pid" 2>/dev/null)
ok "... pidfile: no newline, mode 600" [ "$(stat -c '%s %a' "$work/pid")" = "${#daemon} 600" ]
ok "... it is the keeper's" eval 'state | grep -q "\"keeper_pid\":$daemon,"'
ok "... in a session of its own" [ "$(ps -o sid= -p "$daemon" | tr -d ' ')" = "$daemon" ]
ok "... with /dev/null for stdio" [ "$(readlink /proc/"$daemon"/fd/2)" = /dev/null ]
restore
ok "... it serves" right 12
ok "... and ends" wait_for 5 gone "$daemon"

echo 1 >"$work/pid"
run -D "$img" -W "$work" -d --pidfile pid
ok "a pidfile that exists: exit 1" [ $status = 1 ]
ok "... one line" line "pidfile pid: File exists"

cat >"$work/script" <<END
#!/bin/sh
echo "\$CRTOOLS_SCRIPT_ACTION \$CRTOOLS_IMAGE_DIR" >"$work/script.out"
[ -S "$work/lazy-pages.socket" ] && echo listens >>"$work/script.out"
head -c 1 "$tmp/ready.nb" >/dev/null 2>&1
exit \$(cat "$work/script.rc")
END
chmod +x "$work/script"
echo 0 >"$work/script.rc"
again --action-script "$work/script"
ok "action script: has run when the status byte comes" \
	[ "$(cat "$work/script.out")" = "status-ready $img"$'\n'listens ]
kill -TERM "$keeper"
ok "SIGTERM before any restore: exit 1" exits 1
echo 3 >"$work/script.rc"
ok "an action script that fails: no status byte" eval '! again --action-script "$work/script"'
ok "... exit 1" exits 1
ok "... one line" line "action script $work/script: "

fresh
mkfifo "$tmp/st"
"$bin" lazy-pages --no-default-config -D "$img" -W "$work" --status-fd 8 8>"$tmp/st" 2>"$tmp/err" &
keeper=$!
ok "status-fd: one zero byte, then the end" [ "$(timeout 5 od -An -tx1 "$tmp/st" | tr -d ' ')" = 00 ]
kill -TERM $keeper
wait $keeper
keeper=

fresh
(cd "$img" && exec "$bin" lazy-pages --no-default-config -d --pidfile pid)
ok "without -D and -W: the current directory" [ -S "$img/lazy-pages.socket" ]
work=$img restore
ok "... served there" right 12
ok "... ends" wait_for 5 gone "$(cat "$img/pid")"
rm -f "$img"/{*.socket,pid}

fresh
printf 'images-dir %s\nwork-dir %s # here\nlog-file log\nverbosity 4\npidfile pid\n' "$img" "$work" >"$tmp/conf"
timeout 10 "$bin" lazy-pages --config "$tmp/conf" -d
ok "a configuration file: exit 0" [ $? = 0 ]
restore
ok "... serves" right 12
ok "... ends" wait_for 5 gone "$(cat "$work/pid")"
ok "... the log is where it says" logged "task 12: uffd"

run -D "$tmp/nowhere" -W "$work"
ok "no image directory: exit 1" [ $status = 1 ]
ok "... one line" line "$tmp/nowhere: No such file"
run -D "$img" -W "$tmp/nowhere"
ok "no work directory: exit 1" [ $status = 1 ]
ok "... one line" line "$tmp/nowhere: No such file"
run -D "$img" -W "$work" -o "$tmp/nowhere/log"
ok "a log that cannot be made: exit 1" [ $status = 1 ]
ok "... one line" line "$tmp/nowhere/log: No such file"

# ---- no space ----
fresh
if mount -t tmpfs -o size=64k none "$work" 2>/dev/null; then
	trap 'umount -l "$work"; cleanup' EXIT
	cat /dev/zero >"$work/full" 2>/dev/null
	run -D "$img" -W "$work" -d --pidfile pid
	ok "no space for the pidfile: exit 1" [ $status = 1 ]
	ok "... one line" line "pidfile pid: No space left"
	again
	restore
	ok "no space for the log: served all the same" right 12
	ok "... exit 0" exits 0
	ok "... the log is empty" [ ! -s "$work/log" ]
	quit
	umount "$work"
	trap cleanup EXIT
else
	skip "no space" "mount is not permitted"
fi

# ---- refused system calls ----
deny=$O/tests/deny/deny
[ -x "$deny" ] || bail "not built: $deny"
# without WHAT...: it works; refuses PATTERN WHAT...: one line, exit 1, the task does not go on.
without() {
	# What auto-dedup has punched out of the old one is gone.
	image <"$tmp/one"
	WRAP="$deny $* --" serve --auto-dedup
	restore
	ok "without $*: right" right 12
	ok "without $*: exit 0" exits 0
}
unread() { [[ $reply != wrong* && $reply != zero* ]]; }
refuses() {
	local want=$1
	shift
	reply=
	WRAP="$deny $* --" serve && restore && cmd "do 12 verify"
	ok "without $*: exit 1" exits 1
	ok "without $*: one line" line "$want"
	ok "without $*: no wrong byte" unread
}
without -e EPERM userfaultfd
without 451
without madvise:MADV_POPULATE_READ
without fallocate
without -e EPERM prlimit64 mlock setpriority sched_setscheduler
without process_vm_readv pidfd_getfd ptrace kcmp
image <"$tmp/one"
refuses "Operation not permitted" -e EPERM ioctl:UFFDIO_COPY
refuses "shared state|memfd|cannot" -e EPERM memfd_create
refuses "cannot install the seccomp filter: " -e EPERM seccomp prctl:22
refuses "cannot start a pager: " -e EPERM clone3 56
finish
