/* SPDX-License-Identifier: GPL-2.0-only */
/* inventory: what stands above the tasks: the version of the images and the list of tasks. */
#ifndef IMAGE_INVENTORY_H
#define IMAGE_INVENTORY_H

#include "image/set.h"

/*
 * inventory_load - read inventory.img and pstree.img of level 0 into @set (vpids, nvpids).
 * Return: 0 or -errno with *@err filled.
 */
int inventory_load(struct image_set *set, struct image_error *err);

#endif
