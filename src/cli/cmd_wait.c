// SPDX-License-Identifier: GPL-2.0-only
/*
 * cmd_wait: wait until a restore, or one process of it, has all its memory.
 *
 * Theory of operation
 * -------------------
 * The server ends as soon as nothing is owed, so whoever polls it usually finds it gone.  Therefore
 * a second connection asks "wait" at the start: the server answers it with a last status when it
 * ends.  A server that dies closes it without a word.  In between the state is polled, which is
 * what -p needs, and all there is with a server that does not know "wait".
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cmd.h"
#include "cli/client.h"
#include "util/fd.h"
#include "util/log.h"

#define ANSWER_MS 5000
#define LAST_WORD_MS 1000
#define POLL_FIRST_MS 20
#define POLL_MAX_MS 500

struct wait_opts {
	const char *work_dir;
	uint64_t pid;		/* 0: all */
	uint64_t timeout_ms;	/* 0: none */
};

enum wait_id {
	WAIT_WORK_DIR = CMD_ID_FIRST,
	WAIT_PID,
	WAIT_ALL,
	WAIT_TIMEOUT,
};

static const struct cmd_option wait_options[] = {
	{ "work-dir", 'W', false, CMD_ARG_REQUIRED, WAIT_WORK_DIR, "DIR",
	  "work directory of the server (default: .)" },
	{ "pid", 'p', false, CMD_ARG_REQUIRED, WAIT_PID, "PID", "wait for this process only" },
	{ "all", 0, false, CMD_ARG_NONE, WAIT_ALL, NULL, "wait for every process (default)" },
	{ "timeout", 0, false, CMD_ARG_REQUIRED, WAIT_TIMEOUT, "SECONDS", "give up after so long" },
	CMD_COMMON_OPTIONS
};

static int wait_set(void *ctx, const struct cmd_option *option, bool neg, const char *arg)
{
	struct wait_opts *o = ctx;
	int ret;

	(void)neg;
	switch (option->id) {
	case WAIT_WORK_DIR:
		o->work_dir = arg;
		return 0;
	case WAIT_PID:
		return cmd_number(option->name, arg, 1, INT32_MAX, &o->pid);
	case WAIT_ALL:
		o->pid = 0;
		return 0;
	case WAIT_TIMEOUT:
		ret = cmd_number(option->name, arg, 1, 365 * 86400, &o->timeout_ms);
		o->timeout_ms *= 1000;
		return ret;
	}
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* What an answer says about what we wait for. */
enum verdict {
	GOES_ON,
	DONE,
	FAILED,		/* logged; said once, at the end */
	NO_SUCH_PID,
};

static bool was_killed(json_object *session)
{
	return !strcmp(client_string(session, "state", ""), "killed");
}

static enum verdict judge_session(json_object *session)
{
	if (!strcmp(client_string(session, "state", ""), "open"))
		return GOES_ON;
	if (!was_killed(session))
		return DONE;
	log_err("process %" PRIu64 " was killed: %s", client_u64(session, "pid"),
		client_string(session, "reason", "no reason given"));
	return FAILED;
}

static enum verdict judge_all(json_object *answer, json_object *sessions, size_t n)
{
	const char *state = client_string(answer, "state", "");
	enum verdict verdict = DONE;
	size_t i;

	/* One that was killed does not end the wait for the others. */
	if (strcmp(state, "done") != 0 && strcmp(state, "failed") != 0)
		return GOES_ON;
	for (i = 0; i < n; i++) {
		json_object *s = json_object_array_get_idx(sessions, i);

		if (was_killed(s))
			verdict = judge_session(s);
	}
	if (!strcmp(state, "failed") && verdict != FAILED) {
		log_err("the restore failed: %s",
			client_string(answer, "reason", "the server's log says why"));
		verdict = FAILED;
	}
	return verdict;
}

static enum verdict judge(json_object *answer, uint64_t pid)
{
	json_object *sessions = client_array(answer, "sessions");
	const char *state = client_string(answer, "state", "");
	size_t i, n = sessions ? json_object_array_length(sessions) : 0;

	for (i = 0; pid && i < n; i++) {
		json_object *s = json_object_array_get_idx(sessions, i);

		if (client_u64(s, "pid") == pid)
			return judge_session(s);
	}
	/* It may still arrive. */
	if (pid && (!strcmp(state, "waiting") || !strcmp(state, "restoring")))
		return GOES_ON;
	if (pid && strcmp(state, "failed") != 0)
		return NO_SUCH_PID;
	return judge_all(answer, sessions, n);
}

/* The server is gone: what was the last that it said? */
static int server_gone(const struct wait_opts *o, json_object *last)
{
	json_object *sessions = last ? client_array(last, "sessions") : NULL;
	size_t i, n = sessions ? json_object_array_length(sessions) : 0;
	uint64_t pending = 0;

	for (i = 0; i < n; i++) {
		json_object *s = json_object_array_get_idx(sessions, i);

		if (!o->pid || client_u64(s, "pid") == o->pid)
			pending += client_u64(s, "pending_bytes");
	}
	log_err("the server in %s ended without saying how; when last seen it was %s, %" PRIu64
		" bytes were owed", o->work_dir, client_string(last, "state", "silent"), pending);
	return CMD_FAILED;
}

/* Return: an exit status, or -1 while nothing is decided. */
static int act(enum verdict verdict, uint64_t pid)
{
	switch (verdict) {
	case DONE:
		return CMD_DONE;
	case FAILED:
		return CMD_FAILED;
	case NO_SUCH_PID:
		log_err("process %" PRIu64 " is not one of those that are restored here", pid);
		return CMD_FAILED;
	default:
		return -1;
	}
}

/* The connection that asked "wait" has something to say. */
static int last_word(const struct wait_opts *o, int *wait_fd, json_object *last)
{
	json_object *answer = NULL;
	int ret = client_read(*wait_fd, LAST_WORD_MS, &answer, NULL);
	int status = -1;

	if (!ret && !client_string(answer, "error", NULL)) {
		status = act(judge(answer, o->pid), o->pid);
		if (status < 0)
			status = server_gone(o, answer);
	} else if (ret) {
		/* A pager that was killed takes the connection along; its successor answers polls. */
		json_object *again = NULL;

		if (client_ask(ANSWER_MS, &again, NULL))
			status = server_gone(o, last);
		json_object_put(again);
	}
	json_object_put(answer);
	if (status < 0) {
		close(*wait_fd);
		*wait_fd = -1;
	}
	return status;
}

static int pause_ms(unsigned int poll_ms, int64_t until, int wait_fd)
{
	struct pollfd pfd = { .fd = wait_fd, .events = POLLIN };
	int64_t ms = poll_ms;

	if (until >= 0 && until - now_ms() < ms)
		ms = until - now_ms();
	return poll(&pfd, 1, ms > 0 ? (int)ms : 0);
}

static int wait_loop(const struct wait_opts *o)
{
	int64_t until = o->timeout_ms ? now_ms() + (int64_t)o->timeout_ms : -1;
	cleanup_fd int wait_fd = client_open("wait\n", ANSWER_MS);
	unsigned int poll_ms = POLL_FIRST_MS;
	json_object *last = NULL;
	int status = -1;

	if (wait_fd < 0) {
		client_complain(o->work_dir, wait_fd);
		return CMD_FAILED;
	}
	while (status < 0) {
		json_object *answer = NULL;
		int ret = client_ask(ANSWER_MS, &answer, NULL);

		if (!ret) {
			json_object_put(last);
			last = answer;
			status = act(judge(answer, o->pid), o->pid);
		} else if (ret == -EPROTO || ret == -EMSGSIZE) {
			client_complain(o->work_dir, ret);
			status = CMD_FAILED;
		} else if (wait_fd < 0 && ret != -ETIMEDOUT) {
			status = server_gone(o, last);
		}
		if (status >= 0)
			break;
		if (until >= 0 && now_ms() >= until) {
			log_err("not done after %" PRIu64 " seconds", o->timeout_ms / 1000);
			status = CMD_FAILED;
		} else if (pause_ms(poll_ms, until, wait_fd) > 0) {
			status = last_word(o, &wait_fd, last);
		}
		poll_ms = poll_ms * 2 < POLL_MAX_MS ? poll_ms * 2 : POLL_MAX_MS;
	}
	json_object_put(last);
	return status;
}

static int wait_run(int argc, char **argv)
{
	struct wait_opts o = { .work_dir = "." };
	int status;

	if (!cmd_start(&cmd_wait, argc, argv, wait_set, &o, &status))
		return status;
	if (client_enter(o.work_dir))
		return CMD_FAILED;
	return wait_loop(&o);
}

const struct cmd cmd_wait = {
	.name = "wait",
	.summary = "wait until a restore has all its memory",
	.usage = "[-W DIR] [-p PID | --all] [--timeout SECONDS]",
	.options = wait_options,
	.run = wait_run,
};
