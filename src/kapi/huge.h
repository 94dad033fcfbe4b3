/* SPDX-License-Identifier: GPL-2.0-only */
/* huge: transparent huge pages of other processes. */
#ifndef KAPI_HUGE_H
#define KAPI_HUGE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * huge_bytes - how much of a range is mapped by huge pages.
 * @pagemap_fd: descriptor of /proc/PID/pagemap.
 * Return: 0 and *@bytes; -ENOTTY: the kernel cannot tell (before 6.7); -errno.
 */
int huge_bytes(int pagemap_fd, uint64_t start, uint64_t end, uint64_t *bytes)
	__attribute__((warn_unused_result));

/*
 * huge_collapse - have the kernel make huge pages of what lies in a range (MADV_COLLAPSE, 6.1).
 * Return: 0, -EAGAIN or -EBUSY (no luck this time), -EINVAL (no huge page can be there), -errno.
 */
int huge_collapse(int pidfd, uint64_t start, uint64_t len) __attribute__((warn_unused_result));

/* huge_always - does the system give huge pages to memory that did not ask for them? */
bool huge_always(void);

#endif
