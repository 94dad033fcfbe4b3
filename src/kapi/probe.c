// SPDX-License-Identifier: GPL-2.0-only
/* probe: the list of answers, and facts that need no trying. */
#include "kapi/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "kapi/probe_int.h"
#include "kapi/proc.h"
#include "util/fd.h"

struct probe_item *probe_add(struct probe *p, enum probe_side side, enum probe_need need,
			     const char *key, const char *what)
{
	struct probe_item *item;

	if (p->nitems < PROBE_ITEMS_MAX)
		p->nitems++;
	item = &p->item[p->nitems - 1];
	*item = (struct probe_item){ side, need, PROBE_UNKNOWN, key, what, "", "", "" };
	return item;
}

const struct probe_item *probe_find(const struct probe *p, const char *key)
{
	unsigned int i;

	for (i = 0; i < p->nitems; i++)
		if (!strcmp(p->item[i].key, key))
			return &p->item[i];
	return NULL;
}

void probe_yes(struct probe_item *item, const char *fmt, ...)
{
	va_list ap;

	item->answer = PROBE_YES;
	va_start(ap, fmt);
	vsnprintf(item->value, sizeof(item->value), fmt, ap);
	va_end(ap);
}

void probe_no(struct probe_item *item, const char *remedy, const char *fmt, ...)
{
	va_list ap;

	item->answer = PROBE_NO;
	va_start(ap, fmt);
	vsnprintf(item->cause, sizeof(item->cause), fmt, ap);
	va_end(ap);
	snprintf(item->remedy, sizeof(item->remedy), "%s", remedy);
}

void probe_unknown(struct probe_item *item, const char *fmt, ...)
{
	va_list ap;

	item->answer = PROBE_UNKNOWN;
	va_start(ap, fmt);
	vsnprintf(item->cause, sizeof(item->cause), fmt, ap);
	va_end(ap);
}

int probe_read_line(const char *path, char *buf, unsigned int size)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = fd_read_full(fd, buf, size - 1);
	if (n < 0)
		return (int)n;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return (int)strlen(buf);
}

const struct probe_item *probe_lacks(const struct probe *p, enum probe_side side)
{
	unsigned int i;

	for (i = 0; i < p->nitems; i++)
		if (p->item[i].side == side && p->item[i].need == PROBE_REQUIRED &&
		    p->item[i].answer == PROBE_NO)
			return &p->item[i];
	return NULL;
}

int probe_pidfd_open(pid_t pid)
{
	return proc_pidfd_open(pid);
}

static void probe_kernel(struct probe *p)
{
	struct probe_item *item = probe_add(p, PROBE_KERNEL, PROBE_NOTE, "kernel.release", "kernel");
	struct utsname uts;

	if (uname(&uts))
		probe_unknown(item, "uname: %s", strerror(errno));
	else
		probe_yes(item, "%s %s, %ld-byte pages", uts.release, uts.machine,
			  sysconf(_SC_PAGESIZE));
}

/* The policy is the word in brackets. */
static void probe_thp(struct probe *p)
{
	struct probe_item *item = probe_add(p, PROBE_KERNEL, PROBE_NOTE, "thp",
					    "transparent huge pages");
	char line[128];
	int ret = probe_read_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof(line));
	char *open = ret >= 0 ? strchr(line, '[') : NULL;
	char *shut = open ? strchr(open, ']') : NULL;

	if (ret == -ENOENT && access("/sys/kernel/mm", F_OK)) {
		probe_unknown(item, "/sys is not mounted");
	} else if (!shut) {
		probe_no(item, "", "the kernel has none (%s)", ret < 0 ? strerror(-ret) : line);
	} else {
		*shut = '\0';
		if (!strcmp(open + 1, "never"))
			probe_no(item, "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled",
				 "the policy is \"never\": memory comes back in small pages");
		else
			probe_yes(item, "%s", open + 1);
	}
}

static void probe_limits(struct probe *p)
{
	struct probe_item *item = probe_add(p, PROBE_LIMIT, PROBE_NOTE, "limit.both_killed",
					    "keeper and pager killed in the same moment");

	probe_no(item, "run lazy-pages in a cgroup of its own, with memory.oom.group 0",
		 "no one else holds the userfaultfds then, and the kernel fills what is owed with "
		 "zeros");
	item = probe_add(p, PROBE_LIMIT, PROBE_NOTE, "limit.guard",
			 "guard pages set and removed while their pages are owed");
	probe_no(item, "", "the kernel reports neither, so bytes of the image can come back there");
}

void probe_run(struct probe *p, const char *criu)
{
	memset(p, 0, sizeof(*p));
	probe_kernel(p);
	probe_uffd(p);
	probe_process(p);
	probe_thp(p);
	probe_user(p);
	if (criu)
		probe_criu(p, criu);
	probe_limits(p);
}
