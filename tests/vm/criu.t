#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Debian 12's own criu 3.17.1, which does not start on newer kernels, with our pager on Debian
# 12's kernel as it is: no UFFDIO_MOVE, no PAGEMAP_SCAN.  This kernel has soft-dirty, so chains of
# parent images are real ones here.
# timeout: 1500
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/cases.sh"
in_vm "${VM_VARIANT:-base}" -t 1200 -m 3072

no_move() { ! feature_move || die "this kernel is not to have UFFDIO_MOVE"; }

run_case "criu 3.17.1 runs here" right_place
run_case "the kernel has no UFFDIO_MOVE" no_move
run_case "one changed byte in a stopped task is noticed" spoiled
run_case "one task, every other page" pattern -m 32 -x 1
run_case "threads that write at dump and restore" busy
run_case "a tree with a zombie, memory shared copy-on-write" tree -m 16 -z
run_case "parents by soft-dirty" parents
run_case "the plugin starts the pager" by_plugin
run_case "the pager is killed in the middle" killed
all_done
