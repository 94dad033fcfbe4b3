/* SPDX-License-Identifier: GPL-2.0-only */
/* plan: which blocks are an agent's, against a model with one byte a page. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pager/internal.h"
#include "pager/plan.h"
#include "tests/tap.h"

#define PAGE 4096ull
#define PER_BLOCK (PLAN_BLOCK / PAGE)
#define BLOCKS 12
#define BASE (64 * PLAN_BLOCK)

static struct session s;
static bool owed[BLOCKS * PER_BLOCK];

static uint64_t random_state = 1;

static uint64_t random_below(uint64_t n)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (random_state >> 33) % n;
}

/* All of the blocks owed by one source, advised but for @lead bytes at both ends. */
static void begin(uint64_t lead)
{
	struct range want = range_make(BASE + lead, BASE + BLOCKS * PLAN_BLOCK - lead);
	struct extent_view v = { .at = range_make(BASE, BASE + BLOCKS * PLAN_BLOCK), .offset = 0 };

	memset(&s, 0, sizeof(s));
	s.owed = extent_tree_new();
	if (!s.owed || extent_insert(s.owed, v) || plan_init(&s, &want, 1))
		exit(1);
	s.collapses = true;
	memset(owed, true, sizeof(owed));
}

static void end(void)
{
	extent_tree_free(s.owed);
	extent_tree_free(s.huge);
	extent_tree_free(s.collapse);
}

static void touch(uint64_t page)
{
	if (extent_carve(s.owed, range_make(BASE + page * PAGE, BASE + (page + 1) * PAGE)) < 0)
		exit(1);
	owed[page] = false;
}

static bool whole(uint64_t block)
{
	for (uint64_t i = 0; i < PER_BLOCK; i++)
		if (!owed[block * PER_BLOCK + i])
			return false;
	return true;
}

static void test_edges(void)
{
	struct plan_block b;
	uint64_t cursor = 0;
	unsigned int n = 0;

	begin(PAGE);
	while (plan_next(&s, &cursor, NULL, 0, &b) == 1) {
		n++;
		plan_drop(&s, b.at);
	}
	is_u64(n, BLOCKS - 2, "blocks that the advice covers in part are none");
	ok(!plan_any(&s), "nothing is left");
	end();
}

static void test_round(void)
{
	struct plan_block b, c;
	const struct plan_block *busy[] = { &b };
	uint64_t cursor = BASE + 3 * PLAN_BLOCK;

	begin(0);
	is_i64(plan_next(&s, &cursor, NULL, 0, &b), 1, "from the middle");
	is_u64(b.at.start.v, BASE + 3 * PLAN_BLOCK, "the block there");
	ok(b.n == 1 && b.piece[0].offset == 3 * PLAN_BLOCK && b.piece[0].len == PLAN_BLOCK,
	   "in one piece");
	cursor = b.at.start.v;
	is_i64(plan_next(&s, &cursor, busy, 1, &c), 1, "again");
	is_u64(c.at.start.v, BASE + 4 * PLAN_BLOCK, "one that is on its way is passed by");
	cursor = BASE + BLOCKS * PLAN_BLOCK;
	is_i64(plan_next(&s, &cursor, NULL, 0, &c), 1, "at the end");
	is_u64(c.at.start.v, BASE, "round to the first");
	touch(5 * PER_BLOCK + 7);
	cursor = BASE + 5 * PLAN_BLOCK;
	is_i64(plan_next(&s, &cursor, NULL, 0, &c), 1, "a block that was touched");
	is_u64(c.at.start.v, BASE + 6 * PLAN_BLOCK, "is passed by");
	struct range at;

	ok(plan_collapse(&s, &at) && at.start.v == BASE + 5 * PLAN_BLOCK, "and noted");
	ok(!plan_collapse(&s, &at), "once");
	end();
}

static void test_pieces(void)
{
	struct plan_block b;

	begin(0);
	/* The second half of a block from elsewhere in the file. */
	struct range half = range_make(BASE + PLAN_BLOCK / 2, BASE + PLAN_BLOCK);
	struct extent_view v = { .at = half, .offset = 1ull << 40 };

	ok(extent_carve(s.owed, half) > 0 && !extent_insert(s.owed, v), "two pieces");
	ok(plan_block(&s, BASE, &b) && b.n == 2 && b.piece[1].offset == 1ull << 40 &&
		   b.piece[0].len + b.piece[1].len == PLAN_BLOCK,
	   "are a block");
	v.source = 1;
	ok(extent_carve(s.owed, half) > 0 && !extent_insert(s.owed, v), "of two files");
	ok(!plan_block(&s, BASE, &b), "are none");
	end();
}

/* What drain and agent do with the same extents: each page goes to exactly one of them. */
static void test_leave(void)
{
	unsigned int wrong = 0, left = 0, taken = 0;

	for (int round = 0; round < 200; round++) {
		bool seen[BLOCKS * PER_BLOCK] = { false };
		struct extent_view v;
		uint64_t past;

		begin(0);
		for (uint64_t i = random_below(2 * BLOCKS); i; i--)
			touch(random_below(BLOCKS * PER_BLOCK));
		for (uint64_t at = 0; extent_next(s.owed, taddr(at), &v);) {
			bool leave = plan_leave(&s, &v, &past);
			uint64_t to = leave ? past : v.at.end.v;

			for (uint64_t a = v.at.start.v; a < to; a += PAGE) {
				uint64_t page = (a - BASE) / PAGE;

				wrong += leave != whole(page / PER_BLOCK) || seen[page];
				seen[page] = true;
			}
			left += leave;
			taken += !leave;
			at = to;
		}
		for (uint64_t i = 0; i < BLOCKS * PER_BLOCK; i++)
			wrong += owed[i] && !seen[i];
		end();
	}
	is_u64(wrong, 0, "whole blocks are left to the agent, the rest is not, and nothing is forgotten");
	ok(left > 100 && taken > 100, "%u times left, %u times not", left, taken);
}

int main(void)
{
	tap_timeout(60);
	test_edges();
	test_round();
	test_pieces();
	test_leave();
	return tap_done();
}
