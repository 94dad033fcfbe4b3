#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# build.sh [OPTION]... [VARIANT]: build a kernel for the tests unless the cache has it; the last
# line printed is the path of its image.
#
#	base		Debian's 6.1 as it is
#	patched		with the series (the default)
#	kasan lockdep kcsan	patched, with kernel/config/VARIANT.config as well
#
#	-p COUNT	only the first COUNT patches of the series
#	-x PATCH	one more patch, after the series
#	-s CONFIG_A=v	set an option, over what the fragments say
#	-f FRAGMENT	one more file of kernel/config, without .config
#	-w		fail when the compiler warns
#	-n		print the path only if it is there already, else fail
#	-C		print nothing but the configuration that would be built, for O=DIR of your own
#
# An image lies in $KERNEL_CACHE/NAME-<hash> (see lib.sh) beside its configuration, System.map and
# the output of its build, the hash being that of the base's version, the patches and the
# configuration.  It is made under another name and renamed when complete.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

ARCH_IMAGE=arch/x86/boot/bzImage
MAKE_ARGS=()
fragments=(core criu mm) patches=() extra=() set=() count='' only='' show='' werror=''

usage() { sed -n '3,18s/^# \{0,1\}//p' "$0" >&2; exit 2; }

options() {
	local opt OPTIND
	while getopts p:x:s:f:wnC opt; do
		case $opt in
		p) count=$OPTARG ;;
		x) extra+=("$OPTARG") ;;
		s) set+=("$OPTARG") ;;
		f) fragments+=("$OPTARG") ;;
		w) werror=1 ;;
		n) only=1 ;;
		C) show=1 ;;
		*) usage ;;
		esac
	done
	shift $((OPTIND - 1))
	[ $# -le 1 ] || usage
	variant=${1:-patched}
	case $variant in
	base) count=0 ;;
	patched) ;;
	kasan | lockdep | kcsan) fragments+=("$variant") ;;
	*) usage ;;
	esac
}

# Files that patches change.
touched() {
	[ $# = 0 ] || sed -nE 's/^(\+\+\+ b|--- a)\/([^\t]*).*/\2/p' "$@" | sort -u
}

# All that decides what is built, for the hash.  Tests and documentation do not.
essence() {
	local f
	echo "layout 1 $BASE_PACKAGE $BASE_VERSION werror=$werror"
	printf '%s\n' "${set[@]}"
	for f in "${config_files[@]}" "${patches[@]}"; do
		case $f in *.patch)
			touched "$f" | grep -qvE '^(tools|Documentation)/' || continue ;;
		esac
		sha256sum <"$f"
	done
}

# tree_update DIR PATCH...: DIR is a patched base; make it that with these patches.  Only files whose
# contents change are written, so that what was built from the others stays good.
tree_update() {
	local dir=$1 f
	shift
	rm -rf "$dir.new"
	tree_make "$dir.new" "$@" || return 1
	touched "$@" >"$dir.touched.new"
	# Both sets, in case that this is interrupted.
	sort -u -o "$dir.touched" "$dir.touched" "$dir.touched.new"
	while IFS= read -r f; do
		if cmp -s "$dir.new/$f" "$dir/$f"; then
			continue
		fi
		rm -f "$dir/$f"
		if [ -e "$dir.new/$f" ]; then
			mkdir -p "$(dirname "$dir/$f")"
			cp "$dir.new/$f" "$dir/$f"
		fi
	done <"$dir.touched"
	mv "$dir.touched.new" "$dir.touched"
	rm -rf "$dir.new"
}

# What has been built last of this configuration is kept in work-*, whatever its patches were, so
# that a changed patch, and base after patched, cost a minute.  With -s it is thrown away.
build() {
	local out=$1 work=$2 log status=0
	[ ! -e "$out/bzImage" ] || return 0
	if [ ${#set[@]} != 0 ]; then
		work=$(mktemp -d "$KERNEL_CACHE/.build.XXXXXX")
		# shellcheck disable=SC2064
		trap "rm -rf '$work'" EXIT
	fi
	say "building $(basename "$out") of $BASE_VERSION, ${#patches[@]} patches; some minutes"
	mkdir -p "$work"
	if [ -d "$work/linux" ]; then
		tree_update "$work/linux" "${patches[@]}" || die "the tree cannot be made"
	else
		tree_make "$work/linux.tmp" "${patches[@]}" || die "the tree cannot be made"
		touched "${patches[@]}" >"$work/linux.touched"
		mv "$work/linux.tmp" "$work/linux"
	fi
	printf '%s\n' "${set[@]}" >"$work/set.config"
	config_make "$work/linux" "$work/obj" "${config_files[@]}" "$work/set.config" || exit 1
	log=$work/build.log
	make -C "$work/linux" O="$work/obj" "${MAKE_ARGS[@]}" -j"$(nproc)" \
		KBUILD_BUILD_USER=uffd-relocate KBUILD_BUILD_HOST=localhost bzImage \
		>"$log" 2>&1 || status=$?
	if [ $status != 0 ]; then
		grep -E 'error|Error|undefined' "$log" | head -n 30 >&2
		die "the build failed; its output is in $log"
	fi
	if [ -n "$werror" ] && grep -E 'warning:' "$log" >&2; then
		die "the build warns"
	fi
	rm -rf "$out.tmp"
	mkdir "$out.tmp"
	cp "$work/obj/$ARCH_IMAGE" "$work/obj/System.map" "$log" "$out.tmp/"
	cp "$work/obj/.config" "$out.tmp/config"
	printf '%s\n' "$BASE_PACKAGE $BASE_VERSION" "${patches[@]##*/}" >"$out.tmp/what"
	rm -rf "$out"
	mv -T "$out.tmp" "$out"
}

options "$@"
base_find
mapfile -t patches < <(series_files $count)
patches+=("${extra[@]}")
config_files=()
for f in "${fragments[@]}"; do
	config_files+=("$KERNEL_DIR/config/$f.config")
	[ -e "${config_files[-1]}" ] || die "there is no ${config_files[-1]}"
done
if [ -n "$show" ]; then
	cat "${config_files[@]}"
	printf '%s\n' "${set[@]}"
	exit
fi
hash=$(essence | sha256sum | cut -c1-12)
config_hash=$(cat "${config_files[@]}" | sha256sum | cut -c1-8)
out=$KERNEL_CACHE/$variant-$hash
if [ ! -e "$out/bzImage" ]; then
	[ -z "$only" ] || die "no $variant kernel in the cache: run make kernel"
	cache_locked "build-$config_hash" build "$out" \
		"$KERNEL_CACHE/work-$BASE_VERSION-$config_hash"
fi
echo "$out/bzImage"
