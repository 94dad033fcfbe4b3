// SPDX-License-Identifier: GPL-2.0-only
/*
 * Row 91: no write is lost.
 *
 * Writers add to a word of pages that are moved away under them.  An addition lands in the page,
 * wherever it is then, or in a new page of zeros at the old address.  Movers carry every page that
 * they find to a place where they are alone, add its word to a total, and throw it away.  In the
 * end the total is what the writers counted.
 */
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include "race.h"

#define N	64
#define WRITERS	2

struct writer {
	pthread_t id;
	char *src;
	struct rnd rnd;
	uint64_t count;
	bool *stop;
	int cpu;
};

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(w->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	while (!__atomic_load_n(w->stop, __ATOMIC_RELAXED)) {
		uint32_t i = rnd_below(&w->rnd, N), at = rnd_below(&w->rnd, 16) * 8;

		__atomic_add_fetch((uint64_t *)(w->src + i * PAGE) + at, 1, __ATOMIC_RELAXED);
		w->count++;
	}
	return NULL;
}

static uint64_t collect(char *page)
{
	uint64_t sum = 0;
	int k;

	for (k = 0; k < 16; k++)
		sum += ((uint64_t *)page)[k * 8];
	return sum;
}

void write_faults(void)
{
	int uffd = uffd_new(0);
	char *src = area_new(N * PAGE, false), *dst = area_new(N * PAGE, false);
	struct writer w[WRITERS];
	uint64_t total = 0, count = 0, entries[N];
	long end = now_ms() + round_now->ms;
	bool stop = false;
	int64_t moved;
	struct rnd r;
	size_t i, k;

	rnd_seed(&r, round_now->seed);
	uffd_add(uffd, dst, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	for (i = 0; i < WRITERS; i++) {
		w[i] = (struct writer){ .src = src, .stop = &stop, .cpu = i % 2 };
		rnd_seed(&w[i].rnd, round_now->seed * 4ULL + i + 1);
		if (pthread_create(&w[i].id, NULL, writer_main, &w[i]))
			wrong("pthread_create");
	}
	while (now_ms() < end) {
		size_t n = 1 + rnd_below(&r, N / 2);
		int ret;

		i = rnd_below(&r, N - n);
		ret = uffd_move(uffd, dst + i * PAGE, src + i * PAGE, n * PAGE,
				UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES, &moved);
		if (ret && ret != -EAGAIN && ret != -EBUSY)
			wrong("UFFDIO_MOVE: %s", strerror(-ret));
		if (moved <= 0)
			continue;
		pages_there(dst + i * PAGE, moved / PAGE, entries);
		for (k = 0; k < (size_t)moved / PAGE; k++)
			if (entries[k] >> 62)
				total += collect(dst + (i + k) * PAGE);
		madvise(dst + i * PAGE, moved, MADV_DONTNEED);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < WRITERS; i++) {
		pthread_join(w[i].id, NULL);
		count += w[i].count;
	}
	for (k = 0; k < N; k++)
		if (page_there(src + k * PAGE))
			total += collect(src + k * PAGE);
	round_now->against = count;
	if (total != count)
		wrong("%llu writes, %llu were found", (unsigned long long)count,
		      (unsigned long long)total);
}
