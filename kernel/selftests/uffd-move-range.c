// SPDX-License-Identifier: GPL-2.0-only
/*
 * UFFDIO_MOVE, rows 33 to 48: ranges of base pages: what moves, where it stops, who is woken.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <time.h>
#include "../kselftest_harness.h"
#define UFFD_MOVE_FIXTURE
#include "uffd-move.h"

#define K	5	/* the page at which something is in the way */
#define N	16	/* of so many */

#define PAGE(area, i)	((area) + (size_t)(i) * page_size)

struct handler {
	pthread_t thread;
	int uffd;
	char *src, *dst;
	size_t npages, served;
	bool failed;
};

static void *handler_main(void *arg)
{
	struct handler *h = arg;

	while (h->served < h->npages && !h->failed) {
		char *addr = uffd_fault(h->uffd, WAIT_MS);
		size_t off = addr - h->dst;

		h->failed = !addr || off >= h->npages * page_size ||
			    uffd_move(h->uffd, addr, h->src + off, page_size, 0, NULL);
		h->served++;
	}
	return NULL;
}

TEST_F(move, row33_one_page)
{
	struct handler h = {
		.uffd = self->uffd, .src = self->src, .dst = self->dst, .npages = AREA_PAGES,
	};

	pages_fill(self->src, AREA_PAGES, 1);
	ASSERT_EQ(0, pthread_create(&h.thread, NULL, handler_main, &h));
	EXPECT_STREQ("", pages_are(self->dst, AREA_PAGES, 1));
	pthread_join(h.thread, NULL);
	EXPECT_FALSE(h.failed);
	EXPECT_EQ(AREA_PAGES, h.served);
	EXPECT_TRUE(pages_none(self->src, AREA_PAGES));
}

/* Each offset within a page table once, on either side, with every length up to 1100 likely. */
TEST_F_TIMEOUT(move, row34_sizes, 300)
{
	size_t table = page_size / sizeof(void *), most = 1100, i;
	char *src = area_map((table + most) * page_size);
	char *dst = area_map((table + most) * page_size);
	time_t end = time(NULL) + 60;
	unsigned int seed = 34;

	ASSERT_EQ(0, uffd_register(self->uffd, dst, (table + most) * page_size,
				   UFFDIO_REGISTER_MODE_MISSING, NULL));
	for (i = 0; i < table; i++) {
		/* 173 has no factor in common with a power of two. */
		size_t from = i * 173 % table, to = i;
		size_t n = i % 8 ? 1 + rand_r(&seed) % 80 : 1 + rand_r(&seed) % most;
		size_t j;

		/* On a slow machine every eighth, then. */
		if (i % 8 && time(NULL) > end)
			continue;
		/* One word a page is enough to know it by, and quick. */
		for (j = 0; j < n; j++)
			*(__u64 *)PAGE(src, from + j) = i << 32 | j;
		ASSERT_EQ(0, uffd_move(self->uffd, PAGE(dst, to), PAGE(src, from), n * page_size,
				       0, NULL))
			TH_LOG("%zu pages from offset %zu to %zu", n, from, to);
		for (j = 0; j < n; j++)
			ASSERT_EQ(i << 32 | j, *(__u64 *)PAGE(dst, to + j))
				TH_LOG("page %zu of %zu, from %zu to %zu", j, n, from, to);
		ASSERT_TRUE(pages_none(PAGE(src, from), 1));
		ASSERT_TRUE(pages_none(PAGE(src, from + n - 1), 1));
		ASSERT_EQ(0, madvise(dst, (table + most) * page_size, MADV_DONTNEED));
	}
}

/* Moves pages up to the K-th, which says err when it is tried alone. */
static bool stops_at(int uffd, char *dst, char *src, int err, __u64 mode)
{
	__s64 moved = 0;
	int ret = uffd_move(uffd, dst, src, N * page_size, mode, &moved);

	if (ret != -EAGAIN || moved != K * (__s64)page_size || !pages_none(src, K)) {
		printf("# %d, move = %lld at first\n", ret, (long long)moved);
		return false;
	}
	ret = uffd_move(uffd, PAGE(dst, K), PAGE(src, K), (N - K) * page_size, mode, &moved);
	if (ret != err || moved != err) {
		printf("# %d, move = %lld when it was repeated\n", ret, (long long)moved);
		return false;
	}
	return true;
}

TEST_F(move, row35_partial_ebusy)
{
	pid_t child;
	int i;

	pages_fill(self->src, N, 1);
	child = child_hold();
	/* All are shared now; a write makes a page this process's own again. */
	for (i = 0; i < N; i++)
		if (i != K)
			page_fill(PAGE(self->src, i), 1 + i);
	EXPECT_TRUE(stops_at(self->uffd, self->dst, self->src, -EBUSY, 0));
	EXPECT_STREQ("", pages_are(self->dst, K, 1));
	EXPECT_STREQ("", pages_are(PAGE(self->src, K), N - K, 1 + K));
	child_end(child);
}

TEST_F(move, row36_partial_eexist)
{
	pages_fill(self->src, N, 1);
	page_fill(PAGE(self->src, N), 99);
	ASSERT_EQ(0, uffd_copy(self->uffd, PAGE(self->dst, K), PAGE(self->src, N), page_size, 0));
	EXPECT_TRUE(stops_at(self->uffd, self->dst, self->src, -EEXIST, 0));
	EXPECT_STREQ("", pages_are(self->dst, K, 1));
	EXPECT_TRUE(page_is(PAGE(self->dst, K), 99));
	EXPECT_STREQ("", pages_are(PAGE(self->src, K), N - K, 1 + K));
}

TEST_F(move, row37_hole_strict)
{
	pages_fill(self->src, N, 1);
	madvise(PAGE(self->src, K), page_size, MADV_DONTNEED);
	EXPECT_TRUE(stops_at(self->uffd, self->dst, self->src, -ENOENT, 0));
	EXPECT_STREQ("", pages_are(self->dst, K, 1));
	EXPECT_TRUE(pages_none(PAGE(self->dst, K), N - K));
}

TEST_F(move, row37_hole_strict_no_table)
{
	__s64 moved;

	EXPECT_EQ(-ENOENT, uffd_move(self->uffd, self->dst, self->src, N * page_size, 0, &moved));
	EXPECT_EQ(-ENOENT, moved);
}

TEST_F(move, row38_hole_allow)
{
	__s64 moved;

	pages_fill(self->src, N, 1);
	madvise(PAGE(self->src, K), page_size, MADV_DONTNEED);
	ASSERT_EQ(0, uffd_move(self->uffd, self->dst, self->src, N * page_size, HOLES, &moved));
	EXPECT_EQ(N * (__s64)page_size, moved);
	EXPECT_STREQ("", pages_are(self->dst, K, 1));
	EXPECT_TRUE(pages_none(PAGE(self->dst, K), 1));
	EXPECT_STREQ("", pages_are(PAGE(self->dst, K + 1), N - K - 1, 2 + K));
	EXPECT_TRUE(pages_none(self->src, N));
}

TEST_F(move, row39_hole_dst_present)
{
	pages_fill(self->src, N, 1);
	madvise(PAGE(self->src, K), page_size, MADV_DONTNEED);
	page_fill(PAGE(self->src, N), 99);
	ASSERT_EQ(0, uffd_copy(self->uffd, PAGE(self->dst, K), PAGE(self->src, N), page_size, 0));
	EXPECT_TRUE(stops_at(self->uffd, self->dst, self->src, -EEXIST, HOLES));
	EXPECT_TRUE(page_is(PAGE(self->dst, K), 99));
}

TEST_F(move, row39_hole_no_table_dst_present)
{
	size_t len = 8UL << 20;
	char *src = area_map(len), *dst = area_map(len), *there = dst + (4UL << 20) + page_size;
	__s64 moved;

	/* A source without page tables is skipped in big steps, but not past what dst has there. */
	ASSERT_EQ(0, uffd_register(self->uffd, dst, len, UFFDIO_REGISTER_MODE_MISSING, NULL));
	page_fill(self->src, 99);
	ASSERT_EQ(0, uffd_copy(self->uffd, there, self->src, page_size, 0));
	EXPECT_EQ(-EAGAIN, uffd_move(self->uffd, dst, src, len, HOLES, &moved));
	EXPECT_EQ(there - dst, moved);
	EXPECT_EQ(-EEXIST, uffd_move(self->uffd, there, src + moved, len - moved, HOLES, &moved));
	EXPECT_EQ(-EEXIST, moved);
	EXPECT_TRUE(page_is(there, 99));
}

TEST_F_TIMEOUT(move, row40_hole_sparse, 120)
{
	size_t len = 64UL << 30, step = 16UL << 30, i;
	char *src, *dst;
	long tables;
	__s64 moved;

	NOT_MAINLINE(return, "it makes page tables for all 64 GiB, on both sides");
	if (sizeof(void *) < 8)
		LACKS(return, "64 bits");
	src = area_map(len);
	dst = area_map(len);
	ASSERT_EQ(0, uffd_register(self->uffd, dst, len, UFFDIO_REGISTER_MODE_MISSING, NULL));
	tables = status_kb("VmPTE:");
	ASSERT_EQ(0, uffd_move(self->uffd, dst, src, len, HOLES, &moved));
	EXPECT_EQ((__s64)len, moved);
	EXPECT_GE(tables + 64, status_kb("VmPTE:"));

	/* Four pages in it, the last of them at the end. */
	for (i = 0; i < 4; i++)
		page_fill(src + (i + 1) * step - page_size, 1 + i);
	tables = status_kb("VmPTE:");
	ASSERT_EQ(0, uffd_move(self->uffd, dst, src, len, HOLES, &moved));
	EXPECT_EQ((__s64)len, moved);
	EXPECT_GE(tables + 128, status_kb("VmPTE:"));
	for (i = 0; i < 4; i++)
		EXPECT_TRUE(page_is(dst + (i + 1) * step - page_size, 1 + i));
}

/* An area that is its own destination, with pages 1... in all but the first pages. */
static char *own_area(int uffd, size_t npages, size_t empty)
{
	char *area = area_map(npages * page_size);

	pages_fill(PAGE(area, empty), npages - empty, 1);
	if (uffd_register(uffd, area, npages * page_size, UFFDIO_REGISTER_MODE_MISSING, NULL))
		return NULL;
	return area;
}

TEST_F(move, row41_overlap_down)
{
	char *area = own_area(self->uffd, N + 3, 3);
	__s64 moved;

	/* Each slot is emptied before it is filled: a memmove(). */
	ASSERT_NE(NULL, area);
	ASSERT_EQ(0, uffd_move(self->uffd, area, PAGE(area, 3), N * page_size, 0, &moved));
	EXPECT_EQ(N * (__s64)page_size, moved);
	EXPECT_STREQ("", pages_are(area, N, 1));
	EXPECT_TRUE(pages_none(PAGE(area, N), 3));
}

TEST_F(move, row42_overlap_up)
{
	char *area = own_area(self->uffd, N + 3, 0);
	__s64 moved;

	ASSERT_NE(NULL, area);
	madvise(PAGE(area, N), 3 * page_size, MADV_DONTNEED);
	EXPECT_EQ(-EEXIST, uffd_move(self->uffd, PAGE(area, 3), area, N * page_size, 0, &moved));
	EXPECT_EQ(-EEXIST, moved);
	EXPECT_STREQ("", pages_are(area, N, 1));
	EXPECT_TRUE(pages_none(PAGE(area, N), 3));
}

TEST_F(move, row42_overlap_up_hole)
{
	char *area = own_area(self->uffd, 4, 0);
	__s64 moved;

	/* Page 0 to the hole at 1, and from there on to 2: moved twice, as it says. */
	ASSERT_NE(NULL, area);
	madvise(PAGE(area, 1), 3 * page_size, MADV_DONTNEED);
	ASSERT_EQ(0, uffd_move(self->uffd, PAGE(area, 1), area, 3 * page_size, HOLES, &moved));
	EXPECT_EQ(3 * (__s64)page_size, moved);
	EXPECT_TRUE(pages_none(area, 1));
	/* It is in one of the slots that it could get to, and only there. */
	EXPECT_EQ(1, !pages_none(PAGE(area, 1), 1) + !pages_none(PAGE(area, 2), 1) +
		  !pages_none(PAGE(area, 3), 1));
	if (!pages_none(PAGE(area, 3), 1))
		EXPECT_TRUE(page_is(PAGE(area, 3), 1));
}

TEST_F(move, row43_self)
{
	char *area = own_area(self->uffd, N, 0);
	__s64 moved;

	ASSERT_NE(NULL, area);
	EXPECT_EQ(-EEXIST, uffd_move(self->uffd, area, area, N * page_size, 0, &moved));
	EXPECT_EQ(-EEXIST, moved);
	EXPECT_STREQ("", pages_are(area, N, 1));
	madvise(area, N * page_size, MADV_DONTNEED);
	EXPECT_EQ(-ENOENT, uffd_move(self->uffd, area, area, N * page_size, 0, &moved));
	EXPECT_EQ(0, uffd_move(self->uffd, area, area, N * page_size, HOLES, &moved));
	EXPECT_EQ(N * (__s64)page_size, moved);
}

TEST_F(move, row44_wake)
{
	struct reader r;

	page_fill(self->src, 1);
	reader_start(&r, self->dst, 1);
	ASSERT_EQ(self->dst, uffd_fault(self->uffd, WAIT_MS));
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, 1, 1, 0));
	ASSERT_TRUE(reader_done(&r, WAIT_MS));
	EXPECT_TRUE(r.right);
}

TEST_F(move, row45_dontwake)
{
	struct reader r;

	page_fill(self->src, 1);
	reader_start(&r, self->dst, 1);
	ASSERT_EQ(self->dst, uffd_fault(self->uffd, WAIT_MS));
	ASSERT_EQ(0, uffd_move(self->uffd, self->dst, self->src, page_size, DONTWAKE, NULL));
	EXPECT_FALSE(reader_done(&r, STAY_MS));
	EXPECT_EQ(0, uffd_wake(self->uffd, self->dst, page_size));
	ASSERT_TRUE(reader_done(&r, WAIT_MS));
	EXPECT_TRUE(r.right);
}

TEST_F(move, row46_wake_partial)
{
	struct reader first, last;

	/* The move ends before page K, which is not there; a reader waits on either side of it. */
	pages_fill(self->src, N, 1);
	madvise(PAGE(self->src, K), page_size, MADV_DONTNEED);
	reader_start(&first, self->dst, 1);
	ASSERT_EQ(self->dst, uffd_fault(self->uffd, WAIT_MS));
	reader_start(&last, PAGE(self->dst, K + 1), K + 2);
	ASSERT_EQ(PAGE(self->dst, K + 1), uffd_fault(self->uffd, WAIT_MS));
	EXPECT_TRUE(stops_at(self->uffd, self->dst, self->src, -ENOENT, 0));
	ASSERT_TRUE(reader_done(&first, WAIT_MS));
	EXPECT_TRUE(first.right);
	EXPECT_FALSE(reader_done(&last, STAY_MS));
	/* Nor was it woken to fault again. */
	EXPECT_EQ(NULL, uffd_fault(self->uffd, 0));
	EXPECT_STREQ("", move_ok(self->uffd, PAGE(self->dst, K + 1), PAGE(self->src, K + 1), 1,
				 K + 2, 0));
	ASSERT_TRUE(reader_done(&last, WAIT_MS));
	EXPECT_TRUE(last.right);
}

TEST_F(move, row47_eexist_nowake)
{
	struct reader r;

	pages_fill(self->src, 2, 1);
	reader_start(&r, self->dst, 2);
	ASSERT_EQ(self->dst, uffd_fault(self->uffd, WAIT_MS));
	ASSERT_EQ(0, uffd_copy(self->uffd, self->dst, PAGE(self->src, 1), page_size,
			       UFFDIO_COPY_MODE_DONTWAKE));
	EXPECT_EQ(-EEXIST, uffd_move(self->uffd, self->dst, self->src, page_size, 0, NULL));
	EXPECT_FALSE(reader_done(&r, STAY_MS));
	EXPECT_EQ(0, uffd_wake(self->uffd, self->dst, page_size));
	ASSERT_TRUE(reader_done(&r, WAIT_MS));
	EXPECT_TRUE(r.right);
}

static sigjmp_buf after_sigbus;

static void on_sigbus(int sig)
{
	siglongjmp(after_sigbus, sig);
}

TEST_F(move, row48_sigbus)
{
	int uffd = uffd_open(UFFD_FEATURE_SIGBUS);
	char *dst = area_map(page_size);

	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, uffd_register(uffd, dst, page_size, UFFDIO_REGISTER_MODE_MISSING, NULL));
	signal(SIGBUS, on_sigbus);
	if (!sigsetjmp(after_sigbus, 1)) {
		touch_read(dst);
		ASSERT_TRUE(false)
			TH_LOG("no SIGBUS");
	}
	page_fill(self->src, 1);
	EXPECT_STREQ("", move_ok(uffd, dst, self->src, 1, 1, 0));
}

TEST_HARNESS_MAIN
