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

/* ---- plan ---- */

struct move_range {
	uint64_t src, dst, len;		/* bytes, multiples of the page size */
};

#define MOVE_HOLES 1u	/* leave out source pages that were never touched, instead of stopping there */
#define MOVE_MAP_DST 2u	/* map what is not mapped of the destination */

/* A part of a range that lies in one area on either side. */
struct move_piece {
	uint64_t src, dst, len;
	unsigned int range;
	const char *why;		/* NULL, or why nothing can be moved between these areas */
};

/* A part of a destination that has to be mapped. */
struct move_gap {
	uint64_t start, len;
	uint32_t prot;			/* PROT_ */
	int advice;			/* MADV_ about huge pages as for the source, or -1 */
	bool locked;			/* the source is */
};

/* What the pieces take of one area at the destination, from the first byte to the last. */
struct move_hull {
	uint64_t area;			/* where the area begins */
	uint64_t start, end;
};

/* Something that stands in the way. */
struct move_issue {
	unsigned int range;
	bool at_dst;
	uint64_t addr;			/* the first byte */
	uint64_t bytes;			/* in all of the range; they need not lie together */
	const char *why;
};

struct move_plan {
	pid_t pid;
	unsigned int flags;		/* MOVE_ */
	uint64_t page_size;
	const struct move_range *range;	/* the caller's */
	unsigned int nranges;

	struct move_piece *piece;
	unsigned int npieces;
	struct move_hull *hull;
	unsigned int nhulls;
	struct move_gap *gap;
	unsigned int ngaps;
	struct move_issue *issue;
	unsigned int nissues;

	uint64_t total_bytes;
	uint64_t hole_bytes;		/* of the sources: never touched */
	uint64_t swapped_bytes;
	uint64_t huge_bytes;		/* in huge pages that are mapped whole ... */
	uint64_t split_bytes;		/* ... and will be split, for want of equal alignment */
};

/*
 * move_check - do ranges make sense for themselves: aligned, not empty, no two of all sources and
 * destinations overlapping?
 * @at: the range that does not.
 * Return: NULL, or what is wrong.
 */
const char *move_check(const struct move_range *range, unsigned int n, unsigned int *at);

/*
 * move_plan_make - look what a move would find.  The process runs on, so a plan without issues is
 * no promise.
 * Return: 0 (move_plan_free() it), also with issues; or -errno.
 */
int move_plan_make(pid_t pid, const struct move_range *range, unsigned int n, unsigned int flags,
		   struct move_plan *out) __attribute__((warn_unused_result));
void move_plan_free(struct move_plan *plan);

/* ---- run ---- */

/* Called by the thread that called move_run(). */
struct move_hooks {
	bool (*stop)(void *ctx);	/* asked before each batch: end here? */
	void (*progress)(void *ctx, uint64_t moved_bytes);
	void *ctx;
};

struct move_result {
	uint64_t moved_bytes;	/* holes that were left out count */
	uint64_t move_ns;	/* that the kernel took for it */
	uint64_t mapped_bytes;	/* MOVE_MAP_DST: mapped, and left so */
	/* When something went wrong or was stopped: */
	bool at_page;		/* it was this page that did not move: */
	uint64_t src, dst;
	bool left_behind;	/* the agent could not be taken out; text tells what to do */
	char text[320];		/* one line */
};

/*
 * move_run - carry a plan out.
 * @partial: go ahead although the plan has issues, up to the first page that does not move.
 * Return: 0 when everything was moved; else -errno: -ENOTTY the kernel lacks UFFDIO_MOVE, -EINTR
 * hooks->stop said so, -ESRCH the process has ended or executes another program, -EPERM, -EBUSY,
 * ... (text says what); all with *@out filled in and, unless left_behind, nothing left in the
 * process.
 */
int move_run(const struct move_plan *plan, bool partial, const struct move_hooks *hooks,
	     struct move_result *out) __attribute__((warn_unused_result));

#endif
