/* SPDX-License-Identifier: GPL-2.0-only */
/* fdpass: packets of a socket that may carry descriptors. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fdpass.h"

union fdpass_control {
	char buf[CMSG_SPACE(FDPASS_MAX * sizeof(int))];
	uint64_t align;
};

int fdpass_send(int sock, const void *buf, size_t len, const int *fds, unsigned int nfds)
{
	union fdpass_control control = { "" };
	struct iovec iov = { (void *)buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int pass[FDPASS_MAX];
	unsigned int n = 0;
	ssize_t sent;

	for (unsigned int i = 0; i < nfds; i++) {
		if (fds[i] < 0)
			continue;
		if (n == FDPASS_MAX)
			return -EINVAL;
		pass[n++] = fds[i];
	}
	if (n) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), pass, n * sizeof(int));
	}
	do
		sent = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	return (size_t)sent == len ? 0 : -EMSGSIZE;
}

/* Descriptors that came along: the first @max into @fds, the others are closed. */
static void fdpass_take(struct msghdr *msg, int *fds, unsigned int max)
{
	unsigned int taken = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (taken < max)
				fds[taken++] = fd;
			else
				close(fd);
		}
	}
}

ssize_t fdpass_recv(int sock, void *buf, size_t len, int *fds, unsigned int max)
{
	union fdpass_control control;
	struct iovec iov = { buf, len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	ssize_t n;

	for (unsigned int i = 0; i < max; i++)
		fds[i] = -1;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	fdpass_take(&msg, fds, max);
	if (!(msg.msg_flags & MSG_TRUNC))
		return n;
	for (unsigned int i = 0; i < max; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
	return -EMSGSIZE;
}
