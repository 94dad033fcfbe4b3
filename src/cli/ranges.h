/* SPDX-License-Identifier: GPL-2.0-only */
/* ranges: what `move` is to move, from the command line and from files. */
#ifndef CLI_RANGES_H
#define CLI_RANGES_H

#include <stdint.h>

#include "move/move.h"

/* Where a range was read, for messages. */
struct ranges_origin {
	const char *file;	/* NULL: the command line */
	unsigned int line;
};

struct ranges {
	struct move_range *range;
	struct ranges_origin *origin;
	unsigned int n;
};

/*
 * ranges_add - one range: addresses in decimal or with 0x, a length that may have a suffix K, M, G
 * or T.
 * Return: 0 or -errno, logged.
 */
int ranges_add(struct ranges *r, const char *src, const char *dst, const char *len,
	       struct ranges_origin origin);

/*
 * ranges_read - the lines "SRC DST LEN" of a file; "#" begins a comment.
 * @path: "-" is standard input; must outlive @r.
 * Return: 0 or -errno, logged.
 */
int ranges_read(struct ranges *r, const char *path);

/* ranges_check - do they make sense, all together? Return: 0 or -EINVAL, logged. */
int ranges_check(const struct ranges *r);

void ranges_free(struct ranges *r);

#endif
