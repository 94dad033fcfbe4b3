// SPDX-License-Identifier: GPL-2.0-only
/*
 * UFFDIO_MOVE, rows 76 to 82: swap entries, and pages that are in the swap cache meanwhile.
 *
 * That the reverse map is right is shown by reclaim: a page that it cannot find through its
 * anon_vma and index cannot be paged out again.
 */
#define _GNU_SOURCE
#include <sys/resource.h>
#include "../kselftest_harness.h"
#define UFFD_MOVE_FIXTURE
#include "uffd-move.h"

#define N	16
#define PAGE(area, i)	((area) + (size_t)(i) * page_size)

static long major_faults(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_majflt;
}

/* mincore() says of a swap entry whether its page is in the swap cache. */
static bool all_cached(char *area, size_t npages)
{
	unsigned char there[AREA_PAGES];
	size_t i;

	if (mincore(area, npages * page_size, there))
		return false;
	for (i = 0; i < npages; i++)
		if (!(there[i] & 1) || !(pagemap_entry(PAGE(area, i)) & PM_SWAP))
			return false;
	return true;
}

static bool all_swap(char *area, size_t npages)
{
	size_t i;

	for (i = 0; i < npages; i++)
		if (!(pagemap_entry(PAGE(area, i)) & PM_SWAP))
			return false;
	return true;
}

/* Entries move as entries. */
static const char *move_entries(int uffd, char *dst, char *src, size_t npages)
{
	__s64 moved;
	int ret = uffd_move(uffd, dst, src, npages * page_size, 0, &moved);

	if (ret || moved != (__s64)(npages * page_size))
		return "UFFDIO_MOVE failed";
	if (!pages_none(src, npages))
		return "a source entry is still there";
	return all_swap(dst, npages) ? "" : "dst has something else than swap entries";
}

TEST_F(move, row76_swap_plain)
{
	long before;

	NEEDS_SWAP(return);
	pages_fill(self->src, N, 1);
	ASSERT_TRUE(page_out(self->src, N));
	before = major_faults();
	EXPECT_STREQ("", move_entries(self->uffd, self->dst, self->src, N));
	EXPECT_EQ(before, major_faults());
	EXPECT_STREQ("", pages_are(self->dst, N, 1));
	pages_fill(self->dst, N, 11);
	EXPECT_TRUE(page_out(self->dst, N));
	EXPECT_STREQ("", pages_are(self->dst, N, 11));
}

TEST_F(move, row76_swap_out_after)
{
	/* The present page's reverse map: reclaim finds the page where it is now. */
	NEEDS_SWAP(return);
	pages_fill(self->src, N, 1);
	ASSERT_STREQ("", move_ok(self->uffd, self->dst, self->src, N, 1, 0));
	munmap(self->src, AREA_PAGES * page_size);
	EXPECT_TRUE(page_out(self->dst, N));
	EXPECT_STREQ("", pages_are(self->dst, N, 1));
}

TEST_F(move, row63_pin_then_swap_out)
{
	int pin;

	/* A move that was refused for a pin leaves the reverse map as it was, too. */
	NEEDS_SWAP(return);
	pages_fill(self->src, N, 1);
	pin = pin_pages(self->src, N * page_size);
	if (pin < 0)
		LACKS(return, "CONFIG_IO_URING, and RLIMIT_MEMLOCK");
	EXPECT_EQ(-EBUSY, uffd_move(self->uffd, self->dst, self->src, N * page_size, 0, NULL));
	close(pin);
	munmap(self->dst, AREA_PAGES * page_size);
	EXPECT_TRUE(page_out(self->src, N));
	EXPECT_STREQ("", pages_are(self->src, N, 1));
}

TEST_F(move, row77_swap_cached_readahead)
{
	NEEDS_SWAP(return);
	pages_fill(self->src, N, 1);
	ASSERT_TRUE(page_out(self->src, N));
	madvise(self->src, N * page_size, MADV_WILLNEED);
	if (!all_cached(self->src, N))
		TH_LOG("not all pages were read ahead");
	EXPECT_STREQ("", move_entries(self->uffd, self->dst, self->src, N));
	EXPECT_STREQ("", pages_are(self->dst, N, 1));
	EXPECT_TRUE(page_out(self->dst, N));
	EXPECT_STREQ("", pages_are(self->dst, N, 1));
}

TEST_F(move, row77_swap_cached)
{
	int held;

	NEEDS_SWAP(return);
	pages_fill(self->src, N, 1);
	held = page_out_cached(self->src, N);
	ASSERT_LE(0, held);
	ASSERT_TRUE(all_cached(self->src, N));
	EXPECT_STREQ("", move_entries(self->uffd, self->dst, self->src, N));
	EXPECT_STREQ("", pages_are(self->dst, N, 1));
	/* The very page that the pipe has: KSM makes a copy of one whose reverse map looks odd. */
	pages_fill(self->dst, N, 21);
	EXPECT_EQ((ssize_t)page_size, read(held, PAGE(self->src, N), page_size));
	EXPECT_TRUE(page_is(PAGE(self->src, N), 21));
	/* Back in the page table; with the reference gone they can be paged out. */
	close(held);
	EXPECT_TRUE(page_out(self->dst, N));
	EXPECT_STREQ("", pages_are(self->dst, N, 21));
}

static bool only_zram(void)
{
	bool only = true;
	char line[256];
	FILE *f = fopen("/proc/swaps", "r");

	if (f && fgets(line, sizeof(line), f))
		while (fgets(line, sizeof(line), f))
			if (strncmp(line, "/dev/zram", 9))
				only = false;
	if (f)
		fclose(f);
	return only;
}

TEST_F_TIMEOUT(move, row78_swap_writeback, 120)
{
	int i, ret;
	__s64 moved;

	NEEDS_SWAP(return);
	if (only_zram())
		LACKS(return, "a swap device that does not write at once, as zram does");
	for (i = 0; i < 200; i++) {
		pages_fill(self->src, AREA_PAGES, 1 + i);
		madvise(self->src, AREA_PAGES * page_size, MADV_PAGEOUT);
		/* Some are on their way out. */
		ret = uffd_move(self->uffd, self->dst, self->src, AREA_PAGES * page_size, 0,
				&moved);
		ASSERT_EQ(0, ret)
			TH_LOG("round %d: %s, move = %lld", i, strerror(-ret), (long long)moved);
		ASSERT_STREQ("", pages_are(self->dst, AREA_PAGES, 1 + i));
		ASSERT_EQ(0, madvise(self->dst, AREA_PAGES * page_size, MADV_DONTNEED));
	}
}

TEST_F(move, row79_swap_then_unmap_src)
{
	char *other[64];
	int held, i;

	NEEDS_SWAP(return);
	pages_fill(self->src, N, 1);
	held = page_out_cached(self->src, N);
	ASSERT_LE(0, held);
	ASSERT_TRUE(all_cached(self->src, N));
	EXPECT_STREQ("", move_entries(self->uffd, self->dst, self->src, N));
	/* The source's anon_vma goes, and others take its place. */
	munmap(self->src, AREA_PAGES * page_size);
	for (i = 0; i < 64; i++) {
		other[i] = area_map(page_size);
		*other[i] = 1;
	}
	EXPECT_STREQ("", pages_are(self->dst, N, 1));
	close(held);
	pages_fill(self->dst, N, 31);
	EXPECT_TRUE(page_out(self->dst, N));
	EXPECT_STREQ("", pages_are(self->dst, N, 31));
}

TEST_F(move, row79_swap_readahead_then_unmap_src)
{
	NEEDS_SWAP(return);
	pages_fill(self->src, N, 1);
	ASSERT_TRUE(page_out(self->src, N));
	madvise(self->src, N * page_size, MADV_WILLNEED);
	EXPECT_STREQ("", move_entries(self->uffd, self->dst, self->src, N));
	munmap(self->src, AREA_PAGES * page_size);
	EXPECT_STREQ("", pages_are(self->dst, N, 1));
	EXPECT_TRUE(page_out(self->dst, N));
	EXPECT_STREQ("", pages_are(self->dst, N, 1));
}

TEST_F(move, row80_swap_then_fork)
{
	int held, status, up[2];
	char c = 0;
	pid_t pid;

	NEEDS_SWAP(return);
	pages_fill(self->src, N, 1);
	held = page_out_cached(self->src, N);
	ASSERT_LE(0, held);
	EXPECT_STREQ("", move_entries(self->uffd, self->dst, self->src, N));
	ASSERT_EQ(0, pipe(up));
	pid = fork();
	if (!pid) {
		int bad = pages_are(self->dst, N, 1)[0] ? 1 : 0;

		/* What the parent writes now is none of the child's. */
		if (read(up[0], &c, 1) != 1)
			_exit(2);
		bad |= pages_are(self->dst, N, 1)[0] ? 4 : 0;
		pages_fill(self->dst, N, 201);
		_exit(bad | (pages_are(self->dst, N, 201)[0] ? 8 : 0));
	}
	EXPECT_STREQ("", pages_are(self->dst, N / 2, 1));
	pages_fill(self->dst, N, 101);
	ASSERT_EQ(1, write(up[1], &c, 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_STREQ("", pages_are(self->dst, N, 101));
	close(held);
}

TEST_F(move, row81_swap_shared)
{
	pid_t child;

	NEEDS_SWAP(return);
	pages_fill(self->src, N, 1);
	ASSERT_TRUE(page_out(self->src, N));
	child = child_hold();
	EXPECT_EQ(-EBUSY, uffd_move(self->uffd, self->dst, self->src, N * page_size, 0, NULL));
	EXPECT_TRUE(all_swap(self->src, N));
	EXPECT_TRUE(pages_none(self->dst, N));
	EXPECT_STREQ("", pages_are(self->src, N, 1));
	child_end(child);
	pages_fill(self->src, N, 1);
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, N, 1, 0));
}

TEST_F(move, row81_swap_shared_cached)
{
	pid_t child;
	int held;

	NEEDS_SWAP(return);
	pages_fill(self->src, N, 1);
	held = page_out_cached(self->src, N);
	ASSERT_LE(0, held);
	child = child_hold();
	EXPECT_EQ(-EBUSY, uffd_move(self->uffd, self->dst, self->src, N * page_size, 0, NULL));
	EXPECT_STREQ("", pages_are(self->src, N, 1));
	child_end(child);
	close(held);
}

TEST_F_TIMEOUT(move, row82_swap_thp, 120)
{
	size_t n = huge_size / (page_size ? page_size : 1), done = 0;
	char *src, *dst;
	int tries, ret;
	__s64 moved;

	NEEDS_SWAP(return);
	NEEDS_THP(return);
	src = area_map_huge(huge_size);
	dst = area_map_huge(huge_size);
	ASSERT_EQ(0, uffd_register(self->uffd, dst, huge_size, UFFDIO_REGISTER_MODE_MISSING,
				   NULL));
	pages_fill(src, n, 1);
	if (smaps_kb(src, "AnonHugePages:") != (long)huge_size / 1024)
		LACKS(return, "a free huge page");
	/* What is emptied is not to be filled by khugepaged. */
	madvise(src, huge_size, MADV_NOHUGEPAGE);
	madvise(src, huge_size, MADV_PAGEOUT);
	/* A huge page in the swap cache does not move, but no call may wait for its end. */
	for (tries = 0; done < huge_size && tries < WAIT_MS; tries++) {
		ret = uffd_move(self->uffd, dst + done, src + done, huge_size - done, 0, &moved);
		ASSERT_TRUE(ret == 0 || ret == -EAGAIN || ret == -EBUSY)
			TH_LOG("%s", strerror(-ret));
		if (moved > 0)
			done += moved;
		if (ret == -EBUSY) {
			/* As the manual says: a touch brings it in. */
			touch_read(src + done);
			usleep(1000);
		}
	}
	EXPECT_EQ(huge_size, done);
	EXPECT_STREQ("", pages_are(dst, n, 1));
	EXPECT_TRUE(pages_none(src, n));
}

TEST_HARNESS_MAIN
