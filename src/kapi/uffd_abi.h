/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * uffd_abi: numbers of the kernel's interface that Linux 6.1 lacks, with our series or without it.
 *
 * <linux/userfaultfd.h> is the header of 6.1 with the series (kernel/uapi), whatever the system has,
 * and the one source of UFFDIO_MOVE. What is added here came later. All are fixed for ever; whether
 * the running kernel knows them is asked at run time (probe.h).
 */
#ifndef KAPI_UFFD_ABI_H
#define KAPI_UFFD_ABI_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>

#ifndef UFFDIO_MOVE
#error "not the <linux/userfaultfd.h> of kernel/uapi: is -Ikernel/uapi missing?"
#endif

/* UFFDIO_API features; 6.1 has those up to 1 << 12, and the series adds 1 << 16. */
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)	/* 6.4 */
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14)		/* 6.6 */
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)		/* 6.7 */
#endif

#ifndef UFFDIO_POISON
#define _UFFDIO_POISON 0x08
struct uffdio_poison {
	struct uffdio_range range;
#define UFFDIO_POISON_MODE_DONTWAKE ((__u64)1 << 0)
	__u64 mode;
	__s64 updated;	/* out: bytes poisoned, or -errno */
};
#define UFFDIO_POISON _IOWR(UFFDIO, _UFFDIO_POISON, struct uffdio_poison)
#endif

_Static_assert(sizeof(struct uffdio_move) == 40, "struct uffdio_move");
_Static_assert(UFFDIO_MOVE == 0xC028AA05, "UFFDIO_MOVE");
_Static_assert(sizeof(struct uffdio_poison) == 32, "struct uffdio_poison");
_Static_assert(UFFDIO_POISON == 0xC020AA08, "UFFDIO_POISON");

#endif
