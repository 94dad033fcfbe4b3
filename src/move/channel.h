/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * channel: an agent in a process that lives on, from place to cure, and one order at a time.
 *
 * The agent shares its memory with the process, so nothing that it says is taken for more than it
 * can be: an answer that does not fit the order is an error, one that does not come ends the agent.
 */
#ifndef MOVE_CHANNEL_H
#define MOVE_CHANNEL_H

#include "abi/agent_abi.h"
#include "inject/inject.h"

struct channel {
	struct inject_record rec;
	int sock_fd;
	uint32_t seq;
	bool dead;		/* it does not answer any more */
};

/*
 * channel_open - place an agent in @pid and hear that it is there.
 * Return: 0, or -errno with the words in @err and nothing left behind, unless *@left_behind.
 */
int channel_open(pid_t pid, struct channel *ch, struct inject_error *err, bool *left_behind)
	__attribute__((warn_unused_result));

/*
 * channel_ask - have an order carried out, and wait.
 * @order: op, flags and ranges; the rest is filled in.
 * @answer: value and done are valid also with an error of the order's.
 * Return: 0; -errno, as the agent got it from the kernel; -EPIPE: the agent is gone, or was ended
 * because it did not answer.  What became of the order is then unknown.
 */
int channel_ask(struct channel *ch, struct agent_order *order, struct agent_answer *answer)
	__attribute__((warn_unused_result));

/*
 * channel_close - end the agent and take it out.
 * @stop: asked while somebody else holds the process (a debugger): give up?
 * Return: 0, or -errno with the words in @err; -ESRCH, -ENOENT: the process has ended, or executes
 * another program, which leaves nothing behind either.
 */
int channel_close(struct channel *ch, bool (*stop)(void *ctx), void *ctx, struct inject_error *err)
	__attribute__((warn_unused_result));

#endif
