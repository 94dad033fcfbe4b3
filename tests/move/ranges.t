#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 120
# move: ranges that make no sense, on the command line and in files, are refused with status 2 and
# one line that tells where; no process is needed for that, nor touched.
. "$(dirname "$0")/lib.sh"

# refused WHAT TEXT ARGUMENT...
refused() {
	local what=$1 text=$2
	shift 2
	run move -p $$ "$@"
	ok "$what: status 2" is 2
	ok "$what: ... told" says "$text"
}
refused "nothing" "nothing to move: SRC DST LEN, or --from-file"
refused "one word" "'0x1000': three words belong together" 0x1000
refused "two words" "three words belong together" 0x1000 0x2000
refused "four words" "three words belong together" 0x1000 0x2000 4K 4K
refused "no address" "SRC: 'x' is not an address" x 0x2000 4K
refused "0x alone" "SRC: '0x' is not an address" 0x 0x2000 4K
refused "an address with a suffix" "DST: '8K' is not an address" 0x1000 8K 4K
refused "hexadecimal without 0x" "SRC: '7f00' is not an address" 7f00 0x2000 4K
refused "a negative number" "LEN: '-4096' is not a number of bytes" -- 0x1000 0x2000 -4096
refused "an unknown suffix" "LEN: '4k' is not a number of bytes" 0x1000 0x2000 4k
refused "too large a number" "LEN: '99999999999999999999' is not" 0x1000 0x2000 99999999999999999999
refused "too large a suffix" "LEN: '18446744073709551615K' is not" 0x1000 0x2000 18446744073709551615K
refused "a source between pages" "the source does not begin at a page" 0x1001 0x2000 4K
refused "a destination between pages" "the destination does not begin at a page" 0x1000 0x2010 4K
refused "half a page" "the length is not a multiple of the page size" 0x10000 0x20000 2048
refused "no length" "the length is 0" 0x1000 0x2000 0
refused "beyond the end" "beyond the end of the address space" 0xfffffffffffff000 0x2000 8K
refused "onto itself" "a source and a destination overlap" 0x10000 0x10000 4K
refused "overlapping" "a source and a destination overlap" 0x10000 0x18000 64K
printf '0x10000 0x20000 4K\n0x11000 0x20000 4K\n' >"$tmp/two"
refused "two to one place" "$tmp/two:2: 0x11000 0x20000 0x1000: two destinations overlap" --from-file "$tmp/two"
printf '0x10000 0x30000 8K\n\n0x11000 0x40000 4K\n' >"$tmp/two"
refused "two from one place" "$tmp/two:3: 0x11000 0x40000 0x1000: two sources overlap" --from-file "$tmp/two"
printf '0x10000 0x30000 8K\n' >"$tmp/one"
refused "a file against the command line" "a source and a destination overlap" --from-file "$tmp/one" 0x30000 0x50000 4K
printf '0x10000 0x30000 8K\n0x50000 0x60000\n' >"$tmp/short"
refused "a short line" "$tmp/short:2: a line has three words: SRC DST LEN" --from-file "$tmp/short"
printf '# nothing\n0x50000 0x60000 4K 4K\n' >"$tmp/long"
refused "a long line" "$tmp/long:2: a line has three words" --from-file "$tmp/long"
printf '0x50000 zzz 4K\n' >"$tmp/bad"
refused "a bad word" "$tmp/bad:1: DST: 'zzz' is not an address" --from-file "$tmp/bad"
refused "no file" "$tmp/none: No such file or directory" --from-file "$tmp/none"
refused "a directory" "$tmp: " --from-file "$tmp"
printf '#\n\n   # only words\n' >"$tmp/empty"
refused "an empty file" "nothing to move" --from-file "$tmp/empty"
run move 0x10000 0x20000 4K
ok "no process: status 2" is 2
ok "... told" says "which process? (-p PID)"
run move -p -5 0x10000 0x20000 4K
ok "a negative process: status 2" is 2
finish
