/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * agent: the helper inside a target that moves pages into place, as the pager sees it.
 *
 * Theory of operation
 * -------------------
 * UFFDIO_MOVE is refused to whoever does not live in the target's address space, so a process that
 * does, the agent (abi/agent_abi.h), reads blocks of 2 MiB into huge pages of its own and moves them
 * into place as one entry each.  It gives huge pages, and saves the copy out of the page cache
 * where the file is read directly.  Everything works without it, by COPY.
 *
 * Who does what
 *	hand (hand.h)	places agents and cures targets of them; takes milliseconds
 *	control thread	asks the hand; agents that the plugin has placed come in here (care.c)
 *	agents' thread	gives orders and hears answers, of all agents (agent.c: life and death;
 *			batch.c: blocks through the slots of the staging area; channel.c)
 *	drain		leaves alone the blocks that an agent is to move (plan.h)
 *	fault thread	knows nothing of all this but that a gate may be lent (gate.h)
 *
 * A life, as session_slot.agent.life has it
 *
 *	NONE -> PLACING -> THERE -> OVER -> CURING -> NONE
 *
 * PLACING goes back to NONE when it cannot be done, CURING to OVER when somebody traces the target:
 * later again.
 *
 * The record of the agent is in the shared state from the moment that it exists, so a successor of
 * this pager uses or cures it.  What the dead pager had ordered is not known to have been finished;
 * so the gate begins lent, and a HELLO is sent: agents answer in order, so with its answer all is
 * known to be over.  Only then is the uffd read.
 *
 * A move is an order carried out by somebody else at some time.  The gate is lent (shared, on the
 * agent's behalf) from before the order is sent until its answer is there.  Without an answer for
 * MOVE_PATIENCE_US the agent is killed; when its pidfd says that it has exited the order is known
 * to be over, and the gate comes back.  What it had moved until then is found by looking: COPY says
 * EEXIST.
 *
 * Nothing that an agent says is trusted.  It can lie about having moved pages: its own target then
 * reads zeros there.  An answer that does not fit its order ends it.
 *
 * The end of a session: the agent is told to quit (its uffd closed), the target cured, then our own
 * uffd is closed; the other way round a page that is missing would make a thread wait for ever.
 * Where the cure has to wait for a debugger the session ends without, and it is tried on.
 */
#ifndef PAGER_AGENT_H
#define PAGER_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "inject/inject.h"

struct pager;
struct session;
struct hand_answer;

/* What the drain may expect of agents in a session. */
enum agent_hope {
	HOPE_NONE = 0,	/* there is none and none will come */
	HOPE_SOON,	/* one is being placed, or may be */
	HOPE_HERE,	/* it is at work */
	HOPE_SLOW,	/* it is there, but does not get on: do not wait for it */
};

#define AGENT_SLOTS_DEFAULT 6u
#define AGENT_STAGING_DEFAULT (64u << 20)

void *agent_thread(void *pager);

/* agent_kick - have the agents' thread look around. */
void agent_kick(struct pager *p);

/*
 * agent_enter - an agent is THERE: the agents' thread takes over. Control thread.
 * @settle: a dead pager may have given it orders; the gate is lent until that is known to be over.
 */
void agent_enter(struct pager *p, struct session *s, bool settle);

/* agent_may_drain - is it time to bring in what nobody has asked for? */
bool agent_may_drain(const struct pager *p);

/* agent_over - bring it to an end: quit, then cure. Any thread. Return: is there none (any more)? */
bool agent_over(struct pager *p, struct session *s);

/* agent_why - note why there is none, or none any more; the first reason stays. */
void agent_why(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* care.c: control thread only. */

/* care_begin - may an agent come to this session at all?  Before it is published. */
void care_begin(struct pager *p, struct session *s);
/* care_adopt - after a replay: agents and what was being done to them. */
void care_adopt(struct pager *p);
/* care_wants_huge - should memory advised like that come in huge pages? @madv: bit n: MADV_n. */
bool care_wants_huge(const struct pager *p, uint64_t madv);
/* care_lets_huge - and what was in huge pages at the dump? */
bool care_lets_huge(uint64_t madv);
/* care_look - ask the hand for what is due. Return: anything that must not be left undone? */
bool care_look(struct pager *p);

/*
 * agent_arrived - one that the plugin has placed.  Takes over @chan_fd.
 * Return: 0: taken (or known already); -EEXIST: there is another one, the channel is closed.
 */
int agent_arrived(struct pager *p, struct session *s, const struct inject_record *rec, int chan_fd);
/* agent_refused - the plugin has placed none. @late: the hand may, later. */
void agent_refused(struct pager *p, struct session *s, const char *why, bool late);
/* agent_answered - what the hand says. @fd: descriptor that came along, or -1; taken over. */
void agent_answered(struct pager *p, const struct hand_answer *a, int fd);

#endif
