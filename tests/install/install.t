#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 600
# What make install puts where, that it works from there, and that uninstall and clean leave nothing.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tests/plugin/lib.sh
unset MAKEFLAGS MAKELEVEL MFLAGS DESTDIR PREFIX LIBDIR PLUGINDIR BINDIR MANDIR SAN MUTANT

T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
unset O
mk() { make --no-print-directory O="$T/build" "$@" >>"$T/log" 2>&1; }
files() { (cd "$1" && find . ! -type d | sort | sed 's|^\./||'); }

nice make --no-print-directory -j"$(nproc)" O="$T/build" PREFIX=/opt/x install DESTDIR="$T/root" \
	>"$T/log" 2>&1
status=$?
[ $status = 0 ] || tail -n 20 "$T/log" | sed 's/^/# /'
is "make install with DESTDIR and PREFIX" $status 0
want=$({
	echo opt/x/sbin/uffd-relocate
	echo opt/x/lib/uffd-relocate/uffd-relocate-plugin.so
	echo opt/x/share/bash-completion/completions/uffd-relocate
	echo opt/x/share/doc/uffd-relocate/plugin.conf
	for page in man/*.[1-8]; do
		echo "opt/x/share/man/man${page##*.}/${page##*/}"
	done
} | sort)
is "exactly these files" "$(files "$T/root")" "$want"
like "the installed program runs" "$("$T/root/opt/x/sbin/uffd-relocate" --version)" '^uffd-relocate [0-9.]+$'
ok "the plugin's directory holds nothing but the plugin" \
	test "$(ls "$T/root/opt/x/lib/uffd-relocate")" = uffd-relocate-plugin.so
# Its message names the directory; the path itself may have become immediate operands.
looks_in() { grep -aoE '[a-z/]+ nor in \$PATH' "$1"; }
is "the plugin looks for the pager where it was installed" \
	"$(looks_in "$T/root/opt/x/lib/uffd-relocate/uffd-relocate-plugin.so")" \
	"/opt/x/sbin nor in \$PATH"
ok "make uninstall" mk uninstall PREFIX=/opt/x DESTDIR="$T/root"
is "it leaves no file" "$(files "$T/root")" ""
ok "and no directory of ours" test ! -e "$T/root/opt/x/lib/uffd-relocate" -a \
	! -e "$T/root/opt/x/share/doc/uffd-relocate"

ok "make install with LIBDIR and PLUGINDIR" \
	mk install PREFIX=/usr LIBDIR=/usr/lib64 PLUGINDIR=/usr/lib64/criu BINDIR=/usr/bin DESTDIR="$T/two"
ok "they are heeded" test -x "$T/two/usr/bin/uffd-relocate" -a \
	-e "$T/two/usr/lib64/criu/uffd-relocate-plugin.so"
is "another BINDIR makes another plugin" \
	"$(looks_in "$T/two/usr/lib64/criu/uffd-relocate-plugin.so")" "/usr/bin nor in \$PATH"
touch "$T/two/usr/lib64/criu/other.so"
mk uninstall PREFIX=/usr LIBDIR=/usr/lib64 PLUGINDIR=/usr/lib64/criu BINDIR=/usr/bin DESTDIR="$T/two"
is "uninstall leaves what is not ours" "$(files "$T/two")" usr/lib64/criu/other.so

if [ "$(id -u)" != 0 ]; then
	skip "the installed plugin starts the installed pager" "restoring takes root rights"
elif ! root=$(tests/roots forky); then
	skip "the installed plugin starts the installed pager" "no root with a criu can be made here"
else
	# PATH and settings do not help: it must be the directory that was compiled in.
	mk install PREFIX=/run/inst DESTDIR="$T/three"
	mk "$T/build/tests/tools/enter"
	cat >"$T/three/inside" <<'END'
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir /tmp/img /tmp/w
setsid sleep 1000 </dev/null >/dev/null 2>&1 &
pid=$!
disown
until grep -qw sleep /proc/$pid/comm; do :; done
criu dump -t $pid -D /tmp/img -o dump.log -v2
while kill -0 $pid 2>/dev/null; do :; done
UFFD_RELOCATE_VERBOSITY=4 timeout 60 criu restore -D /tmp/img -W /tmp/w --lazy-pages -d -o r.log -v4 \
	-L /run/inst/lib/uffd-relocate
kill -9 $pid
grep -o 'uffd-relocate: pager .* started' /tmp/w/r.log
END
	got=$(timeout 120 "$T/build/tests/tools/enter" --pid --net \
		--bind "$T/three/run/inst:/run/inst" --bind "$T/three/inside:/run/inside" "$root" -- \
		bash /run/inside 2>&1)
	is "the installed plugin starts the installed pager" "$got" \
		"uffd-relocate: pager /run/inst/sbin/uffd-relocate started"
fi

before=$(ls -A)
ok "make clean with O=" mk clean
is "it leaves other builds alone" "$(ls -A)" "$before"
ok "it leaves nothing of that build" test ! -e "$T/build"
done_testing
