/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * image: what criu wrote about a task's memory, in terms of extents.
 *
 * Theory of operation
 * -------------------
 * An image set is a directory of criu images (3.17.1, 4.1.1, 4.2), perhaps with a `parent`
 * symlink to an older one, perhaps several deep.  For one task (its virtual pid names the files)
 * image_load_task() reads mm-<vpid>.img for the VMAs and pagemap-<vpid>.img of every level, and
 * yields the bytes that criu's restorer leaves to the lazy server as pieces of source files:
 *
 *	LAZY|PRESENT		in this level's pages file
 *	LAZY|PARENT		in the nearest level below that has them PRESENT
 *	LAZY alone		not stored here (dump --lazy-pages): needs a page server, refused
 *	no LAZY			restored eagerly: nothing is owed
 *
 * Page counts stand in field 5 (4.2) or field 2 (before).  Entries are split at VMA borders;
 * only VMAs that criu can make lazy (private anonymous, not locked, not hugetlb, not
 * vdso/vvar/guard) get any.  Pieces that continue each other are merged.  Whatever the reader
 * does not know (image version above 2, a magic, a flag bit, a pagemap field) is refused by name,
 * file and offset instead of being guessed at: a wrong offset would be a wrong byte.
 *
 * Entries have to account for exactly the bytes that the pages file has: a pagemap that was cut
 * short between two entries would lose bytes without a word otherwise.
 *
 * Source files are opened once for the set and numbered 0..; two tasks or levels that name the
 * same file share the number.  Nothing here reads page contents.
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/extent.h"

struct image_set;

/* A damage report: one line for a person, naming file and offset. */
struct image_error {
	char text[512];
};

/*
 * image_open - open the image directory and read inventory.img and pstree.img.
 * @dir_fd: the directory; the set keeps a duplicate.
 * @rdwr:   open pages files for writing too (--auto-dedup punches holes).
 * Return: 0 and *@out; -errno with *@err filled (-EBADMSG damaged, -ENOTSUP unknown version or
 * feature).
 */
int image_open(int dir_fd, bool rdwr, struct image_set **out, struct image_error *err);
void image_close(struct image_set *set);

/* Number of pstree entries, zombies included = messages that criu restore sends. */
uint32_t image_ntasks(const struct image_set *set);
/* image_has_task - is @vpid in pstree.img? */
bool image_has_task(const struct image_set *set, uint32_t vpid);

/*
 * image_load_task - the bytes owed to one task.
 * @emit: called in ascending address order with pieces inside one VMA each; a non-zero return
 *        stops the walk and is returned.
 * @vma:  called in ascending order with every lazy-able VMA before any emit, with its madv bits
 *        (bit n = MADV_n was set); may be NULL.
 * Return: 0; -errno with *@err filled.  Pieces may have been emitted before an error is found.
 */
int image_load_task(struct image_set *set, uint32_t vpid,
		    int (*vma)(struct range at, uint64_t madv, void *arg),
		    int (*emit)(const struct extent_view *piece, void *arg), void *arg,
		    struct image_error *err);

/* One pages file that some piece named. */
struct image_source {
	int fd;		     /* open for reading (and writing with rdwr); belongs to the set */
	uint64_t size_bytes; /* st_size when it was opened */
	char name[256];	     /* path as a person would name it, for messages */
};

/* Number of sources known so far; grows with image_load_task(). */
uint32_t image_nsources(const struct image_set *set);
/* image_source_get - source @index (< image_nsources()). Valid until image_close(). */
const struct image_source *image_source_get(const struct image_set *set, uint32_t index);

#endif
