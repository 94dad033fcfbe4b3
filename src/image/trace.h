/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * trace: what is known of how restored tasks use their memory.
 *
 * Theory of operation
 * -------------------
 * Beside an image set may lie a file, TRACE_FILE, which says for each task (by its image pid)
 *
 *	order	which ranges it touched first, second, ... when it was restored and recorded
 *	huge	which 2 MiB blocks were one huge page each when it was dumped
 *
 * Both are hints.  A wrong one costs time and never a byte: whoever uses them looks up in the
 * extents what is owed and where its bytes are.  So a file that is damaged, or of other images, is
 * told and left alone, and the restore goes on without.
 *
 * A trace belongs to one image set.  It is known by a digest of all that decides where a byte lies
 * (inventory, pstree, mm and pagemap files) and by names and sizes of the pages files.  Times and
 * inode numbers do not count, so a copy of the images may take the trace along.  A hint that was
 * taken of a live process before its dump is of no image set yet ("unstamped") and goes with any.
 *
 * The file is replaced as a whole, by rename; its digest finds one that was cut short.
 */
#ifndef IMAGE_TRACE_H
#define IMAGE_TRACE_H

#include "core/order.h"
#include "image/image.h"

#define TRACE_FILE "uffd-relocate.trace"
#define TRACE_HUGE_BYTES (2u << 20)
/* Runs in a trace, and huge ones: some 20 MiB of memory at most. */
#define TRACE_RUNS_MAX 262144u

struct trace;

/* Return: an unstamped trace of nothing, or NULL when memory is out. */
struct trace *trace_new(void);
void trace_free(struct trace *t);

/*
 * trace_load - read a trace.
 * @file: relative to @dir_fd, or absolute.
 * @set:  the images that it must be of, NULL: of whichever.
 * Return: 0 and *@out; -errno with *@err filled: -ENOENT (there is none), -ESTALE (of other images),
 * -EBADMSG (damaged), -ENOTSUP (of a newer version or another kind of machine).
 */
int trace_load(int dir_fd, const char *file, struct image_set *set, struct trace **out,
	       struct image_error *err);
/* trace_save - put it in the place of @file. Return: 0 or -errno with *@err filled. */
int trace_save(const struct trace *t, int dir_fd, const char *file, struct image_error *err);

/* trace_stamp - from here on it is of these images. Return: 0 or -errno with *@err filled. */
int trace_stamp(struct trace *t, struct image_set *set, struct image_error *err);
bool trace_is_stamped(const struct trace *t);

/* Number of restores that were recorded. */
uint32_t trace_runs(const struct trace *t);
void trace_set_runs(struct trace *t, uint32_t runs);

/* Tasks of which anything is known, ascending by @vpid. */
uint32_t trace_ntasks(const struct trace *t);
uint32_t trace_vpid(const struct trace *t, uint32_t index);

/* trace_order - Return: a task's order, or NULL when nothing is known. */
const struct order *trace_order(const struct trace *t, uint32_t vpid);
/* trace_touch - append to a task's order. Return: as order_add(); -ENOSPC: the trace is full. */
int64_t trace_touch(struct trace *t, uint32_t vpid, struct range at, uint32_t count);

/* trace_huge - Return: a task's huge blocks, or NULL when the trace does not say. */
const struct order *trace_huge(const struct trace *t, uint32_t vpid);
/*
 * trace_add_huge - the blocks in @at were huge; an empty range says that the hint is about this
 * task, too.
 * Return: 0; -EINVAL when @at is not of whole blocks; -ENOSPC, -ENOMEM.
 */
int trace_add_huge(struct trace *t, uint32_t vpid, struct range at);
/* trace_was_huge - Return: 1 @addr was in a huge page, 0 it was not, -ENODATA: not known. */
int trace_was_huge(const struct trace *t, uint32_t vpid, uint64_t addr);

/*
 * trace_merge - add to @into what @from knows: orders as by order_merge(), runs summed up; huge
 * blocks of @from replace those of the same task.
 * Return: 0; -ESTALE (both are stamped, with different images); -ENOMEM, @into unchanged.
 */
int trace_merge(struct trace *into, const struct trace *from);

#endif
