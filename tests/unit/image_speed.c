// SPDX-License-Identifier: GPL-2.0-only
/* 131,072 entries: how long they take to read, and what memory they need meanwhile. */
#include <errno.h>
#include <malloc.h>
#include <time.h>

#include "image/image.h"
#include "tests/unit/image_writer.h"

#define ENTRIES 131072u
#define BASE 0x7f0000000000ull
#define BAR_MS 100.0
#define BAR_BYTES (1u << 20)
/* What vm.max_map_count allows when nobody changes it. */
#define VMAS 65530u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

struct seen {
	uint32_t npieces;
	size_t most; /* bytes of the heap in use, at most */
	bool measure;
};

static size_t heap_used(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static int on_piece(const struct extent_view *p, void *arg)
{
	struct seen *s = arg;

	(void)p;
	if (s->measure && heap_used() > s->most)
		s->most = heap_used();
	s->npieces++;
	return 0;
}

/* CPU time of this thread, so that a busy machine is no failure. */
static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void load(int fd, struct seen *s, const char *what, uint32_t want, uint32_t bar_bytes)
{
	struct image_error err = { "" };
	struct image_set *set = NULL;
	double best = 1e9;
	size_t before;

	if (image_open(fd, false, &set, &err))
		bail("%s", err.text);
	for (int i = 0; i < 5; i++) {
		double start = cpu_ms();

		*s = (struct seen){ 0 };
		if (image_load_task(set, 9, NULL, on_piece, s, &err))
			bail("%s", err.text);
		start = cpu_ms() - start;
		best = start < best ? start : best;
	}
	is_u64(s->npieces, want, "%s: pieces", what);
	if (SANITIZED) {
		skip("time and memory", "built with a sanitizer, both are its own");
	} else {
		ok(best < BAR_MS, "%s: %.1f ms of CPU, the bar is %.0f ms", what, best, BAR_MS);
		before = heap_used();
		*s = (struct seen){ .measure = true };
		if (image_load_task(set, 9, NULL, on_piece, s, &err))
			bail("%s", err.text);
		ok(s->most - before < bar_bytes, "%s: %zu bytes of heap meanwhile, the bar is %u",
		   what, s->most - before, bar_bytes);
	}
	image_close(set);
}

int main(void)
{
	const uint32_t pids[] = { 9 };
	uint64_t page = sysconf(_SC_PAGESIZE);
	const struct iw_vma vma = { BASE, BASE + 2 * ENTRIES * page, 0x22, 1 << 9 | 1, 0 };
	struct iw_entry *top = calloc(ENTRIES, sizeof(*top)), *low = calloc(ENTRIES, sizeof(*low));
	struct iw_vma *vmas = calloc(VMAS, sizeof(*vmas));
	struct iw_dir d = iw_mkdir();
	struct seen s;
	int fd;

	tap_timeout(120);
	for (uint32_t i = 0; i < ENTRIES; i++)
		top[i] = (struct iw_entry){ BASE + 2 * i * page, 1, 6 };
	iw_set(d.fd, pids, 1);
	iw_task_mm(d.fd, 9, &vma, 1);
	iw_task_pages(d.fd, 9, 1, top, ENTRIES, IW_42);
	load(d.fd, &s, "every other page", ENTRIES, BAR_BYTES);

	for (uint32_t i = 0; i < ENTRIES; i++) {
		top[i] = (struct iw_entry){ BASE + 2 * i * page, 1, i % 2 ? 3 : 6 };
		low[i] = (struct iw_entry){ BASE + 2 * i * page, 2, 4 };
	}
	fd = iw_subdir(d.fd, "parent");
	iw_task_pages(d.fd, 9, 1, top, ENTRIES, IW_42);
	iw_task_pages(fd, 9, 1, low, ENTRIES, IW_317);
	close(fd);
	load(d.fd, &s, "half of it in a parent", ENTRIES, BAR_BYTES);

	for (uint32_t i = 0; i < VMAS; i++) {
		vmas[i] = (struct iw_vma){ page + 2 * i * page, 2 * page + 2 * i * page, 0x22,
					   1 << 9, 0 };
		top[i] = (struct iw_entry){ vmas[i].start, 1, 6 };
	}
	iw_task_mm(d.fd, 9, vmas, VMAS);
	iw_task_pages(d.fd, 9, 1, top, VMAS, IW_42);
	load(d.fd, &s, "65,530 VMAs of a page", VMAS, BAR_BYTES + 32 * VMAS);
	free(vmas);
	iw_rmdir(&d);
	free(top);
	free(low);
	return tap_done();
}
