/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * arena: memory for unpacking one record at a time, with a bound.
 *
 * A few bytes of a record can ask for a hundred times as much memory once unpacked.  The arena
 * hands out at most what arena_reset() allowed for the record at hand and refuses the rest, which
 * makes the unpacker fail.  Nothing is freed one by one: the next reset takes all back.
 */
#ifndef IMAGE_ARENA_H
#define IMAGE_ARENA_H

#include <stddef.h>
#include <protobuf-c/protobuf-c.h>

struct arena_chunk;

struct arena {
	ProtobufCAllocator allocator; /* give this to the unpacker */
	struct arena_chunk *chunks;
	size_t left; /* bytes that the present record may still ask for */
};

void arena_init(struct arena *arena);
void arena_fini(struct arena *arena);

/* arena_reset - take everything back and allow a record of @record_len bytes to be unpacked. */
void arena_reset(struct arena *arena, size_t record_len);

#endif
