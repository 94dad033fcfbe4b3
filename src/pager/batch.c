/* SPDX-License-Identifier: GPL-2.0-only */
/* batch: blocks on their way through the staging area of an agent. */
#include <errno.h>
#include <string.h>

#include "kapi/huge.h"
#include "kapi/pagecache.h"
#include "kapi/proc.h"
#include "pager/agent.h"
#include "pager/batch.h"
#include "pager/files.h"
#include "pager/internal.h"
#include "util/log.h"

/* A MOVE that meets an event, a page that somebody else just looks at, no memory: how soon again. */
#define BATCH_EVENT_US 200
#define BATCH_BUSY_US 1000
#define BATCH_NOMEM_US 10000
#define BATCH_TRIES 8
/* A target that has not faulted for so long does not mind a gate that is lent for longer. */
#define BATCH_QUIET_US 20000
#define BATCH_STARVED_US 100000
#define BATCH_STARVED_MAX 5
#define BATCH_REFUSED_MAX 6
/* After so many blocks in a row that came as base pages it is COPY's turn, which does that better. */
#define BATCH_SMALL_MAX 16
/* A file that the hand is to open. */
#define BATCH_FILE_US 2000
/* Where the kernel cannot be asked: a whole block that moved as one entry took less than this. */
#define BATCH_HUGE_NS 50000

static void slot_free(struct slot *sl)
{
	sl->state = SLOT_FREE;
	sl->tries = 0;
	sl->retry_us = 0;
}

/* It will not be tried again: its huge page is in pieces, or may be. */
static void slot_give_up(struct agent *a, struct slot *sl, bool touched)
{
	if (touched)
		plan_touched(a->s, sl->b.at);
	else
		plan_drop(a->s, sl->b.at);
	sl->stale = true;
	slot_free(sl);
}

/* ---- staging ---- */

/* Number of a file with this agent; it is given the descriptor first when it has not got it. */
static int batch_file(struct pager *p, struct agent *a, uint32_t key, uint32_t *number)
{
	struct agent_order o = { .op = AGENT_FILE };
	int fd = files_get(p, key), ret;

	if (fd < 0)
		return fd;
	for (unsigned int i = 0; i < a->nkeys && i < AGENT_KEYS; i++)
		if (a->key[i] == key) {
			*number = i;
			return 0;
		}
	/* More files than it may hold: the oldest is replaced. */
	o.file = a->nkeys % AGENT_KEYS;
	ret = channel_order(&a->chan, &o, fd, 0);
	if (ret)
		return ret;
	a->key[o.file] = key;
	a->nkeys++;
	if (a->nkeys == 2 * AGENT_KEYS)
		a->nkeys = AGENT_KEYS;
	*number = o.file;
	return 0;
}

/* Directly where the bytes would have to come from a device, so that they are not cached as well. */
static int batch_choose(struct pager *p, struct agent *a, const struct plan_block *b,
			uint32_t *number)
{
	int fd = source_file(p->sources[b->source]), ret;
	bool cached = true;

	for (unsigned int i = 0; cached && i < b->n; i++)
		cached = pagecache_has(fd, b->piece[i].offset, b->piece[i].len, NULL);
	if (!cached) {
		ret = batch_file(p, a, files_key(b->source, true), number);
		if (ret != -ENOENT)
			return ret;
	}
	return batch_file(p, a, files_key(b->source, false), number);
}

static int batch_fresh(struct agent *a, unsigned int slot)
{
	struct agent_order o = { .op = AGENT_FRESH, .slot = slot };
	int ret = channel_order(&a->chan, &o, -1, 0);

	if (!ret)
		a->slot[slot].stale = false;
	return ret;
}

/* The next candidate, for a slot. Return: as plan_next(). */
static int batch_plan(struct pager *p, struct agent *a, struct plan_block *out)
{
	const struct plan_block *busy[AGENT_SLOTS_MAX];
	struct session *s = a->s;
	unsigned int nbusy = 0, seq = s->hint_seq;
	int ret;

	for (unsigned int i = 0; i < a->nslots; i++)
		if (a->slot[i].state != SLOT_FREE)
			busy[nbusy++] = &a->slot[i].b;
	/* Near the faults: what follows the block that was just touched. */
	if (seq != a->hint_seen) {
		a->hint_seen = seq;
		a->cursor = s->hint_addr & ~(PLAN_BLOCK - 1);
	}
	gate_enter(&s->gate);
	ret = 0;
	if (s->owed && s->huge && s->collapse) {
		ret = replay_block(p, s, agent_may_drain(p), busy, nbusy, out);
		if (!ret && agent_may_drain(p))
			ret = plan_next(s, &a->cursor, busy, nbusy, out);
	}
	gate_leave(&s->gate);
	return ret;
}

static void batch_piece(struct agent_order *o, unsigned int slot, const struct plan_block *b)
{
	uint64_t to = slot * PLAN_BLOCK;

	for (unsigned int i = 0; i < b->n; i++) {
		o->range[o->nranges++] = (struct agent_range){ .dst = to,
							       .src = b->piece[i].offset,
							       .len = b->piece[i].len };
		to += b->piece[i].len;
	}
}

/* May so many more blocks be on their way? All agents share a budget, of one block at least. */
static bool batch_affords(struct pager *p, unsigned int more)
{
	uint64_t n = more;
	struct agent *a;

	TAILQ_FOREACH(a, &p->agents, link)
		for (unsigned int i = 0; i < a->nslots; i++)
			n += a->slot[i].state != SLOT_FREE;
	return n == 1 || n * PLAN_BLOCK <= p->opts->staging_bytes;
}

/* Fill free slots, up to a third of them, in one order. Return: 0 or -errno of the channel. */
static int batch_stage(struct pager *p, struct agent *a)
{
	unsigned int most = a->nslots > 2 ? a->nslots / 3 : 1, slots = 0, n = 0;
	struct agent_order o = { .op = AGENT_STAGE };
	uint32_t file = 0;
	int ret = 0;

	for (unsigned int i = 0; n < most && i < a->nslots; i++) {
		struct slot *sl = &a->slot[i];
		uint32_t number;

		if (sl->state != SLOT_FREE)
			continue;
		if (!batch_affords(p, n + 1)) {
			ret = -EAGAIN;
			break;
		}
		ret = batch_plan(p, a, &sl->b);
		if (ret != 1)
			break;
		ret = batch_choose(p, a, &sl->b, &number);
		if (ret == -ENOENT) {
			gate_enter(&a->s->gate);
			plan_drop(a->s, sl->b.at);
			gate_leave(&a->s->gate);
			continue;
		}
		/* Another file: the next order's. */
		if (!ret && n && (number != file || o.nranges + sl->b.n > AGENT_RANGES))
			ret = -EAGAIN;
		if (!ret && sl->stale)
			ret = batch_fresh(a, i);
		if (ret) {
			a->cursor = sl->b.at.start.v;
			break;
		}
		file = number;
		batch_piece(&o, i, &sl->b);
		slots |= 1u << i;
		n++;
	}
	if (!n) {
		if (ret == -EAGAIN)
			a->rest_us = pager_now_us() + BATCH_FILE_US;
		return ret < 0 && ret != -EAGAIN ? ret : 0;
	}
	o.file = file;
	phase_reach("agent-stage");
	ret = channel_order(&a->chan, &o, -1, slots);
	for (unsigned int i = 0; !ret && i < a->nslots; i++)
		if (slots & 1u << i)
			a->slot[i].state = SLOT_STAGING;
	return ret;
}

void batch_staged(struct pager *p, struct agent *a, const struct channel_sent *what,
		  const struct agent_answer *answer)
{
	bool whole = answer->done == what->bytes;
	uint32_t source = 0;
	int ret = 0;

	for (unsigned int i = 0; i < a->nslots; i++)
		if (what->slots & 1u << i) {
			a->slot[i].state = whole ? SLOT_FULL : SLOT_FREE;
			source = a->slot[i].b.source;
		}
	a->rest_us = pace_book(p, pager_now_us() - what->since_us, answer->done);
	/* What has been read is good if the file is still the one that was opened. */
	ret = source_verify(p->sources[source]);
	if (ret)
		session_source_error(p, a->s, source, ret);
	else if (whole)
		a->s->failing_since_us = 0;
	a->starved = whole ? 0 : a->starved;
	if (whole && !ret)
		return;
	gate_enter(&a->s->gate);
	for (unsigned int i = 0; i < a->nslots; i++) {
		if (!(what->slots & 1u << i))
			continue;
		slot_free(&a->slot[i]);
		/* Errors of the file are told, and waited for, by those who copy. */
		if (answer->error != -ENOMEM && answer->error != -EFAULT && answer->error != -EINVAL)
			plan_drop(a->s, a->slot[i].b.at);
	}
	gate_leave(&a->s->gate);
	switch (answer->error) {
	case -EINVAL:
		/* The file system knows O_DIRECT, but not of such pieces. */
		for (unsigned int i = 0; i < a->nkeys && i < AGENT_KEYS; i++)
			if (a->key[i] == files_key(source, true)) {
				files_spoil(p, a->key[i]);
				return;
			}
		agent_fail(p, a, "it cannot read the pages file");
		return;
	case -ENOMEM:
	case -EFAULT:
		a->rest_us = pager_now_us() + BATCH_STARVED_US;
		if (++a->starved > BATCH_STARVED_MAX)
			agent_fail(p, a, "there is no memory for its staging area");
		return;
	}
}

/* ---- moving ---- */

/* Gate peeked before, left after. */
static void batch_take_back(struct pager *p, struct agent *a)
{
	a->lent = false;
	gate_take_back(&a->s->gate);
	gate_leave(&a->s->gate);
	if (atomic_exchange(&a->s->gate_missed, false))
		pager_kick(p->fault_kick);
}

static bool batch_same(const struct plan_block *x, const struct plan_block *y)
{
	if (x->source != y->source || x->n != y->n)
		return false;
	for (unsigned int i = 0; i < x->n; i++)
		if (x->piece[i].offset != y->piece[i].offset || x->piece[i].len != y->piece[i].len)
			return false;
	return true;
}

static void batch_boost(struct agent *a)
{
	/* It may be of another class, or its cgroup allow no real-time: then it is as it is. */
	if (!proc_boost(a->s->shm->agent.rec.agent_pid, true))
		a->boosted_us = pager_now_us();
}

void batch_calm(struct agent *a)
{
	int ret = a->boosted_us ? proc_boost(a->s->shm->agent.rec.agent_pid, false) : 0;

	if (ret && ret != -EINVAL)
		log_warn("session %u: the agent stays in the real-time class", a->s->slot);
	a->boosted_us = 0;
}

/* Move what is full. Return: 0 or -errno of the channel. */
static int batch_move(struct agent *a, uint64_t now, bool quiet)
{
	struct agent_order o = { .op = AGENT_MOVE };
	struct session *s = a->s;
	uint32_t slots = 0;
	int ret;

	gate_enter(&s->gate);
	for (unsigned int i = 0; i < a->nslots; i++) {
		struct slot *sl = &a->slot[i];
		struct plan_block b;

		if (sl->state != SLOT_FULL || sl->retry_us > now)
			continue;
		/* Faults and events may have come between. What is staged there is read over later. */
		if (!s->owed || s->shm->reason[0] || !plan_block(s, sl->b.at.start.v, &b) ||
		    !batch_same(&b, &sl->b)) {
			slot_free(sl);
			continue;
		}
		o.range[o.nranges++] = (struct agent_range){ .dst = sl->b.at.start.v,
							     .src = i * PLAN_BLOCK,
							     .len = PLAN_BLOCK };
		slots |= 1u << i;
	}
	if (slots)
		gate_lend(&s->gate);
	a->lent = slots;
	gate_leave(&s->gate);
	if (!slots)
		return 0;
	phase_reach("agent-move");
	if (!quiet)
		batch_boost(a);
	ret = channel_order(&a->chan, &o, -1, slots);
	phase_reach("agent-ordered");
	/* Not sent, as far as we know: the agent is ended, and the gate comes back after that. */
	for (unsigned int i = 0; i < a->nslots; i++)
		if (slots & 1u << i)
			a->slot[i].state = SLOT_MOVING;
	return ret;
}

/* *@known: the kernel has said so; else it is a guess, from the time that the move took. */
static bool batch_came_huge(struct agent *a, const struct slot *sl, uint64_t ns, bool *known)
{
	uint64_t bytes;
	int ret = -ENOTTY;

	if (a->pagemap_fd >= 0)
		ret = huge_bytes(a->pagemap_fd, sl->b.at.start.v, sl->b.at.end.v, &bytes);
	*known = !ret;
	return ret ? ns < BATCH_HUGE_NS : bytes == PLAN_BLOCK;
}

/* A block whose move was stopped by an error. Gate peeked. */
static void batch_stopped(struct agent *a, struct slot *sl, uint64_t done, int error, uint64_t now)
{
	struct session *s = a->s;
	uint64_t again = error == -EAGAIN ? BATCH_EVENT_US :
			 error == -EBUSY  ? BATCH_BUSY_US :
			 error == -ENOMEM ? BATCH_NOMEM_US :
					    0;

	sl->state = SLOT_FULL;
	/* An event stands in the way, somebody looks at a page, no memory: that passes. */
	if (!done && again && sl->tries++ < BATCH_TRIES) {
		sl->retry_us = now + again;
		return;
	}
	log_debug("session %u: agent: %#llx: %s after %llu bytes", s->slot,
		  (unsigned long long)sl->b.at.start.v, strerror(-error), (unsigned long long)done);
	/*
	 * A page stands there (EEXIST), or no VMA does (ENOENT): whoever copies page by page finds
	 * out which.  A VMA of a kind that MOVE does not work on (EINVAL) is likely to be larger than
	 * one block.
	 */
	if (error == -EINVAL && !done) {
		uint64_t start = sl->b.at.start.v;

		plan_drop(s, range_make(start, start + (PLAN_BLOCK << 2 * a->refused)));
		a->refused++;
	}
	slot_give_up(a, sl, done || error == -EEXIST);
}

void batch_moved(struct pager *p, struct agent *a, const struct channel_sent *what,
		 const struct agent_answer *answer)
{
	struct session *s = a->s;
	bool huge[AGENT_SLOTS_MAX] = { false }, known = false;
	uint64_t left = answer->done, now = pager_now_us(), share;
	bool stopped = false;

	batch_calm(a);
	share = left >= PLAN_BLOCK ? answer->value / (left / PLAN_BLOCK) : answer->value;
	for (unsigned int i = 0; i < a->nslots && left >= PLAN_BLOCK; i++)
		if (what->slots & 1u << i) {
			huge[i] = batch_came_huge(a, &a->slot[i], share, &known);
			left -= PLAN_BLOCK;
		}
	left = answer->done;
	phase_reach("agent-moved");
	gate_peek(&s->gate);
	for (unsigned int i = 0; i < a->nslots; i++) {
		struct slot *sl = &a->slot[i];
		uint64_t start = sl->b.at.start.v, n = left < PLAN_BLOCK ? left : PLAN_BLOCK;

		if (!(what->slots & 1u << i))
			continue;
		left -= n;
		if (n)
			session_placed(p, s, range_make(start, start + n),
				       huge[i] ? &s->n->moved_huge_bytes : &s->n->moved_base_bytes);
		if (n == PLAN_BLOCK) {
			a->refused = 0;
			/* A guess is no reason to give the agent up; collapsing comes to the block. */
			a->small = huge[i] || !known ? 0 : a->small + 1;
			sl->stale = !huge[i];
			if (huge[i])
				plan_drop(s, sl->b.at);
			else
				plan_touched(s, sl->b.at);
			slot_free(sl);
			continue;
		}
		/* Those behind the one that stopped it have not been tried. */
		if (!stopped)
			batch_stopped(a, sl, n, answer->error, now);
		else
			sl->state = SLOT_FULL;
		stopped = true;
	}
	batch_take_back(p, a);
	if (a->refused > BATCH_REFUSED_MAX)
		agent_fail(p, a, "its memory is of a kind that UFFDIO_MOVE refuses");
	else if (a->small > BATCH_SMALL_MAX)
		agent_fail(p, a, "the kernel gives it no huge pages");
}

/* ---- both ---- */

void batch_feed(struct pager *p, struct agent *a, uint64_t now)
{
	bool quiet = now - a->s->hint_us > BATCH_QUIET_US;
	int ret = 0;

	if (a->step != STEP_WORK)
		return;
	if (!a->lent && (quiet || !a->chan.n) && a->chan.n < CHANNEL_ORDERS)
		ret = batch_move(a, now, quiet);
	if (!ret && channel_pending(&a->chan, AGENT_STAGE) < (quiet ? 2 : 1) &&
	    (a->rest_us <= now || p->st->finish) && !a->s->agent_leaving &&
	    !a->s->shm->reason[0] && (agent_may_drain(p) || a->s->replay.agent_hot))
		ret = batch_stage(p, a);
	if (ret && ret != -EBUSY)
		agent_fail(p, a, "its channel: %s", strerror(-ret));
}

void batch_lost(struct pager *p, struct agent *a)
{
	struct session *s = a->s;

	for (unsigned int i = 0; i < a->nslots; i++)
		slot_free(&a->slot[i]);
	if (!a->lent)
		return;
	gate_peek(&s->gate);
	batch_take_back(p, a);
}

uint64_t batch_next_us(const struct agent *a)
{
	uint64_t next = a->rest_us ? a->rest_us : UINT64_MAX;

	if (a->boosted_us && a->boosted_us + BATCH_BOOST_US < next)
		next = a->boosted_us + BATCH_BOOST_US;
	for (unsigned int i = 0; i < a->nslots; i++)
		if (a->slot[i].state == SLOT_FULL && a->slot[i].retry_us < next)
			next = a->slot[i].retry_us;
	return next;
}
