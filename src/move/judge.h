/* SPDX-License-Identifier: GPL-2.0-only */
/* judge: what the kernel asks of memory that takes part in a move, and the words for it. */
#ifndef MOVE_JUDGE_H
#define MOVE_JUDGE_H

#include "kapi/maps.h"
#include "kapi/pageinfo.h"

/*
 * judge_area - can pages be moved out of, or into, an area of this kind at all?
 * Return: NULL, or why not.
 */
const char *judge_area(const struct maps_vma *vma);

/*
 * judge_pair - can pages be moved from @src to @dst, both fit for it by judge_area()?
 * Return: NULL, or why not.
 */
const char *judge_pair(const struct maps_vma *src, const struct maps_vma *dst);

/* judge_page - can a page of this kind be moved? Return: NULL, or why not. */
const char *judge_page(enum page_kind kind);

/*
 * judge_error - why did a page not move?
 * @error: -errno of the kernel; @src, @dst: what stands at the two addresses.
 */
const char *judge_error(int error, enum page_kind src, enum page_kind dst);

#endif
