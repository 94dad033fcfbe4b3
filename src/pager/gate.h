/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * gate: no placement that was decided before an event was read is carried out after it.
 *
 * Reading a REMOVE event lets the target go on at once.  Were a COPY that was decided before to
 * land after it, discarded bytes would come back.  So the fault thread reads a uffd and applies
 * what it read in one hold of the session's gate, and everyone else looks a page's state up and
 * places it in one hold.  Bytes are fetched outside; a hold lasts one ioctl of at most 64 KiB.
 *
 * The drain takes the gate again and again; a plain mutex would let it do so while the fault
 * thread is still waking up.  gate_lock_urgent() therefore says that it wants in, and
 * gate_lock() lets it go first.
 */
#ifndef PAGER_GATE_H
#define PAGER_GATE_H

#include <pthread.h>
#include <stdatomic.h>

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t passed;
	atomic_uint wanted;
};

static inline void gate_init(struct gate *g)
{
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->passed, NULL);
	g->wanted = 0;
}

/* gate_lock - for placements that can wait (drain, cold reads, status). */
static inline void gate_lock(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	while (g->wanted)
		pthread_cond_wait(&g->passed, &g->lock);
}

static inline void gate_unlock(struct gate *g)
{
	pthread_mutex_unlock(&g->lock);
}

/* gate_lock_urgent - for the thread that answers faults. */
static inline void gate_lock_urgent(struct gate *g)
{
	if (!pthread_mutex_trylock(&g->lock))
		return;
	g->wanted++;
	pthread_mutex_lock(&g->lock);
	g->wanted--;
	pthread_cond_broadcast(&g->passed);
}

#endif
