// SPDX-License-Identifier: GPL-2.0-only
/* arena: memory for unpacking one record at a time, with a bound. */
#include <stdint.h>
#include <stdlib.h>

#include "image/arena.h"

#define ARENA_CHUNK_LEN (16u << 10)
#define ARENA_ALIGN 16u
/*
 * A VMA entry as criu writes it grows about six-fold when it is unpacked; a record that needs
 * more than this factor is not one that criu wrote.
 */
#define ARENA_FACTOR 16u

struct arena_chunk {
	struct arena_chunk *next;
	size_t len;
	size_t used;
	_Alignas(ARENA_ALIGN) uint8_t bytes[];
};

static void *arena_alloc(void *data, size_t size)
{
	struct arena *arena = data;
	struct arena_chunk *chunk = arena->chunks;

	if (size > arena->left)
		return NULL;
	size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	arena->left -= size < arena->left ? size : arena->left;
	if (!chunk || chunk->len - chunk->used < size) {
		size_t len = size > ARENA_CHUNK_LEN ? size : ARENA_CHUNK_LEN;

		chunk = malloc(sizeof(*chunk) + len);
		if (!chunk)
			return NULL;
		chunk->len = len;
		chunk->used = 0;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
	}
	chunk->used += size;
	return chunk->bytes + chunk->used - size;
}

static void arena_free(void *data, void *ptr)
{
	(void)data;
	(void)ptr;
}

void arena_init(struct arena *arena)
{
	*arena = (struct arena){
		.allocator = { .alloc = arena_alloc, .free = arena_free, .allocator_data = arena },
	};
}

void arena_reset(struct arena *arena, size_t record_len)
{
	struct arena_chunk *keep = arena->chunks;

	/* The last of the list is the first that was made, of the ordinary size. */
	while (keep && keep->next) {
		struct arena_chunk *next = keep->next;

		free(keep);
		keep = next;
	}
	if (keep)
		keep->used = 0;
	arena->chunks = keep;
	arena->left = record_len * ARENA_FACTOR + ARENA_CHUNK_LEN;
}

void arena_fini(struct arena *arena)
{
	while (arena->chunks) {
		struct arena_chunk *next = arena->chunks->next;

		free(arena->chunks);
		arena->chunks = next;
	}
}
