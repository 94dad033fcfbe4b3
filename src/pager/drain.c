/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * drain: the threads that bring in what nobody has asked for yet.
 *
 * Theory of operation
 * -------------------
 * There are two workers.  The second one works only while no target has faulted for a while, no
 * limit is set and there is more than one CPU: the first belongs to the targets and to faults.
 * Each has a cursor of its own, the second one starts in the middle; a page that both place is found
 * to stand.
 *
 * Sessions take turns, one batch each.  A batch is what is owed from the worker's cursor on, at
 * most DRAIN_BYTES (more while the target is quiet) or DRAIN_PIECES, all of it in one window of one
 * source:
 *
 *	1. look    in the gate: note the pieces, move the cursor on
 *	2. fetch   gate open: make their bytes present in the window's mapping; this may wait for a
 *	           device, and nobody waits for us
 *	3. place   what of each piece is still owed, at the same place in the source, is copied
 *	           straight from the mapping, a little in each shared hold of the gate
 *	4. verify  the source must still be what it was, before and after: a mapping of a file that
 *	           shrank reads as zeros in its last page
 *
 * The first cursor follows the faults: each new fault moves it to the block of the page that was
 * touched.  A cursor that comes to the end of what is owed goes back to the start.
 *
 * The bound on CPU and the rate limit are sleeps between batches, with no gate held.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kapi/huge.h"
#include "kapi/proc.h"
#include "pager/agent.h"
#include "pager/internal.h"
#include "pager/plan.h"
#include "util/log.h"

/* A batch: what is looked up, fetched and verified in one go, while the target faults or not. */
#define DRAIN_BYTES (128u << 10)
#define DRAIN_QUIET_BYTES (256u << 10)
#define DRAIN_PIECES 64
/*
 * What is placed in one hold of the gate.  COPY in larger pieces costs less CPU (doc/decisions.md),
 * but a fault waits for the hold.
 */
#define DRAIN_HOLD_BYTES (32u << 10)
#define DRAIN_HOLD_STORM_BYTES AROUND_BYTES	/* faults are many: what counts is to be done soon */
#define DRAIN_QUIET_US 20000
/* Placed pieces that one batch can remember for --auto-dedup. */
#define DRAIN_PUTS 128
#define DRAIN_BACKOFF_US 200
#define DRAIN_NOMEM_US 10000
/* Blocks of an agent that one look passes by, and how soon to look again when that was all. */
#define DRAIN_LOOKS 64
#define DRAIN_REST_US 2000
#define DRAIN_FAILED_US 100000
/* A child whose process is not known yet may hold guard pages that we could not see. */
#define DRAIN_UNKNOWN_US 2000000

struct drain_batch {
	struct extent_view piece[DRAIN_PIECES];
	unsigned int n;
	uint64_t from, to;	/* of the source, bytes */
	uint64_t hold_bytes;	/* most that is placed in one hold */
	bool quiet;		/* no fault of late */
	_Atomic uint64_t *counter;	/* what is placed counts there */
	struct extent_view put[DRAIN_PUTS];	/* what was placed in the end */
	unsigned int nput;
};

void pager_kick_drain(struct pager *p)
{
	pthread_mutex_lock(&p->drain_lock);
	p->drain_work = true;
	pthread_cond_broadcast(&p->drain_cond);
	pthread_mutex_unlock(&p->drain_lock);
}

/* Is all to be brought in, not only what is touched and what a trace names? */
static bool drain_wanted(const struct pager *p)
{
	return p->opts->drain || p->st->finish;
}

/* Where the second worker begins: half of what is owed lies before it. */
struct drain_half {
	uint64_t left;
	uint64_t at;
};

static int drain_half_way(const struct extent_view *view, void *arg)
{
	struct drain_half *h = arg;

	h->at = view->at.start.v;
	if (range_len(view->at) > h->left) {
		h->at += h->left & ~(DRAIN_QUIET_BYTES - 1ull);
		return 1;
	}
	h->left -= range_len(view->at);
	return 0;
}

/* Add a piece, if it lies in the window of the batch. */
static bool drain_add(struct drain_batch *b, struct extent_view v, uint64_t window)
{
	if (!b->n)
		b->from = v.offset;
	else if (v.source != b->piece[0].source || v.offset < b->from ||
		 v.offset + range_len(v.at) - b->from > window)
		return false;
	b->piece[b->n++] = v;
	b->to = v.offset + range_len(v.at);
	return true;
}

/* Step 1 where a trace says what comes next.  A batch is all of hot pages, or of none. */
static bool drain_look_trace(struct pager *p, struct session *s, struct drain_batch *b)
{
	uint64_t left = b->quiet ? DRAIN_QUIET_BYTES : DRAIN_BYTES, window = 2 * left, past;
	bool leave = s->hope == HOPE_SOON || s->hope == HOPE_HERE;
	unsigned int looks = 0;
	struct extent_view v;

	while (b->n < DRAIN_PIECES && left && replay_peek(p, s, &v)) {
		if (leave && plan_leave(s, &v, &past)) {
			replay_leave(p, s, taddr(past));
			if (++looks == DRAIN_LOOKS)
				break;
			continue;
		}
		_Atomic uint64_t *counter = s->replay.hot ? &s->n->hot_bytes :
							    &s->n->replayed_bytes;

		if ((b->n && counter != b->counter) || (!s->replay.hot && !drain_wanted(p)))
			break;
		if (range_len(v.at) > left)
			v.at.end = taddr(v.at.start.v + left);
		if (!drain_add(b, v, window))
			break;
		b->counter = counter;
		left -= range_len(v.at);
		replay_advance(s, v.at.end);
	}
	return b->n;
}

/* Step 1. Gate entered. Return: whether there is anything. */
static bool drain_look(struct pager *p, struct session *s, struct drain_batch *b, unsigned int lane)
{
	bool quiet = pager_now_us() - s->hint_us > DRAIN_QUIET_US, round = false;
	uint64_t bytes = quiet ? DRAIN_QUIET_BYTES : DRAIN_BYTES, left = bytes;
	bool leave = s->hope == HOPE_SOON || s->hope == HOPE_HERE;
	uint64_t *cursor = &s->cursor[lane], past;
	unsigned int seq = s->hint_seq;
	unsigned int looks = 0;
	struct extent_view v;

	b->n = b->nput = 0;
	b->quiet = quiet;
	b->counter = &s->n->copied_drain_bytes;
	b->hold_bytes = quiet ? bytes : s->around_bytes ? DRAIN_HOLD_STORM_BYTES : DRAIN_HOLD_BYTES;
	if (!lane && s->replay.active && drain_look_trace(p, s, b))
		return true;
	if (!drain_wanted(p) || (!lane && s->replay.active))
		return false;
	if (!lane && seq != s->hint_seen) {
		s->hint_seen = seq;
		*cursor = s->hint_addr & ~(AROUND_BYTES - 1ull);
	}
	if (lane && !*cursor) {
		struct drain_half half = { .left = extent_pending(s->owed) / 2 };

		extent_for_each(s->owed, drain_half_way, &half);
		*cursor = half.at;
	}
	for (uint64_t at = *cursor; b->n < DRAIN_PIECES && left; at = v.at.end.v) {
		if (!extent_next(s->owed, taddr(at), &v)) {
			if (b->n || !*cursor || round)
				break;
			/* Round again from the start. */
			round = true;
			*cursor = 0;
			v.at.end = taddr(0);
			continue;
		}
		if (leave && plan_leave(s, &v, &past)) {
			if (b->n || ++looks == DRAIN_LOOKS)
				break;
			v.at.end = taddr(past);
			*cursor = past;
			continue;
		}
		/* Whole blocks: a batch that ends inside an extent ends with a block. */
		uint64_t block_end = (v.at.start.v | (bytes - 1)) + 1, extent_end = v.at.end.v;

		if (v.at.end.v > block_end)
			v.at.end = taddr(block_end);
		if (range_len(v.at) > left)
			v.at.end = taddr(v.at.start.v + left);
		if (!drain_add(b, v, bytes))
			break;
		left -= range_len(v.at);
		*cursor = v.at.end.v;
		if (v.at.end.v < extent_end)
			break;
	}
	return b->n;
}

/* What a placement's outcome means for the batch. Return: go on, behind *@past? */
static bool drain_outcome(struct pager *p, struct session *s, const struct drain_batch *b,
			  const struct extent_view *v, struct place_report r, struct taddr *past)
{
	struct range done = range_make(v->at.start.v, v->at.start.v + r.done);
	struct range next = range_make(done.end.v, done.end.v + p->page_size);

	if (r.done)
		session_placed(p, s, done, b->counter);
	*past = r.why == PLACE_DONE ? done.end : next.end;
	switch (r.why) {
	case PLACE_DONE:
		return true;
	case PLACE_ALREADY:
		session_placed(p, s, next, b->counter);
		return true;
	case PLACE_NOWHERE:
		/* No VMA of ours and no event to tell of it: see doc/decisions.md. */
		log_debug("session %u: %#llx is registered no more", s->slot,
			  (unsigned long long)next.start.v);
		if (session_forget(s, next))
			session_kill(p, s, "out of memory");
		return true;
	case PLACE_EVENT:
#ifdef MUTANT_eagain_fatal
		session_kill(p, s, "EAGAIN");
#endif
		s->backoff_until_us = pager_now_us() + DRAIN_BACKOFF_US;
		return false;
	case PLACE_NOMEM:
		s->backoff_until_us = pager_now_us() + DRAIN_NOMEM_US;
		return false;
	case PLACE_EXITED:
		s->ending = true;
		s->backoff_until_us = pager_now_us() + DRAIN_NOMEM_US;
		pager_kick(p->fault_kick);
		return false;
	case PLACE_LOST:
		/* The mapping gave out: a device error, or the file shrank; step 4 tells which. */
		return false;
	default:
		log_err("session %u: cannot place %llu bytes at %#llx: %s", s->slot,
			(unsigned long long)range_len(v->at), (unsigned long long)v->at.start.v,
			strerror(-r.error));
		session_kill(p, s, "a page could not be placed");
		return false;
	}
}

/*
 * Place as much of a piece as one hold may, from *@at on. Gate entered.
 * Return: go on?  *@at is behind what was done, at the piece's end when nothing is left.
 */
static bool drain_put(struct pager *p, struct session *s, struct drain_batch *b,
		      const struct extent_view *want, const char *bytes, struct taddr *at,
		      bool *unreadable)
{
	struct extent_view v;

	/* Owed still, and by the same bytes?  Faults and events may have come between. */
	if (!extent_next(s->owed, *at, &v) || v.at.start.v >= want->at.end.v ||
	    v.source != want->source ||
	    v.offset - want->offset != v.at.start.v - want->at.start.v || b->nput == DRAIN_PUTS) {
		*at = want->at.end;
		return true;
	}
	v.at = range_cut(v.at, want->at);
	if (range_len(v.at) > b->hold_bytes)
		v.at.end = taddr(v.at.start.v + b->hold_bytes);
#ifdef MUTANT_no_gate
	gate_leave(&s->gate);
#else
	gate_share(&s->gate);
#endif
	phase_reach("drain-place");
	struct place_report r = place_copy(s->uffd, v.at.start, bytes + (v.offset - b->from),
					   range_len(v.at), p->page_size);
	phase_reach("drain-placed");
#ifdef MUTANT_no_gate
	gate_enter(&s->gate);
	if (!s->owed)
		return false;
#else
	gate_unshare(&s->gate);
#endif
	*unreadable = r.why == PLACE_LOST;
	if (r.done) {
		b->put[b->nput] = v;
		b->put[b->nput++].at.end = taddr(v.at.start.v + r.done);
	}
	return drain_outcome(p, s, b, &v, r, at);
}

/* Step 3. Gate entered. @unreadable: the mapping gave out. Return: bytes placed. */
static uint64_t drain_place(struct pager *p, struct session *s, struct drain_batch *b,
			    const char *bytes, bool *unreadable)
{
	struct range span = range_make(b->piece[0].at.start.v, b->piece[b->n - 1].at.end.v);
	bool narrow = range_len(span) <= 2 * DRAIN_QUIET_BYTES, go = true;
	uint64_t placed = 0;

	/* One look at the page table serves all pieces that lie near each other. */
	if (s->owed && narrow)
		session_skip_guards(p, s, span);
	for (unsigned int i = 0; go && i < b->n; i++) {
		const struct extent_view *want = &b->piece[i];
		struct taddr at = want->at.start;

		if (s->owed && !narrow)
			session_skip_guards(p, s, want->at);
		while (go && at.v < want->at.end.v) {
			go = s->owed && !s->shm->reason[0] &&
			     drain_put(p, s, b, want, bytes, &at, unreadable);
			gate_yield(&s->gate);
		}
	}
	for (unsigned int i = 0; i < b->nput; i++)
		placed += range_len(b->put[i].at);
	return placed;
}

/*
 * Give back what will not be asked for again: only what this batch has placed itself.  That nothing
 * is owed at an address any longer does not mean that nobody wants the bytes: mremap moves them.
 */
static void drain_punch(struct pager *p, struct session *s, const struct drain_batch *b)
{
	for (unsigned int i = 0; i < b->nput && !s->no_dedup && !p->adopted; i++) {
		const struct extent_view *v = &b->put[i];

		p->st->punched = 1;
		int ret = source_punch(p->sources[v->source], v->offset, range_len(v->at));

		if (ret)
			log_debug("auto-dedup: %s", strerror(-ret));
	}
}

/*
 * Step 2.  While there are faults, bytes are read into a small buffer that stays in the CPU's cache:
 * that costs a copy, but what is done in the gate gets shorter by half, and a fault waits less.
 */
static int drain_fetch(struct source *src, unsigned int lane, const struct drain_batch *b,
		       const void **bytes)
{
	static char near[DRAIN_BYTES] __attribute__((aligned(4096)));	/* the first worker's */
	uint64_t len = b->to - b->from;

	if (!b->quiet && !lane && len <= sizeof(near) && !source_fetch(src, b->from, near, len, true)) {
		*bytes = near;
		return 0;
	}
	return source_window(src, lane, b->from, len, bytes);
}

/* All is in place: make a huge page of a block that was touched before an agent could move it. */
static void drain_collapse(struct session *s)
{
	struct range at;
	bool any;

	gate_enter(&s->gate);
	any = plan_collapse(s, &at);
	s->to_collapse = any;
	gate_leave(&s->gate);
	if (!any) {
		s->ending = true;
		return;
	}
	/* What the target has done to it meanwhile, or a lack of memory, may be in the way. */
	if (!huge_collapse(s->shm->pidfd, at.start.v, range_len(at)))
		s->n->collapsed_bytes += range_len(at);
}

/* One batch of one session. Return: bytes placed. */
static uint64_t drain_turn(struct pager *p, struct session *s, unsigned int lane)
{
	struct drain_batch b;
	struct source *src;
	const void *bytes;
	uint64_t placed = 0;
	bool any, unreadable = false;
	int ret;

	if (!s->n->pending_bytes && !lane && s->to_collapse) {
		drain_collapse(s);
		if (!s->to_collapse)
			pager_kick(p->fault_kick);
		return 0;
	}
	gate_enter(&s->gate);
	any = s->owed && !s->shm->reason[0] && drain_look(p, s, &b, lane);
	gate_leave(&s->gate);
	/* What an agent is to move: faults may make some of it ours again. */
	if (!any && s->hope)
		s->rest_until_us = pager_now_us() + DRAIN_REST_US;
	if (!any)
		return 0;
	src = p->sources[b.piece[0].source];
	ret = drain_fetch(src, lane, &b, &bytes);
	if (!ret)
		ret = source_verify(src);
	if (!ret) {
		gate_enter(&s->gate);
		placed = drain_place(p, s, &b, bytes, &unreadable);
		gate_leave(&s->gate);
		ret = source_verify(src);
		if (!ret && unreadable)
			ret = -EIO;
	}
	if (!ret)
		s->failing_since_us = 0;
	else if (session_source_error(p, s, b.piece[0].source, ret))
		s->backoff_until_us = pager_now_us() + DRAIN_FAILED_US;
	if (ret)
		return placed;
	if (p->opts->auto_dedup)
		drain_punch(p, s, &b);
	return placed;
}

/* Is there anything that this worker may do, now or later? */
static bool drain_has_work(struct pager *p, struct session *s, unsigned int lane)
{
	if (!s->n->pending_bytes)
		return !lane && s->to_collapse && drain_wanted(p);
	/* The second worker comes when the order is through. */
	if (s->replay.active)
		return !lane && (drain_wanted(p) || s->replay.hot);
	return drain_wanted(p);
}

/* May the drain work on it now? */
static bool drain_ready(struct pager *p, struct session *s, uint64_t now)
{
	if (s->backoff_until_us > now || s->shm->reason[0] || (s->hope && s->rest_until_us > now))
		return false;
	/* One that has not run an instruction has no guard pages but those that the images tell of. */
	return !p->has_guards || s->pagemap_fd >= 0 || s->held || now - s->born_us > DRAIN_UNKNOWN_US;
}

/*
 * The next session in turn, with a reference; NULL when none is ready.
 * @wait: after how many microseconds one may be; 0: not by itself.
 */
static struct session *drain_pick(struct pager *p, struct session *last, unsigned int lane,
				  uint64_t *wait)
{
	uint64_t now = pager_now_us();
	struct session *s, *pick = NULL, *first = NULL;
	bool past = !last;

	*wait = 0;
	pthread_mutex_lock(&p->sessions_lock);
	TAILQ_FOREACH(s, &p->sessions, link) {
		bool work = drain_has_work(p, s, lane), ready = work && drain_ready(p, s, now);

		if (work && !ready)
			*wait = *wait == DRAIN_BACKOFF_US || s->rest_until_us <= now ?
					DRAIN_BACKOFF_US :
					DRAIN_REST_US;
		if (ready && past) {
			pick = s;
			break;
		}
		if (ready && !first)
			first = s;
		past |= s == last;
	}
	if (!pick)
		pick = first;
	if (pick)
		session_get(pick);
	pthread_mutex_unlock(&p->sessions_lock);
	return pick;
}

static struct timespec drain_deadline(uint64_t us)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_nsec += us % 1000000 * 1000;
	ts.tv_sec += us / 1000000 + ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	return ts;
}

/* The second worker's pause: ended early by nothing but the end. */
static void drain_doze(struct pager *p, uint64_t us)
{
	struct timespec ts = drain_deadline(us);

	pthread_mutex_lock(&p->drain_lock);
	while (!p->stop && !pthread_cond_timedwait(&p->drain_cond, &p->drain_lock, &ts))
		;
	pthread_mutex_unlock(&p->drain_lock);
}

static void drain_sleep(struct pager *p, uint64_t us)
{
	struct timespec ts = drain_deadline(us);

	pthread_mutex_lock(&p->drain_lock);
	if (!p->drain_work && !p->stop)
		pthread_cond_timedwait(&p->drain_cond, &p->drain_lock, &ts);
	p->drain_work = false;
	pthread_mutex_unlock(&p->drain_lock);
}

void *drain_thread(void *arg)
{
	struct pager *p = arg;
	struct session *last = NULL;
	int avoid = -1;
	bool limited = p->opts->rate_bytes_per_s || p->opts->drain_cpu_percent < 100;

	while (!p->stop) {
		struct session *s = NULL;
		uint64_t wait = 0;

		if (p->st->restored)
			s = drain_pick(p, last, 0, &wait);
		if (!s) {
			drain_sleep(p, wait ? wait : 1000000);
			continue;
		}
		if (!p->drain_started)
			phase_reach("drain-start");
		if (!atomic_exchange(&p->drain_started, true))
			agent_kick(p);
		last = s;
		if (avoid != p->fault_cpu) {
			avoid = p->fault_cpu;
			if (proc_avoid(avoid))
				log_debug("drain: cannot leave CPU %d", avoid);
		}
		if (!limited || s->replay.hot) {
			drain_turn(p, s, 0);
		} else {
			uint64_t t0 = pager_now_us();
			uint64_t bytes = drain_turn(p, s, 0);

			uint64_t now = pager_now_us(), until = pace_book(p, now - t0, bytes);

			if (until)
				drain_sleep(p, until - now);
		}
		session_put(s);
	}
	return NULL;
}

void *drain_helper_thread(void *arg)
{
	struct pager *p = arg;
	struct session *last = NULL;

	/* A test that holds the drain means all of it. */
	if (p->opts->rate_bytes_per_s || p->opts->drain_cpu_percent < 100 || phase_armed ||
	    p->ncpus < 2)
		return NULL;
	while (!p->stop) {
		bool quiet = pager_now_us() - p->fault_us > DRAIN_QUIET_US;
		struct session *s = NULL;
		uint64_t wait;

		if (p->drain_started && quiet)
			s = drain_pick(p, last, 1, &wait);
		if (!s) {
			drain_doze(p, DRAIN_QUIET_US);
			continue;
		}
		last = s;
		drain_turn(p, s, 1);
		session_put(s);
	}
	return NULL;
}
