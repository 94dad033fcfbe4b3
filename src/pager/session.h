/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * session: one address space that is owed bytes.
 *
 * Theory of operation
 * -------------------
 * A session is {uffd, extents, gate} and a slot of the shared table for what must survive.
 *
 * Who touches what
 *	fault thread	the only reader of the uffd; applies events; ends sessions
 *	drain, urgent	look up and place, under the gate
 *	control thread	opens sessions, finds out pids, reads counters
 *
 * Life: session_open() or session_adopt() (control thread), or a FORK event (fault thread);
 * session_end() by the fault thread once nothing is owed and criu has said that all tasks are in
 * place, or once the address space is gone.  The uffd is closed only there, after the slot says
 * that the session is over: a successor closes what is over and keeps what is not.
 *
 * Extents under the gate; the list under pager->sessions_lock; a session is freed when its last
 * reference goes (session_put).
 */
#ifndef PAGER_SESSION_H
#define PAGER_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "core/extent.h"
#include "pager/gate.h"
#include "pager/state.h"
#include "pager/trace.h"
#include "place/place.h"
#include "source/source.h"

struct pager;

/* A fault that could not be answered at once. */
struct waiting_fault {
	struct taddr addr;	/* page start */
	uint64_t since_us;	/* when its message was read */
};

#define SESSION_WIPES_MAX 256
#define SESSION_DEFER_MAX 256

struct session {
	TAILQ_ENTRY(session) link;
	atomic_int refs;
	uint32_t slot;			/* index in the shared table */
	struct session_slot *shm;
	struct session_counters *n;	/* in the slot; elsewhere while a log is replayed */
	bool ghost;			/* ended before; replayed only for the sake of its children */
	int uffd;
	struct gate gate;

	/* Under the gate. */
	struct extent_tree *owed;	/* NULL once ended */
	uint32_t waiting;		/* faults read and not answered */
	uint64_t waiting_since_us;

	/* WIPEONFORK ranges as last seen; fault thread (and opener before it is published). */
	struct range wipe[SESSION_WIPES_MAX];
	unsigned int nwipes;

	/* Fault thread only. */
	struct waiting_fault deferred[SESSION_DEFER_MAX];
	unsigned int ndeferred;
	bool parked;			/* not listened to: its gate is lent */
	uint64_t answered_us;
	unsigned int streak;		/* faults that followed hard upon an answer */
	_Atomic uint32_t around_bytes;	/* faults come so fast that neighbours come along; 0: no */

	/* Drain workers, each its own; hint_seen the first one's. */
	uint64_t cursor[SOURCE_LANES];
	unsigned int hint_seen;
	_Atomic uint64_t backoff_until_us;
	_Atomic uint64_t rest_until_us;	/* all that is owed is the agent's to move */

	_Atomic uint64_t failing_since_us;	/* source errors that may pass; 0: none */

	/* Fault thread tells drain where the target is. */
	_Atomic uint64_t hint_addr;
	_Atomic uint64_t hint_us;	/* when */
	atomic_uint hint_seq;

	/* The agent; see agent.h. */
	struct extent_tree *huge;	/* under the gate: see plan.h */
	bool collapses;			/* that is wanted */
	atomic_bool to_collapse;	/* something may be there */
	struct extent_tree *collapse;	/* likewise: to be made huge when all is in place */
	_Atomic uint32_t hope;		/* enum agent_hope */
	atomic_bool agent_new;		/* the agents' thread has yet to begin with it */
	bool agent_settle;
	atomic_bool agent_leaving;	/* no agent is wanted any longer */
	uint64_t hope_us;		/* control thread only: since when */
	uint64_t cure_since_us;		/* likewise */
	atomic_bool cure_waits;		/* for a debugger: the session does not */

	/* Set by the fault thread that found the gate lent; who takes it back clears it and kicks. */
	atomic_bool gate_missed;
	struct replay replay;

	atomic_bool ending;		/* fault thread should look whether it is over */
	atomic_bool held;		/* its task is stopped, the plugin waits for our word */
	bool told;			/* control thread only: the plugin has nothing more to say of it */
	atomic_bool no_dedup;		/* forked: bytes are wanted more than once */
	_Atomic int pagemap_fd;		/* -1 until the pid is known */
	uint64_t born_us;
	struct range *vma;		/* control thread only; until session_register() */
	unsigned int nvmas;
	unsigned int identify_tries;	/* control thread only */
	pid_t guess;			/* control thread only; 0: none */
	int guess_fd;			/* its pidfd */
	bool kill_logged;		/* control thread only */
};

TAILQ_HEAD(session_list, session);

/* What the images say of one task. */
struct session_image {
	const struct pager *pager;
	const struct order *was_huge;	/* at the dump; NULL: not known, or it does not count */
	struct extent_tree *owed;
	struct range wipe[SESSION_WIPES_MAX];	/* WIPEONFORK */
	unsigned int nwipes;
	struct range *huge;	/* what should have huge pages; caller frees */
	unsigned int nhuge;
	struct range *vma;	/* all that criu can make lazy; caller frees */
	unsigned int nvmas;
};

/*
 * session_new - a session on table slot @slot, not yet published.
 * @owed: its extents; belongs to the session from here on, also on failure.
 * Return: the session with one reference, or NULL when memory is out.
 */
struct session *session_new(struct pager *p, uint32_t slot, struct extent_tree *owed);

/* session_new_loaded - session_new() with what an image says; takes over all of @img. */
struct session *session_new_loaded(struct pager *p, uint32_t slot, struct session_image *img);

static inline struct session *session_get(struct session *s)
{
	s->refs++;
	return s;
}

void session_put(struct session *s);

/*
 * session_snapshot - the sessions of this moment, each with a reference, for threads that want to
 * take gates: a gate is never taken under sessions_lock (a FORK event publishes under a gate).
 * Return: how many; *@out is for the caller to free, after session_put() on each.
 */
unsigned int session_snapshot(struct pager *p, struct session ***out);

/*
 * session_publish - let fault and drain thread see it; takes over the caller's reference.
 * While a log is replayed it is only put on the list; session_wake_up() does the rest.
 * Return: 0, or -errno and the target is being killed.
 */
int session_publish(struct pager *p, struct session *s);
/* session_wake_up - after a replay: drop the ghosts, watch the others, raise their faults again. */
int session_wake_up(struct pager *p);

/* session_load - read what the images owe to @vpid. Return: 0 and *@out, or -errno, logged. */
int session_load(struct pager *p, uint32_t vpid, struct session_image *out);

/*
 * session_register - see to it that every VMA in which bytes are owed is registered.
 * To be called when all VMAs have their final places and no task runs yet: criu leaves out a VMA
 * whose temporary and final address coincide, and its missing pages would read as zeros.
 */
void session_register(struct pager *p, struct session *s);

/*
 * session_apply - carry out one event on the extents.  Gate held by the fault thread, or nobody
 * else alive (replay).
 * @seq: place of the event in the log, names a forked child.
 * Return: 0 or -errno; -ENOMEM leaves the extents unchanged.
 */
int session_apply(struct pager *p, struct session *s, const struct uffd_msg *msg, uint64_t seq);

/* session_forget - nothing in @at is owed any longer (no page will come). Gate held. */
int session_forget(struct session *s, struct range at);

/*
 * session_placed - book @done bytes placed at @at.start. Gate held.
 * @counter: which path did it.
 */
void session_placed(struct pager *p, struct session *s, struct range at, _Atomic uint64_t *counter);

/*
 * session_place_zero - answer a fault where nothing is owed. Gate held.
 * Return: what place_zero() said; PLACE_ALREADY and PLACE_NOWHERE were woken.
 */
enum place_why session_place_zero(struct pager *p, struct session *s, struct taddr page);

/* session_wait_begin/end - a fault begins or ends to wait. Gate held. */
void session_wait_begin(struct session *s, uint64_t now_us);
void session_wait_end(struct session *s, uint64_t since_us, uint64_t now_us);

/*
 * session_skip_guards - drop what lies under guard pages in @at from the extents. Gate held.
 * A guard says that the target has discarded the bytes; COPY would delete it.
 */
void session_skip_guards(struct pager *p, struct session *s, struct range at);

/*
 * session_kill - its bytes are lost: end the target rather than let it read zeros.
 * Any thread; @why is one line for a person.
 */
void session_kill(struct pager *p, struct session *s, const char *why);

/*
 * session_source_error - a source could not be read. Any thread, no gate needed.
 * A changed or truncated file is lost at once, other errors when they last --lost-after.
 * Return: whether to try again after a while; false: the target is being killed.
 */
bool session_source_error(struct pager *p, struct session *s, uint32_t source, int error);

/*
 * session_end - close the uffd and mark the slot. Fault thread only.
 * Return: false: its gate is lent, try again later.
 */
bool session_end(struct pager *p, struct session *s, enum session_state how);

#endif
