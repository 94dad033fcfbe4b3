/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * batch: blocks on their way through the staging area of an agent.
 *
 * Theory of operation
 * -------------------
 * The staging area has slots of 2 MiB.  A block is read into one (STAGE), the source is verified,
 * and it is moved into place (MOVE) if it is still owed as it was.  Orders are for several slots at
 * once, a third of them.  While the target is quiet one third is being read into, one waits for
 * that with its order given, and one is moved, so that the agent always has something to do however
 * late we are woken.
 *
 *	FREE ──STAGE──► STAGING ──► FULL ──MOVE──► MOVING ──► FREE
 *	                  └─► FREE    ▲ └─► FREE     │
 *	                              └── try again ─┘
 *
 * While the target faults, an order to move is sent only when the agent has nothing else to do, since
 * the gate is lent for as long as it is under way; and what is to be read next along with it.  The
 * agent is in the fault thread's scheduling class for that time, since it is whom a fault would wait
 * for; but not for longer than BATCH_BOOST_US, whatever it does.
 *
 * A slot from which pages were moved one by one (the kernel splits the huge page when the
 * destination has a page table) keeps an empty page table and would never be huge again.  It is
 * stale: mapped anew (FRESH) before it is used.
 */
#ifndef PAGER_BATCH_H
#define PAGER_BATCH_H

#include <sys/queue.h>

#include "pager/channel.h"
#include "pager/plan.h"

enum slot_state {
	SLOT_FREE,
	SLOT_STAGING,
	SLOT_FULL,
	SLOT_MOVING,
};

struct slot {
	enum slot_state state;
	bool stale;
	unsigned int tries;
	uint64_t retry_us;	/* FULL: not before */
	struct plan_block b;
};

#define AGENT_KEYS 32u	/* files that one agent is given; fewer than AGENT_FILES */

enum batch_step {
	STEP_SETTLE,	/* what a dead pager had ordered is not known to be over */
	STEP_WORK,
	STEP_QUIT,	/* told to */
	STEP_DYING,	/* killed; has not exited yet */
};

/* One agent; the agents' thread alone touches it. */
struct agent {
	TAILQ_ENTRY(agent) link;
	struct session *s;
	struct channel chan;
	enum batch_step step;
	uint64_t step_us;		/* since when */
	int pidfd;
	int pagemap_fd;			/* of the address space, -1: cannot be looked at */
	uint64_t mm_us;			/* when it was last seen to be the target's */
	bool lent;			/* the gate, for an order to move */
	uint64_t boosted_us;		/* in the real-time class since, 0: it is not */
	unsigned int nslots;
	struct slot slot[AGENT_SLOTS_MAX];
	uint32_t key[AGENT_KEYS];	/* file number n is this key, see files.h */
	unsigned int nkeys;
	uint64_t cursor;
	unsigned int hint_seen;
	uint64_t rest_us;		/* no staging before */
	unsigned int refused;		/* moves in a row that the kernel would not do at all */
	unsigned int small;		/* blocks in a row that did not come as huge pages */
	unsigned int starved;		/* stagings in a row for which there was no memory */
};

TAILQ_HEAD(agent_list, agent);

/* batch_feed - give it what there is to do. */
void batch_feed(struct pager *p, struct agent *a, uint64_t now);
/* batch_staged, batch_moved - an order of that kind has been answered. */
void batch_staged(struct pager *p, struct agent *a, const struct channel_sent *what,
		  const struct agent_answer *answer);
void batch_moved(struct pager *p, struct agent *a, const struct channel_sent *what,
		 const struct agent_answer *answer);
/* batch_lost - no order is under way any more: what it was at is left to others. */
void batch_lost(struct pager *p, struct agent *a);
/* batch_calm - end its boost. */
void batch_calm(struct agent *a);
/* How long an agent may be in the real-time class for one move. */
#define BATCH_BOOST_US 2000
/* batch_next_us - when to look again without an answer, UINT64_MAX: never. */
uint64_t batch_next_us(const struct agent *a);

/* agent.c: */
/* agent_fail - have done with an agent that cannot or should not be used. */
void agent_fail(struct pager *p, struct agent *a, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
