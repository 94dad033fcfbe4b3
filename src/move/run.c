// SPDX-License-Identifier: GPL-2.0-only
/*
 * run: carry a plan out.
 *
 *	open		an agent is placed; it makes a userfaultfd of its (the process's) address space
 *	map		what is missing of the destination; the plan is then made anew
 *	register	the destination, for write protection only: no page is ever write-protected, so
 *			no thread of the process can come to wait for anybody.  Missing pages are
 *			filled by the kernel as ever
 *	move		batches of AGENT_RANGES calls, none of them across a border of huge pages where
 *			source and destination have those at the same place: so huge pages move whole,
 *			and no call holds a lock for long
 *	undo		in reverse order, also after a failure or between two batches when we are told
 *			to stop
 *
 * When a batch ends early the kernel has told why, but what is at that page may be gone by then
 * (somebody pinned it for a moment).  So the page at the stopping point is tried once more by
 * itself; only if that fails, too, is it looked at, for the words.
 *
 * An agent that is lost in the middle of a batch (the process ended, it was killed or stuck) leaves
 * open how far it came.  As pages are moved in ascending order that can be seen from outside: up to
 * the first page whose destination is empty while its source is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kapi/mm_abi.h"
#include "kapi/pageinfo.h"
#include "kapi/uffd_own.h"
#include "move/channel.h"
#include "move/judge.h"
#include "move/move.h"

#define HUGE_BYTES (2ull << 20)
#define RETRIES 3	/* of a page that stopped a batch, before it counts */

/* Of userfaultfd(2): faults of the kernel are none of its business, so no privilege is needed. */
#define USER_MODE_ONLY 1

struct run {
	const struct move_plan *plan;	/* to be carried out: the caller's, or @remade */
	const struct move_hooks *hooks;
	struct move_result *out;
	struct move_plan remade;	/* after mapping */
	struct channel ch;
	unsigned int nmapped;		/* gaps of the caller's plan that are mapped now */
	unsigned int npieces;		/* that can be moved: up to the first that cannot */
};

__attribute__((format(printf, 3, 4)))
static int failed(struct run *r, int error, const char *fmt, ...)
{
	va_list ap;

	if (!*r->out->text) {
		va_start(ap, fmt);
		vsnprintf(r->out->text, sizeof(r->out->text), fmt, ap);
		va_end(ap);
	}
	return error;
}

static bool told_to_stop(const struct run *r)
{
	return r->hooks && r->hooks->stop && r->hooks->stop(r->hooks->ctx);
}

/* One order about one range. */
static int ask(struct run *r, uint32_t op, uint32_t flags, uint64_t dst, uint64_t len)
{
	struct agent_order o = { .op = op, .flags = flags, .nranges = 1,
				 .range = { { .dst = dst, .len = len } } };
	struct agent_answer answer;

	return channel_ask(&r->ch, &o, &answer);
}

/* ---- before ---- */

static int open_uffd(struct run *r)
{
	struct agent_order o = { .op = AGENT_OPEN_UFFD, .nranges = 1,
				 .flags = O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY,
				 .range = { { .src = UFFD_FEATURE_MOVE } } };
	struct agent_answer answer;
	int ret = channel_ask(&r->ch, &o, &answer);

	if (ret == -EINVAL || ret == -ENOSYS)
		return failed(r, -ENOTTY, "the kernel has no UFFDIO_MOVE (6.8 or later has it)");
	if (ret && ret != -EPIPE)
		return failed(r, ret, "the process cannot make a userfaultfd: %s", strerror(-ret));
	return ret;
}

/* Maps the gaps and looks again: what was mapped may be locked, or in huge pages, or taken. */
static int map_gaps(struct run *r, bool partial)
{
	const struct move_plan *p = r->plan;
	int ret = 0;

	for (; !ret && r->nmapped < p->ngaps; r->nmapped++) {
		const struct move_gap *gap = &p->gap[r->nmapped];

		ret = ask(r, AGENT_MAP, gap->prot, gap->start, gap->len);
		if (ret)
			return failed(r, ret, "%#" PRIx64 " cannot be mapped: %s", gap->start,
				      ret == -EEXIST ? "the process has mapped memory there meanwhile" :
						       strerror(-ret));
		r->out->mapped_bytes += gap->len;
		if (gap->advice >= 0)
			ret = ask(r, AGENT_ADVISE, (uint32_t)gap->advice, gap->start, gap->len);
		/* With MCL_FUTURE it comes locked, and full. */
		if (!ret && gap->locked)
			ret = ask(r, AGENT_ADVISE, MADV_DONTNEED_LOCKED, gap->start, gap->len);
		if (ret == -EINVAL)
			ret = 0;	/* no such advice on this kernel */
	}
	if (!ret)
		ret = move_plan_make(p->pid, p->range, p->nranges, p->flags & ~MOVE_MAP_DST, &r->remade);
	if (ret)
		return failed(r, ret, "%s", strerror(-ret));
	r->plan = &r->remade;
	if (r->remade.nissues && !partial)
		return failed(r, -EINVAL, "newly mapped, %#" PRIx64 " cannot be moved to: %s",
			      r->remade.issue[0].addr, r->remade.issue[0].why);
	return 0;
}

/*
 * Registers all of an area that any piece needs: with many small pieces one by one, the process
 * would come to its limit of areas.  What lies between them takes no harm, see above.
 */
static int register_areas(struct run *r)
{
	const struct move_plan *p = r->plan;
	unsigned int i;

	while (r->npieces < p->npieces && !p->piece[r->npieces].why)
		r->npieces++;
	for (i = 0; i < p->nhulls; i++) {
		const struct move_hull *hull = &p->hull[i];
		int ret = ask(r, AGENT_REGISTER, UFFDIO_REGISTER_MODE_WP, hull->start,
			      hull->end - hull->start);

		if (ret == -EBUSY)
			return failed(r, ret, "the destination %#" PRIx64 " is registered with a "
				      "userfaultfd of the process's own (EBUSY)", hull->start);
		if (ret && ret != -EPIPE)
			return failed(r, ret, "the destination %#" PRIx64 " cannot be registered: %s",
				      hull->start, ret == -EINVAL || ret == -ENOENT ?
				      judge_error(-EINVAL, PAGE_HOLE, PAGE_HOLE) : strerror(-ret));
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- the move ---- */

/* Where we are: piece and offset in it. */
struct position {
	unsigned int piece;
	uint64_t at;
};

static uint64_t call_bytes(const struct move_piece *piece, uint64_t at)
{
	uint64_t src = piece->src + at, left = piece->len - at, len = HUGE_BYTES;

	if (!((piece->src ^ piece->dst) % HUGE_BYTES))
		len -= src % HUGE_BYTES;
	return left < len ? left : len;
}

static void advance(const struct run *r, struct position *pos, uint64_t bytes)
{
	while (bytes) {
		uint64_t left = r->plan->piece[pos->piece].len - pos->at;

		if (bytes < left) {
			pos->at += bytes;
			return;
		}
		bytes -= left;
		pos->piece++;
		pos->at = 0;
	}
}

/* The next batch from @pos on. Return: its bytes. */
static uint64_t fill_batch(const struct run *r, struct position pos, struct agent_order *o)
{
	uint64_t sum = 0;

	*o = (struct agent_order){ .op = AGENT_MOVE_ADDR };
	if (r->plan->flags & MOVE_HOLES)
		o->flags = UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES;
	while (pos.piece < r->npieces && o->nranges < AGENT_RANGES) {
		const struct move_piece *piece = &r->plan->piece[pos.piece];
		uint64_t len = call_bytes(piece, pos.at);

		o->range[o->nranges++] = (struct agent_range){ .dst = piece->dst + pos.at,
							       .src = piece->src + pos.at,
							       .len = len };
		sum += len;
		advance(r, &pos, len);
	}
	return sum;
}

static int take_kind(void *ctx, enum page_kind kind, uint64_t addr, uint64_t len)
{
	(void)addr;
	(void)len;
	*(enum page_kind *)ctx = kind;
	return 0;
}

static enum page_kind kind_at(const struct pageinfo *pi, uint64_t addr)
{
	enum page_kind kind = PAGE_HOLE;

	if (pageinfo_walk(pi, addr, pi->page_size, take_kind, &kind))
		return PAGE_HOLE;
	return kind;
}

/* How far did a batch come whose answer was lost? */
static uint64_t seen_moved(const struct run *r, const struct agent_order *o)
{
	struct pageinfo pi;
	uint64_t sum = 0;
	uint32_t i;

	if (pageinfo_open(r->plan->pid, &pi))
		return 0;
	for (i = 0; i < o->nranges; i++) {
		const struct agent_range *g = &o->range[i];
		uint64_t at;

		for (at = 0; at < g->len; at += pi.page_size, sum += pi.page_size) {
			enum page_kind src = kind_at(&pi, g->src + at);

			if (kind_at(&pi, g->dst + at) == PAGE_HOLE &&
			    (src != PAGE_HOLE || !(o->flags & UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES)))
				goto out;
		}
	}
out:
	pageinfo_close(&pi);
	return sum;
}

static void tell(const struct run *r)
{
	if (r->hooks && r->hooks->progress)
		r->hooks->progress(r->hooks->ctx, r->out->moved_bytes);
}

/* The page at @pos does not move, the kernel says @error: why? */
static int stopped(struct run *r, const struct position *pos, int error)
{
	const struct move_piece *piece = &r->plan->piece[pos->piece];
	struct pageinfo pi;
	enum page_kind src = PAGE_HOLE, dst = PAGE_HOLE;

	r->out->at_page = true;
	r->out->src = piece->src + pos->at;
	r->out->dst = piece->dst + pos->at;
	if (!pageinfo_open(r->plan->pid, &pi)) {
		src = kind_at(&pi, r->out->src);
		dst = kind_at(&pi, r->out->dst);
		pageinfo_close(&pi);
	}
	return failed(r, error, "%s", piece->why ? piece->why : judge_error(error, src, dst));
}

/* Asks for @o and accounts for what was moved. */
static int move_batch(struct run *r, struct position *pos, struct agent_order *o)
{
	struct agent_answer answer;
	int ret = channel_ask(&r->ch, o, &answer);
	uint64_t done = ret == -EPIPE && r->ch.dead ? seen_moved(r, o) : answer.done;

	done -= done % r->plan->page_size;
	r->out->moved_bytes += done;
	r->out->move_ns += answer.value;
	advance(r, pos, done);
	return ret;
}

static int move_pieces(struct run *r)
{
	struct position pos = { 0, 0 };
	struct agent_order o;
	unsigned int retries = 0;
	int ret = 0;

	while (pos.piece < r->npieces) {
		uint64_t before = r->out->moved_bytes, bytes;

		if (told_to_stop(r))
			return failed(r, -EINTR, "stopped");
		/* After an exec the agent could go on for ever in memory that nobody has any more. */
		if (!inject_same_mm(&r->ch.rec))
			return -ESRCH;
		bytes = fill_batch(r, pos, &o);
		if (ret) {
			/* The last one was stopped here: this page alone. */
			o.nranges = 1;
			o.range[0].len = bytes = r->plan->page_size;
		}
		ret = move_batch(r, &pos, &o);
		tell(r);
		if (ret == -EPIPE)
			return ret;
		if (!ret && r->out->moved_bytes - before != bytes)
			return failed(r, -EPROTO, "the agent says what cannot be");
		if (r->out->moved_bytes != before)
			retries = 0;
		if (ret && ++retries > RETRIES)
			return stopped(r, &pos, ret);
	}
	return r->npieces < r->plan->npieces ? stopped(r, &pos, -EINVAL) : 0;
}

/* ---- after ---- */

/*
 * What was registered is let go when the agent closes its userfaultfd.  A destination that was
 * mapped and got nothing goes again; with its first page it is the process's.
 */
static void undo(struct run *r, const struct move_plan *plan, int ret)
{
	unsigned int i;

	for (i = 0; ret && !r->out->moved_bytes && !r->ch.dead && i < r->nmapped; i++)
		if (!ask(r, AGENT_UNMAP, 0, plan->gap[i].start, plan->gap[i].len))
			r->out->mapped_bytes -= plan->gap[i].len;
}

static int close_channel(struct run *r, int ret)
{
	struct move_result *out = r->out;
	struct inject_error err = { 0 };
	uint64_t agent = (uint64_t)r->ch.rec.agent_pid;
	int closed = channel_close(&r->ch, r->hooks ? r->hooks->stop : NULL,
				   r->hooks ? r->hooks->ctx : NULL, &err);

	/* Even if all was moved before: there is nothing left of it. */
	if (closed == -ESRCH || closed == -ENOENT)
		return failed(r, -ESRCH, closed == -ESRCH ? "the process has ended" :
			      "the process executes another program now");
	if (ret == -EPIPE || ret == -ESRCH)
		ret = failed(r, -EPIPE, "the agent, process %" PRIu64 ", was killed or got stuck", agent);
	if (!closed)
		return ret;
	out->left_behind = true;
	snprintf(out->text, sizeof(out->text),
		 "the agent, process %" PRIu64 ", is left in the process: %s; it does nothing; kill it, "
		 "and its memory stays until the process ends", agent, err.text);
	return ret ? ret : closed;
}

int move_run(const struct move_plan *plan, bool partial, const struct move_hooks *hooks,
	     struct move_result *out)
{
	struct run r = { .plan = plan, .hooks = hooks, .out = out };
	struct inject_error err = { 0 };
	int ret;

	*out = (struct move_result){ 0 };
	ret = uffd_own_can_move();
	if (ret == -EINVAL || ret == -ENOTTY || ret == -ENOSYS)
		return failed(&r, -ENOTTY, "the kernel has no UFFDIO_MOVE (6.8 or later has it)");
	if (plan->nissues && !partial)
		return failed(&r, -EINVAL, "%#" PRIx64 ": %s", plan->issue[0].addr, plan->issue[0].why);
	ret = channel_open(plan->pid, &r.ch, &err, &out->left_behind);
	if (ret)
		return failed(&r, ret, "no agent can be placed: %s", err.text);
	ret = open_uffd(&r);
	if (!ret && plan->ngaps)
		ret = map_gaps(&r, partial);
	if (!ret)
		ret = register_areas(&r);
	if (!ret)
		ret = move_pieces(&r);
	undo(&r, plan, ret);
	ret = close_channel(&r, ret);
	move_plan_free(&r.remade);
	return ret;
}
