/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * source: where bytes come from.
 *
 * A source is a numbered file of bytes: a local pages image now, a page server or an HTTP object
 * later.  The pager knows these calls and nothing of what is behind them:
 *
 *	fetch	copy bytes into a buffer; with nowait only if no device or link is waited for
 *	window	lend a populated, read-only mapping of the bytes (only sources that can: NULL else)
 *	verify	is the source still the one that was opened?  A mapping of a file that shrank
 *		reads as zeros in its last page, so whoever places out of a window asks before and
 *		after each batch
 *	file	the local file behind it, for those who read it by themselves (-1: there is none)
 *	punch	the bytes were placed for good and will not be asked for again (--auto-dedup)
 *
 * All calls may be made by several threads at once.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source;

struct source_ops {
	const char *kind;
	int (*fetch)(struct source *src, uint64_t off, void *buf, size_t len, bool nowait);
	int (*window)(struct source *src, unsigned int lane, uint64_t off, size_t len,
		      const void **ptr);
	int (*verify)(struct source *src);
	int (*file)(struct source *src);
	int (*punch)(struct source *src, uint64_t off, uint64_t len);
	void (*close)(struct source *src);
};

struct source {
	const struct source_ops *ops;
};

/*
 * source_fetch - copy @len bytes at @off into @buf.
 * Return: 0 when all were copied; -EAGAIN (nowait and they are not at hand); -ESTALE (the source
 * shrank or changed: lost); or -errno of the read.
 */
static inline int source_fetch(struct source *src, uint64_t off, void *buf, size_t len, bool nowait)
{
	return src->ops->fetch(src, off, buf, len, nowait);
}

/*
 * source_window - lend a mapping of @len bytes at @off, the bytes at hand in memory.
 * @lane: < SOURCE_LANES; the pointer stays good until the next call for this source and lane.
 * @len:  at most SOURCE_WINDOW_MAX.
 * Return: 0; -ENOTSUP (use fetch); -ESTALE; -errno.
 */
#define SOURCE_WINDOW_MAX (2u << 20)
#define SOURCE_LANES 2
static inline int source_window(struct source *src, unsigned int lane, uint64_t off, size_t len,
				const void **ptr)
{
	return src->ops->window ? src->ops->window(src, lane, off, len, ptr) : -95 /* ENOTSUP */;
}

/* source_verify - Return: 0 while unchanged since it was opened, -ESTALE when not, -errno. */
static inline int source_verify(struct source *src)
{
	return src->ops->verify(src);
}

/* source_file - Return: its descriptor, the source's own, or -1. */
static inline int source_file(struct source *src)
{
	return src->ops->file ? src->ops->file(src) : -1;
}

/* source_punch - Return: 0 (also where the source has no use for it) or -errno. */
static inline int source_punch(struct source *src, uint64_t off, uint64_t len)
{
	return src->ops->punch ? src->ops->punch(src, off, len) : 0;
}

/*
 * source_image_open - a source on a local file.
 * @fd: the file, open for reading; stays the caller's and must outlive the source.
 * @size_bytes: what its size is expected to be.
 * Return: the source, or NULL (out of memory, or the file cannot be looked at; errno says).
 */
struct source *source_image_open(int fd, uint64_t size_bytes);

static inline void source_close(struct source *src)
{
	if (src)
		src->ops->close(src);
}

#endif
