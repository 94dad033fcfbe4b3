// SPDX-License-Identifier: GPL-2.0-only
/* What a process does to its own memory, and to that of its movers. */
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "race.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

void step_none(struct world *w, struct rnd *r)
{
	(void)w;
	(void)r;
}

void step_pageout(struct world *w, struct rnd *r)
{
	size_t len, n = 1 + rnd_below(r, 64);
	char *page = shuttle_any(w, r), *area = shuttle_area(w, r, &len);

	/* To the swap device, and back into the swap cache. */
	if (rnd_next(r) % 16)
		madvise(page, n * PAGE, MADV_PAGEOUT);
	else
		madvise(area, len, MADV_PAGEOUT);
	if (rnd_next(r) % 2)
		madvise(page, n * PAGE, MADV_WILLNEED);
}

void step_swapoff(struct world *w, struct rnd *r)
{
	char path[128] = "", line[256];
	FILE *f = fopen("/proc/swaps", "re");

	if (f && fgets(line, sizeof(line), f) && fgets(line, sizeof(line), f))
		sscanf(line, "%127s", path);
	if (f)
		fclose(f);
	step_pageout(w, r);
	if (!path[0] || swapoff(path)) {
		if (path[0] && errno == ENOMEM)
			return;
		lacks("a swap device that may be switched off: %s", strerror(errno));
	}
	if (swapon(path, 0))
		wrong("swapon %s: %s", path, strerror(errno));
}

/* Another process swaps, too, so that freed entries are used again at once. */
void step_hog(struct world *w, struct rnd *r)
{
	static char *hog;
	size_t i, n = 256;

	if (!hog) {
		hog = area_new(n * PAGE, false);
		for (i = 0; i < n; i++)
			page_fill(hog + i * PAGE, 100000 + i, 0);
	}
	step_pageout(w, r);
	madvise(hog, n * PAGE, MADV_PAGEOUT);
	for (i = rnd_below(r, 4); i < n; i += 1 + rnd_below(r, 4)) {
		if (!page_is(hog + i * PAGE, 100000 + i, 0))
			wrong("a page that never moves, %zu, is %s", i, page_tell(hog + i * PAGE));
		if (rnd_next(r) % 4 == 0)
			madvise(hog + i * PAGE, PAGE, MADV_DONTNEED);
		page_fill(hog + i * PAGE, 100000 + i, 0);
	}
}

/* The child sees each page in one of its places, or nowhere where it is not handed on. */
static void fork_child(struct world *w, struct rnd *r, bool all)
{
	size_t first = rnd_below(r, w->npages), k;

	for (k = 0; k < 64; k++) {
		size_t i = (first + k) % w->npages;
		uint64_t at_a, at_b;

		at_a = *(uint64_t *)(w->a + i * PAGE) >> 24;
		at_b = *(uint64_t *)(w->b + i * PAGE) >> 24;
		if ((at_a && at_a != i + 1) || (at_b && at_b != i + 1) || (at_a && at_b))
			_exit(1);
		if (all && !at_a && !at_b)
			_exit(2);
		if (rnd_next(r) % 2)
			memset(w->a + i * PAGE, 0xee, PAGE);
	}
	_exit(0);
}

void step_fork(struct world *w, struct rnd *r)
{
	size_t len = w->npages * PAGE;
	bool all = rnd_next(r) % 2;
	int status;
	pid_t pid;

	madvise(w->b, len, all ? MADV_DOFORK : MADV_DONTFORK);
	pid = fork();
	if (!pid) {
		if (!all && mmap(w->b, len, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1,
				 0) == MAP_FAILED)
			_exit(3);
		fork_child(w, r, all);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return;
	if (status)
		wrong("a child saw a page that %s (status %x)",
		      WEXITSTATUS(status) == 2 ? "is nowhere" : "is not what it should be", status);
}

void step_mprotect(struct world *w, struct rnd *r)
{
	size_t len, n = 1 + rnd_below(r, 64);
	char *page = shuttle_any(w, r), *area = shuttle_area(w, r, &len);

	/* Readable all the time, for the movers look at pages; they write only where they may. */
	if (page + n * PAGE > area + len || page < area)
		return;
	mprotect(page, n * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
	if (rnd_next(r) % 2)
		sched_yield();
	mprotect(page, n * PAGE, PROT_READ | PROT_WRITE);
}

void step_register(struct world *w, struct rnd *r)
{
	size_t len;
	char *area = shuttle_area(w, r, &len);
	struct uffdio_range range = { .start = (uintptr_t)area, .len = len };
	struct uffdio_register reg = { .range = range, .mode = UFFDIO_REGISTER_MODE_MISSING };

	ioctl(w->uffd, UFFDIO_UNREGISTER, &range);
	if (rnd_next(r) % 2)
		sched_yield();
	if (ioctl(w->uffd, UFFDIO_REGISTER, &reg))
		wrong("UFFDIO_REGISTER: %s", strerror(errno));
}

static int nodes(void)
{
	static int n;

	while (n < 2) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", n);
		if (access(path, F_OK))
			break;
		n++;
	}
	return n;
}

void step_migrate(struct world *w, struct rnd *r)
{
	void *pages[32];
	int target[32], status[32], i;

	if (nodes() < 2 || rnd_next(r) % 64 == 0) {
		if (!file_write("/proc/sys/vm/compact_memory", "1"))
			lacks("CONFIG_COMPACTION, and root");
		return;
	}
	for (i = 0; i < 32; i++) {
		pages[i] = shuttle_any(w, r);
		target[i] = rnd_next(r) % 2;
	}
	syscall(SYS_move_pages, 0, 32, pages, target, status, 1 << 1 /* MPOL_MF_MOVE */);
}

void step_collapse(struct world *w, struct rnd *r)
{
	static bool once;
	size_t len;
	char *area = shuttle_area(w, r, &len);

	if (!once) {
		once = true;
		if (access("/sys/kernel/mm/transparent_hugepage/khugepaged", F_OK))
			lacks("CONFIG_TRANSPARENT_HUGEPAGE");
		knob_set("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "1");
		knob_set("/sys/kernel/mm/transparent_hugepage/khugepaged/alloc_sleep_millisecs", "1");
		knob_set("/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none", "0");
		knob_set("/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan", "8192");
	}
	/* Where a page table has holes it may not be collapsed: the holes would be filled. */
	madvise(area + rnd_below(r, len / HUGE) * HUGE, HUGE, MADV_COLLAPSE);
}

void step_split(struct world *w, struct rnd *r)
{
	size_t len;
	char *area = shuttle_area(w, r, &len);
	char text[96];

	if (access("/sys/kernel/debug/split_huge_pages", W_OK))
		lacks("CONFIG_TRANSPARENT_HUGEPAGE, CONFIG_DEBUG_FS, and root");
	snprintf(text, sizeof(text), "%d,0x%lx,0x%lx", getpid(), (unsigned long)area,
		 (unsigned long)(area + len));
	file_write("/sys/kernel/debug/split_huge_pages", text);
	if (rnd_next(r) % 4 == 0)
		madvise(area + rnd_below(r, len / HUGE) * HUGE, HUGE, MADV_COLLAPSE);
}

void step_gup(struct world *w, struct rnd *r)
{
	static char *to;
	static int fds[2] = { -1, -1 };
	struct iovec local = { .iov_len = PAGE }, remote = { .iov_len = PAGE };
	size_t len;

	if (!to) {
		to = area_new(PAGE, false);
		if (pipe2(fds, O_NONBLOCK))
			wrong("pipe2");
	}
	local.iov_base = to;
	remote.iov_base = shuttle_area(w, r, &len);
	remote.iov_base = (char *)remote.iov_base + rnd_below(r, w->npages) * PAGE;
	if (rnd_next(r) % 2) {
		process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	} else {
		vmsplice(fds[1], &remote, 1, 0);
		while (read(fds[0], to, PAGE) > 0)
			;
	}
}

void step_wp(struct world *w, struct rnd *r)
{
	static bool once;
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)shuttle_any(w, r), .len = PAGE },
		.mode = rnd_next(r) % 2 ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	if (!once) {
		once = true;
		uffd_add(w->uffd, w->a, w->npages * PAGE,
			 UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
		uffd_add(w->uffd, w->b, w->npages * PAGE,
			 UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
	}
	ioctl(w->uffd, UFFDIO_WRITEPROTECT, &wp);
}
