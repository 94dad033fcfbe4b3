/* SPDX-License-Identifier: GPL-2.0-only */
/* fd: whole reads and writes. */
#include <errno.h>

#include "util/fd.h"

ssize_t fd_read_full(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += n;
	}
	return done;
}

int fd_write_full(int fd, const void *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf = (const char *)buf + n;
		len -= n;
	}
	return 0;
}

int fd_slurp(int fd, size_t max, char **out, size_t *len)
{
	size_t have = 0, room = 4096;
	char *buf = malloc(room + 1);

	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t n = fd_read_full(fd, buf + have, room - have);

		if (n < 0) {
			free(buf);
			return n;
		}
		have += n;
		if (have > max) {
			free(buf);
			return -EFBIG;
		}
		if (have < room)
			break;
		room *= 2;
		char *more = realloc(buf, room + 1);

		if (!more) {
			free(buf);
			return -ENOMEM;
		}
		buf = more;
	}
	buf[have] = '\0';
	*out = buf;
	if (len)
		*len = have;
	return 0;
}
