/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * urgent: faults whose bytes are not in memory.
 *
 * The fault thread must not wait for a device, so it hands such faults to a few threads of this
 * kind.  They read with no lock held, then take the gate, look the page up again (it may have been
 * placed, discarded or moved meanwhile) and place it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "pager/internal.h"
#include "util/log.h"

struct urgent {
	STAILQ_ENTRY(urgent) link;
	struct session *session;
	struct waiting_fault fault;
};

static STAILQ_HEAD(, urgent) urgent_queue = STAILQ_HEAD_INITIALIZER(urgent_queue);
static pthread_mutex_t urgent_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t urgent_cond = PTHREAD_COND_INITIALIZER;
static bool urgent_stopped;

int urgent_push(struct session *s, struct waiting_fault f)
{
	struct urgent *u = malloc(sizeof(*u));

	if (!u)
		return -ENOMEM;
	u->session = session_get(s);
	u->fault = f;
	pthread_mutex_lock(&urgent_lock);
	STAILQ_INSERT_TAIL(&urgent_queue, u, link);
	pthread_cond_signal(&urgent_cond);
	pthread_mutex_unlock(&urgent_lock);
	return 0;
}

void urgent_start(void)
{
	urgent_stopped = false;
}

void urgent_stop(void)
{
	pthread_mutex_lock(&urgent_lock);
	urgent_stopped = true;
	pthread_cond_broadcast(&urgent_cond);
	pthread_mutex_unlock(&urgent_lock);
}

static struct urgent *urgent_pop(void)
{
	struct urgent *u;

	pthread_mutex_lock(&urgent_lock);
	while (!(u = STAILQ_FIRST(&urgent_queue)) && !urgent_stopped)
		pthread_cond_wait(&urgent_cond, &urgent_lock);
	if (u)
		STAILQ_REMOVE_HEAD(&urgent_queue, link);
	pthread_mutex_unlock(&urgent_lock);
	return u;
}

/* What is owed at the page of a fault, cut to that page. */
static bool urgent_lookup(struct session *s, struct taddr page, struct extent_view *v)
{
	if (!s->owed || !extent_lookup(s->owed, page, v))
		return false;
	v->offset += page.v - v->at.start.v;
	v->at.start = page;
	return true;
}

static void urgent_serve(struct pager *p, struct session *s, struct waiting_fault f)
{
	struct range page = range_make(f.addr.v, f.addr.v + p->page_size);
	char buf[65536];
	bool owed;

	for (bool placed = false; !placed && !p->stop;) {
		struct extent_view before, now;

		gate_enter(&s->gate);
		owed = urgent_lookup(s, f.addr, &before);
		gate_leave(&s->gate);
		if (!owed || s->shm->reason[0])
			break;
		int ret = source_fetch(p->sources[before.source], before.offset, buf, p->page_size,
				       false);

		if (!ret)
			ret = source_verify(p->sources[before.source]);
		if (ret && !session_source_error(p, s, before.source, ret))
			break;
		if (ret) {
			nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
			continue;
		}
		s->failing_since_us = 0;
		gate_enter(&s->gate);
		if (urgent_lookup(s, f.addr, &now) && now.source == before.source &&
		    now.offset == before.offset) {
			enum place_why why = fault_place_page(p, s, now, buf);

			/* An event is in the way: the fault thread reads it as soon as it may. */
			placed = why != PLACE_EVENT && why != PLACE_NOMEM;
		}
		gate_leave(&s->gate);
		if (!placed)
			nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	}
	gate_enter(&s->gate);
	/* Not owed any more: raised again, the fault thread answers it with what is right now. */
	if (s->owed)
		place_wake(s->uffd, page);
	session_wait_end(s, f.since_us, pager_now_us());
	s->ending = true;
	gate_leave(&s->gate);
	pager_kick(p->fault_kick);
}

void *urgent_thread(void *arg)
{
	struct pager *p = arg;
	struct urgent *u;

	while ((u = urgent_pop())) {
		if (!p->stop)
			urgent_serve(p, u->session, u->fault);
		session_put(u->session);
		free(u);
	}
	return NULL;
}
