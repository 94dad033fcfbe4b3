/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * move: pages of a live process from one address to another, without copying them.
 *
 * The kernel lets nobody but the process itself do that (UFFDIO_MOVE refuses a caller from another
 * address space), so an agent is placed in it (inject/inject.h), which moves them and is taken out
 * again.  All threads of the process run on meanwhile.
 *
 * survey	what there is in a process, and what could be moved
 * plan		what a given move would do, and what stands in its way; looks only
 * run		do it
 *
 * Guarantees: a page is moved as a whole or not at all, keeps its frame, and whoever reads finds
 * its bytes either at the old address or at the new one.  A page written to in that moment is moved
 * with what was written, or the write lands in a new page at the old address.  Whoever touches the
 * destination before its page is there gets a fresh page of zeros, which then is in the way
 * ("not empty"); nobody ever waits.  Pages are moved in ascending order and the move ends at the
 * first one that cannot be; struct move_result says where and why.
 */
#ifndef MOVE_MOVE_H
#define MOVE_MOVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- survey ---- */

struct move_area {
	uint64_t start, end;
	char perms[5];			/* as in /proc/PID/maps */
	uint64_t resident_bytes;
	uint64_t huge_bytes;		/* of these, in huge pages that are mapped whole */
	uint64_t swapped_bytes;
	uint64_t movable_bytes;		/* of resident_bytes and swapped_bytes */
	char why_not[96];		/* what keeps the rest, or all of it, from being moved; or "" */
	char *name;
};

struct move_survey {
	struct move_area *area;
	unsigned int n;
};

/*
 * move_survey - look at all areas of a process.
 * Return: 0 (move_survey_free() it), or -errno.
 */
int move_survey(pid_t pid, struct move_survey *out) __attribute__((warn_unused_result));
void move_survey_free(struct move_survey *survey);

#endif
