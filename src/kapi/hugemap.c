// SPDX-License-Identifier: GPL-2.0-only
/* hugemap: which blocks of a process's private anonymous memory are one huge page each. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kapi/hugemap.h"
#include "kapi/maps.h"
#include "kapi/mm_abi.h"
#include "kapi/proc.h"
#include "util/fd.h"

#define REGIONS 64u
#define PAGEMAP_PFN ((1ull << 55) - 1)
/* /proc/kpageflags */
#define FLAG_HEAD (1ull << 15)
#define FLAG_THP (1ull << 22)

static uint64_t block_up(uint64_t addr)
{
	return (addr + HUGEMAP_BYTES - 1) & ~(HUGEMAP_BYTES - 1ull);
}

static uint64_t block_down(uint64_t addr)
{
	return addr & ~(HUGEMAP_BYTES - 1ull);
}

int hugemap_by_scan(int pagemap_fd, uint64_t start, uint64_t end, hugemap_found *found, void *arg)
{
	struct page_region region[REGIONS];
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.start = start,
		.end = end,
		.vec = (uintptr_t)region,
		.vec_len = REGIONS,
		.category_mask = PAGE_IS_HUGE | PAGE_IS_PRESENT,
		/* Not the zero page, of which there is a huge one, too. */
		.category_inverted = PAGE_IS_PFNZERO,
		.return_mask = PAGE_IS_HUGE,
	};

	scan.category_mask |= PAGE_IS_PFNZERO;
	while (scan.start < scan.end) {
		int n = ioctl(pagemap_fd, PAGEMAP_SCAN, &scan);

		if (n < 0)
			return errno == EINVAL || errno == ENOTTY ? -ENOTTY : -errno;
		for (int i = 0; i < n; i++) {
			uint64_t from = block_up(region[i].start), to = block_down(region[i].end);
			int ret = from < to ? found(arg, from, to) : 0;

			if (ret)
				return ret;
		}
		if (scan.walk_end <= scan.start)
			break;
		scan.start = scan.walk_end;
	}
	return 0;
}

/* Is the block that these entries map one huge page? */
static bool block_is_huge(const uint64_t *entry, unsigned int n, int flags_fd)
{
	uint64_t pfn = entry[0] & PAGEMAP_PFN, flags = 0;

	if (!pfn || pfn % n)
		return false;
	for (unsigned int i = 0; i < n; i++)
		if (!(entry[i] & PAGEMAP_PRESENT) || (entry[i] & PAGEMAP_PFN) != pfn + i)
			return false;
	if (pread(flags_fd, &flags, sizeof(flags), (off_t)(pfn * sizeof(flags))) != sizeof(flags))
		return false;
	return (flags & FLAG_THP) && (flags & FLAG_HEAD);
}

int hugemap_by_flags(int pagemap_fd, uint64_t start, uint64_t end, hugemap_found *found, void *arg)
{
	uint64_t page_size = (uint64_t)sysconf(_SC_PAGESIZE), run = 0, at;
	unsigned int n = HUGEMAP_BYTES / page_size;
	cleanup_free uint64_t *entry = malloc(n * sizeof(*entry));
	cleanup_fd int flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	int ret = 0;

	if (!entry)
		return -ENOMEM;
	if (flags_fd < 0)
		return -errno;
	for (at = block_up(start); !ret && at + HUGEMAP_BYTES <= end; at += HUGEMAP_BYTES) {
		ret = proc_pagemap_read(pagemap_fd, at, page_size, n, entry);
		if (ret)
			return ret;
		if (block_is_huge(entry, n, flags_fd)) {
			run += HUGEMAP_BYTES;
		} else if (run) {
			ret = found(arg, at - run, at);
			run = 0;
		}
	}
	return !ret && run ? found(arg, at - run, at) : ret;
}

int hugemap_find(pid_t pid, hugemap_found *found, void *arg)
{
	const uint32_t other = MAPS_SHARED | MAPS_FILE | MAPS_SPECIAL | MAPS_HUGETLB;
	struct maps maps;
	int ret = maps_read(pid, &maps);

	if (ret)
		return ret;
	cleanup_fd int fd = proc_pagemap_open(pid);

	ret = fd < 0 ? fd : 0;
	for (unsigned int i = 0; !ret && i < maps.n; i++) {
		const struct maps_vma *v = &maps.vma[i];

		if ((v->flags & other) || !v->huge_bytes)
			continue;
		ret = hugemap_by_scan(fd, v->start, v->end, found, arg);
		if (ret == -ENOTTY)
			ret = hugemap_by_flags(fd, v->start, v->end, found, arg);
	}
	maps_free(&maps);
	return ret;
}
