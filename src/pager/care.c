/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * care: having agents placed, and targets cured of them.
 *
 * All that takes ptrace is done by the hand; here is decided when.  An agent is placed late when the
 * plugin has placed none: once the tasks run, the process is known, and there are blocks that only
 * an agent brings in whole.  Until it is there the drain leaves these alone, for HOPE_US at most.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kapi/huge.h"
#include "kapi/proc.h"
#include "pager/agent.h"
#include "pager/files.h"
#include "pager/hand.h"
#include "pager/internal.h"
#include "pager/plan.h"
#include "util/log.h"

#define HOPE_US 5000000
#define PATIENCE_MS 2000
/* A target that somebody traces is not cured now; the session ends without after so long. */
#define CURE_AGAIN_US 100000
#define CURE_WAIT_US 2000000
#define CURE_TRIES_MAX 100	/* with nothing else left to do */

#define MADV_BIT_HUGEPAGE (1ull << 14)
#define MADV_BIT_NOHUGEPAGE (1ull << 15)

bool care_wants_huge(const struct pager *p, uint64_t madv)
{
	if (p->opts->thp == PAGER_THP_NEVER || madv & MADV_BIT_NOHUGEPAGE)
		return false;
	return p->opts->thp == PAGER_THP_ALWAYS || madv & MADV_BIT_HUGEPAGE || p->huge_always;
}

bool care_lets_huge(uint64_t madv)
{
	return !(madv & MADV_BIT_NOHUGEPAGE);
}

void care_begin(struct pager *p, struct session *s)
{
	struct agent_slot *sl = &s->shm->agent;
	struct extent_view v;

	s->collapses = p->opts->collapse;
	if (s->ghost || sl->life != AGENT_NONE)
		return;
	if (!p->opts->agent)
		agent_why(s, "not wanted");
	else if (!p->has_move)
		agent_why(s, "this kernel has no UFFDIO_MOVE");
	else if (s->shm->birth != BIRTH_CRIU)
		agent_why(s, "forked from a restored process");
	else if (!plan_any(s))
		agent_why(s, "nothing to bring in as huge pages");
	else
		s->hope = HOPE_SOON;
	s->hope_us = pager_now_us();
	if (s->hope == HOPE_SOON && plan_any(s) && extent_next(s->huge, taddr(0), &v) &&
	    extent_next(s->owed, v.at.start, &v))
		files_get(p, files_key(v.source, false));
}

static struct session *care_session(struct pager *p, uint32_t slot)
{
	struct session *s;

	pthread_mutex_lock(&p->sessions_lock);
	TAILQ_FOREACH(s, &p->sessions, link)
		if (s->slot == slot && !s->ghost)
			break;
	if (s)
		session_get(s);
	pthread_mutex_unlock(&p->sessions_lock);
	return s;
}

void care_adopt(struct pager *p)
{
	for (uint32_t i = 0; i < p->st->nslots; i++) {
		struct agent_slot *sl = &p->st->session[i].agent;
		struct session *s = care_session(p, i);

		/* The answers were for the dead one; what was placed has left its record. */
		if (sl->life == AGENT_PLACING)
			sl->life = sl->rec.pid ? AGENT_OVER : AGENT_NONE;
		if (sl->life == AGENT_CURING || (sl->life == AGENT_THERE && !s))
			sl->life = AGENT_OVER;
		if (sl->life == AGENT_THERE) {
			s->hope = HOPE_SOON;
			agent_enter(p, s, true);
		}
		if (s)
			session_put(s);
	}
}

/* No agent for this session. */
static void care_without(struct pager *p, struct session *s, const char *why)
{
	agent_why(s, "%s", why);
	if (s->hope == HOPE_SOON)
		s->hope = HOPE_NONE;
	pager_kick_drain(p);
	pager_kick(p->fault_kick);
	log_info("session %u: no agent: %s", s->slot, why);
}

/* ---- placing ---- */

static void care_place(struct pager *p, struct session *s, uint64_t now)
{
	struct agent_slot *sl = &s->shm->agent;
	struct hand_request rq = { .op = HAND_PLACE,
				   .flags = HAND_F_TRACED,
				   .cookie = s->slot,
				   .pid = s->shm->pid,
				   .nslots = p->opts->agent_slots,
				   .patience_ms = PATIENCE_MS };
	uint64_t since;
	int ret;

	if (s->hope != HOPE_SOON || sl->life != AGENT_NONE || !p->st->restored)
		return;
	since = s->hope_us > p->restored_us ? s->hope_us : p->restored_us;
	if (now - since > HOPE_US) {
		care_without(p, s, "it could not be placed in time");
		return;
	}
	if (s->shm->pid <= 0) {
		if (s->identify_tries >= IDENTIFY_TRIES)
			care_without(p, s, "the process is not known");
		return;
	}
	rq.pid_start = proc_start_time(s->shm->pid);
	/* The hand writes it as soon as there is an agent. */
	memset(&sl->rec, 0, sizeof(sl->rec));
	sl->life = AGENT_PLACING;
	/* It may just have become pointless: see agent_over(). */
	ret = s->agent_leaving ? -ECANCELED : hand_ask(p->st, &rq, -1);
	if (!ret)
		return;
	sl->life = AGENT_NONE;
	if (ret == -ECANCELED)
		care_without(p, s, "all was in place before");
}

/* Has a worker of the hand that was killed taken the target along?  That is a loss, and named. */
static bool care_died(struct pager *p, struct session_slot *slot, const struct hand_answer *a)
{
	if (a->error != -EOWNERDEAD || !(a->flags & HAND_A_ENDED))
		return false;
	log_err("%s (image pid %d)", a->text, slot->vpid);
	if (!slot->reason[0])
		snprintf(slot->reason, sizeof(slot->reason), "%.100s", a->text);
	p->st->failed = 1;
	/* Who ends the session looks at the reason; it may have done so before. */
	if (state_slot_is(slot, SESSION_DONE) || state_slot_is(slot, SESSION_GONE))
		slot->state = SESSION_KILLED;
	return true;
}

static void care_placed(struct pager *p, const struct hand_answer *a, int fd)
{
	struct session_slot *slot = &p->st->session[a->cookie];
	struct session *s = care_session(p, a->cookie);

	if (!a->error && fd >= 0 && slot->agent.life == AGENT_PLACING) {
		slot->agent.rec = a->record;
		slot->agent.chan_fd = fd;
		slot->agent.why[0] = '\0';
		/* The session may be over; the agent is not. */
		slot->agent.life = s ? AGENT_THERE : AGENT_OVER;
		if (s) {
			log_info("session %u: agent %d placed in process %d within %u us", s->slot,
				 a->record.agent_pid, a->record.pid, a->us);
			agent_enter(p, s, false);
		}
		fd = -1;
	} else if (slot->agent.life == AGENT_PLACING) {
		/* A worker that was killed has left on record what it had placed. */
		bool left = !care_died(p, slot, a) && slot->agent.rec.pid;

		slot->agent.life = left ? AGENT_OVER : AGENT_NONE;
		if (s)
			care_without(p, s, a->text);
	}
	if (fd >= 0)
		close(fd);
	if (s)
		session_put(s);
}

int agent_arrived(struct pager *p, struct session *s, const struct inject_record *rec, int chan_fd)
{
	struct agent_slot *sl = &s->shm->agent;

	if (sl->life != AGENT_NONE) {
		bool same = sl->rec.agent_pid == rec->agent_pid &&
			    sl->rec.agent_start == rec->agent_start;

		/* A successor hears once more, of the same descriptor, what a dead pager has heard. */
		if (!same || chan_fd != sl->chan_fd)
			close(chan_fd);
		return same ? 0 : -EEXIST;
	}
	sl->rec = *rec;
	sl->chan_fd = chan_fd;
	sl->why[0] = '\0';
	sl->life = AGENT_THERE;
	s->hope = HOPE_SOON;
	agent_enter(p, s, false);
	return 0;
}

void agent_refused(struct pager *p, struct session *s, const char *why, bool late)
{
	if (s->hope != HOPE_SOON || !late)
		care_without(p, s, why);
}

/* ---- curing ---- */

static bool care_cure(struct pager *p, uint32_t slot, uint64_t now)
{
	struct agent_slot *sl = &p->st->session[slot].agent;
	struct hand_request rq = { .op = HAND_CURE,
				   .cookie = slot,
				   .patience_ms = 0,
				   .record = sl->rec };
	int ret;

	if (sl->life != AGENT_OVER)
		return sl->life == AGENT_CURING || sl->life == AGENT_PLACING;
	if (p->cure_us > now)
		return true;
	if (sl->chan_fd >= 0) {
		close(sl->chan_fd);
		sl->chan_fd = -1;
	}
	/* The worker that had placed it for a dead pager has taken it out itself. */
	if (!sl->rec.pid) {
		sl->life = AGENT_NONE;
		pager_kick(p->fault_kick);
		return false;
	}
	sl->life = AGENT_CURING;
	ret = hand_ask(p->st, &rq, -1);
	if (!ret)
		return true;
	sl->life = AGENT_OVER;
	p->cure_us = now + CURE_AGAIN_US;
	if (!hand_lost(p->st))
		return true;
	log_warn("session %u: process %d keeps what is left of its agent: nobody here has the right "
		 "to take it out", slot, sl->rec.pid);
	memset(&sl->rec, 0, sizeof(sl->rec));
	sl->life = AGENT_NONE;
	pager_kick(p->fault_kick);
	return false;
}

/* Somebody traces the process, or it cannot be stopped: later again, but the session does not wait. */
static void care_later(struct pager *p, struct agent_slot *sl, struct session *s, const char *why)
{
	uint64_t now = pager_now_us();

	sl->life = AGENT_OVER;
	p->cure_us = now + CURE_AGAIN_US;
	if (s && !s->cure_since_us)
		s->cure_since_us = now;
	if (s && !s->cure_waits && now - s->cure_since_us > CURE_WAIT_US) {
		s->cure_waits = true;
		log_warn("session %u: process %d keeps its dead agent for now: %s", s->slot,
			 sl->rec.pid, why);
	}
	if (s || p->nsessions || ++p->cure_tries < CURE_TRIES_MAX)
		return;
	log_warn("process %d keeps its dead agent, a zombie, until it ends: %s", sl->rec.pid, why);
	snprintf(sl->why, sizeof(sl->why), "its remains are still there: %.80s", why);
	sl->life = AGENT_NONE;
}

static void care_cured(struct pager *p, const struct hand_answer *a)
{
	struct agent_slot *sl = &p->st->session[a->cookie].agent;
	struct session *s = care_session(p, a->cookie);
	bool gone = !a->error || a->error == -ESRCH || a->error == -ENOENT ||
		    care_died(p, &p->st->session[a->cookie], a);

	if (sl->life == AGENT_CURING && gone) {
		if (!a->error)
			log_info("session %u: process %d cured of its agent within %u us",
				 (uint32_t)a->cookie, sl->rec.pid, a->us);
		memset(&sl->rec, 0, sizeof(sl->rec));
		sl->life = AGENT_NONE;
	} else if (sl->life == AGENT_CURING) {
		care_later(p, sl, s, a->text);
	}
	if (s) {
		s->ending = true;
		session_put(s);
	}
	pager_kick(p->fault_kick);
}

/* ---- both ---- */

bool care_look(struct pager *p)
{
	uint64_t now = pager_now_us();
	struct session **list;
	bool busy = false;
	unsigned int n;

	files_look(p);
	n = p->opts->agent ? session_snapshot(p, &list) : 0;
	for (unsigned int i = 0; i < n; i++) {
		care_place(p, list[i], now);
		busy |= list[i]->hope == HOPE_SOON;
		session_put(list[i]);
	}
	if (n)
		free(list);
	for (uint32_t i = 0; i < p->st->nslots; i++)
		busy |= p->st->session[i].agent.life != AGENT_NONE && care_cure(p, i, now);
	return busy;
}

void agent_answered(struct pager *p, const struct hand_answer *a, int fd)
{
	switch (a->op) {
	case HAND_READONLY:
		files_answered(p, a, fd);
		return;
	case HAND_PLACE:
		if (a->cookie < STATE_SESSIONS)
			care_placed(p, a, fd);
		return;
	case HAND_CURE:
		if (a->cookie < STATE_SESSIONS)
			care_cured(p, a);
		return;
	}
}
