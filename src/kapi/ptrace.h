/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ptrace: the requests of ptrace(2), on threads that were seized (never attached: no stray SIGSTOP).
 *
 * The calling thread is the tracer.  Everything returns 0 or -errno; -ESRCH means that the thread is
 * gone, or not stopped.
 */
#ifndef KAPI_PTRACE_H
#define KAPI_PTRACE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PTRACE_OPT_SYSGOOD 1u		/* syscall stops tell themselves apart */
#define PTRACE_OPT_CLONE 2u		/* trace what the thread clones */
#define PTRACE_OPT_EXITKILL 4u		/* when the tracer dies, so does the thread's process */
#define PTRACE_OPT_NO_SECCOMP 8u	/* no seccomp filter as long as it is traced */

/* ptrace_seize - become its tracer; it goes on running. -EPERM: not allowed, or traced already. */
int ptrace_seize(pid_t tid, unsigned int options);
int ptrace_set_options(pid_t tid, unsigned int options);
/* ptrace_interrupt - have it stop (PTRACE_STOP_EVENT), out of a system call if need be. */
int ptrace_interrupt(pid_t tid);

enum ptrace_how {
	PTRACE_GO,		/* until something happens */
	PTRACE_GO_SYSCALL,	/* until a system call begins or ends */
	PTRACE_GO_FREE,		/* trace it no more */
};

/* ptrace_go - let a stopped thread go on, with signal @sig (0: none) in place of what it stopped for. */
int ptrace_go(pid_t tid, enum ptrace_how how, int sig);

enum ptrace_stop_kind {
	PTRACE_STOP_EVENT,	/* by ptrace_interrupt(), or new */
	PTRACE_STOP_GROUP,	/* its process was stopped (SIGSTOP and its like) */
	PTRACE_STOP_SYSCALL,
	PTRACE_STOP_CLONE,
	PTRACE_STOP_SIGNAL,	/* about to get a signal */
	PTRACE_STOP_GONE,	/* it has ended */
};

struct ptrace_stop {
	enum ptrace_stop_kind kind;
	int sig;	/* GROUP, SIGNAL */
};

/* ptrace_poll - has it stopped? Return: 1 and *@stop, 0 if not, or -errno. */
int ptrace_poll(pid_t tid, struct ptrace_stop *stop);
/* ptrace_take - let no wait call of ours report the stop that it is in. */
void ptrace_take(pid_t tid);
#define PTRACE_FOR_EVER (~0u)
/*
 * ptrace_wait - until it stops, at most @timeout_ms (PTRACE_FOR_EVER: no limit).
 * Return: 0 and *@stop, -ETIMEDOUT, or -errno.
 */
int ptrace_wait(pid_t tid, struct ptrace_stop *stop, unsigned int timeout_ms);

/* Signals that it blocks; outside of sigsuspend() and its like, see kapi/remote.c. */
int ptrace_get_mask(pid_t tid, uint64_t *mask);
int ptrace_set_mask(pid_t tid, uint64_t mask);

/* ptrace_signal - what signal it is about to get (PTRACE_STOP_SIGNAL). */
int ptrace_signal(pid_t tid, siginfo_t *info);

/* ptrace_cloned - who came into being (PTRACE_STOP_CLONE), as we see its pid. */
int ptrace_cloned(pid_t tid, pid_t *pid);

/* ptrace_rseq - where its struct rseq is. Return: 0 (*@addr 0: it has none) or -errno. */
int ptrace_rseq(pid_t tid, uint64_t *addr);

/* ptrace_poke - write words into its memory where /proc/PID/mem is refused. @len: of 8 bytes each */
int ptrace_poke(pid_t tid, uint64_t addr, const void *data, uint64_t len);

#endif
