/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pageinfo: what stands in the page table of a process, page by page, seen from outside.
 *
 * Sources: /proc/PID/pagemap, /proc/kpageflags (CAP_SYS_ADMIN; without it "shared" is told by
 * pagemap alone and KSM pages count as shared), PAGEMAP_SCAN (6.7) for what is mapped as one huge
 * entry.  All of it can change while one looks.
 *
 * Whether an anonymous page belongs to one process alone is not the same as how often it is mapped:
 * after a fork it stays "not exclusive" when the child is gone, until it is written to.  The kernel
 * keeps that in PG_anon_exclusive, which lies on the bit that kpageflags shows as number 34.  That
 * is no promise, so pageinfo_open() looks whether a fresh page of our own has it, and does not use
 * it where not.
 */
#ifndef KAPI_PAGEINFO_H
#define KAPI_PAGEINFO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum page_kind {
	PAGE_HOLE,	/* nothing there */
	PAGE_OWN,	/* present, of this process alone */
	PAGE_ZERO,	/* the zero page */
	PAGE_SWAPPED,	/* in swap, or just being migrated */
	PAGE_SHARED,	/* also of another process, by fork; or was, and not written since */
	PAGE_KSM,	/* merged by KSM */
	PAGE_POISONED,	/* its memory is broken */
	PAGE_MARKER,	/* a guard page or another mark without memory */
	PAGE_FILE,	/* of a file, or shared memory */
	PAGE_KINDS
};

struct pageinfo {
	int pagemap_fd;
	int flags_fd;		/* -1: not allowed */
	bool knows_exclusive;	/* bit 34 tells */
	uint64_t page_size;
};

/* pageinfo_open - Return: 0, or -errno when the process or its pagemap cannot be read. */
int pageinfo_open(pid_t pid, struct pageinfo *pi) __attribute__((warn_unused_result));
void pageinfo_close(struct pageinfo *pi);

/*
 * pageinfo_walk - what stands in [@start, @start + @len), as runs of one kind.
 * @run: gets each run, in ascending order; anything but 0 ends the walk.
 * Return: 0, what @run returned, or -errno.
 */
int pageinfo_walk(const struct pageinfo *pi, uint64_t start, uint64_t len,
		  int (*run)(void *ctx, enum page_kind kind, uint64_t addr, uint64_t len), void *ctx)
	__attribute__((warn_unused_result));

/*
 * pageinfo_huge - how much of the range is mapped by whole huge entries.
 * Return: 0 and *@bytes, or -errno; -ENOTTY: the kernel cannot tell (before 6.7).
 */
int pageinfo_huge(const struct pageinfo *pi, uint64_t start, uint64_t len, uint64_t *bytes)
	__attribute__((warn_unused_result));

#endif
