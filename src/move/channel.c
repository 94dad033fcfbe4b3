// SPDX-License-Identifier: GPL-2.0-only
/* channel: an agent in a process that lives on, from place to cure, and one order at a time. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "kapi/proc.h"
#include "move/channel.h"
#include "util/fd.h"

/*
 * An order takes milliseconds.  One that takes so much longer is stuck: in a frozen cgroup, or in
 * the kernel, which may try for ever to split a large page that is pinned and keeps the process
 * from changing its mappings meanwhile.  A fatal signal ends that.
 */
#define ANSWER_MS 15000
#define TEND_MS 20
#define END_MS 1000
/* How long another tracer is waited for: at first, and to take the agent out. */
#define PLACE_PATIENCE_MS 2000
#define CURE_PATIENCE_MS 1000
#define CURE_TRIES 60

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void end_agent(struct channel *ch)
{
	cleanup_fd int pidfd = inject_agent_pidfd(&ch->rec);

	if (pidfd >= 0)
		proc_pidfd_kill(pidfd, SIGKILL);
	ch->dead = true;
}

/* Waits for the answer to come, tending an agent that we trace. Return: 0 or -errno. */
static int wait_answer(struct channel *ch)
{
	bool traced = ch->rec.flags & INJECT_R_TRACED;
	int64_t until = now_ms() + ANSWER_MS;

	for (;;) {
		struct pollfd pfd = { .fd = ch->sock_fd, .events = POLLIN };
		int64_t left = until - now_ms();
		int n;

		if (left <= 0)
			return -ETIMEDOUT;
		n = poll(&pfd, 1, traced && left > TEND_MS ? TEND_MS : (int)left);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (traced && inject_tend(&ch->rec))
			return -EPIPE;
	}
}

static uint64_t order_bytes(const struct agent_order *order)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < order->nranges; i++)
		sum += order->range[i].len;
	return sum;
}

int channel_ask(struct channel *ch, struct agent_order *order, struct agent_answer *answer)
{
	ssize_t n;
	int ret;

	*answer = (struct agent_answer){ 0 };
	if (ch->dead)
		return -EPIPE;
	order->seq = ++ch->seq;
	n = send(ch->sock_fd, order, sizeof(*order), MSG_NOSIGNAL);
	ret = n == sizeof(*order) ? wait_answer(ch) : -EPIPE;
	if (!ret) {
		do {
			n = recv(ch->sock_fd, answer, sizeof(*answer), MSG_TRUNC);
		} while (n < 0 && errno == EINTR);
		if (n != sizeof(*answer) || answer->op != order->op || answer->seq != order->seq ||
		    answer->error > 0 || answer->error < -4095)
			ret = -EPROTO;
		else if ((order->op == AGENT_MOVE_ADDR) && answer->done > order_bytes(order))
			ret = -EPROTO;
	}
	if (ret) {
		*answer = (struct agent_answer){ 0 };
		end_agent(ch);
		return -EPIPE;
	}
	return answer->error;
}

int channel_open(pid_t pid, struct channel *ch, struct inject_error *err, bool *left_behind)
{
	struct inject_opts opts = { .nslots = 1, .keep_traced = true,
				    .patience_ms = PLACE_PATIENCE_MS };
	struct agent_order hello = { .op = AGENT_HELLO };
	struct agent_answer answer;
	struct inject_error ignored;
	int ret;

	*ch = (struct channel){ .sock_fd = -1 };
	*left_behind = false;
	ret = inject_place(pid, &opts, &ch->rec, &ch->sock_fd, err);
	if (ret)
		return ret;
	ret = channel_ask(ch, &hello, &answer);
	if (!ret && answer.done != AGENT_VERSION)
		ret = -EPROTO;
	if (!ret)
		return 0;
	snprintf(err->text, sizeof(err->text), "the agent does not answer");
	err->error = ret;
	*left_behind = channel_close(ch, NULL, NULL, &ignored) != 0;
	return ret;
}

/* A traced agent that has ended is seen by its tracer first, and by its parent only after that. */
static void see_the_end(const struct channel *ch)
{
	int64_t until = now_ms() + END_MS;

	while ((ch->rec.flags & INJECT_R_TRACED) && !inject_tend(&ch->rec) && now_ms() < until)
		poll(NULL, 0, 1);
}

int channel_close(struct channel *ch, bool (*stop)(void *ctx), void *ctx, struct inject_error *err)
{
	struct inject_opts opts = { .nslots = 1, .keep_traced = true,
				    .patience_ms = CURE_PATIENCE_MS };
	struct agent_order quit = { .op = AGENT_QUIT };
	struct agent_answer answer;
	unsigned int i;
	int ret = channel_ask(ch, &quit, &answer);

	if (ret)
		end_agent(ch);
	see_the_end(ch);
	close(ch->sock_fd);
	ch->sock_fd = -1;
	for (i = 0; i < CURE_TRIES; i++) {
		ret = inject_cure(&ch->rec, &opts, err);
		if (ret != -EBUSY || (i && stop && stop(ctx)))
			break;
	}
	return ret;
}
