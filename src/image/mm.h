/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mm: the VMAs of one task that matter to a lazy restore.
 *
 * Two kinds do: those that criu's restorer registers with userfaultfd, and guard ranges (4.2 puts
 * them at the end of the list as if they were VMAs; they lie inside real ones), where a page must
 * never be put.
 */
#ifndef IMAGE_MM_H
#define IMAGE_MM_H

#include "image/image_error.h"

/* No page of a lazy VMA lies here or above (five-level page tables end at 2^56 for users). */
#define MM_ADDRESS_END (1ull << 56)

struct mm_vma {
	struct range at;
	uint64_t madv; /* bit n: MADV_n */
};

struct mm {
	char name[64];	     /* of the file, for messages */
	uint64_t at;	     /* where in the file the record is, likewise */
	struct mm_vma *lazy; /* ascending, apart from each other */
	uint32_t nlazy;
	struct range *guards; /* likewise */
	uint32_t nguards;
};

/*
 * mm_load - read mm-<vpid>.img.
 * Return: 0 or -errno with *@err filled; call mm_free() in both cases.
 */
int mm_load(struct mm *mm, int dir_fd, uint32_t vpid, uint64_t page_size, struct image_error *err);
void mm_free(struct mm *mm);

#endif
