// SPDX-License-Identifier: GPL-2.0-only
/*
 * place: putting an agent into a process.
 *
 * A thread of the process is borrowed (kapi/remote.h) and makes two system calls by way of an
 * instruction of the vDSO: a mapping, and, when the code has been written into it, the change of
 * that part to executable.  Then it runs the code, which does all the rest in one go
 * (agent/setup.c).  No byte of the target is touched, no descriptor appears in its table.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "abi/agent_abi.h"
#include "inject/internal.h"
#include "kapi/proc.h"
#include "kapi/procmem.h"
#include "kapi/task.h"
#include "util/fd.h"

#define READY_MS 10000
#define CHILDREN_MAX 65536

static int map_areas(struct remote *r, struct inject_record *rec, struct inject_error *err)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t code_len = ((uint64_t)(blob_end - blob_start) + page - 1) & ~(page - 1);
	uint64_t data_len = (SETUP_BYTES + AGENT_STACK_BYTES + page - 1) & ~(page - 1);
	int64_t at = remote_mmap(r, code_len + data_len, PROT_READ | PROT_WRITE);

	if (at < 0 && at > -4096)
		return error_set(err, (int)at, "it gets no memory for the agent's code: %s",
				 strerror((int)-at));
	rec->code = (uint64_t)at;
	rec->code_len = code_len;
	rec->data = rec->code + code_len;
	rec->data_len = data_len;
	return 0;
}

static int write_areas(struct remote *r, const struct inject_record *rec,
		       struct inject_error *err)
{
	struct agent_args args = {
		.magic = AGENT_MAGIC,
		.version = AGENT_VERSION,
		.nslots = rec->nslots,
		.page_size = (uint32_t)sysconf(_SC_PAGESIZE),
		.stack = rec->data + SETUP_BYTES + AGENT_STACK_BYTES,
		.areas = rec->code,
		.areas_len = rec->code_len + rec->data_len,
	};
	int64_t ret;

#ifdef MUTANT_hostile
	/* Which lie the agent is to tell, see agent/hostile.h. */
	const char *lie = getenv("UFFD_RELOCATE_LIE");

	args.page_size |= lie ? (uint32_t)atoi(lie) << 24 : 0;
#endif
	ret = remote_write(r, rec->code, blob_start, (uint64_t)(blob_end - blob_start));
	if (!ret)
		ret = remote_write(r, rec->data, &args, sizeof(args));
	if (ret)
		return error_set(err, (int)ret, "its memory cannot be written: %s", strerror((int)-ret));
	ret = remote_mprotect(r, rec->code, rec->code_len, PROT_READ | PROT_EXEC);
	if (ret)
		return error_set(err, (int)ret, "it may not map code (%s); a security module's execmem?",
				 strerror((int)-ret));
	return 0;
}

static int set_up(struct remote *r, struct inject_record *rec, struct inject_error *err)
{
	static const char *const what[] = {
		[AGENT_STEP_ARGS] = "another version of it runs",
		[AGENT_STEP_STAGING] = "no memory for staging (overcommit, or number of mappings)",
		[AGENT_STEP_ADVISE] = "madvise",
		[AGENT_STEP_CLONE] = "clone (number of processes)",
	};
	struct agent_args args;
	uint32_t state;
	int ret = remote_run(r, rec->code, rec->data + SETUP_BYTES, rec->data,
			     rec->data + offsetof(struct agent_args, state), &state);

	if (!ret)
		ret = procmem_read(r->mem_fd, rec->data, &args, sizeof(args));
	if (ret)
		return error_set(err, ret, "setting up was cut short: %s", strerror(-ret));
	if (args.state == AGENT_FAILED)
		return error_set(err, args.error < 0 && args.error > -4096 ? args.error : -EIO,
				 "agent not set up: %s: %s",
				 args.what <= AGENT_STEP_CLONE && what[args.what] ? what[args.what] : "?",
				 strerror(-args.error));
	rec->staging = args.staging;
	rec->staging_len = (rec->nslots + 1) * (uint64_t)AGENT_HUGE_BYTES;
	rec->agent_nspid = args.agent_nspid;
	return 0;
}

/* Which of our processes is it that the target calls @nspid? */
static pid_t find_child(const struct remote *r, pid_t nspid)
{
	cleanup_free pid_t *all = NULL;
	int n;

	/* As a rule there is one namespace. */
	if (proc_ppid(nspid) == r->pid && proc_nspid(nspid) == nspid)
		return nspid;
	all = calloc(CHILDREN_MAX, sizeof(*all));
	n = all ? proc_children(r->pid, all, CHILDREN_MAX) : 0;
	/* The youngest are the last. */
	while (n-- > 0)
		if (proc_nspid(all[n]) == nspid)
			return all[n];
	return -ESRCH;
}

/* A traced agent begins with a stop. Our death is not to be its death, it holds the uffd. */
static int let_go(pid_t agent)
{
	struct ptrace_stop stop;
	int ret = ptrace_wait(agent, &stop, READY_MS);

	if (ret)
		return ret;
	if (stop.kind == PTRACE_STOP_GONE)
		return -ESRCH;
	ret = ptrace_set_options(agent, PTRACE_OPT_SYSGOOD | PTRACE_OPT_NO_SECCOMP);
	return ret ? ret : ptrace_go(agent, PTRACE_GO, 0);
}

static int wait_ready(int mem_fd, const struct inject_record *rec, int pidfd)
{
	const struct timespec pause = { 0, 20000 };
	uint32_t ready = 0;

	for (unsigned int i = 0; i < READY_MS * 10; i++) {
		int ret = procmem_read(mem_fd, rec->data + offsetof(struct agent_args, ready), &ready,
				       sizeof(ready));

		if (ret || ready)
			return ret;
		if (proc_pidfd_exited(pidfd))
			return -ECHILD;
		if (i > 100)
			nanosleep(&pause, NULL);
		else
			sched_yield();
		if (rec->flags & INJECT_R_TRACED)
			inject_tend(rec);
	}
	return -ETIMEDOUT;
}

static int find_agent(const struct remote *r, struct inject_record *rec, struct inject_error *err)
{
	pid_t pid = r->no_seccomp ? r->cloned : find_child(r, rec->agent_nspid);
	int ret = pid > 0 ? 0 : -ESRCH;

	if (!ret) {
		rec->agent_pid = pid;
		rec->agent_start = proc_start_time(pid);
		if (r->no_seccomp)
			ret = let_go(pid);
	}
	return ret ? error_set(err, ret, "agent not found: %s", strerror(-ret)) : 0;
}

/* The target runs already: it need not stand still until the agent has got a CPU. */
static int connect_agent(int mem_fd, const struct inject_record *rec, int *sock_fd,
			 struct inject_error *err)
{
	cleanup_fd int pidfd = inject_agent_pidfd(rec);
	int ret = pidfd < 0 ? pidfd : wait_ready(mem_fd, rec, pidfd);

	if (ret)
		return error_set(err, ret, "agent %d did not come up: %s", rec->agent_pid,
				 ret == -ECHILD || ret == -ESRCH ? "it has ended" : strerror(-ret));
	*sock_fd = proc_pidfd_getfd(pidfd, AGENT_FD_OURS);
	if (*sock_fd < 0)
		return error_set(err, *sock_fd, "no channel to agent %d: %s", rec->agent_pid,
				 strerror(-*sock_fd));
	return 0;
}

/* With the thread in hand: everything between the first change and the last. */
static int place_in(struct remote *r, const struct inject_opts *opts, struct inject_record *rec,
		    struct inject_error *err)
{
	int ret = map_areas(r, rec, err);

	step(opts, STEP_MAPPED);
	if (!ret)
		ret = write_areas(r, rec, err);
	step(opts, STEP_WRITTEN);
	if (!ret)
		ret = set_up(r, rec, err);
	step(opts, STEP_SET_UP);
	if (!ret)
		ret = find_agent(r, rec, err);
	step(opts, STEP_FOUND);
	if (ret) {
		if (rec->agent_nspid)
			agent_end(rec, NULL);
		clear(r, rec, true, opts);
	}
	return ret;
}

/* The whole time of the loan. */
static int borrow(struct remote *r, const struct inject_opts *opts, struct inject_record *rec,
		  struct inject_record *out, struct inject_error *err)
{
	struct limits limits;
	int ret, back;

	ret = remote_begin(r, r->no_seccomp ? PTRACE_OPT_CLONE : 0);
	step(opts, STEP_BEGUN);
	if (ret) {
		error_set(err, ret, "cannot be borrowed: %s", strerror(-ret));
	} else {
		limits_lift(r->pid, &limits);
		step(opts, STEP_LIFTED);
		ret = place_in(r, opts, rec, err);
		limits_restore(r->pid, &limits);
		step(opts, STEP_LOWERED);
	}
	back = remote_end(r);
	/* Whatever failed, that is why. */
	if (back == -ESRCH)
		ret = error_set(err, back, "it ended while the agent was placed");
	else if (!ret && back)
		ret = error_set(err, back, "it cannot be given back: %s", strerror(-back));
	/* On record before our death leaves it behind. */
	if (!ret)
		*out = *rec;
	step(opts, STEP_ITSELF);
	remote_release(r);
	step(opts, STEP_RELEASED);
	return ret;
}

int inject_place(pid_t pid, const struct inject_opts *opts, struct inject_record *out, int *sock_fd,
		 struct inject_error *err)
{
	struct inject_record rec = { .pid = pid, .nslots = opts->nslots, .version = AGENT_VERSION };
	struct task_status st;
	struct remote r;
	pid_t tid;
	int ret;

	*sock_fd = -1;
	if (!opts->nslots || opts->nslots > AGENT_SLOTS_MAX)
		return error_set(err, -EINVAL, "between 1 and %u slots", AGENT_SLOTS_MAX);
	rec.pid_start = proc_start_time(pid);
	ret = check_patiently(pid, opts, err);
	if (ret)
		return ret;
	task_pick(pid, &tid);
	if (!task_status(pid, tid, &st) && st.seccomp)
		rec.flags |= INJECT_R_TRACED;
	ret = check_stop(&r, pid, opts, rec.flags & INJECT_R_TRACED, err);
	if (ret)
		return ret;
	step(opts, STEP_STOPPED);
	ret = borrow(&r, opts, &rec, out, err);
	if (!ret) {
		ret = connect_agent(r.mem_fd, &rec, sock_fd, err);
		/* What cannot be undone now stays on record. */
		if (ret) {
			int undone = inject_cure(&rec, opts, NULL);

			*out = rec;
			if (undone == -ESRCH || undone == -ENOENT)
				ret = error_set(err, undone, "it %s while the agent was placed",
						undone == -ESRCH ? "ended" : "executed a program");
		}
	} else if (ret == -ESRCH && rec.agent_nspid) {
		/* Its thread is lost, to an exec of another one it may be: no zombie is left there. */
		if (inject_cure(&rec, opts, NULL) == -ENOENT)
			ret = error_set(err, -ENOENT, "it has executed another program meanwhile");
	}
	step(opts, STEP_CONNECTED);
	remote_close(&r);
	return ret;
}
