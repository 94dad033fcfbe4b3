/* SPDX-License-Identifier: GPL-2.0-only */
/* channel: answers that fit, and every kind that does not. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pager/channel.h"
#include "tests/tap.h"

#define BLOCK ((uint64_t)AGENT_HUGE_BYTES)

static int ours, theirs;
static struct channel chan;

static void begin(uint32_t seq)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		_exit(1);
	ours = pair[0];
	theirs = pair[1];
	channel_init(&chan, ours, seq);
}

static void end(void)
{
	close(ours);
	if (theirs >= 0)
		close(theirs);
}

static int order(uint32_t op, uint32_t nranges, uint32_t slots)
{
	struct agent_order o = { .op = op, .nranges = nranges };

	for (uint32_t i = 0; i < nranges; i++)
		o.range[i] = (struct agent_range){ .dst = i * BLOCK, .len = BLOCK };
	return channel_order(&chan, &o, -1, slots);
}

static void say(const void *bytes, size_t len)
{
	if (send(theirs, bytes, len, 0) != (ssize_t)len)
		_exit(1);
}

static void answer(uint32_t op, uint32_t seq, int error, uint64_t done, uint32_t at)
{
	struct agent_answer a = { .op = op, .seq = seq, .error = error, .done = done, .at = at };

	say(&a, sizeof(a));
}

static int hear(void)
{
	struct channel_sent what;
	struct agent_answer a;

	return channel_answer(&chan, &what, &a);
}

static void test_order(void)
{
	struct channel_sent what;
	struct agent_answer a;
	struct agent_order o;

	begin(7);
	is_i64(hear(), 0, "no answer yet");
	is_u64(channel_waits_us(&chan), 0, "nothing is waited for");
	ok(!order(AGENT_STAGE, 2, 3) && !order(AGENT_MOVE, 1, 4), "two orders");
	ok(recv(theirs, &o, sizeof(o), 0) == sizeof(o) && o.op == AGENT_STAGE && o.seq == 8 &&
		   o.nranges == 2 && o.range[1].dst == BLOCK,
	   "the first comes through, whole");
	is_u64(channel_pending(&chan, AGENT_MOVE), 1, "one of them a move");
	answer(AGENT_STAGE, 8, 0, 2 * BLOCK, 0);
	answer(AGENT_MOVE, 9, -EEXIST, 4096, 0);
	is_i64(channel_answer(&chan, &what, &a), 1, "the answer to the first");
	ok(what.op == AGENT_STAGE && what.slots == 3 && what.bytes == 2 * BLOCK, "with its order");
	is_i64(channel_answer(&chan, &what, &a), 1, "the answer to the second");
	ok(what.op == AGENT_MOVE && a.error == -EEXIST && a.done == 4096, "with what was done");
	is_u64(channel_pending(&chan, AGENT_MOVE), 0, "nothing is under way");
	end();
}

/* What an agent that lies may say to a MOVE of two blocks. */
static void test_lies(void)
{
	static const struct {
		const char *what;
		struct agent_answer a;
	} lie[] = {
		{ "another order", { .op = AGENT_STAGE, .seq = 1, .done = 2 * BLOCK } },
		{ "another number", { .op = AGENT_MOVE, .seq = 2, .done = 2 * BLOCK } },
		{ "more than was asked for", { .op = AGENT_MOVE, .seq = 1, .done = 2 * BLOCK + 4096 } },
		{ "half of a page", { .op = AGENT_MOVE, .seq = 1, .error = -EEXIST, .done = 2048 } },
		{ "less, and no reason", { .op = AGENT_MOVE, .seq = 1, .done = BLOCK } },
		{ "a positive error", { .op = AGENT_MOVE, .seq = 1, .error = 1 } },
		{ "no error of the kernel", { .op = AGENT_MOVE, .seq = 1, .error = -4096 } },
		{ "a piece that there is not", { .op = AGENT_MOVE, .seq = 1, .error = -EEXIST, .at = 3 } },
	};

	for (size_t i = 0; i < sizeof(lie) / sizeof(lie[0]); i++) {
		begin(0);
		ok(!order(AGENT_MOVE, 2, 3), "a move of two blocks");
		say(&lie[i].a, sizeof(lie[i].a));
		is_i64(hear(), -EPROTO, "a lie: %s", lie[i].what);
		end();
	}
	begin(0);
	answer(AGENT_MOVE, 1, 0, 0, 0);
	is_i64(hear(), -EPROTO, "a lie: an answer that nobody asked for");
	end();
	for (size_t len = 1; len <= 33; len += 16) {
		char bytes[64] = "";

		begin(0);
		ok(!order(AGENT_QUIT, 0, 0), "an order");
		say(bytes, len);
		is_i64(hear(), -EPROTO, "a lie: %zu bytes", len);
		end();
	}
	begin(0);
	ok(!order(AGENT_HELLO, 0, 0), "a greeting");
	answer(AGENT_HELLO, 1, 0, AGENT_VERSION + 1, 0);
	is_i64(hear(), -EPROTO, "an agent of another version");
	end();
}

static void test_settle(void)
{
	struct channel_sent what;
	struct agent_answer a;

	begin(1000);
	answer(AGENT_STAGE, 998, 0, BLOCK, 0);
	answer(AGENT_MOVE, 999, 0, BLOCK, 0);
	is_i64(channel_settle(&chan), 0, "after a death of the pager: a greeting");
	is_i64(hear(), 0, "what was meant for the dead one is thrown away");
	answer(AGENT_HELLO, 1001, 0, AGENT_VERSION, 0);
	ok(channel_answer(&chan, &what, &a) == 1 && what.op == AGENT_HELLO, "and its answer is heard");
	end();
}

static void test_end(void)
{
	unsigned int n = 0;

	begin(0);
	while (!order(AGENT_MOVE, 1, 1))
		n++;
	is_u64(n, CHANNEL_ORDERS, "so many orders, and no more");
	is_i64(order(AGENT_MOVE, 1, 1), -EBUSY, "enough is on its way");
	end();
	begin(0);
	ok(!order(AGENT_QUIT, 0, 0), "an order to quit");
	close(theirs);
	theirs = -1;
	is_i64(hear(), -ENOTCONN, "nobody is there to answer");
	is_i64(order(AGENT_QUIT, 0, 0), -ENOTCONN, "or to be told anything");
	end();
}

int main(void)
{
	tap_timeout(60);
	test_order();
	test_lies();
	test_settle();
	test_end();
	return tap_done();
}
