/* SPDX-License-Identifier: GPL-2.0-only */
/* order: ranges in the order in which they were first touched. */
#include <errno.h>
#include <stdlib.h>
#include <bsd/sys/tree.h>

#include "core/order.h"

#define ORDER_END_MAX (1ull << 57)

struct order_node {
	RB_ENTRY(order_node) link;
	struct order_node *next;	/* in order */
	struct order_run run;
};

RB_HEAD(order_rb, order_node);

struct order {
	struct order_rb rb;
	struct order_node *first, *last;
	uint64_t nruns, max_runs, bytes;
};

static inline int order_cmp(const struct order_node *a, const struct order_node *b)
{
	uint64_t x = a->run.at.start.v, y = b->run.at.start.v;

	return x < y ? -1 : x > y;
}

/* Not RB_GENERATE_STATIC(), see extent.c. */
RB_GENERATE_INTERNAL(order_rb, order_node, link, order_cmp, __attribute__((unused)) static)

struct order *order_new(uint64_t max_runs)
{
	struct order *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	RB_INIT(&o->rb);
	o->max_runs = max_runs;
	return o;
}

void order_free(struct order *o)
{
	struct order_node *n, *next;

	if (!o)
		return;
	for (n = o->first; n; n = next) {
		next = n->next;
		free(n);
	}
	free(o);
}

uint64_t order_nruns(const struct order *o)
{
	return o->nruns;
}

uint64_t order_bytes(const struct order *o)
{
	return o->bytes;
}

/* The run that ends behind @addr and starts lowest: it holds @addr or is the next one above. */
static struct order_node *order_at_or_after(const struct order *o, uint64_t addr)
{
	struct order_node *n = RB_ROOT(&o->rb), *best = NULL;

	while (n) {
		if (n->run.at.end.v > addr) {
			best = n;
			n = RB_LEFT(n, link);
		} else {
			n = RB_RIGHT(n, link);
		}
	}
	return best;
}

/* Append a range of which nothing is there yet. */
static int order_append(struct order *o, struct range at, uint32_t count)
{
	struct order_node *n = o->last;

	o->bytes += range_len(at);
	if (n && n->run.at.end.v == at.start.v && n->run.count == count) {
		n->run.at.end = at.end;
		return 0;
	}
	n = o->nruns < o->max_runs ? malloc(sizeof(*n)) : NULL;
	if (!n) {
		o->bytes -= range_len(at);
		return o->nruns < o->max_runs ? -ENOMEM : -ENOSPC;
	}
	n->run = (struct order_run){ at, count };
	n->next = NULL;
	RB_INSERT(order_rb, &o->rb, n);
	if (o->last)
		o->last->next = n;
	else
		o->first = n;
	o->last = n;
	o->nruns++;
	return 0;
}

int64_t order_add(struct order *o, struct range at, uint32_t count)
{
	int64_t added = 0;

	if (at.start.v >= at.end.v || at.end.v > ORDER_END_MAX)
		return -EINVAL;
	while (at.start.v < at.end.v) {
		const struct order_node *n = order_at_or_after(o, at.start.v);
		struct range gap = at;

		if (n && n->run.at.start.v <= at.start.v) {
			at.start = n->run.at.end;
			continue;
		}
		if (n && n->run.at.start.v < at.end.v)
			gap.end = n->run.at.start;
		int ret = order_append(o, gap, count);

		if (ret)
			return ret;
		added += range_len(gap);
		at.start = gap.end;
	}
	return added;
}

bool order_find(const struct order *o, struct taddr addr, struct order_run *out)
{
	const struct order_node *n = order_at_or_after(o, addr.v);

	if (!n || n->run.at.start.v > addr.v)
		return false;
	if (out)
		*out = n->run;
	return true;
}

bool order_next(const struct order *o, struct taddr addr, struct order_run *out)
{
	const struct order_node *n = order_at_or_after(o, addr.v);

	if (n)
		*out = n->run;
	return n;
}

int order_for_each(const struct order *o, int (*fn)(const struct order_run *run, void *arg),
		   void *arg)
{
	int ret = 0;

	for (const struct order_node *n = o->first; n && !ret; n = n->next)
		ret = fn(&n->run, arg);
	return ret;
}

bool order_take(const struct order *o, struct order_cursor *c, uint64_t max_bytes,
		struct order_run *out)
{
	const struct order_node *n = c->begun ? c->run : o->first;

	c->begun = true;
	c->run = n;
	if (!n || !max_bytes)
		return false;
	*out = n->run;
	out->at.start.v += c->done;
	if (range_len(out->at) > max_bytes) {
		out->at.end.v = out->at.start.v + max_bytes;
		c->done += max_bytes;
		return true;
	}
	c->run = n->next;
	c->done = 0;
	return true;
}

/* ---- merging ---- */

/* A piece: inside one run or none of either order. */
struct order_piece {
	struct order_run run;
	uint64_t rank;
};

/* A run with its rank, to be walked by address. */
struct order_ranked {
	struct order_run run;
	uint64_t rank;
};

static int order_ranked_cmp(const void *a, const void *b)
{
	uint64_t x = ((const struct order_ranked *)a)->run.at.start.v;
	uint64_t y = ((const struct order_ranked *)b)->run.at.start.v;

	return x < y ? -1 : x > y;
}

static int order_piece_cmp(const void *a, const void *b)
{
	const struct order_piece *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	if (x->run.count != y->run.count)
		return x->run.count > y->run.count ? -1 : 1;
	return x->run.at.start.v < y->run.at.start.v ? -1 : 1;
}

/* Return: the runs by address, closed by one that is beyond any address; NULL without memory. */
static struct order_ranked *order_by_address(const struct order *o)
{
	struct order_ranked *list = malloc((o->nruns + 1) * sizeof(*list));
	uint64_t rank = 0, n = 0;

	if (!list)
		return NULL;
	for (const struct order_node *at = o->first; at; at = at->next) {
		list[n++] = (struct order_ranked){ at->run, rank };
		rank += range_len(at->run.at);
	}
	qsort(list, n, sizeof(*list), order_ranked_cmp);
	list[n] = (struct order_ranked){ .run.at = range_make(UINT64_MAX, UINT64_MAX) };
	return list;
}

/* What @r says of the addresses from @at on. Return: where that ends or begins. */
static uint64_t order_border(const struct order_ranked *r, uint64_t at)
{
	return at < r->run.at.start.v ? r->run.at.start.v : r->run.at.end.v;
}

static bool order_covers(const struct order_ranked *r, uint64_t at)
{
	return range_has(r->run.at, taddr(at));
}

/* Cut both at each other's borders. Return: number of pieces. */
static uint64_t order_cut(const struct order_ranked *a, const struct order_ranked *b,
			  struct order_piece *out)
{
	uint64_t at = 0, n = 0;

	for (;;) {
		while (a->run.at.end.v <= at && a->run.at.end.v != UINT64_MAX)
			a++;
		while (b->run.at.end.v <= at && b->run.at.end.v != UINT64_MAX)
			b++;
		uint64_t end_a = order_border(a, at), end_b = order_border(b, at);
		uint64_t end = end_a < end_b ? end_a : end_b;
		bool in_a = order_covers(a, at), in_b = order_covers(b, at);

		if (end == UINT64_MAX)
			return n;
		if (in_a || in_b) {
			struct order_piece *p = &out[n++];
			uint64_t rank_a = a->rank + at - a->run.at.start.v;
			uint64_t rank_b = b->rank + at - b->run.at.start.v;
			uint64_t count = (in_a ? a->run.count : 0) +
					 (uint64_t)(in_b ? b->run.count : 0);

			p->run.at = range_make(at, end);
			p->run.count = count < UINT32_MAX ? count : UINT32_MAX;
			p->rank = in_a && (!in_b || rank_a < rank_b) ? rank_a : rank_b;
		}
		at = end;
	}
}

struct order *order_merge(const struct order *a, const struct order *b, uint64_t max_runs)
{
	struct order_ranked *by_a = order_by_address(a), *by_b = order_by_address(b);
	/* Each border of a run begins or ends at most one piece. */
	struct order_piece *piece = malloc((2 * (a->nruns + b->nruns) + 1) * sizeof(*piece));
	struct order *out = order_new(max_runs);
	uint64_t n;

	if (!by_a || !by_b || !piece || !out)
		goto fail;
	n = order_cut(by_a, by_b, piece);
	qsort(piece, n, sizeof(*piece), order_piece_cmp);
	for (uint64_t i = 0; i < n; i++) {
		int ret = order_append(out, piece[i].run.at, piece[i].run.count);

		if (ret == -ENOSPC)
			break;
		if (ret)
			goto fail;
	}
	goto out;
fail:
	order_free(out);
	out = NULL;
out:
	free(by_a);
	free(by_b);
	free(piece);
	return out;
}
