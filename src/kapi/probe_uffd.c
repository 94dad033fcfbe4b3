// SPDX-License-Identifier: GPL-2.0-only
/*
 * probe_uffd: what the kernel's userfaultfd can do, on throw-away descriptors.
 *
 * UFFDIO_API works once a descriptor, hence one for each question.  Scratch pages are registered
 * without events: with events, unmapping them would wait for a reader.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kapi/probe_int.h"
#include "kapi/uffd_abi.h"
#include "util/fd.h"

#define EVENTS                                                                                    \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |         \
	 UFFD_FEATURE_EVENT_UNMAP)
#define NEEDED_IOCTLS                                                                             \
	((1ull << _UFFDIO_WAKE) | (1ull << _UFFDIO_COPY) | (1ull << _UFFDIO_ZEROPAGE))

static int open_syscall(int flags)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);

	return fd < 0 ? -errno : fd;
}

static int open_device(void)
{
	cleanup_fd int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd;

	if (dev < 0)
		return -errno;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* Return: 0 with the bits that the kernel has, or -errno. */
static int api(int fd, uint64_t features, uint64_t *has)
{
	struct uffdio_api arg = { .api = UFFD_API, .features = features };

	if (ioctl(fd, UFFDIO_API, &arg) < 0)
		return -errno;
	if (has)
		*has = arg.features;
	return 0;
}

/* criu makes the descriptor inside the restored task with the system call, so that has to work. */
static int ask_open(struct probe *p)
{
	struct probe_item *item = probe_add(p, PROBE_KERNEL, PROBE_REQUIRED, "uffd",
					    "a userfaultfd can be made (userfaultfd(2))");
	struct probe_item *dev = probe_add(p, PROBE_KERNEL, PROBE_NOTE, "uffd.device",
					   "/dev/userfaultfd can be used");
	cleanup_fd int fd = open_syscall(0);
	cleanup_fd int dev_fd = open_device();
	int use;

	if (dev_fd >= 0)
		probe_yes(dev, "%s", "");
	else
		probe_no(dev, "", "%s; criu does not need it", strerror(-dev_fd));

	if (fd >= 0) {
		probe_yes(item, "%s", "");
	} else if (fd == -ENOSYS) {
		probe_no(item, "a kernel with CONFIG_USERFAULTFD=y; in a container, a seccomp profile "
			 "that allows userfaultfd", "the kernel has no such system call, or a seccomp "
			 "filter hides it");
	} else if (fd == -EPERM && !probe_has_cap(CAP_SYS_PTRACE)) {
		item->side = PROBE_USER;
		probe_no(item, "run as root",
			 "no CAP_SYS_PTRACE, and vm.unprivileged_userfaultfd is 0");
	} else {
		item->side = fd == -EPERM ? PROBE_USER : PROBE_KERNEL;
		probe_no(item, "in a container, a seccomp profile that allows userfaultfd",
			 "%s although CAP_SYS_PTRACE is there: a seccomp filter or a security module",
			 strerror(-fd));
	}
	use = fd >= 0 ? fd_take(&fd) : fd_take(&dev_fd);
	return use;
}

static void ask_features(struct probe *p, int fd)
{
	struct probe_item *item = probe_add(p, PROBE_KERNEL, PROBE_REQUIRED, "uffd.events",
					    "fork, mremap, munmap and madvise are reported");
	static const struct {
		uint64_t bit;
		const char *name;
	} events[] = {
		{ UFFD_FEATURE_EVENT_FORK, "EVENT_FORK" },
		{ UFFD_FEATURE_EVENT_REMAP, "EVENT_REMAP" },
		{ UFFD_FEATURE_EVENT_REMOVE, "EVENT_REMOVE" },
		{ UFFD_FEATURE_EVENT_UNMAP, "EVENT_UNMAP" },
	};
	char missing[128] = "";
	unsigned int i;
	int ret = api(fd, 0, &p->uffd_features);

	if (ret) {
		probe_no(item, "", "UFFDIO_API: %s", strerror(-ret));
		return;
	}
	for (i = 0; i < 4; i++)
		if (!(p->uffd_features & events[i].bit)) {
			strcat(missing, " ");
			strcat(missing, events[i].name);
		}
	if (*missing)
		probe_no(item, "a kernel of 4.11 or later", "the kernel lacks%s", missing);
	else
		probe_yes(item, "features %#llx", (unsigned long long)p->uffd_features);
}

static void ask_fork_events(struct probe *p)
{
	struct probe_item *item = probe_add(p, PROBE_USER, PROBE_REQUIRED, "uffd.events_allowed",
					    "this user may ask for these events");
	cleanup_fd int fd = open_syscall(0);
	int ret = fd < 0 ? fd : api(fd, EVENTS & p->uffd_features, NULL);

	if (!ret)
		probe_yes(item, "%s", "");
	else if (ret == -EPERM && fd >= 0)
		probe_no(item, "run as root outside of user namespaces, as criu must too",
			 "EVENT_FORK needs CAP_SYS_PTRACE in the initial user namespace");
	else
		probe_unknown(item, "%s", strerror(-ret));
}

/* Two fresh pages: @fd watches the first, the second holds bytes. */
static int scratch(int fd, size_t page, char **pages, uint64_t *ioctls)
{
	char *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register arg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (map == MAP_FAILED)
		return -errno;
	/* A huge page would hold both. */
	madvise(map, 2 * page, MADV_NOHUGEPAGE);
	arg.range.start = (uintptr_t)map;
	arg.range.len = page;
	if (ioctl(fd, UFFDIO_REGISTER, &arg) < 0) {
		int ret = -errno;

		munmap(map, 2 * page);
		return ret;
	}
	map[page] = 'x';
	*pages = map;
	*ioctls = arg.ioctls;
	return 0;
}

static void ask_move(struct probe *p, struct probe_item *item, int fd, char *pages, size_t page)
{
	struct uffdio_move arg = {
		.dst = (uintptr_t)pages,
		.src = (uintptr_t)pages + page,
		.len = page,
	};
	bool said = p->uffd_features & UFFD_FEATURE_MOVE;

	if (!ioctl(fd, UFFDIO_MOVE, &arg) && pages[0] == 'x') {
		probe_yes(item, "tried");
		return;
	}
	probe_no(item, "a kernel of 6.8 or later, or one with the patches of this project's kernel/",
		 said ? "the kernel says that it has it, but: %s" :
		 "the kernel has no UFFDIO_MOVE (%s); pages are copied instead", strerror(errno));
}

static void ask_ranges(struct probe *p, int fd)
{
	struct probe_item *item = probe_add(p, PROBE_KERNEL, PROBE_REQUIRED, "uffd.ioctls",
					    "pages can be filled in (COPY, ZEROPAGE, WAKE)");
	struct probe_item *move = probe_add(p, PROBE_KERNEL, PROBE_OPTIONAL, "uffd.move",
					    "pages can be moved (UFFDIO_MOVE)");
	struct probe_item *poison = probe_add(p, PROBE_KERNEL, PROBE_OPTIONAL, "uffd.poison",
					      "a lost page can be poisoned (UFFDIO_POISON)");
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *pages = NULL;
	int ret = scratch(fd, page, &pages, &p->uffd_range_ioctls);

	if (p->uffd_features & UFFD_FEATURE_POISON)
		probe_yes(poison, "%s", "");
	else
		probe_no(poison, "a kernel of 6.6 or later",
			 "the kernel has no UFFDIO_POISON; a process whose page is lost is killed");
	if (ret) {
		probe_no(item, "", "UFFDIO_REGISTER: %s", strerror(-ret));
		probe_unknown(move, "no memory could be registered");
		return;
	}
	if ((p->uffd_range_ioctls & NEEDED_IOCTLS) == NEEDED_IOCTLS)
		probe_yes(item, "mask %#llx", (unsigned long long)p->uffd_range_ioctls);
	else
		probe_no(item, "", "UFFDIO_REGISTER grants only %#llx",
			 (unsigned long long)p->uffd_range_ioctls);
	ask_move(p, move, fd, pages, page);
	munmap(pages, 2 * page);
}

static void note_features(struct probe *p)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} known[] = {
		{ UFFD_FEATURE_PAGEFAULT_FLAG_WP, "WP" },
		{ UFFD_FEATURE_MISSING_HUGETLBFS, "MISSING_HUGETLBFS" },
		{ UFFD_FEATURE_MISSING_SHMEM, "MISSING_SHMEM" },
		{ UFFD_FEATURE_SIGBUS, "SIGBUS" },
		{ UFFD_FEATURE_THREAD_ID, "THREAD_ID" },
		{ UFFD_FEATURE_MINOR_SHMEM, "MINOR_SHMEM" },
		{ UFFD_FEATURE_EXACT_ADDRESS, "EXACT_ADDRESS" },
		{ UFFD_FEATURE_WP_UNPOPULATED, "WP_UNPOPULATED" },
		{ UFFD_FEATURE_WP_ASYNC, "WP_ASYNC" },
	};
	struct probe_item *item = probe_add(p, PROBE_KERNEL, PROBE_NOTE, "uffd.features",
					    "further features of userfaultfd");
	size_t i, n = 0;

	item->answer = PROBE_YES;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (p->uffd_features & known[i].bit && n < sizeof(item->value))
			n += snprintf(item->value + n, sizeof(item->value) - n, "%s%s",
				      n ? " " : "", known[i].name);
}

static void note_sysctl(struct probe *p)
{
	struct probe_item *item = probe_add(p, PROBE_KERNEL, PROBE_NOTE, "uffd.unprivileged",
					    "vm.unprivileged_userfaultfd");
	char line[16];
	int ret = probe_read_line("/proc/sys/vm/unprivileged_userfaultfd", line, sizeof(line));

	if (ret < 0)
		probe_unknown(item, "%s", strerror(-ret));
	else
		probe_yes(item, "%s", line);
}

void probe_uffd(struct probe *p)
{
	cleanup_fd int fd = ask_open(p);

	note_sysctl(p);
	if (fd < 0)
		return;
	ask_features(p, fd);
	if (!p->uffd_features)
		return;
	ask_fork_events(p);
	ask_ranges(p, fd);
	note_features(p);
}
