// SPDX-License-Identifier: GPL-2.0-only
/* hist: counting latencies in power-of-two buckets. */
#include "core/hist.h"

unsigned int hist_bucket(uint64_t us)
{
	unsigned int bits = us ? 64 - __builtin_clzll(us) : 0;

	return bits < HIST_BUCKETS ? bits : HIST_BUCKETS - 1;
}

void hist_add(struct hist *h, uint64_t us)
{
	__atomic_fetch_add(&h->bucket[hist_bucket(us)], 1, __ATOMIC_RELAXED);
}

uint64_t hist_total(const struct hist *h)
{
	uint64_t total = 0;

	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		total += __atomic_load_n(&h->bucket[i], __ATOMIC_RELAXED);
	return total;
}

uint64_t hist_quantile(const struct hist *h, unsigned int permille)
{
	uint64_t count[HIST_BUCKETS], total = 0, rank, seen = 0;
	unsigned int i;

	/* Others may be adding: every figure below comes from one look. */
	for (i = 0; i < HIST_BUCKETS; i++) {
		count[i] = __atomic_load_n(&h->bucket[i], __ATOMIC_RELAXED);
		total += count[i];
	}
	if (!total)
		return 0;
	if (permille > 1000)
		permille = 1000;
	/* Rounded up, without a product that could wrap. */
	rank = total / 1000 * permille + (total % 1000 * permille + 999) / 1000;
	for (i = 0; i < HIST_BUCKETS - 1; i++) {
		seen += count[i];
		if (seen && seen >= rank)
			return 1ull << i;
	}
	return UINT64_MAX;
}
