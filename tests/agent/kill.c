// SPDX-License-Identifier: GPL-2.0-only
/*
 * The one who places, or takes out, is killed at each of its steps: the target runs on as if nothing
 * had been begun, or it is killed with it; it never runs on as something else.  What is left of an
 * agent then can be taken out by the next.
 */
#include <sys/ptrace.h>

#include "tests/agent/agent.h"

#define PLACE_LAST 12
#define CURE_FIRST 21
#define CURE_LAST 28

static unsigned int die_at;

static void die(unsigned int n)
{
	if (n == die_at)
		kill(getpid(), SIGKILL);
}

/* What it computes has to come out right: a sum that one wrong register would spoil. */
static void sums(struct shared *sh, void *arg)
{
	uint64_t a = 1, b = 1;

	(void)arg;
	sh->ready = 1;
	while (!sh->stop) {
		a = a * 6364136223846793005u + 1442695040888963407u;
		b = b * 6364136223846793005u + 1442695040888963407u;
		if (a != b || getppid() <= 0) {
			sh->bad++;
			break;
		}
		sh->count++;
	}
}

/* As criu does: the tracer has stopped it before. */
static void trace(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD) || ptrace(PTRACE_INTERRUPT, pid, 0, 0) ||
	    waitpid(pid, &status, __WALL) != pid)
		_exit(2);
}

/* A process that does what is to be killed; what it knows stands in shared memory. */
static void by_another(struct victim *v, bool placing, bool traced, struct inject_record *rec)
{
	struct inject_opts opts = opts_default();
	pid_t pid = fork();
	int status;

	opts.step = die;
	opts.traced = traced;
	if (!pid) {
		struct inject_error err;
		int sock;

		if (traced)
			trace(v->pid);
		if (placing)
			_exit(inject_place(v->pid, &opts, rec, &sock, &err) ? 1 : 0);
		_exit(inject_cure(rec, &opts, &err) ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		bail("step %u was not reached", die_at);
}

static bool is_alive(struct victim *v)
{
	uint64_t count = v->sh->count;

	/* Dead by its tracer's death it may be in a moment: running is what shows. */
	while (v->sh->count == count && !has_ended(v->pid))
		ms_sleep(1);
	return !has_ended(v->pid);
}

/* Nothing of the agent may be left: whether it is waited for by pid or by start time. */
static void agent_gone(const struct inject_record *rec)
{
	int fd;

	while ((fd = inject_agent_pidfd(rec)) >= 0) {
		close(fd);
		ms_sleep(1);
	}
}

static void one(unsigned int n, bool traced, struct inject_record *rec)
{
	struct victim v = victim_start(sums, NULL);
	struct trace before = trace_take(v.pid);
	bool placing = n < CURE_FIRST, alive;
	struct inject_opts opts = opts_default();

	memset(rec, 0, sizeof(*rec));
	die_at = n;
	if (!placing) {
		if (place(&v, NULL))
			bail("nothing to go on with");
		*rec = v.rec;
	}
	by_another(&v, placing, traced, rec);
	alive = is_alive(&v);
	if (!alive) {
		int status = victim_stop(&v);

		ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
		   n >= (placing ? 3 : CURE_FIRST + 3), "step %u: it is killed, and had been begun with", n);
		agent_gone(rec);
		ok(true, "step %u: and no agent is left", n);
		trace_drop(&before);
		return;
	}
	ok(!v.sh->bad, "step %u: it runs, and is right", n);
	if (rec->pid) {
		int ret = inject_cure(rec, &opts, &v.err);

		ok(!ret || ret == -ENOENT, "step %u: what is left of the agent can be taken out", n);
		if (ret)
			note("%s", v.err.text);
	}
	trace_same(&before, v.pid, "and no trace is left");
	is_i64(victim_stop(&v), 0, "step %u: the target ends as it would have", n);
}

int main(void)
{
	struct inject_record *rec = mmap(NULL, sizeof(*rec), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	tap_timeout(55);
	if (rec == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	for (unsigned int n = 1; n <= PLACE_LAST; n++)
		one(n, false, rec);
	note("by a tracer that had stopped it before");
	for (unsigned int n = 1; n <= PLACE_LAST; n++)
		one(n, true, rec);
	note("taken out");
	for (unsigned int n = CURE_FIRST; n <= CURE_LAST; n++)
		one(n, false, rec);
	return tap_done();
}
