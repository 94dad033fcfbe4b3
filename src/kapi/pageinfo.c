// SPDX-License-Identifier: GPL-2.0-only
/* pageinfo: what stands in the page table of a process, page by page, seen from outside. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kapi/mm_abi.h"
#include "kapi/pageinfo.h"
#include "kapi/proc.h"
#include "util/fd.h"

#define PAGEMAP_PFN ((1ull << 55) - 1)
#define PAGEMAP_ONCE (1ull << 56)	/* mapped once */
#define PAGEMAP_UFFD_WP (1ull << 57)
#define PAGEMAP_FILE (1ull << 61)

/* /proc/kpageflags */
#define FLAG_TAIL (1ull << 16)
#define FLAG_HWPOISON (1ull << 19)
#define FLAG_KSM (1ull << 21)
#define FLAG_ZERO (1ull << 24)
#define FLAG_EXCLUSIVE (1ull << 34)

#define CHUNK 8192u	/* pages looked at in one go */
#define REGIONS 64u	/* regions asked for in one go */

/* Flags of @n pages whose entries are @entries; pages that have none get 0. */
static void read_flags(const struct pageinfo *pi, const uint64_t *entries, unsigned int n,
		       uint64_t *flags)
{
	unsigned int i, run;

	memset(flags, 0, n * sizeof(*flags));
	if (pi->flags_fd < 0)
		return;
	for (i = 0; i < n; i += run) {
		uint64_t pfn = entries[i] & PAGEMAP_PFN;
		ssize_t got;

		run = 1;
		if (!(entries[i] & PAGEMAP_PRESENT) || !pfn)
			continue;
		/* Frames that follow one another are read together. */
		while (i + run < n && (entries[i + run] & PAGEMAP_PRESENT) &&
		       (entries[i + run] & PAGEMAP_PFN) == pfn + run)
			run++;
		got = pread(pi->flags_fd, flags + i, run * sizeof(*flags), pfn * sizeof(*flags));
		if (got < (ssize_t)(run * sizeof(*flags)))
			memset(flags + i, 0, run * sizeof(*flags));
	}
}

/* The page before, of which a tail of the same huge page takes what only the head tells. */
struct neighbour {
	enum page_kind kind;
	uint64_t pfn;
};

static enum page_kind kind_of(const struct pageinfo *pi, uint64_t entry, uint64_t flags,
			      const struct neighbour *before)
{
	if (entry & PAGEMAP_GUARD)
		return PAGE_MARKER;
	if (entry & PAGEMAP_SWAPPED)
		return (entry & PAGEMAP_UFFD_WP) && !(entry & PAGEMAP_PFN) ? PAGE_MARKER : PAGE_SWAPPED;
	if (!(entry & PAGEMAP_PRESENT))
		return PAGE_HOLE;
	if (flags & FLAG_ZERO)
		return PAGE_ZERO;
	if (flags & FLAG_HWPOISON)
		return PAGE_POISONED;
	if (flags & FLAG_KSM)
		return PAGE_KSM;
	if (entry & PAGEMAP_FILE)
		return PAGE_FILE;
	if (!(entry & PAGEMAP_ONCE))
		return PAGE_SHARED;
	if (!flags || !pi->knows_exclusive || (flags & FLAG_EXCLUSIVE))
		return PAGE_OWN;
	if (!(flags & FLAG_TAIL))
		return PAGE_SHARED;
	/* Not every kernel shows the bit in the tails. */
	return before->kind == PAGE_SHARED && (entry & PAGEMAP_PFN) == before->pfn + 1 ? PAGE_SHARED :
											 PAGE_OWN;
}

/* Reads entries and flags of up to CHUNK pages into buffers of that many. */
static int look(const struct pageinfo *pi, uint64_t addr, unsigned int n, uint64_t *entries,
		uint64_t *flags)
{
	int ret = proc_pagemap_read(pi->pagemap_fd, addr, pi->page_size, n, entries);

	if (!ret)
		read_flags(pi, entries, n, flags);
	return ret;
}

/* Does bit 34 mean what we think, on this kernel?  A page that was just written to must have it. */
static bool try_exclusive(uint64_t page_size)
{
	struct pageinfo self = { .page_size = page_size, .flags_fd = -1 };
	volatile char *page = mmap(NULL, page_size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t entry = 0, flags = 0;
	int ret = -ENOMEM;

	if (page == MAP_FAILED)
		return false;
	*page = 1;
	self.pagemap_fd = proc_pagemap_open(getpid());
	self.flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (self.pagemap_fd >= 0)
		ret = look(&self, (uintptr_t)page, 1, &entry, &flags);
	munmap((void *)page, page_size);
	pageinfo_close(&self);
	return !ret && (flags & FLAG_EXCLUSIVE);
}

int pageinfo_open(pid_t pid, struct pageinfo *pi)
{
	*pi = (struct pageinfo){ .page_size = (uint64_t)sysconf(_SC_PAGESIZE), .flags_fd = -1 };
	pi->pagemap_fd = proc_pagemap_open(pid);
	if (pi->pagemap_fd < 0)
		return pi->pagemap_fd == -ENOENT ? -ESRCH : pi->pagemap_fd;
	pi->flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	pi->knows_exclusive = pi->flags_fd >= 0 && try_exclusive(pi->page_size);
	return 0;
}

void pageinfo_close(struct pageinfo *pi)
{
	if (pi->pagemap_fd >= 0)
		close(pi->pagemap_fd);
	if (pi->flags_fd >= 0)
		close(pi->flags_fd);
	pi->pagemap_fd = pi->flags_fd = -1;
}

int pageinfo_walk(const struct pageinfo *pi, uint64_t start, uint64_t len,
		  int (*run)(void *ctx, enum page_kind kind, uint64_t addr, uint64_t len), void *ctx)
{
	cleanup_free uint64_t *entries = malloc(CHUNK * sizeof(*entries));
	cleanup_free uint64_t *flags = malloc(CHUNK * sizeof(*flags));
	uint64_t end = start + len, from = start;
	struct neighbour now = { PAGE_KINDS, 0 };

	if (!entries || !flags)
		return -ENOMEM;
	while (start < end) {
		uint64_t left = (end - start) / pi->page_size;
		unsigned int n = left < CHUNK ? (unsigned int)left : CHUNK, i;
		int ret = look(pi, start, n, entries, flags);

		if (ret)
			return ret;
		for (i = 0; i < n; i++, start += pi->page_size) {
			enum page_kind kind = kind_of(pi, entries[i], flags[i], &now);

			now.pfn = entries[i] & PAGEMAP_PFN;
			if (kind == now.kind)
				continue;
			if (start > from) {
				ret = run(ctx, now.kind, from, start - from);
				if (ret)
					return ret;
			}
			now.kind = kind;
			from = start;
		}
	}
	return end > from ? run(ctx, now.kind, from, end - from) : 0;
}

int pageinfo_huge(const struct pageinfo *pi, uint64_t start, uint64_t len, uint64_t *bytes)
{
	struct page_region found[REGIONS];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = start + len,
		.vec = (uintptr_t)found,
		.vec_len = REGIONS,
		.category_mask = PAGE_IS_HUGE | PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_HUGE,
	};

	*bytes = 0;
	while (arg.start < arg.end) {
		int i, n = ioctl(pi->pagemap_fd, PAGEMAP_SCAN, &arg);

		if (n < 0)
			return errno == EINVAL ? -ENOTTY : -errno;
		for (i = 0; i < n; i++)
			*bytes += found[i].end - found[i].start;
		if (arg.walk_end <= arg.start)
			break;
		arg.start = arg.walk_end;
	}
	return 0;
}
