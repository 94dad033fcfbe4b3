/* SPDX-License-Identifier: GPL-2.0-only */
/* agent: the thread that gives agents their orders; how agents begin and end. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "kapi/proc.h"
#include "pager/agent.h"
#include "pager/batch.h"
#include "pager/internal.h"
#include "util/log.h"

/* How long an order may take before the agent is taken for dead. The gate is lent to a MOVE. */
#define MOVE_PATIENCE_US 1000000
#define ORDER_PATIENCE_US 30000000
#define QUIT_PATIENCE_US 1000000
#define SETTLE_PATIENCE_US 1000000
/* At one order for so long, it is not waited for by those who could copy. */
#define ORDER_SLOW_US 300000
/* How often to see whether the target still is what it was (it may have executed a program). */
#define MM_LOOK_US 100000
#define IDLE_MS 100

void agent_kick(struct pager *p)
{
	pager_kick(p->agent_kick);
}

bool agent_may_drain(const struct pager *p)
{
	/* Not before the drain: a test that holds that means all that is done unasked. */
	return p->st->restored && p->drain_started && (p->opts->drain || p->st->finish);
}

void agent_why(struct session *s, const char *fmt, ...)
{
	va_list ap;

	if (s->shm->agent.why[0])
		return;
	va_start(ap, fmt);
	vsnprintf(s->shm->agent.why, sizeof(s->shm->agent.why), fmt, ap);
	va_end(ap);
}

bool agent_over(struct pager *p, struct session *s)
{
	uint32_t life;

	/* The order matters: care_look() says that it is placing one, then looks at this. */
	s->agent_leaving = true;
	life = s->shm->agent.life;
	if (life == AGENT_NONE || s->cure_waits)
		return true;
	agent_kick(p);
	pager_kick(p->control_kick);
	return false;
}

/* It has quit or exited, so nothing that it was told to do is still to be done. */
static void agent_finish(struct pager *p, struct agent *a)
{
	struct session *s = a->s;
	struct agent_slot *sl = &s->shm->agent;

	batch_lost(p, a);
	TAILQ_REMOVE(&p->agents, a, link);
	p->nagents--;
	s->hope = HOPE_NONE;
	sl->life = AGENT_OVER;
	sl->chan_fd = -1;
	close(a->chan.fd);
	if (a->pidfd >= 0)
		close(a->pidfd);
	if (a->pagemap_fd >= 0)
		close(a->pagemap_fd);
	s->ending = true;
	pager_kick(p->control_kick);
	pager_kick(p->fault_kick);
	pager_kick_drain(p);
	session_put(s);
	free(a);
}

static void agent_step(struct agent *a, enum batch_step step)
{
	a->step = step;
	a->step_us = pager_now_us();
}

/* What it still says is of no interest; its end is, and that the pidfd tells. */
static void agent_deafen(struct pager *p, struct agent *a)
{
	epoll_ctl(p->agent_epfd, EPOLL_CTL_DEL, a->chan.fd, NULL);
}

static void agent_kill(struct agent *a)
{
	int ret = proc_pidfd_kill(a->pidfd, SIGKILL);

	if (ret && ret != -ESRCH)
		log_warn("session %u: agent %d cannot be killed: %s", a->s->slot,
			 a->s->shm->agent.rec.agent_pid, strerror(-ret));
}

void agent_fail(struct pager *p, struct agent *a, const char *fmt, ...)
{
	char text[100];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (a->step == STEP_DYING)
		return;
	agent_why(a->s, "%s", text);
	log_info("session %u: no more of agent %d: %s", a->s->slot,
		 a->s->shm->agent.rec.agent_pid, text);
	a->s->hope = HOPE_NONE;
	pager_kick_drain(p);
	/* A gate that is lent stays so until it has exited. */
	agent_kill(a);
	agent_deafen(p, a);
	agent_step(a, STEP_DYING);
}

/* It has greeted. */
static void agent_start(struct pager *p, struct agent *a)
{
	struct agent_order o = { .op = AGENT_UFFD };
	int ret;

	if (a->step == STEP_SETTLE) {
		/* Who knows in what state a predecessor left them. */
		for (unsigned int i = 0; i < a->nslots; i++)
			a->slot[i].stale = true;
		batch_lost(p, a);
		a->boosted_us = !proc_boosted(a->s->shm->agent.rec.pid);
		batch_calm(a);
	}
	agent_step(a, STEP_WORK);
	ret = channel_order(&a->chan, &o, a->s->uffd, 0);
	if (ret) {
		agent_fail(p, a, "its channel: %s", strerror(-ret));
		return;
	}
	a->s->hope = HOPE_HERE;
	log_info("session %u: agent %d is at work", a->s->slot, a->s->shm->agent.rec.agent_pid);
}

static void agent_heard(struct pager *p, struct agent *a, const struct channel_sent *what,
			const struct agent_answer *answer)
{
	switch (what->op) {
	case AGENT_HELLO:
		if (answer->error)
			agent_fail(p, a, "it does not greet: %s", strerror(-answer->error));
		else
			agent_start(p, a);
		return;
	case AGENT_STAGE:
		if (a->s->hope == HOPE_SLOW)
			a->s->hope = HOPE_HERE;
		batch_staged(p, a, what, answer);
		return;
	case AGENT_MOVE:
		batch_moved(p, a, what, answer);
		return;
	case AGENT_QUIT:
		return;
	default:
		if (answer->error)
			agent_fail(p, a, "it cannot carry out order %u: %s", what->op,
				   strerror(-answer->error));
	}
}

static void agent_hear(struct pager *p, struct agent *a)
{
	struct channel_sent what;
	struct agent_answer answer;
	int ret;

	while (a->step != STEP_DYING && (ret = channel_answer(&a->chan, &what, &answer)) != 0) {
		if (ret == 1) {
			agent_heard(p, a, &what, &answer);
			continue;
		}
		/* After QUIT that is what is to be expected. */
		if (ret == -ENOTCONN && a->step == STEP_QUIT) {
			agent_deafen(p, a);
			return;
		}
		if (ret == -ENOTCONN)
			agent_fail(p, a, "it has died");
		else
			agent_fail(p, a, "its answer makes no sense");
	}
}

static void agent_watch(struct pager *p, int fd, struct agent *a)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = a };

	if (epoll_ctl(p->agent_epfd, EPOLL_CTL_ADD, fd, &ev))
		log_warn("session %u: agent: cannot watch descriptor %d: %s", a->s->slot, fd,
			 strerror(errno));
}

/* Its pidfd, if the process of that pid is the one on record. */
static int agent_hold(const struct inject_record *rec)
{
	int fd = proc_pidfd_open(rec->agent_pid);

	if (fd >= 0 && proc_start_time(rec->agent_pid) != rec->agent_start) {
		close(fd);
		fd = -ESRCH;
	}
	return fd;
}

static void agent_begin(struct pager *p, struct session *s)
{
	struct agent_slot *sl = &s->shm->agent;
	struct agent *a = calloc(1, sizeof(*a));

	if (!a) {
		session_put(s);
		s->agent_new = true;
		return;
	}
	a->s = s;
	a->pidfd = agent_hold(&sl->rec);
	a->pagemap_fd = proc_pagemap_open(sl->rec.agent_pid);
	a->nslots = sl->rec.nslots < AGENT_SLOTS_MAX ? sl->rec.nslots : AGENT_SLOTS_MAX;
	a->lent = s->agent_settle;
	channel_init(&a->chan, sl->chan_fd, p->st->incarnation << 20);
	agent_step(a, s->agent_settle ? STEP_SETTLE : STEP_WORK);
	a->mm_us = a->step_us;
	TAILQ_INSERT_TAIL(&p->agents, a, link);
	p->nagents++;
	/* Dead already?  Then nothing that it was told is still to be done. */
	if (a->pidfd < 0) {
		agent_why(s, "it has died");
		agent_finish(p, a);
		return;
	}
	agent_watch(p, a->pidfd, a);
	agent_watch(p, a->chan.fd, a);
	if (channel_settle(&a->chan))
		agent_fail(p, a, "it has died");
}

void agent_enter(struct pager *p, struct session *s, bool settle)
{
	if (settle) {
		gate_enter(&s->gate);
		gate_lend(&s->gate);
		gate_leave(&s->gate);
	}
	s->agent_settle = settle;
	s->agent_new = true;
	agent_kick(p);
}

/* Patience. */
static void agent_tick(struct pager *p, struct agent *a)
{
	uint64_t now = pager_now_us(), waits = channel_waits_us(&a->chan);
	struct agent_order quit = { .op = AGENT_QUIT };
	struct session *s = a->s;

	if (proc_pidfd_exited(a->pidfd)) {
		if (a->step == STEP_WORK)
			agent_fail(p, a, "it has died");
		agent_finish(p, a);
		return;
	}
	if (a->boosted_us && now - a->boosted_us > BATCH_BOOST_US)
		batch_calm(a);
	if (now - a->mm_us > MM_LOOK_US && a->step != STEP_DYING) {
		a->mm_us = now;
		if (!inject_same_mm(&s->shm->agent.rec)) {
			agent_fail(p, a, "its process has executed another program or ended");
			return;
		}
	}
	switch (a->step) {
	case STEP_SETTLE:
		if (now - a->step_us > SETTLE_PATIENCE_US)
			agent_fail(p, a, "it does not answer");
		break;
	case STEP_WORK:
		if (waits > (a->lent		? MOVE_PATIENCE_US :
			     s->agent_leaving	? QUIT_PATIENCE_US :
						ORDER_PATIENCE_US))
			agent_fail(p, a, "it does not answer");
		else if (waits > ORDER_SLOW_US && s->hope != HOPE_SLOW) {
			s->hope = HOPE_SLOW;
			pager_kick_drain(p);
		}
		if (a->step == STEP_WORK && s->agent_leaving && !a->chan.n) {
			if (channel_order(&a->chan, &quit, -1, 0))
				agent_fail(p, a, "it has died");
			else
				agent_step(a, STEP_QUIT);
		}
		break;
	case STEP_QUIT:
		if (now - a->step_us > QUIT_PATIENCE_US)
			agent_fail(p, a, "it does not quit");
		break;
	case STEP_DYING:
		break;
	}
}

/* How long nothing has to be looked at, in ms. */
static int agent_pause(struct pager *p, uint64_t now)
{
	uint64_t next = now + IDLE_MS * 1000;
	struct agent *a;

	TAILQ_FOREACH(a, &p->agents, link) {
		uint64_t at = batch_next_us(a);

		next = at > now && at < next ? at : next;
	}
	/* In units of epoll: a back-off is rounded up, so that it does not become a loop. */
	return (next - now + 999) / 1000;
}

static void agent_take_new(struct pager *p)
{
	struct session **list;
	unsigned int n = session_snapshot(p, &list);

	for (unsigned int i = 0; i < n; i++)
		if (atomic_exchange(&list[i]->agent_new, false))
			agent_begin(p, list[i]);
		else
			session_put(list[i]);
	free(list);
}

void *agent_thread(void *arg)
{
	struct pager *p = arg;
	struct epoll_event ev[32];
	struct agent *a, *next;
	int avoid = -1;

	while (!p->stop) {
		uint64_t now = pager_now_us(), drop;
		bool kicked = false;
		int n = epoll_wait(p->agent_epfd, ev, 32, p->nagents ? agent_pause(p, now) : -1);

		for (int i = 0; i < n; i++) {
			/* Looked at below: a pidfd's event needs more than its answers. */
			if (ev[i].data.ptr)
				agent_hear(p, ev[i].data.ptr);
			else if (read(p->agent_kick, &drop, sizeof(drop)) == sizeof(drop))
				kicked = true;
		}
		if (p->stop)
			break;
		if (kicked)
			agent_take_new(p);
		now = pager_now_us();
		if (avoid != p->fault_cpu) {
			avoid = p->fault_cpu;
			if (proc_avoid(avoid))
				log_debug("agents: cannot leave CPU %d", avoid);
		}
		for (a = TAILQ_FIRST(&p->agents); a; a = next) {
			next = TAILQ_NEXT(a, link);
			batch_feed(p, a, now);
			agent_tick(p, a);
		}
		/* They share a budget, so each is the first in turn. */
		a = TAILQ_FIRST(&p->agents);
		if (a) {
			TAILQ_REMOVE(&p->agents, a, link);
			TAILQ_INSERT_TAIL(&p->agents, a, link);
		}
	}
	/* A successor, or this process in its next life, settles with them. */
	while ((a = TAILQ_FIRST(&p->agents))) {
		TAILQ_REMOVE(&p->agents, a, link);
		close(a->pidfd);
		if (a->pagemap_fd >= 0)
			close(a->pagemap_fd);
		session_put(a->s);
		free(a);
	}
	return NULL;
}
