#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The e2e tests again where no agent can be had: everything must come by COPY then.
#
#	ptrace		refused to the pager and its hand
#	UFFDIO_MOVE	refused to the agent, which lives in the target, where a filter of ours does
#			not reach: the agent of the build "hostile" refuses by itself (lie 12)
#
# Everything is wanted in huge pages (--thp=always), so that an agent is wanted for everything.  With
# LONG=1 all e2e tests and both roots, else those about single pages in one.
# timeout: 3000
here=$(cd "$(dirname "$0")" && pwd)
TOP=$(cd "$here/../.." && pwd)
. "$TOP/tests/e2e/lib.sh"

# ---- inside: is it true that it is denied? ----

status_text() { timeout 30 "$UR" status --json -W "$D/work"; }
agent_is() { status_text | grep -qE "\"agent\":\"$1\""; }

# denied WHY: no agent, for that reason; and all the same the memory is right.
denied() {
	victim_start victim_pattern -m 32 -H
	criu_dump "$VPID"
	pager_start --rate 4M
	criu_restore
	until_true "$WAIT" agent_is "none: [^\"]*$1[^\"]*" || die "$(status_text)"
	note "$(status_text | grep -oE '"agent":"[^"]*"')"
	kill -TERM $LPID
	want verify
	pager_end
	[ -z "$(cat "/proc/$RPID/task/"*/children)" ] || die "an agent is left behind"
	target_end
}

# refused: an agent, but not a byte by it.
refused() {
	victim_start victim_pattern -m 32 -H
	criu_dump "$VPID"
	pager_start
	criu_restore
	want verify
	pager_end
	grep -q 'agent [0-9]* is at work' "$D/work/lazy.log" || die "there was no agent"
	grep -q 'agent: 0x.*: Invalid argument after 0 bytes' "$D/work/lazy.log" ||
		die "nothing was refused"
	grep -qE 'moved 0,' "$D/work/lazy.log" || die "pages were moved"
	target_end
}

if [ -n "${E2E_INSIDE:-}" ]; then
	case $DENY_CASE in
	MOVE) run_case "no page is moved" refused ;;
	*) run_case "no agent, and why" denied "$DENY_CASE" ;;
	esac
	all_done
	exit
fi

# ---- outside ----

[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP restoring takes root rights"; exit 0; }
O=${O:-$TOP/build}
case $O in /*) ;; *) O=$PWD/$O ;; esac
export O
tests=(basic gate events) roots=forky rows=0
[ -z "${LONG:-}" ] || { tests=(basic gate events apps agent cli); roots="forky trixie"; }

# rows NAME < TAP
rows() {
	awk -v name="$1" -v n="$rows" '
		/^(not )?ok / { n++; sub(/ok [0-9]+ -/, "ok " n " - " name ":") }
		!/^1\.\./ { print }
		END { print n >"/dev/fd/3" }' 3>"$tmp/rows"
	rows=$(cat "$tmp/rows")
}
# again NAME CASE VARIABLE=VALUE...
again() {
	local name=$1 case=$2 t
	shift 2
	for t in "${tests[@]}"; do
		rows "$name: $t" < <(env "$@" PAGER_OPTS=--thp=always ONLY_ROOT="$roots" "$TOP/tests/e2e/$t.t" 2>&1)
	done
	rows "$name" < <(env "$@" DENY_CASE="$case" DENY_RUN=1 ONLY_ROOT=forky "$here/agent.t")
}
if [ -n "${DENY_RUN:-}" ]; then
	in_roots forky
	exit
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make -C "$TOP" -s SAN= SANFLAGS= "O=$O/mutants/hostile" "CFLAGS=-O1 -g -DMUTANT_hostile" \
	"$O/mutants/hostile/uffd-relocate" >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log" | sed 's/^/# /'
	echo "Bail out! the hostile agent does not build"
	exit 1
}
deny=/mnt/build/tests/deny/deny
again "ptrace refused" "ptrace|traced|Operation not permitted" PAGER_WRAP="$deny -e EPERM ptrace --"
again "UFFDIO_MOVE refused" MOVE UR_DIR=mutants/hostile UFFD_RELOCATE_LIE=12
echo "1..$rows"
