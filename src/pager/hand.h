/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hand: the process that does for the pager what the pager may not do.
 *
 * Placing an agent takes ptrace, mounts, other processes' limits; the pager has given all that up
 * before it read the first byte of an image.  So the keeper starts a process apart, the hand, which
 * keeps those rights, parses nothing, and serves small requests of fixed size.  It makes a worker
 * for each, so that a target which cannot be stopped (frozen, say) holds up nobody else.
 *
 *	keeper		hand_start() before the first pager, and again when the pager asks for it
 *	pager		control thread: hand_ask(), and hand_hear() when hand_poll_fd() is readable
 *
 * Nothing here waits.  A request takes its own socket along for the answer, so an answer has no
 * other addressee, and a worker that was killed shows as the end of that socket: each request gets
 * exactly one answer, in whatever order.  See hand_serve.c for the other side.
 */
#ifndef PAGER_HAND_H
#define PAGER_HAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject/inject.h"

struct state;

enum hand_op {
	HAND_PLACE = 1,	/* inject_place() into @pid; answer: @record, and the agent's channel */
	HAND_CURE,	/* inject_cure() of @record; answer: @record as it is afterwards */
	HAND_READONLY,	/* with a descriptor; answer: the same file, open for reading only through a
			 * read-only mount: whoever gets it cannot reopen it for writing, not even as
			 * root */
};

#define HAND_F_TRACED 1u	/* PLACE: seccomp'd targets too; the hand stays the agent's tracer */
#define HAND_F_DIRECT 2u	/* READONLY: with O_DIRECT; -EINVAL where the file system has none */

struct hand_request {
	uint32_t op;		/* enum hand_op */
	uint32_t flags;		/* HAND_F_ */
	uint64_t cookie;	/* comes back in the answer; PLACE: the session's slot, whose
				 * agent.rec, zeros before, the hand itself fills in as soon as there
				 * is an agent: a pager that dies leaves none that nobody knows of */
	int32_t pid;		/* PLACE */
	uint32_t nslots;	/* PLACE: huge slots */
	uint64_t pid_start;	/* PLACE: start time of @pid, see proc_start_time() */
	uint32_t patience_ms;	/* PLACE, CURE: how long to wait for another tracer to go away */
	uint32_t unused;
	struct inject_record record;	/* CURE */
};

struct hand_answer {
	uint32_t op;		/* as in the request */
	int32_t error;		/* 0 or -errno of inject_*(), -ETIMEDOUT: nothing came of it (what may
				 * come of it later is undone), -EOWNERDEAD: the worker was killed */
	uint64_t cookie;
	uint32_t flags;		/* HAND_A_ */
	uint32_t us;		/* how long it took */
	struct inject_record record;
	char text[160];		/* error != 0: one line for a person */
};

/* -EOWNERDEAD: and the target has ended.  If the worker was in the middle, the kernel ended it, lest
 * it run on with registers that are not its own. */
#define HAND_A_ENDED 1u

/*
 * hand_start - keeper: see to it that there is a hand.  Sets st->hand_fd and st->hand_pid (-1: never
 * again).
 * Return: 0, or -errno, logged; -EPERM when this process has given up the rights itself.
 */
int hand_start(struct state *st);

/*
 * hand_stop - keeper, at the very end: no request will come any more.  What is being done is done
 * to its end by the workers.
 */
void hand_stop(struct state *st);

/* hand_lost - is there no hand, and none to come? */
bool hand_lost(const struct state *st);

/* hand_open - pager, once, before the first request. Return: 0 or -errno. */
int hand_open(void);
void hand_close(void);

/*
 * hand_ask - send a request.
 * @fd: descriptor that goes along, or -1.
 * Return: 0: there will be one answer; -EAGAIN: too much is outstanding; -ENOTCONN: there is no hand
 * now, and the keeper has been asked for another one.  Ask again later.
 */
int hand_ask(struct state *st, const struct hand_request *rq, int fd)
	__attribute__((warn_unused_result));

/* hand_poll_fd - readable when hand_hear() may have something to say. */
int hand_poll_fd(void);

/*
 * hand_hear - the next answer.  To be called on hand_poll_fd() and now and then: that a time is
 * over makes nothing readable.
 * @fd: the descriptor that came along (close-on-exec), the caller's, or -1.
 * Return: 1 and *@answer; 0: none now.
 */
int hand_hear(struct state *st, struct hand_answer *answer, int *fd);

/* hand_serve - the hand's life. Never returns. */
void hand_serve(struct state *st, int sock) __attribute__((noreturn));
/*
 * hand_worker - one request. Never returns.
 * @reply: where its answer goes.  @file: what came along.  @link: where the master sends a cure.
 */
void hand_worker(struct state *st, const struct hand_request *rq, int reply, int file, int link)
	__attribute__((noreturn));

#endif
