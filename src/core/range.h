/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * range: addresses in a target process.
 *
 * A target address is a type of its own, so that it cannot be mixed up with a local pointer or a
 * file offset.  A range is half open, [start, end), never empty unless said so, and both ends are
 * below 2^57; lengths are uint64_t bytes.
 */
#ifndef CORE_RANGE_H
#define CORE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

struct taddr {
	uint64_t v;
};

struct range {
	struct taddr start;
	struct taddr end;
};

static inline struct taddr taddr(uint64_t v)
{
	return (struct taddr){ v };
}

static inline struct range range_make(uint64_t start, uint64_t end)
{
	return (struct range){ taddr(start), taddr(end) };
}

static inline uint64_t range_len(struct range r)
{
	return r.end.v - r.start.v;
}

static inline bool range_has(struct range r, struct taddr a)
{
	return r.start.v <= a.v && a.v < r.end.v;
}

static inline bool range_overlaps(struct range a, struct range b)
{
	return a.start.v < b.end.v && b.start.v < a.end.v;
}

/* range_cut - the part of @r inside @by; empty (start == end) when they do not overlap. */
static inline struct range range_cut(struct range r, struct range by)
{
	if (r.start.v < by.start.v)
		r.start = by.start;
	if (r.end.v > by.end.v)
		r.end = by.end;
	if (r.end.v < r.start.v)
		r.end = r.start;
	return r;
}

#endif
