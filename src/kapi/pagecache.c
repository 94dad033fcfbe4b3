/* SPDX-License-Identifier: GPL-2.0-only */
/* pagecache: cachestat(2), else mincore(2). */
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kapi/pagecache.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

struct cachestat_range_abi {
	uint64_t off, len;
};

struct cachestat_abi {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

#define PAGECACHE_MAX (4ull << 20)

static bool pagecache_mincore(void *map, uint64_t len, uint64_t npages)
{
	unsigned char there[PAGECACHE_MAX / 4096];

	if (npages > sizeof(there) || mincore(map, len, there))
		return false;
	for (uint64_t i = 0; i < npages; i++)
		if (!(there[i] & 1))
			return false;
	return true;
}

bool pagecache_has(int fd, uint64_t off, uint64_t len, void *map)
{
	static atomic_bool no_cachestat;
	uint64_t page = sysconf(_SC_PAGESIZE), npages = (len + page - 1) / page;
	struct cachestat_range_abi range = { off, len };
	struct cachestat_abi stat;

	if (!no_cachestat) {
		if (!syscall(SYS_cachestat, fd, &range, &stat, 0))
			return stat.cached >= npages;
		/* ENOSYS, or EPERM from a filter; some file systems refuse it, too. */
		no_cachestat = true;
	}
	if (map)
		return pagecache_mincore(map, len, npages);
	/* mmap wants the start of a page. */
	uint64_t lead = off % page;

	len += lead;
	map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, off - lead);
	if (map == MAP_FAILED)
		return false;
	bool has = pagecache_mincore(map, len, (len + page - 1) / page);

	munmap(map, len);
	return has;
}
