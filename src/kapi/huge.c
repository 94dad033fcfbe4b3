/* SPDX-License-Identifier: GPL-2.0-only */
/* huge: PAGEMAP_SCAN, process_madvise(2), the switch in sysfs. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kapi/huge.h"
#include "kapi/mm_abi.h"
#include "util/fd.h"

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

int huge_bytes(int pagemap_fd, uint64_t start, uint64_t end, uint64_t *bytes)
{
	struct page_region region[8];
	struct pm_scan_arg arg = { .size = sizeof(arg),
				   .end = end,
				   .vec = (uintptr_t)region,
				   .vec_len = sizeof(region) / sizeof(region[0]),
				   .category_mask = PAGE_IS_HUGE,
				   .return_mask = PAGE_IS_HUGE };

	*bytes = 0;
	for (uint64_t at = start; at < end; at = arg.walk_end) {
		int n;

		arg.start = at;
		n = ioctl(pagemap_fd, PAGEMAP_SCAN, &arg);
		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++)
			*bytes += region[i].end - region[i].start;
		if (arg.walk_end <= at)
			break;
	}
	return 0;
}

int huge_collapse(int pidfd, uint64_t start, uint64_t len)
{
	struct iovec iov = { (void *)(uintptr_t)start, len };

	if (syscall(SYS_process_madvise, pidfd, &iov, 1ul, MADV_COLLAPSE, 0u) < 0)
		return -errno;
	return 0;
}

bool huge_always(void)
{
	cleanup_fd int fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
	char text[64];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return false;
	text[n] = '\0';
	return strstr(text, "[always]") != NULL;
}
