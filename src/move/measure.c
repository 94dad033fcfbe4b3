// SPDX-License-Identifier: GPL-2.0-only
/* measure: what it costs on this kernel to get a page from one address to another. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kapi/pageinfo.h"
#include "kapi/uffd_own.h"
#include "move/measure.h"
#include "util/fd.h"

#define HUGE_BYTES (2ull << 20)

/* Two areas of the same size, aligned to huge pages; @map is all that has to be unmapped. */
struct arena {
	char *map, *src, *dst;
	uint64_t bytes, page_size;
};

typedef int (*action)(const struct arena *a, const struct measure_case *c, int fd);

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t map_bytes(const struct arena *a)
{
	return 2 * a->bytes + HUGE_BYTES;
}

static int arena_map(struct arena *a)
{
	a->map = mmap(NULL, map_bytes(a), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (a->map == MAP_FAILED)
		return -errno;
	a->src = (char *)(((uintptr_t)a->map + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));
	a->dst = a->src + a->bytes;
	return 0;
}

static void touch(const struct arena *a, char *p)
{
	uint64_t i;

	for (i = 0; i < a->bytes; i += a->page_size)
		((volatile char *)p)[i] = (char)(i >> 12 | 1);
}

/* Is all of the source in huge pages? What cannot be told is taken for a yes. */
static bool is_huge(const struct arena *a)
{
	struct pageinfo pi;
	uint64_t bytes = 0;
	int ret = pageinfo_open(getpid(), &pi);

	if (ret)
		return true;
	ret = pageinfo_huge(&pi, (uintptr_t)a->src, a->bytes, &bytes);
	pageinfo_close(&pi);
	return ret || bytes == a->bytes;
}

static int do_memcpy(const struct arena *a, const struct measure_case *c, int fd)
{
	(void)c;
	(void)fd;
	memcpy(a->dst, a->src, a->bytes);
	return 0;
}

static int do_copy(const struct arena *a, const struct measure_case *c, int fd)
{
	uint64_t at;

	for (at = 0; at < a->bytes; at += c->call_bytes) {
		int ret = uffd_own_copy(fd, a->dst + at, a->src + at, c->call_bytes);

		if (ret)
			return ret;
	}
	return 0;
}

static int do_move(const struct arena *a, const struct measure_case *c, int fd)
{
	uint64_t at;

	for (at = 0; at < a->bytes; at += c->call_bytes) {
		int ret = uffd_own_move(fd, a->dst + at, a->src + at, c->call_bytes);

		if (ret)
			return ret;
	}
	return 0;
}

static int do_mremap(const struct arena *a, const struct measure_case *c, int fd)
{
	uint64_t step = c->call_bytes ? c->call_bytes : a->bytes, at;

	(void)fd;
	for (at = 0; at < a->bytes; at += step)
		if (mremap(a->src + at, step, step, MREMAP_MAYMOVE | MREMAP_FIXED, a->dst + at) ==
		    MAP_FAILED)
			return -errno;
	return 0;
}

static const struct job {
	struct measure_case c;
	action act;
	bool uffd;		/* the destination is registered */
	bool there;		/* the destination is populated beforehand */
} jobs[] = {
	{ { .key = "memcpy", .what = "memcpy(3), the destination there" },
	  .act = do_memcpy, .there = true },
	{ { .key = "memcpy_fresh", .what = "memcpy(3) into fresh memory" }, .act = do_memcpy },
	{ { .key = "copy_4k", .what = "UFFDIO_COPY", .call_bytes = 4 << 10 },
	  .act = do_copy, .uffd = true },
	{ { .key = "copy_64k", .what = "UFFDIO_COPY", .call_bytes = 64 << 10 },
	  .act = do_copy, .uffd = true },
	{ { .key = "copy_2m", .what = "UFFDIO_COPY", .call_bytes = 2 << 20 },
	  .act = do_copy, .uffd = true },
	{ { .key = "move_4k", .what = "UFFDIO_MOVE", .call_bytes = 4 << 10, .needs_move = true },
	  .act = do_move, .uffd = true },
	{ { .key = "move_64k", .what = "UFFDIO_MOVE", .call_bytes = 64 << 10, .needs_move = true },
	  .act = do_move, .uffd = true },
	{ { .key = "move_2m", .what = "UFFDIO_MOVE", .call_bytes = 2 << 20, .needs_move = true },
	  .act = do_move, .uffd = true },
	{ { .key = "move_2m_huge", .what = "UFFDIO_MOVE of huge pages", .call_bytes = 2 << 20,
	    .huge = true, .needs_move = true },
	  .act = do_move, .uffd = true },
	{ { .key = "mremap_4k", .what = "mremap(2)", .call_bytes = 4 << 10 }, .act = do_mremap },
	{ { .key = "mremap_64k", .what = "mremap(2)", .call_bytes = 64 << 10 }, .act = do_mremap },
	{ { .key = "mremap_2m", .what = "mremap(2)", .call_bytes = 2 << 20 }, .act = do_mremap },
	{ { .key = "mremap_2m_huge", .what = "mremap(2) of huge pages", .call_bytes = 2 << 20,
	    .huge = true },
	  .act = do_mremap },
	{ { .key = "mremap_all", .what = "mremap(2), all in one call" }, .act = do_mremap },
};

#define NJOBS (sizeof(jobs) / sizeof(jobs[0]))

_Static_assert(NJOBS <= MEASURE_CASES_MAX, "MEASURE_CASES_MAX");

/* One case once, on memory of its own. Return: 0 and the time, or -errno. */
static int measure_once(const struct job *job, struct arena *a, uint64_t *ns)
{
	cleanup_fd int fd = -1;
	int ret = arena_map(a);

	if (ret)
		return ret;
	madvise(a->map, map_bytes(a), job->c.huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	touch(a, a->src);
	if (job->there)
		touch(a, a->dst);
	if (job->c.huge && !is_huge(a))
		ret = -ENODATA;
	if (!ret && job->uffd) {
		fd = uffd_own_open(0);
		ret = fd < 0 ? fd : uffd_own_register(fd, a->dst, a->bytes,
						      UFFDIO_REGISTER_MODE_MISSING);
	}
	if (!ret) {
		*ns = now_ns();
		ret = job->act(a, &job->c, fd);
		*ns = now_ns() - *ns;
	}
	munmap(a->map, map_bytes(a));
	return ret;
}

int measure_run(uint64_t bytes, unsigned int rounds, struct measure *out)
{
	struct arena a = { .bytes = bytes, .page_size = (uint64_t)sysconf(_SC_PAGESIZE) };
	int no_move = uffd_own_can_move();
	unsigned int round, i;

	*out = (struct measure){ .n = NJOBS, .page_size = a.page_size };
	for (i = 0; i < NJOBS; i++) {
		out->list[i] = jobs[i].c;
		if (jobs[i].c.needs_move)
			out->list[i].error = no_move;
	}
	for (round = 0; round < rounds; round++)
		for (i = 0; i < NJOBS; i++) {
			struct measure_case *c = &out->list[i];
			uint64_t ns = 0;
			double page_ns;

			if (c->error)
				continue;
			c->error = measure_once(&jobs[i], &a, &ns);
			page_ns = (double)ns / (double)(bytes / a.page_size);
			if (!c->error && (!c->page_ns || page_ns < c->page_ns))
				c->page_ns = page_ns;
		}
	return out->list[0].error;
}
