/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hand_serve: the hand's own side.
 *
 * Theory of operation
 * -------------------
 *	master	receives requests, forks a worker for each, waits for the workers; does nothing
 *		else, so it neither blocks nor fails
 *	worker	carries out one request with one thread, answers on the socket that came with it,
 *		ends.  One that has placed an agent which must stay traced (a seccomp'd target) is
 *		that agent's tracer and stays; the master sends it the request for its cure
 *
 * The hand is forked from the keeper, and closes every descriptor but its socket and the log before
 * it does anything else: a uffd that it held would keep a target's missing pages from ever being
 * given up, and a listening socket would keep a name taken.
 *
 * Who dies
 *	a worker	the end of its socket tells the pager.  If it was in the middle of an
 *			injection, PTRACE_O_EXITKILL ends the target: better than to let it run on
 *			with registers that are not its own
 *	the master	its workers go on to their ends; traced ones see the end of their link and
 *			take their agents out.  The keeper starts another master
 *	the pager	answers lie in sockets of the table that it shared with the keeper until its
 *			successor closes them; the record of a placed agent stands in the shared state
 *	all others	the master sees the end of its socket and ends when its workers have
 *
 * An agent is never left to nobody: a worker whose answer cannot be delivered takes it out again.
 *
 * A pager that has been taken over by a hostile image could ask for injections anywhere.  It holds
 * SYS_PTRACE already, for the pagemaps that it must read, so it would gain nothing by that.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kapi/proc.h"
#include "pager/hand.h"
#include "pager/internal.h"
#include "util/fd.h"
#include "util/fdpass.h"
#include "util/log.h"

#define HAND_WORKERS 256

struct hand_work {
	pid_t pid;		/* worker; 0: free */
	uint32_t op;
	pid_t target;
	int link;		/* to a worker that may be a tracer, -1 */
};

struct hand {
	struct state *st;
	int sock, sigfd;
	struct hand_work work[HAND_WORKERS];
	unsigned int nwork;
};

static const char *hand_doing(uint32_t op)
{
	return op == HAND_PLACE ? "placing an agent" :
	       op == HAND_CURE ? "taking an agent out" : "opening a file";
}

/* An agent that is traced is cured by its tracer. Return: whether it was told. */
static bool hand_forward(struct hand *h, const struct hand_request *rq, int reply)
{
	if (rq->op != HAND_CURE || !(rq->record.flags & INJECT_R_TRACED))
		return false;
	for (unsigned int i = 0; i < HAND_WORKERS; i++) {
		struct hand_work *w = &h->work[i];

		if (w->pid && w->link >= 0 && w->target == rq->record.pid)
			return !fdpass_send(w->link, rq, sizeof(*rq), &reply, 1);
	}
	/* Its tracer is dead, and it with it. */
	return false;
}

/* In a worker: let go of what is the master's. */
static void hand_leave_master(struct hand *h)
{
	close(h->sock);
	close(h->sigfd);
	for (unsigned int i = 0; i < HAND_WORKERS; i++)
		if (h->work[i].pid && h->work[i].link >= 0)
			close(h->work[i].link);
}

/* Take one request. Return: false at the end of the socket. */
static bool hand_request(struct hand *h)
{
	struct hand_work *w = h->work;
	struct hand_request rq;
	int fds[2], link[2] = { -1, -1 };
	ssize_t n = fdpass_recv(h->sock, &rq, sizeof(rq), fds, 2);

	cleanup_fd int reply = fds[0];
	cleanup_fd int file = fds[1];

	if (n != sizeof(rq) || reply < 0 || (rq.op == HAND_PLACE && rq.cookie >= STATE_SESSIONS) ||
	    hand_forward(h, &rq, reply))
		return n != 0;
	while (w->pid)
		w++;
	if (rq.op == HAND_PLACE && (rq.flags & HAND_F_TRACED) &&
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link))
		return true;
	pid_t pid = fork();

	if (pid == 0) {
		hand_leave_master(h);
		if (link[0] >= 0)
			close(link[0]);
		hand_worker(h->st, &rq, reply, file, link[1]);
	}
	if (link[1] >= 0)
		close(link[1]);
	if (pid < 0) {
		log_warn("no process for %s: %s", hand_doing(rq.op), strerror(errno));
		if (link[0] >= 0)
			close(link[0]);
		return true;
	}
	*w = (struct hand_work){ .pid = pid, .op = rq.op, .link = link[0],
				 .target = rq.op == HAND_CURE ? rq.record.pid : rq.pid };
	h->nwork++;
	return true;
}

static void hand_reap(struct hand *h)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct hand_work *w = h->work;

		while (w < h->work + HAND_WORKERS && w->pid != pid)
			w++;
		if (w == h->work + HAND_WORKERS)
			continue;
		if (WIFSIGNALED(status))
			log_warn("killed by signal %d while %s (process %d), which the kernel ends if "
				 "that was half done", WTERMSIG(status), hand_doing(w->op), w->target);
		if (w->link >= 0)
			close(w->link);
		w->pid = 0;
		h->nwork--;
	}
}

void hand_serve(struct state *st, int sock)
{
	static struct hand hand;
	struct hand *h = &hand;
	struct signalfd_siginfo drop;
	bool closed = false;
	sigset_t set;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	log_role("hand");
	prctl(PR_SET_NAME, "uffd-hand");
	setsid();
	/* Whoever waits for the end of our caller's output does not wait for us. */
	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		if (fd != log_fd())
			dup2(null, fd);
	close(null);
	if (privs_hand())
		_exit(1);
	h->st = st;
	h->sock = sock;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	h->sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (h->sigfd < 0)
		_exit(1);
	while (!closed || h->nwork) {
		/* More than there are workers for waits in the socket. */
		struct pollfd pfd[2] = {
			{ .fd = h->sigfd, .events = POLLIN },
			{ .fd = closed || h->nwork == HAND_WORKERS ? -1 : sock, .events = POLLIN },
		};

		if (poll(pfd, 2, -1) < 0 && errno != EINTR)
			_exit(1);
		if (pfd[0].revents) {
			while (read(h->sigfd, &drop, sizeof(drop)) > 0)
				;
			hand_reap(h);
		}
		if (pfd[1].revents)
			closed = !hand_request(h);
		/* Tracers have nobody left who would send them a cure. */
		for (unsigned int i = 0; closed && i < HAND_WORKERS; i++) {
			if (h->work[i].pid && h->work[i].link >= 0)
				close(h->work[i].link);
			h->work[i].link = -1;
		}
	}
	_exit(0);
}
