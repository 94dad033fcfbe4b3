#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# inside.sh: the part of criu.t that runs in a root with a criu.  /run/build is the output folder,
# /run/tests the folder of the plugin's tests, /run/plugins/other.so another plugin.
# The pager is the stub, but for the end: it serves zeros, so its targets are restored stopped.
set -u
# shellcheck source=lib.sh
. /run/tests/lib.sh

img=/tmp/img w=/tmp/work so=/run/build/uffd-relocate-plugin.so
export STUB_LOG=/tmp/stub.log OTHER_LOG=/tmp/other.log
export UFFD_RELOCATE_PAGER=/run/build/tests/tools/stub_pager
export UFFD_RELOCATE_CONFIG=/tmp/plugin.conf
mkdir "$img" /tmp/ours /tmp/none /tmp/two /tmp/owt
cp "$so" /tmp/ours
: >"$UFFD_RELOCATE_CONFIG"

# The target gets a pid that neither criu nor a pager will have taken by then.
echo 2000 >/proc/sys/kernel/ns_last_pid 2>/dev/null
setsid sleep 1000 </dev/null >/dev/null 2>&1 &
target=$!
disown
wait_for grep -qw sleep "/proc/$target/comm"
echo 100 >/proc/sys/kernel/ns_last_pid 2>/dev/null

out=$(criu dump -t "$target" -D "$img" -L /tmp/ours -v2 2>&1)
is "dump with the plugin there" "$?" 0
unlike "it says nothing at dump" "$out" uffd-relocate
ok "it makes no socket at dump" test ! -e "$img/lazy-pages.socket"
like "it asks for a hint about huge pages" "$(cat "$STUB_LOG")" \
	"^args $UFFD_RELOCATE_PAGER trace -D /proc/self/fd/3 --frozen-by [0-9]+\$"
like "in the images" "$(cat "$STUB_LOG")" "^fd 3 $img\$"
wait_for gone "$target"
cp -r "$img" /tmp/bad

# restore [OPTION...]: $rc, $out (its own words), $log (-v4, all of it), $pager.  The target is
# stopped.  A command substitution returns when nobody holds the pipe any more.
restore() {
	rm -rf "$w" "$STUB_LOG" "$OTHER_LOG"
	mkdir "$w"
	again "$@"
}
again() {
	out=$(timeout 30 criu restore -D "$img" -W "$w" -d -s -o r.log -v4 "$@" 2>&1 </dev/null)
	rc=$?
	log=$(cat "$w/r.log")
	pager=$(sed -n 's/.*uffd-relocate: .* started, pid //p' <<<"$log")
}
# Everything that a restore left is gone.
over() {
	[ -z "${pager:-}" ] || kill -9 "$pager" 2>/dev/null
	kill -9 "$target" 2>/dev/null
	wait_for gone "$target" || bail "pid $target does not go"
	# The next restore needs its pid: somebody has to reap it, too.
	wait_for test ! -e "/proc/$target"
	[ -z "${pager:-}" ] || wait_for gone "$pager" || bail "pid $pager does not go"
}
says() { grep -q "$1" "$STUB_LOG" 2>/dev/null; }
no_pager() { [ -z "$pager" ] && [ ! -e "$STUB_LOG" ] && [ ! -e "$w/lazy-pages.socket" ]; }

restore -L /tmp/ours
is "restore without --lazy-pages" "$rc" 0
like "the plugin is loaded" "$log" 'Plugin "uffd-relocate" \(version 512 hooks 10\)'
unlike "it says nothing" "$log" 'uffd-relocate:|\(uffd-relocate\)'
ok "no pager, no socket" no_pager
over

restore -L /tmp/ours --lazy-pages
is "restore --lazy-pages" "$rc" 0
ok "our pager is told that the restore is done" wait_for says '^magic$'
ok "it got the task" says "^task $target\$"
is "it has seven descriptors" "$(grep -c '^fd ' "$STUB_LOG")" 7
is "stdio is /dev/null" "$(grep -cE '^fd [012] /dev/null$' "$STUB_LOG")" 3
like "descriptor 4 is the image directory" "$(cat "$STUB_LOG")" "^fd 4 $img\$"
is "its directory is the work directory" "$(readlink "/proc/$pager/cwd")" "$w"
is "it is nobody's session but its own" "$(sed -n 's/^sid //p' "$STUB_LOG")" "$pager"
is "it is a child of init" "$(sed -n 's/^PPid:\t//p' "/proc/$pager/status")" 1
is "the target has no descriptor too many" "$(ls -m "/proc/$target/fd")" "0, 1, 2"
unlike "criu saw no child end" "$log" 'exited, status|killed by signal'
ok "the plugin asks for each task" says "^wire [0-9]* $target"
over
ok "the first leaves its socket's file behind" test -S "$w/lazy-pages.socket"
rm "$STUB_LOG"
again -L /tmp/ours --lazy-pages
is "a second restore in that directory" "$rc-$(wait_for says '^magic$' && echo yes)" 0-yes
over

echo lazy-pages >/tmp/criu.conf
restore -L /tmp/ours --config /tmp/criu.conf
is "lazy-pages in a file that --config names" "$rc-$(wait_for says '^magic$' && echo yes)" 0-yes
over
mkdir -p /root/.criu
echo lazy-pages >/root/.criu/default.conf
restore -L /tmp/ours
is "lazy-pages in criu's configuration" "$rc-$(wait_for says '^magic$' && echo yes)" 0-yes
over
rm /root/.criu/default.conf

# Not detached: criu stays, and must not take a dying pager for a task.
rm -rf "$w" "$STUB_LOG"
mkdir "$w"
criu restore -D "$img" -W "$w" -L /tmp/ours --lazy-pages -s -o r.log -v4 \
	</dev/null >/dev/null 2>&1 &
criu=$!
ok "restore that is not detached" wait_for says '^magic$'
pager=$(sed -n 's/^pid //p' "$STUB_LOG")
kill -9 "$pager"
wait_for gone "$pager"
ok "criu outlives the pager" kill -0 "$criu"
kill -9 "$target"
wait "$criu"
unlike "and has nothing to say of it" "$(cat "$w/r.log")" "$pager (exited|killed)"
pager=
over

# Somebody else serves.
rm -rf "$w" "$STUB_LOG"
mkdir "$w"
criu lazy-pages -D "$img" -W "$w" -d --pidfile stock.pid -o stock.log -v4
stock=$(cat "$w/stock.pid")
again -L /tmp/ours --lazy-pages
is "restore beside criu lazy-pages" "$rc" 0
like "it is left alone" "$log" 'uffd-relocate: lazy-pages.socket is served already'
ok "no pager of ours" test -z "$pager" -a ! -e "$STUB_LOG"
ok "criu lazy-pages serves to the end" wait_for grep -q 'UFFD transferred pages' "$w/stock.log"
wait_for gone "$stock"
over

# Failures.
echo 'rate = fast' >"$UFFD_RELOCATE_CONFIG"
restore -L /tmp/ours --lazy-pages
is "bad setting: restore fails" "$rc" 1
is "one line of ours" "$(grep -c '(uffd-relocate)' <<<"$log")" 1
like "naming file and line" "$log" 'Error \(uffd-relocate\): /tmp/plugin.conf:1: rate: "fast" is not'
ok "no pager, no socket" no_pager
: >"$UFFD_RELOCATE_CONFIG"

UFFD_RELOCATE_PAGER=/nowhere/pager restore -L /tmp/ours --lazy-pages
is "no such pager: restore fails" "$rc" 1
like "naming it and the remedy" "$log" \
	'Error \(uffd-relocate\): cannot start the pager /nowhere/pager: .*"pager = PATH"'
ok "no pager, no socket" no_pager

STUB_EXIT=1 restore -L /tmp/ours --lazy-pages
is "a pager that gives up at once: restore fails" "$rc" 1
over

STUB_LATE=1 restore -L /tmp/ours --lazy-pages
is "a pager that ends before it is ready, with the tasks in its hands: restore fails" "$rc" 1
ok "it had received all" says '^magic$'
like "a line names the task" "$log" "Error \\(uffd-relocate\\): task $target is killed, .* the pager \
ended before it was ready"
ok "the task is not left with zeros for its memory" wait_for gone "$target"
over

STUB_DUMB=1 restore -L /tmp/ours --lazy-pages
is "a pager that ends when it is asked whether the task may run: restore fails" "$rc" 1
like "a line names the task" "$log" "Error \\(uffd-relocate\\): task $target is killed, .* the pager \
has ended, and its keeper with it"
ok "the task is not left with zeros for its memory" wait_for gone "$target"
over

for file in "core-$target.img" "mm-$target.img" files.img; do
	truncate -s -3 "/tmp/bad/$file"
	img=/tmp/bad restore -L /tmp/ours --lazy-pages
	is "damaged $file: restore fails" "$rc" 1
	ok "damaged $file: the pager had been started" test -n "$pager"
	ok "damaged $file: it ends by itself" wait_for gone "$pager"
	over
	cp "$img/$file" /tmp/bad
done

# Beside another plugin, loaded before or after ours.
cp /run/plugins/other.so /tmp/two/a.so && cp "$so" /tmp/two/b.so
cp "$so" /tmp/owt/a.so && cp /run/plugins/other.so /tmp/owt/b.so
order=
for dir in /tmp/two /tmp/owt; do
	restore -L $dir --lazy-pages
	is "with another plugin ($dir)" "$rc-$(wait_for says '^magic$' && echo yes)" 0-yes
	is "its hook is called ($dir)" "$(cat "$OTHER_LOG" 2>&1)" "resume $target"
	order+=$(sed -n 's/.*Plugin "\([a-z]\).*/\1/p' <<<"$log" | tr -d '\n')
	over
done
is "both orders were tried" "$(fold -w2 <<<"$order" | sort -u | tr -d '\n')" ouuo

# Driven by RPC the option cannot be seen.
rpc() {
	rm -rf "$w" "$STUB_LOG"
	mkdir "$w"
	printf 'leave-stopped\n' >/tmp/rpc.conf
	CRIU_LIBS_DIR=/tmp/ours timeout 30 python3 /run/tests/swrk.py "$img" "$w" /tmp/rpc.conf
	rc=$?
	pager=$(sed -n 's/.*uffd-relocate: .* started, pid //p' "$w/rpc.log")
}
rpc
is "RPC: with lazy = auto no pager is started, and the restore fails" "$rc-$pager" 1-
over
echo 'lazy = yes' >"$UFFD_RELOCATE_CONFIG"
rpc
is "RPC: with lazy = yes" "$rc-$(wait_for says '^magic$' && echo yes)" 0-yes
is "its work directory" "$(readlink "/proc/$pager/cwd")" "$w"
like "its image directory" "$(cat "$STUB_LOG")" "^fd 4 $img\$"
over
restore -L /tmp/ours
is "lazy = yes and a restore that is not lazy" "$rc" 0
ok "the pager that was started ends with criu" wait_for says '^criu-gone$'
pager=
over

# The real pager, found beside the plugin, as in a build tree.
if [ -x /run/build/uffd-relocate ]; then
	: >"$UFFD_RELOCATE_CONFIG"
	unset UFFD_RELOCATE_PAGER
	rm -rf "$w"
	mkdir "$w"
	criu restore -D "$img" -W "$w" -L /run/build --lazy-pages -d -o r.log -v4 </dev/null 2>&1
	is "the real pager: restore" "$?" 0
	pager=$(sed -n 's/.*uffd-relocate: .* started, pid //p' "$w/r.log")
	ok "it ends when all is in place" wait_for gone "$pager"
	ok "the target lives" kill -0 "$target"
	is "the pager had nothing to report" "$(grep -c Error: "$w/uffd-relocate.log")" 0
	over
	truncate -s -3 "/tmp/bad/core-$target.img"
	img=/tmp/bad restore -L /run/build --lazy-pages
	is "the real pager: a damaged image fails the restore" "$rc" 1
	ok "it had been started" test -n "$pager"
	ok "it ends by itself" wait_for gone "$pager"
	pager=
	over
else
	skip "the real pager" "it is not built"
fi

done_testing
