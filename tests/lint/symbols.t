#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Objects refer only to the calls that symbols.table lets their room make.
. "$(dirname "$0")/lib.sh"

declare -A owners pure except except_used
while read -r word a rest; do
	case $word in
	only) for symbol in $rest; do owners[$symbol]=,$a,; done ;;
	pure) pure[$a]+="${pure[$a]:+|}${rest// /|}" ;;
	except) except["$a ${rest%% *}"]=1 ;;
	esac
done < <(table "$LINT_DIR/symbols.table")
any=$(IFS='|'; echo "${!owners[*]}")

# Undefined symbols of an object, without their versions.
undefined() {
	nm -u "$1" | awk '{ print $NF }' | sed 's/@.*//'
}

bad='' impure='' seen=0 pure_seen=0
for object in "$O"/src/*/*.o "$O"/criu-plugin/*.o; do
	[ -e "$object" ] || continue
	name=${object#"$O"/}
	room=${name#src/} room=${room%%/*}
	# What a source that is no more left behind does not count.
	[ -e "${name%.o}.c" ] || continue
	seen=$((seen + 1))
	while read -r symbol; do
		for pattern in "${!owners[@]}"; do
			[[ $symbol =~ ^($pattern)$ ]] || continue
			case ${owners[$pattern]} in *,"$room",*) continue ;; esac
			if [ -n "${except["$name $symbol"]:-}" ]; then
				except_used["$name $symbol"]=1
			else
				bad+="$name calls $symbol"$'\n'
			fi
		done
	done < <(undefined "$object" | grep -xE "$any")
	[ -n "${pure[$room]:-}" ] || continue
	pure_seen=$((pure_seen + 1))
	own=$(nm --defined-only "$O/src/$room"/*.o | awk 'NF == 3 { print $3 }' | sort -u)
	while read -r symbol; do
		grep -qxF "$symbol" <<<"$own" || impure+="$name calls $symbol"$'\n'
	done < <(undefined "$object" | grep -vxE "${pure[$room]}")
done
[ "$seen" != 0 ] || echo "# $O has no objects: run make first"
verdict "only kapi makes calls that need the kernel's particular favour" "$seen" "${bad%$'\n'}"
verdict "core makes no calls but for memory" "$pure_seen" "${impure%$'\n'}"

stale=
if [ -z "${LINT_PROVE:-}" ]; then
	for key in "${!except[@]}"; do
		[ -n "${except_used[$key]:-}" ] || stale+="nothing needs the exception: $key"$'\n'
	done
fi
verdict "no exception is stale" 1 "${stale%$'\n'}"
finish
