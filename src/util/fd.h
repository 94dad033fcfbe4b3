/* SPDX-License-Identifier: GPL-2.0-only */
/* fd: descriptors and buffers that clean up after themselves, and whole reads and writes. */
#ifndef UTIL_FD_H
#define UTIL_FD_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static inline void cleanup_fd_put(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_free_put(void *p)
{
	free(*(void **)p);
}

#define cleanup_fd __attribute__((cleanup(cleanup_fd_put)))
#define cleanup_free __attribute__((cleanup(cleanup_free_put)))

/* fd_take - move a descriptor out of a cleanup_fd variable. */
static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/*
 * fd_read_full - read exactly @len bytes.
 * Return: @len, fewer at end of file, or -errno.  Restarts on EINTR.
 */
ssize_t fd_read_full(int fd, void *buf, size_t len);

/* fd_write_full - write all. Return: 0 or -errno.  Restarts on EINTR. */
int fd_write_full(int fd, const void *buf, size_t len);

/*
 * fd_slurp - read a file of unknown size whole into a NUL-terminated buffer, at most @max bytes.
 * @fd:  positioned where to start.
 * @len: bytes read, not counting the NUL; may be NULL.
 * Return: 0 and *@out (caller frees), or -errno; -EFBIG when there is more than @max.
 */
int fd_slurp(int fd, size_t max, char **out, size_t *len);

#endif
