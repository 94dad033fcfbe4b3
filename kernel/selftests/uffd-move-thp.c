// SPDX-License-Identifier: GPL-2.0-only
/*
 * UFFDIO_MOVE, rows 64 and 67 to 75: huge pages, whole and in pieces.
 */
#define _GNU_SOURCE
#include <time.h>
#include "../kselftest_harness.h"
#include "uffd-move.h"

#define PAGE(area, i)	((area) + (size_t)(i) * page_size)
#define HUGE_KB		((long)huge_size / 1024)

/* A source of one huge page with numbered pages, and room for two at dst. */
FIXTURE(thp) {
	int uffd;
	char *src, *dst;
	size_t npages;
};

FIXTURE_SETUP(thp)
{
	self->uffd = uffd_open(UFFD_FEATURE_MOVE);
	if (self->uffd < 0)
		SKIP(_exit(255), "%s: a kernel with UFFD_FEATURE_MOVE, and root", _metadata->name);
	if (!huge_size)
		SKIP(_exit(255), "%s: CONFIG_TRANSPARENT_HUGEPAGE", _metadata->name);
	self->npages = huge_size / page_size;
	self->src = area_map_huge(2 * huge_size);
	self->dst = area_map_huge(2 * huge_size);
	pages_fill(self->src, self->npages, 1);
	if (smaps_kb(self->src, "AnonHugePages:") != HUGE_KB)
		SKIP(_exit(255), "%s: a free huge page (and THP must not be set to never)",
		     _metadata->name);
	/* khugepaged is not to fill what was emptied, or to join what was split. */
	ASSERT_EQ(0, madvise(self->src, 2 * huge_size, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, madvise(self->dst, 2 * huge_size, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, uffd_register(self->uffd, self->dst, 2 * huge_size,
				   UFFDIO_REGISTER_MODE_MISSING, NULL));
}

FIXTURE_TEARDOWN(thp)
{
	close(self->uffd);
}

TEST_F(thp, row64_pin_thp_part)
{
	time_t begin;
	int pin;

	NOT_MAINLINE(return, "it tries to split a pinned huge page until it is killed");
	pin = pin_pages(PAGE(self->src, 9), page_size);
	if (pin < 0)
		LACKS(return, "CONFIG_IO_URING, and RLIMIT_MEMLOCK");
	begin = time(NULL);
	EXPECT_EQ(-EBUSY, uffd_move(self->uffd, self->dst, PAGE(self->src, 3), page_size, 0,
				    NULL));
	/* The whole of it can as little. */
	EXPECT_EQ(-EBUSY, uffd_move(self->uffd, self->dst, self->src, huge_size, 0, NULL));
	EXPECT_GT(begin + 10, time(NULL));
	EXPECT_STREQ("", pages_are(self->src, self->npages, 1));
	EXPECT_TRUE(pages_none(self->dst, self->npages));
	close(pin);
}

/* EBUSY is tried again in a loop by one thread while another maps and unmaps. */
struct again {
	pthread_t thread;
	int uffd;
	char *src, *dst;
	bool stop;
	long count;
};

static void *again_main(void *arg)
{
	struct again *a = arg;

	while (!__atomic_load_n(&a->stop, __ATOMIC_RELAXED)) {
		uffd_move(a->uffd, a->dst, a->src, page_size, 0, NULL);
		a->count++;
	}
	return NULL;
}

TEST_F_TIMEOUT(thp, row64_pin_thp_part_writers, 60)
{
	struct again a = { .uffd = self->uffd, .src = PAGE(self->src, 3), .dst = self->dst };
	int pin, i;

	NOT_MAINLINE(return, "it tries to split a pinned huge page until it is killed");
	pin = pin_pages(PAGE(self->src, 9), page_size);
	if (pin < 0)
		LACKS(return, "CONFIG_IO_URING, and RLIMIT_MEMLOCK");
	ASSERT_EQ(0, pthread_create(&a.thread, NULL, again_main, &a));
	for (i = 0; i < 200; i++) {
		void *p = mmap(NULL, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		ASSERT_NE(MAP_FAILED, p);
		ASSERT_EQ(0, munmap(p, page_size));
	}
	__atomic_store_n(&a.stop, true, __ATOMIC_RELAXED);
	pthread_join(a.thread, NULL);
	EXPECT_LT(0, a.count);
	EXPECT_STREQ("", pages_are(self->src, self->npages, 1));
	close(pin);
}

TEST_F(thp, row67_pmd)
{
	__u64 pfn = PM_PFN(pagemap_entry(self->src));

	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, self->npages, 1, 0));
	EXPECT_EQ(HUGE_KB, smaps_kb(self->dst, "AnonHugePages:"));
	EXPECT_EQ(0, smaps_kb(self->src, "Rss:"));
	EXPECT_EQ(pfn, PM_PFN(pagemap_entry(self->dst)));
	/* Writable, and still huge. */
	pages_fill(self->dst, self->npages, 1001);
	EXPECT_STREQ("", pages_are(self->dst, self->npages, 1001));
	EXPECT_EQ(HUGE_KB, smaps_kb(self->dst, "AnonHugePages:"));
}

TEST_F(thp, row67_pmd_and_rest)
{
	size_t n = self->npages + 7;

	/* One whole one, and a piece of the next, which is of base pages. */
	pages_fill(self->src, 2 * self->npages, 1);
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, n, 1, 0));
	EXPECT_EQ(HUGE_KB, smaps_kb(self->dst, "AnonHugePages:"));
	EXPECT_STREQ("", pages_are(PAGE(self->src, n), 2 * self->npages - n, 1 + n));
}

TEST_F(thp, row67_pmd_shared)
{
	pid_t child = child_hold();

	EXPECT_EQ(-EBUSY, uffd_move(self->uffd, self->dst, self->src, huge_size, 0, NULL));
	EXPECT_STREQ("", pages_are(self->src, self->npages, 1));
	EXPECT_TRUE(pages_none(self->dst, self->npages));
	child_end(child);
}

TEST_F(thp, row67_pmd_pinned)
{
	int pin;

	NOT_MAINLINE(return, "it may try without end");
	pin = pin_pages(self->src, huge_size);
	if (pin < 0)
		LACKS(return, "CONFIG_IO_URING, and RLIMIT_MEMLOCK of %zu bytes", huge_size);
	EXPECT_EQ(-EBUSY, uffd_move(self->uffd, self->dst, self->src, huge_size, 0, NULL));
	EXPECT_STREQ("", pages_are(self->src, self->npages, 1));
	/* Put back as it was. */
	EXPECT_EQ(HUGE_KB, smaps_kb(self->src, "AnonHugePages:"));
	pages_fill(self->src, self->npages, 1);
	EXPECT_TRUE(pages_none(self->dst, self->npages));
	close(pin);
}

TEST_F(thp, row68_pmd_dst_table)
{
	/* A page that was there once leaves a page table. */
	page_fill(PAGE(self->src, self->npages), 1);
	ASSERT_EQ(0, uffd_copy(self->uffd, self->dst, PAGE(self->src, self->npages), page_size,
			       0));
	ASSERT_EQ(0, madvise(self->dst, page_size, MADV_DONTNEED));
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, self->npages, 1, 0));
	EXPECT_EQ(0, smaps_kb(self->dst, "AnonHugePages:"));
}

TEST_F(thp, row68_pmd_dst_page)
{
	__s64 moved;

	page_fill(PAGE(self->src, self->npages), 99);
	ASSERT_EQ(0, uffd_copy(self->uffd, PAGE(self->dst, 5), PAGE(self->src, self->npages),
			       page_size, 0));
	EXPECT_EQ(-EAGAIN, uffd_move(self->uffd, self->dst, self->src, huge_size, 0, &moved));
	EXPECT_EQ(5 * (__s64)page_size, moved);
	EXPECT_STREQ("", pages_are(self->dst, 5, 1));
	EXPECT_TRUE(page_is(PAGE(self->dst, 5), 99));
	EXPECT_STREQ("", pages_are(PAGE(self->src, 5), self->npages - 5, 6));
}

TEST_F(thp, row68_pmd_dst_huge)
{
	char *from = area_map_huge(huge_size);

	/* A huge page stands there already. */
	pages_fill(from, self->npages, 1001);
	ASSERT_EQ(0, uffd_move(self->uffd, self->dst, from, huge_size, 0, NULL));
	EXPECT_EQ(-EEXIST, uffd_move(self->uffd, self->dst, self->src, huge_size, 0, NULL));
	EXPECT_EQ(-EEXIST, uffd_move(self->uffd, PAGE(self->dst, 7), self->src, page_size, 0,
				     NULL));
	EXPECT_STREQ("", pages_are(self->dst, self->npages, 1001));
	EXPECT_STREQ("", pages_are(self->src, self->npages, 1));
}

TEST_F(thp, row69_pmd_misaligned_src)
{
	size_t n = self->npages - 3;

	EXPECT_STREQ("", move_ok(self->uffd, self->dst, PAGE(self->src, 3), n, 4, 0));
	EXPECT_STREQ("", pages_are(self->src, 3, 1));
	EXPECT_EQ(0, smaps_kb(self->dst, "AnonHugePages:"));
}

TEST_F(thp, row70_pmd_misaligned_dst)
{
	EXPECT_STREQ("", move_ok(self->uffd, PAGE(self->dst, 3), self->src, self->npages, 1, 0));
	EXPECT_TRUE(pages_none(self->dst, 3));
}

TEST_F(thp, row71_pmd_short_len)
{
	size_t n = self->npages - 1;

	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, n, 1, 0));
	EXPECT_TRUE(page_is(PAGE(self->src, n), self->npages));
	EXPECT_TRUE(pages_none(PAGE(self->dst, n), 1));
}

TEST_F(thp, row71_pmd_one_page)
{
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, 1, 1, 0));
	EXPECT_STREQ("", pages_are(PAGE(self->src, 1), self->npages - 1, 2));
}

TEST_F(thp, row72_pte_mapped_thp)
{
	size_t k = 7;
	__s64 moved;

	ASSERT_EQ(0, madvise(PAGE(self->src, k), page_size, MADV_DONTNEED));
	ASSERT_EQ(0, uffd_move(self->uffd, self->dst, self->src, huge_size, HOLES, &moved));
	EXPECT_EQ((__s64)huge_size, moved);
	EXPECT_STREQ("", pages_are(self->dst, k, 1));
	EXPECT_TRUE(pages_none(PAGE(self->dst, k), 1));
	EXPECT_STREQ("", pages_are(PAGE(self->dst, k + 1), self->npages - k - 1, k + 2));
	EXPECT_TRUE(pages_none(self->src, self->npages));
}

/* A child gets some pages of the huge page only, so that those are not exclusive any more. */
static pid_t share_only(char *src, size_t npages, size_t from, size_t to)
{
	if (from)
		madvise(src, from * page_size, MADV_DONTFORK);
	if (to < npages)
		madvise(PAGE(src, to), (npages - to) * page_size, MADV_DONTFORK);
	return child_hold();
}

TEST_F(thp, row73_thp_head_shared)
{
	pid_t child = share_only(self->src, self->npages, 0, 1);
	int ret = uffd_move(self->uffd, self->dst, PAGE(self->src, 5), page_size, 0, NULL);

	EXPECT_TRUE(ret == 0 || ret == -EBUSY)
		TH_LOG("%s", strerror(-ret));
	EXPECT_TRUE(page_is(ret ? PAGE(self->src, 5) : self->dst, 6));
	EXPECT_EQ(-EBUSY, uffd_move(self->uffd, PAGE(self->dst, 1), self->src, page_size, 0,
				    NULL));
	EXPECT_STREQ("", pages_are(self->src, 5, 1));
	child_end(child);
}

TEST_F(thp, row73_thp_tail_shared)
{
	pid_t child = share_only(self->src, self->npages, 5, 6);

	/* The child would see what is written at dst. */
	EXPECT_EQ(-EBUSY, uffd_move(self->uffd, self->dst, PAGE(self->src, 5), page_size, 0,
				    NULL));
	EXPECT_STREQ("", pages_are(self->src, self->npages, 1));
	EXPECT_TRUE(pages_none(self->dst, 1));
	child_end(child);
}

TEST_F(thp, row74_dst_nohuge)
{
	long huge;

	/* dst is that in all tests here, src not in this one. */
	ASSERT_EQ(0, madvise(self->src, 2 * huge_size, MADV_HUGEPAGE));
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, self->npages, 1, 0));
	huge = smaps_kb(self->dst, "AnonHugePages:");
	EXPECT_TRUE(huge == 0 || huge == HUGE_KB);
}

TEST_F_TIMEOUT(thp, row75_deposit, 180)
{
	time_t end = time(NULL) + 40;
	int mark = kmsg_mark(), status, i;
	pid_t pid;

	if (mark < 0)
		LACKS(return, "/dev/kmsg, and root");
	/* The log complains at the end of a process that lost page tables, or has too many. */
	pid = fork();
	if (!pid) {
		char *a = area_map_huge(huge_size), *b;
		int uffd = uffd_open(0);

		/* Far away: deposited tables are kept by the page of PMDs that they belong to. */
		mmap(NULL, page_size / sizeof(void *) * huge_size, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		b = area_map_huge(huge_size);
		pages_fill(a, self->npages, 1);
		if (uffd_register(uffd, a, huge_size, UFFDIO_REGISTER_MODE_MISSING, NULL) ||
		    uffd_register(uffd, b, huge_size, UFFDIO_REGISTER_MODE_MISSING, NULL))
			_exit(1);
		for (i = 0; i < 50000 && (i < 500 || time(NULL) < end); i++)
			if (uffd_move(uffd, b, a, huge_size, 0, NULL) ||
			    uffd_move(uffd, a, b, huge_size, 0, NULL))
				_exit(2);
		if (smaps_kb(a, "AnonHugePages:") != HUGE_KB || pages_are(a, self->npages, 1)[0])
			_exit(3);
		/* The deposited table has come along: it is used when the page is split. */
		if (uffd_move(uffd, b, a, huge_size, 0, NULL) ||
		    uffd_move(uffd, a, b, page_size, 0, NULL))
			_exit(4);
		_exit(pages_are(PAGE(b, 1), self->npages - 1, 2)[0] ? 5 : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_FALSE(kmsg_has(mark, "pgtables_bytes"));
	EXPECT_FALSE(kmsg_has(mark, "Bad "));
}

TEST_HARNESS_MAIN
