// SPDX-License-Identifier: GPL-2.0-only
/*
 * judge: what the kernel asks of memory that takes part in a move, and the words for it.
 *
 * The rules are those of UFFDIO_MOVE: both sides private anonymous memory that may be written to,
 * with the same access, the same protection key, both locked or both not; each page the process's
 * own, and not pinned.  All this is only foresight: the kernel has the last word.
 */
#include <errno.h>
#include <string.h>

#include "move/judge.h"

const char *judge_area(const struct maps_vma *vma)
{
	if (vma->flags & MAPS_HUGETLB)
		return "huge pages of hugetlbfs";
	if (vma->flags & MAPS_SHADOW_STACK)
		return "a shadow stack";
	if (vma->flags & MAPS_SPECIAL)
		return "the kernel's or a driver's own";
	if (vma->flags & MAPS_SHARED)
		return "shared memory";
	if (vma->flags & MAPS_FILE)
		return "of a file";
	if (!(vma->flags & MAPS_WRITE))
		return "not writable";
	return NULL;
}

const char *judge_pair(const struct maps_vma *src, const struct maps_vma *dst)
{
	if ((src->flags ^ dst->flags) & MAPS_PROT)
		return "source and destination differ in what access they allow (mprotect)";
	if (src->pkey != dst->pkey)
		return "source and destination have different protection keys";
	if ((src->flags ^ dst->flags) & MAPS_LOCKED)
		return src->flags & MAPS_LOCKED ? "only the source is locked in memory (mlock)" :
						  "only the destination is locked in memory (mlock)";
	return NULL;
}

const char *judge_page(enum page_kind kind)
{
	switch (kind) {
	case PAGE_OWN:
	case PAGE_ZERO:
	case PAGE_SWAPPED:
		return NULL;
	case PAGE_HOLE:
		return "never touched";
	case PAGE_SHARED:
		return "shared by a fork and not written to since";
	case PAGE_KSM:
		return "merged by KSM";
	case PAGE_POISONED:
		return "broken memory";
	case PAGE_MARKER:
		return "guard pages";
	default:
		return "of a file";
	}
}

const char *judge_error(int error, enum page_kind src, enum page_kind dst)
{
	switch (-error) {
	case EEXIST:
		return dst == PAGE_MARKER ? "a guard page stands at the destination" :
					    "the destination is not empty";
	case ENOENT:
		return src == PAGE_HOLE ? "the source has no page there (--holes skips such pages)" :
					  "nothing is mapped there any more";
	case EBUSY:
		switch (src) {
		case PAGE_SHARED:
			return "it is shared with another process since a fork (a write to it ends that)";
		case PAGE_KSM:
			return "it is merged by KSM (MADV_UNMERGEABLE ends that)";
		case PAGE_SWAPPED:
			return "it is in swap and shared or busy there (a touch brings it back)";
		default:
			return "it is pinned for input or output (io_uring, RDMA, a device), or part of a "
			       "huge page that is in use";
		}
	case EFAULT:
		return src == PAGE_MARKER ? "a guard page cannot be moved" : "its memory is broken";
	case EINVAL:
		return "the process has changed its mappings there meanwhile";
	case EAGAIN:
		return "the process keeps changing its mappings";
	case ENOMEM:
		return "no memory for page tables";
	case ESRCH:
		return "the process has ended";
	default:
		return strerror(-error);
	}
}
