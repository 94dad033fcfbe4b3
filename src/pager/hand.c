/* SPDX-License-Identifier: GPL-2.0-only */
/* hand: starting it, and asking it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kapi/proc.h"
#include "pager/hand.h"
#include "pager/internal.h"
#include "util/fd.h"
#include "util/fdpass.h"
#include "util/log.h"

#define HAND_ASKED_MAX 64
/* Beyond the patience of a request, which is for tracers; inject has limits of its own. */
#define HAND_LIMIT_MS 30000
/* A target that the kernel ends with its tracer takes that long to be seen ended. */
#define HAND_ENDED_MS 1000
#define HAND_STOP_MS 2000

static bool hand_gone(const struct state *st)
{
	struct pollfd pfd = { .fd = st->hand_fd };

	return st->hand_fd < 0 || (poll(&pfd, 1, 0) == 1 && pfd.revents);
}

bool hand_lost(const struct state *st)
{
	return st->hand_fd < 0 || (st->hand_pid < 0 && hand_gone(st));
}

int hand_start(struct state *st)
{
	int pair[2];

	if (!hand_gone(st))
		return 0;
	if (privs_dropped()) {
		st->hand_pid = -1;
		return -EPERM;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		log_warn("cannot start a hand: %s; no agents", strerror(errno));
		return -errno;
	}
	pid_t pid = fork();

	if (pid == 0) {
		/* First of all: the uffds in the table must not have a third holder. */
		fdtable_close_all(pair[1]);
		hand_serve(st, pair[1]);
	}
	int err = errno;

	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		log_warn("cannot start a hand: %s; no agents", strerror(err));
		return -err;
	}
	st->hand_pid = pid;
	/* In one step: threads of the pager may be using the number. */
	if (st->hand_fd >= 0) {
		dup3(pair[0], st->hand_fd, O_CLOEXEC);
		close(pair[0]);
	} else {
		st->hand_fd = pair[0];
	}
	return 0;
}

void hand_stop(struct state *st)
{
	pid_t pid = st->hand_pid;

	if (st->hand_fd < 0)
		return;
	close(st->hand_fd);
	st->hand_fd = -1;
	if (pid <= 0)
		return;
	/* Not for ever: a worker whose target is frozen ends when it thaws. */
	for (int ms = 0; ms < HAND_STOP_MS && waitpid(pid, NULL, WNOHANG) == 0; ms += 5)
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

static void hand_want(struct state *st)
{
	st->hand_wanted = 1;
	kill(st->keeper_pid, SIGCHLD);
}

/* A request that has no answer yet. */
struct hand_asked {
	int sock;		/* -1: free */
	int pidfd;		/* of the target, or -1 */
	bool killed;		/* the worker was; the target's end is waited for */
	uint64_t until_us;
	struct hand_request rq;
};

static struct hand_asked hand_asked[HAND_ASKED_MAX];
static int hand_epfd = -1;

int hand_open(void)
{
	for (unsigned int i = 0; i < HAND_ASKED_MAX; i++)
		hand_asked[i].sock = -1;
	hand_epfd = epoll_create1(EPOLL_CLOEXEC);
	return hand_epfd < 0 ? -errno : 0;
}

static void hand_drop(struct hand_asked *a)
{
	if (a->sock >= 0)
		close(a->sock);
	if (a->pidfd >= 0)
		close(a->pidfd);
	a->sock = a->pidfd = -1;
}

void hand_close(void)
{
	for (unsigned int i = 0; i < HAND_ASKED_MAX; i++)
		if (hand_asked[i].sock >= 0)
			hand_drop(&hand_asked[i]);
	if (hand_epfd >= 0)
		close(hand_epfd);
	hand_epfd = -1;
}

int hand_poll_fd(void)
{
	return hand_epfd;
}

static pid_t hand_target(const struct hand_request *rq)
{
	return rq->op == HAND_PLACE ? rq->pid : rq->op == HAND_CURE ? rq->record.pid : 0;
}

int hand_ask(struct state *st, const struct hand_request *rq, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct hand_asked *a = hand_asked;
	pid_t pid = hand_target(rq);
	int pair[2], ret;

	while (a < hand_asked + HAND_ASKED_MAX && a->sock >= 0)
		a++;
	if (a == hand_asked + HAND_ASKED_MAX)
		return -EAGAIN;
	if (st->hand_fd < 0)
		return -ENOTCONN;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -EAGAIN;
	*a = (struct hand_asked){ .sock = pair[0], .rq = *rq,
				  .pidfd = pid > 0 ? proc_pidfd_open(pid) : -1,
				  .until_us = pager_now_us() +
					      (HAND_LIMIT_MS + rq->patience_ms) * 1000ull };
	ret = fdpass_send(st->hand_fd, rq, sizeof(*rq), (int[]){ pair[1], fd }, 2);
	close(pair[1]);
	if (!ret && epoll_ctl(hand_epfd, EPOLL_CTL_ADD, a->sock, &ev))
		ret = -EAGAIN;
	if (!ret)
		return 0;
	hand_drop(a);
	if (ret == -EAGAIN)
		return ret;
	hand_want(st);
	return -ENOTCONN;
}

/* The worker ended without an answer.  Return: whether it can be told what became of the target. */
static bool hand_autopsy(struct hand_asked *a, uint64_t now, struct hand_answer *out)
{
	pid_t pid = hand_target(&a->rq);

	if (!a->killed) {
		a->killed = true;
		a->until_us = now + HAND_ENDED_MS * 1000;
		epoll_ctl(hand_epfd, EPOLL_CTL_DEL, a->sock, NULL);
		if (a->pidfd >= 0 &&
		    epoll_ctl(hand_epfd, EPOLL_CTL_ADD, a->pidfd,
			      &(struct epoll_event){ .events = EPOLLIN }))
			log_debug("the end of process %d will be seen late", pid);
	}
	out->error = -EOWNERDEAD;
	if (pid > 0 && (a->pidfd < 0 || proc_pidfd_exited(a->pidfd))) {
		out->flags = HAND_A_ENDED;
		snprintf(out->text, sizeof(out->text), "the hand was killed at work on process %d, "
			 "which the kernel has ended for that", pid);
		return true;
	}
	snprintf(out->text, sizeof(out->text), "the hand was killed at work");
	return !pid || now >= a->until_us;
}

/* Return: whether there is an answer to @a. */
static bool hand_look(struct hand_asked *a, struct hand_answer *out, int *fd)
{
	uint64_t now = pager_now_us();
	bool late = now >= a->until_us;
	ssize_t n = -EAGAIN;

	*fd = -1;
	/* From here on the worker learns that nobody listens; what it had said before is read. */
	if (!a->killed && late)
		shutdown(a->sock, SHUT_RDWR);
	if (!a->killed)
		n = fdpass_recv(a->sock, out, sizeof(*out), fd, 1);
	if (n == sizeof(*out)) {
		out->text[sizeof(out->text) - 1] = '\0';
	} else {
		*out = (struct hand_answer){ .error = -ETIMEDOUT };
		snprintf(out->text, sizeof(out->text), "process %d does not stop (frozen?)",
			 hand_target(&a->rq));
		if (a->killed || (n != -EAGAIN && !late)) {
			if (!hand_autopsy(a, now, out))
				return false;
		} else if (!late) {
			return false;
		}
	}
	out->op = a->rq.op;
	out->cookie = a->rq.cookie;
	return true;
}

int hand_hear(struct state *st, struct hand_answer *answer, int *fd)
{
	for (unsigned int i = 0; i < HAND_ASKED_MAX; i++) {
		struct hand_asked *a = &hand_asked[i];

		if (a->sock < 0 || !hand_look(a, answer, fd))
			continue;
		if (answer->error == -EOWNERDEAD && hand_gone(st))
			hand_want(st);
		hand_drop(a);
		return 1;
	}
	return 0;
}
