/* SPDX-License-Identifier: GPL-2.0-only */
/* task: what /proc tells about a thread that is to be borrowed. Hints: all of it may change at once. */
#ifndef KAPI_TASK_H
#define KAPI_TASK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct task_status {
	char state;		/* R S D T t Z X */
	pid_t tracer;		/* 0: none */
	unsigned int seccomp;	/* 0 none, 1 strict, 2 filter */
	bool shadow_stack;	/* return addresses are guarded (x86) */
	uint64_t pending, blocked, ignored, caught; /* signals; pending of thread and process */
};

/* task_status - of one thread. Return: 0 or -errno (-ESRCH: no such thread). */
int task_status(pid_t pid, pid_t tid, struct task_status *st);

/*
 * task_pick - a thread of process @pid that can be stopped and seen: the leader, unless it has ended
 * before the others or sleeps uninterruptibly.
 * Return: its tid, -ESRCH, or -EAGAIN: all sleep uninterruptibly (*@any is one of them).
 */
pid_t task_pick(pid_t pid, pid_t *any);

/* The following take any thread for its process. */

/* task_native - is its program of our own kind (64 bit)? Return: 1, 0, or -errno. */
int task_native(pid_t tid);

/* task_vdso - where its vDSO begins, by its auxiliary vector; 0: not known. */
uint64_t task_vdso(pid_t tid);

/* task_same_mm - do the two share their memory? Return: 1, 0, or -errno. */
int task_same_mm(pid_t a, pid_t b);

/* task_signal_now - would the thread act upon a signal right now? */
bool task_signal_now(const struct task_status *st);

#endif
