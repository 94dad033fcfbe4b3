/* SPDX-License-Identifier: GPL-2.0-only */
/* replay: what is placed first is what was touched first; see trace.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/trace.h"
#include "pager/agent.h"
#include "pager/internal.h"
#include "pager/plan.h"
#include "pager/trace.h"
#include "util/log.h"

/* How much of an order is sorted by address and placed in one go: before the tasks run, and after. */
#define REPLAY_HOT_BYTES (64u << 20)
#define REPLAY_BYTES (2u << 20)
#define REPLAY_RANGES 16384u
/* Blocks that the agents' thread looks at in one call. */
#define REPLAY_LOOKS 64u
/* A budget in bytes is not waited for longer than this. */
#define REPLAY_HOT_MAX_US 10000000

void trace_open(struct pager *p)
{
	const char *file = p->opts->trace_file ? p->opts->trace_file : TRACE_FILE;
	struct image_error err = { "" };
	int ret;

	if (!p->images || !p->opts->trace)
		return;
	ret = trace_load(p->st->images_fd, file, p->images, &p->trace, &err);
	if (ret == -ENOENT && (!p->opts->trace_file || p->opts->record))
		return;
	if (ret) {
		log_warn("%s; going on without it", err.text);
		p->trace_error = ret;
		return;
	}
	log_info("%s: %u recorded runs, %u tasks", file, trace_runs(p->trace),
		 trace_ntasks(p->trace));
}

void trace_close(struct pager *p)
{
	trace_free(p->trace);
	p->trace = NULL;
}

void replay_attach(struct pager *p, struct session *s)
{
	/* A run that is recorded is to show what faults. */
	if (!p->trace || p->recorder)
		return;
	s->replay.order = trace_order(p->trace, s->shm->vpid);
	s->replay.active = s->replay.order && order_bytes(s->replay.order);
	s->replay.hot = s->replay.active && (p->opts->hot_us || p->opts->hot_bytes);
}

void replay_begin(struct pager *p)
{
	p->hot_until_us = pager_now_us() + (p->opts->hot_us ? p->opts->hot_us : REPLAY_HOT_MAX_US);
	p->hot_left = p->opts->hot_bytes ? p->opts->hot_bytes : UINT64_MAX;
}

static void replay_cool(struct pager *p, struct session *s, const char *why)
{
	if (!s->replay.hot)
		return;
	s->replay.hot = false;
	log_info("session %u: %llu KiB of hot pages are in: %s", s->slot,
		 (unsigned long long)s->n->hot_bytes >> 10, why);
	pager_kick(p->control_kick);
	agent_kick(p);
}

bool replay_over(struct pager *p, struct session *s)
{
	if (p->hot_until_us && pager_now_us() > p->hot_until_us)
		return true;
	/* All of it is in, or the task is lost: then the drain has no more to do with it. */
	if (!s->n->pending_bytes || s->shm->reason[0])
		return true;
	/* One that is not there yet will not come while the task is held back. */
	if (s->replay.agent_hot && s->shm->agent.life == AGENT_THERE && s->hope != HOPE_NONE &&
	    s->hope != HOPE_SLOW)
		return false;
	return !s->replay.hot;
}

static int replay_cmp(const void *a, const void *b)
{
	uint64_t x = ((const struct range *)a)->start.v, y = ((const struct range *)b)->start.v;

	return x < y ? -1 : x > y;
}

/* What touches becomes one. Return: ranges left. */
static unsigned int replay_join(struct range *step, unsigned int n)
{
	unsigned int last = 0;

	for (unsigned int i = 1; i < n; i++) {
		if (step[i].start.v == step[last].end.v)
			step[last].end = step[i].end;
		else
			step[++last] = step[i];
	}
	return n ? last + 1 : 0;
}

/* The next step. Return: false at the end of the order. */
static bool replay_step(struct pager *p, struct session *s)
{
	struct replay *r = &s->replay;
	uint64_t left = r->hot ? REPLAY_HOT_BYTES : REPLAY_BYTES;
	struct order_run run;

	if (r->hot && left > p->hot_left)
		left = p->hot_left;
	r->nsteps = r->at = 0;
	r->next = taddr(0);
	if (!r->step)
		r->step = malloc(REPLAY_RANGES * sizeof(*r->step));
	if (!r->step)
		return false;
	while (r->nsteps < REPLAY_RANGES && left && order_take(r->order, &r->cursor, left, &run)) {
		r->step[r->nsteps++] = run.at;
		left -= range_len(run.at);
		if (r->hot) {
			p->hot_left -= range_len(run.at);
			r->hot_end += range_len(run.at);
		}
	}
	qsort(r->step, r->nsteps, sizeof(r->step[0]), replay_cmp);
	r->nsteps = replay_join(r->step, r->nsteps);
	return r->nsteps;
}

bool replay_peek(struct pager *p, struct session *s, struct extent_view *v)
{
	struct replay *r = &s->replay;

	while (r->active) {
		if (r->at == r->nsteps) {
			if (r->hot && !p->hot_left)
				replay_cool(p, s, "the budget is spent");
			if (replay_step(p, s))
				continue;
			replay_cool(p, s, "that is all of the trace");
			r->active = false;
			replay_free(r);
			return false;
		}
		if (r->hot && pager_now_us() > p->hot_until_us)
			replay_cool(p, s, "the time is over");

		struct range want = r->step[r->at];

		if (r->next.v > want.start.v)
			want.start = r->next;
		if (want.start.v < want.end.v && extent_next(s->owed, want.start, v)) {
			v->at = range_cut(v->at, want);
			if (range_len(v->at))
				return true;
		}
		r->at++;
	}
	return false;
}

void replay_leave(struct pager *p, struct session *s, struct taddr to)
{
	if (s->replay.hot && !s->replay.agent_hot) {
		s->replay.agent_hot = true;
		agent_kick(p);
	}
	s->replay.next = to;
}

/* The next run for the agents' thread. Return: false: no more for now, or at all. */
static bool replay_agent_run(struct session *s, bool all)
{
	struct replay *r = &s->replay;
	struct order_run run;

	if (range_len(r->agent_run))
		return true;
	if ((!all && r->agent_taken >= r->hot_end) ||
	    !order_take(r->order, &r->agent_cursor, PLAN_BLOCK, &run))
		return false;
	r->agent_run = run.at;
	r->agent_taken += range_len(run.at);
	return true;
}

int replay_block(struct pager *p, struct session *s, bool all, const struct plan_block *const *busy,
		 unsigned int nbusy, struct plan_block *out)
{
	struct replay *r = &s->replay;

	for (unsigned int looks = 0; r->order && looks < REPLAY_LOOKS; looks++) {
		struct extent_view v;
		bool taken = false;

		if (!replay_agent_run(s, all))
			break;
		uint64_t block = r->agent_run.start.v & ~(PLAN_BLOCK - 1);

		r->agent_run.start = taddr(block + PLAN_BLOCK);
		if (r->agent_run.start.v >= r->agent_run.end.v)
			r->agent_run = range_make(0, 0);
		for (unsigned int i = 0; i < nbusy; i++)
			taken |= busy[i]->at.start.v == block;
		if (taken || !extent_lookup(s->huge, taddr(block), &v))
			continue;
		if (plan_block(s, block, out))
			return 1;
		plan_touched(s, range_make(block, block + PLAN_BLOCK));
	}
	if (r->order && range_len(r->agent_run))
		return -EAGAIN;
	if (r->agent_hot && !r->hot && r->agent_taken >= r->hot_end && !nbusy) {
		r->agent_hot = false;
		log_info("session %u: the agent has moved its hot blocks", s->slot);
		pager_kick(p->control_kick);
	}
	return 0;
}

void replay_free(struct replay *r)
{
	free(r->step);
	r->step = NULL;
}

void replay_advance(struct session *s, struct taddr to)
{
	s->replay.next = to;
}
