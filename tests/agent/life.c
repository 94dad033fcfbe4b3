// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a target does with itself while it has an agent: executes another program, forks, ends,
 * loses its first thread, waits for all its children.
 */
#include <pthread.h>

#include "tests/agent/agent.h"

static char self_path[4096];

/* Wait for a command in word[0], carry it out, say so in count. */
enum {
	CMD_EXEC = 1,
	CMD_EXEC_THREAD,
	CMD_FORK,
	CMD_EXIT,
	CMD_LEADER_EXIT,
	CMD_WAIT_ALL,
	CMD_WAIT,
	CMD_WAIT_NOHANG,
	CMD_UNMAP,
	CMD_CLOBBER,
};

static struct shared *shared;

static void do_exec(void)
{
	char *const argv[] = { self_path, "executed", NULL };

	execv(self_path, argv);
	_exit(9);
}

static void *exec_thread(void *arg)
{
	(void)arg;
	do_exec();
	return NULL;
}

static void *go_on(void *arg)
{
	(void)arg;
	for (;;) {
		shared->count++;
		usleep(1000);
	}
	return NULL;
}

static void obeys(struct shared *sh, void *arg)
{
	pthread_t t;
	pid_t pid;

	(void)arg;
	shared = sh;
	sh->ready = 1;
	while (!sh->stop) {
		uint64_t cmd = sh->word[0];

		sh->word[0] = 0;
		errno = 0;
		switch (cmd) {
		case CMD_EXEC:
			do_exec();
			break;
		case CMD_EXEC_THREAD:
			pthread_create(&t, NULL, exec_thread, NULL);
			for (;;)
				pause();
			break;
		case CMD_FORK:
			pid = fork();
			if (!pid) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				for (;;)
					pause();
			}
			sh->word[1] = (uint64_t)pid;
			break;
		case CMD_EXIT:
			_exit(7);
		case CMD_LEADER_EXIT:
			pthread_create(&t, NULL, go_on, NULL);
			pthread_exit(NULL);
		case CMD_WAIT_ALL:
			sh->word[1] = (uint64_t)waitpid(-1, NULL, __WALL);
			break;
		case CMD_WAIT:
			sh->word[1] = (uint64_t)waitpid(-1, NULL, 0);
			break;
		case CMD_WAIT_NOHANG:
			sh->word[1] = (uint64_t)waitpid(-1, NULL, WNOHANG);
			break;
		case CMD_UNMAP:
			sh->word[1] = (uint64_t)munmap((void *)sh->word[2], sh->word[3]);
			break;
		case CMD_CLOBBER:
			/* Something of its own where the agent's code was. */
			sh->word[1] = (uint64_t)mmap((void *)sh->word[2], sh->word[3],
						     PROT_READ | PROT_WRITE,
						     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			memset((void *)sh->word[2], 0x5a, sh->word[3]);
			break;
		}
		if (cmd) {
			sh->word[4] = (uint64_t)errno;
			sh->word[5]++;
		}
		sh->count++;
		usleep(200);
	}
}

static void tell(struct victim *v, uint64_t cmd)
{
	v->sh->word[0] = cmd;
}

static void tell_and_wait(struct victim *v, uint64_t cmd)
{
	uint64_t done = v->sh->word[5];

	tell(v, cmd);
	await(v->sh->word[5] != done);
}

static struct victim with_agent(void)
{
	struct victim v = victim_start(obeys, NULL);

	if (place(&v, NULL))
		bail("nothing to go on with");
	return v;
}

static char *children_of(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	return file_text(path);
}

static void agent_await_end(const struct inject_record *rec)
{
	int fd;

	while ((fd = inject_agent_pidfd(rec)) >= 0) {
		close(fd);
		ms_sleep(1);
	}
}

static bool executed(pid_t pid)
{
	char path[32], *text;
	bool yes;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	text = file_text(path);
	yes = !strcmp(text + strlen(text) + 1, "executed");
	free(text);
	return yes;
}

static void exec_by(uint64_t cmd, const char *name)
{
	struct victim v = with_agent();
	char *children;

	is_i64(inject_same_mm(&v.rec), 1, "%s: agent and target are one", name);
	tell(&v, cmd);
	await(executed(v.pid));
	await(inject_same_mm(&v.rec) == 0);
	ok(true, "%s: they are not any more", name);
	is_i64(cure(&v, NULL), -ENOENT, "%s: and the cure says so", name);
	children = children_of(v.pid);
	ok(!children[0], "%s: no agent is left, nor its remains", name);
	free(children);
	ok(executed(v.pid) && !has_ended(v.pid), "%s: the new program runs", name);
	is_u64(v.rec.pid, 0, "%s: the record is empty", name);
	victim_kill(&v);
}

static void ends(void)
{
	struct victim v = with_agent();
	struct inject_record rec = v.rec;
	int status;

	tell(&v, CMD_EXIT);
	await(has_ended(v.pid));
	status = victim_stop(&v);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 7, "a target ends with its own status");
	agent_await_end(&rec);
	ok(true, "and its agent with it");
	is_i64(inject_cure(&rec, &(struct inject_opts){ .nslots = 1 }, &v.err), -ESRCH, "the cure says so");
}

static void forks(void)
{
	struct victim v = with_agent();
	struct trace before;
	char path[64], *maps, *children, staging[32];
	pid_t child;

	tell_and_wait(&v, CMD_FORK);
	child = (pid_t)v.sh->word[1];
	snprintf(path, sizeof(path), "/proc/%d/maps", child);
	maps = file_text(path);
	snprintf(staging, sizeof(staging), "%" PRIx64 "-", v.rec.staging);
	ok(!strstr(maps, staging), "a child has no staging area");
	snprintf(staging, sizeof(staging), "%" PRIx64 "-", v.rec.code);
	ok(!strstr(maps, staging), "nor the agent's code");
	free(maps);
	children = children_of(child);
	ok(!children[0], "nor an agent");
	free(children);
	is_i64(order(&v, (struct agent_order){ .op = AGENT_HELLO }, -1).error, 0, "the parent has");
	is_i64(cure(&v, NULL), 0, "it is taken out");
	/* The child can have one of its own, and looks the same afterwards. */
	before = trace_take(child);
	struct victim c = { .pid = child, .sock = -1 };

	is_i64(place(&c, NULL), 0, "the child gets one of its own");
	is_i64(cure(&c, NULL), 0, "that is taken out");
	trace_same(&before, child, "without a trace");
	kill(child, SIGKILL);
	tell_and_wait(&v, CMD_WAIT);
	is_u64(v.sh->word[1], child, "the parent waits for it as ever");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

static void waits(void)
{
	struct victim v = with_agent();

	tell_and_wait(&v, CMD_WAIT);
	ok((long)v.sh->word[1] == -1 && v.sh->word[4] == ECHILD, "wait calls do not see the agent");
	tell_and_wait(&v, CMD_WAIT_NOHANG);
	ok((long)v.sh->word[1] == -1 && v.sh->word[4] == ECHILD, "nor those that do not wait");
	/* One that asks for clones does: it waits until the agent is taken out, then has no child. */
	tell(&v, CMD_WAIT_ALL);
	await(!v.sh->word[0]);
	ms_sleep(20);
	is_i64(cure(&v, NULL), 0, "it is taken out under a __WALL wait");
	await(v.sh->word[5] == 3);
	ok(((long)v.sh->word[1] == -1 && v.sh->word[4] == ECHILD) ||
	   v.sh->word[1] == (uint64_t)v.rec.agent_nspid || v.sh->word[1] > 0, "which then returns");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

static void reaped_by_target(void)
{
	struct victim v = with_agent();

	kill(v.rec.agent_pid, SIGKILL);
	tell_and_wait(&v, CMD_WAIT_ALL);
	is_u64(v.sh->word[1], v.rec.agent_nspid, "an agent that was killed is reaped by the target (__WALL)");
	is_i64(inject_same_mm(&v.rec), 0, "it is known to be gone");
	is_i64(cure(&v, NULL), 0, "what it leaves is taken out");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

static void killed_agent(void)
{
	struct victim v = victim_start(obeys, NULL);
	struct trace before = trace_take(v.pid);

	if (place(&v, NULL))
		bail("nothing to go on with");
	kill(v.rec.agent_pid, SIGKILL);
	agent_await_end(&v.rec);
	is_i64(cure(&v, NULL), 0, "what a killed agent leaves is taken out");
	trace_same(&before, v.pid, "without a trace");
	if (place(&v, NULL))
		bail("nothing to go on with");
	kill(v.rec.agent_pid, SIGSTOP);
	is_i64(cure(&v, NULL), 0, "and a stopped one");
	before = trace_take(v.pid);
	is_i64(place(&v, NULL), 0, "another one can be placed");
	is_i64(cure(&v, NULL), 0, "and taken out");
	trace_same(&before, v.pid, "without a trace");
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

static void leader_exits(void)
{
	struct victim v = with_agent();
	struct inject_record rec = v.rec;
	uint64_t count;

	/* The agent dies with the thread that cloned it. */
	tell(&v, CMD_LEADER_EXIT);
	agent_await_end(&rec);
	count = v.sh->count;
	await(v.sh->count != count);
	is_i64(cure(&v, NULL), 0, "a target without its first thread is cured by another");
	is_i64(place(&v, NULL), 0, "and gets an agent by it");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_HELLO }, -1).error, 0, "that answers");
	is_i64(cure(&v, NULL), 0, "and is taken out");
	count = v.sh->count;
	await(v.sh->count != count);
	victim_kill(&v);
}

static void clobbered(void)
{
	struct victim v = with_agent();
	uint64_t code = v.rec.code, len = v.rec.code_len, word = 0;
	char path[32];
	int fd;

	v.sh->word[2] = code;
	v.sh->word[3] = len;
	tell_and_wait(&v, CMD_CLOBBER);
	is_i64(cure(&v, NULL), -ENOENT, "where the target has put something of its own nothing is unmapped");
	snprintf(path, sizeof(path), "/proc/%d/mem", v.pid);
	fd = open(path, O_RDONLY);
	ok(pread(fd, &word, sizeof(word), (off_t)code) == sizeof(word) && word == 0x5a5a5a5a5a5a5a5a,
	   "it is still there");
	close(fd);
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "executed"))
		for (;;)
			pause();
	tap_timeout(55);
	if (!realpath(argv[0], self_path))
		bail("realpath");
	exec_by(CMD_EXEC, "exec");
	exec_by(CMD_EXEC_THREAD, "exec by a thread");
	ends();
	forks();
	waits();
	reaped_by_target();
	killed_agent();
	leader_exits();
	clobbered();
	return tap_done();
}
