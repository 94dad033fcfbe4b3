/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * uffd_own: a userfaultfd of our own memory, for trying and measuring.
 *
 * Faults of the kernel on our behalf are left out (UFFD_USER_MODE_ONLY), so that no privilege is
 * needed.  Lengths are bytes, multiples of the page size.
 */
#ifndef KAPI_UFFD_OWN_H
#define KAPI_UFFD_OWN_H

#include <linux/userfaultfd.h>
#include <stdint.h>

#include "kapi/uffd_abi.h"

/*
 * uffd_own_open - make one.
 * @features: for UFFDIO_API; -EINVAL when the kernel lacks one of them.
 * Return: a descriptor (close-on-exec) or -errno.
 */
int uffd_own_open(uint64_t features) __attribute__((warn_unused_result));

/* uffd_own_register - @mode: UFFDIO_REGISTER_MODE_. Return: 0 or -errno. */
int uffd_own_register(int fd, const void *start, uint64_t len, uint64_t mode)
	__attribute__((warn_unused_result));

/* uffd_own_copy - UFFDIO_COPY. Return: 0 or -errno. */
int uffd_own_copy(int fd, void *dst, const void *src, uint64_t len)
	__attribute__((warn_unused_result));

/*
 * uffd_own_move - UFFDIO_MOVE, gone on with as long as the kernel does it in parts.
 * Return: 0 or -errno; -ENOTTY or -EINVAL where the kernel does not know it.
 */
int uffd_own_move(int fd, void *dst, const void *src, uint64_t len)
	__attribute__((warn_unused_result));

/* uffd_own_can_move - try UFFDIO_MOVE on a scratch page. Return: 0, or -errno of what refused. */
int uffd_own_can_move(void);

#endif
