// SPDX-License-Identifier: GPL-2.0-only
/*
 * walk: one pass over what a task is owed.
 *
 * Theory of operation
 * -------------------
 * Loading a task is one pass.  The entries of a pagemap ascend, so do VMAs and guard ranges, and so
 * do therefore the ranges that are looked for in a parent: each of them has a cursor that only goes
 * forward, and nothing of a pagemap is kept but the present entry.
 *
 * A lazy entry is cut at the borders of VMAs and guards (walk_entry); what lies here goes out, what
 * lies in the parent is cut again at the borders of the parent's entries, at any depth
 * (walk_parent).  A piece is held back until one comes that does not continue it (walk_put).
 *
 * No piece goes out that its pages file does not hold.  At the end every cursor is run to the end
 * of its file, and the bytes that a pagemap accounts for must be exactly those of its pages file:
 * that is what tells a pagemap that was cut short between two entries, which would otherwise come
 * back as zeros.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "image/mm.h"
#include "image/pagemap.h"
#include "image/set.h"
#include "image/walk.h"

#define WALK_NO_SOURCE UINT32_MAX

/* One level of the chain, for the task that is being loaded. */
struct walk_level {
	struct pagemap pm;
	uint32_t source; /* WALK_NO_SOURCE until a piece was found here */
};

struct walk {
	struct image_set *set;
	uint32_t vpid;
	struct mm mm;
	uint32_t vma;	/* index into mm.lazy: the present entry is not below it */
	uint32_t guard; /* likewise into mm.guards */
	struct walk_level **levels;
	uint32_t nlevels;
	struct extent_view held; /* found, not yet emitted; start == end: nothing */
	uint32_t held_vma;
	int (*emit)(const struct extent_view *piece, void *arg);
	void *arg;
	struct image_error *err;
};

static int walk_flush(struct walk *w)
{
	int ret;

	if (!range_len(w->held.at))
		return 0;
	ret = w->emit(&w->held, w->arg);
	/* The callback failed, not the images; say at least where. */
	if (ret)
		image_error_set(w->err, ECANCELED, "%s: the caller took no more at 0x%" PRIx64,
				w->levels[0]->pm.file.name, w->held.at.start.v);
	w->held.at.start = w->held.at.end;
	return ret;
}

/*
 * Run the cursor to its end and compare what the pagemap accounts for with the length of the
 * pages file.
 */
static int walk_check_size(struct walk *w, uint32_t level)
{
	struct walk_level *l = w->levels[level];
	char name[RECORD_NAME_MAX];
	uint64_t size;
	int ret;

	do
		ret = pagemap_next(&l->pm, w->err);
	while (ret > 0);
	if (!ret)
		ret = set_pages_size(w->set, level, l->pm.pages_id, &size, name, w->err);
	if (ret)
		return ret;
	if (size == l->pm.next_offset)
		return 0;
	return image_error_set(w->err, EBADMSG,
			       "%s: is %" PRIu64 " bytes long, but %s (up to its end, byte %" PRIu64
			       ") accounts for %" PRIu64
			       ": one of the two is cut short or of another "
			       "dump, copy both again",
			       name, size, l->pm.file.name, l->pm.file.next, l->pm.next_offset);
}

/* Bytes of @at, inside VMA @w->vma and inside the present entry of @l, are in @l's pages file. */
static int walk_put(struct walk *w, struct walk_level *l, uint32_t level, struct range at)
{
	struct extent_view piece = { .at = at };
	int ret;

	if (l->source == WALK_NO_SOURCE) {
		ret = set_source_open(w->set, level, l->pm.pages_id, l->pm.file.name, &l->source,
				      w->err);
		if (ret)
			return ret;
	}
	piece.source = l->source;
	piece.offset = l->pm.offset + (at.start.v - l->pm.at.start.v);
	if (piece.offset + range_len(at) > w->set->sources[l->source]->pub.size_bytes) {
		ret = walk_check_size(w, level);
		if (ret)
			return ret;
		return image_error_set(w->err, EBADMSG, "%s: grew while it was read",
				       w->set->sources[l->source]->pub.name);
	}
	if (range_len(w->held.at) && w->held_vma == w->vma && w->held.at.end.v == at.start.v &&
	    w->held.source == piece.source &&
	    w->held.offset + range_len(w->held.at) == piece.offset) {
		w->held.at.end = at.end;
		return 0;
	}
	ret = walk_flush(w);
	w->held = piece;
	w->held_vma = w->vma;
	return ret;
}

static int walk_level_open(struct walk *w, uint32_t level)
{
	const char *why = level ? w->levels[level - 1]->pm.file.name : "";
	const struct set_level *dir;
	struct walk_level **more, *l;
	int ret;

	if (level < w->nlevels)
		return 0;
	ret = set_level_open(w->set, level, -1, why, w->err);
	if (ret)
		return ret;
	l = calloc(1, sizeof(*l));
	more = realloc(w->levels, (level + 1) * sizeof(*more));
	if (more)
		w->levels = more;
	if (!l || !more) {
		free(l);
		return image_error_set(w->err, ENOMEM, "pagemap-%" PRIu32 ".img: no memory",
				       w->vpid);
	}
	l->source = WALK_NO_SOURCE;
	w->levels[w->nlevels++] = l;
	dir = &w->set->levels[level];
	ret = pagemap_open(&l->pm, dir->dir_fd, dir->prefix, w->vpid, w->set->page_size, w->err);
	if (ret == -ENOENT && level)
		return image_error_set(w->err, ENOENT,
				       "%s: missing, but %s says that bytes are there",
				       l->pm.file.name, why);
	return ret;
}

/* Bytes of @at are, says the present entry of level - 1, in level. */
static int walk_parent(struct walk *w, uint32_t level, struct range at)
{
	struct walk_level *l;
	int ret = walk_level_open(w, level);

	while (!ret && range_len(at)) {
		struct range part;

		l = w->levels[level];
		ret = pagemap_seek(&l->pm, at.start, w->err);
		if (ret < 0)
			return ret;
		if (!ret || l->pm.at.start.v > at.start.v || !(l->pm.flags & ~PAGEMAP_LAZY))
			return image_error_set(
				w->err, EBADMSG,
				"%s: holds nothing for 0x%" PRIx64 ", which %s (byte %" PRIu64
				") says is there: not the parent that this dump was made on",
				l->pm.file.name, at.start.v, w->levels[level - 1]->pm.file.name,
				w->levels[level - 1]->pm.file.at);
		part = range_cut(at, l->pm.at);
		if (l->pm.flags & PAGEMAP_PRESENT)
			ret = walk_put(w, l, level, part);
		else
			ret = walk_parent(w, level + 1, part);
		at.start = part.end;
	}
	return ret;
}

/*
 * The first part of @at that is inside one VMA and outside all guards.
 * Return: 1 and *@part; 0 and an empty *@part when a guard comes first, *@skip is its end then;
 * -errno.
 */
static int walk_part(struct walk *w, struct range at, struct range *part, struct taddr *skip)
{
	const struct mm *mm = &w->mm;
	const struct pagemap *pm = &w->levels[0]->pm;

	*skip = at.end;
	while (w->guard < mm->nguards && mm->guards[w->guard].end.v <= at.start.v)
		w->guard++;
	while (w->vma < mm->nlazy && mm->lazy[w->vma].at.end.v <= at.start.v)
		w->vma++;
	if (w->guard < mm->nguards) {
		if (range_has(mm->guards[w->guard], at.start)) {
			*skip = mm->guards[w->guard].end;
			return 0;
		}
		if (mm->guards[w->guard].start.v < at.end.v)
			at.end = mm->guards[w->guard].start;
	}
	if (w->vma == mm->nlazy || !range_has(mm->lazy[w->vma].at, at.start))
		return image_error_set(
			w->err, EBADMSG,
			"%s: the entry at byte %" PRIu64 " leaves 0x%" PRIx64
			" to the lazy server, but %s has no VMA there that criu restores "
			"lazily",
			pm->file.name, pm->file.at, at.start.v, mm->name);
	*part = range_cut(at, mm->lazy[w->vma].at);
	return 1;
}

static int walk_entry(struct walk *w)
{
	const struct pagemap *pm = &w->levels[0]->pm;
	struct range at = pm->at;
	int ret;

	if (!(pm->flags & PAGEMAP_LAZY))
		return 0;
	if (pm->flags == PAGEMAP_LAZY)
		return image_error_set(
			w->err, ENOTSUP,
			"%s: the entry at byte %" PRIu64 ", 0x%" PRIx64 "-0x%" PRIx64
			", is of a lazy dump: its bytes are at a page server, which is not "
			"served yet",
			pm->file.name, pm->file.at, at.start.v, at.end.v);
	while (at.start.v < at.end.v) {
		struct range part;
		struct taddr skip;

		ret = walk_part(w, at, &part, &skip);
		if (ret < 0)
			return ret;
		if (!ret) {
			at.start = skip;
			continue;
		}
		if (pm->flags & PAGEMAP_PRESENT)
			ret = walk_put(w, w->levels[0], 0, part);
		else
			ret = walk_parent(w, 1, part);
		if (ret)
			return ret;
		at.start = part.end;
	}
	return 0;
}

/* Run every cursor to its end and compare lengths. */
static int walk_finish(struct walk *w)
{
	for (uint32_t i = 0; i < w->nlevels; i++) {
		int ret = walk_check_size(w, i);

		if (ret)
			return ret;
	}
	return walk_flush(w);
}

static int walk_run(struct walk *w, int (*vma)(struct range at, uint64_t madv, void *arg))
{
	int ret = mm_load(&w->mm, w->set->levels[0].dir_fd, w->vpid, w->set->page_size, w->err);

	if (ret)
		return ret;
	for (uint32_t i = 0; vma && i < w->mm.nlazy; i++) {
		ret = vma(w->mm.lazy[i].at, w->mm.lazy[i].madv, w->arg);
		if (ret) {
			image_error_set(w->err, ECANCELED,
					"%s: the caller took no more at VMA %" PRIu32, w->mm.name,
					i);
			return ret;
		}
	}
	ret = walk_level_open(w, 0);
	while (!ret) {
		ret = pagemap_next(&w->levels[0]->pm, w->err);
		if (ret < 0)
			return ret;
		if (!ret)
			return walk_finish(w);
		ret = walk_entry(w);
	}
	return ret;
}

int walk_task(struct image_set *set, uint32_t vpid,
	      int (*vma)(struct range at, uint64_t madv, void *arg),
	      int (*emit)(const struct extent_view *piece, void *arg), void *arg,
	      struct image_error *err)
{
	struct walk w = { .set = set, .vpid = vpid, .emit = emit, .arg = arg, .err = err };
	int ret = walk_run(&w, vma);

	for (uint32_t i = 0; i < w.nlevels; i++) {
		pagemap_close(&w.levels[i]->pm);
		free(w.levels[i]);
	}
	free(w.levels);
	mm_free(&w.mm);
	return ret;
}
