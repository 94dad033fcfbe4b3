/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * state: what must outlive a pager.
 *
 * Theory of operation
 * -------------------
 * Keeper and pager share two things: the descriptor table (so that no uffd is ever held by one
 * process alone) and one memfd, mapped before the pager is cloned.  The memfd holds
 *
 *	header		who is who, the half-received message of criu's socket
 *	session table	one slot an address space: its uffd, who it is, its counters
 *	event log	struct uffd_msg as the kernel wrote them
 *
 * The log is the record that goes before the deed.  read(2) on a uffd goes straight into it, so
 * there is no moment at which the kernel has handed out an event that stands nowhere: the pages
 * are present and locked, and a SIGKILL takes effect only when the system call is over.  Slots
 * are zeroed before they are offered to the kernel, and no event has number 0, so the length of
 * the log is found by looking for the first empty slot; nothing depends on read()'s return value,
 * which dies with the reader.  A slot of our own (LOG_BATCH) in front of each read names the
 * session.  Page faults in the log mean nothing to a successor: UFFDIO_WAKE raises them again.
 *
 * Replaying the log over the extents that the images give (or over the last checkpoint) yields
 * what is owed; pages that were placed since are still counted as owed, which costs one EEXIST
 * each and never a wrong byte.  Discarded pages are what the log is for.
 *
 * The log has two halves.  When one is full, the extents of all sessions are written to a new
 * memfd (a checkpoint), the other half is emptied, and one 64-bit store makes both valid: the
 * epoch.  A pager that dies in the middle leaves the old epoch in force.
 *
 * Only the fault thread writes the log.  Session slots are taken by the control thread (tasks
 * that criu sends) and by the fault thread (forked children), under session_table_lock.
 */
#ifndef PAGER_STATE_H
#define PAGER_STATE_H

#include <linux/userfaultfd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "abi/wire.h"
#include "core/hist.h"
#include "inject/inject.h"

#define STATE_MAGIC 0x7566667253744174ull
#define STATE_VERSION 2
#define STATE_MEMFD_NAME "uffd-relocate-state"

#define STATE_SESSIONS 32768u	/* slots; sparse memory, only those in use cost anything */
#define STATE_SOURCES 4096u
#define STATE_PHASES 8u
#define LOG_HALF_SLOTS 8192u	/* 256 KiB a half */
#define LOG_READ_MAX 64u	/* messages a read(2) */

/* Our own records in the log; the kernel numbers its events from 0x12 up. */
#define LOG_BATCH 0x01		/* what follows was read from session slot reserved1 */
#define LOG_WIPE 0x02		/* [reserved1, reserved2) is empty in the child in slot reserved3 */
#define LOG_WIPE_END 0x03	/* all LOG_WIPE records of the child in slot reserved3 are above */

enum session_state {
	SESSION_FREE = 0,
	SESSION_OPEN,	/* its uffd is open and something may be owed */
	SESSION_DONE,	/* all that was owed is in place */
	SESSION_GONE,	/* the address space ended first */
	SESSION_KILLED,	/* we ended it, reason says why */
};

enum session_birth {
	BIRTH_CRIU = 1,	/* sent by criu restore */
	BIRTH_FORK,	/* came in a FORK event */
};

/* What status shows of one address space. Counters only grow. */
struct session_counters {
	_Atomic uint64_t total_bytes;	/* owed when the session began */
	_Atomic uint64_t pending_bytes;	/* owed now */
	_Atomic uint64_t copied_fault_bytes;
	_Atomic uint64_t copied_around_bytes;
	_Atomic uint64_t copied_drain_bytes;
	_Atomic uint64_t moved_huge_bytes;	/* by the agent, whole huge pages */
	_Atomic uint64_t moved_base_bytes;	/* by the agent, page by page */
	_Atomic uint64_t collapsed_bytes;	/* made huge in the end, having been counted above */
	_Atomic uint64_t hot_bytes;	/* by a trace, within --hot-budget */
	_Atomic uint64_t replayed_bytes;	/* by a trace, after that */
	_Atomic uint64_t zero_bytes;
	_Atomic uint64_t discarded_bytes;	/* taken back by REMOVE, UNMAP or a lost VMA */
	_Atomic uint64_t faults;
	_Atomic uint64_t events_fork, events_remap, events_remove, events_unmap;
	_Atomic uint64_t any_waiter_us;		/* time during which at least one fault waited */
	_Atomic uint64_t summed_wait_us;
	struct hist latency;
};

/* Where an address space stands with its agent, see agent.h. */
enum agent_life {
	AGENT_NONE = 0,		/* there is none: never was, or it has been cured */
	AGENT_PLACING,		/* the hand is at it */
	AGENT_THERE,		/* the record is good and the channel open */
	AGENT_OVER,		/* it has quit or died; the target is to be cured of it */
	AGENT_CURING,		/* the hand is at that */
};

struct agent_slot {
	_Atomic uint32_t life;		/* enum agent_life, written last */
	int32_t chan_fd;		/* our end of its channel, -1 once it is over */
	struct inject_record rec;
	char why[120];			/* why there is none, or none any more */
};

struct session_slot {
	_Atomic uint32_t state;		/* enum session_state, written last */
	uint32_t birth;			/* enum session_birth */
	uint64_t birth_seq;		/* BIRTH_FORK: place of the event in the log */
	uint32_t parent;		/* BIRTH_FORK: slot of the parent */
	int32_t uffd;			/* descriptor number in the shared table */
	int32_t vpid;			/* number in the image's file names, 0 for a child */
	int32_t root_vpid;		/* that of the task whose image its memory comes from */
	_Atomic int32_t pid;		/* as we see it, 0 while unknown */
	_Atomic int32_t pidfd;		/* -1 while unknown */
	char reason[104];		/* SESSION_KILLED: why */
	struct agent_slot agent;
	struct session_counters n;
};

/* Identity of a pages file, so that a successor notices that it is not the same any more. */
struct source_slot {
	uint64_t dev, ino, size_bytes;
	int64_t mtime_ns;
};

/* source_slot_fill - what @fd is now. Return: 0 or -errno. */
int source_slot_fill(int fd, struct source_slot *out);

/* The message of criu's socket that is being received. */
struct rx_slot {
	_Atomic int32_t vpid;		/* 0: none */
	union {
		char buf[64];
		uint64_t align;
	} control;			/* SCM_RIGHTS, written by the kernel */
};

/* The plugin's message that is being dealt with, see wire.c. */
struct wire_rx {
	struct wire_msg msg;		/* op 0: none */
	union {
		char buf[64];
		uint64_t align;
	} control;			/* SCM_RIGHTS, written by the kernel */
};

struct state {
	uint64_t magic;
	uint32_t version, size;
	_Atomic int32_t keeper_pid;
	_Atomic int32_t pager_pid;
	_Atomic int32_t running_pid;	/* the pager that works on all this, see keeper_claim() */
	_Atomic uint64_t running_start;
	_Atomic uint32_t incarnation;	/* pagers started so far */
	_Atomic uint32_t finish;	/* SIGTERM: drain all at full speed, then end */
	_Atomic uint32_t handover;	/* --adopt by hand: pid of the one that takes over */
	_Atomic uint32_t handed;	/* the same pid once it is the keeper; 0 before */
#define HANDED_TAKEN_BACK UINT32_MAX	/* the old keeper went on instead */
	uint32_t has_move;		/* UFFDIO_MOVE: 0 not asked yet, 1 yes, 2 no */
	_Atomic uint32_t punched;	/* --auto-dedup has changed pages files */
	_Atomic uint32_t record_saved;	/* the trace on disk knows of this run */
	_Atomic uint32_t failed;	/* some target was not served to its end */
	_Atomic uint32_t restored;	/* criu has said that all tasks are in place */
	_Atomic uint32_t arrived;	/* messages received, zombies included */
	_Atomic uint32_t nslots;	/* slots of the table ever used */
	_Atomic int32_t result;		/* exit status once all is over, -1 before */
	/* Descriptors of the shared table, -1: none. */
	int32_t listen_fd, control_fd, images_fd, work_fd, criu_pidfd, keep_fd, progress_fd;
	int32_t status_fd;		/* -1 once it has had its byte */
	int32_t home_cgroup_fd;		/* cgroup.procs of the pagers' group, -1: none */
	_Atomic int32_t hand_fd;	/* our end of the hand's socket, see hand.h; -1: none */
	_Atomic int32_t hand_pid;
	_Atomic uint32_t hand_wanted;	/* the pager has found that there is none */
	_Atomic int32_t wire_fd;	/* to the plugin in criu, -1: none */
	_Atomic int32_t conn_fd;	/* criu's connection, -1 before and after */
	_Atomic int32_t peer_pid;	/* criu restore as the socket names it */
	_Atomic uint64_t epoch;		/* see log_epoch_* below */
	_Atomic uint64_t phase_hits[STATE_PHASES];
	_Atomic uint64_t progress;	/* pages placed; tells a crash loop from hard luck */
	_Atomic uint32_t nsources;
	struct source_slot source[STATE_SOURCES];
	struct rx_slot rx;
	struct wire_rx wire_rx;
	struct uffd_msg log[2][LOG_HALF_SLOTS];
	struct session_slot session[STATE_SESSIONS];
};

/* The epoch word: which half of the log is valid, and over which checkpoint. */
static inline uint32_t log_epoch_half(uint64_t epoch)
{
	return epoch & 1;
}

static inline uint32_t log_epoch_count(uint64_t epoch)
{
	return epoch >> 32;
}

/* Return: descriptor of the checkpoint memfd, or -1: start from the images. */
static inline int log_epoch_ckpt(uint64_t epoch)
{
	return (int)(int32_t)((epoch >> 1) & 0x7fffffff) - 1;
}

static inline uint64_t log_epoch_make(uint32_t count, int ckpt_fd, uint32_t half)
{
	return (uint64_t)count << 32 | (uint64_t)(uint32_t)(ckpt_fd + 1) << 1 | half;
}

/*
 * state_create - make the memfd and map it, header filled.
 * @fd: the memfd, for a process that adopts by hand.
 * Return: the state or NULL (errno says).
 */
struct state *state_create(int *fd);

/*
 * state_attach - map the state of another keeper.
 * Return: 0 and *@out, -EPROTO when it is of another version, or -errno.
 */
int state_attach(int fd, struct state **out);

/*
 * state_slot_take - a free session slot, under the caller's lock; its counters are zeroed.
 * Return: its index or -ENOSPC.
 */
int state_slot_take(struct state *st);

/* state_slot_is - is the slot in this state? */
static inline bool state_slot_is(const struct session_slot *slot, enum session_state state)
{
	return atomic_load_explicit(&slot->state, memory_order_acquire) == (uint32_t)state;
}

#endif
