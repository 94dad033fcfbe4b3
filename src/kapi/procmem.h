/* SPDX-License-Identifier: GPL-2.0-only */
/* procmem: the memory of another process and the map of it, by /proc. A thread stands for its process. */
#ifndef KAPI_PROCMEM_H
#define KAPI_PROCMEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* procmem_open - /proc/TID/mem for reading and writing. Return: a descriptor or -errno. */
int procmem_open(pid_t tid);
/*
 * procmem_read, procmem_write - all of it.
 * Return: 0, or -errno (-EIO: not mapped, or a missing page of a userfaultfd).
 */
int procmem_read(int fd, uint64_t addr, void *buf, uint64_t len);
int procmem_write(int fd, uint64_t addr, const void *buf, uint64_t len);

struct procmem_map {
	uint64_t start, end;
	char prot[5];		/* "rw-p" */
	uint64_t inode;
	const char *name;	/* or "" */
};

/*
 * procmem_each - the lines of /proc/TID/maps, until @each returns something else than 0.
 * Return: that, 0 at the end, or -errno.
 */
int procmem_each(pid_t tid, int (*each)(const struct procmem_map *m, void *ctx), void *ctx);

#endif
