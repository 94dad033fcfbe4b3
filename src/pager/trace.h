/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * trace: recording the order of first touch, and placing by it the next time.
 *
 * Theory of operation
 * -------------------
 * Recording (recorder.c).  The fault thread notes each fault on owed bytes as (source, offset) in a ring;
 * the control thread empties the ring, finds the image address of each (a page may have been moved
 * by mremap or be a forked child's, its place in the source does not change), and appends it to the
 * task's order.  Nothing comes along with a fault while it is recorded, or the neighbours would
 * never fault themselves.  With --no-drain the order is complete; while draining it has those pages
 * that the target touched before the drain came by.  The file is written at intervals and at the
 * end; what was there before is merged with.
 *
 * Replaying (replay.c).  Each session of a task that the trace knows has an order.  As soon as criu
 * says that all tasks are in place the first drain worker places what the order names, by its
 * beginning: that is the hot set, up to --hot-budget, and whoever holds the tasks back asks
 * replay_over().  The rest of the order is drained next and under the drain's limits, then
 * everything else.  Within a step of some MiB pages go by address, since that makes larger pieces.
 *
 * Where an agent is to bring in whole huge blocks (plan.h) the worker leaves those to it, and the
 * agents' thread walks the same order for them: a block of which anything is hot is moved as a whole,
 * for one page of it copied would take the huge page away.
 */
#ifndef PAGER_TRACE_H
#define PAGER_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/extent.h"
#include "core/order.h"

struct pager;
struct session;
struct plan_block;

/* A session's walk along its order.  First drain worker, but for the flags. */
struct replay {
	const struct order *order;	/* of the pager's trace */
	struct order_cursor cursor;
	struct range *step;	/* what is placed just now; ascending, apart from each other */
	unsigned int nsteps, at;
	struct taddr next;	/* in step[at]: up to here it has been taken */
	atomic_bool active;	/* there is something left of the order */
	atomic_bool hot;	/* within the budget */
	_Atomic uint64_t hot_end;	/* so many bytes of the order were taken while it was hot */
	atomic_bool agent_hot;	/* an agent has hot blocks left to it, and is not through with them */

	/* Agents' thread. */
	struct order_cursor agent_cursor;
	struct range agent_run;	/* what of the present run is left */
	uint64_t agent_taken;	/* bytes of the order, that run included */
};

/* trace_open - load the trace, before any task comes.  Without one the restore goes on. */
void trace_open(struct pager *p);
void trace_close(struct pager *p);

/* recorder_open - begin to record, if asked to; after trace_open(). */
void recorder_open(struct pager *p);
void recorder_close(struct pager *p);
/* recorder_touch - a fault on owed bytes. Fault thread. */
void recorder_touch(struct pager *p, struct session *s, const struct extent_view *v);
/* recorder_tick - take up what was touched, write the file when it is time. Control thread. */
void recorder_tick(struct pager *p, bool last);

/* replay_attach - give a session its order. Before it is published. */
void replay_attach(struct pager *p, struct session *s);
/* replay_begin - all tasks are in place: the budget begins. */
void replay_begin(struct pager *p);
/*
 * replay_over - need this session's task not be held back for hot pages any longer?  They are in, or
 * the budget is spent, or there are none.  Any thread; when it becomes true the control thread is
 * kicked.
 */
bool replay_over(struct pager *p, struct session *s);
/*
 * replay_peek - the next owed piece by the order; false when the order is through. Gate entered,
 * first drain worker.
 */
bool replay_peek(struct pager *p, struct session *s, struct extent_view *v);
/* replay_leave - what replay_peek() gave is for the agent, up to here; first drain worker. */
void replay_leave(struct pager *p, struct session *s, struct taddr to);
/*
 * replay_block - the next huge block by the order. Gate entered, agents' thread.
 * @busy: blocks that are on their way already, @nbusy of them.
 * @all: also behind what is hot.
 * Return: 1 and *@out; 0: there is none; -EAGAIN: not found in reasonable time, ask again.
 */
int replay_block(struct pager *p, struct session *s, bool all, const struct plan_block *const *busy,
		 unsigned int nbusy, struct plan_block *out);
/* replay_advance - up to here the piece has been taken. */
void replay_advance(struct session *s, struct taddr to);
void replay_free(struct replay *r);

#endif
