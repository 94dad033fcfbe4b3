/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * uffd_abi: numbers of the kernel's interface that the headers of Debian 12 (6.1) lack.
 *
 * They are fixed for ever; whether the running kernel knows them is asked at run time (probe.h).
 */
#ifndef KAPI_UFFD_ABI_H
#define KAPI_UFFD_ABI_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>

/* UFFDIO_API features; 1 << 12 is the last that 6.1 has. */
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)	/* 6.4 */
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14)		/* 6.6 */
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)		/* 6.7 */
#endif
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE (1 << 16)		/* 6.8 */
#endif

#ifndef UFFDIO_MOVE
#define _UFFDIO_MOVE 0x05
struct uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
#define UFFDIO_MOVE_MODE_DONTWAKE ((__u64)1 << 0)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES ((__u64)1 << 1)
	__u64 mode;
	__s64 move;	/* out: bytes moved, or -errno; zero it before the call */
};
#define UFFDIO_MOVE _IOWR(UFFDIO, _UFFDIO_MOVE, struct uffdio_move)
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

/* /dev/userfaultfd, 6.1 */
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC 0xAA
#define USERFAULTFD_IOC_NEW _IO(USERFAULTFD_IOC, 0x00)
#endif

_Static_assert(sizeof(struct uffdio_move) == 40, "struct uffdio_move");
_Static_assert(UFFDIO_MOVE == 0xC028AA05, "UFFDIO_MOVE");
_Static_assert(sizeof(struct uffdio_poison) == 32, "struct uffdio_poison");
_Static_assert(UFFDIO_POISON == 0xC020AA08, "UFFDIO_POISON");

#endif
