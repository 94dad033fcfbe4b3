#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# What shellcheck, clang-format and mandoc say.
. "$(dirname "$0")/lib.sh"

name="shellcheck finds nothing above the level of info"
if command -v shellcheck >/dev/null; then
	mapfile -t scripts < <(shell_files)
	bad=''
	for f in "${scripts[@]}"; do
		# Libraries are found at run time; "done" is a word of ours; what a library sets
		# is for those that read it.
		except=SC1090,SC1091,SC1010
		case $f in */lib.sh) except+=,SC2034 ;; esac
		found=$(shellcheck -x -P SCRIPTDIR -S warning -e "$except" -f gcc "$f" 2>&1)
		bad+=${found:+$found$'\n'}
	done
	verdict "$name" ${#scripts[@]} "${bad%$'\n'}"
else
	skip "$name" "shellcheck is not installed"
fi

# Where lines are broken, and what is put into columns with blanks inside a line, is left to the
# writer: clang-format has a good eye for indentation and spacing, and none for tables and
# messages.  So only changes count that keep the number of lines.
norm() {
	sed -E 's/([^ \t])[ \t]+/\1 /g'
}
name="clang-format 14 would not change indentation or spacing"
version=$(clang-format --version 2>/dev/null | sed -E 's/.*version ([0-9]+).*/\1/')
if [ "$version" = 14 ]; then
	mapfile -t c < <(c_files | grep -v '^kernel/')
	bad=''
	for f in "${c[@]}"; do
		bad+=$(diff <(norm <"$f") <(clang-format --style=file "$f" | norm) | awk -v f="$f" '
			/^[0-9]/ {
				split($0, side, "c")
				before = split(side[1], x, ",") == 2 ? x[2] - x[1] : 0
				after = split(side[2], y, ",") == 2 ? y[2] - y[1] : 0
				show = /c/ && before == after
				if (show)
					print "\n" f ":" x[1]
				next
			}
			show && /^[<>]/')
	done
	verdict "$name" ${#c[@]} "${bad#$'\n'}"
else
	skip "$name" "clang-format 14 is not installed"
fi

name="mandoc finds nothing in the man pages"
mapfile -t pages < <(all_files | grep -E '^man/.*\.[1-8]$')
if ! command -v mandoc >/dev/null; then
	skip "$name" "mandoc is not installed"
else
	bad=''
	# The first depends on what is installed here; sources have 100 columns.
	[ ${#pages[@]} = 0 ] || bad=$(mandoc -T lint -W style "${pages[@]}" 2>&1 |
		grep -vE 'referenced manual not found|input text line longer than 80 bytes')
	verdict "$name" ${#pages[@]} "$bad"
fi
finish
