/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hugemap: which blocks of a process's private anonymous memory are one huge page each.
 *
 * PAGEMAP_SCAN (6.7) says what is mapped as one entry.  Before that, /proc/PID/pagemap gives page
 * frames and /proc/kpageflags what they are: a block whose frames follow each other, the first one
 * the head of a huge page, is taken for one; it may be mapped page by page all the same.  Only areas
 * are looked at for which smaps counts huge pages at all.
 */
#ifndef KAPI_HUGEMAP_H
#define KAPI_HUGEMAP_H

#include <stdint.h>
#include <sys/types.h>

#define HUGEMAP_BYTES (2u << 20)

/* Gets each run of huge blocks, in ascending order; anything but 0 ends the walk. */
typedef int hugemap_found(void *arg, uint64_t start, uint64_t end);

/* hugemap_find - Return: 0, what @found returned, or -errno. */
int hugemap_find(pid_t pid, hugemap_found *found, void *arg) __attribute__((warn_unused_result));

/* The two ways, each for one area. Return: as hugemap_find(); -ENOTTY: the kernel cannot. */
int hugemap_by_scan(int pagemap_fd, uint64_t start, uint64_t end, hugemap_found *found, void *arg)
	__attribute__((warn_unused_result));
int hugemap_by_flags(int pagemap_fd, uint64_t start, uint64_t end, hugemap_found *found, void *arg)
	__attribute__((warn_unused_result));

#endif
