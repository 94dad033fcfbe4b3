// SPDX-License-Identifier: GPL-2.0-only
/* trace_hint: note which memory of processes is in huge pages. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/trace_hint.h"
#include "kapi/hugemap.h"
#include "kapi/proc.h"
#include "util/fd.h"
#include "util/log.h"

#define PIDS_MAX 32768

_Static_assert(HUGEMAP_BYTES == TRACE_HUGE_BYTES, "one kind of huge page");

struct hint {
	struct trace *trace;
	uint32_t vpid;
};

static int hint_add(void *arg, uint64_t start, uint64_t end)
{
	struct hint *h = arg;

	return trace_add_huge(h->trace, h->vpid, range_make(start, end));
}

/* One process.  A zombie has no memory; one that is gone has no images. */
static int hint_process(struct trace *t, pid_t pid)
{
	pid_t vpid = proc_nspid(pid);
	struct hint h = { t, (uint32_t)vpid };
	int ret;

	if (vpid <= 0)
		return 0;
	ret = trace_add_huge(t, h.vpid, range_make(0, 0));
	if (!ret)
		ret = hugemap_find(pid, hint_add, &h);
	if (ret == -ESRCH || ret == -ENOENT)
		return 0;
	if (ret)
		log_warn("process %d: cannot see what is huge: %s", (int)pid, strerror(-ret));
	return ret == -ENOMEM ? ret : 0;
}

static int hint_tree(pid_t *pid, pid_t root)
{
	int n = 0, head = 0;

	pid[n++] = root;
	while (head < n) {
		int got = proc_children(pid[head++], pid + n, PIDS_MAX - n);

		n += got > 0 ? got : 0;
	}
	return n;
}

static int hint_traced(pid_t *pid, pid_t tracer)
{
	int n = 0, all = proc_all(pid, PIDS_MAX);

	for (int i = 0; i < all; i++)
		if (proc_tracer(pid[i]) == tracer)
			pid[n++] = pid[i];
	return n;
}

int hint_take(struct trace *t, pid_t from, pid_t frozen_by)
{
	cleanup_free pid_t *pid = malloc(PIDS_MAX * sizeof(*pid));
	pid_t who = from ? from : frozen_by;
	int n, ret = 0;

	if (!pid)
		return -ENOMEM;
	if (!proc_start_time(who)) {
		log_err("there is no process %d", (int)who);
		return -ESRCH;
	}
	n = from ? hint_tree(pid, from) : hint_traced(pid, frozen_by);
	for (int i = 0; !ret && i < n; i++)
		ret = hint_process(t, pid[i]);
	return ret;
}
