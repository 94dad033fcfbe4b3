/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * order: ranges of one address space in the order in which they were first touched.
 *
 * Theory of operation
 * -------------------
 * An order is a list of runs, oldest first.  No byte is in two runs: what is added a second time
 * changes nothing.  A run that continues the last one in the address space and was seen as often is
 * joined to it, so a program that reads through its memory leaves one run behind, however many
 * faults that took.  A tree over the same runs finds what is there already in O(log n).
 *
 * The rank of a byte is the number of bytes before it in the list.  Two orders of the same memory,
 * of two runs of a program, merge by it: both are cut at each other's borders; the rank of a piece
 * is that of its first byte, the lower one where both have it, and its count is the sum of both.
 * Pieces go by rank; of equals the one seen more often goes first, then the lower address.  So what
 * was needed early once is early, and the count says what is always needed.
 *
 * Memory is bounded by the number of runs that order_new() allows.  Nothing here locks.
 */
#ifndef CORE_ORDER_H
#define CORE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/range.h"

struct order;

struct order_run {
	struct range at;
	uint32_t count;	/* in how many recorded runs of the program it was touched */
};

/* Return: an empty order of at most @max_runs runs, or NULL when memory is out. */
struct order *order_new(uint64_t max_runs);
void order_free(struct order *o);

uint64_t order_nruns(const struct order *o);
uint64_t order_bytes(const struct order *o);

/*
 * order_add - append what of @at is not there yet, lower addresses first.
 * Return: bytes that are new; -EINVAL (empty or wrapping range, or one that ends above 2^57);
 * -ENOSPC (no more runs are allowed) or -ENOMEM, and then a part may have been added.
 */
int64_t order_add(struct order *o, struct range at, uint32_t count);

/* order_find - the run that holds @addr. Return: true and *@out (may be NULL), or false. */
bool order_find(const struct order *o, struct taddr addr, struct order_run *out);

/*
 * order_next - the first run by address that ends behind @addr: it holds @addr or is the next one.
 * Return: true and *@out, or false when there is none.
 */
bool order_next(const struct order *o, struct taddr addr, struct order_run *out);

/* order_for_each - walk in order. Return: 0, or the first non-zero value that @fn returned. */
int order_for_each(const struct order *o, int (*fn)(const struct order_run *run, void *arg),
		   void *arg);

/* Where a walk that goes on later stands.  Zeroed: at the start.  The order must not change. */
struct order_cursor {
	const void *run;
	uint64_t done;	/* bytes of it */
	bool begun;
};

/*
 * order_take - the next piece of at most @max_bytes; the cursor moves behind it.
 * Return: true and *@out, or false at the end.
 */
bool order_take(const struct order *o, struct order_cursor *c, uint64_t max_bytes,
		struct order_run *out);

/*
 * order_merge - one order out of two; both stay as they are.
 * The result keeps the first @max_runs runs.
 * Return: the new order, or NULL when memory is out.
 */
struct order *order_merge(const struct order *a, const struct order *b, uint64_t max_runs);

#endif
