/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * agent: code that runs in the target's address space, see abi/agent_abi.h.
 *
 * Freestanding, position-independent, without data of its own: what it knows stands on its stack.
 * The link (agent.lds) refuses relocations, undefined symbols, data, and more than its budget.
 *
 * setup.c	run by a thread of the target: staging area, clone
 * agent.c	the agent: takes orders, answers
 * order.c	what the orders do
 * jail.c	what the agent may still do
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/agent_abi.h"
#include "agent/sys.h"

struct agent {
	struct agent_args *args;
	uint64_t staging;
	uint64_t staging_len;
	uint32_t nslots;
	int uffd;		/* or -1 */
	int file[AGENT_FILES];	/* or -1 */
	bool quit;
#ifdef MUTANT_hostile
	unsigned int moves;	/* orders to move so far */
#endif
};

/* All in one piece: no table of addresses is needed to get from one to the other. */
#pragma GCC visibility push(hidden)

/* agent_main - what the clone runs; @args is struct agent_args. Does not return. */
void agent_main(void *args);

/*
 * order_do - carry out one order.
 * @fd: descriptor that came with it, or -1; set to -1 when it was kept.
 * @send_fd: descriptor to go with the answer, stays ours; -1 on entry.
 */
void order_do(struct agent *a, const struct agent_order *o, struct agent_answer *r, int *fd,
	      int *send_fd);

/* jail - give up what is not needed any more. Return: 0 or -errno. */
long jail(void);

/* slot_map - (re)map one staging slot in place of what is there. Return: 0 or -errno. */
long slot_map(uint64_t addr, uint64_t len, bool huge);

#pragma GCC visibility pop

#endif
