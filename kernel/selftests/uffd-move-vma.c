// SPDX-License-Identifier: GPL-2.0-only
/*
 * UFFDIO_MOVE, rows 17 to 32: which mappings may take part.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <linux/io_uring.h>
#include "../kselftest_harness.h"
#define UFFD_MOVE_FIXTURE
#include "uffd-move.h"

#define PROT_RW	(PROT_READ | PROT_WRITE)

/* Refused as a whole: the error, the same in the field, the source as it was. */
static bool refused(int uffd, void *dst, void *src, size_t len, int err)
{
	__s64 moved = 1;
	int ret = uffd_move(uffd, dst, src, len, 0, &moved);

	if (ret != err || moved != err)
		printf("# got %d, move = %lld, not %d\n", ret, (long long)moved, err);
	return ret == err && moved == err;
}

TEST_F(move, row17_src_unmapped)
{
	munmap(self->src, page_size);
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, page_size, -ENOENT));
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, 2 * page_size, -ENOENT));
	EXPECT_EQ(-ENOENT, uffd_move(self->uffd, self->dst, self->src, page_size, HOLES, NULL));
}

TEST_F(move, row18_dst_unmapped)
{
	pages_fill(self->src, 2, 1);
	munmap(self->dst, page_size);
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, page_size, -ENOENT));
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, 2 * page_size, -ENOENT));
	EXPECT_STREQ("", pages_are(self->src, 2, 1));
}

TEST_F(move, row19_src_span)
{
	size_t off = (AREA_PAGES - 2) * page_size;

	pages_fill(self->src, AREA_PAGES, 1);
	/* Into nothing, and into another mapping. */
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src + off, 3 * page_size, -EINVAL));
	ASSERT_EQ(0, mprotect(self->src + page_size, page_size, PROT_READ));
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, 2 * page_size, -EINVAL));
	EXPECT_TRUE(pages_none(self->dst, 3));
	EXPECT_STREQ("", pages_are(self->src, AREA_PAGES, 1));
}

TEST_F(move, row20_dst_span)
{
	size_t off = (AREA_PAGES - 2) * page_size;

	pages_fill(self->src, AREA_PAGES, 1);
	EXPECT_TRUE(refused(self->uffd, self->dst + off, self->src, 3 * page_size, -EINVAL));
	ASSERT_EQ(0, mprotect(self->dst + page_size, page_size, PROT_READ));
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, 2 * page_size, -EINVAL));
	EXPECT_TRUE(pages_none(self->dst, 2));
	EXPECT_STREQ("", pages_are(self->src, AREA_PAGES, 1));
}

TEST_F(move, row21_dst_unreg)
{
	char *dst = area_map(page_size);

	page_fill(self->src, 1);
	EXPECT_TRUE(refused(self->uffd, dst, self->src, page_size, -EINVAL));
	EXPECT_TRUE(page_is(self->src, 1));
}

TEST_F(move, row22_dst_otherctx)
{
	int other = uffd_open(0);

	ASSERT_LE(0, other);
	page_fill(self->src, 1);
	EXPECT_TRUE(refused(other, self->dst, self->src, page_size, -EINVAL));
	EXPECT_TRUE(page_is(self->src, 1));
}

TEST_F(move, row23_src_otherctx)
{
	int other = uffd_open(0);

	ASSERT_LE(0, other);
	pages_fill(self->src, 2, 1);
	ASSERT_EQ(0, uffd_register(other, self->src, AREA_PAGES * page_size,
				   UFFDIO_REGISTER_MODE_MISSING, NULL));
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, 2, 1, 0));
}

TEST_F(move, row24_dst_wp_only)
{
	char *dst = area_map(page_size);

	if (uffd_register(self->uffd, dst, page_size, UFFDIO_REGISTER_MODE_WP, NULL))
		LACKS(return, "CONFIG_HAVE_ARCH_USERFAULTFD_WP");
	page_fill(self->src, 1);
	EXPECT_STREQ("", move_ok(self->uffd, dst, self->src, 1, 1, 0));
	EXPECT_EQ(0, pagemap_entry(dst) & PM_UFFD_WP);
	/* Would wait for the monitor that nobody is. */
	page_fill(dst, 2);
	EXPECT_TRUE(page_is(dst, 2));
}

/* Memory of another kind, as the source and as the destination. */
static bool refused_both(int uffd, char *other, char *src, char *dst, size_t len)
{
	bool ok;

	if (other == MAP_FAILED)
		return false;
	/* Some kinds cannot be registered: then that is what is refused. */
	uffd_register(uffd, other, len, UFFDIO_REGISTER_MODE_MISSING, NULL);
	page_fill(src, 1);
	ok = refused(uffd, other, src, len, -EINVAL) && page_is(src, 1);
	return refused(uffd, dst, other, len, -EINVAL) && ok && pages_none(dst, 1);
}

TEST_F(move, row25_shared_anon)
{
	char *other = mmap(NULL, page_size, PROT_RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, other);
	page_fill(other, 9);
	EXPECT_TRUE(refused_both(self->uffd, other, self->src, self->dst, page_size));
	EXPECT_TRUE(page_is(other, 9));
}

TEST_F(move, row25_private_file)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	char *other = mmap(NULL, page_size, PROT_RW, MAP_PRIVATE, fd, 0);

	ASSERT_NE(MAP_FAILED, other);
	/* An anonymous page, and exclusive at that, but not in an anonymous mapping. */
	page_fill(other, 9);
	EXPECT_TRUE(refused_both(self->uffd, other, self->src, self->dst, page_size));
	EXPECT_TRUE(page_is(other, 9));
}

TEST_F(move, row25_memfd)
{
	int fd = memfd_create("row25", 0), flags;

	if (fd < 0)
		LACKS(return, "CONFIG_MEMFD_CREATE");
	ASSERT_EQ(0, ftruncate(fd, page_size));
	for (flags = MAP_SHARED; flags <= MAP_PRIVATE; flags++) {
		char *other = mmap(NULL, page_size, PROT_RW, flags, fd, 0);

		ASSERT_NE(MAP_FAILED, other);
		page_fill(other, 9);
		EXPECT_TRUE(refused_both(self->uffd, other, self->src, self->dst, page_size));
		EXPECT_TRUE(page_is(other, 9));
	}
}

TEST_F(move, row25_hugetlb)
{
	size_t len = 2UL << 20;
	char *other = mmap(NULL, len, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
			   MAP_NORESERVE, -1, 0);
	char *src = area_map(len), *dst = area_map(len);

	if (other == MAP_FAILED)
		LACKS(return, "CONFIG_HUGETLBFS with pages of 2 MiB");
	ASSERT_EQ(0, uffd_register(self->uffd, dst, len, UFFDIO_REGISTER_MODE_MISSING, NULL));
	EXPECT_TRUE(refused_both(self->uffd, other, src, dst, len));
}

TEST_F(move, row26_readonly)
{
	size_t len = AREA_PAGES * page_size;

	page_fill(self->src, 1);
	ASSERT_EQ(0, mprotect(self->src, len, PROT_READ));
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, page_size, -EINVAL));
	ASSERT_EQ(0, mprotect(self->dst, len, PROT_READ));
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, page_size, -EINVAL));
	ASSERT_EQ(0, mprotect(self->src, len, PROT_NONE));
	ASSERT_EQ(0, mprotect(self->dst, len, PROT_NONE));
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, page_size, -EINVAL));
	ASSERT_EQ(0, mprotect(self->src, len, PROT_RW));
	ASSERT_EQ(0, mprotect(self->dst, len, PROT_RW));
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, 1, 1, 0));
}

TEST_F(move, row27_prot_diff)
{
	size_t len = AREA_PAGES * page_size;

	page_fill(self->src, 1);
	if (mprotect(self->src, len, PROT_RW | PROT_EXEC))
		LACKS(return, "a policy that allows PROT_WRITE with PROT_EXEC");
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, page_size, -EINVAL));
	ASSERT_EQ(0, mprotect(self->dst, len, PROT_RW | PROT_EXEC));
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, 1, 1, 0));
}

TEST_F(move, row28_pkey_diff)
{
	size_t len = AREA_PAGES * page_size;
	int key = syscall(SYS_pkey_alloc, 0, 0);

	if (key < 0)
		LACKS(return, "a processor with protection keys");
	page_fill(self->src, 1);
	ASSERT_EQ(0, syscall(SYS_pkey_mprotect, self->src, len, PROT_RW, key));
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, page_size, -EINVAL));
	ASSERT_EQ(0, syscall(SYS_pkey_mprotect, self->dst, len, PROT_RW, key));
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, 1, 1, 0));
}

TEST_F(move, row29_mlock_diff)
{
	page_fill(self->src, 1);
	if (mlock(self->src, AREA_PAGES * page_size))
		LACKS(return, "RLIMIT_MEMLOCK of %zu bytes", 2 * AREA_PAGES * page_size);
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, page_size, -EINVAL));
	EXPECT_TRUE(page_is(self->src, 1));
	munlock(self->src, AREA_PAGES * page_size);
	/* On fault: what is locked already is not brought in. */
	ASSERT_EQ(0, syscall(SYS_mlock2, self->dst, AREA_PAGES * page_size, MLOCK_ONFAULT));
	EXPECT_TRUE(refused(self->uffd, self->dst, self->src, page_size, -EINVAL));
}

TEST_F(move, row29_mlock_both)
{
	size_t len = AREA_PAGES * page_size;
	long locked, pages_locked;
	bool mlocked;

	pages_fill(self->src, AREA_PAGES, 1);
	if (mlock(self->src, len) || syscall(SYS_mlock2, self->dst, len, MLOCK_ONFAULT))
		LACKS(return, "RLIMIT_MEMLOCK of %zu bytes", 2 * len);
	locked = status_kb("VmLck:");
	pages_locked = smaps_kb(self->src, "Locked:") + smaps_kb(self->dst, "Locked:");
	mlocked = page_flags(self->src) & 1ULL << KPF_MLOCKED;
	EXPECT_EQ((long)len / 1024, pages_locked);
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, AREA_PAGES, 1, 0));
	EXPECT_EQ(locked, status_kb("VmLck:"));
	EXPECT_EQ(pages_locked, smaps_kb(self->src, "Locked:") + smaps_kb(self->dst, "Locked:"));
	if (mlocked)
		EXPECT_NE(0, page_flags(self->dst) & 1ULL << KPF_MLOCKED);
}

TEST_F(move, row30_pfnmap)
{
	struct io_uring_params params = { 0 };
	int ring = syscall(SYS_io_uring_setup, 8, &params);
	char *other;

	/* A ring's memory: writable, private, without vm_ops, and not made of anonymous pages. */
	if (ring < 0)
		LACKS(return, "CONFIG_IO_URING");
	other = mmap(NULL, page_size, PROT_RW, MAP_PRIVATE, ring, IORING_OFF_SQ_RING);
	if (other == MAP_FAILED)
		other = mmap(NULL, page_size, PROT_RW, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	ASSERT_NE(MAP_FAILED, other);
	EXPECT_TRUE(refused_both(self->uffd, other, self->src, self->dst, page_size));
}

TEST_F(move, row30_vvar)
{
	unsigned long start = 0;
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "[vvar]"))
			sscanf(line, "%lx-", &start);
	if (!start)
		LACKS(return, "a vvar page");
	EXPECT_TRUE(refused(self->uffd, self->dst, (void *)start, page_size, -EINVAL));
}

TEST_F(move, row31_same_vma)
{
	char *area = area_map(AREA_PAGES * page_size);
	char *half = area + AREA_PAGES / 2 * page_size;

	/* What is filled before it is registered is nobody's fault. */
	pages_fill(area, AREA_PAGES / 2, 1);
	ASSERT_EQ(0, uffd_register(self->uffd, area, AREA_PAGES * page_size,
				   UFFDIO_REGISTER_MODE_MISSING, NULL));
	EXPECT_STREQ("", move_ok(self->uffd, half, area, AREA_PAGES / 2, 1, 0));
	EXPECT_STREQ("", move_ok(self->uffd, area, half, AREA_PAGES / 2, 1, 0));
}

TEST_F(move, row32_brk)
{
	char *old = sbrk(0), *area;

	area = (char *)(((uintptr_t)old + page_size - 1) & ~(page_size - 1));
	ASSERT_EQ(0, brk(area + 3 * page_size));
	pages_fill(area, 2, 1);
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, area, 2, 1, 0));
	EXPECT_TRUE(page_is_zero(area));
}

TEST_F(move, row32_stack)
{
	char room[6 * 4096];
	char *area = (char *)(((uintptr_t)room + page_size - 1) & ~(page_size - 1));

	if (page_size != 4096)
		LACKS(return, "pages of 4 KiB");
	pages_fill(area, 4, 1);
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, area, 4, 1, 0));
	EXPECT_TRUE(page_is_zero(area));
}

TEST_F(move, row32_dev_zero)
{
	int fd = open("/dev/zero", O_RDWR);
	char *area = mmap(NULL, 2 * page_size, PROT_RW, MAP_PRIVATE, fd, 0);

	if (area == MAP_FAILED)
		LACKS(return, "/dev/zero");
	pages_fill(area, 2, 1);
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, area, 2, 1, 0));
}

TEST_HARNESS_MAIN
