// SPDX-License-Identifier: GPL-2.0-only
/* cmd_check: print what kapi/probe found out, for people or for programs. */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "kapi/probe.h"
#include "util/log.h"

#ifndef UFFD_RELOCATE_VERSION
#define UFFD_RELOCATE_VERSION "unknown"
#endif

struct check_opts {
	const char *criu;	/* NULL: leave criu out */
	bool json;
};

enum check_id {
	CHECK_JSON = CMD_ID_FIRST,
	CHECK_CRIU,
};

static const struct cmd_option check_options[] = {
	{ "json", 0, false, CMD_ARG_NONE, CHECK_JSON, NULL, "one JSON object instead of text" },
	{ "criu", 0, true, CMD_ARG_REQUIRED, CHECK_CRIU, "FILE",
	  "look at this criu (default: the one in PATH); --no-criu: at none" },
	CMD_COMMON_OPTIONS
};

static const char *const sides[] = {
	[PROBE_KERNEL] = "kernel",
	[PROBE_USER] = "user",
	[PROBE_CRIU] = "criu",
	[PROBE_LIMIT] = "limits",
};

#define NSIDES (sizeof(sides) / sizeof(sides[0]))

static const char *const needs[] = {
	[PROBE_REQUIRED] = "required",
	[PROBE_OPTIONAL] = "optional",
	[PROBE_NOTE] = "note",
};

static const char *const answers[] = {
	[PROBE_YES] = "yes",
	[PROBE_NO] = "no",
	[PROBE_UNKNOWN] = "unknown",
};

static int check_set(void *ctx, const struct cmd_option *option, bool neg, const char *arg)
{
	struct check_opts *o = ctx;

	switch (option->id) {
	case CHECK_JSON:
		o->json = true;
		break;
	case CHECK_CRIU:
		o->criu = neg ? NULL : arg;
		break;
	}
	return 0;
}

/* What is missing decides the exit status; the kernel first, it cannot be granted. */
static int judge(const struct probe *p, const struct probe_item **lacks)
{
	static const enum probe_side order[] = { PROBE_KERNEL, PROBE_USER, PROBE_CRIU };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		*lacks = probe_lacks(p, order[i]);
		if (*lacks)
			return order[i] == PROBE_KERNEL ? CMD_NO_KERNEL : CMD_FAILED;
	}
	return CMD_DONE;
}

static void print_item(const struct probe_item *item)
{
	const char *mark = answers[item->answer];

	if (item->answer == PROBE_NO && item->need == PROBE_REQUIRED)
		mark = "NO";
	else if (item->answer == PROBE_UNKNOWN)
		mark = "?";
	printf("  %-3s  %s%s%s\n", mark, item->what, *item->value ? ": " : "", item->value);
	if (item->answer == PROBE_YES)
		return;
	printf("       %s\n", item->cause);
	if (*item->remedy)
		printf("       -> %s\n", item->remedy);
}

static void print_text(const struct probe *p, int status, const struct probe_item *lacks)
{
	unsigned int side, i;

	for (side = 0; side < NSIDES; side++) {
		bool headed = false;

		for (i = 0; i < p->nitems; i++) {
			if (p->item[i].side != side)
				continue;
			if (!headed)
				printf("%s%s\n", side ? "\n" : "", sides[side]);
			headed = true;
			print_item(&p->item[i]);
		}
	}
	if (status == CMD_DONE)
		printf("\nA lazy restore can work here.\n");
	else
		printf("\nA lazy restore cannot work here, for want of \"%s\" (%s): %s\n", lacks->what,
		       sides[lacks->side], lacks->cause);
}

static void add_string(json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, *text ? json_object_new_string(text) : NULL);
}

static json_object *json_item(const struct probe_item *item)
{
	json_object *o = json_object_new_object();

	add_string(o, "key", item->key);
	add_string(o, "side", sides[item->side]);
	add_string(o, "need", needs[item->need]);
	add_string(o, "answer", answers[item->answer]);
	add_string(o, "what", item->what);
	add_string(o, "value", item->value);
	add_string(o, "cause", item->cause);
	add_string(o, "remedy", item->remedy);
	return o;
}

static void print_json(const struct probe *p, int status, const struct probe_item *lacks)
{
	json_object *o = json_object_new_object();
	json_object *items = json_object_new_array();
	const int flags = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
	unsigned int i;

	add_string(o, "version", UFFD_RELOCATE_VERSION);
	json_object_object_add(o, "works", json_object_new_boolean(status == CMD_DONE));
	add_string(o, "lacks", lacks ? lacks->key : "");
	json_object_object_add(o, "uffd_features", json_object_new_int64((int64_t)p->uffd_features));
	json_object_object_add(o, "uffd_range_ioctls",
			       json_object_new_int64((int64_t)p->uffd_range_ioctls));
	for (i = 0; i < p->nitems; i++)
		json_object_array_add(items, json_item(&p->item[i]));
	json_object_object_add(o, "items", items);
	puts(json_object_to_json_string_ext(o, flags));
	json_object_put(o);
}

static int check_run(int argc, char **argv)
{
	struct check_opts o = { .criu = "criu" };
	const struct probe_item *lacks;
	struct probe *p;
	int status;

	if (!cmd_start(&cmd_check, argc, argv, check_set, &o, &status))
		return status;
	p = malloc(sizeof(*p));
	if (!p) {
		log_err("out of memory");
		return CMD_FAILED;
	}
	probe_run(p, o.criu);
	status = judge(p, &lacks);
	if (o.json)
		print_json(p, status, lacks);
	else
		print_text(p, status, lacks);
	free(p);
	return status;
}

const struct cmd cmd_check = {
	.name = "check",
	.summary = "say what this kernel, this user and the installed criu allow",
	.usage = "[--json] [--criu FILE | --no-criu]",
	.text = "\"no\" is something that costs speed or comfort, \"NO\" keeps a lazy restore from working;\n"
		"cause and remedy stand below.",
	.options = check_options,
	.run = check_run,
};
