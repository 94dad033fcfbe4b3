/* SPDX-License-Identifier: GPL-2.0-only */
/* plan: which blocks come as huge pages. */
#include <errno.h>

#include "pager/internal.h"
#include "pager/plan.h"
#include "util/log.h"

#define PLAN_LOOKS 64	/* blocks looked at in one call */

static uint64_t plan_down(uint64_t v)
{
	return v & ~(PLAN_BLOCK - 1);
}

int plan_init(struct session *s, const struct range *want, unsigned int n)
{
	struct extent_view v;

	s->huge = extent_tree_new();
	s->collapse = extent_tree_new();
	if (!s->huge || !s->collapse)
		return -ENOMEM;
	for (unsigned int i = 0; i < n; i++) {
		uint64_t start = plan_down(want[i].start.v + PLAN_BLOCK - 1);
		uint64_t end = plan_down(want[i].end.v);

		/* Where something is owed at all: a VMA may be much larger. */
		while (start < end && extent_next(s->owed, taddr(start), &v) && v.at.start.v < end) {
			uint64_t from = plan_down(v.at.start.v);
			uint64_t to = plan_down(v.at.end.v + PLAN_BLOCK - 1);
			int ret;

			to = to < end ? to : end;
			start = to;
			/* The offset is the address, so that neighbours become one. */
			v = (struct extent_view){ .at = range_make(from, to), .offset = from };
			ret = extent_insert(s->huge, v);
			if (ret)
				return ret;
		}
	}
	return 0;
}

bool plan_block(const struct session *s, uint64_t start, struct plan_block *out)
{
	struct extent_view v;

	out->at = range_make(start, start + PLAN_BLOCK);
	out->n = 0;
	for (uint64_t at = start; at < out->at.end.v; at = v.at.end.v) {
		if (out->n == PLAN_PIECES || !extent_next(s->owed, taddr(at), &v) ||
		    v.at.start.v != at || (out->n && v.source != out->source))
			return false;
		v.at = range_cut(v.at, out->at);
		out->source = v.source;
		out->piece[out->n].offset = v.offset;
		out->piece[out->n++].len = range_len(v.at);
	}
	return true;
}

void plan_drop(struct session *s, struct range at)
{
	/* Without memory for the cut it is tried again, for nothing. */
	if (extent_carve(s->huge, at) < 0)
		log_debug("session %u: no memory to forget a block", s->slot);
}

void plan_touched(struct session *s, struct range at)
{
	struct extent_view v = { .at = at, .offset = at.start.v };

	plan_drop(s, at);
	/* Without memory, or when it stands there already, nothing is lost. */
	s->to_collapse = s->collapses;
	if (extent_insert(s->collapse, v))
		log_debug("session %u: %#llx is not noted", s->slot, (unsigned long long)at.start.v);
}

bool plan_collapse(struct session *s, struct range *out)
{
	struct extent_view v;

	if (!s->collapse || !extent_next(s->collapse, taddr(0), &v))
		return false;
	*out = range_make(v.at.start.v, v.at.start.v + PLAN_BLOCK);
	return extent_carve(s->collapse, *out) >= 0;
}

int plan_next(struct session *s, uint64_t *cursor, const struct plan_block *const *busy,
	      unsigned int nbusy, struct plan_block *out)
{
	uint64_t at = plan_down(*cursor + PLAN_BLOCK - 1);
	bool round = false;
	struct extent_view v;

	for (unsigned int looks = 0; looks < PLAN_LOOKS; looks++) {
		if (!extent_next(s->huge, taddr(at), &v)) {
			if (round || !at)
				return 0;
			round = true;
			at = 0;
			continue;
		}
		uint64_t start = v.at.start.v;
		bool taken = false;

		at = *cursor = start + PLAN_BLOCK;
		for (unsigned int i = 0; i < nbusy; i++)
			taken |= busy[i]->at.start.v == start;
		if (taken)
			continue;
		if (plan_block(s, start, out))
			return 1;
		plan_touched(s, range_make(start, at));
	}
	return -EAGAIN;
}

bool plan_any(const struct session *s)
{
	return s->huge && extent_count(s->huge);
}

bool plan_leave(struct session *s, struct extent_view *v, uint64_t *end)
{
	struct extent_view h;
	struct plan_block b;

	if (!s->huge || !s->collapse || !extent_next(s->huge, v->at.start, &h) || h.at.start.v >= v->at.end.v)
		return false;
	if (h.at.start.v > v->at.start.v) {
		v->at.end = h.at.start;
		return false;
	}
	uint64_t block = plan_down(v->at.start.v), to;

	if (!plan_block(s, block, &b)) {
		plan_touched(s, range_make(block, block + PLAN_BLOCK));
		if (v->at.end.v > block + PLAN_BLOCK)
			v->at.end = taddr(block + PLAN_BLOCK);
		return false;
	}
	/* And all that follow in the same extent. */
	to = plan_down(v->at.end.v < h.at.end.v ? v->at.end.v : h.at.end.v);
	*end = to > block ? to : block + PLAN_BLOCK;
	return true;
}
