#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Rooms include what includes.table lets them, and nothing else.
. "$(dirname "$0")/lib.sh"

declare -A sets allowed except except_used
while read -r word a rest; do
	case $word in
	set) sets[$a]+=" $rest" ;;
	except) except["$a ${rest%% *}"]=1 ;;
	*) allowed[$word]+=" $a $rest" ;;
	esac
done < <(table "$LINT_DIR/includes.table")
for room in "${!allowed[@]}"; do
	for set in "${!sets[@]}"; do
		allowed[$room]=${allowed[$room]//$set/${sets[$set]}}
	done
done

set -f
# may_include ROOM WHAT
may_include() {
	local pattern
	for pattern in ${allowed[$1]}; do
		# shellcheck disable=SC2053 # a pattern is what it is
		[[ $2 != $pattern ]] || return 0
	done
	return 1
}

# room_of FILE: into $room.
room_of() {
	case $1 in
	src/*/*) room=${1#src/} room=${room%%/*} ;;
	src/*) room=src ;;
	*) room=${1%%/*} ;;
	esac
}

mapfile -t files < <(c_files | grep -E '^(src|criu-plugin)/')
homeless=''
for file in "${files[@]}"; do
	room_of "$file"
	[ -n "${allowed[$room]:-}" ] || homeless+="$file is in no room of the table"$'\n'
done

bad='' seen=0
while IFS=: read -r file line what; do
	what=$(sed -E 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*(<[^>]*>|"[^"]*").*/\1/' <<<"$what")
	room_of "$file"
	[ -n "${allowed[$room]:-}" ] || continue
	seen=$((seen + 1))
	may_include "$room" "$what" && continue
	if [ -n "${except["$file $what"]:-}" ]; then
		except_used["$file $what"]=1
	else
		bad+="$file:$line: $room may not include $what"$'\n'
	fi
done < <(printf '%s\0' "${files[@]}" | xargs -0 grep -HnE '^[[:space:]]*#[[:space:]]*include\b')
verdict "rooms include only what the table allows" "$seen" "${bad%$'\n'}"
verdict "every source file is in a room of the table" ${#files[@]} "${homeless%$'\n'}"

stale=
if [ -z "${LINT_PROVE:-}" ]; then
	for key in "${!except[@]}"; do
		[ -n "${except_used[$key]:-}" ] || stale+="nothing needs the exception: $key"$'\n'
	done
fi
verdict "no exception is stale" 1 "${stale%$'\n'}"
finish
