// SPDX-License-Identifier: GPL-2.0-only
/*
 * cure: taking an agent out of a process.
 *
 * The agent is killed from outside; the process reaps it and unmaps what was placed, by way of an
 * instruction of its vDSO (the agent's code is among what goes).  It may have executed another
 * program meanwhile: then there is nothing to unmap, and at those addresses may lie anything.  So
 * before anything is unmapped it is looked at (record_intact()).
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "inject/internal.h"
#include "kapi/proc.h"
#include "kapi/procmem.h"
#include "kapi/task.h"

#define REAP_TRIES 1000
#define LOST_TRIES 100

static int reap(struct remote *r, const struct inject_record *rec)
{
	const struct timespec ms = { 0, 1000000 };
	int64_t ret = 0;

	for (int i = 0; i < REAP_TRIES; i++) {
		ret = remote_reap(r, rec->agent_nspid);
		if (ret)
			break;
		nanosleep(&ms, NULL);
	}
	/* The target may have waited for it itself (__WALL). */
	if (ret > 0 || ret == -ECHILD)
		return 0;
	return ret ? (int)ret : -ETIMEDOUT;
}

int clear(struct remote *r, const struct inject_record *rec, bool unmap,
	  const struct inject_opts *opts)
{
	int64_t staging = 0, areas = 0;
	int ret = 0;

	/* One that we know by its own name only: it is for the target to kill. */
	if (rec->agent_nspid && !rec->agent_pid)
		remote_kill(r, rec->agent_nspid);
	if (rec->agent_nspid)
		ret = reap(r, rec);
	step(opts, STEP_REAPED);
	if (!unmap || ret == -ESRCH)
		return ret;
	if (rec->staging_len)
		staging = remote_munmap(r, rec->staging, rec->staging_len);
	if (rec->code_len && staging != -ESRCH)
		areas = remote_munmap(r, rec->code, rec->code_len + rec->data_len);
	step(opts, STEP_UNMAPPED);
	if (!ret)
		ret = (int)(staging ? staging : areas);
	return ret;
}

static int cure_in(struct remote *r, const struct inject_record *rec, const struct inject_opts *opts,
		   struct inject_error *err)
{
	int intact = record_intact(rec, r);
	int ret = clear(r, rec, intact == 1, opts);

	if (ret)
		return error_set(err, ret, "agent not taken out: %s", strerror(-ret));
	if (intact < 0)
		return error_set(err, intact, "its map cannot be read: %s", strerror(-intact));
	if (!intact)
		return error_set(err, -ENOENT,
				 "what was placed is not there any more (it has executed a program?)");
	return 0;
}

static int cure_once(struct inject_record *rec, const struct inject_opts *opts, struct inject_error *err)
{
	struct inject_opts how = *opts;
	struct task_status st;
	struct remote r;
	pid_t tid;
	int ret, back;

	if (proc_start_time(rec->pid) != rec->pid_start)
		return error_set(err, -ESRCH, "it has ended");
	/* A filter does not matter any more: it is suspended for the calls that are made. */
	how.keep_traced = true;
	ret = check_patiently(rec->pid, &how, err);
	if (ret)
		return ret;
	ret = agent_end(rec, err);
	if (ret)
		return ret;
	step(opts, STEP_AGENT_ENDED);
	/* It may have got a filter since, too. */
	task_pick(rec->pid, &tid);
	ret = check_stop(&r, rec->pid, opts, !task_status(rec->pid, tid, &st) && st.seccomp, err);
	if (ret)
		return ret;
	step(opts, STEP_CURE_STOPPED);
	ret = remote_begin(&r, 0);
	step(opts, STEP_CURE_BEGUN);
	ret = ret ? error_set(err, ret, "cannot be borrowed: %s", strerror(-ret)) :
		    cure_in(&r, rec, opts, err);
	back = remote_end(&r);
	if (back == -ESRCH)
		ret = error_set(err, back, "it ended meanwhile");
	else if (!ret && back)
		ret = error_set(err, back, "it cannot be given back: %s", strerror(-back));
	step(opts, STEP_CURE_ITSELF);
	remote_release(&r);
	step(opts, STEP_CURE_RELEASED);
	remote_close(&r);
	return ret;
}

/* Whoever borrows a thread loses it when another thread executes a program: but not the process. */
static bool lives_on(const struct inject_record *rec)
{
	pid_t any;

	task_pick(rec->pid, &any);
	return any && proc_start_time(rec->pid) == rec->pid_start;
}

int inject_cure(struct inject_record *rec, const struct inject_opts *opts, struct inject_error *err)
{
	const struct timespec ms = { 0, 1000000 };
	int ret = -ESRCH;

	if (!rec->pid)
		return error_set(err, -EINVAL, "there is no agent");
	step(opts, STEP_CURE);
	for (int i = 0; i < LOST_TRIES; i++) {
		ret = cure_once(rec, opts, err);
		if (ret != -ESRCH || !lives_on(rec))
			break;
		nanosleep(&ms, NULL);
	}
	if (ret == -ESRCH)
		agent_end(rec, NULL);
	if (!ret || ret == -ENOENT || ret == -ESRCH)
		*rec = (struct inject_record){ .pid = 0 };
	return ret;
}
