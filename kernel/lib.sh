# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# lib.sh: the base tree, the series and the cache; sourced by the scripts here.

KERNEL_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
KERNEL_CACHE=${UFFD_RELOCATE_CACHE:-/var/cache/uffd-relocate}/kernel
ME=kernel/$(basename "$0")

say() { echo "$ME: $*" >&2; }
die() { say "$@"; exit 1; }

# base_find: BASE_PACKAGE, BASE_VERSION (of what is installed) and BASE_TAR.
base_find() {
	local named
	read -r BASE_PACKAGE named <"$KERNEL_DIR/BASE"
	BASE_TAR=/usr/src/$BASE_PACKAGE.tar.xz
	BASE_VERSION=$(dpkg-query -W -f '${Version}' "$BASE_PACKAGE" 2>/dev/null) &&
		[ -e "$BASE_TAR" ] || die "$BASE_PACKAGE is not installed: run make deps"
	[ "$BASE_VERSION" = "$named" ] ||
		say "the base is $BASE_VERSION, not $named, on which the series was made"
}

# cache_locked NAME COMMAND...: with the lock NAME of the cache held.
cache_locked() {
	local lock=$KERNEL_CACHE/.lock-$1 status=0
	shift
	mkdir -p "$KERNEL_CACHE"
	{
		flock 8
		"$@" 8>&- || status=$?
	} 8>"$lock"
	return $status
}

# base_tree: the unpacked base, which nobody may write to; prints its directory.
base_tree() {
	local tree=$KERNEL_CACHE/source-$BASE_VERSION
	[ -d "$tree" ] || cache_locked source _base_unpack "$tree" || exit 1
	echo "$tree"
}

_base_unpack() {
	local tree=$1 tmp
	[ ! -d "$tree" ] || return 0
	say "unpacking $BASE_TAR"
	tmp=$(mktemp -d "$tree.XXXXXX") || return 1
	if tar -C "$tmp" --strip-components=1 -xf "$BASE_TAR"; then
		chmod 755 "$tmp"
		mv -T "$tmp" "$tree"
	else
		rm -rf "$tmp"
		return 1
	fi
}

# series_files [COUNT]: the patches in their order, all or the first COUNT.
series_files() {
	local patch n=0 count=${1:-999999}
	[ -e "$KERNEL_DIR/patches/series" ] || return 0
	while read -r patch _; do
		case $patch in '' | '#'*) continue ;; esac
		[ $n -lt "$count" ] || break
		n=$((n + 1))
		echo "$KERNEL_DIR/patches/$patch"
	done <"$KERNEL_DIR/patches/series"
}

# tree_make DIR PATCH...: a copy of the base (sharing its files) with patches applied.
tree_make() {
	local dir=$1 base patch
	shift
	base=$(base_tree) || return 1
	# patch writes a new file and renames it, so the base's stay as they are.
	cp -al "$base" "$dir" || return 1
	for patch; do
		patch -d "$dir" -p1 -f -s --no-backup-if-mismatch <"$patch" >&2 || {
			say "$patch does not apply to $BASE_VERSION"
			return 1
		}
	done
}

# config_make TREE OUT FILE...: OUT/.config from fragments, everything else off; every line of
# them must have come true, the last word on a symbol counting.
config_make() {
	local tree=$1 out=$2 bad
	shift 2
	mkdir -p "$out"
	# A line that is not asked about any more would be warned of as overridden.
	awk -F= '/^CONFIG_/ { if (!($1 in at)) n++; at[$1] = $0; if (!($1 in order)) order[$1] = n; name[order[$1]] = $1 }
		END { for (i = 1; i <= n; i++) print at[name[i]] }' "$@" >"$out/wanted" || return 1
	make -s -C "$tree" O="$out" "${MAKE_ARGS[@]}" KCONFIG_ALLCONFIG="$out/wanted" allnoconfig >&2 ||
		return 1
	bad=$(awk -F= '
		FNR == NR { if (/^CONFIG_/) is[$1] = $0; next }
		/=n$/ { if ($1 in is) print "  " $0 " became " is[$1]; next }
		is[$1] != $0 { print "  " $0 " became " ($1 in is ? is[$1] : "unset") }
		' "$out/.config" "$out/wanted")
	[ -z "$bad" ] || { say "the configuration cannot be had:"; echo "$bad" >&2; return 1; }
}
