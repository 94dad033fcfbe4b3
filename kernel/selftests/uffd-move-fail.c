// SPDX-License-Identifier: GPL-2.0-only
/*
 * UFFDIO_MOVE, rows 83 to 85 and 98: poison, no memory, signals, events.
 */
#define _GNU_SOURCE
#include <time.h>
#include "../kselftest_harness.h"
#define UFFD_MOVE_FIXTURE
#include "uffd-move.h"

#define K	5
#define N	16
#define PAGE(area, i)	((area) + (size_t)(i) * page_size)

#ifndef MADV_HWPOISON
#define MADV_HWPOISON	100
#endif

static void no_harm(int sig)
{
	(void)sig;
}

TEST_F(move, row83_hwpoison)
{
	__s64 moved;

	/* The page is lost until the next boot, so somebody has to agree. */
	if (!getenv("UFFD_MOVE_HWPOISON"))
		LACKS(return, "UFFD_MOVE_HWPOISON=1 in the environment (costs a page of RAM)");
	signal(SIGBUS, no_harm);
	pages_fill(self->src, N, 1);
	if (madvise(PAGE(self->src, K), page_size, MADV_HWPOISON))
		LACKS(return, "CONFIG_MEMORY_FAILURE, and root");
	EXPECT_EQ(-EAGAIN, uffd_move(self->uffd, self->dst, self->src, N * page_size, 0, &moved));
	EXPECT_EQ(K * (__s64)page_size, moved);
	EXPECT_EQ(-EFAULT, uffd_move(self->uffd, PAGE(self->dst, K), PAGE(self->src, K),
				     page_size, 0, &moved));
	EXPECT_EQ(-EFAULT, moved);
	EXPECT_STREQ("", pages_are(self->dst, K, 1));
	EXPECT_STREQ("", pages_are(PAGE(self->src, K + 1), N - K - 1, K + 2));
}

#define DEBUG "/sys/kernel/debug/"

/* Lets every allocation of this thread be one that can be told to fail. */
static bool may_fail(void)
{
	return !write_text(DEBUG "fail_page_alloc/ignore-gfp-wait", "N") &&
	       !write_text(DEBUG "fail_page_alloc/ignore-gfp-highmem", "N") &&
	       !write_text(DEBUG "fail_page_alloc/min-order", "0") &&
	       !write_text(DEBUG "fail_page_alloc/verbose", "0") &&
	       !write_text(DEBUG "failslab/ignore-gfp-wait", "N") &&
	       !write_text(DEBUG "failslab/verbose", "0");
}

/* One move, in which the nth allocation fails; *failed says whether there were so many. */
static int move_failing(int uffd, char *dst, char *src, size_t len, int nth, __s64 *moved,
			bool *failed)
{
	static const char path[] = "/proc/thread-self/fail-nth";
	char text[16];
	int ret;

	snprintf(text, sizeof(text), "%d", nth);
	if (write_text(path, text))
		return -ENODEV;
	ret = uffd_move(uffd, dst, src, len, 0, moved);
	*failed = read_long(path) == 0;
	write_text(path, "0");
	return ret;
}

enum { BASE, HUGE, SWAPPED };

static const char *fails_well(int uffd, int kind, int *nth)
{
	size_t align = huge_size ? huge_size : 512 * page_size, len = align, n = len / page_size;
	bool failed = true;

	for (*nth = 1; failed && *nth < 100; ++*nth) {
		char *src = kind == HUGE ? area_map_huge(len) : area_map(len);
		char *dst = area_map(len);
		size_t off = kind == HUGE ? 0 : len / 2;
		__s64 moved;
		int ret;

		if (uffd_register(uffd, dst, len, UFFDIO_REGISTER_MODE_MISSING, NULL))
			return "cannot register";
		if (kind != HUGE)
			n = N;
		pages_fill(src + off, n, 1);
		if (kind == SWAPPED && !page_out(src + off, n))
			return "cannot page out";
		ret = move_failing(uffd, dst + off, src + off, n * page_size, *nth, &moved,
				   &failed);
		if (ret == -ENODEV)
			return "no fail-nth";
		if (!failed)
			return ret ? "failed without a failure" : pages_are(dst + off, n, 1);
		if (ret == -ENOMEM || ret == -EAGAIN || ret == -EBUSY) {
			if (moved < 0)
				moved = 0;
			if (uffd_move(uffd, dst + off + moved, src + off + moved,
				      n * page_size - moved, 0, NULL))
				return "failed again, with memory";
		} else if (ret) {
			return strerror(-ret);
		}
		if (pages_are(dst + off, n, 1)[0] || !pages_none(src + off, n))
			return "pages are not what they were";
		munmap(src, len);
		munmap(dst, len);
	}
	return "it never succeeds";
}

TEST_F_TIMEOUT(move, row84_enomem, 120)
{
	int nth;

	if (access("/proc/thread-self/fail-nth", W_OK) || !may_fail())
		LACKS(return, "CONFIG_FAIL_PAGE_ALLOC, FAILSLAB, and both in debugfs");
	EXPECT_STREQ("", fails_well(self->uffd, BASE, &nth));
	/* A page table and an anon_vma at least. */
	EXPECT_LT(3, nth);
	if (huge_size)
		EXPECT_STREQ("", fails_well(self->uffd, HUGE, &nth));
	if (swap_is_on())
		EXPECT_STREQ("", fails_well(self->uffd, SWAPPED, &nth));
}

/* Kills a child that does nothing but move, and waits for its end. */
static bool dies(struct __test_metadata *_metadata, pid_t pid, int up)
{
	time_t begin;
	int status;
	char c;

	if (read(up, &c, 1) != 1)
		return false;
	usleep(20000);
	kill(pid, SIGKILL);
	begin = time(NULL);
	waitpid(pid, &status, 0);
	TH_LOG("dead after %ld s", (long)(time(NULL) - begin));
	return WIFSIGNALED(status) && time(NULL) - begin < 15;
}

TEST_F_TIMEOUT(move, row85_sigkill_holes, 120)
{
	size_t len = 128UL << 30;
	int up[2], i;
	pid_t pid;

	if (sizeof(void *) < 8)
		LACKS(return, "64 bits");
	NOT_MAINLINE(return, "it makes page tables for all 128 GiB, on both sides");
	ASSERT_EQ(0, pipe(up));
	pid = fork();
	if (!pid) {
		char *src = area_map(len), *dst = area_map(len);
		int uffd = uffd_open(0);

		/* Something here and there, so that not all is skipped at once. */
		for (i = 0; i < 128; i++)
			src[(size_t)i << 30] = 1;
		uffd_register(uffd, dst, len, UFFDIO_REGISTER_MODE_MISSING, NULL);
		if (write(up[1], "g", 1) != 1)
			_exit(1);
		for (;;) {
			uffd_move(uffd, dst, src, len, HOLES, NULL);
			uffd_move(uffd, src, dst, len, HOLES, NULL);
		}
	}
	EXPECT_TRUE(dies(_metadata, pid, up[0]));
}

TEST_F(move, row85_sigkill_pinned)
{
	int up[2], pin;
	pid_t pid;

	NEEDS_THP(return);
	pin = pin_pages(self->src, page_size);
	if (pin < 0)
		LACKS(return, "CONFIG_IO_URING, and RLIMIT_MEMLOCK");
	close(pin);
	ASSERT_EQ(0, pipe(up));
	pid = fork();
	if (!pid) {
		char *src = area_map_huge(huge_size), *dst = area_map_huge(huge_size);
		int uffd = uffd_open(0);

		pages_fill(src, huge_size / page_size, 1);
		pin = pin_pages(src, page_size);
		uffd_register(uffd, dst, huge_size, UFFDIO_REGISTER_MODE_MISSING, NULL);
		if (pin < 0 || write(up[1], "g", 1) != 1)
			_exit(1);
		for (;;)
			uffd_move(uffd, dst, src + page_size, page_size, 0, NULL);
	}
	close(up[1]);
	/* Whether it says EBUSY, as it should, or tries on and on: SIGKILL ends it. */
	EXPECT_TRUE(dies(_metadata, pid, up[0]));
}

struct discard {
	pthread_t thread;
	char *addr;
	int done;
};

static void *discard_main(void *arg)
{
	struct discard *d = arg;

	madvise(d->addr, page_size, MADV_DONTNEED);
	__atomic_store_n(&d->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

TEST_F(move, row98_pending_event)
{
	int uffd = uffd_open(UFFD_FEATURE_EVENT_REMOVE), i;
	char *dst = area_map(AREA_PAGES * page_size);
	struct pollfd p = { .events = POLLIN };
	struct discard d = { .addr = PAGE(dst, 9) };
	struct uffd_msg msg;
	__s64 moved = 0;

	if (uffd == -EPERM || uffd == -EINVAL)
		LACKS(return, "root, for UFFD_FEATURE_EVENT_REMOVE");
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, uffd_register(uffd, dst, AREA_PAGES * page_size,
				   UFFDIO_REGISTER_MODE_MISSING, NULL));
	pages_fill(self->src, 2, 1);
	ASSERT_EQ(0, pthread_create(&d.thread, NULL, discard_main, &d));
	p.fd = uffd;
	ASSERT_EQ(1, poll(&p, 1, WAIT_MS));
	/* Until somebody has read it. */
	EXPECT_EQ(-EAGAIN, uffd_move(uffd, dst, self->src, page_size, 0, &moved));
	EXPECT_EQ(-EAGAIN, moved);
	EXPECT_TRUE(page_is(self->src, 1));
	ASSERT_EQ(sizeof(msg), read(uffd, &msg, sizeof(msg)));
	EXPECT_EQ(UFFD_EVENT_REMOVE, msg.event);
	for (i = 0; i < WAIT_MS && !__atomic_load_n(&d.done, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	pthread_join(d.thread, NULL);
	EXPECT_STREQ("", move_ok(uffd, dst, self->src, 2, 1, 0));
}

TEST_HARNESS_MAIN
