// SPDX-License-Identifier: GPL-2.0-only
/*
 * order: random additions and merges against arrays with one entry a page.
 *
 * Seeds are printed; `order SEED` runs that one alone.
 */
#include <errno.h>

#include "core/order.h"
#include "tests/tap.h"

#define NPAGES 128
#define NONE UINT64_MAX
#define UNIT 4096ull

static uint64_t rnd_state;

static uint64_t rnd(uint64_t below)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (rnd_state * 0x2545f4914f6cdd1dull >> 16) % below;
}

/* What a page is in an order: its place in the list, how often seen. */
struct model {
	uint64_t base;
	uint64_t rank[NPAGES];
	uint32_t count[NPAGES];
	uint64_t n;
};

static void model_init(struct model *m, uint64_t base)
{
	m->base = base;
	m->n = 0;
	for (int i = 0; i < NPAGES; i++)
		m->rank[i] = NONE;
}

static int64_t model_add(struct model *m, uint64_t from, uint64_t to, uint32_t count)
{
	int64_t added = 0;

	for (uint64_t i = from; i < to; i++)
		if (m->rank[i] == NONE) {
			m->rank[i] = m->n++;
			m->count[i] = count;
			added += UNIT;
		}
	return added;
}

static struct range pages(const struct model *m, uint64_t from, uint64_t to)
{
	return range_make(m->base + from * UNIT, m->base + to * UNIT);
}

struct walk {
	const struct model *m;
	uint64_t rank, runs;
	struct order_run last;
	bool good;
};

static int walk_run(const struct order_run *run, void *arg)
{
	struct walk *w = arg;

	/* Two that continue each other have to be one. */
	if (w->runs && w->last.at.end.v == run->at.start.v && w->last.count == run->count)
		w->good = false;
	for (uint64_t a = run->at.start.v; a < run->at.end.v; a += UNIT) {
		uint64_t i = (a - w->m->base) / UNIT;

		w->good &= i < NPAGES && w->m->rank[i] == w->rank++ &&
			   w->m->count[i] == run->count;
	}
	w->last = *run;
	w->runs++;
	return 0;
}

/* Is the order what the model says, by each way of asking? */
static bool same(const struct order *o, const struct model *m)
{
	struct walk w = { .m = m, .good = true }, taken = { .m = m, .good = true };
	struct order_cursor c = { 0 };
	struct order_run run;
	uint64_t byaddr = 0;
	bool good;

	order_for_each(o, walk_run, &w);
	good = w.good && w.rank == m->n && w.runs == order_nruns(o) &&
	       order_bytes(o) == m->n * UNIT;
	for (int i = 0; i < NPAGES; i++) {
		struct taddr at = taddr(m->base + i * UNIT + rnd(UNIT));

		good &= order_find(o, at, &run) == (m->rank[i] != NONE);
		if (m->rank[i] != NONE)
			good &= range_has(run.at, at) && run.count == m->count[i];
	}
	/* By address, without a gap left out. */
	for (uint64_t at = m->base, i = 0; order_next(o, taddr(at), &run); at = run.at.end.v) {
		for (; good && m->base + i * UNIT < run.at.start.v; i++)
			good = i < NPAGES && m->rank[i] == NONE;
		for (; good && m->base + i * UNIT < run.at.end.v; i++)
			good = i < NPAGES && m->rank[i] != NONE;
		if (!good)
			return false;
		byaddr += range_len(run.at);
	}
	good &= byaddr == order_bytes(o);
	/* In pieces, whatever their size. */
	while (order_take(o, &c, (1 + rnd(5)) * UNIT, &run)) {
		taken.runs = 0;
		walk_run(&run, &taken);
	}
	return good && taken.good && taken.rank == m->n;
}

/* ---- the naive merge ---- */

struct naive {
	uint64_t key, first;	/* rank of the piece's first page, and its address */
	uint32_t count;
	uint64_t page;
};

static int naive_cmp(const void *a, const void *b)
{
	const struct naive *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->page < y->page ? -1 : 1;
}

/* Does page @i belong to the same run of @m as the page before it, or to none as that one? */
static bool continues(const struct model *m, int i)
{
	if (m->rank[i] == NONE || m->rank[i - 1] == NONE)
		return m->rank[i] == m->rank[i - 1];
	return m->rank[i] == m->rank[i - 1] + 1 && m->count[i] == m->count[i - 1];
}

static void model_merge(const struct model *a, const struct model *b, struct model *out)
{
	struct naive list[NPAGES];
	uint64_t n = 0;

	model_init(out, a->base);
	for (int i = 0; i < NPAGES; i++) {
		if (a->rank[i] == NONE && b->rank[i] == NONE)
			continue;
		struct naive *p = &list[n++];

		p->page = i;
		p->count = (a->rank[i] == NONE ? 0 : a->count[i]) +
			   (b->rank[i] == NONE ? 0 : b->count[i]);
		/* NONE is above all ranks. */
		p->key = a->rank[i] < b->rank[i] ? a->rank[i] : b->rank[i];
		p->first = i;
		if (i && n > 1 && p[-1].page == (uint64_t)i - 1 && continues(a, i) &&
		    continues(b, i)) {
			p->key = p[-1].key;
			p->first = p[-1].first;
		}
	}
	qsort(list, n, sizeof(list[0]), naive_cmp);
	for (uint64_t i = 0; i < n; i++) {
		out->rank[list[i].page] = i;
		out->count[list[i].page] = list[i].count;
	}
	out->n = n;
}

static bool fill(struct order *o, struct model *m)
{
	bool good = true;

	for (uint64_t i = 1 + rnd(40); i; i--) {
		uint64_t from = rnd(NPAGES), to = from + 1 + rnd(rnd(4) ? 3 : NPAGES - from);
		uint32_t count = 1 + rnd(rnd(3) ? 1 : 3);

		if (to > NPAGES)
			to = NPAGES;
		good &= order_add(o, pages(m, from, to), count) == model_add(m, from, to, count);
	}
	return good && same(o, m);
}

static bool round_of(uint64_t seed)
{
	static const uint64_t bases[] = { 0, 0x7f0000000000, (1ull << 47) - 64 * UNIT,
					  (1ull << 57) - NPAGES * UNIT };
	struct order *a = order_new(NPAGES), *b = order_new(NPAGES), *ab, *half;
	struct model ma, mb, mab;
	bool good;

	rnd_state = seed * 2 + 1;
	model_init(&ma, bases[rnd(4)]);
	model_init(&mb, ma.base);
	good = fill(a, &ma) && fill(b, &mb);
	ab = order_merge(a, b, NPAGES * 4);
	model_merge(&ma, &mb, &mab);
	good &= ab && same(ab, &mab) && same(a, &ma) && same(b, &mb);
	/* A bound leaves the beginning. */
	half = order_merge(a, b, order_nruns(ab) / 2);
	struct order_cursor c = { 0 }, d = { 0 };
	struct order_run x, y;

	good &= half && order_nruns(half) <= order_nruns(ab) / 2;
	for (uint64_t i = 0; half && good && i < order_nruns(half); i++) {
		good &= order_take(half, &c, UINT64_MAX, &x) &&
			order_take(ab, &d, UINT64_MAX, &y) && x.at.start.v == y.at.start.v &&
			x.at.end.v == y.at.end.v && x.count == y.count;
	}
	order_free(a);
	order_free(b);
	order_free(ab);
	order_free(half);
	return good;
}

static void test_random(uint64_t only)
{
	uint64_t bad = 0, n = only ? 1 : 20000;

	for (uint64_t i = 0; i < n; i++) {
		if (round_of(only ? only : i + 1))
			continue;
		if (!bad++)
			note("seed %" PRIu64 " differs from the model", only ? only : i + 1);
	}
	is_u64(bad, 0, "%" PRIu64 " random orders and merges are as the model has them", n);
}

static void test_limits(void)
{
	struct order *o = order_new(2), *empty = order_new(2), *sum;
	struct order_cursor c = { 0 };
	struct order_run run;

	is_i64(order_add(o, range_make(UNIT, UNIT), 1), -EINVAL, "an empty range is refused");
	is_i64(order_add(o, range_make(UNIT, 0), 1), -EINVAL, "so is one that wraps");
	is_i64(order_add(o, range_make(0, (1ull << 57) + 1), 1), -EINVAL, "and one above 2^57");
	is_i64(order_add(o, range_make(10 * UNIT, 11 * UNIT), 1), UNIT, "a page is added");
	is_i64(order_add(o, range_make(20 * UNIT, 21 * UNIT), 1), UNIT, "a second run");
	is_i64(order_add(o, range_make(21 * UNIT, 22 * UNIT), 1), UNIT, "it goes on");
	is_i64(order_add(o, range_make(5 * UNIT, 6 * UNIT), 1), -ENOSPC, "no third one");
	is_u64(order_bytes(o), 3 * UNIT, "what was refused does not count");
	is_i64(order_add(o, range_make(10 * UNIT, 11 * UNIT), 1), 0, "what is there is no new run");
	ok(!order_take(empty, &c, UNIT, &run), "an empty order gives nothing");
	ok(!order_find(empty, taddr(0), &run), "and holds nothing");
	sum = order_merge(empty, o, 9);
	is_u64(sum ? order_bytes(sum) : 0, 3 * UNIT, "merged with an empty one it stays");
	order_free(o);
	order_free(empty);
	order_free(sum);
	order_free(NULL);
}

/* A hundred thousand faults all over the place must not take a noticeable time. */
static void test_many(void)
{
	const uint64_t n = 100000;
	struct order *o = order_new(n);
	int64_t sum = 0;

	rnd_state = 4711;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t page = rnd(1ull << 24);
		int64_t added = order_add(o, range_make(page * UNIT, (page + 1) * UNIT), 1);

		sum += added > 0 ? added : 0;
	}
	is_u64(order_bytes(o), sum, "%" PRIu64 " scattered pages, none counted twice", n);
	order_free(o);
}

int main(int argc, char **argv)
{
	tap_timeout(120);
	test_random(argc > 1 ? strtoull(argv[1], NULL, 0) : 0);
	test_limits();
	test_many();
	return tap_done();
}
