/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * extent: which bytes of a target are still owed to it, and where they lie.
 *
 * Theory of operation
 * -------------------
 * A tree holds the *pending* ranges of one address space: ranges whose bytes are in an image and
 * have not been put in place.  Each extent is a piece that is contiguous both in the target and
 * in one source file.  Whatever is not in the tree owes nothing: it was placed, or discarded by
 * the target, or never had contents.  A fault there is answered with a zero page (the kernel
 * refuses that with EEXIST where a page stands).
 *
 * All edits therefore take bytes out (carve), or move them (remap), or copy the whole tree for a
 * forked child (clone).  Extents never overlap.  Neighbours that continue each other in the
 * target and in the file are merged on insert.
 *
 * The tree is balanced: look-up, carve and insert cost O(log n) plus the number of extents that
 * go away.  Nothing here locks, reads a clock or makes a system call; the caller's gate does the
 * locking.  Memory: one node of at most 64 bytes an extent.
 */
#ifndef CORE_EXTENT_H
#define CORE_EXTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/range.h"

/* What one piece of an extent tree says. */
struct extent_view {
	struct range at;	/* in the target */
	uint64_t offset;	/* of at.start in the source, bytes */
	uint32_t source;	/* index of the source */
};

struct extent_tree;

/* Return: a new, empty tree, or NULL when memory is out. */
struct extent_tree *extent_tree_new(void);
void extent_tree_free(struct extent_tree *tree);

/* Pending bytes in the whole tree. */
uint64_t extent_pending(const struct extent_tree *tree);
/* Number of extents. */
uint64_t extent_count(const struct extent_tree *tree);

/*
 * extent_insert - owe @view.at to the target.
 * The range must not overlap an extent of the tree.
 * Return: 0, -EINVAL (empty or wrapping range, or one that ends above 2^57), -EEXIST (overlap) or
 * -ENOMEM; the tree is unchanged on error.
 */
int extent_insert(struct extent_tree *tree, struct extent_view view);

/*
 * extent_lookup - the extent that holds @addr, whole.
 * Return: true and *@out, or false when nothing is owed at @addr.
 */
bool extent_lookup(const struct extent_tree *tree, struct taddr addr, struct extent_view *out);

/*
 * extent_next - the first owed bytes at or after @addr.  When @addr lies inside an extent the
 * view is cut to start at @addr (its offset moves along).
 * Return: true and *@out, or false when nothing is owed from @addr on.
 */
bool extent_next(const struct extent_tree *tree, struct taddr addr, struct extent_view *out);

/*
 * extent_carve - nothing in @range is owed any longer.
 * Return: bytes that were owed and are not now, or -ENOMEM with the tree unchanged (cutting a
 * hole into the middle of an extent needs a node).
 */
int64_t extent_carve(struct extent_tree *tree, struct range range);

/*
 * extent_remap - the target moved @len bytes from @from to @to (mremap(2)).
 * What was owed at @to is forgotten, what is owed at @from is owed at @to.  Source and
 * destination do not overlap (the kernel sees to that).
 * Calling it again after it was done changes nothing that matters: @from owes nothing then...
 * except that @to is emptied, so callers replay a log from its start, never a single record.
 * Return: bytes that moved, or -ENOMEM with the tree unchanged, or -EINVAL on overlap or wrap.
 */
int64_t extent_remap(struct extent_tree *tree, struct taddr from, struct taddr to, uint64_t len);

/* extent_clone - a copy for a forked child. Return: the copy, or NULL when memory is out. */
struct extent_tree *extent_clone(const struct extent_tree *tree);

/*
 * extent_for_each - walk in ascending order; @fn must not change the tree.
 * Return: 0, or the first non-zero value that @fn returned.
 */
int extent_for_each(const struct extent_tree *tree,
		    int (*fn)(const struct extent_view *view, void *arg), void *arg);

#endif
