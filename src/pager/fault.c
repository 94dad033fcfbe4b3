/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fault: the thread that answers faults.
 *
 * Theory of operation
 * -------------------
 * One thread waits on all uffds.  For a readable one it takes the session's gate and
 *
 *	reads all messages into the journal and applies the events among them, in the order of the
 *	kernel, all in one exclusive hold,
 *	answers the faults, each in a shared hold beside the drain's.
 *
 * The kernel hands out faults before events, so events go first whatever the order in the batch: a
 * fault then meets the extents as they are.  An answer is one of
 *
 *	owed, bytes at hand	COPY of the page (and, when faults come fast, of its neighbours: 64
 *				KiB, more while it goes on, after the page itself has woken its
 *				waiter)
 *	owed, bytes cold	the urgent thread reads them; this thread never waits for a device
 *	owed nothing		ZEROPAGE; EEXIST means that a page stands there: wake
 *
 * EAGAIN from a placement means that the target is in the middle of an event that cannot be read
 * yet, or that it has not yet noticed that we read it.  Such faults are deferred and tried again
 * after the next read or, at the latest, after RETRY_US; meanwhile other sessions are served.
 *
 * The thread also ends sessions, since it alone reads uffds: when nothing is owed, or when the
 * address space is gone (asked once a second, and whenever a placement says so).
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kapi/proc.h"
#include "kapi/uffd.h"
#include "pager/agent.h"
#include "pager/internal.h"
#include "util/log.h"

#define RETRY_US 50
#define TICK_MS 1000
#define TICK_KILL_MS 20
/* fault_rate(): a fault so soon after the last answer counts; a pause takes back so many. */
#define STORM_GAP_US 40
#define STORM_CALM 32
#define STORM_STREAK 16		/* from here on AROUND_BYTES come along */
#define STORM_LONG 512		/* from here on AROUND_MAX_BYTES */

/* How often to look where the target runs: after so many faults and so much time. */
#define FOLLOW_FAULTS 32
#define FOLLOW_US 2000
#define FOLLOW_KEEP_US 50000	/* once it is known: looking costs as much as two faults */

void pager_kick(int eventfd)
{
	uint64_t one = 1;

	/* Fails only when the counter is full, and then it is readable. */
	if (write(eventfd, &one, sizeof(one)) < 0)
		return;
}

/*
 * Run where the target runs, and keep the drain away from there.  The thread that faults goes to
 * sleep, so its CPU is free, and neither waking us nor waking it takes an interrupt to another CPU,
 * which may have been halted (20-40 us each in a virtual machine, against 10 us for the whole
 * answer; doc/decisions.md).  The kernel does not say which of several threads has faulted.  With
 * two CPUs it does not matter: the target's threads move to the one that the drain leaves alone.
 */
static void fault_follow(struct pager *p, struct session *s, uint64_t now)
{
	long nthreads = 0;
	int cpu;

	if (++p->follow_faults < FOLLOW_FAULTS ||
	    now - p->follow_us < (p->fault_cpu < 0 ? FOLLOW_US : FOLLOW_KEEP_US))
		return;
	p->follow_faults = 0;
	p->follow_us = now;
	cpu = s->shm->pid > 0 ? proc_cpu_of(s->shm->pid, &nthreads) : -1;
	if (cpu < 0 || p->ncpus < 2 || (nthreads > 1 && p->ncpus > 2))
		cpu = -1;
	if (cpu == p->fault_cpu)
		return;
	if (proc_pin(cpu))
		cpu = -1;
	p->fault_cpu = cpu;
}

/*
 * Is the target doing little else than faulting?  It is when the next fault follows hard upon the
 * answer to the last, again and again; then neighbours are brought along, more when it lasts.  Too
 * many too soon would keep a target that only catches up with a delay from ever catching up.  The
 * time between faults itself says less: it holds the time that we took to answer.
 */
static void fault_rate(struct session *s, uint64_t now)
{
	if (now - s->answered_us < STORM_GAP_US)
		s->streak += s->streak < STORM_LONG;
	else
		s->streak -= s->streak < STORM_CALM ? s->streak : STORM_CALM;
	if (s->streak < STORM_STREAK)
		s->around_bytes = 0;
	else
		s->around_bytes = s->streak < STORM_LONG ? AROUND_BYTES : AROUND_MAX_BYTES;
}

/* Place what follows and precedes a page that was just placed, in its block. Gate entered. */
static void fault_around(struct pager *p, struct session *s, struct taddr page, char *buf)
{
	uint64_t bytes = s->around_bytes, start = page.v & ~(bytes - 1);
	struct range block = range_make(start, start + bytes);
	struct extent_view v;

	session_skip_guards(p, s, block);
	for (struct taddr at = block.start; extent_next(s->owed, at, &v);) {
		v.at = range_cut(v.at, block);
		if (!range_len(v.at))
			return;
		gate_share(&s->gate);
		struct place_report r = { .why = PLACE_FAILED };

		if (!source_fetch(p->sources[v.source], v.offset, buf, range_len(v.at), true))
			r = place_copy(s->uffd, v.at.start, buf, range_len(v.at), p->page_size);
		gate_unshare(&s->gate);
		/* The drain may have been quicker with one of them. */
		uint64_t done = r.done + (r.why == PLACE_ALREADY ? p->page_size : 0);

		at = taddr(v.at.start.v + done);
		if (done)
			session_placed(p, s, range_make(v.at.start.v, at.v),
				       &s->n->copied_around_bytes);
		if (r.why != PLACE_DONE && r.why != PLACE_ALREADY)
			return;
	}
}

enum fault_answer {
	FAULT_ANSWERED,
	FAULT_DEFER,	/* try again later */
	FAULT_PASSED,	/* the urgent thread has it */
	FAULT_OVER,	/* the address space is gone or about to be killed */
};

static enum fault_answer fault_verdict(enum place_why why)
{
	switch (why) {
	case PLACE_DONE:
	case PLACE_ALREADY:
	case PLACE_NOWHERE:
		return FAULT_ANSWERED;
	case PLACE_EVENT:
	case PLACE_NOMEM:
		return FAULT_DEFER;
	default:
		return FAULT_OVER;
	}
}

enum place_why fault_place_page(struct pager *p, struct session *s, struct extent_view v,
				const void *buf)
{
	struct range page = range_make(v.at.start.v, v.at.start.v + p->page_size);

	gate_share(&s->gate);
	phase_reach("fault-place");
	struct place_report r = place_copy(s->uffd, page.start, buf, p->page_size, p->page_size);

	gate_unshare(&s->gate);

	switch (r.why) {
	case PLACE_DONE:
		session_placed(p, s, page, &s->n->copied_fault_bytes);
		phase_reach("fault-placed");
		break;
	case PLACE_ALREADY:
		place_wake(s->uffd, page);
		session_placed(p, s, page, &s->n->copied_fault_bytes);
		break;
	case PLACE_NOWHERE:
		/* The VMA went away, or is not registered yet: the thread looks again. */
		place_wake(s->uffd, page);
		break;
	case PLACE_EXITED:
		s->ending = true;
		break;
	case PLACE_FAILED:
	case PLACE_LOST:
		log_err("session %u: cannot place a page at %#llx: %s", s->slot,
			(unsigned long long)page.start.v, strerror(-r.error));
		session_kill(p, s, "a page could not be placed");
		break;
	default:
		break;
	}
#ifdef MUTANT_eagain_fatal
	if (r.why == PLACE_EVENT)
		session_kill(p, s, "EAGAIN");
#endif
	return r.why;
}

static enum fault_answer fault_answer(struct pager *p, struct session *s, struct waiting_fault f)
{
	static char buf[AROUND_MAX_BYTES];
	struct extent_view v;
	enum place_why why;
	int ret;

	if (s->shm->reason[0])
		return FAULT_OVER;
	if (!extent_lookup(s->owed, f.addr, &v)) {
		why = session_place_zero(p, s, f.addr);
		if (why == PLACE_EXITED)
			s->ending = true;
		if (why == PLACE_FAILED || why == PLACE_LOST)
			session_kill(p, s, "a zero page could not be placed");
		return fault_verdict(why);
	}
	v.offset += f.addr.v - v.at.start.v;
	v.at.start = f.addr;
	recorder_touch(p, s, &v);
	ret = source_fetch(p->sources[v.source], v.offset, buf, p->page_size, true);
	/* A file that was cut and grew again reads as zeros. */
	if (!ret)
		ret = source_verify(p->sources[v.source]);
	/* Cold, or an error that may pass: the urgent thread has the time to wait. */
	if (ret && ret != -ESTALE)
		return urgent_push(s, f) ? FAULT_DEFER : FAULT_PASSED;
	if (ret) {
		session_source_error(p, s, v.source, ret);
		return FAULT_OVER;
	}
	why = fault_place_page(p, s, v, buf);
	if (why == PLACE_DONE) {
		s->hint_addr = f.addr.v;
		s->hint_us = f.since_us;
		p->fault_us = f.since_us;
		s->hint_seq++;
		if (s->around_bytes && !p->recorder)
			fault_around(p, s, f.addr, buf);
	}
	return fault_verdict(why);
}

static void fault_serve(struct pager *p, struct session *s, struct waiting_fault f)
{
	switch (fault_answer(p, s, f)) {
	case FAULT_ANSWERED:
	case FAULT_OVER:
		session_wait_end(s, f.since_us, pager_now_us());
		break;
	case FAULT_PASSED:
		break;
	case FAULT_DEFER:
		if (s->ndeferred < SESSION_DEFER_MAX) {
			s->deferred[s->ndeferred++] = f;
			break;
		}
		/* No room: the wake makes the kernel send it again. */
		place_wake(s->uffd, range_make(f.addr.v, f.addr.v + p->page_size));
		session_wait_end(s, f.since_us, pager_now_us());
	}
}

static void fault_listen(struct pager *p, struct session *s, bool on)
{
	struct epoll_event ev = { .events = on ? EPOLLIN : 0, .data.ptr = s };

	if (epoll_ctl(p->fault_epfd, EPOLL_CTL_MOD, s->uffd, &ev))
		log_debug("session %u: epoll: %s", s->slot, strerror(errno));
	s->parked = !on;
}

/*
 * The gate, exclusively.  While it is lent to an agent, which may be frozen, the session is parked:
 * not listened to, so that its readable uffd does not wake us again and again, until gate_missed
 * has made the one who takes the gate back tell us.
 */
static bool fault_enter(struct pager *p, struct session *s)
{
	bool in = gate_lock_unless_lent(&s->gate);

	if (!in) {
		s->gate_missed = true;
		/* It may have come back before that was seen. */
		in = gate_try(&s->gate);
	}
	if (in)
		s->gate_missed = false;
	if (in == s->parked)
		fault_listen(p, s, in);
	return in;
}

/*
 * One read of one session and all that follows from it.  The exclusive hold turns into shared ones
 * with the first answer; only this thread reads, so no event can come in between.
 * Return: messages read, or -errno.
 */
static int fault_batch(struct pager *p, struct session *s)
{
	struct waiting_fault again[SESSION_DEFER_MAX];
	unsigned int nagain, keep = 0;
	struct uffd_msg *msgs;
	uint64_t seq, now;
	int n, ret = 0;

	phase_reach("before-read");
	if (!fault_enter(p, s))
		return 0;
	n = journal_read(p, s, &msgs, &seq);
	for (int i = 0; i < n; i++) {
		if (msgs[i].event == UFFD_EVENT_PAGEFAULT)
			continue;
		keep = i + 1;
		if (!ret)
			ret = session_apply(p, s, &msgs[i], seq + i);
		phase_reach("event-applied");
	}
	if (ret) {
		log_err("session %u: an event could not be applied: %s", s->slot, strerror(-ret));
		session_kill(p, s, "an event could not be applied");
	}
	now = pager_now_us();
	nagain = s->ndeferred;
	memcpy(again, s->deferred, nagain * sizeof(again[0]));
	s->ndeferred = 0;
	for (unsigned int i = 0; i < nagain; i++)
		fault_serve(p, s, again[i]);
	for (int i = 0; i < n; i++) {
		if (msgs[i].event != UFFD_EVENT_PAGEFAULT)
			continue;
		s->n->faults++;
		fault_rate(s, now);
		session_wait_begin(s, now);
		fault_serve(p, s, (struct waiting_fault){
				pager_page(p, msgs[i].arg.pagefault.address), now });
	}
	gate_unlock(&s->gate);
	s->answered_us = pager_now_us();
	if (n > 0 && !keep)
		fault_follow(p, s, now);
	if (n < 0) {
		log_err("session %u: cannot read its uffd: %s", s->slot, strerror(-n));
		session_kill(p, s, "its userfaultfd cannot be read");
	}
	ret = journal_keep(p, keep);
	if (ret) {
		session_kill(p, s, "the event log is full");
		return ret;
	}
	return n;
}

/* Are huge pages still to be made of what was touched too early? The drain does that. */
static bool fault_collapses(struct pager *p, struct session *s)
{
	if (!s->to_collapse || s->shm->pidfd < 0 || (!p->opts->drain && !p->st->finish))
		return false;
	pager_kick_drain(p);
	return true;
}

/* Is it over?  Only looked at when something said that it may be, and on ticks. */
static bool fault_ended(struct pager *p, struct session *s)
{
	struct extent_view v = { .at = range_make(1 << 20, 2 << 20) };
	bool empty;

	s->ending = false;
	gate_peek(&s->gate);
	empty = !extent_next(s->owed, taddr(0), &v) && !s->waiting;
	gate_leave(&s->gate);
	if (uffd_mm_gone(s->uffd, v.at.start.v, p->page_size))
		return session_end(p, s, s->shm->reason[0] ? SESSION_KILLED : SESSION_GONE);

	/*
	 * A fork may have happened before what emptied the extents, and its event stand behind: the
	 * child is owed something then, and closing the uffd would end it for the child, too.
	 */
	if (empty && p->st->restored && !s->shm->reason[0] && !fault_collapses(p, s) &&
	    !uffd_mm_changing(s->uffd, v.at.start.v, p->page_size) && agent_over(p, s))
		return session_end(p, s, SESSION_DONE);
	return false;
}

/* Sessions whose state asks for a look; all of them on a tick. Return: anything being killed? */
static bool fault_look(struct pager *p, bool all)
{
	struct session *s, *next;
	bool killing = false;

	/* This thread alone takes sessions off the list; others only add at its tail. */
	pthread_mutex_lock(&p->sessions_lock);
	s = TAILQ_FIRST(&p->sessions);
	pthread_mutex_unlock(&p->sessions_lock);
	for (; s; s = next) {
		pthread_mutex_lock(&p->sessions_lock);
		next = TAILQ_NEXT(s, link);
		pthread_mutex_unlock(&p->sessions_lock);
		bool kill = s->shm->reason[0];

		if ((all || kill || s->ending) && fault_ended(p, s))
			continue;
		killing |= kill;
	}
	return killing;
}

static bool fault_deferred(struct pager *p)
{
	struct session *s;
	bool any = false;

	pthread_mutex_lock(&p->sessions_lock);
	TAILQ_FOREACH(s, &p->sessions, link)
		any |= s->ndeferred > 0 && !s->parked;
	pthread_mutex_unlock(&p->sessions_lock);
	return any;
}

static void fault_retry(struct pager *p)
{
	struct session *s, *next;

	pthread_mutex_lock(&p->sessions_lock);
	s = TAILQ_FIRST(&p->sessions);
	pthread_mutex_unlock(&p->sessions_lock);
	for (; s; s = next) {
		if (s->parked ? !s->gate_missed : s->ndeferred)
			fault_batch(p, s);
		pthread_mutex_lock(&p->sessions_lock);
		next = TAILQ_NEXT(s, link);
		pthread_mutex_unlock(&p->sessions_lock);
	}
}

void *fault_thread(void *arg)
{
	struct pager *p = arg;
	struct epoll_event ev[64];
	bool deferred = false, killing = false;
	uint64_t tick_us = pager_now_us();

	while (!p->stop) {
		struct timespec ts = { .tv_sec = 0, .tv_nsec = RETRY_US * 1000 };

		if (!deferred) {
			unsigned int ms = killing ? TICK_KILL_MS : TICK_MS;

			ts.tv_sec = ms / 1000;
			ts.tv_nsec = ms % 1000 * 1000000;
		}
		int n = epoll_pwait2(p->fault_epfd, ev, 64, &ts, NULL);
		bool look = false;

		for (int i = 0; i < n; i++) {
			struct session *s = ev[i].data.ptr;
			uint64_t drop;

			if (!s) {
				look = true;
				if (read(p->fault_kick, &drop, sizeof(drop)) < 0)
					continue;
				continue;
			}
			if (ev[i].events & EPOLLIN)
				fault_batch(p, s);
			else
				s->ending = true; /* EPOLLERR alone */
			look |= s->ending;
		}
		if (deferred || look)
			fault_retry(p);
		deferred = fault_deferred(p);
		uint64_t now = pager_now_us();
		bool tick = now - tick_us >= (killing ? TICK_KILL_MS : TICK_MS) * 1000u;

		if (tick)
			tick_us = now;
		if (tick || look)
			killing = fault_look(p, tick);
	}
	return NULL;
}
