#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 900
# The image parsers, starting from the corpus beside this file.  Pack what is found into the corpus
# once it is repaired, the damage test reads that too.
. "$(dirname "$0")/lib.sh"
fuzz image tests/fuzz/corpus 200
