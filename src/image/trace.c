// SPDX-License-Identifier: GPL-2.0-only
/* trace: what is known of how restored tasks use their memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/trace_int.h"

struct trace *trace_new(void)
{
	return calloc(1, sizeof(struct trace));
}

void trace_free(struct trace *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; i < t->ntasks; i++) {
		order_free(t->task[i].order);
		order_free(t->task[i].huge);
	}
	free(t->task);
	trace_id_free(&t->id);
	free(t);
}

bool trace_is_stamped(const struct trace *t)
{
	return t->id.stamped;
}

int trace_stamp(struct trace *t, struct image_set *set, struct image_error *err)
{
	struct trace_id id;
	int ret = trace_id_read(set, &id, err);

	if (ret)
		return ret;
	trace_id_free(&t->id);
	t->id = id;
	return 0;
}

uint32_t trace_runs(const struct trace *t)
{
	return t->runs;
}

void trace_set_runs(struct trace *t, uint32_t runs)
{
	t->runs = runs;
}

uint32_t trace_ntasks(const struct trace *t)
{
	return t->ntasks;
}

uint32_t trace_vpid(const struct trace *t, uint32_t index)
{
	return index < t->ntasks ? t->task[index].vpid : 0;
}

/* Index of the first task whose vpid is not below @vpid. */
static uint32_t trace_at(const struct trace *t, uint32_t vpid)
{
	uint32_t low = 0, high = t->ntasks;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (t->task[mid].vpid < vpid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct trace_task *trace_task_find(const struct trace *t, uint32_t vpid)
{
	uint32_t i = trace_at(t, vpid);

	return i < t->ntasks && t->task[i].vpid == vpid ? &t->task[i] : NULL;
}

struct trace_task *trace_task_make(struct trace *t, uint32_t vpid)
{
	uint32_t i = trace_at(t, vpid);
	struct trace_task *more;

	if (i < t->ntasks && t->task[i].vpid == vpid)
		return &t->task[i];
	if (t->ntasks == TRACE_TASKS_MAX)
		return NULL;
	more = realloc(t->task, (t->ntasks + 1) * sizeof(*more));
	if (!more)
		return NULL;
	t->task = more;
	memmove(&more[i + 1], &more[i], (t->ntasks - i) * sizeof(*more));
	more[i] = (struct trace_task){ .vpid = vpid };
	t->ntasks++;
	return &more[i];
}

uint64_t trace_free_runs(const struct trace *t)
{
	return t->nruns < TRACE_RUNS_MAX ? TRACE_RUNS_MAX - t->nruns : 0;
}

static void trace_count(struct trace *t, const struct order *o)
{
	t->nruns += o ? order_nruns(o) : 0;
}

/* Append to one of a task's lists, within the bound of the whole. */
static int64_t trace_append(struct trace *t, struct order **list, struct range at, uint32_t count)
{
	if (!trace_free_runs(t))
		return -ENOSPC;
	if (!*list)
		*list = order_new(TRACE_RUNS_MAX);
	if (!*list)
		return -ENOMEM;
	uint64_t before = order_nruns(*list);
	int64_t added = order_add(*list, at, count);

	t->nruns += order_nruns(*list) - before;
	return added;
}

const struct order *trace_order(const struct trace *t, uint32_t vpid)
{
	const struct trace_task *k = trace_task_find(t, vpid);

	return k ? k->order : NULL;
}

int64_t trace_touch(struct trace *t, uint32_t vpid, struct range at, uint32_t count)
{
	struct trace_task *k = trace_task_make(t, vpid);

	return k ? trace_append(t, &k->order, at, count) : -ENOMEM;
}

const struct order *trace_huge(const struct trace *t, uint32_t vpid)
{
	const struct trace_task *k = trace_task_find(t, vpid);

	return k ? k->huge : NULL;
}

int trace_add_huge(struct trace *t, uint32_t vpid, struct range at)
{
	struct trace_task *k;
	int64_t ret;

	if ((at.start.v | at.end.v) % TRACE_HUGE_BYTES || at.start.v > at.end.v)
		return -EINVAL;
	k = trace_task_make(t, vpid);
	if (k && !k->huge)
		k->huge = order_new(TRACE_RUNS_MAX);
	if (!k || !k->huge)
		return -ENOMEM;
	ret = range_len(at) ? trace_append(t, &k->huge, at, 1) : 0;
	return ret < 0 ? ret : 0;
}

int trace_was_huge(const struct trace *t, uint32_t vpid, uint64_t addr)
{
	const struct order *huge = t ? trace_huge(t, vpid) : NULL;

	return huge ? order_find(huge, taddr(addr), NULL) : -ENODATA;
}

/* ---- merging ---- */

static int copy_run(const struct order_run *run, void *arg)
{
	int64_t ret = order_add(arg, run->at, run->count);

	return ret < 0 ? ret : 0;
}

static struct order *trace_copy(const struct order *o)
{
	struct order *copy = order_new(TRACE_RUNS_MAX);

	if (copy && order_for_each(o, copy_run, copy)) {
		order_free(copy);
		return NULL;
	}
	return copy;
}

/* Both orders of a task, or a copy of the only one. Return: 0 and *@out (NULL: none); -ENOMEM. */
static int trace_join(const struct order *a, const struct order *b, uint64_t max_runs,
		      struct order **out)
{
	*out = NULL;
	if (!a && !b)
		return 0;
	if (a && b)
		*out = order_merge(a, b, max_runs);
	else
		*out = trace_copy(a ? a : b);
	return *out ? 0 : -ENOMEM;
}

static int trace_join_task(struct trace *out, const struct trace *a, const struct trace *b,
			   uint32_t vpid)
{
	const struct trace_task *x = trace_task_find(a, vpid), *y = trace_task_find(b, vpid);
	struct trace_task *k = trace_task_make(out, vpid);
	const struct order *huge = y && y->huge ? y->huge : x ? x->huge : NULL;

	if (!k)
		return -ENOMEM;
	int ret = trace_join(x ? x->order : NULL, y ? y->order : NULL, trace_free_runs(out),
			     &k->order);

	if (!ret && k->order && order_nruns(k->order) > trace_free_runs(out)) {
		order_free(k->order);
		k->order = NULL;
	}
	trace_count(out, k->order);
	if (!ret && huge && order_nruns(huge) <= trace_free_runs(out))
		ret = trace_join(huge, NULL, 0, &k->huge);
	trace_count(out, k->huge);
	return ret;
}

static int trace_copy_id(struct trace_id *to, const struct trace_id *from)
{
	*to = *from;
	to->pages = calloc(from->npages + 1, sizeof(*to->pages));
	if (!to->pages)
		return -ENOMEM;
	if (from->npages)
		memcpy(to->pages, from->pages, from->npages * sizeof(*to->pages));
	return 0;
}

int trace_merge(struct trace *into, const struct trace *from)
{
	struct image_error ignored;
	struct trace *out, swap;
	int ret = trace_id_check(&from->id, &into->id, "", &ignored);

	if (ret)
		return ret;
	out = trace_new();
	if (!out)
		return -ENOMEM;
	ret = trace_copy_id(&out->id, into->id.stamped ? &into->id : &from->id);
	out->runs = into->runs + from->runs;
	for (uint32_t i = 0; !ret && i < into->ntasks; i++)
		ret = trace_join_task(out, into, from, into->task[i].vpid);
	for (uint32_t i = 0; !ret && i < from->ntasks; i++)
		if (!trace_task_find(into, from->task[i].vpid))
			ret = trace_join_task(out, into, from, from->task[i].vpid);
	if (!ret) {
		swap = *into;
		*into = *out;
		*out = swap;
	}
	trace_free(out);
	return ret;
}
