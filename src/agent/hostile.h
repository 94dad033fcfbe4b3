/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hostile: an agent that lies, built as MUTANT=hostile only, for tests/e2e/hostile.t.
 *
 * The target can write to the agent's memory, so this is what a hostile target may make of it.
 * Which lie it tells is in the highest byte of args->page_size; it begins with the second block.
 */
#ifndef AGENT_HOSTILE_H
#define AGENT_HOSTILE_H

enum lie {
	LIE_OP = 1,	/* an answer to an order that was not given */
	LIE_SEQ,	/* ... to an older one */
	LIE_MORE,	/* more bytes than it was told to move */
	LIE_PART,	/* half a page */
	LIE_ERROR,	/* an error that is none */
	LIE_LONG,	/* an answer that is too long */
	LIE_SHORT,	/* ... too short */
	LIE_TWICE,	/* two for one order */
	LIE_FLOOD,	/* thousands, each with a descriptor */
	LIE_MUTE,	/* none any more, and no end */
	LIE_LATE,	/* the move is made, its answer never comes */
	LIE_SPITE,	/* all moves fail, nothing is moved */
	LIE_HANGUP,	/* the channel is closed */
};

#define LIE_FLOOD_ANSWERS 5000

static void lie_send(const void *buf, size_t len, int fd)
{
	struct sys_iovec iov = { (void *)buf, len };
	struct sys_fdmsg c = { SYS_FDMSG_LEN, SOL_SOCKET, SCM_RIGHTS, fd, 0 };
	struct sys_msghdr msg = { .iov = &iov, .iovlen = 1 };

	if (fd >= 0) {
		msg.control = &c;
		msg.controllen = SYS_FDMSG_LEN;
	}
	sys_sendmsg(AGENT_FD_OWN, &msg, MSG_NOSIGNAL);
}

/* Before an order is carried out. Return: leave it be, @r is the answer. */
static bool lie_instead(const struct agent *a, const struct agent_order *o, struct agent_answer *r)
{
	if (a->args->page_size >> 24 != LIE_SPITE || o->op != AGENT_MOVE)
		return false;
	r->error = -EINVAL;
	return true;
}

/* Return: has it been answered, or is not to be? */
static bool lie_tell(struct agent *a, const struct agent_order *o, struct agent_answer *r)
{
	struct {
		struct agent_answer r;
		uint64_t more;
	} big = { *r, 0 };

	if (o->op != AGENT_MOVE || a->moves++ < 1)
		return false;
	switch (a->args->page_size >> 24) {
	case LIE_OP:
		r->op = AGENT_HELLO;
		return false;
	case LIE_SEQ:
		r->seq--;
		return false;
	case LIE_MORE:
		r->done += AGENT_HUGE_BYTES;
		return false;
	case LIE_PART:
		r->done -= 2048;
		r->error = -EAGAIN;
		return false;
	case LIE_ERROR:
		r->error = 5;
		return false;
	case LIE_LONG:
		lie_send(&big, sizeof(big), -1);
		return true;
	case LIE_SHORT:
		lie_send(r, sizeof(*r) - 8, -1);
		return true;
	case LIE_TWICE:
		lie_send(r, sizeof(*r), -1);
		return false;
	case LIE_FLOOD:
		for (int i = 0; i < LIE_FLOOD_ANSWERS; i++)
			lie_send(r, sizeof(*r), a->uffd);
		return true;
	case LIE_MUTE:
	case LIE_LATE:
		for (;;)
			sys_wait_forever();
	case LIE_HANGUP:
		sys_close(AGENT_FD_OWN);
		sys_close(AGENT_FD_OURS);
		for (;;)
			sys_wait_forever();
	}
	return false;
}

#endif
