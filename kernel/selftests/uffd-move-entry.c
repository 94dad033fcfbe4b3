// SPDX-License-Identifier: GPL-2.0-only
/*
 * UFFDIO_MOVE, rows 49 to 66: what becomes of each kind of base page, and of what is counted.
 */
#define _GNU_SOURCE
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include "../kselftest_harness.h"
#define UFFD_MOVE_FIXTURE
#include "uffd-move.h"

#define N	16
#define PAGE(area, i)	((area) + (size_t)(i) * page_size)

TEST_F(move, row49_dirty)
{
	NEEDS_SWAP(return);
	/* In through a read fault: the swap slot still has the same, the page is clean. */
	pages_fill(self->src, 1, 1);
	ASSERT_TRUE(page_out(self->src, 1));
	ASSERT_TRUE(page_is(self->src, 1));
	if (smaps_kb(self->src, "Private_Clean:") != (long)page_size / 1024)
		LACKS(return, "swap slots that outlive a read fault (too little swap?)");
	ASSERT_STREQ("", move_ok(self->uffd, self->dst, self->src, 1, 1, 0));
	EXPECT_EQ((long)page_size / 1024, smaps_kb(self->dst, "Private_Clean:"));
	EXPECT_EQ(0, smaps_kb(self->dst, "Private_Dirty:"));
	/* A clean page is dropped, its slot is read again: it has to be the right one. */
	EXPECT_TRUE(page_out(self->dst, 1));
	EXPECT_TRUE(page_is(self->dst, 1));

	ASSERT_TRUE(page_out(self->dst, 1));
	ASSERT_EQ(0, madvise(self->dst, page_size, MADV_DONTNEED));
	page_fill(self->src, 2);
	ASSERT_STREQ("", move_ok(self->uffd, self->dst, self->src, 1, 2, 0));
	EXPECT_EQ((long)page_size / 1024, smaps_kb(self->dst, "Private_Dirty:"));
	EXPECT_TRUE(page_out(self->dst, 1));
	EXPECT_TRUE(page_is(self->dst, 2));
}

/* Begins to track writes; false when the kernel cannot.  The page at probe is written. */
static bool softdirty_clear(char *probe)
{
	touch_write(probe);
	write_text("/proc/self/clear_refs", "4");
	if (pagemap_entry(probe) & PM_SOFT_DIRTY)
		return false;
	touch_write(probe);
	return pagemap_entry(probe) & PM_SOFT_DIRTY;
}

TEST_F(move, row50_softdirty)
{
	pages_fill(self->src, N, 1);
	if (!softdirty_clear(PAGE(self->src, N)))
		LACKS(return, "CONFIG_MEM_SOFT_DIRTY");
	ASSERT_EQ(0, pagemap_entry(self->src) & PM_SOFT_DIRTY);
	ASSERT_STREQ("", move_ok(self->uffd, self->dst, self->src, N, 1, 0));
	EXPECT_NE(0, pagemap_entry(self->dst) & PM_SOFT_DIRTY);
	EXPECT_NE(0, pagemap_entry(PAGE(self->dst, N - 1)) & PM_SOFT_DIRTY);
}

TEST_F(move, row50_softdirty_swap)
{
	NEEDS_SWAP(return);
	pages_fill(self->src, 1, 1);
	if (!softdirty_clear(PAGE(self->src, N)))
		LACKS(return, "CONFIG_MEM_SOFT_DIRTY");
	ASSERT_TRUE(page_out(self->src, 1));
	ASSERT_EQ(0, pagemap_entry(self->src) & PM_SOFT_DIRTY);
	ASSERT_EQ(0, uffd_move(self->uffd, self->dst, self->src, page_size, 0, NULL));
	ASSERT_NE(0, pagemap_entry(self->dst) & PM_SWAP);
	EXPECT_NE(0, pagemap_entry(self->dst) & PM_SOFT_DIRTY);
}

TEST_F(move, row50_softdirty_thp)
{
	char *src, *dst;

	NEEDS_THP(return);
	src = area_map_huge(huge_size);
	dst = area_map_huge(huge_size);
	ASSERT_EQ(0, uffd_register(self->uffd, dst, huge_size, UFFDIO_REGISTER_MODE_MISSING,
				   NULL));
	pages_fill(src, huge_size / page_size, 1);
	if (smaps_kb(src, "AnonHugePages:") != (long)huge_size / 1024)
		LACKS(return, "a free huge page");
	if (!softdirty_clear(self->src))
		LACKS(return, "CONFIG_MEM_SOFT_DIRTY");
	ASSERT_EQ(0, uffd_move(self->uffd, dst, src, huge_size, 0, NULL));
	EXPECT_EQ((long)huge_size / 1024, smaps_kb(dst, "AnonHugePages:"));
	EXPECT_NE(0, pagemap_entry(dst) & PM_SOFT_DIRTY);
}

TEST_F(move, row51_wp_present)
{
	pages_fill(self->src, 2, 1);
	if (uffd_register(self->uffd, self->src, AREA_PAGES * page_size,
			  UFFDIO_REGISTER_MODE_WP, NULL))
		LACKS(return, "CONFIG_HAVE_ARCH_USERFAULTFD_WP");
	ASSERT_EQ(0, uffd_wp(self->uffd, self->src, 2 * page_size, true));
	ASSERT_NE(0, pagemap_entry(self->src) & PM_UFFD_WP);
	ASSERT_STREQ("", move_ok(self->uffd, self->dst, self->src, 2, 1, 0));
	EXPECT_EQ(0, pagemap_entry(self->dst) & PM_UFFD_WP);
	/* Would wait for ever. */
	pages_fill(self->dst, 2, 11);
	EXPECT_STREQ("", pages_are(self->dst, 2, 11));
}

TEST_F(move, row52_wp_swap)
{
	NEEDS_SWAP(return);
	NOT_MAINLINE(return, "a swap entry keeps its uffd-wp bit");
	pages_fill(self->src, 2, 1);
	if (uffd_register(self->uffd, self->src, AREA_PAGES * page_size,
			  UFFDIO_REGISTER_MODE_WP, NULL))
		LACKS(return, "CONFIG_HAVE_ARCH_USERFAULTFD_WP");
	ASSERT_EQ(0, uffd_wp(self->uffd, self->src, 2 * page_size, true));
	ASSERT_TRUE(page_out(self->src, 2));
	ASSERT_NE(0, pagemap_entry(self->src) & PM_UFFD_WP);
	ASSERT_EQ(0, uffd_move(self->uffd, self->dst, self->src, 2 * page_size, 0, NULL));
	ASSERT_NE(0, pagemap_entry(self->dst) & PM_SWAP);
	EXPECT_EQ(0, pagemap_entry(self->dst) & PM_UFFD_WP);
	EXPECT_STREQ("", pages_are(self->dst, 2, 1));
	pages_fill(self->dst, 2, 11);
	EXPECT_STREQ("", pages_are(self->dst, 2, 11));
}

static long faults(void)
{
	struct rusage u;

	getrusage(RUSAGE_THREAD, &u);
	return u.ru_minflt;
}

TEST_F(move, row53_ro_exclusive)
{
	long before;

	pages_fill(self->src, 2, 1);
	if (uffd_register(self->uffd, self->src, AREA_PAGES * page_size,
			  UFFDIO_REGISTER_MODE_WP, NULL))
		LACKS(return, "CONFIG_HAVE_ARCH_USERFAULTFD_WP");
	/* Protected, and not any more: exclusive, and a write has to fault. */
	ASSERT_EQ(0, uffd_wp(self->uffd, self->src, 2 * page_size, true));
	ASSERT_EQ(0, uffd_wp(self->uffd, self->src, 2 * page_size, false));
	before = faults();
	touch_write(PAGE(self->src, 1));
	if (faults() == before)
		LACKS(return, "a kernel that lifts uffd-wp lazily");
	ASSERT_STREQ("", move_ok(self->uffd, self->dst, self->src, 1, 1, 0));
	before = faults();
	touch_write(self->dst);
	EXPECT_EQ(before, faults());
}

TEST_F(move, row54_zeropage)
{
	long rss;
	int i;

	for (i = 0; i < N; i++)
		touch_read(PAGE(self->src, i));
	rss = status_kb("RssAnon:");
	ASSERT_EQ(0, uffd_move(self->uffd, self->dst, self->src, N * page_size, 0, NULL));
	EXPECT_EQ(rss, status_kb("RssAnon:"));
	EXPECT_TRUE(pages_none(self->src, N));
	EXPECT_FALSE(pages_none(self->dst, 1));
	for (i = 0; i < N; i++)
		EXPECT_TRUE(page_is_zero(PAGE(self->dst, i)));
	pages_fill(self->dst, N, 1);
	EXPECT_STREQ("", pages_are(self->dst, N, 1));
	/* Nobody else's zeros were written to. */
	for (i = 0; i < N; i++)
		EXPECT_TRUE(page_is_zero(PAGE(self->src, i)));
}

TEST_F_TIMEOUT(move, row55_hugezero, 120)
{
	time_t end = time(NULL) + 20;
	char *a, *b;
	int i;

	NEEDS_THP(return);
	if (read_long("/sys/kernel/mm/transparent_hugepage/use_zero_page") != 1)
		LACKS(return, "transparent_hugepage/use_zero_page = 1");
	a = area_map_huge(huge_size);
	b = area_map_huge(huge_size);
	touch_read(a);
	if (!(page_flags(a) & 1ULL << KPF_THP) || !(page_flags(a) & 1ULL << KPF_ZERO_PAGE))
		LACKS(return, "a huge zero page, and root to see it");
	ASSERT_EQ(0, uffd_register(self->uffd, a, huge_size, UFFDIO_REGISTER_MODE_MISSING, NULL));
	ASSERT_EQ(0, uffd_register(self->uffd, b, huge_size, UFFDIO_REGISTER_MODE_MISSING, NULL));
	/* Each but one reference that is lost or gained would show at the end. */
	for (i = 0; i < 50000 && (i < 1000 || time(NULL) < end); i++) {
		ASSERT_EQ(0, uffd_move(self->uffd, b, a, huge_size, 0, NULL));
		ASSERT_EQ(0, uffd_move(self->uffd, a, b, huge_size, 0, NULL));
	}
	TH_LOG("%d moves", 2 * i);
	EXPECT_NE(0, page_flags(a) & 1ULL << KPF_ZERO_PAGE);
	EXPECT_NE(0, page_flags(a) & 1ULL << KPF_THP);
	EXPECT_TRUE(pages_none(b, huge_size / page_size));
	EXPECT_TRUE(page_is_zero(a + huge_size - page_size));
	page_fill(a, 1);
	EXPECT_TRUE(page_is(a, 1));
	EXPECT_TRUE(page_is_zero(a + page_size));
	EXPECT_TRUE(page_is_zero(a + huge_size - page_size));
}

TEST_F(move, row56_lazyfree)
{
	struct uffdio_range range = {
		.start = (uintptr_t)self->dst, .len = AREA_PAGES * page_size,
	};
	int i;

	pages_fill(self->src, N, 1);
	ASSERT_EQ(0, madvise(self->src, N * page_size, MADV_FREE));
	ASSERT_EQ(0, uffd_move(self->uffd, self->dst, self->src, N * page_size, 0, NULL));
	EXPECT_TRUE(pages_none(self->src, N));
	/* Pages may go now, and read as zeros then. */
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_UNREGISTER, &range));
	madvise(self->dst, N * page_size, MADV_PAGEOUT);
	for (i = 0; i < N; i++)
		EXPECT_TRUE(page_is_zero(PAGE(self->dst, i)) || page_is(PAGE(self->dst, i), 1 + i));
}

static long anon_kb(void)
{
	long swap = status_kb("VmSwap:");

	return status_kb("RssAnon:") + (swap > 0 ? swap : 0);
}

TEST_F(move, row57_counters)
{
	static const char *const fields[] = { "Rss:", "Anonymous:", "Swap:" };
	long total, sum[3], pss, i;

	/* Some of each kind: present, zero, hole, swap. */
	pages_fill(self->src, N, 1);
	for (i = 0; i < 3; i++)
		touch_read(PAGE(self->src, N + i));
	pages_fill(PAGE(self->src, N + 8), 4, 100);
	if (swap_is_on())
		page_out(PAGE(self->src, N + 8), 4);
	for (i = 0; i < 3; i++)
		sum[i] = smaps_kb(self->src, fields[i]) + smaps_kb(self->dst, fields[i]);
	pss = smaps_kb(self->src, "Pss:") + smaps_kb(self->dst, "Pss:");
	total = anon_kb();
	ASSERT_EQ(0, uffd_move(self->uffd, self->dst, self->src, AREA_PAGES * page_size, HOLES,
			       NULL));
	EXPECT_EQ(total, anon_kb());
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, smaps_kb(self->src, fields[i]));
		EXPECT_EQ(sum[i], smaps_kb(self->dst, fields[i]));
	}
	EXPECT_EQ(pss, smaps_kb(self->dst, "Pss:"));
}

/* A place for a memory cgroup, of either version: "" when there is none. */
static const char *memcg_root(void)
{
	static char tmp[32];

	strcpy(tmp, "/tmp/uffd-move-XXXXXX");
	if (!access("/sys/fs/cgroup/memory/memory.stat", F_OK))
		return "/sys/fs/cgroup/memory";
	if (!access("/sys/fs/cgroup/cgroup.subtree_control", F_OK) &&
	    !write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory"))
		return "/sys/fs/cgroup";
	if (mkdtemp(tmp) && !unshare(CLONE_NEWNS) &&
	    !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	    !mount("none", tmp, "cgroup2", 0, NULL)) {
		char control[64];

		snprintf(control, sizeof(control), "%s/cgroup.subtree_control", tmp);
		if (!write_text(control, "+memory"))
			return tmp;
	}
	return "";
}

/* Bytes of anonymous memory that a cgroup holds. */
static long memcg_anon(const char *dir)
{
	char path[160], line[128];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/memory.stat", dir);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "anon %ld", &value) == 1 || sscanf(line, "rss %ld", &value) == 1)
			break;
	if (f)
		fclose(f);
	return value;
}

/* Waits for the counters of all CPUs to be summed up: true when at least (or at most) so much. */
static bool memcg_anon_is(const char *dir, long bytes, long slack)
{
	int i;

	for (i = 0; i < WAIT_MS / 100; i++) {
		long now = memcg_anon(dir);

		if (now >= bytes - slack && now <= bytes + slack)
			return true;
		usleep(100000);
	}
	return false;
}

TEST_F_TIMEOUT(move, row58_memcg, 120)
{
	size_t npages = 1024, len = npages * page_size;
	const char *root = memcg_root();
	char dir[96], procs[128];
	long before, slack = 128 * page_size;
	int status, up[2], down[2];
	char c;
	pid_t pid;

	if (!root[0])
		LACKS(return, "CONFIG_MEMCG and a cgroup hierarchy with memory");
	snprintf(dir, sizeof(dir), "%s/uffd-move-%d", root, getpid());
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", dir);
	if (mkdir(dir, 0700))
		LACKS(return, "root, to make a cgroup");
	ASSERT_EQ(0, pipe(up) | pipe(down));
	pid = fork();
	if (!pid) {
		char *src = area_map(len), *dst = area_map(len);
		int uffd = uffd_open(0);

		if (write_text(procs, "0"))
			_exit(1);
		pages_fill(src, npages, 1);
		if (write(up[1], "f", 1) != 1 || read(down[0], &c, 1) != 1)
			_exit(2);
		if (uffd_register(uffd, dst, len, UFFDIO_REGISTER_MODE_MISSING, NULL) ||
		    move_ok(uffd, dst, src, npages, 1, 0)[0])
			_exit(3);
		if (write(up[1], "m", 1) != 1 || read(down[0], &c, 1) != 1)
			_exit(4);
		_exit(0);
	}
	close(up[1]);
	ASSERT_EQ(1, read(up[0], &c, 1));
	EXPECT_TRUE(memcg_anon_is(dir, len, 2 * slack));
	before = memcg_anon(dir);
	ASSERT_EQ(1, write(down[1], "g", 1));
	ASSERT_EQ(1, read(up[0], &c, 1));
	EXPECT_TRUE(memcg_anon_is(dir, before, slack));
	ASSERT_EQ(1, write(down[1], "g", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(memcg_anon_is(dir, 0, slack));
	EXPECT_EQ(0, rmdir(dir));
}

TEST_F(move, row59_fork_shared)
{
	pid_t child;
	__s64 moved;

	pages_fill(self->src, N, 1);
	child = child_hold();
	EXPECT_EQ(-EBUSY, uffd_move(self->uffd, self->dst, self->src, N * page_size, 0, &moved));
	EXPECT_EQ(-EBUSY, moved);
	EXPECT_STREQ("", pages_are(self->src, N, 1));
	EXPECT_TRUE(pages_none(self->dst, N));
	child_end(child);
	/* The child's end does not make them exclusive, a write does. */
	pages_fill(self->src, N, 1);
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, N, 1, 0));
}

TEST_F(move, row60_dontfork)
{
	pid_t child;

	pages_fill(self->src, N, 1);
	ASSERT_EQ(0, madvise(self->src, AREA_PAGES * page_size, MADV_DONTFORK));
	child = child_hold();
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, N, 1, 0));
	child_end(child);
}

static bool ksm_merged(const char *area, size_t npages)
{
	size_t i;

	for (i = 0; i < npages; i++)
		if (!(page_flags(area + i * page_size) & 1ULL << KPF_KSM))
			return false;
	return true;
}

TEST_F_TIMEOUT(move, row61_ksm, 120)
{
	static const char run[] = "/sys/kernel/mm/ksm/run";
	long was = read_long(run);
	bool merged = false;
	char text[24];
	int i;

	if (was < 0 || madvise(self->src, AREA_PAGES * page_size, MADV_MERGEABLE))
		LACKS(return, "CONFIG_KSM");
	for (i = 0; i < N; i++)
		page_fill(PAGE(self->src, i), 1);
	if (write_text(run, "1") || !page_flags(self->src))
		LACKS(return, "root, to let KSM run and to see what it does");
	for (i = 0; i < WAIT_MS / 100 && !merged; i++) {
		usleep(100000);
		merged = ksm_merged(self->src, N);
	}
	snprintf(text, sizeof(text), "%ld", was);
	write_text(run, text);
	ASSERT_TRUE(merged);
	EXPECT_EQ(-EBUSY, uffd_move(self->uffd, self->dst, self->src, N * page_size, 0, NULL));
	EXPECT_TRUE(page_is(self->src, 1));
	EXPECT_TRUE(pages_none(self->dst, N));
	ASSERT_EQ(0, madvise(self->src, AREA_PAGES * page_size, MADV_UNMERGEABLE));
	pages_fill(self->src, N, 1);
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, N, 1, 0));
}

TEST_F(move, row62_pin_fast)
{
	/* mm/gup_test of 6.1 drops its pins before its ioctl returns; race row 105 has a loop. */
	LACKS(return, "a user of pin_user_pages_fast() that keeps its pins");
}

TEST_F(move, row63_pin_slow_longterm)
{
	struct iovec iov = { .iov_base = self->src, .iov_len = N * page_size };
	__s64 moved;
	int pin;

	pages_fill(self->src, N, 1);
	pin = pin_pages(PAGE(self->src, 3), page_size);
	if (pin < 0)
		LACKS(return, "CONFIG_IO_URING, and RLIMIT_MEMLOCK");
	EXPECT_EQ(-EAGAIN, uffd_move(self->uffd, self->dst, self->src, N * page_size, 0, &moved));
	EXPECT_EQ(3 * (__s64)page_size, moved);
	EXPECT_EQ(-EBUSY, uffd_move(self->uffd, PAGE(self->dst, 3), PAGE(self->src, 3), page_size,
				    0, &moved));
	EXPECT_EQ(-EBUSY, moved);
	EXPECT_STREQ("", pages_are(PAGE(self->src, 3), N - 3, 4));
	/* It is put back as it was: writable. */
	page_fill(PAGE(self->src, 3), 4);
	close(pin);
	/* The ring is taken down by a worker, some time later. */
	for (iov.iov_len = 0; iov.iov_len < WAIT_MS; iov.iov_len++) {
		if (uffd_move(self->uffd, PAGE(self->dst, 3), PAGE(self->src, 3), page_size, 0,
			      NULL) != -EBUSY)
			break;
		usleep(1000);
	}
	EXPECT_TRUE(pages_none(PAGE(self->src, 3), 1));
	EXPECT_STREQ("", pages_are(self->dst, 4, 1));
}

TEST_F(move, row65_get_ref)
{
	struct iovec iov = { .iov_base = self->src, .iov_len = page_size };
	char *copy = PAGE(self->src, 1);
	int fds[2];

	/* A plain reference is no pin: the page moves, and stays the pipe's page, too. */
	page_fill(self->src, 1);
	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ((ssize_t)page_size, vmsplice(fds[1], &iov, 1, 0));
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, 1, 1, 0));
	EXPECT_EQ((ssize_t)page_size, read(fds[0], copy, page_size));
	EXPECT_TRUE(page_is(copy, 1));
}

struct direct {
	int fd;
	char *at;
	bool stop;
	long count;
};

static void *direct_reader(void *arg)
{
	struct direct *r = arg;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED))
		if (pread(r->fd, r->at, N * page_size, 0) == (ssize_t)(N * page_size))
			__atomic_add_fetch(&r->count, 1, __ATOMIC_RELAXED);
	return NULL;
}

TEST_F(move, row66_odirect)
{
	struct direct r = { .at = self->src };
	char path[] = "uffd-move-XXXXXX";
	pthread_t thread;
	int i, fd = mkstemp(path);

	/* Reads go wherever the page is when they land: to dst, then.  Nothing may break. */
	ASSERT_LE(0, fd);
	r.fd = open(path, O_RDONLY | O_DIRECT);
	unlink(path);
	if (r.fd < 0)
		LACKS(return, "a working directory whose file system can do O_DIRECT");
	pages_fill(self->src, N, 1);
	ASSERT_EQ((ssize_t)(N * page_size), write(fd, self->src, N * page_size));
	ASSERT_EQ(0, fsync(fd));
	ASSERT_EQ(0, pthread_create(&thread, NULL, direct_reader, &r));
	for (i = 0; i < 100000; i++) {
		int ret = uffd_move(self->uffd, self->dst, self->src, N * page_size, HOLES, NULL);

		ASSERT_TRUE(ret == 0 || ret == -EBUSY || ret == -EAGAIN)
			TH_LOG("%s", strerror(-ret));
		madvise(self->dst, AREA_PAGES * page_size, MADV_DONTNEED);
		if (i >= 100 && __atomic_load_n(&r.count, __ATOMIC_RELAXED) >= 50)
			break;
	}
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_LT(0, r.count);
	pages_fill(self->src, N, 1);
	ASSERT_EQ((ssize_t)(N * page_size), pread(r.fd, self->src, N * page_size, 0));
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, N, 1, 0));
}

TEST_HARNESS_MAIN
