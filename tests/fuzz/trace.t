#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 900
# The reader of traces.
. "$(dirname "$0")/lib.sh"
fuzz trace tests/fuzz/corpus-trace 150
