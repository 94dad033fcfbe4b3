// SPDX-License-Identifier: GPL-2.0-only
/* What the system does to a process's memory, when it is told to. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "race.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

void step_ksm(struct world *w, struct rnd *r)
{
	static bool once;
	size_t len;
	char *area = shuttle_area(w, r, &len);

	if (!once) {
		once = true;
		if (!knob_set("/sys/kernel/mm/ksm/run", "1"))
			lacks("CONFIG_KSM, and root");
		knob_set("/sys/kernel/mm/ksm/sleep_millisecs", "0");
		knob_set("/sys/kernel/mm/ksm/pages_to_scan", "1000");
		madvise(w->a, len, MADV_MERGEABLE);
		madvise(w->b, len, MADV_MERGEABLE);
	}
	usleep(20000);
	if (rnd_next(r) % 8 == 0) {
		madvise(area, len, MADV_UNMERGEABLE);
		madvise(area, len, MADV_MERGEABLE);
	}
}

/* Every access bit that reclaim would look at. */
static void idle_pages(struct world *w, struct rnd *r)
{
	static int map = -1, bitmap = -1;
	uint64_t entry, mark = ~0ULL;
	int i;

	if (map < 0) {
		map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
		bitmap = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR | O_CLOEXEC);
	}
	if (bitmap < 0)
		return;
	for (i = 0; i < 16; i++) {
		uintptr_t page = (uintptr_t)shuttle_any(w, r) / PAGE;

		if (pread(map, &entry, sizeof(entry), page * sizeof(entry)) != sizeof(entry) ||
		    !(entry >> 63))
			continue;
		entry &= (1ULL << 55) - 1;
		/* 64 pages a word: writing marks them idle, which looks into their page tables. */
		if (pwrite(bitmap, &mark, 8, entry / 64 * 8) != 8 ||
		    pread(bitmap, &entry, 8, entry / 64 * 8) != 8)
			return;
	}
}

#define DAMON "/sys/kernel/mm/damon/admin/kdamonds/"

static void damon_start(void)
{
	if (!file_write(DAMON "nr_kdamonds", "1") || !file_write(DAMON "0/contexts/nr_contexts", "1") ||
	    !file_write(DAMON "0/contexts/0/operations", "paddr"))
		return;
	file_write(DAMON "0/contexts/0/monitoring_attrs/intervals/sample_us", "1000");
	file_write(DAMON "0/contexts/0/monitoring_attrs/intervals/aggr_us", "10000");
	file_write(DAMON "0/contexts/0/targets/nr_targets", "1");
	file_write(DAMON "0/contexts/0/targets/0/regions/nr_regions", "1");
	file_write(DAMON "0/contexts/0/targets/0/regions/0/start", "1048576");
	file_write(DAMON "0/contexts/0/targets/0/regions/0/end", "1073741824");
	knob_set(DAMON "0/state", "on");
}

#define CGROUP "/sys/fs/cgroup/"

/* A group of our own: what is asked of it is taken from our lists, the active one as well. */
static bool reclaim_start(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	file_write(CGROUP "cgroup.subtree_control", "+memory");
	if (mkdir(CGROUP "race", 0700) && errno != EEXIST)
		return false;
	return file_write(CGROUP "race/cgroup.procs", pid) &&
	       !access(CGROUP "race/memory.reclaim", W_OK);
}

void step_idle(struct world *w, struct rnd *r)
{
	static bool once, reclaim;
	size_t len;
	char *area = shuttle_area(w, r, &len);

	if (!once) {
		once = true;
		reclaim = reclaim_start();
		if (!reclaim && access("/sys/kernel/mm/page_idle/bitmap", W_OK) &&
		    access("/sys/kernel/mm/lru_gen/enabled", W_OK) && !swap_is_on())
			lacks("CONFIG_IDLE_PAGE_TRACKING, LRU_GEN or swap, and root");
		damon_start();
		knob_set("/sys/kernel/mm/lru_gen/enabled", rnd_next(r) % 2 ? "7" : "0");
	}
	idle_pages(w, r);
	if (reclaim)
		file_write(CGROUP "race/memory.reclaim", "131072");
	/* Down the lists, where reclaim asks who has referenced them. */
	madvise(area, len / 4, MADV_COLD);
	if (rnd_next(r) % 8 == 0)
		madvise(shuttle_any(w, r), 16 * PAGE, MADV_PAGEOUT);
}

void step_proc(struct world *w, struct rnd *r)
{
	static const char *const files[] = {
		"/proc/self/smaps", "/proc/self/smaps_rollup", "/proc/self/numa_maps",
		"/proc/self/status",
	};
	char buf[4096];
	int fd;

	switch (rnd_below(r, 6)) {
	case 0:
		file_write("/proc/self/clear_refs", "4");
		break;
	case 1:
		file_write("/proc/self/clear_refs", "1");
		break;
	default:
		fd = open(files[rnd_below(r, 4)], O_RDONLY | O_CLOEXEC);
		while (fd >= 0 && read(fd, buf, sizeof(buf)) > 0)
			;
		if (fd >= 0)
			close(fd);
	}
	page_there(shuttle_any(w, r));
}

void step_offline(struct world *w, struct rnd *r)
{
	static int left = 24;

	/* Each costs the machine a page. */
	if (!getenv("UFFD_RELOCATE_VM"))
		lacks("UFFD_RELOCATE_VM=1 in the environment: it costs the machine pages");
	if (left-- > 0 && madvise(shuttle_any(w, r), PAGE, MADV_SOFT_OFFLINE) && errno == EINVAL)
		lacks("CONFIG_MEMORY_FAILURE, and root");
	usleep(left > 0 ? 20000 : 100000);
}

void step_numa(struct world *w, struct rnd *r)
{
	static bool once;
	cpu_set_t set;

	(void)w;
	if (!once) {
		once = true;
		if (access("/sys/devices/system/node/node1", F_OK) ||
		    !knob_set("/proc/sys/kernel/numa_balancing", "1"))
			lacks("CONFIG_NUMA_BALANCING and two nodes (numa=fake=2)");
		knob_set("/sys/kernel/debug/sched/numa_balancing/scan_delay_ms", "10");
		knob_set("/sys/kernel/debug/sched/numa_balancing/scan_period_min_ms", "10");
		knob_set("/sys/kernel/debug/sched/numa_balancing/scan_period_max_ms", "20");
	}
	/* The scan is paid for by whoever has run long enough. */
	CPU_ZERO(&set);
	CPU_SET(rnd_next(r) % 2, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (volatile int i = 0; i < 100000; i++)
		;
}
