#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# Each lint passes a small tree that keeps the rules, and fails, naming the place, when one is broken.
. "$(dirname "$0")/lib.sh"

T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
export LINT_PROVE=1
licence="SPDX-License-Identifier: GPL-2.0-only"

unindent() {
	sed 's/^\t\t//'
}

# good_tree: make $T/t anew.
good_tree() {
	rm -rf "$T/t"
	mkdir -p "$T/t"/src/{core,kapi,pager} "$T/t/man"
	cd "$T/t" || exit 1
	printf '/* %s */\nint core_sum(int a, int b);\n' "$licence" >src/core/core.h
	unindent >src/core/core.c <<END
		// $licence
		#include <stdint.h>

		#include "core/core.h"

		int core_sum(int a, int b)
		{
			return a + b;
		}
END
	unindent >src/kapi/kapi.c <<END
		// $licence
		#include <sys/ioctl.h>

		int kapi_do(int fd);

		int kapi_do(int fd)
		{
			return ioctl(fd, 0, 0);
		}
END
	unindent >src/pager/pager.c <<END
		// $licence
		#include "core/core.h"

		int main(void)
		{
			return core_sum(1, -1);
		}
END
	unindent >run.sh <<END
		#!/bin/sh
		# $licence
		echo "\$1"
END
	unindent >man/x.1 <<END
		.\\" $licence
		.Dd January 1, 2026
		.Dt X 1
		.Os
		.Sh NAME
		.Nm x
		.Nd stand for something
END
	unindent >Makefile <<END
		# $licence
		O ?= build
		objects := \$(patsubst %.c,\$(O)/%.o,\$(wildcard src/*/*.c))
		all: \$(objects)
		\$(O)/%.o: %.c
			@mkdir -p \$(@D)
			\$(CC) -Wall -Wextra -Isrc -c -o \$@ \$<
		clean:
			rm -rf build
END
	cp "$LINT_DIR/../../.clang-format" .
}

compile() {
	make -s O="$T/t/build" >/dev/null 2>&1
}

# run LINT: into $T/out. Return: its exit status.
run() {
	LINT_TOP=$T/t O=$T/t/build "$LINT_DIR/$1.t" >"$T/out" 2>&1
}

for lint in includes symbols style tools build; do
	good_tree
	[ $lint != symbols ] || compile
	bad=
	run $lint || bad=$(cat "$T/out")
	verdict "$lint passes a tree that keeps the rules" 1 "$bad"
done

# breaks LINT NAME ROW WHERE COMMAND...: after COMMAND the row that begins with ROW fails and says WHERE.
breaks() {
	local lint=$1 name=$2 row=$3 where=$4 bad=
	shift 4
	good_tree
	"$@"
	[ $lint != symbols ] || compile
	run "$lint" && bad="it passes"
	if grep -q "^ok [0-9]* - $row.*# SKIP" "$T/out"; then
		skip "$lint: $name" "$(sed -n "s/.*- $row.*# SKIP //p" "$T/out")"
		return
	fi
	grep -q "^not ok [0-9]* - $row" "$T/out" || bad+="${bad:+, }the row did not fail: $row"
	grep -qF "$where" "$T/out" || bad+="${bad:+, }the place is not named: $where"
	[ -z "$bad" ] || bad+=$'\n'$(cat "$T/out")
	verdict "$lint: $name" 1 "$bad"
}

append() {
	local file=$1
	shift
	printf '%s\n' "$@" >>"$file"
}

lines() {
	for ((i = 0; i < $2; i++)); do echo "/* $i */"; done >>"$1"
}

replace() {
	sed -i "$2" "$1"
}

room() {
	mkdir -p "$1"
	cp src/core/core.h "$1"
}

breaks includes "core includes a system header" "rooms include only" "src/core/core.c:" \
	append src/core/core.c '#include <unistd.h>'
breaks includes "core includes another room" "rooms include only" "src/core/core.c:" \
	append src/core/core.c '#include "kapi/uffd.h"'
breaks includes "the pager includes pb-c" "rooms include only" "src/pager/pager.c:" \
	append src/pager/pager.c '#  include "proto/x.pb-c.h"'
breaks includes "the pager includes a private header of place" "rooms include only" "src/pager/pager.c:" \
	append src/pager/pager.c '#include "place/copy.h"'
breaks includes "the pager includes sys/ioctl.h" "rooms include only" "src/pager/pager.c:" \
	append src/pager/pager.c '#include <sys/ioctl.h>'
breaks includes "a room that is in no row" "every source file is in a room" "src/parlour/core.h" \
	room src/parlour
breaks includes "a file outside of every room" "every source file is in a room" "src/core.h" \
	cp src/core/core.h src/core.h
breaks symbols "the pager calls ioctl" "only kapi makes calls" "src/pager/pager.o calls ioctl" \
	append src/pager/pager.c 'int ioctl(int, unsigned long, ...);' \
	'int pager_do(void) { return ioctl(0, 0); }'
breaks symbols "the pager calls pidfd_send_signal" "only kapi makes calls" "src/pager/pager.o calls pidfd_" \
	append src/pager/pager.c 'int pidfd_send_signal(int, int, void *, int);' \
	'int pager_do(void) { return pidfd_send_signal(0, 0, 0, 0); }'
breaks symbols "core calls read" "core makes no calls" "src/core/core.o calls read" \
	append src/core/core.c 'int read(int, void *, int);' 'int core_do(void) { return read(0, 0, 0); }'
breaks symbols "nothing was built" "only kapi makes calls" "run make first" replace Makefile '/CC/d'
breaks style "no licence" "every source has its SPDX" "src/core/core.c" replace src/core/core.c 1d
breaks style "another licence" "every source has its SPDX" "run.sh" replace run.sh 's/-only/-or-later/'
breaks style "too many lines" "no source has more than 800" "src/core/core.c has" \
	lines src/core/core.c 800
breaks style "too many columns" "no line of C has more" "src/core/core.c:" \
	append src/core/core.c "$(printf '/* %0120d */' 0)"
breaks style "tabs count eight columns" "no line of C has more" "src/core/core.c:" \
	append src/core/core.c "$(printf '/*\t\t\t\t\t\t\t\t\t\t\t\t\t\t*/')"
breaks style "blanks at the end" "no line ends in blanks" "run.sh:" append run.sh 'true '
breaks style "return -1" "errors are -errno" "src/core/core.c:" \
	append src/core/core.c 'int core_do(void)' '{' '	return -1;' '}'
breaks tools "a shell script that does not quote" "shellcheck" "run.sh:" append run.sh 'for f in "$*"; do true; done'
breaks tools "indentation" "clang-format" "src/core/core.c:" replace src/core/core.c 's/^\treturn/    return/'
breaks tools "spacing" "clang-format" "src/core/core.c:" replace src/core/core.c 's/a + b/a+b/'
breaks tools "a man page with an unknown macro" "mandoc" "man/x.1" append man/x.1 '.Zz nothing'
breaks build "an unused variable" "gcc builds" "unused variable" \
	replace src/core/core.c 's/return a/int unused; return a/'
breaks build "a source that does not compile" "gcc builds" "make failed" append src/core/core.c '!'
breaks build "a build elsewhere that writes here" "a build elsewhere leaves" "> ./stray" \
	replace Makefile 's/^all:.*/&\n\ttouch stray/'
breaks build "make clean that forgets a file" "make clean removes" "> ./stray" \
	replace Makefile 's/^all:.*/&\n\t[ $(O) != build ] || touch stray/'
finish
