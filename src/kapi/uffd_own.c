// SPDX-License-Identifier: GPL-2.0-only
/* uffd_own: a userfaultfd of our own memory, for trying and measuring. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kapi/uffd_own.h"
#include "util/fd.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

int uffd_own_open(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	cleanup_fd int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		return -errno;
	return fd_take(&fd);
}

int uffd_own_register(int fd, const void *start, uint64_t len, uint64_t mode)
{
	struct uffdio_register arg = { .range = { .start = (uintptr_t)start, .len = len },
				       .mode = mode };

	return ioctl(fd, UFFDIO_REGISTER, &arg) ? -errno : 0;
}

int uffd_own_copy(int fd, void *dst, const void *src, uint64_t len)
{
	struct uffdio_copy arg = { .dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = len };

	return ioctl(fd, UFFDIO_COPY, &arg) ? -errno : 0;
}

int uffd_own_move(int fd, void *dst, const void *src, uint64_t len)
{
	struct uffdio_move arg = { .dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = len };

	while (ioctl(fd, UFFDIO_MOVE, &arg)) {
		if (errno != EAGAIN)
			return -errno;
		if (arg.move > 0) {
			arg.dst += (uint64_t)arg.move;
			arg.src += (uint64_t)arg.move;
			arg.len -= (uint64_t)arg.move;
		}
		arg.move = 0;
	}
	return 0;
}

int uffd_own_can_move(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	cleanup_fd int fd = uffd_own_open(0);
	volatile char *map;
	int ret;

	if (fd < 0)
		return fd;
	map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return -errno;
	madvise((void *)map, 2 * page, MADV_NOHUGEPAGE);
	map[page] = 1;
	ret = uffd_own_register(fd, (void *)map, page, UFFDIO_REGISTER_MODE_MISSING);
	if (!ret)
		ret = uffd_own_move(fd, (void *)map, (void *)(map + page), page);
	munmap((void *)map, 2 * page);
	return ret;
}
