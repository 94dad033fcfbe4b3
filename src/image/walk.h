/* SPDX-License-Identifier: GPL-2.0-only */
/* walk: one pass over what a task is owed. */
#ifndef IMAGE_WALK_H
#define IMAGE_WALK_H

#include "image/set.h"

/* walk_task - as image_load_task(). */
int walk_task(struct image_set *set, uint32_t vpid,
	      int (*vma)(struct range at, uint64_t madv, void *arg),
	      int (*emit)(const struct extent_view *piece, void *arg), void *arg,
	      struct image_error *err);

#endif
