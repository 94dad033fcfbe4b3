/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * event: what a target does to its own address space, applied to what it is owed.
 *
 *	REMOVE	contents discarded: nothing is owed there; the VMA stays registered, so later
 *		faults come to us and are answered with zeros
 *	UNMAP	the range is gone; faults that had waited there are woken and find no VMA
 *	REMAP	what was owed at the old place is owed at the new one
 *	FORK	the child is owed what the parent is owed at this moment.  Pages in place in the
 *		parent are shared with the child by the kernel; pages in flight will find the event
 *		in their way (EAGAIN) and are still owed to both.  WIPEONFORK ranges are empty in
 *		the child.
 *
 * A fork event is replayed after a death of the pager.  The child's table slot remembers the
 * event's place in the log (birth_seq), so that it is not born twice, and the WIPEONFORK ranges
 * are noted in the log when the event is first applied, since they can change afterwards.
 */
#include <errno.h>
#include <string.h>

#include "pager/internal.h"
#include "util/log.h"

/* The slot of a child that an earlier incarnation already knew. */
static int event_slot_of(const struct pager *p, uint64_t seq)
{
	for (uint32_t i = 0; i < p->st->nslots; i++) {
		const struct session_slot *slot = &p->st->session[i];

		if (!state_slot_is(slot, SESSION_FREE) && slot->birth == BIRTH_FORK &&
		    slot->birth_seq == seq)
			return i;
	}
	return -ENOENT;
}

/* A new slot for a child: filled before its state says that it is in use. */
static int event_slot_new(struct pager *p, struct session *parent, int uffd, uint64_t seq)
{
	int slot;

	pthread_mutex_lock(&p->table_lock);
	slot = state_slot_take(p->st);
	if (slot >= 0) {
		struct session_slot *sl = &p->st->session[slot];

		sl->birth = BIRTH_FORK;
		sl->birth_seq = seq;
		sl->parent = parent->slot;
		sl->root_vpid = parent->shm->root_vpid;
		sl->uffd = uffd;
		atomic_store_explicit(&sl->state, SESSION_OPEN, memory_order_release);
	}
	pthread_mutex_unlock(&p->table_lock);
	return slot;
}

/* Note in the log which ranges are empty in the child, or find them there when replaying. */
static int event_wipes(struct pager *p, struct session *parent, uint32_t slot)
{
	int pid = parent->shm->pid;

	if (journal_find_wipes(p, slot, parent))
		return 0;
	/* The parent's own VMAs say it best; without a pid the last ones known must do. */
	if (pid > 0) {
		int n = target_read_wipes(pid, parent->wipe, SESSION_WIPES_MAX);

		if (n == -E2BIG)
			return n;
		if (n >= 0)
			parent->nwipes = n;
		else
			log_warn("session %u: cannot read WIPEONFORK ranges of %d: %s",
				 parent->slot, pid, strerror(-n));
	}
	journal_queue_wipes(p, slot, parent);
	return 0;
}

static int event_fork(struct pager *p, struct session *s, int uffd, uint64_t seq)
{
	int slot = p->adopted ? event_slot_of(p, seq) : -ENOENT;

#ifdef MUTANT_no_fork
	return 0;
#endif
	if (slot < 0)
		slot = event_slot_new(p, s, uffd, seq);
	if (slot < 0) {
		log_err("more than %u address spaces in one restore", STATE_SESSIONS);
		return slot;
	}
	bool too_many = event_wipes(p, s, slot) == -E2BIG;

	struct extent_tree *owed = extent_clone(s->owed);

	if (!owed)
		return -ENOMEM;
	struct session *child = session_new(p, slot, owed);

	if (!child)
		return -ENOMEM;
	for (unsigned int i = 0; i < s->nwipes; i++) {
		if (session_forget(child, s->wipe[i])) {
			session_put(child);
			return -ENOMEM;
		}
		child->wipe[child->nwipes++] = s->wipe[i];
	}
	s->no_dedup = true;
	child->no_dedup = true;
	log_info("session %u: forked; child is session %d, uffd %d, owed %llu bytes", s->slot, slot,
		 uffd, (unsigned long long)extent_pending(child->owed));
	if (too_many)
		session_kill(p, child, "its parent had too many ranges that a child does not get");
	/* When that fails the child is being killed; the parent is well. */
	if (session_publish(p, child))
		return 0;
	pager_kick(p->control_kick);
	return 0;
}

int session_apply(struct pager *p, struct session *s, const struct uffd_msg *msg, uint64_t seq)
{
	struct session_counters *n = s->n;
	int ret = 0;

	switch (msg->event) {
	case UFFD_EVENT_FORK:
		n->events_fork++;
		ret = event_fork(p, s, msg->arg.fork.ufd, seq);
		break;
	case UFFD_EVENT_REMAP: {
		struct taddr from = taddr(msg->arg.remap.from), to = taddr(msg->arg.remap.to);
		uint64_t len = msg->arg.remap.len;
		int64_t moved = 0;

		n->events_remap++;
		log_debug("session %u: remap %#llx -> %#llx, %llu bytes", s->slot,
			  (unsigned long long)from.v, (unsigned long long)to.v,
			  (unsigned long long)len);
#ifndef MUTANT_no_remap
		moved = extent_remap(s->owed, from, to, len);
#endif
		if (moved < 0)
			ret = moved;
		n->pending_bytes = extent_pending(s->owed);
		place_wake(s->uffd, range_make(from.v, from.v + len));
		break;
	}
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP: {
		struct range at = range_make(msg->arg.remove.start, msg->arg.remove.end);

		if (msg->event == UFFD_EVENT_REMOVE)
			n->events_remove++;
		else
			n->events_unmap++;
		log_debug("session %u: %s %#llx-%#llx", s->slot,
			  msg->event == UFFD_EVENT_REMOVE ? "remove" : "unmap",
			  (unsigned long long)at.start.v, (unsigned long long)at.end.v);
#ifdef MUTANT_no_remove
		if (msg->event == UFFD_EVENT_REMOVE)
			break;
#endif
#ifdef MUTANT_no_unmap
		if (msg->event == UFFD_EVENT_UNMAP)
			break;
#endif
		ret = session_forget(s, at);
		place_wake(s->uffd, at);
		break;
	}
	default:
		log_err("session %u: unknown userfaultfd event %#x", s->slot, msg->event);
		ret = -ENOTSUP;
	}
	if (!extent_count(s->owed)) {
		s->ending = true;
		pager_kick(p->fault_kick);
	}
	return ret;
}
