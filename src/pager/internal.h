/* SPDX-License-Identifier: GPL-2.0-only */
/* internal: the pager process's own context, shared by its threads. */
#ifndef PAGER_INTERNAL_H
#define PAGER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "image/image.h"
#include "pager/batch.h"
#include "pager/pager.h"
#include "pager/phase.h"
#include "pager/session.h"
#include "pager/state.h"
#include "source/source.h"

#define AROUND_BYTES (64u << 10)	/* placed along with a fault when faults are many */
#define AROUND_MAX_BYTES (128u << 10)

/* See pace.c. */
struct pace {
	pthread_mutex_t lock;
	uint64_t start_us;
	uint64_t bytes;
	uint64_t busy_us;
};

#define CONTROL_WAITERS 16
struct pager {
	struct state *st;
	const struct pager_opts *opts;
	uint64_t page_size;

	struct image_set *images;
	struct trace *trace;		/* what is known of the tasks; NULL: nothing */
	int trace_error;		/* why it could not be read, 0: it could, or there is none */
	struct recorder *recorder;		/* NULL: nothing is recorded */
	bool record_goes_on;		/* a dead pager has written a part of this run */
	struct source *sources[STATE_SOURCES];

	pthread_mutex_t sessions_lock;
	struct session_list sessions;
	atomic_uint nsessions;		/* on the list */

	pthread_mutex_t table_lock;	/* session slots being taken */

	int fault_epfd;
	int fault_kick;			/* eventfd: look at endings and at stop */
	int control_kick;		/* eventfd: the control thread should look around */
	pthread_mutex_t drain_lock;	/* with drain_cond: there may be work */
	pthread_cond_t drain_cond;
	bool drain_work;
	atomic_bool drain_started;
	struct pace pace;
	_Atomic uint64_t hot_until_us;	/* 0: the tasks are not in place yet */
	uint64_t hot_left;		/* bytes of --hot-budget; first drain worker */
	atomic_int fault_cpu;		/* where the fault thread is pinned, -1: nowhere */
	_Atomic uint64_t fault_us;	/* when a target last faulted on owed bytes */

	/* Agents. */
	bool has_move;			/* this kernel knows UFFDIO_MOVE */
	bool huge_always;		/* the system gives huge pages to all memory */
	int agent_epfd;
	int agent_kick;			/* eventfd: the agents' thread should look around */
	struct agent_list agents;	/* that thread's */
	atomic_uint nagents;
	_Atomic int32_t file[2 * STATE_SOURCES];	/* files.c */
	atomic_bool files_wanted;
	uint64_t cure_us;		/* control thread: no cure before */
	unsigned int cure_tries;	/* likewise: in vain, since the last session ended */

	atomic_bool stop;		/* threads leave at the next quiet moment */
	atomic_bool lost;		/* some target was not served */
	bool has_guards;		/* this kernel knows guard pages */
	bool adopted;			/* a successor: what is placed is not known */
	bool replaying;
	bool link_broken;		/* criu's stream makes no sense any more */
	bool condemned;			/* the restore cannot succeed: its tasks must not run */
	int waiter_fd[CONTROL_WAITERS];	/* control thread: connections that asked "wait" */
	unsigned int nwaiters;
	uint64_t restored_us;		/* when criu said so, or a predecessor was replaced */
	/* Control thread: what the plugin waits for. */
	uint32_t wire_op;		/* the answer, 0: not known yet */
	struct session *wire_session;	/* its task's; we have a reference */

	/* Fault thread only. */
	unsigned int ncpus;
	unsigned int follow_faults;
	uint64_t follow_us;

	/* Fault thread (or replay) only: the journal. */
	uint32_t log_tail;		/* next free slot of the log half in force */
	unsigned int nwipe_queue;
	struct uffd_msg wipe_queue[2 * (SESSION_WIPES_MAX + 1)];
};

static inline uint64_t pager_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ull + ts.tv_nsec / 1000;
}

static inline struct taddr pager_page(const struct pager *p, uint64_t addr)
{
	return taddr(addr & ~(p->page_size - 1));
}

void pager_kick(int eventfd);
void pager_kick_drain(struct pager *p);

/*
 * pace_book - @bytes have been brought in unasked, and it took @busy_us of work.
 * Return: until when to rest (CLOCK_MONOTONIC), 0: no need to.
 */
uint64_t pace_book(struct pager *p, uint64_t busy_us, uint64_t bytes);

/* journal.c: the event log */

/*
 * journal_read - read a session's messages into the log. Fault thread, gate held.
 * @msgs: set to the first message, in the log itself.
 * @seq:  set to the first message's place in the log.
 * Return: number of messages or -errno.  Must be followed by journal_keep().
 */
int journal_read(struct pager *p, struct session *s, struct uffd_msg **msgs, uint64_t *seq);
/*
 * journal_keep - the first @n messages of the last read stay in the log, the rest is wiped.
 * Call it with no gate held: it may write a checkpoint, for which it takes all of them.
 * Without memory for one nothing is read any more until there is.
 * Return: 0 or -errno.
 */
int journal_keep(struct pager *p, unsigned int n);
/* journal_checkpoint - write what all sessions are owed, start an empty log. No gate held. */
int journal_checkpoint(struct pager *p);
/* journal_replay - rebuild all sessions after a death; single thread. Return: 0 or -errno. */
int journal_replay(struct pager *p);
/* journal_queue_wipes - have the parent's wipe ranges noted for a child by journal_keep(). */
void journal_queue_wipes(struct pager *p, uint32_t child, const struct session *parent);
/* journal_find_wipes - while replaying: set @parent's wipe ranges to those noted for @child. */
bool journal_find_wipes(struct pager *p, uint32_t child, struct session *parent);

/* threads */
void *fault_thread(void *pager);
void *drain_thread(void *pager);
void *drain_helper_thread(void *pager);
void *urgent_thread(void *pager);
/* urgent_start - before the first urgent thread of this process or of its next life. */
void urgent_start(void);
/* urgent_push - have the page read from a cold source and placed. Takes a reference of its own. */
int urgent_push(struct session *s, struct waiting_fault f);
/* urgent_stop - urgent threads leave once the queue is empty. */
void urgent_stop(void);
/*
 * fault_place_page - place one owed page out of a buffer and book it. Gate held or entered; it is
 * only entered afterwards.
 * @v: cut to start at the page.
 */
enum place_why fault_place_page(struct pager *p, struct session *s, struct extent_view v,
				const void *buf);

/* link.c: criu's socket */
/* link_accept - take criu's one connection, close the listening socket. Return: 0 or -errno. */
int link_accept(struct pager *p);
/*
 * link_readable - receive what stands in criu's connection and open sessions.
 * Return: 0; 1 when the connection is over in good order (all tasks in place); -errno when the
 * restore failed or does not speak the protocol, logged.
 */
int link_readable(struct pager *p);
/* link_recover - after a death: finish what a dead pager had begun to receive. */
int link_recover(struct pager *p);

/* wire.c: the plugin's socket */
/* wire_take - the plugin's end; ours from here on, unless refused. Return: 0 or -errno. */
int wire_take(struct pager *p, int fd);
/* wire_readable - deal with what the plugin has said, or a dead pager has begun to deal with. */
void wire_readable(struct pager *p);
/* wire_expects - is the plugin about to say which process it is?  Then it is not to be kept waiting. */
bool wire_expects(struct pager *p, struct session *s);
/* wire_rx_fd - the descriptor that came with the message in the state, or -1. */
int wire_rx_fd(const struct wire_rx *rx);

/* target.c: which process is behind a uffd */
#define IDENTIFY_TRIES 20
/* target_guess - before the tasks run: note which process it should be. */
void target_guess(struct pager *p, struct session *s);
void target_find(struct pager *p, struct session *s);
/* target_kill - SIGKILL the process, for the reason on record. Return: whether it was sent. */
bool target_kill(struct pager *p, struct session *s);
/* target_read_wipes - WIPEONFORK ranges of a process. Return: count or -errno. */
int target_read_wipes(pid_t pid, struct range *out, unsigned int max);

/* control.c: status socket and progress */
#define CONTROL_BACKLOG 8
int control_listen(void);
void control_serve(struct pager *p, int listen_fd);
/* control_last_word - answer everyone who asked "wait"; the pager is about to end. */
void control_last_word(struct pager *p);
void control_progress(struct pager *p, bool last);

/* privs.c */
/* privs_drop - what the pager does not need. Return: 0 or -errno, logged. */
int privs_drop(void);
/* privs_dropped - has this process, perhaps as a pager that it was, dropped them? */
bool privs_dropped(void);
/* privs_hand - the same for the hand, which needs more. Return: 0 or -errno, logged. */
int privs_hand(void);

/* fdtable.c: the descriptors that a dead pager left in the shared table */
/* fdtable_sweep - close what belongs to nobody; uffds stay, criu's connection is found again. */
void fdtable_sweep(struct state *st, int keeper_pidfd, int state_fd);
/* fdtable_close_all - close all but stdio, the log and @keep. */
void fdtable_close_all(int keep);
/* fdtable_sweep_uffds - once all sessions are known again: close uffds of sessions that are over. */
void fdtable_sweep_uffds(struct state *st);

/*
 * pager_run - serve until all is over.
 * Return: exit status 0 or 1, or
 */
#define PAGER_ORPHANED 64	/* the keeper is gone: become the keeper */
#define PAGER_HOPELESS 65	/* what the last pager left cannot be adopted: end the targets */
#define PAGER_STOOD_DOWN 66	/* somebody is taking over by hand */
int pager_run(struct state *st, const struct pager_opts *opts, int keeper_pidfd, int state_fd);

#endif
