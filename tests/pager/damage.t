#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 120
# Images that are missing, cut, changed or unknown: one line, exit 1, nobody reads a wrong byte.
. "$(dirname "$0")/lib.sh"

cat >"$tmp/small" <<END
task 12
vma 0x10000000000 32
vma 0x10000040000 32
level 0
entry 0x10000000000 20 ls
entry 0x10000040000 10 pl
level 1
entry 0x10000040000 16 ls
END
image <"$tmp/small"
cp -r "$img" "$tmp/sound"
shopt -s nullglob

# attempt: a restore from $img as it is.  $handed: did the uffd come to the pager?  $outcome: what
# the task says of its memory, or what became of it.
attempt() {
	handed='' outcome=none
	if serve; then
		restorer
		if cmds connect all magic close >"$tmp/why"; then
			handed=yes
		else
			[[ $(<"$tmp/why") == *"magic: error"* ]] && handed=yes
		fi
		[ -z "$handed" ] || { cmd "do 12 verify"; outcome=$reply; }
	fi
	wait_for 10 ended || outcome="it hangs"
	quit
}
# What must come of an image that cannot be used.
refused() {
	[ "$outcome" != "it hangs" ] && [ "$status" = 1 ] && line "$1" || return 1
	case $outcome in none | "killed 9") ;; *) echo "# the task: $outcome"; return 1 ;; esac
}
fresh() { rm -rf "$img"; cp -r "$tmp/sound" "$img"; }

attempt
ok "as it is, it can be restored" [ "$status $outcome" = "0 right 64" ]

for file in inventory.img pstree.img mm-12.img pagemap-12.img pages-1.img parent parent/pagemap-12.img \
	parent/pages-1001.img; do
	fresh
	rm -r "${img:?}/$file"
	attempt
	ok "without $file" refused "${file%/parent}"
done
for file in inventory.img pstree.img mm-12.img pagemap-12.img pages-1.img; do
	fresh
	: >"$img/$file"
	attempt
	ok "$file is empty" refused "$file.*(byte|bytes)"
done

parent_at=$("$mkimage" -b "$img/pagemap-12.img" | tail -n 2 | head -n 1 | cut -d' ' -f2)
# At the borders of records, and one byte to either side.
while read -r file at; do
	full=$(stat -c %s "$tmp/sound/$file")
	for size in $((at - 1)) $at $((at + 1)); do
		[ "$size" -lt "$full" ] || continue
		fresh
		truncate -s "$size" "$img/$file"
		attempt
		# Entries that only point to the parent stand in no file's size, and the format counts no
		# records: neither criu nor anybody else can tell that one is gone.
		if [ "$file $at $size" = "pagemap-12.img $parent_at $at" ]; then
			ok "$file cut before an entry of the parent: not noticed" [ "$status" = 0 ]
		else
			ok "$file cut to $size of $full bytes" refused "$file.*byte"
		fi
	done
done < <(cd "$tmp/sound" && "$mkimage" -b inventory.img pstree.img mm-12.img pagemap-12.img \
	parent/pagemap-12.img)
fresh
truncate -s -4096 "$img/pages-1.img"
attempt
ok "a pages file that is one page short" refused "pages-1.img"
fresh
truncate -s +4096 "$img/pages-1.img"
attempt
ok "a pages file that is one page long" refused "pages-1.img"

# poke FILE OFFSET BYTE...: hexadecimal.
poke() {
	local file=$1 at=$2
	shift 2
	# shellcheck disable=SC2059
	printf "$(printf '\\x%s' "$@")" | dd of="$img/$file" bs=1 seek="$at" conv=notrunc status=none
}
for file in inventory.img pstree.img mm-12.img pagemap-12.img parent/pagemap-12.img; do
	fresh
	poke $file 0 de ad
	attempt
	ok "$file with another magic" refused "$file.*byte 0"
done
fresh
poke inventory.img 9 03
attempt
ok "image version 3" refused "inventory.img.*version 3"
sed 's/^entry 0x10000000000 20 ls/entry 0x10000000000 20 lsX/' "$tmp/small" >"$tmp/odd"
fresh
# The flags of the first entry: field 4, after vaddr, the empty field 2.
at=$(grep -obUaP '\x20\x06' "$img/pagemap-12.img" | head -n 1 | cut -d: -f1)
poke pagemap-12.img $((at + 1)) 0e
attempt
ok "a flag that nobody knows" refused "pagemap-12.img.*byte [0-9]+.*(flag|0x8|0xe)"
image <<END
task 12
vma 0x10000000000 8
vma 0x10000008000 8 0x2022
entry 0x10000000000 16 ls
END
attempt
ok "lazy pages in a VMA that is locked" refused "pagemap-12.img.*byte [0-9]+.*0x10000008000"
image <<END
task 12
vma 0x10000000000 8
entry 0x10000000000 8 l
END
attempt
ok "pages that are not in the image" refused "pagemap-12.img.*byte [0-9]+"
cp "$tmp/small" "$tmp/spec"

# One bit.  Without check sums a changed address may look sound; what may not be: a crash, a hang,
# a second line, or an error after which a task goes on.
RANDOM=7
clean=0 harmless=0 elsewhere=0 bad=''
for ((i = 0; i < 40; i++)); do
	files=(inventory.img pstree.img mm-12.img pagemap-12.img parent/pagemap-12.img)
	file=${files[RANDOM % 5]}
	fresh
	at=$((RANDOM % $(stat -c %s "$img/$file")))
	byte=$(od -An -tu1 -j "$at" -N 1 "$img/$file")
	poke "$file" "$at" "$(printf %02x $((byte ^ 1 << RANDOM % 8)))"
	attempt
	if [ "$outcome" = "it hangs" ] || logged "ended by signal"; then
		bad+="$file $at: $outcome; "
	elif [ "$status" = 0 ] && [ "$outcome" = "right 64" ]; then
		harmless=$((harmless + 1))
	elif [ "$status" = 0 ]; then
		elsewhere=$((elsewhere + 1))
	elif refused .; then
		clean=$((clean + 1))
	else
		bad+="$file $at: $status $outcome; "
	fi
done
ok "40 single bits: $clean refused, $harmless harmless, $elsewhere taken as another image" [ -z "$bad" ]
[ -z "$bad" ] || echo "# $bad"
ok "... most of them were noticed" [ $clean -gt 15 ]
finish
