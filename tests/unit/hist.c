// SPDX-License-Identifier: GPL-2.0-only
/* hist: buckets, their edges, and quantiles. */
#include <pthread.h>

#include "core/hist.h"
#include "tests/tap.h"

static void test_buckets(void)
{
	bool good = true;

	is_u64(hist_bucket(0), 0, "0 us is in bucket 0");
	is_u64(hist_bucket(1), 1, "1 us is in bucket 1");
	for (unsigned int n = 2; n < HIST_BUCKETS - 1; n++)
		good &= hist_bucket(1ull << (n - 1)) == n && hist_bucket((1ull << n) - 1) == n;
	ok(good, "bucket n begins with 2^(n-1) and ends before 2^n");
	is_u64(hist_bucket((1ull << (HIST_BUCKETS - 2)) - 1), HIST_BUCKETS - 2, "last but one");
	is_u64(hist_bucket(1ull << (HIST_BUCKETS - 2)), HIST_BUCKETS - 1, "last one begins");
	is_u64(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1, "and holds all above");
}

static void test_quantiles(void)
{
	struct hist h = { { 0 } };

	is_u64(hist_total(&h), 0, "empty");
	is_u64(hist_quantile(&h, 500), 0, "nothing counted: 0");
	hist_add(&h, 0);
	is_u64(hist_quantile(&h, 0), 1, "one value below 1 us: bound is 1");
	is_u64(hist_quantile(&h, 1000), 1, "at any quantile");
	for (int i = 0; i < 98; i++)
		hist_add(&h, 12);
	hist_add(&h, 5000);
	is_u64(hist_total(&h), 100, "100 values");
	is_u64(hist_quantile(&h, 10), 1, "1 of 100 is below 1 us");
	is_u64(hist_quantile(&h, 11), 16, "the next one is below 16 us");
	is_u64(hist_quantile(&h, 500), 16, "so is the median");
	is_u64(hist_quantile(&h, 990), 16, "and the 99th of 100");
	is_u64(hist_quantile(&h, 991), 8192, "the last is below 8192 us");
	is_u64(hist_quantile(&h, 1000), 8192, "as is the largest");
	is_u64(hist_quantile(&h, 5000), 8192, "more than 1000 per mille is the largest");
	hist_add(&h, UINT64_MAX);
	is_u64(hist_quantile(&h, 1000), UINT64_MAX, "the last bucket has no upper edge");
	h.bucket[3] = 1ull << 60;
	is_u64(hist_quantile(&h, 500), 8, "2^60 values do not wrap");
}

static void *add_many(void *arg)
{
	for (int i = 0; i < 100000; i++)
		hist_add(arg, i & 1023);
	return NULL;
}

static void test_threads(void)
{
	struct hist h = { { 0 } };
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		if (pthread_create(&t[i], NULL, add_many, &h))
			bail("no thread");
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	is_u64(hist_total(&h), 400000, "four threads add without losing one");
}

int main(void)
{
	tap_timeout(60);
	test_buckets();
	test_quantiles();
	test_threads();
	return tap_done();
}
