// SPDX-License-Identifier: GPL-2.0-only
/*
 * extent_cost: 131072 extents cost little more than 1024.
 *
 * Counted are the links that the code follows or writes, not time: the macros that name a node's
 * left and right child are replaced by ones that count, before the tree is compiled in.
 */
#include <bsd/sys/tree.h>

static unsigned long long links;

static inline void link_used(void)
{
	links++;
}

#undef RB_LEFT
#undef RB_RIGHT
#define RB_LEFT(elm, field) (*(link_used(), &(elm)->field.rbe_left))
#define RB_RIGHT(elm, field) (*(link_used(), &(elm)->field.rbe_right))

#include "../../src/core/extent.c"

#include "tests/tap.h"

#define PAGE 4096ull

struct cost {
	double lookup, lookup_max, next, insert, fault, hole, remap;
};

static unsigned long long rnd_state = 88172645463325252ull;

static uint64_t rnd(uint64_t below)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state % below;
}

/* Extents of two pages with a page between them; @random: not in ascending order. */
static struct extent_tree *tree_make(uint64_t n, bool random, double *insert)
{
	struct extent_tree *tree = extent_tree_new();
	uint64_t *order = malloc(n * sizeof(*order));

	if (!tree || !order)
		bail("no memory");
	for (uint64_t i = 0; i < n; i++)
		order[i] = i;
	for (uint64_t i = n; random && i > 1; i--) {
		uint64_t j = rnd(i), tmp = order[i - 1];

		order[i - 1] = order[j];
		order[j] = tmp;
	}
	links = 0;
	for (uint64_t i = 0; i < n; i++) {
		struct extent_view view = {
			.at = range_make(order[i] * 3 * PAGE, (order[i] * 3 + 2) * PAGE),
			.offset = order[i] * 2 * PAGE,
		};

		if (extent_insert(tree, view))
			bail("insert failed");
	}
	*insert = (double)links / n;
	free(order);
	return tree;
}

static struct cost measure(uint64_t n, bool random)
{
	const unsigned int rounds = 1000;
	struct cost cost = { 0 };
	struct extent_tree *tree = tree_make(n, random, &cost.insert);
	struct extent_view view;
	unsigned int i;

	for (i = 0; i < rounds; i++) {
		links = 0;
		extent_lookup(tree, taddr(rnd(n * 3 * PAGE)), &view);
		cost.lookup += (double)links / rounds;
		if (links > cost.lookup_max)
			cost.lookup_max = links;
	}
	links = 0;
	for (i = 0; i < rounds; i++)
		extent_next(tree, taddr(rnd(n * 3 * PAGE)), &view);
	cost.next = (double)links / rounds;

	links = 0;
	for (i = 0; i < rounds; i++) {
		uint64_t at = (rnd(n) * 3 + rnd(2)) * PAGE;

		extent_carve(tree, range_make(at, at + PAGE));
	}
	cost.fault = (double)links / rounds;

	links = 0;
	for (i = 0; i < rounds; i++) {
		uint64_t at = rnd(n) * 3 * PAGE;

		extent_carve(tree, range_make(at + 256, at + 512));
	}
	cost.hole = (double)links / rounds;

	links = 0;
	for (i = 0; i < rounds; i++) {
		uint64_t at = rnd(n) * 3 * PAGE, to = (n + rnd(n)) * 3 * PAGE;

		extent_remap(tree, taddr(at), taddr(to), 2 * PAGE);
	}
	cost.remap = (double)links / rounds;
	extent_tree_free(tree);
	return cost;
}

static void compare(const char *what, double few, double many, double bound)
{
	/* log2(131072) / log2(1024) = 1.7; a walk over all would be 128. */
	ok(many <= bound && many <= 3 * few, "%s: %.1f links with 1024, %.1f with 131072", what,
	   few, many);
}

static void test_order(bool random)
{
	struct cost few = measure(1024, random), many = measure(131072, random);

	note("extents inserted in %s order", random ? "random" : "ascending");
	/* A red-black tree of n nodes is at most 2 log2(n + 1) deep. */
	ok(many.lookup_max <= 2 * 17 + 1, "no lookup follows more than 35 links: %.0f",
	   many.lookup_max);
	compare("lookup", few.lookup, many.lookup, 35);
	compare("next", few.next, many.next, 35);
	compare("insert", few.insert, many.insert, 140);
	compare("carve a page", few.fault, many.fault, 140);
	compare("carve a hole", few.hole, many.hole, 140);
	compare("remap two pages", few.remap, many.remap, 400);
}

int main(void)
{
	tap_timeout(30);
	ok(sizeof(struct extent) <= 64, "a node has %zu bytes", sizeof(struct extent));
	test_order(false);
	test_order(true);
	return tap_done();
}
