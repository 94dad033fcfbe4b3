// SPDX-License-Identifier: GPL-2.0-only
/* inventory: what stands above the tasks: the version of the images and the list of tasks. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "image/arena.h"
#include "image/inventory.h"
#include "image/record.h"
#include "proto/criu_images.pb-c.h"

#define INVENTORY_MAGIC 0x58313116u
#define INVENTORY_RECORD_MAX (1u << 20)
#define INVENTORY_VERSION 2u

#define PSTREE_MAGIC 0x50273030u
/* A task may have four million threads, which are two bytes to six each. */
#define PSTREE_RECORD_MAX (32u << 20)

static int inventory_version(struct record_file *file, struct arena *arena, struct image_error *err)
{
	InventoryEntry *e;
	const uint8_t *data;
	uint32_t len;
	int ret = record_next(file, INVENTORY_RECORD_MAX, &data, &len, err);

	if (ret < 0)
		return ret;
	if (!ret)
		return image_error_set(err, EBADMSG,
				       "%s: ends at byte %" PRIu64 " without its record",
				       file->name, file->at);
	arena_reset(arena, len);
	e = inventory_entry__unpack(&arena->allocator, len, data);
	if (!e || !e->has_img_version || !e->img_version)
		return image_error_set(err, EBADMSG,
				       "%s: the record at byte %" PRIu64
				       " is damaged: it gives no image "
				       "version",
				       file->name, file->at);
	if (e->img_version != INVENTORY_VERSION)
		return image_error_set(
			err, ENOTSUP,
			"%s: the record at byte %" PRIu64 " gives image version %" PRIu32
			"; version %u can be served (criu up to 4.2, not compressed)",
			file->name, file->at, e->img_version, INVENTORY_VERSION);
	return record_expect_end(file, err);
}

static int inventory_read_version(struct image_set *set, struct image_error *err)
{
	struct record_file file = RECORD_FILE_INIT;
	struct arena arena;
	int ret;

	arena_init(&arena);
	ret = record_open(&file, set->levels[0].dir_fd, "", "inventory.img", INVENTORY_MAGIC, false,
			  err);
	if (ret == -ENOENT)
		image_error_set(err, ENOENT,
				"inventory.img: missing: the directory holds no criu images "
				"(is -D right?)");
	if (!ret)
		ret = inventory_version(&file, &arena, err);
	arena_fini(&arena);
	record_close(&file);
	return ret;
}

static int inventory_add_task(struct image_set *set, struct record_file *file, const PstreeEntry *e,
			      struct image_error *err)
{
	uint32_t *more;

	if (!e->has_pid || !e->pid || e->pid > INT32_MAX)
		return image_error_set(err, EBADMSG,
				       "%s: the record at byte %" PRIu64 " has no usable pid",
				       file->name, file->at);
	/* Room for a power of two. */
	if (!(set->nvpids & (set->nvpids - 1))) {
		more = realloc(set->vpids,
			       (set->nvpids ? 2 * (size_t)set->nvpids : 1) * sizeof(*more));
		if (!more)
			return image_error_set(err, ENOMEM, "%s: no memory for %" PRIu32 " tasks",
					       file->name, set->nvpids);
		set->vpids = more;
	}
	set->vpids[set->nvpids++] = e->pid;
	return 0;
}

static int inventory_cmp(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int inventory_tasks(struct image_set *set, struct record_file *file, struct arena *arena,
			   struct image_error *err)
{
	const uint8_t *data;
	PstreeEntry *e;
	uint32_t len;
	int ret;

	while ((ret = record_next(file, PSTREE_RECORD_MAX, &data, &len, err)) > 0) {
		arena_reset(arena, len);
		e = pstree_entry__unpack(&arena->allocator, len, data);
		if (!e)
			return image_error_set(err, EBADMSG,
					       "%s: the record at byte %" PRIu64 " is damaged",
					       file->name, file->at);
		ret = inventory_add_task(set, file, e, err);
		if (ret)
			return ret;
	}
	if (ret < 0)
		return ret;
	if (!set->nvpids)
		return image_error_set(err, EBADMSG, "%s: ends at byte %" PRIu64 " without a task",
				       file->name, file->at);
	qsort(set->vpids, set->nvpids, sizeof(*set->vpids), inventory_cmp);
	for (uint32_t i = 1; i < set->nvpids; i++)
		if (set->vpids[i] == set->vpids[i - 1])
			return image_error_set(err, EBADMSG,
					       "%s: lists task %" PRIu32
					       " twice, before byte %" PRIu64,
					       file->name, set->vpids[i], file->at);
	return 0;
}

static int inventory_read_tasks(struct image_set *set, struct image_error *err)
{
	struct record_file file = RECORD_FILE_INIT;
	struct arena arena;
	int ret;

	arena_init(&arena);
	ret = record_open(&file, set->levels[0].dir_fd, "", "pstree.img", PSTREE_MAGIC, true, err);
	if (!ret)
		ret = inventory_tasks(set, &file, &arena, err);
	arena_fini(&arena);
	record_close(&file);
	return ret;
}

int inventory_load(struct image_set *set, struct image_error *err)
{
	int ret = inventory_read_version(set, err);

	return ret ? ret : inventory_read_tasks(set, err);
}
