#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# lazy-pages accepts what criu accepts.  A library that takes the place of getopt_long(3) makes
# each program print its table; whoever criu's is, ours must have every row of it.
. "$(dirname "$0")/lib.sh"

cat >"$tmp/dump.c" <<'C'
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
int getopt_long(int argc, char *const *argv, const char *s, const struct option *o, int *i)
{
	(void)argc, (void)argv, (void)i;
	for (; *s; s++) {
		if (*s == ':')
			continue;
		printf("-%c %d\n", *s, s[1] != ':' ? 0 : s[2] != ':' ? 1 : 2);
	}
	for (; o->name; o++)
		printf("--%s %d\n", o->name, o->has_arg);
	fflush(stdout);
	_Exit(0);
}
C
"${CC:-cc}" -shared -fPIC -o "$tmp/dump.so" "$tmp/dump.c" || bail "dump.c does not compile"
export ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0

LD_PRELOAD=$tmp/dump.so "$bin" lazy-pages 2>"$tmp/err" | sort -u >"$tmp/ours"
ok "our table can be had" grep -qx -e '--images-dir 1' "$tmp/ours"

# table ROOT CRIU: the rows of a criu, run with the libraries of its root.
table() {
	local root=$1 libs
	libs=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu
	"$root/lib64/ld-linux-x86-64.so.2" --library-path "$libs" --preload "$tmp/dump.so" \
		"$root/usr/sbin/criu" lazy-pages 2>/dev/null | sort -u
}
version() {
	local root=$1 libs
	libs=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu
	"$root/lib64/ld-linux-x86-64.so.2" --library-path "$libs" "$root/usr/sbin/criu" --version |
		sed -n 's/Version: //p'
}

cache=${UFFD_RELOCATE_CACHE:-/var/cache/uffd-relocate}
for root in "" "$cache"/trixie-* "$cache"/forky-*; do
	name=${root##*/}
	name=${name%-*}
	if [ ! -x "$root/usr/sbin/criu" ] || [ ! -e "$root/lib64/ld-linux-x86-64.so.2" ]; then
		skip "no criu in ${root:-this system}"
		continue
	fi
	table "$root" >"$tmp/theirs"
	# --ms is in criu's table only to be refused.
	missing=$(grep -vx -e '--ms 0' "$tmp/theirs" | comm -13 "$tmp/ours" -)
	[ -z "$missing" ] || sed 's/^/# missing: /' <<<"$missing"
	ok "criu $(version "$root") of ${name:-this system}: its table has rows" \
		test "$(wc -l <"$tmp/theirs")" -gt 90
	ok "... and ours has them all, with the same arguments" test -z "$missing"
done

# An accepted option lets the run come to the judgement on --stream, which is a refusal.
accepted() {
	run lazy-pages --no-default-config "$@" --stream
	is 1 && says "--stream cannot be used"
}
for option in --display-stats --log-pid --no-log-pid -j -l -S "-t 1" "-J net:1" -vvv --verbosity \
	      --cpu-cap --cpu-cap=all "--address 1.2.3.4" "--port 27" --unprivileged \
	      --no-page-server --no-tls "--images tmp" "--exec-cmd -- a b"; do
	if [ "$option" = "--exec-cmd -- a b" ]; then
		run lazy-pages --no-default-config --stream --exec-cmd -- a b
		ok "accepted: $option" says "--stream cannot be used"
		continue
	fi
	# shellcheck disable=SC2086
	ok "accepted: $option" accepted $option
done

for option in --page-server "--page-server --address 10.0.0.1 --port 27" "--ps-socket 3" --tls \
	      "--tls-cacert f" "--tls-cacrl f" "--tls-cert f" "--tls-key f" --tls-no-cn-verify; do
	# shellcheck disable=SC2086
	run lazy-pages $option
	ok "refused with one line: $option" says "${option%% *}: pages from a page server are not served yet"
	ok "... and status 1" is 1
done

# bad TEXT ARGUMENT...: a wrong argument: status 2, one line that has TEXT.
bad() {
	local text=$1
	shift
	run lazy-pages "$@"
	ok "wrong: $*" is 2
	ok "... in one line" says "$text"
}
bad "option '-D' needs an argument" -D
bad "option '--work-dir' needs an argument" --work-dir
bad "option '--daemon' takes no argument" --daemon=1
bad "option '--no-drain' takes no argument" --no-drain=1
bad "--verbosity: 'x' is not a number" -vx
bad "--status-fd: 'x' is not a number" --status-fd x
bad "--status-fd: no such descriptor is open" --status-fd 77
bad "--progress-fd: no such descriptor is open" --progress-fd 77
bad "--listen-fd: is not a listening socket" --listen-fd 0
bad "--drain-cpu: 0 is not between 1 and 100" --drain-cpu 0
bad "--drain-cpu: 101 is not between 1 and 100" --drain-cpu 101
bad "'1X' is not a number of bytes" --rate 1X
bad "'-1' is not a number of bytes" --rate -1
bad "'20000000T' is not a number of bytes" --rate 20000000T
bad "--lost-after: 'soon' is not a number" --lost-after soon
bad "--criu-pid: process 2147483647: No such process" --criu-pid 2147483647
bad "--adopt: 'x' is not a number" --adopt=x
bad "only one script" --action-script a --action-script b

run -D x lazy-pages --stream
ok "options before the verb, as criu allows" says "--stream cannot be used"
run -D x status
ok "... but only for lazy-pages" is 2
run lazy-pages -D "$tmp/none"
ok "images that are not there: status 1" is 1
ok "... and named in one line" says "$tmp/none"
finish
