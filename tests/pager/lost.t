#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 120
# Pages files that change while a restore goes on: the target is ended by name, it reads no zero.
. "$(dirname "$0")/lib.sh"

spec() {
	cat <<-END
		task 12
		vma 0x10000000000 4096
		level 0
		entry 0x10000000000 3072 ls
		entry 0x10000c00000 1024 pl
		level 1
		entry 0x10000c00000 1024 s
	END
}
# under_way [OPTION...]: a restore, the tasks run, and something has been copied.
under_way() {
	serve "$@" || return 1
	restorer
	cmds connect all magic "pid 12" || return 1
	target=$reply
	cmd close
	wait_for 10 some_copied
}
some_copied() { [ "$(sum copied_drain_bytes)" -gt 4096 ]; }
known() { logged "is process $target"; }
killed_by_name() {
	gives "killed 9" "$1" && exits 1 && line "$2: changed or shrank" &&
		grep -q "killing process $target (image pid 12): its pages file changed or shrank" "$tmp/err"
}

# lost NAME FILE COMMAND...: COMMAND spoils FILE ($f) in the middle of a drain.
lost() {
	local name=$1 f=$img/$2
	shift 2
	image < <(spec)
	ok "$name: a slow drain" under_way --rate 1M
	eval "$*"
	ok "$name: killed by name, the file is named" killed_by_name "do 12 verify" "${f#"$img/"}"
}
# shellcheck disable=SC2016
{
lost "cut in half" pages-1.img 'truncate -s 6M "$f"'
lost "cut to nothing" pages-1.img 'truncate -s 0 "$f"'
lost "cut by one byte" pages-1.img 'truncate -s -1 "$f"'
lost "cut, and then as long as before" pages-1.img 'truncate -s 1M "$f"; truncate -s 12M "$f"'
lost "longer" pages-1.img 'truncate -s +4096 "$f"'
lost "one byte overwritten" pages-1.img \
	'printf x | dd of="$f" bs=1 seek=12000000 conv=notrunc status=none'
lost "overwritten as a whole" pages-1.img 'head -c 12M /dev/zero | dd of="$f" conv=notrunc status=none'
lost "the parent's cut" parent/pages-1001.img 'truncate -s 1M "$f"'
}

image < <(spec)
under_way --rate 1M
wait_for 5 known
truncate -s 6M "$img/pages-1.img"
ok "a target that sleeps is killed as well" killed_by_name "wait 12" pages-1.img

image < <(spec)
serve --no-drain
restorer
cmds connect all magic "pid 12"
target=$reply
cmd close
wait_for 5 known
truncate -s 6M "$img/pages-1.img"
ok "without a drain: what the file still has" gives "killed 9" "do 12 touch 0x10000001000"
ok "... or has not, kills when it is touched" exits 1

image < <(spec)
under_way --rate 1M
cp "$img/pages-1.img" "$tmp/other"
mv "$tmp/other" "$img/pages-1.img"
head -c 4M /dev/urandom | dd of="$img/pages-1.img" conv=notrunc status=none
ok "another file in its place: the first one is still the source" right 12
ok "... exit 0" exits 0

image <<END
task 12
vma 0x10000000000 2048
entry 0x10000000000 2048 ls
task 13
vma 0x10000000000 2048
entry 0x10000000000 2048 ls
END
under_way --rate 1M
truncate -s 6M "$img/pages-1.img"
ok "two tasks: one is killed" gives "killed 9" "do 12 verify"
ok "... the other gets all of its own" right 13
ok "... exit 1 all the same" exits 1
ok "... one line" line "pages-1.img: changed or shrank"
finish
