/* SPDX-License-Identifier: GPL-2.0-only */
/* place: how bytes become a page of the target. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "kapi/uffd.h"
#include "place/place.h"

static enum place_why place_reason(int error)
{
	switch (error) {
	case 0:
		return PLACE_DONE;
	case -EEXIST:
		return PLACE_ALREADY;
	case -EAGAIN:
		return PLACE_EVENT;
	case -ENOENT:
		return PLACE_NOWHERE;
	case -ESRCH:
	case -ENOSPC:
		return PLACE_EXITED;
	case -ENOMEM:
		return PLACE_NOMEM;
	case -EFAULT:
		return PLACE_LOST;
	default:
		return PLACE_FAILED;
	}
}

/*
 * Is an event on its way?  A COPY may pass the kernel's check for that and then wait for the mmap
 * lock while mremap or munmap takes its destination away; it comes back with ENOENT, and the event
 * that explains it is still unread.  An empty COPY asks again: EAGAIN then, EINVAL otherwise.  The
 * answer holds, since nobody reads events while a placement is in the gate.
 */
static bool place_event_near(int uffd)
{
	uint64_t none;

	return uffd_copy(uffd, 0, NULL, 0, &none) == -EAGAIN;
}

struct place_report place_copy(int uffd, struct taddr dst, const void *src, uint64_t len,
			       uint64_t page_size)
{
	struct place_report r = { .why = PLACE_DONE };
	uint64_t step = len;

	while (r.done < len) {
		uint64_t n;

		if (step > len - r.done)
			step = len - r.done;
		r.error = uffd_copy(uffd, dst.v + r.done, (const char *)src + r.done, step, &n);
		r.done += n;
		/* Done in part: the next call stumbles over the reason and names it. */
		if (!r.error || (r.error == -EAGAIN && n))
			continue;
		/*
		 * One COPY must stay in one VMA, and mprotect or madvise may have cut ours in two
		 * without an event: only a single page that finds no VMA has none.
		 */
		if (r.error == -ENOENT && step > page_size) {
			step = page_size;
			continue;
		}
		break;
	}
	r.why = r.done == len ? PLACE_DONE : place_reason(r.error);
	if (r.why == PLACE_DONE)
		r.error = 0;
	if (r.why == PLACE_NOWHERE && place_event_near(uffd))
		r.why = PLACE_EVENT;
	return r;
}

struct place_report place_zero(int uffd, struct taddr dst, uint64_t len)
{
	struct place_report r;

	r.error = uffd_zeropage(uffd, dst.v, len, &r.done);
	r.why = place_reason(r.error);
	return r;
}

void place_wake(int uffd, struct range at)
{
	/* Fails only when there is nobody left to wake. */
	if (uffd_wake(uffd, at.start.v, range_len(at)))
		return;
}
