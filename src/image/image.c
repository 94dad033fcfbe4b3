// SPDX-License-Identifier: GPL-2.0-only
/* image: the calls of the room; see image.h, and walk.c for how a task is loaded. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "image/inventory.h"
#include "image/walk.h"

int image_open(int dir_fd, bool rdwr, struct image_set **out, struct image_error *err)
{
	struct image_set *set = calloc(1, sizeof(*set));
	int ret;

	if (!set)
		return image_error_set(err, ENOMEM, "image directory: no memory");
	set->rdwr = rdwr;
	set->page_size = sysconf(_SC_PAGESIZE);
	ret = set_level_open(set, 0, dir_fd, "", err);
	if (!ret)
		ret = inventory_load(set, err);
	if (ret)
		image_close(set);
	else
		*out = set;
	return ret;
}

int image_load_task(struct image_set *set, uint32_t vpid,
		    int (*vma)(struct range at, uint64_t madv, void *arg),
		    int (*emit)(const struct extent_view *piece, void *arg), void *arg,
		    struct image_error *err)
{
	return walk_task(set, vpid, vma, emit, arg, err);
}

void image_close(struct image_set *set)
{
	if (!set)
		return;
	set_close(set);
	free(set);
}

uint32_t image_ntasks(const struct image_set *set)
{
	return set->nvpids;
}

bool image_has_task(const struct image_set *set, uint32_t vpid)
{
	uint32_t low = 0, high = set->nvpids;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (set->vpids[mid] < vpid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < set->nvpids && set->vpids[low] == vpid;
}

uint32_t image_nsources(const struct image_set *set)
{
	return set->nsources;
}

const struct image_source *image_source_get(const struct image_set *set, uint32_t index)
{
	return index < set->nsources ? &set->sources[index]->pub : NULL;
}
