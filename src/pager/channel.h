/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * channel: orders to an agent and its answers.
 *
 * Orders are answered in the order in which they were sent.  What comes from the other end comes
 * from a process whose memory the target can write to, so an answer has to fit the order it is for
 * in every field; one that does not is a lie, and its sender is done with.
 *
 * One thread a channel.  Nothing here waits.
 */
#ifndef PAGER_CHANNEL_H
#define PAGER_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/agent_abi.h"

#define CHANNEL_ORDERS 16u

/* An order that has not been answered yet. */
struct channel_sent {
	uint32_t op, seq;
	uint64_t since_us;
	uint32_t nranges;
	uint64_t bytes;		/* of all its pieces */
	uint32_t slots;		/* bit n: it is about slot n */
};

struct channel {
	int fd;
	uint32_t seq;		/* of the last order */
	unsigned int head, n;	/* ring of orders without an answer */
	struct channel_sent sent[CHANNEL_ORDERS];
	uint64_t heard_us;	/* when the last answer came */
};

/* channel_init - @seq: where to begin counting. */
void channel_init(struct channel *c, int fd, uint32_t seq);

/*
 * channel_order - send an order; its seq is filled in.
 * @fd: descriptor that goes along, or -1.
 * @slots: bits for channel_sent.
 * Return: 0; -EBUSY: enough is on its way; -ENOTCONN: the agent is gone; -errno.
 */
int channel_order(struct channel *c, struct agent_order *order, int fd, uint32_t slots)
	__attribute__((warn_unused_result));

/*
 * channel_answer - the next answer and the order that it is for.
 * Return: 1; 0: none now; -ENOTCONN: the agent is gone; -EPROTO: it lies; -errno.
 */
int channel_answer(struct channel *c, struct channel_sent *what, struct agent_answer *answer)
	__attribute__((warn_unused_result));

/*
 * channel_settle - after a death of the pager: send a HELLO, then throw away all answers up to its
 * own; channel_answer() does that by itself.  Once it is answered every order that anyone gave is
 * known to be finished.
 */
int channel_settle(struct channel *c) __attribute__((warn_unused_result));

/* channel_pending - how many orders of a kind wait for an answer. */
unsigned int channel_pending(const struct channel *c, uint32_t op);

/*
 * channel_waits_us - for how long the agent has been at what it is doing: since the oldest order,
 * or since its last answer.  0: it has nothing to do.
 */
uint64_t channel_waits_us(const struct channel *c);

#endif
