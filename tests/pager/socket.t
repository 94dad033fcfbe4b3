#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 120
# Who else may come to the sockets, and what they may send.
. "$(dirname "$0")/lib.sh"

image <<END
task 12
vma 0x10000000000 256
entry 0x10000000000 256 ls
task 13
vma 0x10000000000 256
entry 0x10000000000 256 ls
zombie 14
END

begin() { serve "$@" && restorer && cmds connect; }
# nonsense NAME LINE COMMAND...: right after the connection, and after a task was handed over.
nonsense() {
	local name=$1 want=$2 c
	shift 2
	ok "$name: connected" begin
	for c; do cmd "$c"; done
	ok "$name: exit 1" exits 1
	ok "$name: one line" line "$want"
	begin
	cmds "task 12"
	for c; do cmd "$c"; done
	ok "$name, after a task: exit 1" exits 1
	ok "$name, after a task: one line" line "$want"
	ok "$name, after a task: it is killed" gives "killed 9" "wait 12"
}
nonsense "no magic" "restore sent 0x53545246, which" "raw 46 52 54 53"
nonsense "junk" "restore sent 0x4554534f" "raw 4f 53 54 45 4d 50 45 4c"
nonsense "zeros" "restore sent 0, which|restore sent 0x0, which" "raw 0 0 0 0"
nonsense "half a word" "restore sent 2 of 4 bytes" "raw d 0" close
nonsense "a pid that is not in the image" "restore sent 0x1267" "raw 67 12 0 0"
nonsense "a zombie that is not in the image" "restore sent 0xfffffff0" "raw f0 ff ff ff"
nonsense "the smallest number" "restore sent 0x80000000" "raw 0 0 0 80"
nonsense "a pid without a descriptor" "no userfaultfd for task 13" "nofd 13"
nonsense "a descriptor that is no userfaultfd" "task 13" "badfd 13"
nonsense "a pid, and then nothing" "went away before its tasks" "raw d 0 0 0" close
nonsense "nothing at all" "went away before its tasks" close

begin
cmds "task 12" "task 13" "close"
ok "no magic, but the end: exit 1" exits 1
ok "... both tasks are killed" gives "killed 9" "wait 13"
ok "... one line" line "went away before its tasks"

begin
cmds "task 13" "zombie 14" "task 12" magic
# The socket listens until the first one is accepted.
wait_for 10 logged "has connected"
second=$("$restorer" "$tmp/spec" "$work/lazy-pages.socket" <<<connect)
ok "a second client is refused" [ "$second" = "error Connection refused" ]
cmd "raw 1 2 3 4"
ok "... bytes after the magic are an error: exit 1" exits 1

begin --no-drain
wait_for 10 logged "has connected"
second=$("$restorer" "$tmp/spec" "$work/lazy-pages.socket" <<<connect)
ok "a second client beside a silent first one: refused" [ "$second" = "error Connection refused" ]
ok "a silent client: status answers" eval 'state | grep -q "\"state\":\"restoring\""'
cmds all magic close

# Clients of the control socket, from here on beside a restore that is served.
control=$work/uffd-relocate.socket
ok "the control socket is for its owner alone" [ "$(stat -c %a "$control")" = 600 ]
cat >"$tmp/ask.py" <<'END'
import socket, sys
def conn():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect(sys.argv[1])
    return s
if sys.argv[2] == "send":
    s = conn()
    try:
        s.sendall(eval(sys.argv[3]))
        print(s.recv(65536).decode().strip())
    except OSError as e:
        print(e.strerror)
elif sys.argv[2] == "crowd":
    crowd = [conn() for _ in range(int(sys.argv[3]))]
    print("ready", flush=True)
    sys.stdin.read()
END
ask() { timeout 10 python3 "$tmp/ask.py" "$control" "$@"; }
ok "another word: an error in JSON" [ "$(ask send 'b"adopt\n"')" = '{"error":"unknown request"}' ]
ok "no newline: the same" [ "$(ask send 'b"status"')" = '{"error":"unknown request"}' ]
ask send 'b"x" * (1 << 20)' >"$tmp/answer"
ok "a megabyte: an answer or the end of the connection" [ -e "$tmp/answer" ]
ask send 'b"\0\xff\n"' >/dev/null
ok "... and it still says how it is" serving
mkfifo "$tmp/crowd"
python3 "$tmp/ask.py" "$control" crowd 8 <"$tmp/crowd" >"$tmp/crowded" &
crowd_pid=$!
exec {crowd}>"$tmp/crowd"
wait_for 10 [ -s "$tmp/crowded" ]
start=${EPOCHREALTIME/./}
ok "eight clients that say nothing: a fault is answered at once" gives "right 1" "do 12 touch 0x10000004000"
took=$((${EPOCHREALTIME/./} - start))
ok "... ($took us)" [ $took -lt 1000000 ]
ok "... and somebody who asks is heard" serving
exec {crowd}>&-
wait $crowd_pid
ok "then everything" right 12 13
ok "exit 0" exits 0
ok "nothing on stderr" silent
finish
