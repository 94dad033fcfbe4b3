/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tsan: included in front of everything with SAN=thread.
 *
 * ThreadSanitizer learns from epoll_ctl(2) and epoll_pwait(2) that what happened before a
 * descriptor was added is seen by whom it wakes; it does not know epoll_pwait2(2).
 */
#ifndef TESTS_SAN_TSAN_H
#define TESTS_SAN_TSAN_H

#include <sys/epoll.h>
#include <time.h>

static inline int tsan_epoll_pwait2(int fd, struct epoll_event *ev, int n, const struct timespec *ts,
				    const sigset_t *mask)
{
	/* Rounded up, or a short wait becomes a busy loop. */
	int ms = ts ? (int)(ts->tv_sec * 1000 + (ts->tv_nsec + 999999) / 1000000) : -1;

	return epoll_pwait(fd, ev, n, ms, mask);
}

#define epoll_pwait2 tsan_epoll_pwait2

#endif
