/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * remote: a thread of another process, stopped, and made to do things for us.
 *
 *	remote_open		choose a thread; memory, system call instruction
 *	remote_stop		stop it (or take it over stopped), remember what it was doing
 *	remote_begin		from here on it is not itself: our death is the death of its process
 *	remote_call, remote_run
 *	remote_end		give it back its registers, signals, restartable sequence
 *	remote_release		let it go on as if nothing had happened
 *	remote_close
 *
 * All of one remote is done by one thread, the tracer.
 */
#ifndef KAPI_REMOTE_H
#define KAPI_REMOTE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "kapi/ptrace.h"
#include "kapi/regs.h"

struct remote {
	pid_t pid, tid;
	int mem_fd;
	uint64_t insn;		/* a system call instruction in its memory */
	bool lent;		/* stopped by somebody else, who goes on with it */
	bool no_seccomp;	/* its filter is to be suspended */
	/* after remote_stop() */
	bool stopped;
	bool running;
	bool at_event;		/* the stop is one from which the kernel restarts system calls */
	bool stop_owed;		/* a SIGSTOP of its own was taken out of the way */
	bool grouped;		/* its process is in a group stop */
	bool begun;
	struct regs regs;
	uint64_t mask;
	uint64_t rseq_cs_addr, rseq_cs;
	pid_t cloned;		/* the last that it cloned while PTRACE_OPT_CLONE was set */
};

/*
 * remote_open - choose a thread of process @pid and look for a system call instruction.
 * Return: 0 or -errno (-ESRCH; -EAGAIN: no thread can be stopped now, they sleep uninterruptibly;
 * -ENOEXEC: no such instruction).
 */
int remote_open(struct remote *r, pid_t pid);
void remote_close(struct remote *r);

/*
 * remote_stop - stop it, out of a system call if need be, or (r->lent) take it over.
 * Return: 0; -EPERM: not allowed, or somebody else traces it; -ENOTSUP: it runs foreign code just
 * now; -ESRCH; -ETIMEDOUT: it did not stop, and will be ours until the calling thread ends.
 */
int remote_stop(struct remote *r, unsigned int timeout_ms);

/*
 * remote_begin - block its signals and tie its life to ours.
 * @options: PTRACE_OPT_ to set beyond what is needed.
 */
int remote_begin(struct remote *r, unsigned int options);

/*
 * remote_call - have it make system call @nr.
 * Return: 0 and *@result, what the call returned; or -errno when it could not be made.
 */
int remote_call(struct remote *r, long nr, const uint64_t arg[6], int64_t *result);

/*
 * remote_run - have it run code at @ip, which says that it is done by making the 32-bit word at
 * @flag anything else than 0, and then waits in the kernel.
 * Return: 0 and *@word, -EFAULT: the code has faulted, -ESRCH...
 */
int remote_run(struct remote *r, uint64_t ip, uint64_t sp, uint64_t arg, uint64_t flag,
	       uint32_t *word);

/* remote_end - it is itself again, still stopped. Return: 0 or -errno. */
int remote_end(struct remote *r);
/* remote_release - let it go (r->lent: hand it back). */
void remote_release(struct remote *r);

/* The calls that are made: a result, or -errno. */
int64_t remote_mmap(struct remote *r, uint64_t len, int prot);
int64_t remote_mprotect(struct remote *r, uint64_t addr, uint64_t len, int prot);
int64_t remote_kill(struct remote *r, pid_t nspid);
int64_t remote_munmap(struct remote *r, uint64_t addr, uint64_t len);
/* remote_reap - wait4(pid, NULL, __WALL|WNOHANG): pid, 0: it has not ended, -ECHILD. */
int64_t remote_reap(struct remote *r, pid_t nspid);

/* remote_write - write into its memory, also where only ptrace may. */
int remote_write(struct remote *r, uint64_t addr, const void *data, uint64_t len);

#endif
