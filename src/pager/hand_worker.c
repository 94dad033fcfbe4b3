/* SPDX-License-Identifier: GPL-2.0-only */
/* hand_worker: one request, see hand_serve.c. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "kapi/proc.h"
#include "kapi/readonly.h"
#include "pager/hand.h"
#include "pager/internal.h"
#include "util/fd.h"
#include "util/fdpass.h"
#include "util/log.h"

/* A traced agent is looked after at least so often. */
#define HAND_TEND_MS 200

/* Who is undone here may be in the hands of another worker just now. */
#define HAND_UNDO_US 30000000
#define HAND_UNDO_AGAIN_NS 20000000

static const char *hand_step_prefix;

/* While an agent is placed: its record as we have it, where it is to stand, for whom. */
static struct {
	const struct inject_record *from;
	struct inject_record *to;
	int reply;
} hand_placing;

/* Is there still somebody for whom it is done? */
static bool hand_is_heard(int reply)
{
	struct pollfd pfd = { .fd = reply };

	return poll(&pfd, 1, 0) == 0;
}

/*
 * An agent is put on record before its target is let go: were we killed after that, nobody would know
 * of it.  Each step of an injection is also a point at which a test can kill or hold us.
 */
static void hand_step(unsigned int n)
{
	char name[32];

	if (hand_placing.from && hand_placing.from->pid && hand_is_heard(hand_placing.reply))
		*hand_placing.to = *hand_placing.from;
	if (!phase_armed)
		return;
	snprintf(name, sizeof(name), "%s-%u", hand_step_prefix, n);
	phase_hit(name);
}

static void hand_cure_now(const struct hand_request *rq, struct hand_answer *a)
{
	struct inject_opts opts = { .patience_ms = rq->patience_ms, .step = hand_step };
	struct inject_error err = { 0 };
	uint64_t begun_us = pager_now_us();

	hand_step_prefix = "cure";
	a->record = rq->record;
	a->error = inject_cure(&a->record, &opts, &err);
	a->us = pager_now_us() - begun_us;
	memcpy(a->text, err.text, sizeof(a->text));
}

/* Take out an agent that was placed and is nobody's. */
static void hand_undo(const struct hand_request *rq, const struct inject_record *rec)
{
	struct hand_request cure = { .op = HAND_CURE, .patience_ms = rq->patience_ms,
				     .record = *rec };
	struct hand_answer a = { 0 };
	uint64_t until = pager_now_us() + HAND_UNDO_US;

	for (;;) {
		hand_cure_now(&cure, &a);
		if (a.error != -EBUSY || pager_now_us() > until)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = HAND_UNDO_AGAIN_NS }, NULL);
	}
	if (a.error && a.error != -ESRCH && a.error != -ENOENT)
		log_warn("process %d keeps an agent that nobody uses: %s", rec->pid,
			 *a.text ? a.text : strerror(-a.error));
}

static void hand_place_now(const struct hand_request *rq, struct hand_answer *a, int *channel)
{
	struct inject_opts opts = { .nslots = rq->nslots, .keep_traced = rq->flags & HAND_F_TRACED,
				    .patience_ms = rq->patience_ms, .step = hand_step };
	struct inject_error err = { 0 };
	uint64_t begun_us = pager_now_us();

	hand_step_prefix = "place";
	if (proc_start_time(rq->pid) != rq->pid_start) {
		a->error = -ESRCH;
		snprintf(a->text, sizeof(a->text), "process %d has ended", rq->pid);
		return;
	}
	a->error = inject_place(rq->pid, &opts, &a->record, channel, &err);
	a->us = pager_now_us() - begun_us;
	memcpy(a->text, err.text, sizeof(a->text));
	/* It ended before it was stopped, and another has its number. */
	if (!a->error && a->record.pid_start != rq->pid_start) {
		hand_undo(rq, &a->record);
		a->error = -ESRCH;
		snprintf(a->text, sizeof(a->text), "process %d has ended", rq->pid);
	}
}

/* Be the tracer of an agent until it ends or is to be taken out. */
static void hand_tend(struct inject_record *rec, int link)
{
	struct signalfd_siginfo drop;
	struct hand_request rq;
	struct hand_answer a = { 0 };
	int reply = -1;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	cleanup_fd int sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

	while (inject_tend(rec) != -ESRCH) {
		struct pollfd pfd[2] = { { .fd = link, .events = POLLIN },
					 { .fd = sigfd, .events = POLLIN } };

		if (poll(pfd, 2, HAND_TEND_MS) < 0)
			continue;
		while (read(sigfd, &drop, sizeof(drop)) > 0)
			;
		if (!pfd[0].revents)
			continue;
		if (fdpass_recv(link, &rq, sizeof(rq), &reply, 1) != sizeof(rq)) {
			rq = (struct hand_request){ .op = HAND_CURE, .record = *rec };
			hand_undo(&rq, rec);
			return;
		}
		hand_cure_now(&rq, &a);
		if (fdpass_send(reply, &a, sizeof(a), NULL, 0))
			log_debug("nobody waits for the end of process %d's agent", rec->pid);
		close(reply);
		/* Somebody else traces the target: there will be another request. */
		if (a.error != -EBUSY)
			return;
	}
}

static void hand_do_place(struct state *st, const struct hand_request *rq, int reply, int link)
{
	struct inject_record *out = &st->session[rq->cookie].agent.rec;
	struct hand_answer a = { 0 };
	int channel = -1;

	hand_placing.from = &a.record;
	hand_placing.to = out;
	hand_placing.reply = reply;
	hand_place_now(rq, &a, &channel);
	hand_placing.from = NULL;
	/* Nothing, if it came to nothing. */
	if (hand_is_heard(reply))
		*out = a.record;
	if (!fdpass_send(reply, &a, sizeof(a), &channel, 1)) {
		close(reply);
		if (!a.error && a.record.flags & INJECT_R_TRACED) {
			close(channel);
			hand_tend(&a.record, link);
		}
		return;
	}
	if (a.error)
		return;
	hand_undo(rq, &a.record);
	if (!memcmp(out, &a.record, sizeof(*out)))
		memset(out, 0, sizeof(*out));
}

void hand_worker(struct state *st, const struct hand_request *rq, int reply, int file, int link)
{
	struct hand_answer a = { .error = -EINVAL, .text = "no such request" };
	int got = -1;

	switch (rq->op) {
	case HAND_PLACE:
		hand_do_place(st, rq, reply, link);
		_exit(0);
	case HAND_CURE:
		hand_cure_now(rq, &a);
		break;
	case HAND_READONLY:
		got = readonly_reopen(file, rq->flags & HAND_F_DIRECT ? O_DIRECT : 0);
		a.error = got < 0 ? got : 0;
		snprintf(a.text, sizeof(a.text), "no read-only mount of the file: %s",
			 strerror(-a.error));
		break;
	}
	if (fdpass_send(reply, &a, sizeof(a), &got, 1))
		log_debug("nobody waits for an answer any more");
	_exit(0);
}
