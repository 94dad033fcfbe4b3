/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pagemap: one pagemap-<vpid>.img, entry by entry.
 *
 * The entries ascend and the bytes of those that are present follow each other in the pages file,
 * so a cursor that only goes forward knows all there is to know, whatever the number of entries.
 */
#ifndef IMAGE_PAGEMAP_H
#define IMAGE_PAGEMAP_H

#include "image/arena.h"
#include "image/record.h"

#define PAGEMAP_PARENT 1u
#define PAGEMAP_LAZY 2u
#define PAGEMAP_PRESENT 4u

struct pagemap {
	struct record_file file;
	struct arena arena;
	uint64_t page_size;
	uint32_t pages_id; /* the bytes are in pages-<pages_id>.img */
	bool end;	   /* there is no entry after the present one */
	/* The present entry; start == end before the first one. */
	struct range at;
	uint32_t flags;	      /* PAGEMAP_* */
	uint64_t offset;      /* of at.start in the pages file, when present */
	uint64_t next_offset; /* bytes of the pages file that are accounted for so far */
};

/*
 * pagemap_open - open the file and read its head; it stands before the first entry then.
 * Return: 0 or -errno with *@err filled; call pagemap_close() in both cases.
 */
int pagemap_open(struct pagemap *pm, int dir_fd, const char *prefix, uint32_t vpid,
		 uint64_t page_size, struct image_error *err);
void pagemap_close(struct pagemap *pm);

/*
 * pagemap_next - step to the next entry.
 * Return: 1; 0 at the end (the present entry is empty then); -errno with *@err filled: -EBADMSG for
 * damage, -ENOTSUP for a field or a flag that is not known.
 */
int pagemap_next(struct pagemap *pm, struct image_error *err);

/* pagemap_seek - step until the present entry ends behind @addr. Return: as pagemap_next(). */
int pagemap_seek(struct pagemap *pm, struct taddr addr, struct image_error *err);

#endif
