/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the UFFDIO_MOVE tests share.
 *
 * Each test is one row of the contract, named for it, and runs in a process of its own (that is
 * how kselftest_harness works), so nothing is cleaned up that ends with the process.  A test gets
 * two areas of AREA_PAGES base pages, each between two unmapped huge pages: src, and dst, which is
 * registered with uffd for missing pages.
 *
 * Pages are filled by number: page_fill(p, 7) and page_is(p, 7) agree on every word, and no two
 * numbers have a word in common.
 *
 * The programs never call swapon: what needs swap is skipped unless there is some already.
 */
#ifndef UFFD_MOVE_H
#define UFFD_MOVE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

#define AREA_PAGES	64
#define WAIT_MS		20000	/* for what has to happen; emulated machines are slow */
#define STAY_MS		200	/* for what must not happen */
#define HOLES		UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES
#define DONTWAKE	UFFDIO_MOVE_MODE_DONTWAKE

extern size_t page_size, huge_size;	/* huge_size is 0 without THP */

/* uffd-move-util.c.  All of them return 0 or -errno unless they say otherwise. */
int uffd_open(__u64 features);		/* a descriptor */
int uffd_register(int uffd, void *addr, size_t len, __u64 mode, __u64 *ioctls);
int uffd_move(int uffd, void *dst, void *src, size_t len, __u64 mode, __s64 *moved);
int uffd_copy(int uffd, void *dst, void *from, size_t len, __u64 mode);
int uffd_wake(int uffd, void *addr, size_t len);
int uffd_wp(int uffd, void *addr, size_t len, bool on);
/* Does this kernel have features that came after UFFDIO_MOVE?  Then it is not ours. */
bool uffd_is_mainline(void);

/* Private anonymous memory, huge-aligned, with nothing near it; base or huge pages only. */
void *area_map(size_t len);
void *area_map_huge(size_t len);

/* A read, and a write that changes nothing. */
void touch_read(const void *addr);
void touch_write(void *addr);

void page_fill(void *page, unsigned int number);
bool page_is(const void *page, unsigned int number);
bool page_is_zero(const void *page);
void pages_fill(void *area, size_t npages, unsigned int first);
/* "" or what is wrong first. */
const char *pages_are(const void *area, size_t npages, unsigned int first);
/* A whole move that must succeed: result, count, contents, empty source.  "" or what is wrong. */
const char *move_ok(int uffd, void *dst, void *src, size_t npages, unsigned int first,
		    __u64 mode);

/* /proc */
#define PM_SOFT_DIRTY	0x0080000000000000ULL
#define PM_UFFD_WP	0x0200000000000000ULL
#define PM_SWAP		0x4000000000000000ULL
#define PM_PRESENT	0x8000000000000000ULL
#define PM_PFN(e)	((e) & 0x007fffffffffffffULL)
__u64 pagemap_entry(const void *addr);
bool pages_none(const void *area, size_t npages);
#define KPF_WRITEBACK	8
#define KPF_SWAPCACHE	13
#define KPF_KSM		21
#define KPF_THP		22
#define KPF_ZERO_PAGE	24
#define KPF_MLOCKED	33
/* Flags of the page at addr, as in /proc/kpageflags; 0 when it is not there or not allowed. */
__u64 page_flags(const void *addr);
long status_kb(const char *field);	/* of /proc/self/status */
long smaps_kb(const void *addr, const char *field);	/* of the mapping that holds addr */
long vmstat_of(const char *field);
bool swap_is_on(void);
long read_long(const char *path);	/* -1 when there is none */
int write_text(const char *path, const char *text);
/* What the kernel logged since kmsg_mark(): does a line hold text? */
int kmsg_mark(void);
bool kmsg_has(int mark, const char *text);

/* A thread that reads the first word of a page. */
struct reader {
	pthread_t thread;
	const char *addr;
	unsigned int number;
	bool right;		/* it saw what page_fill(addr, number) wrote */
	int done;
};

void reader_start(struct reader *r, const char *addr, unsigned int number);
bool reader_done(struct reader *r, int ms);
/* The address of the next fault that the uffd tells, or NULL after ms. */
void *uffd_fault(int uffd, int ms);

/* A child that does nothing but hold its copy of this memory. */
pid_t child_hold(void);
void child_end(pid_t pid);

/* Pages out what can be; true when all of them are swap entries then. */
bool page_out(void *area, size_t npages);
/* The same, but all pages stay in the swap cache: a pipe holds them.  The pipe's end, or -1. */
int page_out_cached(void *area, size_t npages);

/* Pins pages for as long as the returned descriptor is open (io_uring's fixed buffers). */
int pin_pages(void *area, size_t len);

#ifdef __KSELFTEST_HARNESS_H
/* Leaves the row by statement, and names what it lacks. */
#define LACKS(statement, fmt, ...)						\
	SKIP(statement, "%s: " fmt, _metadata->name, ##__VA_ARGS__)
/* For rows that mainline (6.8 to 7.2) does not hold. */
#define NOT_MAINLINE(statement, fmt, ...)					\
	do {									\
		if (uffd_is_mainline())						\
			LACKS(statement, "mainline does otherwise: " fmt,	\
			      ##__VA_ARGS__);					\
	} while (0)
#define NEEDS_SWAP(statement)							\
	do {									\
		if (!swap_is_on())						\
			LACKS(statement, "CONFIG_SWAP and a swap device that is on"); \
	} while (0)
#define NEEDS_THP(statement)							\
	do {									\
		if (!huge_size)							\
			LACKS(statement, "CONFIG_TRANSPARENT_HUGEPAGE");	\
	} while (0)
#endif

#ifdef UFFD_MOVE_FIXTURE
FIXTURE(move) {
	int uffd;
	char *src, *dst;
};

/* A skip in here does not keep the harness from running the test: hence _exit(). */
FIXTURE_SETUP(move)
{
	int ret = uffd_open(0);

	if (ret < 0 && access("/proc/sys/vm/unprivileged_userfaultfd", F_OK))
		SKIP(_exit(255), "%s: CONFIG_USERFAULTFD", _metadata->name);
	if (ret == -EPERM)
		SKIP(_exit(255), "%s: root, or vm.unprivileged_userfaultfd = 1", _metadata->name);
	ASSERT_LE(0, ret);
	close(ret);
	self->uffd = uffd_open(UFFD_FEATURE_MOVE);
	if (self->uffd == -EINVAL)
		SKIP(_exit(255), "%s: a kernel with UFFD_FEATURE_MOVE", _metadata->name);
	ASSERT_LE(0, self->uffd);
	self->src = area_map(AREA_PAGES * page_size);
	self->dst = area_map(AREA_PAGES * page_size);
	ASSERT_EQ(0, uffd_register(self->uffd, self->dst, AREA_PAGES * page_size,
				   UFFDIO_REGISTER_MODE_MISSING, NULL));
}

FIXTURE_TEARDOWN(move)
{
	close(self->uffd);
}
#endif

#endif
