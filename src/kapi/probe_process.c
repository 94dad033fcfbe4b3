// SPDX-License-Identifier: GPL-2.0-only
/*
 * probe_process: what can be done to other processes, on a child made for the purpose, and to
 * memory, on scratch pages of our own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kapi/mm_abi.h"
#include "kapi/probe_int.h"
#include "kapi/proc.h"
#include "util/fd.h"

#define HUGE_SIZE (2ul << 20)
#define CHILD_READY_MS 10000

struct guinea_pig {
	pid_t pid;
	int ready_fd;	/* our end; the child's end has the same file */
	int child_fd;
	char *block;	/* HUGE_SIZE bytes, aligned, in small pages; same address in the child */
};

/* Fills the block after the fork: what a fork shares is not the child's alone. */
static void child_main(struct guinea_pig *pig)
{
	char ready = 1;
	size_t i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	for (i = 0; i < HUGE_SIZE; i += 4096)
		pig->block[i] = 1;
	prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
	if (write(pig->child_fd, &ready, 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* Return: 0 once the child has filled its block, or -errno. */
static int pig_start(struct guinea_pig *pig, char *map)
{
	struct pollfd pfd = { .events = POLLIN };
	int fds[2];

	pig->block = (char *)(((uintptr_t)map + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	pig->ready_fd = pfd.fd = fds[0];
	pig->child_fd = fds[1];
	pig->pid = fork();
	if (pig->pid < 0)
		return -errno;
	if (!pig->pid)
		child_main(pig);
	return poll(&pfd, 1, CHILD_READY_MS) == 1 ? 0 : -ETIMEDOUT;
}

static void pig_end(struct guinea_pig *pig)
{
	if (pig->pid > 0) {
		kill(pig->pid, SIGKILL);
		waitpid(pig->pid, NULL, 0);
	}
	if (pig->ready_fd >= 0)
		close(pig->ready_fd);
	if (pig->child_fd >= 0)
		close(pig->child_fd);
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return !fstat(a, &sa) && !fstat(b, &sb) && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static void ask_getfd(struct probe_item *item, int pidfd, const struct guinea_pig *pig)
{
	cleanup_fd int fd = proc_pidfd_getfd(pidfd, pig->child_fd);

	if (fd >= 0 && same_file(fd, pig->child_fd))
		probe_yes(item, "tried");
	else if (fd == -ENOSYS)
		probe_no(item, "a kernel of 5.6 or later",
			 "the kernel lacks it, or a seccomp filter hides it; --adopt cannot work");
	else
		probe_no(item, "run as root", "%s; --adopt cannot work", strerror(-fd));
}

static void ask_collapse(struct probe_item *item, int pidfd, const struct guinea_pig *pig)
{
	struct iovec iov = { pig->block, HUGE_SIZE };
	long ret = syscall(SYS_process_madvise, pidfd, &iov, 1ul, MADV_COLLAPSE, 0u);

	if (ret == (long)HUGE_SIZE)
		probe_yes(item, "tried");
	else if (ret >= 0 || errno == EAGAIN || errno == ENOMEM || errno == EBUSY)
		probe_unknown(item, "the kernel had no huge page to give just now");
	else if (errno == EPERM)
		probe_no(item, "run as root, or grant CAP_SYS_NICE and CAP_SYS_PTRACE",
			 "not permitted; memory comes back in small pages");
	else if (errno == ENOSYS)
		probe_no(item, "a kernel of 5.10 or later",
			 "no process_madvise, or a seccomp filter hides it; memory comes back in small "
			 "pages");
	else
		probe_no(item, "a kernel of 6.1 or later with CONFIG_TRANSPARENT_HUGEPAGE",
			 "%s; memory comes back in small pages", strerror(errno));
}

static void ask_child(struct probe *p)
{
	struct probe_item *open_item = probe_add(p, PROBE_KERNEL, PROBE_REQUIRED, "pidfd_open",
						 "processes can be held (pidfd_open)");
	struct probe_item *getfd = probe_add(p, PROBE_KERNEL, PROBE_OPTIONAL, "pidfd_getfd",
					     "descriptors can be taken over (pidfd_getfd)");
	struct probe_item *collapse = probe_add(p, PROBE_KERNEL, PROBE_OPTIONAL, "collapse",
						"memory of others can be made huge (MADV_COLLAPSE)");
	struct guinea_pig pig = { -1, -1, -1, NULL };
	char *map = mmap(NULL, 2 * HUGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	int ret = map == MAP_FAILED ? -errno : pig_start(&pig, map);
	cleanup_fd int pidfd = ret ? ret : proc_pidfd_open(pig.pid);

	if (ret) {
		probe_unknown(open_item, "no child to try it on: %s", strerror(-ret));
	} else if (pidfd < 0) {
		probe_no(open_item, "a kernel of 5.3 or later; in a container, a seccomp profile that "
			 "allows pidfd_open", "%s", strerror(-pidfd));
	} else {
		probe_yes(open_item, "tried");
	}
	if (pidfd >= 0) {
		ask_getfd(getfd, pidfd, &pig);
		ask_collapse(collapse, pidfd, &pig);
	} else {
		probe_unknown(getfd, "needs pidfd_open");
		probe_unknown(collapse, "needs pidfd_open");
	}
	pig_end(&pig);
	if (map != MAP_FAILED)
		munmap(map, 2 * HUGE_SIZE);
}

static void ask_memfd(struct probe *p)
{
	struct probe_item *item = probe_add(p, PROBE_KERNEL, PROBE_REQUIRED, "memfd",
					    "state can be shared (memfd_create)");
	cleanup_fd int fd = memfd_create("probe", MFD_CLOEXEC);

	if (fd >= 0)
		probe_yes(item, "%s", "");
	else
		probe_no(item, "a kernel with CONFIG_MEMFD_CREATE", "%s", strerror(errno));
}

static void ask_seccomp(struct probe *p)
{
	struct probe_item *item = probe_add(p, PROBE_KERNEL, PROBE_OPTIONAL, "seccomp",
					    "the pager can lock itself in (seccomp filters)");
	uint32_t action = SECCOMP_RET_ERRNO;

	if (!syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action))
		probe_yes(item, "%s", "");
	else
		probe_no(item, "a kernel with CONFIG_SECCOMP_FILTER", "%s", strerror(errno));
}

/* PAGEMAP_SCAN of one page. Return: its categories, or -errno. */
static int64_t scan_page(int fd, const char *at, size_t page)
{
	struct page_region region = { 0 };
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)at,
		.end = (uintptr_t)at + page,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_GUARD,
	};

	if (ioctl(fd, PAGEMAP_SCAN, &arg) >= 0)
		return (int64_t)region.categories;
	if (errno != EINVAL)
		return -errno;
	arg.return_mask = PAGE_IS_PRESENT;
	return ioctl(fd, PAGEMAP_SCAN, &arg) < 0 ? -errno : (int64_t)region.categories;
}

static void ask_guard(struct probe *p, int fd, char *at, size_t page)
{
	struct probe_item *item = probe_add(p, PROBE_KERNEL, PROBE_NOTE, "guard",
					    "guard pages (MADV_GUARD_INSTALL) can be seen");
	uint64_t entry = 0;
	int64_t scanned;

	if (madvise(at, page, MADV_GUARD_INSTALL)) {
		probe_yes(item, "not needed: the kernel has no guard pages");
		return;
	}
	scanned = scan_page(fd, at, page);
	if (proc_pagemap_read(fd, (uintptr_t)at, page, 1, &entry))
		entry = 0;
	if (entry & PAGEMAP_GUARD)
		probe_yes(item, "pagemap%s",
			  scanned > 0 && scanned & PAGE_IS_GUARD ? ", PAGEMAP_SCAN" : "");
	else
		probe_no(item, "a kernel of 6.14 or later",
			 "the kernel has guard pages but does not show them; one that the target sets "
			 "while its page is owed can be overwritten");
}

static void ask_pagemap(struct probe *p)
{
	struct probe_item *item = probe_add(p, PROBE_KERNEL, PROBE_REQUIRED, "pagemap",
					    "the page tables of a process can be read (pagemap)");
	struct probe_item *scan = probe_add(p, PROBE_KERNEL, PROBE_OPTIONAL, "pagemap_scan",
					    "page tables can be searched (PAGEMAP_SCAN)");
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cleanup_fd int fd = proc_pagemap_open(getpid());
	uint64_t entry = 0;
	int64_t ret;

	if (at == MAP_FAILED) {
		probe_unknown(item, "%s", strerror(errno));
		return;
	}
	*at = 1;
	ret = fd < 0 ? fd : proc_pagemap_read(fd, (uintptr_t)at, page, 1, &entry);
	if (!ret && entry & PAGEMAP_PRESENT) {
		probe_yes(item, "tried");
	} else if (ret == -ENOENT && access("/proc/self", F_OK)) {
		item->side = PROBE_USER;
		probe_no(item, "mount -t proc proc /proc", "/proc is not mounted");
	} else {
		probe_no(item, "a kernel with CONFIG_PROC_PAGE_MONITOR", "%s",
			 ret < 0 ? strerror((int)-ret) : "it does not show a page that is there");
	}
	ret = fd < 0 ? fd : scan_page(fd, at, page);
	if (ret > 0 && ret & PAGE_IS_PRESENT)
		probe_yes(scan, "tried");
	else
		probe_no(scan, "a kernel of 6.7 or later", "%s; pagemap is read instead",
			 ret < 0 ? strerror((int)-ret) : "it does not show a page that is there");
	if (fd >= 0)
		ask_guard(p, fd, at, page);
	munmap(at, page);
}

void probe_process(struct probe *p)
{
	ask_child(p);
	ask_memfd(p);
	ask_pagemap(p);
	ask_seccomp(p);
}
