// SPDX-License-Identifier: GPL-2.0-only
/* procmem: the memory of another process and the map of it, by /proc. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kapi/procmem.h"
#include "util/fd.h"

static int open_in_proc(pid_t tid, const char *name, int flags)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", tid, name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int procmem_open(pid_t tid)
{
	return open_in_proc(tid, "mem", O_RDWR);
}

int procmem_read(int fd, uint64_t addr, void *buf, uint64_t len)
{
	for (uint64_t done = 0; done < len;) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(addr + done));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (uint64_t)n;
	}
	return 0;
}

int procmem_write(int fd, uint64_t addr, const void *buf, uint64_t len)
{
	for (uint64_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, (const char *)buf + done, len - done, (off_t)(addr + done));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (uint64_t)n;
	}
	return 0;
}

int procmem_each(pid_t tid, int (*each)(const struct procmem_map *m, void *ctx), void *ctx)
{
	cleanup_free char *text = NULL;
	cleanup_fd int fd = open_in_proc(tid, "maps", O_RDONLY);
	int ret;

	if (fd < 0)
		return fd;
	ret = fd_slurp(fd, 64 << 20, &text, NULL);
	if (ret)
		return ret;
	for (char *line = text, *next; *line; line = next) {
		struct procmem_map m;
		int name = 0;

		next = strchr(line, '\n');
		if (!next)
			break;
		*next++ = '\0';
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*s %" SCNu64 " %n", &m.start, &m.end,
			   m.prot, &m.inode, &name) != 4)
			continue;
		m.name = line + name;
		ret = each(&m, ctx);
		if (ret)
			return ret;
	}
	return 0;
}
