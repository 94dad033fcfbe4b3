/* SPDX-License-Identifier: GPL-2.0-only */
/* fdpass: packets of a socket that may carry descriptors. */
#ifndef UTIL_FDPASS_H
#define UTIL_FDPASS_H

#include <stddef.h>
#include <sys/types.h>

#define FDPASS_MAX 8

/*
 * fdpass_send - send one packet. Never blocks, never raises SIGPIPE.
 * @fds: @nfds descriptors, at most FDPASS_MAX, that go along; those below 0 are left out.
 * Return: 0 or -errno; -EAGAIN: the queue is full; -EPIPE, -ECONNRESET: nobody is there any more.
 */
int fdpass_send(int sock, const void *buf, size_t len, const int *fds, unsigned int nfds);

/*
 * fdpass_recv - receive one packet. Never blocks.
 * @fds: room for @max descriptors (close-on-exec); the rest is set to -1.  More are closed.
 * Return: its length, 0 when the other end is closed, or -errno; -EAGAIN: none is there;
 * -EMSGSIZE: it is longer than @len, and gone.
 */
ssize_t fdpass_recv(int sock, void *buf, size_t len, int *fds, unsigned int max);

#endif
