// SPDX-License-Identifier: GPL-2.0-only
/* cmd_move: move pages inside a live process. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/move_print.h"
#include "cli/ranges.h"
#include "util/log.h"

struct opts {
	uint64_t pid;
	unsigned int flags;	/* MOVE_ */
	bool partial;
	bool dry_run;
	bool json;
	int bar;		/* -1: as the terminal says */
	struct ranges ranges;
};

enum move_id {
	MOVE_ID_PID = CMD_ID_FIRST,
	MOVE_ID_HOLES,
	MOVE_ID_MAP_DST,
	MOVE_ID_PARTIAL,
	MOVE_ID_FROM_FILE,
	MOVE_ID_DRY_RUN,
	MOVE_ID_PROGRESS,
	MOVE_ID_JSON,
};

static const struct cmd_option move_options[] = {
	{ "pid", 'p', false, CMD_ARG_REQUIRED, MOVE_ID_PID, "PID", "in this process" },
	{ "from-file", 0, false, CMD_ARG_REQUIRED, MOVE_ID_FROM_FILE, "FILE",
	  "take lines \"SRC DST LEN\" from FILE (-: standard input)" },
	{ "holes", 0, false, CMD_ARG_NONE, MOVE_ID_HOLES, NULL,
	  "leave out source pages that were never touched" },
	{ "map-dst", 0, false, CMD_ARG_NONE, MOVE_ID_MAP_DST, NULL,
	  "map what is not mapped of the destination" },
	{ "partial", 0, false, CMD_ARG_NONE, MOVE_ID_PARTIAL, NULL,
	  "begin although something cannot be moved, and end there" },
	{ "dry-run", 0, false, CMD_ARG_NONE, MOVE_ID_DRY_RUN, NULL,
	  "only say what would be moved, and what stands in the way" },
	{ "progress", 0, true, CMD_ARG_NONE, MOVE_ID_PROGRESS, NULL,
	  "draw a bar on stderr (default: if it is a terminal)" },
	{ "json", 0, false, CMD_ARG_NONE, MOVE_ID_JSON, NULL,
	  "JSON objects, one a line, instead of text" },
	CMD_COMMON_OPTIONS
};

/* Set by SIGINT and its like; the move ends between two batches. */
static volatile sig_atomic_t told_to_stop;

static void on_signal(int sig)
{
	(void)sig;
	told_to_stop = 1;
}

static int move_set(void *ctx, const struct cmd_option *option, bool neg, const char *arg)
{
	struct opts *o = ctx;

	switch (option->id) {
	case MOVE_ID_PID:
		return cmd_number(option->name, arg, 1, INT32_MAX, &o->pid);
	case MOVE_ID_HOLES:
		o->flags |= MOVE_HOLES;
		return 0;
	case MOVE_ID_MAP_DST:
		o->flags |= MOVE_MAP_DST;
		return 0;
	case MOVE_ID_PARTIAL:
		o->partial = true;
		return 0;
	case MOVE_ID_FROM_FILE:
		return ranges_read(&o->ranges, arg);
	case MOVE_ID_DRY_RUN:
		o->dry_run = true;
		return 0;
	case MOVE_ID_PROGRESS:
		o->bar = !neg;
		return 0;
	case MOVE_ID_JSON:
		o->json = true;
		return 0;
	}
	return 0;
}

/* The words that are no options: none, or one range. Return: 0 or -errno, logged. */
static int take_operands(struct opts *o, char **argv, int n)
{
	if (n == 0)
		return 0;
	if (n != 3) {
		log_err("'%s': three words belong together, SRC DST LEN", argv[0]);
		return -EINVAL;
	}
	return ranges_add(&o->ranges, argv[0], argv[1], argv[2], (struct ranges_origin){ 0 });
}

static bool hook_stop(void *ctx)
{
	(void)ctx;
	return told_to_stop;
}

static void hook_progress(void *ctx, uint64_t moved_bytes)
{
	move_print_progress(ctx, moved_bytes);
}

/*
 * A signal must not end us while there is an agent in the process; nor must a reader of ours that
 * goes away.
 */
static void hold_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	unsigned int i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int status_of(int ret, const struct move_result *result)
{
	if (result->left_behind)
		return CMD_PARTIAL;
	if (!ret)
		return CMD_DONE;
	if (ret == -ENOTTY)
		return CMD_NO_KERNEL;
	/* Of a process that is gone nothing is left in between. */
	return result->moved_bytes && ret != -ESRCH ? CMD_PARTIAL : CMD_FAILED;
}

static int carry_out(const struct opts *o, const struct move_plan *plan)
{
	struct move_print print = {
		.json = o->json,
		.bar = o->bar < 0 ? isatty(STDERR_FILENO) : o->bar,
		.total_bytes = plan->total_bytes,
	};
	struct move_hooks hooks = { hook_stop, hook_progress, &print };
	struct move_result result;
	int ret, status;

	move_print_issues(plan);
	if (o->dry_run || o->json)
		move_print_plan(&print, plan);
	if (o->dry_run)
		return plan->nissues ? CMD_FAILED : CMD_DONE;
	if (plan->nissues && !o->partial)
		return CMD_FAILED;
	hold_signals();
	ret = move_run(plan, o->partial, &hooks, &result);
	status = status_of(ret, &result);
	move_print_result(&print, plan, &result, status);
	return status;
}

static int make_plan(const struct opts *o)
{
	struct move_plan plan;
	int ret = move_plan_make((pid_t)o->pid, o->ranges.range, o->ranges.n, o->flags, &plan);
	int status;

	if (ret) {
		log_err("process %" PRIu64 ": %s", o->pid,
			ret == -ESRCH ? "there is none, or it has no memory" : strerror(-ret));
		return CMD_FAILED;
	}
	status = carry_out(o, &plan);
	move_plan_free(&plan);
	return status;
}

static int move_main(int argc, char **argv)
{
	struct opts o = { .bar = -1 };
	int status, first;

	if (cmd_start_operands(&cmd_move, argc, argv, move_set, &o, &status, &first)) {
		status = CMD_USAGE;
		if (take_operands(&o, argv + first, argc - first))
			;
		else if (!o.pid)
			log_err("which process? (-p PID)");
		else if (!ranges_check(&o.ranges))
			status = make_plan(&o);
	}
	ranges_free(&o.ranges);
	return status;
}

const struct cmd cmd_move = {
	.name = "move",
	.summary = "move pages inside a live process",
	.usage = "-p PID {SRC DST LEN | --from-file FILE}... [options]",
	.text = "SRC and DST are addresses in the process (0x and hexadecimal digits), LEN is bytes with\n"
		"an optional suffix K, M, G or T.  The process runs on meanwhile.  A page is moved as\n"
		"a whole or not at all, in ascending order; its frame stays the same, nothing is copied.",
	.options = move_options,
	.run = move_main,
};
