// SPDX-License-Identifier: GPL-2.0-only
/* record: questions about what was placed. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "abi/agent_abi.h"
#include "inject/internal.h"
#include "kapi/proc.h"
#include "kapi/procmem.h"
#include "kapi/ptrace.h"
#include "kapi/task.h"
#include "util/fd.h"

#define AGENT_END_MS 10000

int inject_agent_pidfd(const struct inject_record *rec)
{
	cleanup_fd int fd = rec->agent_pid ? proc_pidfd_open(rec->agent_pid) : -ESRCH;

	if (fd < 0)
		return fd == -EINVAL ? -ESRCH : fd;
	/* With the descriptor in hand the pid cannot be reused any more: now ask whose it is. */
	if (proc_start_time(rec->agent_pid) != rec->agent_start || proc_pidfd_exited(fd))
		return -ESRCH;
	return fd_take(&fd);
}

int inject_same_mm(const struct inject_record *rec)
{
	cleanup_fd int fd = inject_agent_pidfd(rec);
	pid_t tid;

	if (fd < 0)
		return fd == -ESRCH ? 0 : fd;
	if (proc_start_time(rec->pid) != rec->pid_start)
		return 0;
	/* The first thread may have ended before the others, and then has no memory any more. */
	task_pick(rec->pid, &tid);
	return tid ? task_same_mm(tid, rec->agent_pid) : 0;
}

int inject_channel(const struct inject_record *rec)
{
	cleanup_fd int fd = inject_agent_pidfd(rec);

	return fd < 0 ? fd : proc_pidfd_getfd(fd, AGENT_FD_OURS);
}

int inject_tend(const struct inject_record *rec)
{
	struct ptrace_stop stop;
	int ret;

	while ((ret = ptrace_poll(rec->agent_pid, &stop)) > 0) {
		if (stop.kind == PTRACE_STOP_GONE)
			return -ESRCH;
		/* All its signals are blocked; what stops it is a SIGSTOP or the end of one. */
		ret = ptrace_go(rec->agent_pid, PTRACE_GO,
				stop.kind == PTRACE_STOP_SIGNAL && stop.sig != SIGSTOP ? stop.sig : 0);
		if (ret)
			return ret;
	}
	return ret;
}

static int in_one_of_ours(const struct procmem_map *m, void *ctx)
{
	const struct inject_record *rec = ctx;
	bool areas = m->end > rec->code && m->start < rec->data + rec->data_len;
	bool staging = m->end > rec->staging && m->start < rec->staging + rec->staging_len;

	if (!areas && !staging)
		return 0;
	/* Ours are anonymous; an equal neighbour may have been merged with them. */
	return m->inode ? 1 : 0;
}

int record_intact(const struct inject_record *rec, const struct remote *r)
{
	size_t len = (size_t)(blob_end - blob_start);
	char code[AGENT_BUDGET];
	struct agent_args args;
	int ret;

	if (len > sizeof(code) || rec->version != AGENT_VERSION)
		return 0;
	if (procmem_read(r->mem_fd, rec->code, code, len) || memcmp(code, blob_start, len) ||
	    procmem_read(r->mem_fd, rec->data, &args, sizeof(args)) || args.magic != AGENT_MAGIC)
		return 0;
	ret = procmem_each(r->tid, in_one_of_ours, (void *)rec);
	return ret < 0 ? ret : !ret;
}

int agent_end(const struct inject_record *rec, struct inject_error *err)
{
	cleanup_fd int fd = inject_agent_pidfd(rec);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int ret;

	if (fd < 0 && fd != -ESRCH)
		return error_set(err, fd, "agent %d: %s", rec->agent_pid, strerror(-fd));
	if (fd < 0) {
		/* It has ended by itself, and its tracer may not have taken note yet. */
		if (rec->flags & INJECT_R_TRACED)
			inject_tend(rec);
		return 0;
	}
	ret = proc_pidfd_kill(fd, SIGKILL);
	if (ret && ret != -ESRCH)
		return error_set(err, ret, "agent %d cannot be ended: %s", rec->agent_pid, strerror(-ret));
	for (int waited = 0; waited < AGENT_END_MS; waited++) {
		/* Its tracer hears of the end first, and only then the target may. */
		if (poll(&pfd, 1, 1) == 1 &&
		    (!(rec->flags & INJECT_R_TRACED) || inject_tend(rec) == -ESRCH))
			return 0;
	}
	return error_set(err, -ETIMEDOUT, "agent %d does not end (frozen, or waiting for a device)",
			 rec->agent_pid);
}
