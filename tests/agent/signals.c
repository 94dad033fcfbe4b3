// SPDX-License-Identifier: GPL-2.0-only
/*
 * Signals that come while a thread is borrowed: none is lost, doubled or changed, stops stay stops,
 * and what a process is stopped by stays that.
 */
#include "tests/agent/agent.h"

#define QUEUED 40
#define STEP_LAST 12

static struct shared *shared;

/* What arrived, in order: signal, sender's word, how it was sent. */
static void on_signal(int sig, siginfo_t *si, void *ctx)
{
	uint64_t n = shared->word[0];

	(void)ctx;
	if (n < 60)
		shared->word[1 + n] = (uint64_t)sig << 48 | (uint64_t)(si->si_code & 0xffff) << 32 |
				      (uint32_t)si->si_value.sival_int;
	shared->word[0] = n + 1;
}

static void handler(int sig)
{
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigfillset(&act.sa_mask);
	sigaction(sig, &act, NULL);
}

static void counts(struct shared *sh, void *arg)
{
	static const int all[] = { SIGUSR1, SIGUSR2, SIGSEGV, SIGTRAP, SIGBUS, SIGILL, SIGFPE, SIGSYS,
				   SIGCHLD, SIGCONT };

	(void)arg;
	shared = sh;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		handler(all[i]);
	handler(SIGRTMIN);
	sh->ready = 1;
	while (!sh->stop)
		sh->count++;
}

static struct victim *at_victim;
static unsigned int at_step;
static int sent;

static void send_queued(unsigned int n)
{
	(void)n;
	if (sent < QUEUED)
		sigqueue(at_victim->pid, SIGRTMIN, (union sigval){ .sival_int = sent++ });
}

/* One with a value at each step of some placings and cures: all arrive, in order, with it. */
static void values(void)
{
	struct victim v = victim_start(counts, NULL);
	struct inject_opts opts = opts_default();
	uint64_t bad = 0, what = (uint64_t)SIGRTMIN << 48 | (uint64_t)(SI_QUEUE & 0xffff) << 32;

	opts.step = send_queued;
	at_victim = &v;
	while (sent < QUEUED)
		if (place(&v, &opts) || cure(&v, &opts))
			bail("nothing to go on with");
	await(v.sh->word[0] >= QUEUED);
	is_u64(v.sh->word[0], QUEUED, "as many signals arrive as were sent");
	for (uint64_t i = 0; i < QUEUED; i++)
		bad += v.sh->word[1 + i] != (what | i);
	is_u64(bad, 0, "in order, each with its value and kind");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

static int at_signal;

static void send_one(unsigned int n)
{
	if (n == at_step)
		kill(at_victim->pid, at_signal);
}

/* Signals that a fault would raise as well, but that somebody sent. */
static void faults(void)
{
	static const int all[] = { SIGSEGV, SIGTRAP, SIGBUS, SIGILL, SIGFPE, SIGSYS };
	struct victim v = victim_start(counts, NULL);
	struct inject_opts opts = opts_default();
	uint64_t total = 0, bad = 0;

	opts.step = send_one;
	at_victim = &v;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		at_signal = all[i];
		for (at_step = 2; at_step <= STEP_LAST; at_step += 3) {
			uint64_t n = v.sh->word[0] = 0;

			if (place(&v, &opts))
				bail("nothing to go on with");
			await(v.sh->word[0] > n);
			total++;
			bad += v.sh->word[0] != 1 || v.sh->word[1] >> 48 != (uint64_t)at_signal ||
			       (v.sh->word[1] >> 32 & 0xffff) != (SI_USER & 0xffff);
			if (cure(&v, NULL))
				bail("nothing to go on with");
		}
	}
	is_u64(bad, 0, "%" PRIu64 " signals of faults that somebody sent arrive once, as sent", total);
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

static char state_of(pid_t pid)
{
	static const char *const keys[] = { "State:", NULL };
	char path[32], *line, state;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	line = file_lines(path, keys);
	state = line[0] ? line[7] : '-';
	free(line);
	return state;
}

/*
 * Who is let go while it is stopped goes back to its stop on its own, in the kernel: for a moment it
 * is said to be running.  That it runs no instruction there is for its counter to show.
 */
static char state_settled(pid_t pid)
{
	char state;

	for (int i = 0; (state = state_of(pid)) != 'T' && i < 5000; i++)
		usleep(1000);
	return state;
}

/* A SIGSTOP at each step stops it in the end, and its parent hears of that once. */
static void stop_at_steps(void)
{
	struct victim v = victim_start(counts, NULL);
	struct inject_opts opts = opts_default();
	int status, wrong = 0, again = 0;

	opts.step = send_one;
	at_victim = &v;
	at_signal = SIGSTOP;
	for (at_step = 1; at_step <= STEP_LAST; at_step++) {
		uint64_t count;

		if (place(&v, &opts))
			bail("nothing to go on with at step %u", at_step);
		wrong += waitpid(v.pid, &status, WUNTRACED) != v.pid || !WIFSTOPPED(status) ||
			 WSTOPSIG(status) != SIGSTOP;
		wrong += state_settled(v.pid) != 'T';
		count = v.sh->count;
		again += waitpid(v.pid, &status, WUNTRACED | WNOHANG) != 0;
		if (cure(&v, NULL))
			bail("nothing to go on with at step %u", at_step);
		wrong += state_settled(v.pid) != 'T' || v.sh->count != count;
		again += waitpid(v.pid, &status, WUNTRACED | WNOHANG) != 0;
		kill(v.pid, SIGCONT);
		await(v.sh->count != count);
	}
	is_i64(wrong, 0, "a SIGSTOP at any of %d steps stops the target, and it stays stopped", STEP_LAST);
	is_i64(again, 0, "its parent hears of each stop once");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

/* Stopped before; and let go in the middle. */
static void stopped(void)
{
	struct victim v = victim_start(counts, NULL);
	struct inject_opts opts = opts_default();
	struct trace before;
	int status, stayed = 0;
	uint64_t count;

	kill(v.pid, SIGSTOP);
	waitpid(v.pid, &status, WUNTRACED);
	before = trace_take(v.pid);
	count = v.sh->count;
	is_i64(place(&v, NULL), 0, "an agent is placed in a stopped process");
	is_u64(state_settled(v.pid), 'T', "which stays stopped");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_HELLO }, -1).error, 0, "while the agent works");
	is_i64(cure(&v, NULL), 0, "and is taken out");
	is_u64(state_settled(v.pid), 'T', "still stopped");
	is_u64(v.sh->count, count, "not an instruction of its own was run");
	is_i64(waitpid(v.pid, &status, WUNTRACED | WNOHANG), 0, "its parent hears nothing of it");
	trace_same(&before, v.pid, "and no trace is left");
	/* SIGCONT at each step: it runs afterwards. */
	opts.step = send_one;
	at_victim = &v;
	at_signal = SIGCONT;
	for (at_step = 1; at_step <= STEP_LAST; at_step++) {
		v.sh->word[0] = 0;
		if (place(&v, &opts))
			bail("nothing to go on with at step %u", at_step);
		count = v.sh->count;
		await(v.sh->count != count);
		await(v.sh->word[0]);
		stayed += v.sh->word[0] != 1;
		if (cure(&v, NULL))
			bail("nothing to go on with at step %u", at_step);
		kill(v.pid, SIGSTOP);
		while (waitpid(v.pid, &status, WUNTRACED) != v.pid || !WIFSTOPPED(status))
			;
	}
	is_i64(stayed, 0, "a SIGCONT at any step lets it go on, and is handled once");
	kill(v.pid, SIGCONT);
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

/* Killed at each step: it is gone, and so is the agent. */
static void killed(void)
{
	int wrong = 0, left = 0;

	for (at_step = 1; at_step <= STEP_LAST; at_step++) {
		struct victim v = victim_start(counts, NULL);
		struct inject_opts opts = opts_default();
		int status, ret;

		opts.step = send_one;
		at_victim = &v;
		at_signal = SIGKILL;
		memset(&v.rec, 0, sizeof(v.rec));
		ret = inject_place(v.pid, &opts, &v.rec, &v.sock, &v.err);
		if (ret != 0 && ret != -ESRCH) {
			note("step %u: %d: %s", at_step, ret, v.err.text);
			wrong++;
		}
		status = victim_stop(&v);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
			note("step %u: status %#x", at_step, status);
			wrong++;
		}
		if (!ret) {
			await(inject_agent_pidfd(&v.rec) == -ESRCH);
			left += inject_cure(&v.rec, &opts, &v.err) != -ESRCH;
		}
	}
	is_i64(wrong, 0, "a target killed at any step is that, and is said to be");
	is_i64(left, 0, "its agent ends with it");
}

/* The mask that it has is the one that it keeps. */
static void masked(struct shared *sh, void *arg)
{
	sigset_t set;

	(void)arg;
	shared = sh;
	handler(SIGUSR1);
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sh->ready = 1;
	while (!sh->stop)
		sh->count++;
	sh->bad = sh->word[0];
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void blocked(void)
{
	struct victim v = victim_start(masked, NULL);
	struct trace before;

	kill(v.pid, SIGUSR1);
	kill(v.pid, SIGSEGV);
	before = trace_take(v.pid);
	is_i64(place(&v, NULL), 0, "an agent is placed where signals are blocked and wait");
	is_i64(cure(&v, NULL), 0, "and taken out");
	trace_same(&before, v.pid, "they are blocked, and wait, still");
	is_u64(v.sh->word[0], 0, "none was handled");
	victim_kill(&v);
}

int main(void)
{
	tap_timeout(55);
	values();
	faults();
	stop_at_steps();
	stopped();
	killed();
	blocked();
	return tap_done();
}
