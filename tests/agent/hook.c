// SPDX-License-Identifier: GPL-2.0-only
/*
 * Placing as from criu's hook: the caller is the tracer, every thread is in the stop in which the
 * restorer's last system call left it, and when it is done the caller lets them go.
 */
#include <pthread.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "tests/agent/agent.h"

#define THREADS 3

static struct shared *shared;

static void *spin(void *arg)
{
	unsigned long i = (unsigned long)arg;

	while (!shared->stop) {
		shared->word[i]++;
		/* Something to be stopped at the end of. */
		syscall(SYS_getppid);
	}
	return NULL;
}

static void threaded(struct shared *sh, void *arg)
{
	pthread_t t[THREADS];

	(void)arg;
	shared = sh;
	for (unsigned long i = 1; i < THREADS; i++)
		pthread_create(&t[i], NULL, spin, (void *)i);
	sh->ready = 1;
	spin((void *)0);
	for (int i = 1; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static void stop_wait(pid_t tid, int *status)
{
	if (waitpid(tid, status, __WALL) != tid || !WIFSTOPPED(*status))
		bail("thread %d does not stop", tid);
}

/* To the end of a system call, with registers that do not tell of one: as criu leaves it. */
static void take(pid_t tid)
{
	struct user_regs_struct regs;
	int status, stops = 0;

	if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD) || ptrace(PTRACE_INTERRUPT, tid, 0, 0))
		bail("seize: %s", strerror(errno));
	stop_wait(tid, &status);
	do {
		ptrace(PTRACE_SYSCALL, tid, 0, 0);
		stop_wait(tid, &status);
		stops += WSTOPSIG(status) == (SIGTRAP | 0x80);
		ptrace(PTRACE_GETREGS, tid, 0, &regs);
	} while (stops < 2 || (long)regs.rax < 0);
	regs.orig_rax = (unsigned long)-1;
	ptrace(PTRACE_SETREGS, tid, 0, &regs);
}

static int threads_of(pid_t pid, pid_t *out)
{
	char path[32];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' && n < THREADS)
			out[n++] = atoi(e->d_name);
	closedir(d);
	return n;
}

static char state_of(pid_t pid)
{
	static const char *const keys[] = { "State:", NULL };
	char path[32], *line, state;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	line = file_lines(path, keys);
	state = line[7];
	free(line);
	return state;
}

static void round_with(bool stopped)
{
	struct victim v = victim_start(threaded, NULL);
	struct trace before = trace_take(v.pid);
	struct inject_opts opts = { .nslots = 1, .traced = true };
	struct user_regs_struct was, is;
	struct agent_answer r;
	pid_t tid[THREADS];
	int n = threads_of(v.pid, tid), status;
	uint64_t count[THREADS];

	is_u64(n, THREADS, "%s: all its threads are there", stopped ? "stopped" : "running");
	for (int i = 0; i < n; i++)
		take(tid[i]);
	if (stopped)
		kill(v.pid, SIGSTOP);
	ptrace(PTRACE_GETREGS, v.pid, 0, &was);
	is_i64(place(&v, &opts), 0, "an agent is placed");
	ptrace(PTRACE_GETREGS, v.pid, 0, &is);
	ok(!memcmp(&was, &is, sizeof(was)), "the leader's registers are what they were");
	r = order(&v, (struct agent_order){ .op = AGENT_HELLO }, -1);
	is_i64(r.error, 0, "the agent answers while the target is still stopped");
	for (int i = 0; i < n; i++)
		is_i64(waitpid(tid[i], &status, __WALL | WNOHANG), 0, "thread %d has stayed stopped", i);
	for (int i = 0; i < n; i++)
		ok(!ptrace(PTRACE_DETACH, tid[i], 0, 0), "thread %d is let go", i);
	if (stopped) {
		await(state_of(v.pid) == 'T');
		ok(true, "it is stopped, as it was to be");
		is_i64(waitpid(v.pid, &status, WUNTRACED), v.pid, "its parent hears of that");
		is_i64(waitpid(v.pid, &status, WUNTRACED | WNOHANG), 0, "once");
		is_i64(cure(&v, NULL), 0, "the agent is taken out");
		/* Said to run for the moment that it takes to go back to its stop. */
		await(state_of(v.pid) == 'T');
		ok(true, "it is still stopped");
		is_i64(waitpid(v.pid, &status, WUNTRACED | WNOHANG), 0, "its parent hears nothing new");
		kill(v.pid, SIGCONT);
	}
	memcpy(count, (void *)v.sh->word, sizeof(count));
	for (int i = 0; i < n; i++)
		await(v.sh->word[i] != count[i]);
	ok(true, "all threads run");
	if (!stopped)
		is_i64(cure(&v, NULL), 0, "the agent is taken out");
	trace_same(&before, v.pid, "it has left no trace");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

/* What cannot be done leaves the thread as it was. */
static void refused(void)
{
	struct victim v = victim_start(threaded, NULL);
	struct inject_opts opts = { .nslots = 1, .traced = true };
	struct user_regs_struct was, is;
	struct rlimit old, none;
	struct trace before;
	pid_t tid[THREADS];
	int n = threads_of(v.pid, tid);

	for (int i = 0; i < n; i++)
		take(tid[i]);
	prlimit(v.pid, RLIMIT_AS, NULL, &old);
	none = (struct rlimit){ 0, old.rlim_max };
	prlimit(v.pid, RLIMIT_AS, &none, NULL);
	before = trace_take(v.pid);
	ptrace(PTRACE_GETREGS, v.pid, 0, &was);
	opts.nslots = AGENT_SLOTS_MAX + 1;
	is_i64(place(&v, &opts), -EINVAL, "too many slots are refused");
	opts.nslots = 1;
	is_i64(place(&v, &opts), 0, "a limit of the target's own is lifted for the time");
	ptrace(PTRACE_GETREGS, v.pid, 0, &is);
	ok(!memcmp(&was, &is, sizeof(was)), "its registers are what they were");
	is_i64(cure(&v, &opts), 0, "the agent is taken out by the same tracer");
	ptrace(PTRACE_GETREGS, v.pid, 0, &is);
	ok(!memcmp(&was, &is, sizeof(was)), "its registers are what they were");
	trace_same(&before, v.pid, "no trace is left, nor in the limits");
	prlimit(v.pid, RLIMIT_AS, &old, NULL);
	for (int i = 0; i < n; i++)
		ptrace(PTRACE_DETACH, tid[i], 0, 0);
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

int main(void)
{
	tap_timeout(50);
	round_with(false);
	round_with(true);
	refused();
	return tap_done();
}
