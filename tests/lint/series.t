#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 600
# The kernel series: complete, in order, signed; it applies, pleases checkpatch, and kernel/uapi and
# kernel/selftests are what it makes.
. "$(dirname "$0")/lib.sh"

PATCHES=kernel/patches
cover=0000-cover-letter.patch
# Who maintains mm/ maintains files that are new there.
IGNORED=FILE_PATH_CHANGES

mapfile -t series < <(table $PATCHES/series)
count=${#series[@]}

bad=$(diff <(printf '%s\n' "${series[@]}") <(cd $PATCHES && printf '%s\n' ./*.patch | sed 's|^./||' |
	grep -vx $cover | sort) | grep '^[<>]' | sed 's/^</only in series: /; s/^>/not in series: /')
verdict "series names every patch, in the order of their numbers" "$count" "$bad"

# The head of a mail, its lines joined.
head_of() {
	sed '/^$/q' "$1" | sed -e ':a' -e 'N' -e '$!ba' -e 's/\n[ \t]/ /g'
}

bad='' n=0
for f in $cover "${series[@]}"; do
	subject=$(head_of "$PATCHES/$f" | sed -n 's/^Subject: //p')
	[[ $subject == "[PATCH $(printf '%0*d' ${#count} "$n")/$count] "?* ]] || bad+="$f: Subject: $subject"$'\n'
	head_of "$PATCHES/$f" | grep -q '^From: .*<.*@.*>$' || bad+="$f: no From:"$'\n'
	n=$((n + 1))
done
verdict "each has a sender and its number in the subject" "$n" "${bad%$'\n'}"

bad=''
for f in "${series[@]}"; do
	sed '/^---$/q' "$PATCHES/$f" | grep -q '^Signed-off-by: .*<.*@.*>$' || bad+="$f"$'\n'
done
verdict "each is signed off" "$count" "${bad%$'\n'}"

new=0 bad=''
while IFS=: read -r f name line; do
	new=$((new + 1))
	[[ $line == *SPDX-License-Identifier:* ]] || bad+="$f: $name begins with $line"$'\n'
done < <(for f in "${series[@]}"; do
	awk -v f="$f" '/^new file mode/ { new = 1 } /^\+\+\+ / && new { name = substr($2, 3); next }
		/^@@/ && new { first = 1; new = 0; next }
		first { print f ":" name ":" substr($0, 2); first = 0 }' "$PATCHES/$f"
done)
verdict "each new file begins with its SPDX line" "$new" "${bad%$'\n'}"

rows=("each patch applies to" "checkpatch --strict finds nothing on"
	"kernel/uapi is the header of" "the selftests are those of kernel/selftests, on")
# shellcheck source=../../kernel/lib.sh
if ! package=$(cut -d' ' -f1 kernel/BASE) || [ ! -e "/usr/src/$package.tar.xz" ]; then
	for row in "${rows[@]}"; do
		skip "$row the base" "$package is not installed (make deps)"
	done
	finish
fi
. kernel/lib.sh
base_find
base=$(base_tree) || exit 1
on="$BASE_PACKAGE $BASE_VERSION"
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT

# The files that the series touches, and what makes a header of one.
mkdir "$T/tree"
for f in "${series[@]}"; do
	sed -n 's|^--- a/||p' "$PATCHES/$f"
done | sort -u | (cd "$base" && while IFS= read -r f; do [ ! -e "$f" ] || echo "$f"; done |
	xargs -d '\n' cp --parents -t "$T/tree")
cp -r "$base/scripts" "$T/tree/"

bad=''
for f in "${series[@]}"; do
	said=$(patch -d "$T/tree" -p1 -f -F0 --no-backup-if-mismatch <"$PATCHES/$f" 2>&1) ||
		bad+="$f: $(grep -E 'FAILED|find file|Reversed' <<<"$said" | head -n 3)"$'\n'
done
verdict "${rows[0]} $on" "$count" "${bad%$'\n'}"

bad=''
for f in "${series[@]}"; do
	# From its standard input: it would take a file that git knows for a source.
	bad+=$(perl "$base/scripts/checkpatch.pl" --no-tree --strict --terse --ignore $IGNORED - \
		<"$PATCHES/$f" 2>&1 | sed -nE "s/^-:([0-9]+: (ERROR|WARNING|CHECK): )/${f%%-*}:\1/p")
done
verdict "${rows[1]} $on" "$count" "$bad"

bad=$(diff -u kernel/uapi/linux/userfaultfd.h <(kernel/series.sh uapi "$T/tree") 2>&1)
verdict "${rows[2]} $on" "$(wc -l <kernel/uapi/linux/userfaultfd.h)" "$bad"

bad='' n=0
for f in kernel/selftests/uffd-move*; do
	n=$((n + 1))
	cmp -s "$f" "$T/tree/tools/testing/selftests/vm/${f##*/}" ||
		bad+="${f##*/}: bring it into the last patch by kernel/series.sh selftests"$'\n'
done
verdict "${rows[3]} $on" "$n" "${bad%$'\n'}"
finish
