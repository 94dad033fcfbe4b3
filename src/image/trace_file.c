// SPDX-License-Identifier: GPL-2.0-only
/*
 * trace_file: a trace as bytes.
 *
 * Addresses go as distances from the end of the run before, in pages, so that a run takes three or
 * four bytes.  A task is written in parts of PART_RUNS, each a record of bounded size.  There is no
 * fsync before the rename: a file that a crash of the machine has cut short is found out by its
 * digest, and is only a hint.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/arena.h"
#include "image/mm.h"
#include "image/record.h"
#include "image/trace_int.h"
#include "proto/trace.pb-c.h"
#include "util/fd.h"

#define TRACE_MAGIC 0x54524655u	/* "UFRT" */
#define TRACE_VERSION 1u
#define TRACE_RECORD_MAX (4u << 20)
/* TRACE_RUNS_MAX runs are a fraction of this, whatever their numbers. */
#define TRACE_FILE_MAX (64u << 20)
#define PART_RUNS 4096u

/* ---- writing ---- */

struct trace_buf {
	uint8_t *data;
	size_t len, room;
	bool failed;
};

static void buf_put(struct trace_buf *b, const void *data, size_t len)
{
	if (b->len + len > b->room) {
		size_t room = 2 * (b->len + len) + 4096;
		uint8_t *more = b->failed ? NULL : realloc(b->data, room);

		if (!more) {
			b->failed = true;
			return;
		}
		b->data = more;
		b->room = room;
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

static void buf_word(struct trace_buf *b, uint32_t v)
{
	uint8_t raw[4] = { v, v >> 8, v >> 16, v >> 24 };

	buf_put(b, raw, sizeof(raw));
}

static void buf_record(struct trace_buf *b, const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	cleanup_free uint8_t *raw = malloc(len + 1);

	if (!raw) {
		b->failed = true;
		return;
	}
	protobuf_c_message_pack(msg, raw);
	buf_word(b, len);
	buf_put(b, raw, len);
}

static void write_head(const struct trace *t, uint64_t page_size, struct trace_buf *b)
{
	TraceHead head = TRACE_HEAD__INIT;
	cleanup_free TracePages *pages = calloc(t->id.npages + 1, sizeof(*pages));
	cleanup_free TracePages **list = calloc(t->id.npages + 1, sizeof(*list));

	if (!pages || !list) {
		b->failed = true;
		return;
	}
	for (uint32_t i = 0; i < t->id.npages; i++) {
		trace_pages__init(&pages[i]);
		pages[i].name = t->id.pages[i].name;
		pages[i].has_size_bytes = true;
		pages[i].size_bytes = t->id.pages[i].size_bytes;
		list[i] = &pages[i];
	}
	head.has_version = head.has_page_bytes = head.has_huge_bytes = head.has_runs = true;
	head.version = TRACE_VERSION;
	head.page_bytes = page_size;
	head.huge_bytes = TRACE_HUGE_BYTES;
	head.runs = t->runs;
	head.has_images_digest = t->id.stamped;
	head.images_digest = t->id.digest;
	head.n_pages = t->id.npages;
	head.pages = list;
	buf_record(b, &head.base);
}

/* The next part of a list, in units. Return: runs in it. */
static size_t part_fill(const struct order *o, struct order_cursor *c, uint64_t unit, uint64_t *last,
			int64_t *step, uint64_t *len, uint32_t *count)
{
	struct order_run run;
	size_t n = 0;

	while (o && n < PART_RUNS && order_take(o, c, UINT64_MAX, &run)) {
		step[n] = (int64_t)(run.at.start.v / unit - *last);
		len[n] = range_len(run.at) / unit;
		count[n++] = run.count;
		*last = run.at.end.v / unit;
	}
	return n;
}

static void write_task(const struct trace_task *k, uint64_t page_size, struct trace_buf *b)
{
	struct order_cursor at = { 0 }, huge_at = { 0 };
	uint64_t last = 0, huge_last = 0;
	static const size_t part_bytes = PART_RUNS * (sizeof(int64_t) + sizeof(uint64_t) +
						      sizeof(uint32_t));
	cleanup_free char *mem = malloc(2 * part_bytes);

	if (!mem) {
		b->failed = true;
		return;
	}
	for (bool first = true;; first = false) {
		TraceTask part = TRACE_TASK__INIT;
		int64_t *step = (int64_t *)mem, *huge_step = (int64_t *)(mem + part_bytes);
		uint64_t *len = (uint64_t *)(step + PART_RUNS);
		uint64_t *huge_len = (uint64_t *)(huge_step + PART_RUNS);
		uint32_t *count = (uint32_t *)(len + PART_RUNS);
		size_t n = part_fill(k->order, &at, page_size, &last, step, len, count);
		size_t h = part_fill(k->huge, &huge_at, TRACE_HUGE_BYTES, &huge_last, huge_step,
				     huge_len, (uint32_t *)(huge_len + PART_RUNS));

		if (!first && !n && !h)
			return;
		part.has_vpid = true;
		part.vpid = k->vpid;
		part.n_step = part.n_npages = part.n_count = n;
		part.step = step;
		part.npages = len;
		part.count = count;
		part.has_huge_known = part.huge_known = !!k->huge;
		part.n_huge_step = part.n_huge_blocks = h;
		part.huge_step = huge_step;
		part.huge_blocks = huge_len;
		buf_record(b, &part.base);
	}
}

/* Replace @file by what @b holds. */
static int write_file(int dir_fd, const char *file, const struct trace_buf *b,
		      struct image_error *err)
{
	char name[PATH_MAX];
	int fd, ret;

	/* Each writer has its own: two restores from the same images may be recorded at once. */
	if ((size_t)snprintf(name, sizeof(name), "%s.%d.new", file, (int)getpid()) >= sizeof(name))
		return image_error_set(err, ENAMETOOLONG, "%s: name too long", file);
	if (unlinkat(dir_fd, name, 0) && errno != ENOENT)
		return image_error_set(err, errno, "%s: cannot remove: %s", name, strerror(errno));
	fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return image_error_set(err, errno, "%s: cannot create: %s", name, strerror(errno));
	ret = fd_write_full(fd, b->data, b->len);
	if (close(fd) && !ret)
		ret = -errno;
	if (!ret && renameat(dir_fd, name, dir_fd, file))
		ret = -errno;
	if (!ret)
		return 0;
	unlinkat(dir_fd, name, 0);
	return image_error_set(err, -ret, "%s: cannot write: %s", file, strerror(-ret));
}

int trace_save(const struct trace *t, int dir_fd, const char *file, struct image_error *err)
{
	uint64_t page_size = sysconf(_SC_PAGESIZE);
	TraceTail tail = TRACE_TAIL__INIT;
	struct trace_buf b = { 0 };
	int ret;

	buf_word(&b, TRACE_MAGIC);
	write_head(t, page_size, &b);
	for (uint32_t i = 0; i < t->ntasks; i++)
		write_task(&t->task[i], page_size, &b);
	tail.has_digest = true;
	tail.digest = b.failed ? 0 : trace_digest(TRACE_DIGEST_INIT, b.data, b.len);
	buf_record(&b, &tail.base);
	if (b.failed)
		ret = image_error_set(err, ENOMEM, "%s: no memory to write it", file);
	else
		ret = write_file(dir_fd, file, &b, err);
	free(b.data);
	return ret;
}

/* ---- reading ---- */

struct trace_reader {
	struct record_file file;
	struct arena arena;
	const uint8_t *data;
	uint32_t len;
	uint64_t digest;	/* of all records so far */
	uint64_t page_size;
	/* Where the runs of the task at hand have come to, in units. */
	uint32_t vpid;
	uint64_t last, huge_last;
};

static int read_damaged(const struct trace_reader *r, const char *what, struct image_error *err)
{
	return image_error_set(err, EBADMSG, "%s: the record at byte %" PRIu64 " is damaged: %s",
			       r->file.name, r->file.at, what);
}

/* Return: 1 and the next record, 0 at the end, -errno. */
static int read_record(struct trace_reader *r, struct image_error *err)
{
	int ret = record_next(&r->file, TRACE_RECORD_MAX, &r->data, &r->len, err);

	if (ret > 0)
		arena_reset(&r->arena, r->len);
	return ret;
}

static void read_digest(struct trace_reader *r)
{
	uint8_t raw[4] = { r->len, r->len >> 8, r->len >> 16, r->len >> 24 };

	r->digest = trace_digest(r->digest, raw, sizeof(raw));
	r->digest = trace_digest(r->digest, r->data, r->len);
}

static int read_pages(struct trace_reader *r, const TraceHead *head, struct trace_id *id,
		      struct image_error *err)
{
	if (head->n_pages > TRACE_PAGES_MAX)
		return read_damaged(r, "too many pages files", err);
	id->stamped = head->has_images_digest;
	id->digest = head->images_digest;
	id->pages = calloc(head->n_pages + 1, sizeof(*id->pages));
	if (!id->pages)
		return image_error_set(err, ENOMEM, "%s: no memory to read it", r->file.name);
	for (size_t i = 0; i < head->n_pages; i++) {
		const TracePages *p = head->pages[i];

		if (!p->name || strlen(p->name) >= TRACE_NAME_MAX || !p->has_size_bytes)
			return read_damaged(r, "a pages file without name or size", err);
		strcpy(id->pages[i].name, p->name);
		id->pages[i].size_bytes = p->size_bytes;
		id->npages++;
	}
	return 0;
}

static int read_head(struct trace_reader *r, struct trace *t, struct image_error *err)
{
	TraceHead *head;
	int ret = read_record(r, err);

	if (ret < 0)
		return ret;
	head = ret ? trace_head__unpack(&r->arena.allocator, r->len, r->data) : NULL;
	if (!head || !head->has_version || !head->has_page_bytes || !head->has_huge_bytes)
		return read_damaged(r, "no head", err);
	if (head->version != TRACE_VERSION)
		return image_error_set(err, ENOTSUP, "%s: version %" PRIu32 "; %u is known",
				       r->file.name, head->version, TRACE_VERSION);
	if (head->page_bytes != r->page_size || head->huge_bytes != TRACE_HUGE_BYTES)
		return image_error_set(err, ENOTSUP,
				       "%s: is of a machine with pages of %" PRIu32 " and %" PRIu32
				       " bytes",
				       r->file.name, head->page_bytes, head->huge_bytes);
	t->runs = head->runs;
	read_digest(r);
	return read_pages(r, head, &t->id, err);
}

/* The next run of a list. Return: whether it makes sense, and *@at. */
static bool read_run(uint64_t *last, int64_t step, uint64_t len, uint64_t unit, struct range *at)
{
	const uint64_t end = MM_ADDRESS_END / unit;
	uint64_t start = *last + (uint64_t)step;

	if (start >= end || !len || len > end - start)
		return false;
	*last = start + len;
	*at = range_make(start * unit, *last * unit);
	return true;
}

static int read_task(struct trace_reader *r, struct trace *t, const TraceTask *part,
		     struct image_error *err)
{
	struct range at;

	if (!part->has_vpid || !part->vpid || part->vpid > INT32_MAX || part->vpid < r->vpid)
		return read_damaged(r, "no task, or an earlier one", err);
	if (part->n_step != part->n_npages || part->n_step != part->n_count ||
	    part->n_huge_step != part->n_huge_blocks || (part->n_huge_step && !part->huge_known))
		return read_damaged(r, "lists of different lengths", err);
	if (part->vpid != r->vpid) {
		r->last = r->huge_last = 0;
		r->vpid = part->vpid;
	}
	if (part->huge_known && trace_add_huge(t, part->vpid, range_make(0, 0)))
		return read_damaged(r, "too many tasks", err);
	for (size_t i = 0; i < part->n_step; i++)
		if (!read_run(&r->last, part->step[i], part->npages[i], r->page_size, &at) ||
		    !part->count[i] ||
		    trace_touch(t, part->vpid, at, part->count[i]) != (int64_t)range_len(at))
			return read_damaged(r, "a range that cannot be", err);
	for (size_t i = 0; i < part->n_huge_step; i++)
		if (!read_run(&r->huge_last, part->huge_step[i], part->huge_blocks[i],
			      TRACE_HUGE_BYTES, &at) ||
		    trace_add_huge(t, part->vpid, at))
			return read_damaged(r, "a huge range that cannot be", err);
	return 0;
}

/* The last record is the tail; it takes the digest of what stands before it. */
static int read_tail(struct trace_reader *r, struct image_error *err)
{
	TraceTail *tail = trace_tail__unpack(&r->arena.allocator, r->len, r->data);

	if (!tail || !tail->has_digest)
		return read_damaged(r, "no tail", err);
	if (tail->digest != r->digest)
		return read_damaged(r, "the digest is not that of the file", err);
	return 0;
}

static int read_all(struct trace_reader *r, struct trace *t, struct image_error *err)
{
	int ret = read_head(r, t, err);

	if (ret)
		return ret;
	for (;;) {
		ret = read_record(r, err);
		if (ret < 0)
			return ret;
		if (!ret)
			return read_damaged(r, "it ends without a tail", err);
		if (r->file.next == r->file.size)
			return read_tail(r, err);
		TraceTask *part = trace_task__unpack(&r->arena.allocator, r->len, r->data);

		if (!part)
			return read_damaged(r, "no task", err);
		ret = read_task(r, t, part, err);
		if (ret)
			return ret;
		read_digest(r);
	}
}

int trace_load(int dir_fd, const char *file, struct image_set *set, struct trace **out,
	       struct image_error *err)
{
	struct trace_reader r = { .page_size = sysconf(_SC_PAGESIZE) };
	uint8_t magic[4] = { TRACE_MAGIC & 0xff, TRACE_MAGIC >> 8 & 0xff, TRACE_MAGIC >> 16 & 0xff,
			     TRACE_MAGIC >> 24 };
	struct trace *t = trace_new();
	struct trace_id want;
	int ret;

	if (!t)
		return image_error_set(err, ENOMEM, "%s: no memory to read it", file);
	arena_init(&r.arena);
	r.digest = trace_digest(TRACE_DIGEST_INIT, magic, sizeof(magic));
	ret = record_open(&r.file, dir_fd, "", file, TRACE_MAGIC, false, err);
	if (ret == -ENOENT)
		image_error_set(err, ENOENT, "%s: there is none", file);
	if (!ret && r.file.size > TRACE_FILE_MAX)
		ret = image_error_set(err, EBADMSG, "%s: %" PRIu64 " bytes are more than a trace has",
				      file, r.file.size);
	if (!ret)
		ret = read_all(&r, t, err);
	arena_fini(&r.arena);
	record_close(&r.file);
	if (!ret && set && t->id.stamped) {
		ret = trace_id_read(set, &want, err);
		if (!ret) {
			ret = trace_id_check(&t->id, &want, file, err);
			trace_id_free(&want);
		}
	}
	if (ret)
		trace_free(t);
	else
		*out = t;
	return ret;
}
