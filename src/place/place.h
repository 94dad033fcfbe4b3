/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * place: how bytes become a page of the target.
 *
 * The only room that knows what EEXIST, EAGAIN, ENOENT and their like mean; everyone else sees
 * enum place_why.  A call does as much as it can and says why it stopped; the caller holds the
 * session's gate, so it must be short (at most 64 KiB).
 */
#ifndef PLACE_PLACE_H
#define PLACE_PLACE_H

#include <stdint.h>

#include "core/range.h"

enum place_why {
	PLACE_DONE,	/* all of it */
	PLACE_ALREADY,	/* a page stands at dst + done; who waits for it must be woken */
	PLACE_EVENT,	/* an event stands in the way: read the uffd, then try again */
	PLACE_NOWHERE,	/* dst + done is in no registered VMA: owed to nobody */
	PLACE_EXITED,	/* the address space is gone */
	PLACE_NOMEM,	/* the target may have no page now: back off and try again */
	PLACE_LOST,	/* the source bytes cannot be read */
	PLACE_FAILED,	/* anything else; error says what */
};

struct place_report {
	enum place_why why;
	uint64_t done;	/* bytes placed, from dst on */
	int error;	/* -errno behind the reason, 0 for PLACE_DONE */
};

/* place_copy - put @len bytes at @dst by UFFDIO_COPY and wake who waits for them. */
struct place_report place_copy(int uffd, struct taddr dst, const void *src, uint64_t len,
			       uint64_t page_size) __attribute__((warn_unused_result));

/* place_zero - put zero pages at @dst. */
struct place_report place_zero(int uffd, struct taddr dst, uint64_t len)
	__attribute__((warn_unused_result));

/* place_wake - let the faults in the range be tried again; a gone address space is no error. */
void place_wake(int uffd, struct range at);

#endif
