/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * internal: what the files of inject share.
 *
 * check.c	may it be done, and if not why
 * limits.c	resource limits of the target that would be in the way
 * place.c	placing
 * cure.c	taking out
 * record.c	questions about what was placed
 * blob.c	the agent's code
 *
 * The order of things in a place and in a cure is what makes the death of the one who does it
 * harmless: the first change to the target comes after its life was tied to ours
 * (PTRACE_O_EXITKILL), and the tie is loosed when the last one was made.  In between it is killed,
 * never left with registers or limits that are not its own.  The steps are numbered, so that tests
 * can be killed at each.
 */
#ifndef INJECT_INTERNAL_H
#define INJECT_INTERNAL_H

#include <stddef.h>

#include "inject/inject.h"
#include "kapi/remote.h"

enum inject_step {
	STEP_CHOSEN = 1,
	STEP_STOPPED,
	STEP_BEGUN,
	STEP_LIFTED,
	STEP_MAPPED,
	STEP_WRITTEN,
	STEP_SET_UP,
	STEP_FOUND,
	STEP_LOWERED,
	STEP_ITSELF,
	STEP_RELEASED,
	STEP_CONNECTED,
	STEP_CURE = 21,
	STEP_AGENT_ENDED,
	STEP_CURE_STOPPED,
	STEP_CURE_BEGUN,
	STEP_REAPED,
	STEP_UNMAPPED,
	STEP_CURE_ITSELF,
	STEP_CURE_RELEASED,
};

static inline void step(const struct inject_opts *opts, enum inject_step n)
{
	if (opts->step)
		opts->step(n);
}

/* The agent's code, and the bytes behind it: setup's stack with struct agent_args, agent's stack. */
extern const char blob_start[], blob_end[];
#define SETUP_BYTES 4096u
#define AGENT_STACK_BYTES 12288u

/* error_set - fill in @err. Return: @error. */
int error_set(struct inject_error *err, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* check_patiently - inject_check(), again and again while somebody traces, for opts->patience_ms. */
int check_patiently(pid_t pid, const struct inject_opts *opts, struct inject_error *err);
/* check_stop - remote_open() and remote_stop(), with words for what they say. */
int check_stop(struct remote *r, pid_t pid, const struct inject_opts *opts, bool no_seccomp,
	       struct inject_error *err);

#define LIMITS 5
struct limits {
	struct {
		uint64_t soft, hard;
		bool lifted;
	} old[LIMITS];
};

/* limits_lift, limits_restore - of the whole process. */
void limits_lift(pid_t pid, struct limits *l);
int limits_restore(pid_t pid, struct limits *l);

/* record_intact - is what was placed still what lies there? Return: 1, 0, or -errno. */
int record_intact(const struct inject_record *rec, const struct remote *r);

/* agent_end - kill it and wait for its end. Return: 0 or -errno. */
int agent_end(const struct inject_record *rec, struct inject_error *err);

/*
 * clear - in a thread that was begun with: reap the agent, and unmap what was placed if @unmap.
 * Return: 0 or -errno.
 */
int clear(struct remote *r, const struct inject_record *rec, bool unmap,
	  const struct inject_opts *opts);

#endif
