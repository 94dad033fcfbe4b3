/* SPDX-License-Identifier: GPL-2.0-only */
/* recorder: in which order the targets touch what they are owed; see trace.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/trace.h"
#include "pager/internal.h"
#include "pager/trace.h"
#include "util/log.h"

/* A power of two; 1 MiB. */
#define RECORDER_RING 65536u
/* So often the file is written while something new comes in, for at most 1/20 of the time. */
#define RECORDER_SAVE_US 1000000
#define RECORDER_SAVE_SHARE 20

struct recorder_touch {
	uint64_t offset;
	uint32_t source, vpid;
};

/* Where the bytes of one task's image lie, by source and offset. */
struct recorder_index {
	uint32_t vpid;
	struct extent_view *piece;
	size_t npieces, room;
};

struct recorder {
	struct recorder_touch ring[RECORDER_RING];
	_Atomic uint64_t head;	/* written by the fault thread */
	_Atomic uint64_t tail;	/* by the control thread */
	atomic_uint lost;	/* did not fit into the ring */

	/* Control thread only. */
	struct recorder_index *index;
	uint32_t nindexes;
	struct trace *run;	/* this restore */
	unsigned int nsessions;	/* when it was last written */
	bool fresh;		/* there is something that is not written yet */
	bool full, off, said_lost;
	uint64_t next_save_us;
};

void recorder_touch(struct pager *p, struct session *s, const struct extent_view *v)
{
	struct recorder *r = p->recorder;
	uint64_t head, used;

	if (!r || s->shm->root_vpid <= 0)
		return;
	head = r->head;
	used = head - r->tail;
	if (used == RECORDER_RING) {
		r->lost++;
		return;
	}
	r->ring[head % RECORDER_RING] = (struct recorder_touch){ v->offset, v->source,
								 s->shm->root_vpid };
	r->head = head + 1;
	if (used == RECORDER_RING / 2)
		pager_kick(p->control_kick);
}

static int recorder_piece(const struct extent_view *piece, void *arg)
{
	struct recorder_index *ix = arg;

	if (ix->npieces == ix->room) {
		size_t room = ix->room ? 2 * ix->room : 64;
		struct extent_view *more = realloc(ix->piece, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		ix->piece = more;
		ix->room = room;
	}
	ix->piece[ix->npieces++] = *piece;
	return 0;
}

static int recorder_piece_cmp(const void *a, const void *b)
{
	const struct extent_view *x = a, *y = b;

	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Return: a task's index, empty when its image cannot be read (any more); NULL without memory. */
static struct recorder_index *recorder_index(struct pager *p, uint32_t vpid)
{
	struct recorder *r = p->recorder;
	struct image_error err = { "" };
	struct recorder_index *more;

	for (uint32_t i = 0; i < r->nindexes; i++)
		if (r->index[i].vpid == vpid)
			return &r->index[i];
	more = realloc(r->index, (r->nindexes + 1) * sizeof(*more));
	if (!more)
		return NULL;
	r->index = more;
	more += r->nindexes++;
	*more = (struct recorder_index){ .vpid = vpid };
	if (image_load_task(p->images, vpid, NULL, recorder_piece, more, &err))
		log_warn("task %u is not recorded: %s", vpid, err.text);
	qsort(more->piece, more->npieces, sizeof(*more->piece), recorder_piece_cmp);
	return more;
}

/* The address that the image gives to these bytes. Return: whether it knows them. */
static bool recorder_address(const struct recorder_index *ix, const struct recorder_touch *t,
			     struct taddr *out)
{
	size_t low = 0, high = ix->npieces;

	/* The last piece that does not start behind it. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct extent_view *v = &ix->piece[mid];

		if (v->source < t->source || (v->source == t->source && v->offset <= t->offset))
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return false;
	const struct extent_view *v = &ix->piece[low - 1];

	*out = taddr(v->at.start.v + (t->offset - v->offset));
	return v->source == t->source && range_has(v->at, *out);
}

static void recorder_take(struct pager *p, const struct recorder_touch *t)
{
	struct recorder *r = p->recorder;
	const struct recorder_index *ix = recorder_index(p, t->vpid);
	struct taddr at;
	int64_t ret;

	if (!ix || r->full || !recorder_address(ix, t, &at))
		return;
	ret = trace_touch(r->run, t->vpid, range_make(at.v, at.v + p->page_size), 1);
	r->fresh |= ret > 0;
	if (ret >= 0)
		return;
	r->full = true;
	log_warn("the record ends here: %s", strerror(-ret));
}

struct recorder_append {
	struct trace *to;
	uint32_t vpid;
};

static int recorder_append_run(const struct order_run *run, void *arg)
{
	struct recorder_append *a = arg;
	int64_t ret = trace_touch(a->to, a->vpid, run->at, run->count);

	return ret < 0 ? ret : 0;
}

/*
 * What stood in the file, and this run.  After a pager's death the file may hold the first part of
 * this run already: then the rest is appended, and the run is not counted again.
 */
static int recorder_join(struct pager *p, struct trace *out)
{
	struct recorder *r = p->recorder;
	bool part = p->adopted && p->record_goes_on;
	int ret = p->trace ? trace_merge(out, p->trace) : 0;

	if (ret || !part)
		return ret ? ret : trace_merge(out, r->run);
	for (uint32_t i = 0; !ret && i < trace_ntasks(r->run); i++) {
		struct recorder_append a = { out, trace_vpid(r->run, i) };
		const struct order *o = trace_order(r->run, a.vpid);

		ret = o ? order_for_each(o, recorder_append_run, &a) : 0;
	}
	return ret == -ENOSPC ? 0 : ret;
}

static void recorder_save(struct pager *p)
{
	const char *file = p->opts->trace_file ? p->opts->trace_file : TRACE_FILE;
	struct recorder *r = p->recorder;
	struct image_error err = { "out of memory" };
	struct trace *out = trace_new();
	uint64_t start = pager_now_us(), took;
	int ret = out ? recorder_join(p, out) : -ENOMEM;

	if (!ret)
		ret = trace_save(out, p->st->images_fd, file, &err);
	if (ret) {
		log_err("%s; nothing is recorded any more", err.text);
		r->off = true;
	} else {
		p->st->record_saved = 1;
		r->fresh = false;
		log_debug("%s: written, %u runs", file, trace_runs(out));
	}
	took = (pager_now_us() - start) * RECORDER_SAVE_SHARE;
	r->next_save_us = start + (took > RECORDER_SAVE_US ? took : RECORDER_SAVE_US);
	trace_free(out);
}

/* A reason why there is to be no record is logged. */
static void recorder_begin(struct pager *p)
{
	struct image_error err = { "" };
	struct recorder *r;

	/* Not ours to overwrite. */
	if (p->trace_error == -ESTALE || p->trace_error == -ENOTSUP) {
		log_err("nothing is recorded: that file is in the way (uffd-relocate trace drop)");
		return;
	}
	if (p->opts->record_once && p->trace && trace_runs(p->trace) && !p->st->record_saved)
		return;
	r = calloc(1, sizeof(*r));
	if (r)
		r->run = trace_new();
	if (!r || !r->run || trace_stamp(r->run, p->images, &err)) {
		log_err("nothing is recorded: %s", *err.text ? err.text : "out of memory");
		if (r)
			trace_free(r->run);
		free(r);
		return;
	}
	trace_set_runs(r->run, 1);
	p->record_goes_on = p->st->record_saved;
	r->next_save_us = pager_now_us() + RECORDER_SAVE_US;
	p->recorder = r;
}

void recorder_open(struct pager *p)
{
	if (p->opts->record && p->images)
		recorder_begin(p);
}

void recorder_close(struct pager *p)
{
	struct recorder *r = p->recorder;

	if (!r)
		return;
	for (uint32_t i = 0; i < r->nindexes; i++)
		free(r->index[i].piece);
	free(r->index);
	trace_free(r->run);
	free(r);
	p->recorder = NULL;
}

void recorder_tick(struct pager *p, bool last)
{
	struct recorder *r = p->recorder;

	if (!r || r->off)
		return;
	while (r->tail != r->head) {
		recorder_take(p, &r->ring[r->tail % RECORDER_RING]);
		r->tail++;
	}
	if (r->lost && !r->said_lost)
		log_warn("more faults than could be recorded");
	r->said_lost |= r->lost;
	/* A restore that was watched from its start to its end counts, also if nothing was touched. */
	if ((last && p->st->restored) ||
	    (r->fresh && (pager_now_us() > r->next_save_us || p->nsessions < r->nsessions)))
		recorder_save(p);
	r->nsessions = p->nsessions;
}
