/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * inject: putting an agent into the address space of a process, and taking it out again.
 *
 * place	stop the process (unless the caller already traces it stopped), have one of its
 *		threads make system calls: map code, data and staging area, a socket pair, clone the
 *		agent; let it go on as if nothing had happened
 * cure		end and reap the agent, unmap the areas; afterwards registers, signals, descriptors,
 *		maps, children are what they were
 *
 * Everything that a cure needs stands in struct inject_record, plain data that may be kept in
 * shared memory: the one who cures need not be the one who placed.
 *
 * All calls block, for a millisecond or less as a rule; the ptrace calls of one place or cure are
 * made by the calling thread.  They log nothing; struct inject_error has the words.
 *
 * When the caller dies in the middle, the target is either as it was, or is killed with it; never
 * does it run on as something else.  A target whose control group is frozen in the middle holds the
 * caller until it is thawed.
 */
#ifndef INJECT_INJECT_H
#define INJECT_INJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct inject_error {
	int error;		/* -errno */
	char text[160];		/* one line: what refused, and the remedy where there is one */
};

/* A placed agent. A record of zeros is no agent. */
struct inject_record {
	int32_t pid;		/* target (thread group leader), as we see it */
	int32_t agent_pid;	/* as we see it */
	int32_t agent_nspid;	/* as the target sees it: what wait4(2) there takes */
	uint32_t flags;		/* INJECT_R_ */
	uint64_t pid_start;	/* start times (clock ticks since boot): pids get reused */
	uint64_t agent_start;
	uint64_t code, code_len;	/* areas in the target, bytes */
	uint64_t data, data_len;
	uint64_t staging, staging_len;	/* nslots huge slots and the base slot */
	uint32_t nslots;
	uint32_t version;	/* AGENT_VERSION of the blob */
};

#define INJECT_R_TRACED 1u	/* seccomp'd target: the agent stays traced by the placing thread */

struct inject_opts {
	unsigned int nslots;	/* huge slots, 1..AGENT_SLOTS_MAX */
	bool traced;		/* the caller is the tracer and all threads are stopped (criu's hook) */
	bool keep_traced;	/* allow INJECT_R_TRACED: the calling thread will live on as tracer and
				 * call inject_tend(); else seccomp'd targets are refused */
	unsigned int patience_ms;	/* how long to wait for another tracer to go away */
	void (*step)(unsigned int n);	/* NULL, or called at each numbered step (tests kill there) */
};

/*
 * inject_check - could an agent be placed now?  Looks only, stops nothing.
 * Return: 0, or -errno with the reason in @err: -EPERM (ptrace not allowed, LSM), -EBUSY (somebody
 * traces it), -ENOTSUP (32-bit task, architecture), -EACCES (seccomp filter and !keep_traced),
 * -ESRCH.
 */
int inject_check(pid_t pid, const struct inject_opts *opts, struct inject_error *err);

/*
 * inject_place - place an agent.
 * @out: filled in the moment before the target is let go, so that it may be kept where the death of
 * the caller does not lose it.
 * @sock_fd: our end of its channel (close-on-exec); the agent has answered nothing yet.
 * Return: 0, or -errno with the reason in @err and nothing left behind in the target (should that
 * have been impossible, @out is not empty).  As inject_check(), and: -EAGAIN: all its threads sleep
 * uninterruptibly, or are frozen; -ETIMEDOUT: the thread that was chosen does not stop, and stays
 * seized until the calling thread ends; -ENOENT: it has executed another program meanwhile.
 */
int inject_place(pid_t pid, const struct inject_opts *opts, struct inject_record *out, int *sock_fd,
		 struct inject_error *err) __attribute__((warn_unused_result));

/*
 * inject_cure - take it out.  The agent may be alive, dead, a zombie or stopped; the target may
 * run, be stopped, have executed another program (-ENOENT: that address space is gone, the agent
 * is killed and reaped) or have ended (-ESRCH).
 * @opts: traced, patience_ms, step as for inject_place().
 * Return: 0; -EBUSY: somebody traces it, try again later, nothing was changed; -errno as above.
 */
int inject_cure(struct inject_record *rec, const struct inject_opts *opts, struct inject_error *err)
	__attribute__((warn_unused_result));

/*
 * inject_same_mm - does the agent still live in the target's address space?  No after an exec or
 * exit of the target.  Return: 1, 0, or -errno.
 */
int inject_same_mm(const struct inject_record *rec);

/*
 * inject_tend - for INJECT_R_TRACED agents: let the agent go on from stops that are not of our
 * making.  To be called by the tracing thread now and then, or on SIGCHLD.
 * Return: 0, or -ESRCH once the agent has ended.
 */
int inject_tend(const struct inject_record *rec);

/*
 * inject_channel - our end of the agent's channel once more, for one who was not there when it was
 * placed.  Answers to what others have asked may lie in it.  Return: a descriptor, or -errno.
 */
int inject_channel(const struct inject_record *rec);

/* inject_agent_pidfd - hold the agent. Return: a descriptor, or -errno (-ESRCH: it is gone). */
int inject_agent_pidfd(const struct inject_record *rec);

#endif
