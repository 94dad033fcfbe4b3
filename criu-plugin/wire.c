/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wire: agents, and the talk with the pager about them.
 *
 * criu's hook is the best moment to place one: all tasks are complete and stopped, none has run an
 * instruction, and criu, that is we, is their tracer, so that no system call gets interrupted and no
 * thread is anywhere but where it was at the dump.
 *
 * Whatever refuses, the pager serves by copying; it is told the reason, for `status`.  What must not
 * be is a task that runs while nobody is there: when pager and keeper are gone, so are its pages.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "abi/wire.h"
#include "inject/inject.h"
#include "plugin.h"
#include "util/fdpass.h"

/* A pager that runs already listens here, in the work directory. */
#define WIRE_CONTROL "uffd-relocate.socket"
#define WIRE_DIAL_MS 2000
/* Longer than pages are waited for, or a pager takes to be replaced. */
#define WIRE_PATIENCE_MS 30000

_Static_assert(sizeof(struct inject_record) == WIRE_RECORD_BYTES, "wire.h has its size");

static int wire_fd = -1;
static uint64_t wire_seq;

static uint64_t wire_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ull + ts.tv_nsec / 1000;
}

int wire_pair(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	wire_fd = pair[0];
	return pair[1];
}

void wire_close(void)
{
	if (wire_fd >= 0)
		close(wire_fd);
	wire_fd = -1;
}

/* Wait for something to be read. Return: whether there is. */
static bool wire_wait(int fd, int ms)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	uint64_t until = wire_now_us() + ms * 1000ull;
	int n;

	do
		n = poll(&wait, 1, ms);
	while (n < 0 && errno == EINTR && wire_now_us() < until);
	return n == 1;
}

void wire_dial(void)
{
	static const struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = WIRE_CONTROL };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), theirs, none;
	char line[sizeof(WIRE_WELCOME)] = "";

	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) ||
	    (theirs = wire_pair()) < 0) {
		close(fd);
		return;
	}
	if (fdpass_send(fd, WIRE_HELLO, strlen(WIRE_HELLO), &theirs, 1) ||
	    !wire_wait(fd, WIRE_DIAL_MS) ||
	    fdpass_recv(fd, line, strlen(WIRE_WELCOME), &none, 1) <= 0 ||
	    strcmp(line, WIRE_WELCOME)) {
		plugin_info("the pager that listens already is of another version: no agents");
		wire_close();
	}
	close(theirs);
	close(fd);
}

/*
 * Say something and hear what is said to it.
 * Return: 0 and *@msg is the answer; -EPIPE: nobody is there any more; -ETIMEDOUT.
 */
static int wire_call(struct wire_msg *msg, int fd)
{
	uint64_t seq = ++wire_seq, until = wire_now_us() + WIRE_PATIENCE_MS * 1000ull;
	struct wire_msg answer;
	int none;

	msg->magic = WIRE_MAGIC;
	msg->version = WIRE_VERSION;
	msg->seq = seq;
	if (fdpass_send(wire_fd, msg, sizeof(*msg), &fd, 1))
		return -EPIPE;
	do {
		if (!wire_wait(wire_fd, WIRE_PATIENCE_MS))
			return -ETIMEDOUT;
		if (fdpass_recv(wire_fd, &answer, sizeof(answer), &none, 1) != sizeof(answer))
			return -EPIPE;
		/* One that came too late for an earlier task. */
	} while (answer.seq != seq && wire_now_us() < until);
	*msg = answer;
	return answer.seq == seq ? 0 : -ETIMEDOUT;
}

/* The pager does not take it. */
static void wire_undo(struct inject_record *rec)
{
	const struct inject_opts opts = { .traced = true };
	struct inject_error err = { .text = "" };
	int pid = rec->pid;

	if (inject_cure(rec, &opts, &err))
		plugin_error("task %d keeps an agent that nobody uses: %s", pid, err.text);
}

/* Place one, if it can be. Return: 0 or -EPIPE; *@words is what became of it. */
static int wire_place(int pid, int vpid, unsigned int nslots, const char **words)
{
	static struct inject_error err;
	const struct inject_opts opts = { .nslots = nslots, .traced = true };
	struct wire_msg msg = { .op = WIRE_PLACED, .pid = pid, .vpid = vpid };
	struct inject_record rec;
	int channel = -1, said, ret;

	err = (struct inject_error){ .text = "" };
	ret = inject_place(pid, &opts, &rec, &channel, &err);
	*words = ret ? err.text : "placed";
	if (ret) {
		msg.op = WIRE_REFUSED;
		memcpy(msg.text, err.text, sizeof(msg.text));
	} else {
		memcpy(msg.record, &rec, sizeof(rec));
	}
	said = wire_call(&msg, channel);
	if (channel >= 0)
		close(channel);
	/* Who has no word for it does not have it. */
	if (!ret && said != -EPIPE && (said || msg.op == WIRE_UNDO)) {
		wire_undo(&rec);
		*words = "placed and taken out again";
	}
	return said;
}

int wire_resume(const struct settings *set, int pid, int vpid)
{
	uint64_t begun = wire_now_us();
	struct wire_msg msg = { .op = set->agent ? WIRE_ASK : WIRE_REFUSED, .pid = pid,
				.vpid = vpid,
				.text = "the plugin's settings say agent = no" };
	const char *words = set->agent ? "not wanted" : "none, by the settings";
	int ret;

	if (wire_fd < 0)
		return 0;
	ret = wire_call(&msg, -1);
	if (!ret && msg.op == WIRE_WANTED)
		ret = wire_place(pid, vpid, msg.nslots, &words);
	if (ret == -EPIPE)
		return ret;
	if (ret)
		plugin_error("the pager has no word for task %d; it runs without", pid);
	plugin_info("task %d: agent: %s; %u us", pid, words,
		    (unsigned int)(wire_now_us() - begun));
	return 0;
}
