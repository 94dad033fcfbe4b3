/* SPDX-License-Identifier: GPL-2.0-only */
/* pagecache: which bytes of a file can be had without waiting for a device. */
#ifndef KAPI_PAGECACHE_H
#define KAPI_PAGECACHE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * pagecache_has - are all pages of a part of a file in the page cache?
 * @map: the same part, mapped; used where the kernel has no cachestat (before 6.5).  NULL: mapped
 *       for the purpose.
 * @len: bytes, at most 4 MiB.
 * A hint: a page may leave the cache at any time, and one that is being read counts as there.
 */
bool pagecache_has(int fd, uint64_t off, uint64_t len, void *map);

#endif
