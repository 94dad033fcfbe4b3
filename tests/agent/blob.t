#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 60
# The agent's code as it was linked, and what its link refuses.
. "$(dirname "$0")/../lint/lib.sh"

T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
elf=$O/agent.elf bin=$O/agent.bin
objects=("$O"/src/agent/*.o)

bad=
[ -s "$bin" ] || bad="$bin is missing"
size=$(stat -c %s "$bin" 2>/dev/null || echo 0)
[ "$size" -le 4096 ] || bad="$size bytes"
verdict "the agent's code keeps to its 4096 bytes" "$size" "$bad"

symbols=$(nm "$elf" | wc -l)
verdict "it calls nothing that is not in it" "$symbols" "$(nm -u "$elf")"
verdict "nothing in it has to be relocated" "$symbols" "$(readelf -rW "$elf" | grep -E 'R_[A-Z0-9]+_')"
verdict "it begins with the set-up" "$symbols" \
	"$(nm "$elf" | awk '/ agent_setup$/ && $1 !~ /^0+$/')"
insns=$(objdump -d "$elf" | grep -c '^ ')
verdict "it leaves vector and floating point registers alone" "$insns" \
	"$(objdump -d "$elf" | grep -E '%[xyz]mm|%st|%mm[0-7]')"

# refused NAME SOURCE: linked with a piece of such a source there is no blob.
refused() {
	local name=$1 said
	printf '%s\n' "$2" >"$T/piece.c"
	${CC:-cc} -O1 -ffreestanding -fPIE -fno-stack-protector -fcf-protection=none \
		-fno-asynchronous-unwind-tables -c -o "$T/piece.o" "$T/piece.c" || said="no piece"
	if ld -static -pie --no-dynamic-linker -z noexecstack --no-undefined --fatal-warnings \
		-T "$LINT_TOP/src/agent/agent.lds" -o "$T/elf" "${objects[@]}" "$T/piece.o" 2>"$T/said"; then
		said="it was linked"
	fi
	verdict "$name" 1 "${said:-}"
}
if ld -static -pie --no-dynamic-linker -z noexecstack --no-undefined --fatal-warnings \
	-T "$LINT_TOP/src/agent/agent.lds" -o "$T/elf" "${objects[@]}" 2>"$T/said"; then
	verdict "it can be linked again" ${#objects[@]} ""
else
	verdict "it can be linked again" ${#objects[@]} "$(cat "$T/said")"
fi
refused "data are refused" 'int counter = 3; int next(void); int next(void) { return counter++; }'
refused "so is what begins as zeros" 'int counter; int next(void); int next(void) { return counter++; }'
refused "and tables of addresses" \
	'static int a, b; int *const table[] __attribute__((used)) = { &a, &b };'
refused "and calls to what is elsewhere" 'int puts(const char *s); int f(void); int f(void) { return puts("x"); }'
refused "and bulk" 'const char bulk[4096] __attribute__((used)) = { 1 };'

exported=$(nm -D --defined-only "$O/uffd-relocate-plugin.so" | awk '{ print $3 }')
verdict "the plugin, which has it too, shows nothing but its descriptor" 1 \
	"$(grep -vx CR_PLUGIN_DESC <<<"$exported")"
finish
