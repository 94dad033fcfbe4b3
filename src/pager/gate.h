/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * gate: no placement that was decided before an event was read is carried out after it.
 *
 * Theory of operation
 * -------------------
 * Reading a REMOVE event lets the target go on at once.  Were a COPY that was decided before to
 * land after it, discarded bytes would come back.  So there are two kinds of hold:
 *
 *	exclusive	gate_lock_unless_lent .. gate_unlock: the fault thread reads a uffd and
 *			applies what it read in one such hold
 *	shared		everyone else's: look a page's state up, copy, book it.  Several at once
 *
 * The extents are guarded by the mutex alone.  A shared hold therefore has three parts:
 *
 *	gate_enter	mutex taken: look up
 *	gate_share	mutex let go, hold kept: the ioctl
 *	gate_unshare	mutex taken again: book; then more of the same, or gate_leave
 *
 * Bytes are fetched outside of any hold, so a hold lasts one short ioctl.  An exclusive locker
 * announces itself, and no new shared hold begins before it has been in: otherwise the drain,
 * which takes one after the other, would keep faults waiting.
 *
 * An agent's order to move pages is carried out by another process, in the target's cgroup, which
 * may be throttled or frozen.  The shared hold that it stands under is *lent*: from before the order
 * is sent until its answer has come or the agent is dead.  Nobody waits for a gate that is lent: the
 * one who wants it exclusively is refused (gate_lock_unless_lent) and comes back when told; shared
 * holds go on beside it.
 *
 * Holds last microseconds and the holder runs on another CPU, while going to sleep may halt this
 * one, and being woken then costs more than the hold.  So both kinds spin for up to GATE_SPIN_US
 * before they sleep, except on a machine with one CPU (gate_spin_us is 0 there).
 */
#ifndef PAGER_GATE_H
#define PAGER_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define GATE_SPIN_US 60

extern unsigned int gate_spin_us;

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t passed;	/* an exclusive locker has got in */
	pthread_cond_t idle;	/* no shared hold is left */
	atomic_uint wanted;	/* exclusive lockers that wait */
	unsigned int sharers;	/* under the lock; lent ones are among them */
	atomic_uint lent;	/* written under the lock */
};

static inline void gate_init(struct gate *g)
{
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->passed, NULL);
	pthread_cond_init(&g->idle, NULL);
	g->wanted = 0;
	g->sharers = 0;
	g->lent = 0;
}

static inline uint64_t gate_clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ull + ts.tv_nsec / 1000;
}

static inline void gate_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Take the mutex, with an eye on the clock while it is not to be had. */
static inline void gate_mutex(struct gate *g)
{
	uint64_t until;

	if (!pthread_mutex_trylock(&g->lock))
		return;
	for (until = gate_clock_us() + gate_spin_us; gate_clock_us() < until;)
		for (int i = 0; i < 32; i++) {
			if (!pthread_mutex_trylock(&g->lock))
				return;
			gate_relax();
		}
	pthread_mutex_lock(&g->lock);
}

static inline bool gate_try(struct gate *g)
{
	if (pthread_mutex_trylock(&g->lock))
		return false;
	if (!g->sharers)
		return true;
	pthread_mutex_unlock(&g->lock);
	return false;
}

/*
 * gate_lock_unless_lent - exclusive.  A lent hold is given as long to end as is spun for any other.
 * Return: false: it is lent, nothing is held.
 */
static inline bool gate_lock_unless_lent(struct gate *g)
{
	bool in = gate_try(g);

	if (in)
		return true;
	g->wanted++;
	for (uint64_t until = gate_clock_us() + gate_spin_us; !in && gate_clock_us() < until;)
		for (int i = 0; i < 32 && !in; i++) {
			gate_relax();
			in = gate_try(g);
		}
	if (!in) {
		pthread_mutex_lock(&g->lock);
		/* No hold begins meanwhile, so one that is lent is not lent anew. */
		while (g->sharers > g->lent)
			pthread_cond_wait(&g->idle, &g->lock);
		in = !g->sharers;
	}
	g->wanted--;
	pthread_cond_broadcast(&g->passed);
	if (!in)
		pthread_mutex_unlock(&g->lock);
	return in;
}

/* gate_peek .. gate_leave - the mutex alone: look at the extents, nothing is placed. */
static inline void gate_peek(struct gate *g)
{
	gate_mutex(g);
}

static inline void gate_unlock(struct gate *g)
{
	pthread_mutex_unlock(&g->lock);
}

/* gate_enter - begin a shared hold: after exclusive lockers that wait. */
static inline void gate_enter(struct gate *g)
{
	if (g->wanted)
		for (uint64_t until = gate_clock_us() + gate_spin_us;
		     g->wanted && gate_clock_us() < until;)
			gate_relax();
	gate_mutex(g);
	while (g->wanted)
		pthread_cond_wait(&g->passed, &g->lock);
}

static inline void gate_leave(struct gate *g)
{
	pthread_mutex_unlock(&g->lock);
}

static inline void gate_share(struct gate *g)
{
	g->sharers++;
	pthread_mutex_unlock(&g->lock);
}

static inline void gate_unshare(struct gate *g)
{
	gate_mutex(g);
	if (--g->sharers <= g->lent)
		pthread_cond_broadcast(&g->idle);
}

/*
 * gate_lend - begin a hold on behalf of somebody outside. Gate entered, before and afterwards.
 * gate_take_back - it is over. Under gate_peek().
 */
static inline void gate_lend(struct gate *g)
{
	g->sharers++;
	g->lent++;
}

static inline void gate_take_back(struct gate *g)
{
	g->lent--;
	if (--g->sharers <= g->lent)
		pthread_cond_broadcast(&g->idle);
}

/* gate_yield - between two shared holds: let an exclusive locker in. */
static inline void gate_yield(struct gate *g)
{
	if (!g->wanted)
		return;
	gate_leave(g);
	gate_enter(g);
}

#endif
