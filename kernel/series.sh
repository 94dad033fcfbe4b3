#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# series.sh: work on the series.
#
#	series.sh checkout DIR	a git tree in DIR: the base as the first commit, then a commit a patch
#	series.sh selftests DIR	put kernel/selftests into the last commit of DIR
#	series.sh uapi DIR	print <linux/userfaultfd.h> of DIR as user space gets it
#	series.sh export DIR	write kernel/patches and kernel/uapi from the commits of DIR
#
# Between the first and the last, `git rebase -i` in DIR.  The text of the cover letter is kept in
# kernel/patches/0000-cover-letter.patch itself; export brings the list of patches in it up to date.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

patches=$KERNEL_DIR/patches
cover=0000-cover-letter.patch
VM=tools/testing/selftests/vm

usage() { sed -n '5,8s/^#[[:space:]]*//p' "$0" >&2; exit 2; }

first_commit() { git -C "$1" rev-list --max-parents=0 HEAD; }

checkout() {
	local dir=$1
	base_find
	[ ! -e "$dir" ] || die "$dir is there already"
	mkdir "$dir"
	tar -C "$dir" --strip-components=1 -xf "$BASE_TAR"
	git -C "$dir" init -q
	# The base's .gitignore hides what is not Debian's.
	git -C "$dir" add -A -f .
	git -C "$dir" commit -q -m "$BASE_PACKAGE $BASE_VERSION"
	series_files | xargs -d '\n' -r git -C "$dir" am -q
}

# What the build and the runner of the kernel's own selftests have to know of ours.
selftests() {
	local dir=$1 program programs=()
	for program in "$KERNEL_DIR"/selftests/uffd-move-*.c; do
		program=$(basename "$program" .c)
		[ "$program" = uffd-move-util ] || programs+=("$program")
	done
	git -C "$dir" checkout -q HEAD~1 -- $VM/Makefile $VM/.gitignore $VM/run_vmtests.sh $VM/config
	git -C "$dir" ls-files "$VM/uffd-move*" | xargs -r -I{} rm "$dir/{}"
	cp "$KERNEL_DIR"/selftests/uffd-move*.[ch] "$dir/$VM/"
	printf 'TEST_GEN_FILES += %s\n' "${programs[@]}" |
		sed -i '/^TEST_GEN_FILES += userfaultfd$/r /dev/stdin' "$dir/$VM/Makefile"
	printf '$(OUTPUT)/%s: uffd-move-util.c\n' "${programs[@]}" |
		sed -i '/^$(OUTPUT)\/userfaultfd: vm_util.c$/r /dev/stdin' "$dir/$VM/Makefile"
	printf '%s\n' "${programs[@]}" >>"$dir/$VM/.gitignore"
	[ "$(tail -n 1 "$dir/$VM/run_vmtests.sh")" = 'exit $exitcode' ] || die "run_vmtests.sh has another end"
	sed -i '$d' "$dir/$VM/run_vmtests.sh"
	{
		echo '# UFFDIO_MOVE; with swap, and as root, more of it is tested'
		printf 'run_test ./%s\n' "${programs[@]}"
		printf '\nexit $exitcode\n'
	} >>"$dir/$VM/run_vmtests.sh"
	git -C "$dir" add -A -f $VM
	git -C "$dir" commit -q --amend --no-edit
}

# uapi DIR: <linux/userfaultfd.h> as "make headers_install" makes it for user space.
uapi() {
	local dir=$1 tmp
	tmp=$(mktemp -d)
	mkdir "$tmp/scripts"
	cc -w -o "$tmp/scripts/unifdef" "$dir/scripts/unifdef.c"
	(cd "$tmp" && sh "$dir/scripts/headers_install.sh" "$dir/include/uapi/linux/userfaultfd.h" out)
	cat "$tmp/out"
	rm -r "$tmp"
}

export_series() {
	local dir=$1 first new
	first=$(first_commit "$dir")
	new=$(mktemp -d)
	# shellcheck disable=SC2064
	trap "rm -rf '$new'" EXIT
	git -C "$dir" format-patch -q -n --zero-commit --no-signature --cover-letter \
		-o "$new" "$first..HEAD"
	# The head and the text are ours, what follows the text is git's.
	{
		sed '/^-- $/,$d; /^[^ ].* ([0-9]*):$/,$d' "$patches/$cover"
		sed -n '/^[^ ].* ([0-9]*):$/,$p' "$new/$cover"
	} | sed "s|^Subject: \[PATCH 0*/[0-9]*]|$(grep '^Subject: ' "$new/$cover" | cut -d']' -f1)]|" \
		>"$new/cover"
	mv "$new/cover" "$new/$cover"
	rm -f "$patches"/*.patch
	cp "$new"/*.patch "$patches/"
	(cd "$patches" && printf "%s\n" 00*.patch | grep -vx "$cover") >"$patches/series"
	uapi "$dir" >"$new/userfaultfd.h"
	mv "$new/userfaultfd.h" "$KERNEL_DIR/uapi/linux/"
}

[ $# = 2 ] || usage
dir=$(realpath -m "$2")
case $1 in
checkout) checkout "$dir" ;;
selftests) selftests "$dir" ;;
uapi) uapi "$dir" ;;
export) export_series "$dir" ;;
*) usage ;;
esac
