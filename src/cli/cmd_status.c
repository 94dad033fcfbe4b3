// SPDX-License-Identifier: GPL-2.0-only
/* cmd_status: what a running restore has done and still owes, process by process. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/client.h"
#include "util/fd.h"

#define ANSWER_MS 5000

struct status_opts {
	const char *work_dir;
	bool json;
};

enum status_id {
	STATUS_WORK_DIR = CMD_ID_FIRST,
	STATUS_JSON,
};

static const struct cmd_option status_options[] = {
	{ "work-dir", 'W', false, CMD_ARG_REQUIRED, STATUS_WORK_DIR, "DIR",
	  "work directory of the server (default: .)" },
	{ "json", 0, false, CMD_ARG_NONE, STATUS_JSON, NULL, "one JSON object as the server sent it" },
	CMD_COMMON_OPTIONS
};

static int status_set(void *ctx, const struct cmd_option *option, bool neg, const char *arg)
{
	struct status_opts *o = ctx;

	(void)neg;
	switch (option->id) {
	case STATUS_WORK_DIR:
		o->work_dir = arg;
		break;
	case STATUS_JSON:
		o->json = true;
		break;
	}
	return 0;
}

/* Bucket n counts waits below 2^n us: the text is the upper edge that holds for @permille of all. */
static const char *quantile(json_object *session, unsigned int permille, char (*buf)[16])
{
	json_object *hist = client_array(session, "latency_us");
	size_t i, n = hist ? json_object_array_length(hist) : 0;
	uint64_t total = 0, seen = 0;

	for (i = 0; i < n; i++)
		total += (uint64_t)json_object_get_int64(json_object_array_get_idx(hist, i));
	if (!total)
		return "-";
	for (i = 0; i < n; i++) {
		seen += (uint64_t)json_object_get_int64(json_object_array_get_idx(hist, i));
		if (seen * 1000 >= total * permille)
			break;
	}
	if (i >= n - 1)
		snprintf(*buf, sizeof(*buf), ">%us", (1u << (n - 2)) / 1000000);
	else if (i < 10)
		snprintf(*buf, sizeof(*buf), "<%uus", 1u << i);
	else if (i < 20)
		snprintf(*buf, sizeof(*buf), "<%ums", (1u << i) / 1000);
	else
		snprintf(*buf, sizeof(*buf), "<%us", (1u << i) / 1000000);
	return *buf;
}

static const char *done_percent(json_object *s, char (*buf)[16])
{
	uint64_t total = client_u64(s, "total_bytes"), pending = client_u64(s, "pending_bytes");

	if (pending > total)
		pending = total;
	snprintf(*buf, sizeof(*buf), "%u%%",
		 total ? (unsigned int)((double)(total - pending) * 100 / (double)total) : 100);
	return *buf;
}

static void print_session(json_object *s)
{
	char done[16], total[16], left[16], fault[16], around[16], drain[16], zero[16], gone[16];
	char p50[16], p99[16], trace[16], moved[16];
	const char *reason = client_string(s, "reason", NULL);
	const char *agent = client_string(s, "agent", "none");

	printf("%7" PRIu64 " %7" PRIu64 " %-6s %5s %6s %6s %6s %6s %6s %6s %6s %6s %6s %8" PRIu64
	       " %8s %8s %8.1f  %s%s%s\n",
	       client_u64(s, "pid"), client_u64(s, "vpid"), client_string(s, "state", "?"),
	       done_percent(s, &done), cmd_human(client_u64(s, "total_bytes"), &total),
	       cmd_human(client_u64(s, "pending_bytes"), &left),
	       cmd_human(client_u64(s, "copied_fault_bytes"), &fault),
	       cmd_human(client_u64(s, "copied_around_bytes"), &around),
	       cmd_human(client_u64(s, "copied_drain_bytes"), &drain),
	       cmd_human(client_u64(s, "hot_bytes") + client_u64(s, "replayed_bytes"), &trace),
	       cmd_human(client_u64(s, "moved_huge_bytes") + client_u64(s, "moved_base_bytes"), &moved),
	       cmd_human(client_u64(s, "zero_bytes"), &zero),
	       cmd_human(client_u64(s, "discarded_bytes"), &gone), client_u64(s, "faults"),
	       quantile(s, 500, &p50), quantile(s, 990, &p99),
	       (double)client_u64(s, "any_waiter_us") / 1000, agent, reason ? "  " : "",
	       reason ? reason : "");
}

static void print_text(json_object *o)
{
	json_object *sessions = client_array(o, "sessions");
	size_t i, n = sessions ? json_object_array_length(sessions) : 0;

	printf("%s, %zu process%s; keeper %" PRIu64 ", pager %" PRIu64 " (number %" PRIu64
	       "), version %s\n",
	       client_string(o, "state", "?"), n, n == 1 ? "" : "es", client_u64(o, "keeper_pid"),
	       client_u64(o, "pager_pid"), client_u64(o, "incarnation"),
	       client_string(o, "version", "?"));
	if (!n)
		return;
	printf("%7s %7s %-6s %5s %6s %6s %6s %6s %6s %6s %6s %6s %6s %8s %8s %8s %8s  %s\n", "PID",
	       "VPID", "STATE", "DONE", "TOTAL", "LEFT", "FAULT", "AROUND", "DRAIN", "TRACE", "MOVED",
	       "ZERO", "GONE", "FAULTS", "P50", "P99", "WAIT-ms", "AGENT");
	for (i = 0; i < n; i++)
		print_session(json_object_array_get_idx(sessions, i));
}

static int status_run(int argc, char **argv)
{
	struct status_opts o = { .work_dir = "." };
	cleanup_free char *text = NULL;
	json_object *answer = NULL;
	int status, ret;

	if (!cmd_start(&cmd_status, argc, argv, status_set, &o, &status))
		return status;
	if (client_enter(o.work_dir))
		return CMD_FAILED;
	ret = client_ask(ANSWER_MS, &answer, &text);
	if (ret) {
		client_complain(o.work_dir, ret);
		return CMD_FAILED;
	}
	if (o.json)
		puts(text);
	else
		print_text(answer);
	json_object_put(answer);
	return CMD_DONE;
}

const struct cmd cmd_status = {
	.name = "status",
	.summary = "show what a running restore has done and still owes",
	.usage = "[-W DIR] [--json]",
	.text = "Sizes are in powers of 1024.  LEFT is owed; FAULT, AROUND and DRAIN were copied for a\n"
		"fault, around one and in the background, TRACE because a trace names it; MOVED was moved\n"
		"by an agent; ZERO was filled with zeros; GONE was discarded by the process itself.  P50\n"
		"and P99 are upper bounds of the time that a fault took; WAIT-ms is the time during which\n"
		"at least one thread waited.",
	.options = status_options,
	.run = status_run,
};
