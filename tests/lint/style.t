#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Rules that grep can see: licence lines, sizes, columns, return values.
. "$(dirname "$0")/lib.sh"

LINES_CAP=800 LINES_SMELL=500 COLUMNS_CAP=110 COLUMNS_AIM=100

declare -A except except_used
while read -r rule file _; do
	except["$rule $file"]=1
done < <(table "$LINT_DIR/style.except")

# excepted RULE FILE
excepted() {
	[ -n "${except["$1 $2"]:-}" ] || return 1
	except_used["$1 $2"]=1
}

# Sources of any language, and other files in which a licence line can stand.
mapfile -t sources < <(all_files | while IFS= read -r f; do
	case $f in
	*.c | *.h | *.S | *.py | *.sh | *.t | *.mk | *.proto | *.table | *.except | Makefile | */Makefile) ;;
	man/*.[1-8]) ;;
	*.md | COPYING | *.patch | tests/*/corpus/*) continue ;;
	*) LC_ALL=C is_script "$f" 2>/dev/null || continue ;;
	esac
	echo "$f"
done)

bad=''
for f in "${sources[@]}"; do
	case $f in
	# The kernel's own header keeps its own licence.
	kernel/uapi/*) want='SPDX-License-Identifier: GPL-2\.0 WITH Linux-syscall-note' ;;
	*) want='SPDX-License-Identifier: GPL-2\.0-only' ;;
	esac
	head -n 3 "$f" | grep -qE "$want" || bad+="$f"$'\n'
done
verdict "every source has its SPDX line among the first three" ${#sources[@]} "${bad%$'\n'}"

bad='' smell=0
for f in "${sources[@]}"; do
	case $f in kernel/uapi/*) continue ;; esac
	lines=$(wc -l <"$f")
	[ "$lines" -le "$LINES_CAP" ] || excepted size "$f" || bad+="$f has $lines lines"$'\n'
	[ "$lines" -le "$LINES_SMELL" ] || smell=$((smell + 1))
done
verdict "no source has more than $LINES_CAP lines" ${#sources[@]} "${bad%$'\n'}"
echo "# $smell have more than $LINES_SMELL"

mapfile -t c < <(c_files | grep -v '^kernel/')
bad='' over=0
for f in "${c[@]}"; do
	while read -r n width; do
		over=$((over + 1))
		[ "$width" -le "$COLUMNS_CAP" ] || bad+="$f:$n: $width columns"$'\n'
	done < <(expand "$f" | awk -v max=$COLUMNS_AIM 'length($0) > max { print NR, length($0) }')
done
verdict "no line of C has more than $COLUMNS_CAP columns" ${#c[@]} "${bad%$'\n'}"
echo "# $over have more than $COLUMNS_AIM"

bad=$(printf '%s\0' "${sources[@]}" | xargs -0 -r grep -HnE '[[:blank:]]+$' | cut -c1-120)
verdict "no line ends in blanks" ${#sources[@]} "$bad"

mapfile -t ours < <(printf '%s\n' "${c[@]}" | grep -E '^(src|criu-plugin)/')
bad=''
while IFS=: read -r f n _; do
	excepted return-1 "$f" || bad+="$f:$n: return -1"$'\n'
done < <(printf '%s\0' "${ours[@]}" | xargs -0 -r grep -HnE '\breturn -1;')
verdict "errors are -errno: nothing returns -1" ${#ours[@]} "${bad%$'\n'}"

stale=
if [ -z "${LINT_PROVE:-}" ]; then
	for key in "${!except[@]}"; do
		[ -n "${except_used[$key]:-}" ] || stale+="nothing needs the exception: $key"$'\n'
	done
fi
verdict "no exception is stale" 1 "${stale%$'\n'}"
finish
