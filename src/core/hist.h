/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hist: power-of-two buckets of microseconds, as QEMU's postcopy-latency-dist.
 * Bucket 0 counts values below 1 us, bucket n values in [2^(n-1), 2^n) us, the last one all above.
 * The struct lives in shared memory and is fixed-size; adding is a relaxed atomic increment.
 */
#ifndef CORE_HIST_H
#define CORE_HIST_H

#include <stdint.h>

#define HIST_BUCKETS 28

struct hist {
	uint64_t bucket[HIST_BUCKETS];
};

/* hist_bucket - the bucket that counts @us microseconds. */
unsigned int hist_bucket(uint64_t us);
void hist_add(struct hist *h, uint64_t us);
/* hist_total - number of values counted. */
uint64_t hist_total(const struct hist *h);
/*
 * hist_quantile - an upper bound, in us, of the given quantile (per mille, 500 = median).
 * Return: the upper edge of the bucket in which the quantile lies (UINT64_MAX for the last one,
 * which has none), 0 when nothing was counted.
 */
uint64_t hist_quantile(const struct hist *h, unsigned int permille);

#endif
