/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * uffd: userfaultfd, one function an ioctl.
 *
 * Addresses are plain numbers here (kapi knows no project types), lengths are bytes and multiples
 * of the page size.  Every function returns 0 or a count, or -errno; errno goes no further.
 *
 * What the kernel means (6.1 to 6.18):
 *	-EEXIST	a page, swap entry or marker stands there
 *	-EAGAIN	an event is unread or just being delivered, or the range was done in part
 *	-ENOENT	not inside one VMA that is registered with this uffd
 *	-ESRCH	the address space is gone (-ENOSPC before 4.13 or so)
 *	-EFAULT	the source bytes cannot be read
 *	-ENOMEM	the target's memory cgroup, or the machine, has no page
 */
#ifndef KAPI_UFFD_H
#define KAPI_UFFD_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stdint.h>

#define __must_check_result __attribute__((warn_unused_result))

/*
 * uffd_read - take waiting messages, never blocks.
 * @msgs: room for @n; the kernel writes straight into it.
 * Return: number of messages (0: none), or -errno.
 */
int uffd_read(int fd, struct uffd_msg *msgs, unsigned int n) __must_check_result;

/*
 * uffd_copy - UFFDIO_COPY: fill missing pages with our bytes and wake who waits for them.
 * @done: bytes filled, also when an error is returned.
 */
int uffd_copy(int fd, uint64_t dst, const void *src, uint64_t len, uint64_t *done)
	__must_check_result;

/* uffd_zeropage - UFFDIO_ZEROPAGE, as uffd_copy(). */
int uffd_zeropage(int fd, uint64_t dst, uint64_t len, uint64_t *done) __must_check_result;

/*
 * uffd_register_missing - have faults on missing pages of the range sent to this uffd.
 * Registering what is registered with the same uffd changes nothing.
 * Return: 0 or -errno (-EINVAL, -ENOMEM: no VMA of that kind there; -EBUSY: another uffd's).
 */
int uffd_register_missing(int fd, uint64_t start, uint64_t len) __must_check_result;

/* uffd_wake - let all faults in the range be tried again. Return: 0 or -errno. */
int uffd_wake(int fd, uint64_t start, uint64_t len) __must_check_result;

/* uffd_wake_all - let every fault of the address space be tried again. Return: 0 or -errno. */
int uffd_wake_all(int fd, uint64_t page_size) __must_check_result;

/*
 * uffd_mm_gone - is the address space behind the uffd gone (exit of its last user, or exec)?
 * @probe: any page-aligned user address.  Nothing is changed.
 */
bool uffd_mm_gone(int fd, uint64_t probe, uint64_t page_size);

/*
 * uffd_mm_changing - is a thread of the target between a change of its address space and the
 * delivery of the event that tells of it?  Arguments as above.
 */
bool uffd_mm_changing(int fd, uint64_t probe, uint64_t page_size);

/*
 * uffd_has_move - does the kernel know UFFDIO_MOVE?  Asked on a throw-away descriptor.
 * Return: 1, 0, or -errno when that could not be had.
 */
int uffd_has_move(void);

/* uffd_is_uffd - is this descriptor of ours a userfaultfd? */
bool uffd_is_uffd(int fd);

#endif
