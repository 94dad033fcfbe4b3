// SPDX-License-Identifier: GPL-2.0-only
/* pagemap: one pagemap-<vpid>.img, entry by entry. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "image/mm.h"
#include "image/pagemap.h"
#include "proto/criu_images.pb-c.h"

#define PAGEMAP_MAGIC 0x56084025u
/* What criu writes is below 40 bytes. */
#define PAGEMAP_RECORD_MAX 4096u
#define PAGEMAP_KNOWN (PAGEMAP_PARENT | PAGEMAP_LAZY | PAGEMAP_PRESENT)

static int pagemap_unknown_field(struct pagemap *pm, const ProtobufCMessage *msg,
				 struct image_error *err)
{
	return image_error_set(err, ENOTSUP,
			       "%s: the record at byte %" PRIu64 " has field %" PRIu32
			       ", which is not known "
			       "here: images up to criu 4.2, not compressed, can be served",
			       pm->file.name, pm->file.at, msg->unknown_fields[0].tag);
}

int pagemap_open(struct pagemap *pm, int dir_fd, const char *prefix, uint32_t vpid,
		 uint64_t page_size, struct image_error *err)
{
	const uint8_t *data;
	PagemapHead *head;
	char file[32];
	uint32_t len;
	int ret;

	*pm = (struct pagemap){ .file = RECORD_FILE_INIT, .page_size = page_size };
	arena_init(&pm->arena);
	snprintf(file, sizeof(file), "pagemap-%" PRIu32 ".img", vpid);
	ret = record_open(&pm->file, dir_fd, prefix, file, PAGEMAP_MAGIC, true, err);
	if (ret)
		return ret;
	ret = record_next(&pm->file, PAGEMAP_RECORD_MAX, &data, &len, err);
	if (ret < 0)
		return ret;
	if (!ret)
		return image_error_set(err, EBADMSG,
				       "%s: ends at byte %" PRIu64 " without a head record",
				       pm->file.name, pm->file.at);
	arena_reset(&pm->arena, len);
	head = pagemap_head__unpack(&pm->arena.allocator, len, data);
	if (!head)
		return image_error_set(err, EBADMSG,
				       "%s: the head record at byte %" PRIu64 " is damaged",
				       pm->file.name, pm->file.at);
	if (head->base.n_unknown_fields)
		return pagemap_unknown_field(pm, &head->base, err);
	if (!head->has_pages_id)
		return image_error_set(err, EBADMSG,
				       "%s: the head record at byte %" PRIu64
				       " names no pages file",
				       pm->file.name, pm->file.at);
	pm->pages_id = head->pages_id;
	return 0;
}

void pagemap_close(struct pagemap *pm)
{
	record_close(&pm->file);
	arena_fini(&pm->arena);
}

/* Return: the flags that count, old ways of saying them included; -errno with *@err. */
static int pagemap_flags(struct pagemap *pm, const PagemapEntry *e, struct image_error *err)
{
	uint32_t flags = e->has_flags ? e->flags : 0;

	if (flags & ~PAGEMAP_KNOWN)
		return image_error_set(
			err, ENOTSUP,
			"%s: the entry at byte %" PRIu64 " has flag bits 0x%x, which are not "
			"known here: images up to criu 4.2, not compressed, can be served",
			pm->file.name, pm->file.at, flags & ~PAGEMAP_KNOWN);
	if (e->has_in_parent && e->in_parent)
		flags |= PAGEMAP_PARENT;
	else if (!e->has_flags)
		flags = PAGEMAP_PRESENT;
	if ((flags & PAGEMAP_PARENT) && (flags & PAGEMAP_PRESENT))
		return image_error_set(err, EBADMSG,
				       "%s: the entry at byte %" PRIu64
				       " says that its bytes are both here and "
				       "in the parent",
				       pm->file.name, pm->file.at);
	return flags;
}

static int pagemap_count(struct pagemap *pm, const PagemapEntry *e, uint64_t *count,
			 struct image_error *err)
{
	uint32_t old = e->has_compat_nr_pages ? e->compat_nr_pages : 0;

	*count = e->has_nr_pages ? e->nr_pages : old;
	if (!*count)
		return image_error_set(err, EBADMSG,
				       "%s: the entry at byte %" PRIu64 " has no pages",
				       pm->file.name, pm->file.at);
	if (old && old != *count)
		return image_error_set(err, EBADMSG,
				       "%s: the entry at byte %" PRIu64
				       " gives two counts, %" PRIu32 " pages and %" PRIu64,
				       pm->file.name, pm->file.at, old, *count);
	return 0;
}

static int pagemap_take(struct pagemap *pm, const PagemapEntry *e, struct image_error *err)
{
	uint64_t count, before = pm->at.end.v;
	int flags, ret;

	if (e->base.n_unknown_fields)
		return pagemap_unknown_field(pm, &e->base, err);
	flags = pagemap_flags(pm, e, err);
	if (flags < 0)
		return flags;
	ret = pagemap_count(pm, e, &count, err);
	if (ret)
		return ret;
	if (!e->has_vaddr || e->vaddr % pm->page_size)
		return image_error_set(err, EBADMSG,
				       "%s: the entry at byte %" PRIu64 " has address 0x%" PRIx64
				       ", not that of a page",
				       pm->file.name, pm->file.at, e->vaddr);
	if (e->vaddr >= MM_ADDRESS_END || count > (MM_ADDRESS_END - e->vaddr) / pm->page_size)
		return image_error_set(err, EBADMSG,
				       "%s: the entry at byte %" PRIu64 ", %" PRIu64
				       " pages at 0x%" PRIx64 ", goes beyond any user address",
				       pm->file.name, pm->file.at, count, e->vaddr);
	if (e->vaddr < before)
		return image_error_set(err, EBADMSG,
				       "%s: the entry at byte %" PRIu64 " starts at 0x%" PRIx64
				       ", before the end of the one in front of it, 0x%" PRIx64,
				       pm->file.name, pm->file.at, e->vaddr, before);
	pm->at = range_make(e->vaddr, e->vaddr + count * pm->page_size);
	pm->flags = flags;
	pm->offset = pm->next_offset;
	/* Entries do not overlap, so the sum stays below MM_ADDRESS_END. */
	if (flags & PAGEMAP_PRESENT)
		pm->next_offset += range_len(pm->at);
	return 1;
}

int pagemap_next(struct pagemap *pm, struct image_error *err)
{
	const uint8_t *data;
	PagemapEntry *e;
	uint32_t len;
	int ret;

	if (pm->end)
		return 0;
	ret = record_next(&pm->file, PAGEMAP_RECORD_MAX, &data, &len, err);
	if (ret < 0)
		return ret;
	if (!ret) {
		pm->end = true;
		pm->at.start = pm->at.end;
		return 0;
	}
	arena_reset(&pm->arena, len);
	e = pagemap_entry__unpack(&pm->arena.allocator, len, data);
	if (!e)
		return image_error_set(err, EBADMSG, "%s: the entry at byte %" PRIu64 " is damaged",
				       pm->file.name, pm->file.at);
	return pagemap_take(pm, e, err);
}

int pagemap_seek(struct pagemap *pm, struct taddr addr, struct image_error *err)
{
	while (!pm->end && pm->at.end.v <= addr.v) {
		int ret = pagemap_next(pm, err);

		if (ret < 0)
			return ret;
	}
	return !pm->end;
}
