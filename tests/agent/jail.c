// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a hijacked agent could do: its thread is made to try, as one who writes to its stack would.
 */
#include "tests/agent/agent.h"

#include "kapi/remote.h"

static void sleeps(struct shared *sh, void *arg)
{
	struct sched_param p = { .sched_priority = 1 };

	sh->word[0] = arg && !sched_setscheduler(0, SCHED_FIFO, &p);
	sh->ready = 1;
	while (!sh->stop)
		usleep(1000);
}

static int64_t attempt(pid_t agent, long nr, uint64_t a, uint64_t b, uint64_t c)
{
	const uint64_t arg[6] = { a, b, c, 0, 0, 0 };
	struct remote r;
	int64_t result = 0;

	if (remote_open(&r, agent) || remote_stop(&r, 10000) || remote_begin(&r, 0))
		bail("agent %d cannot be borrowed", agent);
	if (remote_call(&r, nr, arg, &result) || remote_end(&r))
		bail("agent %d cannot be made to call", agent);
	remote_release(&r);
	remote_close(&r);
	return result;
}

static void calls(void)
{
	struct victim v = victim_start(sleeps, NULL);
	int fd;

	if (place(&v, NULL))
		bail("nothing to go on with");
	order(&v, (struct agent_order){ .op = AGENT_HELLO }, -1);
	is_i64(attempt(v.rec.agent_pid, SYS_getpid, 0, 0, 0), v.rec.agent_nspid, "it may ask for its pid");
	is_i64(attempt(v.rec.agent_pid, SYS_close, 55, 0, 0), -EBADF, "and close what it has");
	is_i64(attempt(v.rec.agent_pid, SYS_openat, 0, v.rec.data, 0), -EPERM, "it may not open files");
	is_i64(attempt(v.rec.agent_pid, SYS_execve, v.rec.data, 0, 0), -EPERM, "nor execute them");
	is_i64(attempt(v.rec.agent_pid, SYS_socket, AF_INET, SOCK_STREAM, 0), -EPERM, "nor make sockets");
	is_i64(attempt(v.rec.agent_pid, SYS_kill, (uint64_t)v.rec.agent_nspid, 0, 0), -EPERM,
	       "nor send signals");
	is_i64(attempt(v.rec.agent_pid, SYS_ptrace, 0, 0, 0), -EPERM, "nor trace");
	is_i64(attempt(v.rec.agent_pid, SYS_fork, 0, 0, 0), -EPERM, "nor fork");
	is_i64(attempt(v.rec.agent_pid, SYS_setuid, 0, 0, 0), -EPERM, "nor change who it is");
	is_i64(attempt(v.rec.agent_pid, SYS_pidfd_getfd, 0, 0, 0), -EPERM, "nor take descriptors");
	is_i64(attempt(v.rec.agent_pid, SYS_mount, 0, 0, 0), -EPERM, "nor mount");
	is_i64(attempt(v.rec.agent_pid, 0x40000000 | 257, 0, v.rec.data, 0), -EPERM,
	       "nor by another set of numbers");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_HELLO }, -1).error, 0, "it still answers");
	/* The end of both: its table has two ends of a channel and nothing of the target's. */
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	is_i64(order(&v, (struct agent_order){ .op = AGENT_FILE }, fd).error, 0, "it takes a file");
	close(fd);
	is_i64(attempt(v.rec.agent_pid, SYS_close, 3, 0, 0), -EBADF, "and that is all it has");
	is_i64(cure(&v, NULL), 0, "it is taken out");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

static void priority(void)
{
	struct victim v = victim_start(sleeps, "");

	if (!v.sh->word[0]) {
		skip("a real-time target", "SCHED_FIFO is not allowed here");
		victim_kill(&v);
		return;
	}
	if (place(&v, NULL))
		bail("nothing to go on with");
	order(&v, (struct agent_order){ .op = AGENT_HELLO }, -1);
	is_i64(sched_getscheduler(v.rec.agent_pid), SCHED_OTHER,
	       "the agent of a real-time target is not one");
	is_i64(sched_getscheduler(v.pid), SCHED_FIFO, "the target is");
	is_i64(cure(&v, NULL), 0, "it is taken out");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

int main(void)
{
	tap_timeout(55);
	calls();
	priority();
	return tap_done();
}
