// SPDX-License-Identifier: GPL-2.0-only
/* move_print: what `move` says, as text or as JSON, one object a line. */
#include "cli/move_print.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <time.h>

#include "cli/cmd.h"
#include "util/log.h"

#define PROGRESS_MS 100
#define BAR_WIDTH 40

static uint64_t gap_bytes(const struct move_plan *plan)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < plan->ngaps; i++)
		sum += plan->gap[i].len;
	return sum;
}

static void add_u64(json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static void json_plan(const struct move_plan *plan)
{
	json_object *o = json_object_new_object();
	json_object *ranges = json_object_new_array(), *issues = json_object_new_array();
	unsigned int i;

	json_object_object_add(o, "event", json_object_new_string("plan"));
	add_u64(o, "pid", (uint64_t)plan->pid);
	add_u64(o, "total_bytes", plan->total_bytes);
	add_u64(o, "hole_bytes", plan->hole_bytes);
	add_u64(o, "swapped_bytes", plan->swapped_bytes);
	add_u64(o, "huge_bytes", plan->huge_bytes);
	add_u64(o, "split_bytes", plan->split_bytes);
	add_u64(o, "map_bytes", gap_bytes(plan));
	for (i = 0; i < plan->nranges; i++) {
		json_object *one = json_object_new_object();

		add_u64(one, "src", plan->range[i].src);
		add_u64(one, "dst", plan->range[i].dst);
		add_u64(one, "len", plan->range[i].len);
		json_object_array_add(ranges, one);
	}
	json_object_object_add(o, "ranges", ranges);
	for (i = 0; i < plan->nissues; i++) {
		const struct move_issue *issue = &plan->issue[i];
		json_object *one = json_object_new_object();

		add_u64(one, "range", issue->range);
		json_object_object_add(one, "side",
				       json_object_new_string(issue->at_dst ? "dst" : "src"));
		add_u64(one, "address", issue->addr);
		add_u64(one, "bytes", issue->bytes);
		json_object_object_add(one, "why", json_object_new_string(issue->why));
		json_object_array_add(issues, one);
	}
	json_object_object_add(o, "issues", issues);
	cmd_print_json(o);
}

void move_print_plan(const struct move_print *p, const struct move_plan *plan)
{
	char a[16], b[16], c[16], d[16], e[16], f[16];
	unsigned int i;

	if (p->json) {
		json_plan(plan);
		return;
	}
	for (i = 0; i < plan->nranges; i++)
		printf("%#" PRIx64 " -> %#" PRIx64 "  %s\n", plan->range[i].src, plan->range[i].dst,
		       cmd_human(plan->range[i].len, &a));
	printf("%s: %s never touched, %s in swap, %s in huge pages (%s of it will be split); %s of the "
	       "destination to be mapped\n",
	       cmd_human(plan->total_bytes, &a), cmd_human(plan->hole_bytes, &b),
	       cmd_human(plan->swapped_bytes, &c), cmd_human(plan->huge_bytes, &d),
	       cmd_human(plan->split_bytes, &e), cmd_human(gap_bytes(plan), &f));
}

void move_print_issues(const struct move_plan *plan)
{
	unsigned int i;
	char size[16];

	for (i = 0; i < plan->nissues; i++) {
		const struct move_issue *issue = &plan->issue[i];

		log_err("%s %#" PRIx64 ": %s (%s)", issue->at_dst ? "destination" : "source",
			issue->addr, issue->why, cmd_human(issue->bytes, &size));
	}
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void draw(struct move_print *p, uint64_t moved)
{
	unsigned int full = p->total_bytes ?
		(unsigned int)((double)moved / (double)p->total_bytes * BAR_WIDTH) : BAR_WIDTH;
	char bar[BAR_WIDTH + 1], a[16], b[16];
	unsigned int i;

	for (i = 0; i < BAR_WIDTH; i++)
		bar[i] = i < full ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	fprintf(stderr, "\r[%s] %s of %s ", bar, cmd_human(moved, &a), cmd_human(p->total_bytes, &b));
	fflush(stderr);
	p->drawn = true;
}

void move_print_progress(struct move_print *p, uint64_t moved)
{
	int64_t now = now_ms();

	if ((!p->json && !p->bar) || (p->last_ms && now - p->last_ms < PROGRESS_MS))
		return;
	p->last_ms = now;
	if (p->bar)
		draw(p, moved);
	if (p->json) {
		json_object *o = json_object_new_object();

		json_object_object_add(o, "event", json_object_new_string("progress"));
		add_u64(o, "moved_bytes", moved);
		add_u64(o, "total_bytes", p->total_bytes);
		cmd_print_json(o);
		fflush(stdout);
	}
}

static void json_result(const struct move_plan *plan, const struct move_result *r, int status)
{
	json_object *o = json_object_new_object();
	json_object *page = r->at_page ? json_object_new_object() : NULL;
	uint64_t left = r->moved_bytes;
	unsigned int whole = 0;

	while (whole < plan->nranges && left >= plan->range[whole].len)
		left -= plan->range[whole++].len;
	json_object_object_add(o, "event", json_object_new_string("result"));
	json_object_object_add(o, "status", json_object_new_int(status));
	add_u64(o, "moved_bytes", r->moved_bytes);
	add_u64(o, "mapped_bytes", r->mapped_bytes);
	add_u64(o, "move_ns", r->move_ns);
	/* The ranges before are moved wholly, those behind not at all. */
	add_u64(o, "whole_ranges", whole);
	add_u64(o, "next_range_bytes", left);
	if (page) {
		add_u64(page, "src", r->src);
		add_u64(page, "dst", r->dst);
	}
	json_object_object_add(o, "stopped_at", page);
	json_object_object_add(o, "left_behind", json_object_new_boolean(r->left_behind));
	json_object_object_add(o, "why", *r->text ? json_object_new_string(r->text) : NULL);
	cmd_print_json(o);
}

void move_print_result(struct move_print *p, const struct move_plan *plan,
		       const struct move_result *r, int status)
{
	char moved[96] = "nothing was moved";

	if (p->bar) {
		draw(p, r->moved_bytes);
		fputc('\n', stderr);
	}
	if (r->moved_bytes)
		snprintf(moved, sizeof(moved), "%" PRIu64 " of %" PRIu64 " bytes were moved%s",
			 r->moved_bytes, plan->total_bytes, r->at_page ? ", all before it" : "");
	if (r->at_page)
		log_err("the page at %#" PRIx64 " does not move to %#" PRIx64 ": %s; %s", r->src, r->dst,
			r->text, moved);
	else if (*r->text)
		log_err("%s; %s", r->text, moved);
	if (p->json)
		json_result(plan, r, status);
	else if (status == CMD_DONE)
		printf("moved %" PRIu64 " bytes in %.3f ms\n", r->moved_bytes, (double)r->move_ns / 1e6);
}
