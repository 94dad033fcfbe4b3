// SPDX-License-Identifier: GPL-2.0-only
/*
 * UFFDIO_MOVE, rows 1 to 16: what is reported, the argument, and who may call.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/socket.h>
#include "../kselftest_harness.h"
#define UFFD_MOVE_FIXTURE
#include "uffd-move.h"

static int raw_uffd(void)
{
	return syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
}

TEST(row01_api_bit)
{
	struct uffdio_api api = { .api = UFFD_API };
	int uffd = raw_uffd();

	if (uffd < 0)
		SKIP(return, "row01_api_bit: CONFIG_USERFAULTFD, and root");
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	EXPECT_EQ(UFFD_FEATURE_MOVE, api.features & UFFD_FEATURE_MOVE);
	EXPECT_EQ(0x8000000000000003ULL, api.ioctls);
	/* Bits 13 to 15 are features that this kernel's header does not know. */
	if (!uffd_is_mainline())
		EXPECT_EQ(0, api.features & ~(__u64)UFFD_API_FEATURES);
	close(uffd);
}

TEST(row02_api_request)
{
	struct uffdio_api api = { .api = UFFD_API };
	int uffd = raw_uffd(), bit;
	__u64 known;

	if (uffd < 0)
		SKIP(return, "row02_api_request: CONFIG_USERFAULTFD, and root");
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	close(uffd);
	known = api.features;
	uffd = uffd_open(UFFD_FEATURE_MOVE);
	EXPECT_LE(0, uffd);
	close(uffd);
	for (bit = 13; bit < 64; bit++)
		if (!(known & 1ULL << bit))
			EXPECT_EQ(-EINVAL, uffd_open(1ULL << bit));
}

TEST_F(move, row03_reg_anon)
{
	__u64 later = ~0xffULL, ioctls;
	char *area = area_map(page_size);

	/* What later kernels have beyond bit 7 is none of our business. */
	ASSERT_EQ(0, uffd_register(self->uffd, area, page_size, UFFDIO_REGISTER_MODE_MISSING,
				   &ioctls));
	EXPECT_EQ(0x3c, uffd_is_mainline() ? ioctls & ~later : ioctls);
	area = area_map(page_size);
	if (uffd_register(self->uffd, area, page_size, UFFDIO_REGISTER_MODE_MISSING |
			  UFFDIO_REGISTER_MODE_WP, &ioctls))
		LACKS(return, "CONFIG_HAVE_ARCH_USERFAULTFD_WP");
	EXPECT_EQ(0x7c, uffd_is_mainline() ? ioctls & ~later : ioctls);
}

TEST_F(move, row04_reg_hugetlb)
{
	char *area = mmap(NULL, 2UL << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			  MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	__u64 ioctls;

	if (area == MAP_FAILED)
		LACKS(return, "CONFIG_HUGETLBFS with pages of 2 MiB");
	ASSERT_EQ(0, uffd_register(self->uffd, area, 2UL << 20, UFFDIO_REGISTER_MODE_MISSING,
				   &ioctls));
	EXPECT_EQ(0, ioctls & 1ULL << _UFFDIO_MOVE);
	EXPECT_NE(0, ioctls & 1ULL << _UFFDIO_COPY);
}

TEST_F(move, row05_reg_shmem)
{
	char *area = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);
	__u64 ioctls;
	__s64 moved;

	ASSERT_NE(MAP_FAILED, area);
	if (uffd_register(self->uffd, area, page_size, UFFDIO_REGISTER_MODE_MISSING, &ioctls))
		LACKS(return, "CONFIG_SHMEM");
	/* Advertised, though refused: so it is in every kernel that has UFFDIO_MOVE. */
	EXPECT_NE(0, ioctls & 1ULL << _UFFDIO_MOVE);
	page_fill(self->src, 1);
	EXPECT_EQ(-EINVAL, uffd_move(self->uffd, area, self->src, page_size, 0, &moved));
	EXPECT_EQ(-EINVAL, moved);
}

TEST_F(move, row06_no_api)
{
	int uffd = raw_uffd();

	ASSERT_LE(0, uffd);
	page_fill(self->src, 1);
	EXPECT_EQ(-EINVAL, uffd_move(uffd, self->dst, self->src, page_size, 0, NULL));
	EXPECT_TRUE(page_is(self->src, 1));
}

TEST_F(move, row07_abi)
{
	EXPECT_EQ(40, sizeof(struct uffdio_move));
	EXPECT_EQ(0, offsetof(struct uffdio_move, dst));
	EXPECT_EQ(8, offsetof(struct uffdio_move, src));
	EXPECT_EQ(16, offsetof(struct uffdio_move, len));
	EXPECT_EQ(24, offsetof(struct uffdio_move, mode));
	EXPECT_EQ(32, offsetof(struct uffdio_move, move));
	EXPECT_EQ(0xc028aa05U, UFFDIO_MOVE);
	EXPECT_EQ(1ULL << 16, UFFD_FEATURE_MOVE);
	EXPECT_EQ(1, UFFDIO_MOVE_MODE_DONTWAKE);
	EXPECT_EQ(2, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
}

#ifdef __x86_64__
/* The system call as a 32-bit program makes it. */
static int ioctl_compat(int fd, unsigned int nr, unsigned int arg)
{
	int ret;

	asm volatile("int $0x80" : "=a" (ret) : "0" (54), "b" (fd), "c" (nr), "d" (arg)
		     : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

static void *map_low(size_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
		    -1, 0);
}

/* In a child: without CONFIG_IA32_EMULATION the instruction kills. */
static int compat_child(void)
{
	struct uffdio_move *arg = map_low(page_size);
	char *src = map_low(page_size), *dst = map_low(page_size);
	int uffd = uffd_open(0);

	page_fill(src, 7);
	if (uffd_register(uffd, dst, page_size, UFFDIO_REGISTER_MODE_MISSING, NULL))
		return 1;
	arg->dst = (uintptr_t)dst;
	arg->src = (uintptr_t)src;
	arg->len = page_size;
	if (ioctl_compat(uffd, UFFDIO_MOVE, (uintptr_t)arg))
		return 2;
	return arg->move == (__s64)page_size && page_is(dst, 7) ? 0 : 3;
}
#endif

TEST_F(move, row07_abi_32bit)
{
#ifdef __x86_64__
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(compat_child());
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (WIFSIGNALED(status))
		LACKS(return, "CONFIG_IA32_EMULATION");
	EXPECT_EQ(0, WEXITSTATUS(status));
#else
	LACKS(return, "an x86-64");
#endif
}

TEST_F(move, row08_feature_unused)
{
	int uffd = uffd_open(0);
	char *dst = area_map(page_size);

	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, uffd_register(uffd, dst, page_size, UFFDIO_REGISTER_MODE_MISSING, NULL));
	page_fill(self->src, 1);
	EXPECT_STREQ("", move_ok(uffd, dst, self->src, 1, 1, 0));
}

#define UNTOUCHED	0x5a5a5a5a5a5a5a5aLL

/* What is refused before it is looked at: EINVAL, and the field as it was. */
static bool refused(int uffd, __u64 dst, __u64 src, __u64 len, __u64 mode)
{
	struct uffdio_move arg = {
		.dst = dst, .src = src, .len = len, .mode = mode, .move = UNTOUCHED,
	};

	return ioctl(uffd, UFFDIO_MOVE, &arg) == -1 && errno == EINVAL && arg.move == UNTOUCHED;
}

TEST_F(move, row09_len0)
{
	EXPECT_TRUE(refused(self->uffd, (uintptr_t)self->dst, (uintptr_t)self->src, 0, 0));
	EXPECT_TRUE(refused(self->uffd, (uintptr_t)self->dst, (uintptr_t)self->src, 0, HOLES));
}

TEST_F(move, row10_unaligned)
{
	uintptr_t dst = (uintptr_t)self->dst, src = (uintptr_t)self->src;
	size_t off;

	pages_fill(self->src, 2, 1);
	for (off = 1; off < page_size; off *= 2) {
		EXPECT_TRUE(refused(self->uffd, dst + off, src, page_size, 0));
		EXPECT_TRUE(refused(self->uffd, dst, src + off, page_size, 0));
		EXPECT_TRUE(refused(self->uffd, dst, src, page_size + off, 0));
		EXPECT_TRUE(refused(self->uffd, dst, src, page_size - off, 0));
	}
	EXPECT_STREQ("", pages_are(self->src, 2, 1));
	EXPECT_TRUE(pages_none(self->dst, 2));
}

TEST_F(move, row11_wrap)
{
	uintptr_t dst = (uintptr_t)self->dst, src = (uintptr_t)self->src;
	__u64 all = -(__u64)page_size, high = 1ULL << 63;

	page_fill(self->src, 1);
	EXPECT_TRUE(refused(self->uffd, dst, src, all, 0));
	EXPECT_TRUE(refused(self->uffd, dst, src, all, HOLES));
	EXPECT_TRUE(refused(self->uffd, dst, all, page_size, 0));
	EXPECT_TRUE(refused(self->uffd, all, src, page_size, 0));
	EXPECT_TRUE(refused(self->uffd, high, src, page_size, 0));
	EXPECT_TRUE(refused(self->uffd, dst, high, page_size, 0));
	/* The end may lie beyond, too. */
	EXPECT_TRUE(refused(self->uffd, dst, src, high - src, HOLES));
	EXPECT_TRUE(page_is(self->src, 1));
}

TEST_F(move, row12_mode)
{
	uintptr_t dst = (uintptr_t)self->dst, src = (uintptr_t)self->src;
	int bit;

	page_fill(self->src, 1);
	for (bit = 2; bit < 64; bit++)
		EXPECT_TRUE(refused(self->uffd, dst, src, page_size, 1ULL << bit));
	EXPECT_STREQ("", move_ok(self->uffd, self->dst, self->src, 1, 1, HOLES | DONTWAKE));
}

TEST_F(move, row13_argp_bad)
{
	char *room = area_map(3 * page_size);
	struct uffdio_move *arg = (void *)(room + page_size);

	pages_fill(self->src, 2, 1);
	EXPECT_EQ(-1, ioctl(self->uffd, UFFDIO_MOVE, NULL));
	EXPECT_EQ(EFAULT, errno);
	/* The four fields that are read end where a page does that is not there. */
	munmap(room + page_size, page_size);
	EXPECT_EQ(-1, ioctl(self->uffd, UFFDIO_MOVE, (char *)arg - 16));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_STREQ("", pages_are(self->src, 2, 1));

	/* The one that is written cannot be: too late, the page has moved. */
	arg = (void *)room;
	arg->dst = (uintptr_t)self->dst;
	arg->src = (uintptr_t)self->src;
	arg->len = page_size;
	arg->mode = 0;
	ASSERT_EQ(0, mprotect(room, page_size, PROT_READ));
	EXPECT_EQ(-1, ioctl(self->uffd, UFFDIO_MOVE, arg));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_TRUE(page_is(self->dst, 1));
	EXPECT_TRUE(pages_none(self->src, 1));
}

TEST_F(move, row14_argp_in_src)
{
	struct uffdio_move *arg = (void *)self->src, *there = (void *)self->dst;

	arg->dst = (uintptr_t)self->dst;
	arg->src = (uintptr_t)self->src;
	arg->len = page_size;
	arg->mode = 0;
	arg->move = UNTOUCHED;
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_MOVE, arg));
	/* The argument as it was is at dst; at src there is a new page, with the answer. */
	EXPECT_EQ((uintptr_t)self->src, there->src);
	EXPECT_EQ(UNTOUCHED, there->move);
	EXPECT_EQ(0, arg->src);
	EXPECT_EQ((__s64)page_size, arg->move);
}

TEST_F(move, row15_child_fd)
{
	int status;
	__s64 moved;
	pid_t pid;

	page_fill(self->src, 1);
	pid = fork();
	if (!pid) {
		int ret = uffd_move(self->uffd, self->dst, self->src, page_size, 0, &moved);

		_exit(ret == -EINVAL && page_is(self->src, 1) ? 0 : 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(page_is(self->src, 1));
	EXPECT_TRUE(pages_none(self->dst, 1));
}

static void send_fd(int sock, int fd)
{
	char byte = 0, room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = room, .msg_controllen = sizeof(room),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	sendmsg(sock, &msg, 0);
}

static int receive_fd(int sock)
{
	char byte, room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = room, .msg_controllen = sizeof(room),
	};
	int fd = -1;

	if (recvmsg(sock, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

TEST_F(move, row16_scm_fd)
{
	int pair[2], uffd;
	pid_t pid;

	/* Another process's uffd, with an area of its own registered at the same address. */
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		LACKS(return, "CONFIG_UNIX");
	pid = fork();
	if (!pid) {
		uffd = uffd_open(0);
		munmap(self->dst, page_size);
		mmap(self->dst, page_size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		uffd_register(uffd, self->dst, page_size, UFFDIO_REGISTER_MODE_MISSING, NULL);
		send_fd(pair[1], uffd);
		for (;;)
			pause();
	}
	uffd = receive_fd(pair[0]);
	ASSERT_LE(0, uffd);
	page_fill(self->src, 1);
	EXPECT_EQ(-EINVAL, uffd_move(uffd, self->dst, self->src, page_size, 0, NULL));
	EXPECT_TRUE(page_is(self->src, 1));
	EXPECT_TRUE(pages_none(self->dst, 1));
	child_end(pid);
}

TEST_HARNESS_MAIN
