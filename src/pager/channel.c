/* SPDX-License-Identifier: GPL-2.0-only */
/* channel: orders to an agent and its answers. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "pager/channel.h"
#include "pager/internal.h"
#include "util/fdpass.h"

void channel_init(struct channel *c, int fd, uint32_t seq)
{
	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->seq = seq;
}

int channel_order(struct channel *c, struct agent_order *order, int fd, uint32_t slots)
{
	size_t len = offsetof(struct agent_order, range) + order->nranges * sizeof(order->range[0]);
	struct channel_sent *s = &c->sent[(c->head + c->n) % CHANNEL_ORDERS];
	int ret;

	if (c->n == CHANNEL_ORDERS)
		return -EBUSY;
	memset((char *)order + len, 0, sizeof(*order) - len);
	order->seq = ++c->seq;
	ret = fdpass_send(c->fd, order, sizeof(*order), &fd, 1);
	if (ret)
		return ret == -EPIPE || ret == -ECONNRESET ? -ENOTCONN : ret;
	*s = (struct channel_sent){ .op = order->op,
				    .seq = order->seq,
				    .since_us = pager_now_us(),
				    .nranges = order->nranges,
				    .slots = slots };
	for (uint32_t i = 0; i < order->nranges; i++)
		s->bytes += order->range[i].len;
	c->n++;
	return 0;
}

int channel_settle(struct channel *c)
{
	struct agent_order hello = { .op = AGENT_HELLO };

	return channel_order(c, &hello, -1, 0);
}

static bool channel_fits(const struct channel_sent *s, const struct agent_answer *a)
{
	if (a->op != s->op || a->seq != s->seq || a->error > 0 || a->error < -4095)
		return false;
	if (s->op == AGENT_HELLO)
		return a->error || a->done == AGENT_VERSION;
	if (s->op != AGENT_STAGE && s->op != AGENT_MOVE)
		return true;
	if (a->done > s->bytes || a->at > s->nranges)
		return false;
	/* Pages move whole; and all that was asked for, unless something stopped it. */
	return s->op == AGENT_STAGE || (!(a->done % 4096) && (a->error || a->done == s->bytes));
}

int channel_answer(struct channel *c, struct channel_sent *what, struct agent_answer *answer)
{
	struct agent_answer a;
	ssize_t n;

	for (;;) {
		/* Room for more than an answer, so that one that is too long shows. */
		char buf[sizeof(a) + 1];

		n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : errno == ECONNRESET ? -ENOTCONN : -errno;
		if (n == 0)
			return -ENOTCONN;
		if (n != sizeof(a) || !c->n)
			return -EPROTO;
		memcpy(&a, buf, sizeof(a));
		/* Of an order that a predecessor gave? */
		if (c->sent[c->head].op == AGENT_HELLO && a.seq != c->sent[c->head].seq)
			continue;
		break;
	}
	*what = c->sent[c->head];
	*answer = a;
	if (!channel_fits(what, answer))
		return -EPROTO;
	c->head = (c->head + 1) % CHANNEL_ORDERS;
	c->n--;
	c->heard_us = pager_now_us();
	return 1;
}

unsigned int channel_pending(const struct channel *c, uint32_t op)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->n; i++)
		n += c->sent[(c->head + i) % CHANNEL_ORDERS].op == op;
	return n;
}

uint64_t channel_waits_us(const struct channel *c)
{
	uint64_t since = c->sent[c->head].since_us;

	if (!c->n)
		return 0;
	return pager_now_us() - (since > c->heard_us ? since : c->heard_us);
}
