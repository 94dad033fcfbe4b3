#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The last test of `make check SAN=...`: what the sanitizers wrote while the tests before it ran.
# A pager that a sanitizer ends is replaced by its keeper, so the tests themselves may well pass.
set -u
O=${O:-$(cd "$(dirname "$0")/../.." && pwd)/build}
reports=("$O"/report.*)
if [ -e "${reports[0]}" ]; then
	echo "not ok 1 - no report of a sanitizer"
	echo "# ${#reports[@]} of them, in $O; the first:"
	head -n 60 "${reports[0]}" | sed 's/^/# /'
else
	echo "ok 1 - no report of a sanitizer"
fi
echo 1..1
