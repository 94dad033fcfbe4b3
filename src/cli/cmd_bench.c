// SPDX-License-Identifier: GPL-2.0-only
/* cmd_bench: what moving a page costs on this kernel, beside copying it and beside mremap(2). */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "move/measure.h"
#include "util/log.h"

#define SIZE_STEP (2ull << 20)

struct bench_opts {
	uint64_t size_bytes;
	uint64_t rounds;
	bool json;
};

enum bench_id {
	BENCH_SIZE = CMD_ID_FIRST,
	BENCH_ROUNDS,
	BENCH_JSON,
};

static const struct cmd_option bench_options[] = {
	{ "size", 0, false, CMD_ARG_REQUIRED, BENCH_SIZE, "BYTES",
	  "memory to work on, BYTES[KMGT] (default: 128M); twice that is needed" },
	{ "rounds", 0, false, CMD_ARG_REQUIRED, BENCH_ROUNDS, "N",
	  "how often (default: 5); the fastest counts" },
	{ "json", 0, false, CMD_ARG_NONE, BENCH_JSON, NULL, "one JSON object instead of text" },
	CMD_COMMON_OPTIONS
};

static int bench_set(void *ctx, const struct cmd_option *option, bool neg, const char *arg)
{
	struct bench_opts *o = ctx;
	int ret;

	(void)neg;
	switch (option->id) {
	case BENCH_SIZE:
		ret = cmd_bytes(option->name, arg, &o->size_bytes);
		if (!ret && (!o->size_bytes || o->size_bytes % SIZE_STEP)) {
			log_err("--size: %s is not a multiple of 2M", arg);
			ret = -EINVAL;
		}
		return ret;
	case BENCH_ROUNDS:
		return cmd_number(option->name, arg, 1, 1000, &o->rounds);
	case BENCH_JSON:
		o->json = true;
		return 0;
	}
	return 0;
}

static const char *why_not(const struct measure_case *c)
{
	if (c->error == -ENODATA)
		return "no huge pages are to be had";
	if (c->error == -EPERM && !c->needs_move)
		return "userfaultfd is not allowed";
	return c->needs_move ? "the kernel has no UFFDIO_MOVE, or does not allow it" :
			       strerror(-c->error);
}

static void print_text(const struct measure *m)
{
	unsigned int i;

	printf("%-34s %8s %9s %9s\n", "", "A CALL", "ns/page", "/memcpy");
	for (i = 0; i < m->n; i++) {
		const struct measure_case *c = &m->list[i];
		char size[16] = "all";

		if (c->call_bytes)
			cmd_human(c->call_bytes, &size);
		printf("%-34s %8s ", c->what, size);
		if (c->error)
			printf("%9s %9s  %s\n", "-", "-", why_not(c));
		else
			printf("%9.1f %9.3f\n", c->page_ns, c->page_ns / m->list[0].page_ns);
	}
}

static void print_json(const struct bench_opts *o, const struct measure *m)
{
	json_object *all = json_object_new_object(), *cases = json_object_new_array();
	struct utsname uts;
	unsigned int i;

	json_c_set_serialization_double_format("%.3f", JSON_C_OPTION_GLOBAL);
	json_object_object_add(all, "kernel",
			       uname(&uts) ? NULL : json_object_new_string(uts.release));
	json_object_object_add(all, "size_bytes", json_object_new_uint64(o->size_bytes));
	json_object_object_add(all, "page_bytes", json_object_new_uint64(m->page_size));
	for (i = 0; i < m->n; i++) {
		const struct measure_case *c = &m->list[i];
		json_object *one = json_object_new_object();

		json_object_object_add(one, "key", json_object_new_string(c->key));
		json_object_object_add(one, "call_bytes",
				       json_object_new_uint64(c->call_bytes ? c->call_bytes :
									      o->size_bytes));
		json_object_object_add(one, "huge", json_object_new_boolean(c->huge));
		json_object_object_add(one, "page_ns",
				       c->error ? NULL : json_object_new_double(c->page_ns));
		json_object_object_add(one, "ratio", c->error ? NULL :
				       json_object_new_double(c->page_ns / m->list[0].page_ns));
		json_object_object_add(one, "why_not",
				       c->error ? json_object_new_string(why_not(c)) : NULL);
		json_object_array_add(cases, one);
	}
	json_object_object_add(all, "cases", cases);
	cmd_print_json(all);
}

/* What is missing is in the table; the exit status tells of the first that is the kernel's. */
static int judge(const struct measure *m)
{
	unsigned int i;

	for (i = 0; i < m->n; i++)
		if (m->list[i].error && m->list[i].error != -ENODATA) {
			log_err("%s: %s", m->list[i].what, why_not(&m->list[i]));
			return CMD_NO_KERNEL;
		}
	return CMD_DONE;
}

static int bench_run(int argc, char **argv)
{
	struct bench_opts o = { .size_bytes = 128 << 20, .rounds = 5 };
	struct measure m;
	int status, ret;

	if (!cmd_start(&cmd_bench, argc, argv, bench_set, &o, &status))
		return status;
	ret = measure_run(o.size_bytes, (unsigned int)o.rounds, &m);
	if (ret) {
		log_err("no memory to measure on: %s", strerror(-ret));
		return CMD_FAILED;
	}
	if (o.json)
		print_json(&o, &m);
	else
		print_text(&m);
	return judge(&m);
}

const struct cmd cmd_bench = {
	.name = "bench",
	.summary = "measure moving, copying and mremap on this kernel",
	.usage = "[--size BYTES] [--rounds N] [--json]",
	.text = "Everything is done in uffd-relocate's own memory.  Times are per page; what they are worth\n"
		"is the ratio, here to memcpy(3) between pages that are there already.",
	.options = bench_options,
	.run = bench_run,
};
