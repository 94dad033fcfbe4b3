// SPDX-License-Identifier: GPL-2.0-only
/* mm: the VMAs of one task that matter to a lazy restore. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "image/arena.h"
#include "image/mm.h"
#include "image/record.h"
#include "proto/criu_images.pb-c.h"

#define MM_MAGIC 0x57492820u
/* A million VMAs, four times what the most generous vm.max_map_count in use allows. */
#define MM_RECORD_MAX (64u << 20)

/* Bits of vma_entry.status. */
#define MM_VSYSCALL (1u << 2)
#define MM_VDSO (1u << 3)
#define MM_VVAR (1u << 12)
#define MM_GUARD (1u << 16)

/* The rule by which criu's restorer decides what it registers. */
static bool mm_lazy(const VmaEntry *e)
{
	const uint32_t want = MAP_ANONYMOUS | MAP_PRIVATE;

	return (e->flags & want) == want && !(e->flags & (MAP_LOCKED | MAP_HUGETLB)) &&
	       !(e->status & (MM_VSYSCALL | MM_VDSO | MM_VVAR | MM_GUARD));
}

static int mm_check_vma(const struct mm *mm, size_t i, const VmaEntry *e, uint64_t page_size,
			struct image_error *err)
{
	if (!e->has_start || !e->has_end || !e->has_flags || !e->has_status)
		return image_error_set(err, EBADMSG,
				       "%s: VMA %zu of the record at byte %" PRIu64
				       " lacks its addresses, "
				       "flags or status: damaged",
				       mm->name, i, mm->at);
	if (e->start >= e->end || e->start % page_size || e->end % page_size)
		return image_error_set(err, EBADMSG,
				       "%s: VMA %zu of the record at byte %" PRIu64
				       " is no range of pages: "
				       "0x%" PRIx64 "-0x%" PRIx64,
				       mm->name, i, mm->at, e->start, e->end);
	if ((mm_lazy(e) || (e->status & MM_GUARD)) && e->end > MM_ADDRESS_END)
		return image_error_set(err, EBADMSG,
				       "%s: VMA %zu of the record at byte %" PRIu64
				       " goes beyond any user "
				       "address: 0x%" PRIx64 "-0x%" PRIx64,
				       mm->name, i, mm->at, e->start, e->end);
	return 0;
}

static int mm_guard_cmp(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return (x->start.v > y->start.v) - (x->start.v < y->start.v);
}

/* Sorted, and joined where they touch or overlap. */
static void mm_join_guards(struct mm *mm)
{
	uint32_t n = 0;

	if (!mm->nguards)
		return;
	qsort(mm->guards, mm->nguards, sizeof(*mm->guards), mm_guard_cmp);
	for (uint32_t i = 1; i < mm->nguards; i++) {
		struct range g = mm->guards[i];

		if (g.start.v > mm->guards[n].end.v)
			mm->guards[++n] = g;
		else if (g.end.v > mm->guards[n].end.v)
			mm->guards[n].end = g.end;
	}
	mm->nguards = n + 1;
}

static int mm_take(struct mm *mm, const MmEntry *e, uint64_t page_size, struct image_error *err)
{
	size_t nlazy = 0, nguards = 0;
	uint64_t before = 0;

	for (size_t i = 0; i < e->n_vmas; i++) {
		nlazy += mm_lazy(e->vmas[i]);
		nguards += !!(e->vmas[i]->status & MM_GUARD);
	}
	mm->lazy = calloc(nlazy + 1, sizeof(*mm->lazy));
	mm->guards = calloc(nguards + 1, sizeof(*mm->guards));
	if (!mm->lazy || !mm->guards)
		return image_error_set(err, ENOMEM, "%s: no memory for %zu VMAs", mm->name,
				       e->n_vmas);
	for (size_t i = 0; i < e->n_vmas; i++) {
		const VmaEntry *v = e->vmas[i];
		int ret = mm_check_vma(mm, i, v, page_size, err);

		if (ret)
			return ret;
		if (v->status & MM_GUARD) {
			mm->guards[mm->nguards++] = range_make(v->start, v->end);
			continue;
		}
		if (v->start < before)
			return image_error_set(
				err, EBADMSG,
				"%s: VMA %zu of the record at byte %" PRIu64 " starts at 0x%" PRIx64
				", before the end of the one in front of it, 0x%" PRIx64,
				mm->name, i, mm->at, v->start, before);
		before = v->end;
		if (mm_lazy(v))
			mm->lazy[mm->nlazy++] = (struct mm_vma){ range_make(v->start, v->end),
								 v->madv };
	}
	mm_join_guards(mm);
	return 0;
}

int mm_load(struct mm *mm, int dir_fd, uint32_t vpid, uint64_t page_size, struct image_error *err)
{
	struct record_file file = RECORD_FILE_INIT;
	struct arena arena;
	const uint8_t *data;
	MmEntry *e;
	uint32_t len;
	int ret;

	*mm = (struct mm){ 0 };
	arena_init(&arena);
	snprintf(mm->name, sizeof(mm->name), "mm-%" PRIu32 ".img", vpid);
	ret = record_open(&file, dir_fd, "", mm->name, MM_MAGIC, true, err);
	if (ret)
		goto out;
	ret = record_next(&file, MM_RECORD_MAX, &data, &len, err);
	if (ret < 0)
		goto out;
	if (!ret) {
		ret = image_error_set(err, EBADMSG,
				      "%s: ends at byte %" PRIu64 " without its record", mm->name,
				      file.at);
		goto out;
	}
	mm->at = file.at;
	arena_reset(&arena, len);
	e = mm_entry__unpack(&arena.allocator, len, data);
	if (!e)
		ret = image_error_set(err, EBADMSG, "%s: the record at byte %" PRIu64 " is damaged",
				      mm->name, file.at);
	else
		ret = record_expect_end(&file, err);
	if (!ret)
		ret = mm_take(mm, e, page_size, err);
out:
	record_close(&file);
	arena_fini(&arena);
	return ret;
}

void mm_free(struct mm *mm)
{
	free(mm->lazy);
	free(mm->guards);
	*mm = (struct mm){ 0 };
}
