#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The plugin in a stand-in for criu (host.c) with a stand-in for the pager (tools/stub_pager.c):
# when it starts one, from where, with what; and what criu's process looks like afterwards.
# Needs no criu and, but for one case, no privilege.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${O:-$here/../../build}" && pwd) || exit 1
# shellcheck source=lib.sh
. "$here/lib.sh"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
so=$build/uffd-relocate-plugin.so
stub=$build/tests/tools/stub_pager
host=$tmp/criu
[[ -e $so && -x $stub ]] || bail "not built: $so, $stub"
[ -e /usr/include/criu/criu-plugin.h ] || bail "criu/criu-plugin.h is missing: package criu"
"${CC:-cc}" -D_GNU_SOURCE -Wall -Wextra -O1 -rdynamic -o "$host" "$here/host.c" || bail "host.c"

# A plugin directory without a pager beside it, and one with.
mkdir "$tmp/plain" "$tmp/beside" "$tmp/home" "$tmp/path"
cp "$so" "$tmp/plain/p.so"
cp "$so" "$tmp/beside/p.so"
cp "$stub" "$tmp/beside/uffd-relocate"
cp "$stub" "$tmp/path/uffd-relocate"

unset "${!UFFD_RELOCATE_@}" CRIU_CONFIG_FILE
export HOME=$tmp/home HOST_SO=$tmp/plain/p.so STUB_LOG=$tmp/stub.log
export UFFD_RELOCATE_CONFIG=$tmp/plugin.conf UFFD_RELOCATE_PAGER=$stub

# The last pager is gone, as it should be some time after its criu.
wait_gone() { [ -z "${pager:-}" ] || wait_for gone "$pager" || bail "pager $pager stays"; }
# run [-u VAR] [VAR=VALUE...] [-- OPTION...]: one criu in a fresh work directory; $out is all that
# it said, $tmp/stub.log what its pager said.
run() {
	local env=()
	while [ $# -gt 0 ] && [ "$1" != -- ]; do env+=("$1"); shift; done
	[ $# = 0 ] || shift
	wait_gone
	rm -rf "$tmp/work" "$STUB_LOG"
	mkdir "$tmp/work"
	[ -z "${prepare:-}" ] || "$prepare"
	out=$(cd "$tmp/work" && env "${env[@]}" timeout 30 "$host" "$@" 2>&1 </dev/null)
	pager=$(sed -n 's/.* started, pid //p' <<<"$out")
}
# The pager has written down how it was started.
started() { [ -n "$pager" ] && wait_for test -e "$STUB_LOG"; }
# Nothing but what host.c itself says.
quiet() { ! grep -q '^log' <<<"$out" && [ -z "$pager" ] && grep -qx 'init 0' <<<"$out"; }
nothing_made() { [ -z "$(ls -A "$tmp/work")" ]; }
settings() { printf '%s\n' "$@" >"$UFFD_RELOCATE_CONFIG"; }

settings '# none'

# 1. As criu's loader sees it.
run
like "descriptor: version 0.2.0, ten hooks, one set" "$out" '^desc uffd-relocate 512 10 1$'
for stage in 0 1; do
	run HOST_STAGE=$stage -- dump --lazy-pages
	ok "stage $stage (dump, pre-dump): silent" quiet
	ok "stage $stage: touches nothing" nothing_made
	case $stage in
	0) like "stage 0: the program is asked for a hint" "$(cat "$STUB_LOG")" \
		"^args $stub trace -D /proc/self/fd/3 --frozen-by [0-9]+\$" ;;
	1) ok "stage 1: it is not" test ! -e "$STUB_LOG" ;;
	esac
done
like "a dump: criu gets no SIGCHLD" "$out" '^sigchld 0$'
like "a dump: nothing stays open" "$out" '^fds at exit \+0$'
run HOST_STAGE=0 UFFD_RELOCATE_TRACE=no -- dump
ok "trace = no: no hint at dump" test ! -e "$STUB_LOG"
run HOST_STAGE=0 UFFD_RELOCATE_TRACE=maybe -- dump
ok "bad settings are not the dump's business" quiet
run -- restore -d
ok "restore without --lazy-pages: silent" quiet
ok "restore without --lazy-pages: touches nothing" nothing_made

# 2. A started pager and the process that started it.
run -- restore --lazy-pages
ok "restore --lazy-pages: a pager is started" started
log=$(cat "$STUB_LOG" 2>/dev/null)
like "init succeeds" "$out" '^init 0$'
like "criu gets no SIGCHLD" "$out" '^sigchld 0$'
like "criu has no child" "$out" '^children 0$'
like "criu has two descriptors more, the pipe and the wire" "$out" '^fds \+2$'
like "and at exit as many as before" "$out" '^fds at exit \+0$'
like "criu's signal mask is as before" "$out" '^mask 110$'
is "the pager has seven descriptors" "$(grep -c '^fd ' <<<"$log")" 7
for fd in 0 1 2; do like "descriptor $fd is /dev/null" "$log" "^fd $fd /dev/null\$"; done
like "descriptor 3 is the socket" "$log" '^fd 3 socket:'
like "descriptor 4 is the image directory" "$log" "^fd 4 $tmp/work\$"
like "descriptor 5 is the pipe" "$log" '^fd 5 pipe:'
like "descriptor 6 is the wire" "$log" '^fd 6 socket:'
is "it has its own session" "$(sed -n 's/^sid //p' <<<"$log")" "$pager"
like "no signal is blocked" "$log" '^SigBlk:.0*$'
# 32 and 33 are libc's own: whoever started us may have them ignored, and sigaction(3) cannot undo it.
like "no signal is ignored" "$log" '^SigIgn:.0*(80000000|100000000|180000000)?$'
like "its files are private" "$log" '^Umask:.0077$'
like "it starts in the work directory" "$log" "^cwd $tmp/work\$"
like "the socket is private" "$log" '^socket-mode 600$'
like "its arguments" "$log" "^args $stub lazy-pages --no-default-config -D /proc/self/fd/4 -W \\. --listen-fd 3 \
--status-fd 5 --wire-fd 6 --criu-pid [0-9]+ -v2 -o uffd-relocate.log --agent\$"
ok "it ends when criu ends" wait_for grep -qx criu-gone "$STUB_LOG"

run HOST_REAPER=1 -- restore --lazy-pages
ok "from a subreaper: started" started
like "from a subreaper: no child either" "$out" '^children 0$'

run STUB_EXIT=3 HOST_CONNECT=1 -- restore --lazy-pages
like "a pager that dies early: criu can not connect" "$out" '^connect ECONNREFUSED$'
like "a pager that dies early: criu gets no SIGCHLD" "$out" '^sigchld 0$'

# 3. Is --lazy-pages asked for?
wants() { run -- "$@"; ok "yes: $*" test -n "$pager"; }
wants_not() { run -- "$@"; ok "no: $*" quiet; }
wants restore --lazy-pages
wants restore --lazy
wants restore --la
wants --lazy-pages restore -D dir
wants restore -dv4 -D dir -o log --lazy-pages
wants restore -Ddir --lazy-pages
wants restore -x --lazy-pages
wants restore -v --lazy-pages
wants restore --verbosity --lazy-pages
wants restore --tls --lazy-pages
wants restore --log-file=x --lazy-pages
wants restore --work-dir x --lazy-pages
wants restore --manage-cgroups --lazy-pages
wants restore -do log --lazy-pages -- --no-default-config
wants_not restore -o --lazy-pages
wants_not restore -do --lazy-pages
wants_not restore --log-file --lazy-pages
wants_not restore --log-f --lazy-pages
wants_not restore --action-script --lazy-pages
wants_not restore -L --lazy-pages
wants_not restore --exec-cmd -- prog --lazy-pages
wants_not restore lazy-pages
wants_not restore --leave-stopped
wants_not swrk 4

conf=$tmp/home/.criu/default.conf
mkdir "$tmp/home/.criu"
says() { printf '%b\n' "$1" >"$conf"; shift; wants "$@"; }
says_not() { printf '%b\n' "$1" >"$conf"; shift; wants_not "$@"; }
says 'lazy-pages' restore
says '# comment\n\n\tlazy-pages  # why\ntcp-close' restore -d
says 'lazy-pages' swrk 4
says_not '#lazy-pages' restore
says_not 'log-file lazy-pages' restore
says_not 'leave-stopped' restore
says_not 'lazy-pages' restore --no-default-config
says_not 'lazy-pages' restore --config /dev/null
says_not 'lazy-pages' restore --config=/dev/null
rm "$conf"
echo lazy-pages >"$tmp/other.conf"
wants restore --config "$tmp/other.conf"
wants restore "--config=$tmp/other.conf"
run CRIU_CONFIG_FILE="$tmp/other.conf" -- restore
ok "yes: CRIU_CONFIG_FILE" started
like "the pager does not see that variable" "$(cat "$STUB_LOG")" "^criu-config none\$"
run PWD="$tmp" -- restore --config other.conf
ok "yes: --config relative to where criu was started" test -n "$pager"
run -- restore --config "$tmp/absent.conf"
like "a configuration file that is absent is spoken of" "$out" '^log 3 .*absent.conf'

# 4. Settings.
settings "pager = $tmp/path/uffd-relocate" 'lazy = yes' '' '  # comment' ' verbosity=4 ' \
	'log = other.log' 'agent = no' 'thp = always' 'drain = no' 'rate = 100M' 'drain-cpu = 50' \
	'lost-after = 90' 'trace = no' 'record = once' 'hot-budget = 64M'
run -u UFFD_RELOCATE_PAGER -- restore
ok "lazy = yes needs no option" started
like "all settings reach the pager" "$(cat "$STUB_LOG")" "^args $tmp/path/uffd-relocate .* -v4 \
-o other.log --no-agent --thp always --no-drain --rate 100M --drain-cpu 50 --lost-after 90 --no-trace \
--record=once --hot-budget 64M\$"
run UFFD_RELOCATE_LOG=none UFFD_RELOCATE_DRAIN=yes UFFD_RELOCATE_DRAIN_CPU=7 UFFD_RELOCATE_TRACE=yes \
	UFFD_RELOCATE_RECORD=yes UFFD_RELOCATE_HOT_BUDGET=1s -- restore
ok "environment: started" started
like "the environment has the last word" "$(cat "$STUB_LOG")" "^args $stub .* -v4 --no-agent --thp always \
--rate 100M --drain-cpu 7 --lost-after 90 --record --hot-budget 1s\$"
run UFFD_RELOCATE_LAZY=auto -- restore
ok "lazy = auto in the environment overrides yes" quiet
settings 'lazy = no'
run -- restore --lazy-pages
ok "lazy = no: silent even with the option" quiet
run UFFD_RELOCATE_CONFIG="$tmp/absent" -- restore --lazy-pages
like "a settings file that is named and absent" "$out" '^log 1 .*absent: No such file'

# bad LINE PATTERN: as second line of the file.
bad() {
	settings '# first' "$1"
	run -- restore --lazy-pages
	like "bad: $1" "$out" "^log 1 Error \(uffd-relocate\): $UFFD_RELOCATE_CONFIG:2: $2"
	if grep -qx 'init 0' <<<"$out" || [ -n "$pager" ] ||
	   [ "$(grep -c ^log <<<"$out")" != 1 ] || ! nothing_made; then
		fail "bad: $1: one line, no pager, init fails" "$out"
	else
		pass "bad: $1: one line, no pager, init fails"
	fi
}
bad 'pager = uffd-relocate' 'pager: "uffd-relocate" is not an absolute path'
bad 'pager =' 'pager: "" is not'
bad 'lazy = perhaps' 'lazy: "perhaps" is not auto, yes or no'
bad 'verbosity = 6' 'verbosity: "6" is not a number from 0 to 5'
bad 'verbosity = 11' 'verbosity:'
bad 'drain = maybe' 'drain:'
bad 'thp = sometimes' 'thp: "sometimes" is not auto, always or never'
bad 'agent = perhaps' 'agent: "perhaps" is not yes or no'
bad 'rate = fast' 'rate:'
bad 'rate = 1Mb' 'rate:'
bad 'drain-cpu = 0' 'drain-cpu:'
bad 'drain-cpu = 101' 'drain-cpu:'
bad 'drain-cpu = 5%' 'drain-cpu:'
bad 'lost-after = 1m' 'lost-after:'
bad 'trace = maybe' 'trace:'
bad 'record = twice' 'record:'
bad 'hot-budget = 5m' 'hot-budget:'
bad 'hot-budget = ms' 'hot-budget:'
bad 'colour = red' 'unknown setting "colour"'
bad 'lazy' 'not a "key = value" line: lazy'
settings '# none'
run UFFD_RELOCATE_VERBOSITY=x -- restore --lazy-pages
like "bad in the environment" "$out" '^log 1 .*environment: UFFD_RELOCATE_VERBOSITY: "x" is not'
settings 'colour = red'
run -- restore
ok "a bad setting is of no interest without lazy pages" quiet
settings 'lazy = perhaps'
run -- restore
like "but a bad \"lazy\" is: it could be a yes" "$out" '^log 1 .*:1: lazy:'
settings '# none'

man=$here/../../man/uffd-relocate-plugin.7
for key in $(sed -n 's/^\t{ "\([a-z-]*\)", settings_set_.*/\1/p' \
	"$here/../../criu-plugin/settings.c"); do
	ok "setting $key is in the manual" grep -q "\"${key//-/\\\\-} = " "$man"
done

# 5. Where the pager is.
run -u UFFD_RELOCATE_PAGER HOST_SO="$tmp/beside/p.so" -- restore --lazy-pages
ok "beside the plugin: started" started
like "beside the plugin" "$(cat "$STUB_LOG")" "^args $tmp/beside/uffd-relocate "
if [ -e /usr/local/sbin/uffd-relocate ]; then
	skip "in PATH" "a pager is installed, it comes first"
	skip "none" "a pager is installed"
else
	run -u UFFD_RELOCATE_PAGER "PATH=:$tmp/plain:$tmp/path:$PATH" -- restore --lazy-pages
	like "in PATH" "$out" "pager $tmp/path/uffd-relocate started"
	run -u UFFD_RELOCATE_PAGER -- restore --lazy-pages
	like "none" "$out" '^log 1 .*no pager: .* "pager = PATH"'
fi
mkdir "$tmp/dir"
: >"$tmp/plainfile"
for file in absent dir plainfile; do
	run UFFD_RELOCATE_PAGER="$tmp/$file" -- restore --lazy-pages
	like "a pager that cannot be executed ($file): named, with the remedy" "$out" \
		"^log 1 .*cannot start the pager $tmp/$file: .*\"pager = PATH\""
	unlike "($file): init fails" "$out" '^init 0$'
	like "($file): no child left" "$out" '^children 0$'
	like "($file): no descriptor left" "$out" '^fds \+0$'
	ok "($file): no socket left" nothing_made
done

# 6. The socket.
run HOST_LISTEN=STREAM -- restore --lazy-pages
like "somebody listens: left alone" "$out" '^log 3 .*served already: no pager started$'
like "its one connection is not taken" "$out" '^taken 0$'
run HOST_LISTEN=DGRAM -- restore --lazy-pages
like "somebody is bound, but no stream: left alone" "$out" '^log 3 .*served already'
if [ "$(id -u)" = 0 ]; then
	run HOST_LISTEN=STREAM HOST_NETNS=1 -- restore --lazy-pages
	like "somebody listens in another network namespace: left alone" "$out" 'served already'
else
	skip "somebody listens in another network namespace" "takes root to make one"
fi
run HOST_LISTEN=STALE -- restore --lazy-pages
ok "a socket file that nobody owns is replaced" started
like "and served" "$out" '^init 0$'
put_file() { : >"$tmp/work/lazy-pages.socket"; }
prepare=put_file
run -- restore --lazy-pages
like "a file that is no socket is not replaced" "$out" '^log 1 .*lazy-pages.socket .*not a socket'
ok "it is still there" test -f "$tmp/work/lazy-pages.socket"
prepare=

wait_gone
done_testing
