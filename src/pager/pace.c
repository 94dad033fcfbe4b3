/* SPDX-License-Identifier: GPL-2.0-only */
/* pace: the limits that --rate and --drain-cpu set to all that is done unasked. */
#include <pthread.h>

#include "pager/internal.h"

uint64_t pace_book(struct pager *p, uint64_t busy_us, uint64_t bytes)
{
	uint64_t now = pager_now_us(), want = 0, cpu = 0, until;
	struct pace *pace = &p->pace;

	pthread_mutex_lock(&pace->lock);
	if (!pace->start_us)
		pace->start_us = now - busy_us;
	pace->bytes += bytes;
	pace->busy_us += busy_us;
	if (p->opts->rate_bytes_per_s)
		want = pace->bytes * 1000000 / p->opts->rate_bytes_per_s;
	if (p->opts->drain_cpu_percent && p->opts->drain_cpu_percent < 100)
		cpu = pace->busy_us * 100 / p->opts->drain_cpu_percent;
	until = pace->start_us + (want > cpu ? want : cpu);
	/* Time without work is not saved up for later. */
	if (now > until + 1000000) {
		pace->start_us = now;
		pace->bytes = pace->busy_us = 0;
	}
	pthread_mutex_unlock(&pace->lock);
	return until > now + 1000 && !p->st->finish ? until : 0;
}
