/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plan: which blocks come as huge pages.
 *
 * A block of 2 MiB is a candidate when its VMA wants huge pages (it was advised so before the dump,
 * or the system or the user gives them to all) and nothing in it has been touched: all of it is
 * owed, by one source, in a few pieces.  The first page that a fault places in it ends that, since
 * the kernel moves a huge page only to where no page table is.
 *
 * Candidates are kept as ranges, in session.huge, and struck off when they are found to be none.
 * Those that were touched too early are noted in session.collapse: once all is in place the kernel
 * is asked to make huge pages of them (MADV_COLLAPSE), block by block.
 * All calls: gate entered, or the session not yet published.
 */
#ifndef PAGER_PLAN_H
#define PAGER_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/agent_abi.h"
#include "core/extent.h"

struct pager;
struct session;

#define PLAN_BLOCK ((uint64_t)AGENT_HUGE_BYTES)
#define PLAN_PIECES 8u	/* of one block */

struct plan_block {
	struct range at;
	uint32_t source;
	unsigned int n;
	struct {
		uint64_t len, offset;	/* in the source */
	} piece[PLAN_PIECES];
};

/* plan_init - the candidates of a session, from the VMAs that want huge pages. */
int plan_init(struct session *s, const struct range *want, unsigned int n);

/* plan_block - is the block at @start wholly owed, and how? */
bool plan_block(const struct session *s, uint64_t start, struct plan_block *out);

/*
 * plan_next - the next candidate at or after *@cursor, which moves behind it; round once.
 * @busy: blocks that are on their way already, @nbusy of them.
 * Return: 1 and *@out; 0: there is none; -EAGAIN: not found in reasonable time, ask again.
 */
int plan_next(struct session *s, uint64_t *cursor, const struct plan_block *const *busy,
	      unsigned int nbusy, struct plan_block *out);

/* plan_any - is there any candidate?  It may turn out to be none. */
bool plan_any(const struct session *s);

/* plan_drop - no agent should try these again. */
void plan_drop(struct session *s, struct range at);
/* plan_touched - likewise, and it can only be huge by being collapsed. */
void plan_touched(struct session *s, struct range at);
/* plan_collapse - take one of those. Return: false: there is none. */
bool plan_collapse(struct session *s, struct range *out);

/*
 * plan_leave - what of an owed piece the drain should leave to the agent.
 * Return: true and *@end: all up to there; false: nothing at its start, and *@v is cut to what is
 * not to be left.
 */
bool plan_leave(struct session *s, struct extent_view *v, uint64_t *end);

#endif
