// SPDX-License-Identifier: GPL-2.0-only
/*
 * extent: random operations against an array with one entry a page.
 *
 * The same operations run at page sizes and bases that put the tree at address 0, across 2^47,
 * across 2^56 and below 2^57, and with "pages" so large that most ranges are beyond 2 GiB and
 * the whole beyond 2^40.  Every operation that allocates is first made to run out of memory at
 * each of its allocations, and must leave the tree as it was each time.
 *
 * Seeds are printed; `extent SEED` runs that one alone.
 */
#include "tests/tap.h"

/* The tree is compiled in, so that its allocations can be counted and refused. */
static int64_t alloc_live, alloc_calls, alloc_fail_at = -1;

static void *test_malloc(size_t size)
{
	void *p;

	if (alloc_calls++ == alloc_fail_at)
		return NULL;
	p = malloc(size);
	if (p)
		alloc_live++;
	return p;
}

static void test_free(void *p)
{
	if (p)
		alloc_live--;
	free(p);
}

#define malloc test_malloc
#define free test_free
#include "../../src/core/extent.c"
#undef malloc
#undef free

#define NPAGES 192
#define NOTHING UINT64_MAX
/* An owner: source and page in the source; the next page of the same run is one more. */
#define OWNER(source, page) ((uint64_t)(source) << 32 | (page))

struct place {
	uint64_t base, unit;
	const char *name;
};

struct model {
	uint64_t owner[NPAGES];
	struct place place;
	uint64_t seed;
};

static uint64_t rnd_state;

static uint64_t rnd(uint64_t below)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (rnd_state * 0x2545f4914f6cdd1dull >> 16) % below;
}

static uint64_t model_addr(const struct model *m, uint64_t page)
{
	return m->place.base + page * m->place.unit;
}

static struct range model_range(const struct model *m, uint64_t start, uint64_t end)
{
	return range_make(model_addr(m, start), model_addr(m, end));
}

static uint64_t model_owned(const struct model *m, uint64_t start, uint64_t end)
{
	uint64_t n = 0;

	for (uint64_t i = start; i < end; i++)
		n += m->owner[i] != NOTHING;
	return n;
}

/* The end of the run of pages that belong together with @page. */
static uint64_t model_run_end(const struct model *m, uint64_t page)
{
	uint64_t end = page + 1;

	while (end < NPAGES && m->owner[end] != NOTHING && m->owner[end] == m->owner[end - 1] + 1)
		end++;
	return end;
}

/* The view that the run starting at @page must have. */
static struct extent_view model_view(const struct model *m, uint64_t page)
{
	return (struct extent_view){
		.at = model_range(m, page, model_run_end(m, page)),
		.offset = (m->owner[page] & UINT32_MAX) * m->place.unit,
		.source = m->owner[page] >> 32,
	};
}

static bool view_same(const struct extent_view *a, const struct extent_view *b)
{
	return a->at.start.v == b->at.start.v && a->at.end.v == b->at.end.v &&
	       a->offset == b->offset && a->source == b->source;
}

struct walk {
	const struct model *m;
	uint64_t page;		/* first one not seen yet */
	uint64_t count;
	bool differs;
};

static int walk_one(const struct extent_view *view, void *arg)
{
	struct walk *w = arg;
	struct extent_view want;

	while (w->page < NPAGES && w->m->owner[w->page] == NOTHING)
		w->page++;
	if (w->page == NPAGES)
		return w->differs = true;
	want = model_view(w->m, w->page);
	if (!view_same(view, &want))
		return w->differs = true;
	w->page = model_run_end(w->m, w->page);
	w->count++;
	return 0;
}

/* Is the tree, walked whole, what the array says: same pieces, merged, in order, nothing more? */
static bool model_agrees(const struct model *m, const struct extent_tree *tree)
{
	struct walk w = { .m = m };

	extent_for_each(tree, walk_one, &w);
	if (w.differs || model_owned(m, w.page, NPAGES))
		return false;
	return extent_count(tree) == w.count &&
	       extent_pending(tree) == model_owned(m, 0, NPAGES) * m->place.unit;
}

/* Do lookup and next say at one random byte what the array says? */
static bool model_probe(const struct model *m, const struct extent_tree *tree)
{
	uint64_t page = rnd(NPAGES), first = page, next = page;
	uint64_t addr = model_addr(m, page) + rnd(2) * rnd(m->place.unit);
	struct extent_view got, want;

	if (m->owner[page] != NOTHING) {
		while (first && m->owner[first - 1] != NOTHING &&
		       m->owner[first - 1] + 1 == m->owner[first])
			first--;
		want = model_view(m, first);
		if (!extent_lookup(tree, taddr(addr), &got) || !view_same(&got, &want))
			return false;
		want.offset += addr - want.at.start.v;
		want.at.start = taddr(addr);
		return extent_next(tree, taddr(addr), &got) && view_same(&got, &want);
	}
	if (extent_lookup(tree, taddr(addr), &got))
		return false;
	while (next < NPAGES && m->owner[next] == NOTHING)
		next++;
	if (next == NPAGES)
		return !extent_next(tree, taddr(addr), &got);
	want = model_view(m, next);
	return extent_next(tree, taddr(addr), &got) && view_same(&got, &want);
}

enum op { OP_INSERT, OP_CARVE, OP_REMAP, OP_CLONE, OP_COUNT };
static const char *const op_name[] = { "insert", "carve", "remap", "clone" };
static uint64_t op_done[OP_COUNT], op_refused[OP_COUNT], op_nomem[OP_COUNT];

struct call {
	enum op op;
	uint64_t start, end, to;	/* pages */
	uint64_t page;			/* insert: in the source */
	uint32_t source;
};

/* Make a call whose outcome has a fair chance to be each of those there are. */
static struct call call_random(const struct model *m)
{
	struct call c = { .op = rnd(16) ? rnd(OP_CLONE) : OP_CLONE };
	uint64_t len = rnd(4) ? 1 + rnd(8) : 1 + rnd(NPAGES / 2);

	c.start = rnd(NPAGES);
	c.end = c.start + len > NPAGES ? NPAGES : c.start + len;
	c.to = rnd(NPAGES - (c.end - c.start) + 1);
	if (c.op == OP_REMAP && !rnd(4)) {
		/* Side by side, where pieces of both ends meet. */
		if (rnd(2) && c.end + (c.end - c.start) <= NPAGES)
			c.to = c.end;
		else if (c.start >= c.end - c.start)
			c.to = c.start - (c.end - c.start);
	}
	c.source = rnd(3);
	c.page = rnd(1000) + NPAGES;
	if (c.op == OP_INSERT && rnd(4)) {
		/* Into a gap, and as a continuation of what stands before or behind it. */
		while (c.start && m->owner[c.start - 1] == NOTHING && rnd(8))
			c.start--;
		for (c.end = c.start + 1; c.end < NPAGES && m->owner[c.end] == NOTHING && rnd(12);)
			c.end++;
		if (c.start && m->owner[c.start - 1] != NOTHING && rnd(2)) {
			c.source = m->owner[c.start - 1] >> 32;
			c.page = (m->owner[c.start - 1] & UINT32_MAX) + 1;
		} else if (c.end < NPAGES && m->owner[c.end] != NOTHING) {
			c.source = m->owner[c.end] >> 32;
			c.page = (m->owner[c.end] & UINT32_MAX) - (c.end - c.start);
		}
	}
	return c;
}

/* What the array makes of a call. Return: what the tree must return. */
static int64_t model_apply(struct model *m, const struct call *c)
{
	uint64_t len = c->end - c->start, n, moved[NPAGES];

	switch (c->op) {
	case OP_INSERT:
		if (model_owned(m, c->start, c->end))
			return -EEXIST;
		for (uint64_t i = c->start; i < c->end; i++)
			m->owner[i] = OWNER(c->source, c->page + (i - c->start));
		return 0;
	case OP_CARVE:
		n = model_owned(m, c->start, c->end);
		for (uint64_t i = c->start; i < c->end; i++)
			m->owner[i] = NOTHING;
		return n * m->place.unit;
	case OP_REMAP:
		if (c->start < c->to + len && c->to < c->end)
			return -EINVAL;
		n = model_owned(m, c->start, c->end);
		for (uint64_t i = 0; i < len; i++) {
			moved[i] = m->owner[c->start + i];
			m->owner[c->start + i] = NOTHING;
		}
		memcpy(&m->owner[c->to], moved, len * sizeof(moved[0]));
		return n * m->place.unit;
	default:
		return 0;
	}
}

/* What the tree makes of it; a clone that could be made takes the place of *@tree. */
static int64_t tree_apply(const struct model *m, struct extent_tree **tree, const struct call *c)
{
	struct extent_view view = {
		.at = model_range(m, c->start, c->end),
		.offset = c->page * m->place.unit,
		.source = c->source,
	};
	struct extent_tree *copy;

	switch (c->op) {
	case OP_INSERT:
		return extent_insert(*tree, view);
	case OP_CARVE:
		return extent_carve(*tree, view.at);
	case OP_REMAP:
		return extent_remap(*tree, view.at.start, taddr(model_addr(m, c->to)),
				    range_len(view.at));
	default:
		copy = extent_clone(*tree);
		if (!copy)
			return -ENOMEM;
		if (!model_agrees(m, *tree))
			return -EIO;
		extent_tree_free(*tree);
		*tree = copy;
		return 0;
	}
}

static bool round_fails(const struct model *m, const struct call *c, const char *what)
{
	note("%s: seed %" PRIu64 ", %s %" PRIu64 "..%" PRIu64 " to %" PRIu64 ": %s", m->place.name,
	     m->seed, op_name[c->op], c->start, c->end, c->to, what);
	return false;
}

/* One operation with every check there is. */
static bool round_run(struct model *m, struct extent_tree **tree)
{
	struct call c = call_random(m);
	int64_t got, want;

	/* First run out of memory at each allocation in turn, until there was one too many. */
	for (int64_t fail = 0;; fail++) {
		/* A clone has an allocation an extent: try some. */
		if (c.op == OP_CLONE && fail == 4)
			fail = extent_count(*tree) > 8 ? (int64_t)extent_count(*tree) - 1 : 5;
		alloc_calls = 0;
		alloc_fail_at = fail;
		got = tree_apply(m, tree, &c);
		alloc_fail_at = -1;
		if (alloc_calls <= fail)
			break;
		if (got != -ENOMEM)
			return round_fails(m, &c, "out of memory was not reported");
		if (!model_agrees(m, *tree))
			return round_fails(m, &c, "changed although memory was out");
		op_nomem[c.op]++;
	}
	want = model_apply(m, &c);
	if (got != want) {
		note("got %" PRId64 ", want %" PRId64, got, want);
		return round_fails(m, &c, "wrong return value");
	}
	if (!model_agrees(m, *tree))
		return round_fails(m, &c, "tree and array differ");
	for (int i = 0; i < 4; i++)
		if (!model_probe(m, *tree))
			return round_fails(m, &c, "lookup or next differs");
	if (alloc_live != (int64_t)extent_count(*tree) + 1)
		return round_fails(m, &c, "a node was leaked or lost");
	if (got < 0)
		op_refused[c.op]++;
	else
		op_done[c.op]++;
	return true;
}

static bool rounds_run(struct place place, uint64_t seed, unsigned int rounds)
{
	struct model m = { .place = place, .seed = seed };
	struct extent_tree *tree = extent_tree_new();
	bool good = true;

	rnd_state = seed * 0x9e3779b97f4a7c15ull + 1;
	for (uint64_t i = 0; i < NPAGES; i++)
		m.owner[i] = NOTHING;
	for (unsigned int i = 0; i < rounds && good; i++)
		good = round_run(&m, &tree);
	extent_tree_free(tree);
	if (good && alloc_live)
		note("%s: seed %" PRIu64 ": %" PRId64 " leaked", place.name, seed, alloc_live);
	return good && !alloc_live;
}

static const struct place places[] = {
	{ 0, 4096, "pages of 4 KiB from 0" },
	{ (1ull << 47) - NPAGES / 2 * 4096, 4096, "pages of 4 KiB across 2^47" },
	{ (1ull << 56) - NPAGES / 2 * 65536, 65536, "pages of 64 KiB across 2^56" },
	{ 1ull << 32, 3ull << 30, "pages of 3 GiB" },
	{ (1ull << 57) - NPAGES * (1ull << 40), 1ull << 40, "pages of 1 TiB up to 2^57" },
};

static void test_edges(void)
{
	struct extent_tree *tree = extent_tree_new();
	struct extent_view view = { .at = range_make(0x1000, 0x1000) }, got;
	uint64_t top = 1ull << 57;

	is_i64(extent_insert(tree, view), -EINVAL, "an empty range is refused");
	view.at = range_make(0x2000, 0x1000);
	is_i64(extent_insert(tree, view), -EINVAL, "a range that wraps is refused");
	view.at = range_make(top - 4096, top + 4096);
	is_i64(extent_insert(tree, view), -EINVAL, "a range that ends above 2^57 is refused");
	view.at = range_make(0x1000, 0x3000);
	view.offset = UINT64_MAX - 0x1000;
	is_i64(extent_insert(tree, view), -EINVAL, "an offset that wraps is refused");
	is_u64(extent_count(tree), 0, "and nothing of that is in the tree");

	view = (struct extent_view){ .at = range_make(0, top), .offset = 1ull << 40, .source = 7 };
	is_i64(extent_insert(tree, view), 0, "all addresses can be owed at once");
	is_u64(extent_pending(tree), top, "and count as 2^57 bytes");
	is_i64(extent_carve(tree, range_make(5, 5)), 0, "carving an empty range takes nothing");
	is_i64(extent_carve(tree, range_make(6, 5)), 0, "nor does a range that wraps");
	is_i64(extent_remap(tree, taddr(0), taddr(4096), 0), 0, "remapping no bytes moves none");
	is_i64(extent_remap(tree, taddr(0), taddr(4096), 8192), -EINVAL, "overlap is refused");
	is_i64(extent_remap(tree, taddr(4096), taddr(4096), 4096), -EINVAL, "onto itself as well");
	is_i64(extent_remap(tree, taddr(top - 4096), taddr(0), 8192), -EINVAL, "source wraps");
	is_i64(extent_remap(tree, taddr(0), taddr(top - 4096), 8192), -EINVAL, "destination wraps");
	is_i64(extent_remap(tree, taddr(4096), taddr(0), UINT64_MAX - 4095), -EINVAL,
	       "length wraps");
	is_u64(extent_count(tree), 1, "the tree stayed as it was");

	is_i64(extent_carve(tree, range_make(3ull << 31, 9ull << 31)), 6ll << 31,
	       "a hole of 12 GiB counts 12 GiB");
	ok(extent_lookup(tree, taddr(9ull << 31), &got) &&
		   got.offset == (1ull << 40) + (9ull << 31) && got.at.end.v == top,
	   "what is behind the hole has its own offset");
	ok(!extent_lookup(tree, taddr((9ull << 31) - 1), &got), "the hole ends before that");
	is_i64(extent_remap(tree, taddr(1ull << 56), taddr(3ull << 31), 5ull << 30), 5ll << 30,
	       "5 GiB move from 2^56 into the hole");
	ok(extent_lookup(tree, taddr((3ull << 31) + 12345), &got) && got.source == 7 &&
	   got.offset == (1ull << 40) + (1ull << 56), "with their offset");
	ok(!extent_lookup(tree, taddr(1ull << 56), &got), "and are owed there no more");
	is_i64(extent_carve(tree, range_make(0, UINT64_MAX)), top - (6ll << 31),
	       "carving everything takes the rest");
	is_u64(extent_pending(tree), 0, "nothing is pending");
	ok(!extent_next(tree, taddr(0), &got), "there is no next one");
	extent_tree_free(tree);
	extent_tree_free(NULL);
	is_i64(alloc_live, 0, "all memory was given back");
}

/* mremap(2) there and back leaves what was there, apart from what stood at the other place. */
static void test_merge_after_moves(void)
{
	struct extent_tree *tree = extent_tree_new();
	struct extent_view view = { .at = range_make(0x10000, 0x20000), .offset = 0x7000 };

	extent_insert(tree, view);
	is_i64(extent_remap(tree, taddr(0x14000), taddr(0x40000), 0x4000), 0x4000, "one moves");
	is_u64(extent_count(tree), 3, "that makes three pieces");
	is_i64(extent_remap(tree, taddr(0x40000), taddr(0x14000), 0x4000), 0x4000, "and back");
	is_u64(extent_count(tree), 1, "which makes it one again");
	extent_carve(tree, range_make(0x14000, 0x18000));
	/* Source 0x7000 + ..: the last piece of the source range continues the first one moved. */
	view = (struct extent_view){ .at = range_make(0x30000, 0x31000), .offset = 0x101000 };
	extent_insert(tree, view);
	view = (struct extent_view){ .at = range_make(0x31000, 0x32000), .offset = 0x100000 };
	extent_insert(tree, view);
	is_i64(extent_remap(tree, taddr(0x30000), taddr(0x32000), 0x2000), 0x2000,
	       "two pieces move next door");
	is_u64(extent_pending(tree), 0xc000 + 0x2000, "both are still owed");
	is_i64(extent_carve(tree, range_make(0x30000, 0x32000)), 0, "and not at the old place");
	extent_tree_free(tree);
}

int main(int argc, char **argv)
{
	unsigned int seeds = 200, rounds = 400;
	uint64_t first = 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	tap_timeout(120);
	if (argc > 1) {
		first = strtoull(argv[1], NULL, 0);
		seeds = 1;
	}
	test_edges();
	test_merge_after_moves();
	for (size_t p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
		bool good = true;

		for (uint64_t seed = first; seed < first + seeds && good; seed++)
			good = rounds_run(places[p], seed, rounds);
		ok(good, "%s: %u operations as the array has it, seeds %" PRIu64 "..%" PRIu64,
		   places[p].name, seeds * rounds, first, first + seeds - 1);
	}
	for (int op = 0; op < OP_COUNT; op++) {
		note("%s: %" PRIu64 " done, %" PRIu64 " refused, %" PRIu64 " out of memory",
		     op_name[op], op_done[op], op_refused[op], op_nomem[op]);
		ok(op_done[op] && op_nomem[op], "%s was run, and run out of memory", op_name[op]);
	}
	return tap_done();
}
