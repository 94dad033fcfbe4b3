/* SPDX-License-Identifier: GPL-2.0-only */
/* trace_int: a trace as its three files see it. */
#ifndef IMAGE_TRACE_INT_H
#define IMAGE_TRACE_INT_H

#include "image/image_error.h"
#include "image/set.h"
#include "image/trace.h"

#define TRACE_TASKS_MAX 32768u
/* Pages files, and the length of a name, in one trace. */
#define TRACE_PAGES_MAX 32768u
#define TRACE_NAME_MAX 64u

struct trace_task {
	uint32_t vpid;
	struct order *order;	/* NULL: nothing known */
	struct order *huge;	/* likewise */
};

struct trace_pages {
	char name[TRACE_NAME_MAX];
	uint64_t size_bytes;
};

/* Which images. */
struct trace_id {
	bool stamped;
	uint64_t digest;
	struct trace_pages *pages;
	uint32_t npages;
};

struct trace {
	struct trace_id id;
	uint32_t runs;
	struct trace_task *task;	/* ascending by vpid */
	uint32_t ntasks;
	uint64_t nruns;	/* of all lists */
};

/* FNV-1a, 64 bits: finds damage and tells images apart; it is no protection against intent. */
#define TRACE_DIGEST_INIT 0xcbf29ce484222325ull
uint64_t trace_digest(uint64_t digest, const void *data, size_t len);

/* trace_id_read - what the images are. Return: 0 or -errno with *@err filled. */
int trace_id_read(struct image_set *set, struct trace_id *out, struct image_error *err);
void trace_id_free(struct trace_id *id);
/*
 * trace_id_check - is a trace that says @is one of the images @want?
 * Return: 0, or -ESTALE with *@err saying what differs.
 */
int trace_id_check(const struct trace_id *is, const struct trace_id *want, const char *name,
		   struct image_error *err);

/* trace_task_find - Return: the task, or NULL. */
struct trace_task *trace_task_find(const struct trace *t, uint32_t vpid);
/* trace_task_make - the same, made when there is none. Return: NULL when memory is out. */
struct trace_task *trace_task_make(struct trace *t, uint32_t vpid);
/* trace_free_runs - how many more runs the trace may get. */
uint64_t trace_free_runs(const struct trace *t);

#endif
