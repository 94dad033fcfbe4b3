// SPDX-License-Identifier: GPL-2.0-only
/* hugemap: huge and other blocks of our own memory, told apart in both ways. */
#include <errno.h>
#include <sys/mman.h>

#include "kapi/hugemap.h"
#include "kapi/mm_abi.h"
#include "kapi/proc.h"
#include "tests/tap.h"

#define BLOCKS 8u

static char *mem;

struct seen {
	unsigned int block[BLOCKS];
	unsigned int elsewhere;
};

static int see(void *arg, uint64_t start, uint64_t end)
{
	struct seen *s = arg;

	for (uint64_t at = start; at < end; at += HUGEMAP_BYTES) {
		uint64_t i = (at - (uintptr_t)mem) / HUGEMAP_BYTES;

		if (at >= (uintptr_t)mem && i < BLOCKS)
			s->block[i]++;
		else
			s->elsewhere++;
	}
	return 0;
}

static int stop(void *arg, uint64_t start, uint64_t end)
{
	(void)start;
	(void)end;
	++*(int *)arg;
	return 7;
}

/* Blocks 1, 2 and 5 are huge; 3 was and has lost a page; 4 has base pages; 6 has one. */
static bool fill(void)
{
	char *raw = mmap(NULL, (BLOCKS + 1) * HUGEMAP_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (raw == MAP_FAILED)
		bail("no memory");
	mem = (char *)(((uintptr_t)raw + HUGEMAP_BYTES - 1) & ~(HUGEMAP_BYTES - 1ul));
	for (unsigned int i = 1; i < 7; i++) {
		char *block = mem + i * HUGEMAP_BYTES;
		bool huge = i == 1 || i == 2 || i == 3 || i == 5;

		madvise(block, HUGEMAP_BYTES, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		memset(block, i, i == 6 ? 1 : HUGEMAP_BYTES);
		if (huge && madvise(block, HUGEMAP_BYTES, MADV_COLLAPSE) && errno != EINVAL)
			return false;
	}
	madvise(mem + 3 * HUGEMAP_BYTES + 4096, 4096, MADV_DONTNEED);
	return true;
}

static bool right(const struct seen *s)
{
	static const unsigned int want[BLOCKS] = { 0, 1, 1, 0, 0, 1, 0, 0 };
	bool good = !memcmp(s->block, want, sizeof(want));

	for (unsigned int i = 0; i < BLOCKS && !good; i++)
		note("block %u: %u, not %u", i, s->block[i], want[i]);
	return good;
}

int main(void)
{
	struct seen scan = { .elsewhere = 0 }, flags = { .elsewhere = 0 }, find = { .elsewhere = 0 };
	int ret, calls = 0;

	tap_timeout(60);
	if (!fill())
		skip_all("no huge page can be had here");
	uint64_t start = (uintptr_t)mem, end = start + BLOCKS * HUGEMAP_BYTES;
	int fd = proc_pagemap_open(getpid());

	ret = hugemap_by_scan(fd, start, end, see, &scan);
	if (ret == -ENOTTY)
		skip("by PAGEMAP_SCAN", "this kernel has none (6.7)");
	else
		ok(!ret && right(&scan), "by PAGEMAP_SCAN");
	ret = hugemap_by_flags(fd, start, end, see, &flags);
	if (ret == -EACCES || ret == -EPERM || ret == -ENOENT)
		skip("by kpageflags", "/proc/kpageflags cannot be read: %s", strerror(-ret));
	else
		ok(!ret && right(&flags), "by kpageflags");
	ok(!hugemap_find(getpid(), see, &find) && right(&find), "of a whole process");
	ok(hugemap_find(getpid(), stop, &calls) == 7 && calls == 1, "whoever has enough is left alone");
	ok(hugemap_find(-1, see, &find) < 0, "of no process: an error");
	return tap_done();
}
