// SPDX-License-Identifier: GPL-2.0-only
/* cmd_maps: the memory areas of a process, and how much of them could be moved. */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cli/cmd.h"
#include "move/move.h"
#include "util/log.h"

struct maps_opts {
	uint64_t pid;
	bool movable;
	bool json;
};

enum maps_id {
	MAPS_PID = CMD_ID_FIRST,
	MAPS_MOVABLE,
	MAPS_JSON,
};

static const struct cmd_option maps_options[] = {
	{ "pid", 'p', false, CMD_ARG_REQUIRED, MAPS_PID, "PID", "of this process" },
	{ "movable", 0, false, CMD_ARG_NONE, MAPS_MOVABLE, NULL,
	  "only areas from which something could be moved" },
	{ "json", 0, false, CMD_ARG_NONE, MAPS_JSON, NULL, "one JSON object instead of text" },
	CMD_COMMON_OPTIONS
};

static int maps_set(void *ctx, const struct cmd_option *option, bool neg, const char *arg)
{
	struct maps_opts *o = ctx;

	(void)neg;
	switch (option->id) {
	case MAPS_PID:
		return cmd_number(option->name, arg, 1, INT32_MAX, &o->pid);
	case MAPS_MOVABLE:
		o->movable = true;
		return 0;
	case MAPS_JSON:
		o->json = true;
		return 0;
	}
	return 0;
}

static void print_text(const struct move_survey *survey, bool only_movable)
{
	uint64_t resident = 0, huge = 0, swapped = 0, movable = 0;
	char a[16], b[16], c[16], d[16];
	unsigned int i;

	printf("%-33s %-4s %6s %6s %6s %6s %6s  %s\n", "ADDRESSES", "MAY", "SIZE", "RSS", "HUGE",
	       "SWAP", "MOVE", "WHAT, AND WHAT DOES NOT MOVE");
	for (i = 0; i < survey->n; i++) {
		const struct move_area *v = &survey->area[i];
		char range[40], size[16];

		if (only_movable && !v->movable_bytes)
			continue;
		resident += v->resident_bytes;
		huge += v->huge_bytes;
		swapped += v->swapped_bytes;
		movable += v->movable_bytes;
		snprintf(range, sizeof(range), "%" PRIx64 "-%" PRIx64, v->start, v->end);
		printf("%-33s %s %6s %6s %6s %6s %6s  %s%s%s%s\n", range, v->perms,
		       cmd_human(v->end - v->start, &size), cmd_human(v->resident_bytes, &a),
		       cmd_human(v->huge_bytes, &b), cmd_human(v->swapped_bytes, &c),
		       cmd_human(v->movable_bytes, &d), v->name, *v->name && *v->why_not ? " " : "",
		       *v->why_not ? "! " : "", v->why_not);
	}
	printf("%-33s %-4s %6s %6s %6s %6s %6s\n", "all", "", "", cmd_human(resident, &a),
	       cmd_human(huge, &b), cmd_human(swapped, &c), cmd_human(movable, &d));
}

static json_object *json_area(const struct move_area *v)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "start", json_object_new_uint64(v->start));
	json_object_object_add(o, "end", json_object_new_uint64(v->end));
	json_object_object_add(o, "perms", json_object_new_string(v->perms));
	json_object_object_add(o, "name", *v->name ? json_object_new_string(v->name) : NULL);
	json_object_object_add(o, "resident_bytes", json_object_new_uint64(v->resident_bytes));
	json_object_object_add(o, "huge_bytes", json_object_new_uint64(v->huge_bytes));
	json_object_object_add(o, "swapped_bytes", json_object_new_uint64(v->swapped_bytes));
	json_object_object_add(o, "movable_bytes", json_object_new_uint64(v->movable_bytes));
	json_object_object_add(o, "why_not", *v->why_not ? json_object_new_string(v->why_not) : NULL);
	return o;
}

static void print_json(uint64_t pid, const struct move_survey *survey, bool only_movable)
{
	json_object *o = json_object_new_object(), *areas = json_object_new_array();
	unsigned int i;

	json_object_object_add(o, "pid", json_object_new_uint64(pid));
	for (i = 0; i < survey->n; i++)
		if (!only_movable || survey->area[i].movable_bytes)
			json_object_array_add(areas, json_area(&survey->area[i]));
	json_object_object_add(o, "areas", areas);
	cmd_print_json(o);
}

static int maps_run(int argc, char **argv)
{
	struct maps_opts o = { 0 };
	struct move_survey survey;
	int status, ret;

	if (!cmd_start(&cmd_maps, argc, argv, maps_set, &o, &status))
		return status;
	if (!o.pid) {
		log_err("which process? (-p PID)");
		return CMD_USAGE;
	}
	ret = move_survey((pid_t)o.pid, &survey);
	if (ret) {
		log_err("process %" PRIu64 ": %s", o.pid,
			ret == -ESRCH ? "there is none, or it has no memory" : strerror(-ret));
		return CMD_FAILED;
	}
	if (o.json)
		print_json(o.pid, &survey, o.movable);
	else
		print_text(&survey, o.movable);
	move_survey_free(&survey);
	return CMD_DONE;
}

const struct cmd cmd_maps = {
	.name = "maps",
	.summary = "show the memory areas of a process and what of them could be moved",
	.usage = "-p PID [--movable] [--json]",
	.text = "Sizes are in powers of 1024.  RSS is resident, HUGE of it in transparent huge pages that\n"
		"are mapped whole, SWAP in swap, MOVE what `uffd-relocate move` could move.  Behind \"!\"\n"
		"stands what could not.",
	.options = maps_options,
	.run = maps_run,
};
