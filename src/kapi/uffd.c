/* SPDX-License-Identifier: GPL-2.0-only */
/* uffd: userfaultfd, one function an ioctl. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kapi/uffd.h"
#include "kapi/uffd_abi.h"

int uffd_read(int fd, struct uffd_msg *msgs, unsigned int n)
{
	ssize_t got;

	do {
		got = read(fd, msgs, n * sizeof(*msgs));
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? 0 : -errno;
	return got / sizeof(*msgs);
}

int uffd_copy(int fd, uint64_t dst, const void *src, uint64_t len, uint64_t *done)
{
	struct uffdio_copy arg = { .dst = dst, .src = (uintptr_t)src, .len = len };
	int ret = ioctl(fd, UFFDIO_COPY, &arg) ? -errno : 0;

	/* Kernels before 6.15 leave the field alone on some errors. */
	*done = arg.copy > 0 ? (uint64_t)arg.copy : 0;
	return ret;
}

int uffd_zeropage(int fd, uint64_t dst, uint64_t len, uint64_t *done)
{
	struct uffdio_zeropage arg = { .range = { .start = dst, .len = len } };
	int ret = ioctl(fd, UFFDIO_ZEROPAGE, &arg) ? -errno : 0;

	*done = arg.zeropage > 0 ? (uint64_t)arg.zeropage : 0;
	return ret;
}

int uffd_register_missing(int fd, uint64_t start, uint64_t len)
{
	struct uffdio_register arg = { .range = { .start = start, .len = len },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };

	return ioctl(fd, UFFDIO_REGISTER, &arg) ? -errno : 0;
}

int uffd_wake(int fd, uint64_t start, uint64_t len)
{
	struct uffdio_range arg = { .start = start, .len = len };

	return ioctl(fd, UFFDIO_WAKE, &arg) ? -errno : 0;
}

int uffd_wake_all(int fd, uint64_t page_size)
{
	/*
	 * WAKE looks for no VMA, only for waiters in a range that must lie in user space, which ends
	 * a page below a power of two that depends on the page table: 2^56, 2^47, 2^48, 2^39...
	 */
	uint64_t start = 16 * page_size;
	int ret = -EINVAL;

	for (int bits = 57; ret && bits >= 38; bits--)
		ret = uffd_wake(fd, start, (1ull << bits) - page_size - start);
	return ret;
}

bool uffd_mm_gone(int fd, uint64_t probe, uint64_t page_size)
{
	/*
	 * The kernel pins the mm before it looks for a VMA.  Write-protect is registered on no
	 * range of ours, so the call fails on every living mm, with another error.
	 */
	struct uffdio_writeprotect arg = { .range = { .start = probe, .len = page_size } };

	return ioctl(fd, UFFDIO_WRITEPROTECT, &arg) && errno == ESRCH;
}

bool uffd_mm_changing(int fd, uint64_t probe, uint64_t page_size)
{
	struct uffdio_writeprotect arg = { .range = { .start = probe, .len = page_size } };

	return ioctl(fd, UFFDIO_WRITEPROTECT, &arg) && errno == EAGAIN;
}

int uffd_has_move(void)
{
	struct uffdio_api arg = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), ret;

	if (fd < 0)
		return -errno;
	/* An unknown feature is refused. */
	ret = !ioctl(fd, UFFDIO_API, &arg) && arg.features & UFFD_FEATURE_MOVE;
	close(fd);
	return ret;
}

bool uffd_is_uffd(int fd)
{
	char path[32], link[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = '\0';
	return !strcmp(link, "anon_inode:[userfaultfd]");
}
