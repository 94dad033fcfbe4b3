// SPDX-License-Identifier: GPL-2.0-only
/*
 * extent: a red-black tree of what is owed, ordered by target address.
 *
 * Theory of operation
 * -------------------
 * Extents do not overlap, so ordering by start also orders by end, and one descent finds the
 * first extent that ends after an address (extent_at_or_after()).  Every public call begins with
 * it; whatever it walks over from there, it removes, moves or copies.
 *
 * No call may fail half way: the target has moved on and cannot be asked again.  So each edit
 * first counts the nodes that it can need, allocates them, and then edits with steps that cannot
 * fail.  Who needs how many:
 *
 *	insert	one (given back when the piece continues a neighbour)
 *	carve	one when the range lies strictly inside an extent (one extent becomes two), else
 *		none: an extent that is cut at one end keeps its node
 *	remap	as a carve at the destination, and one for each end of the source range that cuts
 *		an extent: at most three
 *
 * remap takes all nodes of the source range out into a tree of their own before it puts the
 * first one back.  Were they moved one by one, the first could touch the last, still at its old
 * place, and be merged with it where the two ranges adjoin.
 *
 * Two neighbours that could be one extent are one: insert and remap merge, carve and clone
 * cannot bring two mergeable ones together.
 */
#include <errno.h>
#include <stdlib.h>
#include <bsd/sys/tree.h>

#include "core/extent.h"

/* Ranges end at or below this (range.h), so any sum of lengths in a tree fits into int64_t. */
#define EXTENT_END_MAX (1ull << 57)

struct extent {
	RB_ENTRY(extent) link;
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	uint32_t source;
};

_Static_assert(sizeof(struct extent) <= 64, "one node is at most 64 bytes");

RB_HEAD(extent_rb, extent);

struct extent_tree {
	struct extent_rb rb;
	uint64_t pending;
	uint64_t count;
};

static inline int extent_cmp(const struct extent *a, const struct extent *b)
{
	return a->start < b->start ? -1 : a->start > b->start;
}

/* Not RB_GENERATE_STATIC(): its __unused is a macro that collides with fields of other headers. */
RB_GENERATE_INTERNAL(extent_rb, extent, link, extent_cmp, __attribute__((unused)) static)

static struct extent_view extent_view_of(const struct extent *e)
{
	return (struct extent_view){
		.at = range_make(e->start, e->end),
		.offset = e->offset,
		.source = e->source,
	};
}

/* The first extent that ends after @addr: it holds @addr, or is the next one above. */
static struct extent *extent_at_or_after(const struct extent_tree *tree, uint64_t addr)
{
	struct extent *e = RB_ROOT(&tree->rb), *best = NULL;

	while (e) {
		if (e->end > addr) {
			best = e;
			e = RB_LEFT(e, link);
		} else {
			e = RB_RIGHT(e, link);
		}
	}
	return best;
}

/* Does @addr lie inside an extent, not on a border of one? */
static bool extent_cuts(const struct extent_tree *tree, uint64_t addr)
{
	const struct extent *e = extent_at_or_after(tree, addr);

	return e && e->start < addr;
}

/* Would taking @r out leave two pieces of one extent? */
static bool extent_holes(const struct extent_tree *tree, struct range r)
{
	const struct extent *e = extent_at_or_after(tree, r.start.v);

	return e && e->start < r.start.v && e->end > r.end.v;
}

/* Does @b continue @a in the target and in the same file? */
static bool extent_continues(const struct extent *a, const struct extent *b)
{
	return a->end == b->start && a->source == b->source &&
	       a->offset + (a->end - a->start) == b->offset;
}

static void extent_link(struct extent_tree *tree, struct extent *e)
{
	RB_INSERT(extent_rb, &tree->rb, e);
	tree->count++;
	tree->pending += e->end - e->start;
}

static void extent_unlink(struct extent_tree *tree, struct extent *e)
{
	RB_REMOVE(extent_rb, &tree->rb, e);
	tree->count--;
	tree->pending -= e->end - e->start;
}

static void extent_drop(struct extent_tree *tree, struct extent *e)
{
	extent_unlink(tree, e);
	free(e);
}

/* Put @e, which is in the tree, together with neighbours that continue each other. */
static void extent_merge(struct extent_tree *tree, struct extent *e)
{
	struct extent *prev = RB_PREV(extent_rb, &tree->rb, e);
	struct extent *next = RB_NEXT(extent_rb, &tree->rb, e);

	if (next && extent_continues(e, next)) {
		uint64_t end = next->end;

		extent_drop(tree, next);
		tree->pending += end - e->end;
		e->end = end;
	}
	if (prev && extent_continues(prev, e)) {
		uint64_t end = e->end;

		extent_drop(tree, e);
		tree->pending += end - prev->end;
		prev->end = end;
	}
}

/* Cut @e in two at @addr, strictly inside it; @upper becomes the part from @addr on. */
static void extent_split(struct extent_tree *tree, struct extent *e, uint64_t addr,
			 struct extent *upper)
{
	upper->start = addr;
	upper->end = e->end;
	upper->offset = e->offset + (addr - e->start);
	upper->source = e->source;
	tree->pending -= e->end - addr;
	e->end = addr;
	extent_link(tree, upper);
}

/* Make @addr a border.  Uses up *@spare, and clears it, when @addr lies inside an extent. */
static void extent_split_at(struct extent_tree *tree, uint64_t addr, struct extent **spare)
{
	struct extent *e = extent_at_or_after(tree, addr);

	if (!e || e->start >= addr)
		return;
	extent_split(tree, e, addr, *spare);
	*spare = NULL;
}

/* As extent_carve(), which see; *@spare is there and is used up and cleared if a hole is cut. */
static uint64_t extent_take(struct extent_tree *tree, struct range r, struct extent **spare)
{
	uint64_t before = tree->pending;
	struct extent *e = extent_at_or_after(tree, r.start.v);

	if (e && e->start < r.start.v && e->end > r.end.v) {
		extent_split(tree, e, r.end.v, *spare);
		*spare = NULL;
	}
	while (e && e->start < r.end.v) {
		struct extent *next = RB_NEXT(extent_rb, &tree->rb, e);

		if (e->start < r.start.v) {
			tree->pending -= e->end - r.start.v;
			e->end = r.start.v;
		} else if (e->end > r.end.v) {
			/* Stays below the next extent, so its place in the tree stays right. */
			tree->pending -= r.end.v - e->start;
			e->offset += r.end.v - e->start;
			e->start = r.end.v;
		} else {
			extent_drop(tree, e);
		}
		e = next;
	}
	return before - tree->pending;
}

/* Return: true when [start, start + len) is a range as range.h has it; len may be 0. */
static bool extent_range_ok(uint64_t start, uint64_t len)
{
	return start <= EXTENT_END_MAX && len <= EXTENT_END_MAX - start;
}

struct extent_tree *extent_tree_new(void)
{
	struct extent_tree *tree = malloc(sizeof(*tree));

	if (!tree)
		return NULL;
	RB_INIT(&tree->rb);
	tree->pending = 0;
	tree->count = 0;
	return tree;
}

void extent_tree_free(struct extent_tree *tree)
{
	struct extent *e, *up;

	if (!tree)
		return;
	/* Leaves first: no rebalancing, and no recursion. */
	for (e = RB_ROOT(&tree->rb); e; e = up) {
		up = RB_LEFT(e, link);
		if (up)
			continue;
		up = RB_RIGHT(e, link);
		if (up)
			continue;
		up = RB_PARENT(e, link);
		if (up) {
			if (RB_LEFT(up, link) == e)
				RB_LEFT(up, link) = NULL;
			else
				RB_RIGHT(up, link) = NULL;
		}
		free(e);
	}
	free(tree);
}

uint64_t extent_pending(const struct extent_tree *tree)
{
	return tree->pending;
}

uint64_t extent_count(const struct extent_tree *tree)
{
	return tree->count;
}

int extent_insert(struct extent_tree *tree, struct extent_view view)
{
	uint64_t start = view.at.start.v, end = view.at.end.v;
	struct extent *e, *next;

	if (start >= end || end > EXTENT_END_MAX || view.offset + (end - start) < view.offset)
		return -EINVAL;
	next = extent_at_or_after(tree, start);
	if (next && next->start < end)
		return -EEXIST;
	e = malloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->start = start;
	e->end = end;
	e->offset = view.offset;
	e->source = view.source;
	extent_link(tree, e);
	extent_merge(tree, e);
	return 0;
}

bool extent_lookup(const struct extent_tree *tree, struct taddr addr, struct extent_view *out)
{
	const struct extent *e = extent_at_or_after(tree, addr.v);

	if (!e || e->start > addr.v)
		return false;
	*out = extent_view_of(e);
	return true;
}

bool extent_next(const struct extent_tree *tree, struct taddr addr, struct extent_view *out)
{
	const struct extent *e = extent_at_or_after(tree, addr.v);

	if (!e)
		return false;
	*out = extent_view_of(e);
	if (e->start < addr.v) {
		out->at.start = addr;
		out->offset += addr.v - e->start;
	}
	return true;
}

int64_t extent_carve(struct extent_tree *tree, struct range range)
{
	struct extent *spare = NULL;

	if (range.start.v >= range.end.v)
		return 0;
	if (extent_holes(tree, range)) {
		spare = malloc(sizeof(*spare));
		if (!spare)
			return -ENOMEM;
	}
	return extent_take(tree, range, &spare);
}

/* Take the nodes of @from out of @tree, shift them by @shift, and put them back. */
static uint64_t extent_shift(struct extent_tree *tree, struct range from, uint64_t shift)
{
	struct extent_rb moving = RB_INITIALIZER(&moving);
	struct extent *e, *next;
	uint64_t moved = 0;

	for (e = extent_at_or_after(tree, from.start.v); e && e->start < from.end.v; e = next) {
		next = RB_NEXT(extent_rb, &tree->rb, e);
		extent_unlink(tree, e);
		RB_INSERT(extent_rb, &moving, e);
	}
	while ((e = RB_MIN(extent_rb, &moving))) {
		RB_REMOVE(extent_rb, &moving, e);
		moved += e->end - e->start;
		e->start += shift;
		e->end += shift;
		extent_link(tree, e);
		extent_merge(tree, e);
	}
	return moved;
}

int64_t extent_remap(struct extent_tree *tree, struct taddr from, struct taddr to, uint64_t len)
{
	struct range src = range_make(from.v, from.v + len);
	struct range dst = range_make(to.v, to.v + len);
	struct extent *spare[3] = { NULL, NULL, NULL };
	int64_t ret = -ENOMEM;

	if (!extent_range_ok(from.v, len) || !extent_range_ok(to.v, len))
		return -EINVAL;
	if (!len)
		return 0;
	if (range_overlaps(src, dst))
		return -EINVAL;

	if (extent_holes(tree, dst) && !(spare[0] = malloc(sizeof(*spare[0]))))
		goto out;
	if (extent_cuts(tree, src.start.v) && !(spare[1] = malloc(sizeof(*spare[1]))))
		goto out;
	if (extent_cuts(tree, src.end.v) && !(spare[2] = malloc(sizeof(*spare[2]))))
		goto out;

	/* The carve can only turn a place that cuts an extent into a border, not the reverse. */
	extent_take(tree, dst, &spare[0]);
	extent_split_at(tree, src.start.v, &spare[1]);
	extent_split_at(tree, src.end.v, &spare[2]);
	ret = extent_shift(tree, src, to.v - from.v);
out:
	free(spare[0]);
	free(spare[1]);
	free(spare[2]);
	return ret;
}

struct extent_tree *extent_clone(const struct extent_tree *tree)
{
	struct extent_tree *copy = extent_tree_new();
	struct extent *e;

	if (!copy)
		return NULL;
	RB_FOREACH(e, extent_rb, (struct extent_rb *)&tree->rb) {
		struct extent *twin = malloc(sizeof(*twin));

		if (!twin) {
			extent_tree_free(copy);
			return NULL;
		}
		*twin = *e;
		extent_link(copy, twin);
	}
	return copy;
}

int extent_for_each(const struct extent_tree *tree,
		    int (*fn)(const struct extent_view *view, void *arg), void *arg)
{
	struct extent *e;

	RB_FOREACH(e, extent_rb, (struct extent_rb *)&tree->rb) {
		struct extent_view view = extent_view_of(e);
		int ret = fn(&view, arg);

		if (ret)
			return ret;
	}
	return 0;
}
