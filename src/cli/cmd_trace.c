// SPDX-License-Identifier: GPL-2.0-only
/* cmd_trace: look at traces, put several into one, remove them; note what is in huge pages. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "cli/cmd.h"
#include "cli/trace_hint.h"
#include "image/trace.h"
#include "util/fd.h"
#include "util/log.h"

struct trace_opts {
	const char *images_dir;
	const char *file;
	bool json, ranges;
	pid_t from, frozen_by;	/* 0: not asked for */
};

enum trace_id {
	TRACE_IMAGES_DIR = CMD_ID_FIRST,
	TRACE_TRACE,
	TRACE_JSON,
	TRACE_RANGES,
	TRACE_FROM,
	TRACE_FROZEN_BY,
};

static const struct cmd_option trace_options[] = {
	{ "images-dir", 'D', false, CMD_ARG_REQUIRED, TRACE_IMAGES_DIR, "DIR",
	  "the images (default: .)" },
	{ "trace", 0, false, CMD_ARG_REQUIRED, TRACE_TRACE, "FILE",
	  "the trace (default: uffd-relocate.trace in the images)" },
	{ "ranges", 0, false, CMD_ARG_NONE, TRACE_RANGES, NULL, "show: every range, in order" },
	{ "json", 0, false, CMD_ARG_NONE, TRACE_JSON, NULL, "show: one JSON object" },
	{ "from", 0, false, CMD_ARG_REQUIRED, TRACE_FROM, "PID",
	  "note what PID and its descendants have in huge pages, before a dump" },
	{ "frozen-by", 0, false, CMD_ARG_REQUIRED, TRACE_FROZEN_BY, "PID",
	  "the same of the tasks that criu PID is dumping (the plugin asks so)" },
	CMD_COMMON_OPTIONS
};

static int trace_set(void *ctx, const struct cmd_option *option, bool neg, const char *arg)
{
	struct trace_opts *o = ctx;
	uint64_t pid = 0;

	(void)neg;
	if (option->id == TRACE_FROM || option->id == TRACE_FROZEN_BY) {
		int ret = cmd_number(option->name, arg, 1, INT32_MAX, &pid);

		if (ret)
			return ret;
	}
	switch (option->id) {
	case TRACE_IMAGES_DIR:
		o->images_dir = arg;
		break;
	case TRACE_TRACE:
		o->file = arg;
		break;
	case TRACE_JSON:
		o->json = true;
		break;
	case TRACE_RANGES:
		o->ranges = true;
		break;
	case TRACE_FROM:
		o->from = (pid_t)pid;
		break;
	case TRACE_FROZEN_BY:
		o->frozen_by = (pid_t)pid;
		break;
	}
	return 0;
}

/* What an action works on. */
struct trace_place {
	int dir_fd;
	struct image_set *images;	/* NULL: there are none */
	const struct trace_opts *o;
};

/* ---- show ---- */

static uint64_t bytes_of(const struct order *o)
{
	return o ? order_bytes(o) : 0;
}

static int add_again(const struct order_run *run, void *arg)
{
	if (run->count > 1)
		*(uint64_t *)arg += range_len(run->at);
	return 0;
}

static int print_run(const struct order_run *run, void *arg)
{
	printf("  %s 0x%" PRIx64 "-0x%" PRIx64 " %" PRIu64 "K %" PRIu32 "\n", (const char *)arg,
	       run->at.start.v, run->at.end.v, range_len(run->at) >> 10, run->count);
	return 0;
}

static void show_text(const struct trace_place *w, const struct trace *t, const char *images)
{
	printf("%s: %" PRIu32 " recorded restore%s, %s\n", w->o->file, trace_runs(t),
	       trace_runs(t) == 1 ? "" : "s", images);
	printf("%8s %8s %10s %10s %10s\n", "VPID", "RANGES", "TOUCHED-K", "AGAIN-K", "HUGE-K");
	for (uint32_t i = 0; i < trace_ntasks(t); i++) {
		uint32_t vpid = trace_vpid(t, i);
		const struct order *o = trace_order(t, vpid), *huge = trace_huge(t, vpid);
		uint64_t again = 0;

		if (o)
			order_for_each(o, add_again, &again);
		printf("%8" PRIu32 " %8" PRIu64 " %10" PRIu64 " %10" PRIu64, vpid,
		       o ? order_nruns(o) : 0, bytes_of(o) >> 10, again >> 10);
		if (huge)
			printf(" %10" PRIu64 "\n", bytes_of(huge) >> 10);
		else
			printf(" %10s\n", "-");
		if (w->o->ranges && o)
			order_for_each(o, print_run, (void *)"touched");
		if (w->o->ranges && huge)
			order_for_each(huge, print_run, (void *)"huge");
	}
}

static int json_run(const struct order_run *run, void *arg)
{
	json_object *one = json_object_new_object();

	json_object_object_add(one, "start", json_object_new_int64((int64_t)run->at.start.v));
	json_object_object_add(one, "bytes", json_object_new_int64((int64_t)range_len(run->at)));
	json_object_object_add(one, "count", json_object_new_int64(run->count));
	json_object_array_add(arg, one);
	return 0;
}

static void json_list(json_object *task, const char *key, const struct order *o)
{
	json_object *list = o ? json_object_new_array() : NULL;

	if (o)
		order_for_each(o, json_run, list);
	json_object_object_add(task, key, list);
}

static void show_json(const struct trace_place *w, const struct trace *t, const char *images)
{
	json_object *o = json_object_new_object(), *tasks = json_object_new_array();

	json_object_object_add(o, "file", json_object_new_string(w->o->file));
	json_object_object_add(o, "images", json_object_new_string(images));
	json_object_object_add(o, "restores", json_object_new_int64(trace_runs(t)));
	for (uint32_t i = 0; i < trace_ntasks(t); i++) {
		uint32_t vpid = trace_vpid(t, i);
		json_object *task = json_object_new_object();
		const struct order *order = trace_order(t, vpid), *huge = trace_huge(t, vpid);

		json_object_object_add(task, "vpid", json_object_new_int64(vpid));
		json_object_object_add(task, "touched_bytes",
				       json_object_new_int64((int64_t)bytes_of(order)));
		json_object_object_add(task, "huge_bytes",
				       huge ? json_object_new_int64((int64_t)bytes_of(huge)) : NULL);
		json_list(task, "touched", order);
		json_list(task, "huge", huge);
		json_object_array_add(tasks, task);
	}
	json_object_object_add(o, "tasks", tasks);
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
}

static int trace_show(const struct trace_place *w)
{
	struct image_error err = { "" };
	const char *images = "of these images";
	struct trace *t;
	int ret = trace_load(w->dir_fd, w->o->file, w->images, &t, &err);

	if (ret == -ESTALE) {
		log_warn("%s", err.text);
		images = "of other images";
		ret = trace_load(w->dir_fd, w->o->file, NULL, &t, &err);
	}
	if (ret) {
		log_err("%s", err.text);
		return CMD_FAILED;
	}
	if (!trace_is_stamped(t))
		images = "of a process";
	else if (!w->images)
		images = "no images here";
	if (w->o->json)
		show_json(w, t, images);
	else
		show_text(w, t, images);
	trace_free(t);
	return CMD_DONE;
}

/* ---- merge, drop ---- */

/* Several into one: what stands in the target already counts as the first of them. */
static int trace_merge_all(const struct trace_place *w, int n, char **files)
{
	struct image_error err = { "out of memory" };
	struct trace *t = NULL, *more;
	int ret = trace_load(w->dir_fd, w->o->file, w->images, &t, &err);

	if (ret == -ENOENT) {
		t = trace_new();
		ret = t ? 0 : -ENOMEM;
	}
	for (int i = 0; !ret && i < n; i++) {
		ret = trace_load(AT_FDCWD, files[i], w->images, &more, &err);
		if (ret)
			break;
		ret = trace_merge(t, more);
		if (ret == -ESTALE)
			snprintf(err.text, sizeof(err.text),
				 "%.400s: is of other images than the ones before it", files[i]);
		trace_free(more);
	}
	if (!ret)
		ret = trace_save(t, w->dir_fd, w->o->file, &err);
	if (ret)
		log_err("%s", err.text);
	trace_free(t);
	return ret ? CMD_FAILED : CMD_DONE;
}

static int trace_drop(const struct trace_place *w)
{
	if (!unlinkat(w->dir_fd, w->o->file, 0))
		return CMD_DONE;
	log_err("%s: %s", w->o->file, strerror(errno));
	return CMD_FAILED;
}

/* ---- hint ---- */

/*
 * What is known already is kept if it is of these images, or of none yet; what other images have left
 * there is not.
 */
static int trace_hint(const struct trace_place *w)
{
	struct image_error err = { "out of memory" }, was;
	struct trace *t = NULL, *hint = trace_new();
	int ret = trace_load(w->dir_fd, w->o->file, w->images, &t, &was);

	if (ret || (!w->images && trace_is_stamped(t))) {
		if (ret && ret != -ENOENT)
			log_info("%s; replaced", was.text);
		trace_free(t);
		t = trace_new();
	}
	ret = hint && t ? hint_take(hint, w->o->from, w->o->frozen_by) : -ENOMEM;
	if (!ret && w->images)
		ret = trace_stamp(hint, w->images, &err);
	if (!ret)
		ret = trace_merge(t, hint);
	if (!ret)
		ret = trace_save(t, w->dir_fd, w->o->file, &err);
	if (ret && ret != -ESRCH)
		log_err("%s", err.text);
	trace_free(t);
	trace_free(hint);
	return ret ? CMD_FAILED : CMD_DONE;
}

static int trace_act(const struct trace_opts *o, int n, char **words)
{
	struct image_error err = { "" };
	struct trace_place w = { .o = o };
	bool hint = o->from || o->frozen_by, merge;
	const char *action = n ? words[0] : hint ? "hint" : "show";
	int ret;

	merge = !strcmp(action, "merge");
	if (hint && n) {
		log_err("--from excludes '%s'", action);
		return CMD_USAGE;
	}

	if (!hint && !merge && strcmp(action, "show") && strcmp(action, "drop")) {
		log_err("'%s' is not one of show, merge, drop", action);
		return CMD_USAGE;
	}
	if (merge ? n < 2 : n > 1) {
		if (merge)
			log_err("merge: from which files?");
		else
			log_err("'%s' is one argument too many", words[1]);
		return CMD_USAGE;
	}
	cleanup_fd int dir_fd = open(o->images_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd < 0) {
		log_err("images directory %s: %s", o->images_dir, strerror(errno));
		return CMD_FAILED;
	}
	w.dir_fd = dir_fd;
	/* Traces may lie apart from their images. */
	if (image_open(dir_fd, false, &w.images, &err))
		w.images = NULL;
	if (merge)
		ret = trace_merge_all(&w, n - 1, words + 1);
	else if (hint)
		ret = trace_hint(&w);
	else
		ret = *action == 's' ? trace_show(&w) : trace_drop(&w);
	image_close(w.images);
	return ret;
}

static int trace_run(int argc, char **argv)
{
	struct trace_opts o = { .images_dir = ".", .file = TRACE_FILE };
	int first, status;

	if (!cmd_start_operands(&cmd_trace, argc, argv, trace_set, &o, &status, &first))
		return status;
	return trace_act(&o, argc - first, argv + first);
}

const struct cmd cmd_trace = {
	.name = "trace",
	.summary = "show, merge or drop what was recorded of a restore",
	.usage = "[-D DIR] [--trace FILE] [show [--ranges] [--json] | merge FROM... | drop | --from PID]",
	.text = "TOUCHED is what the tasks touched while they were recorded, AGAIN what of it in more\n"
		"than one restore, HUGE what was in huge pages when they were dumped (-: not known).",
	.options = trace_options,
	.run = trace_run,
};
