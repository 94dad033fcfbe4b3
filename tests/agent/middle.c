// SPDX-License-Identifier: GPL-2.0-only
/*
 * What other threads of a target do at each step of a placing or a cure: execute a program, fork, end
 * the process.  And targets that wait for a page of somebody's userfaultfd, or are frozen.
 */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "kapi/proc.h"
#include "tests/agent/agent.h"

#define PLACE_LAST 12
#define CURE_FIRST 21
#define CURE_LAST 28

enum {
	CMD_EXEC = 1,
	CMD_FORK,
	CMD_EXIT,
};

static char self_path[4096];
static struct shared *shared;

static void *commanded(void *arg)
{
	char *const argv[] = { self_path, "executed", NULL };
	pid_t pid;

	(void)arg;
	for (;;) {
		uint64_t cmd = shared->word[0];

		switch (cmd) {
		case CMD_EXEC:
			execv(self_path, argv);
			_exit(9);
		case CMD_EXIT:
			_exit(7);
		case CMD_FORK:
			pid = fork();
			if (!pid) {
				/* It works with its memory, and ends. */
				char *p = malloc(1 << 20);

				memset(p, 1, 1 << 20);
				_exit(p[1000] != 1);
			}
			shared->word[2] = (uint64_t)waitpid(pid, (int *)&shared->word[3], 0) != (uint64_t)pid;
			shared->word[0] = 0;
			shared->word[1]++;
			break;
		}
		usleep(50);
	}
	return NULL;
}

static void two(struct shared *sh, void *arg)
{
	pthread_t t;

	(void)arg;
	shared = sh;
	pthread_create(&t, NULL, commanded, NULL);
	sh->ready = 1;
	while (!sh->stop)
		sh->count++;
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

static struct victim *at_victim;
static unsigned int at_step;
static uint64_t at_cmd;

/* Give the command, and wait until it is carried out or, as it may be, held up by our doing. */
static void command(unsigned int n)
{
	uint64_t done;

	if (n != at_step)
		return;
	done = at_victim->sh->word[1];
	at_victim->sh->word[0] = at_cmd;
	for (int i = 0; i < 100; i++) {
		if (at_cmd == CMD_EXEC ? executed(at_victim->pid) :
		    at_cmd == CMD_EXIT ? has_ended(at_victim->pid) :
					 at_victim->sh->word[1] != done)
			break;
		ms_sleep(1);
	}
}

static bool agent_left(const struct inject_record *rec)
{
	for (int i = 0; i < 5000; i++) {
		int fd = inject_agent_pidfd(rec);

		if (fd < 0)
			return false;
		close(fd);
		ms_sleep(1);
	}
	return true;
}

static bool childless(pid_t pid)
{
	char path[64], *text;
	bool none;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	text = file_text(path);
	none = !text[0];
	free(text);
	return none;
}

/* Place and cure with the command at step @n. Return: what is wrong, or NULL. */
static const char *once(uint64_t cmd, unsigned int n)
{
	struct victim v = victim_start(two, NULL);
	struct inject_opts opts = opts_default();
	struct inject_record rec = { .pid = 0 };
	const char *wrong = NULL;
	int placed, cured = 0, status;

	at_victim = &v;
	at_cmd = cmd;
	at_step = n;
	opts.step = command;
	placed = inject_place(v.pid, &opts, &v.rec, &v.sock, &v.err);
	rec = v.rec;
	if (rec.pid)
		cured = inject_cure(&v.rec, &opts, &v.err);
	if (cmd == CMD_FORK) {
		await(v.sh->word[1]);
		if (placed || cured)
			wrong = "not placed and cured";
		else if (v.sh->word[2] || v.sh->word[3])
			wrong = "the child did not come to its end";
		else if (victim_stop(&v))
			wrong = "the target ended otherwise than it would have";
		return wrong;
	}
	if (cmd == CMD_EXIT) {
		await(has_ended(v.pid));
		status = victim_stop(&v);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
			return "it did not end by itself";
		return rec.pid && agent_left(&rec) ? "its agent has outlived it" : NULL;
	}
	await(executed(v.pid) || has_ended(v.pid));
	if (has_ended(v.pid))
		wrong = "the new program does not run";
	else if (rec.pid && agent_left(&rec))
		wrong = "the agent of the old program lives";
	else if (!childless(v.pid))
		wrong = "the new program has a child";
	if (v.rec.pid)
		note("step %u: placed %d, cured %d: %s", n, placed, cured, v.err.text);
	victim_kill(&v);
	return wrong;
}

static void steps(uint64_t cmd, const char *name)
{
	int wrong = 0, rows = 0;

	for (unsigned int n = 1; n <= CURE_LAST; n++) {
		const char *what;

		if (n > PLACE_LAST && n < CURE_FIRST)
			continue;
		what = once(cmd, n);
		rows++;
		wrong += !!what;
		if (what)
			note("%s at step %u: %s", name, n, what);
	}
	is_i64(wrong, 0, "%s by another thread at each of %d steps", name, rows);
}

/* ---- a page that somebody else brings ---- */

static uint8_t *lazy;

static void faults(struct shared *sh, void *arg)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)lazy, page },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };

	(void)arg;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		_exit(9);
	sh->word[0] = (uint64_t)fd;
	sh->ready = 1;
	sh->word[1] = lazy[5];
	sh->count = 1;
	while (!sh->stop)
		usleep(1000);
}

static bool fault_waits(int uffd)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	return poll(&p, 1, 30000) == 1 && read(uffd, &msg, sizeof(msg)) == sizeof(msg) &&
	       msg.event == UFFD_EVENT_PAGEFAULT;
}

static void missing(void)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint8_t *bytes = aligned_alloc(page, page);
	struct uffdio_copy copy = { .len = page };
	struct victim v;
	int pidfd, uffd;

	lazy = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(bytes, 77, page);
	v = victim_start(faults, NULL);
	pidfd = proc_pidfd_open(v.pid);
	uffd = proc_pidfd_getfd(pidfd, (int)v.sh->word[0]);
	ok(fault_waits(uffd), "a thread waits for a page");
	is_i64(place(&v, NULL), 0, "its process gets an agent");
	ok(fault_waits(uffd), "the thread asks again");
	is_i64(order(&v, (struct agent_order){ .op = AGENT_UFFD }, uffd).error, 0,
	       "the agent holds the uffd");
	is_i64(cure(&v, NULL), 0, "the agent is taken out");
	ok(fault_waits(uffd), "the thread asks again");
	is_u64(v.sh->count, 0, "and waits");
	copy.dst = (uintptr_t)lazy;
	copy.src = (uintptr_t)bytes;
	is_i64(ioctl(uffd, UFFDIO_COPY, &copy), 0, "the page is brought");
	await(v.sh->count);
	is_u64(v.sh->word[1], 77, "and has its bytes");
	close(uffd);
	close(pidfd);
	free(bytes);
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

/* ---- frozen ---- */

static bool write_text(const char *dir, const char *name, const char *text)
{
	char path[300];
	int fd;
	bool good;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return good;
}

static void frozen(void)
{
	char dir[100], pid_text[16], path[128];
	struct victim v;
	uint64_t count;

	snprintf(dir, sizeof(dir), "/sys/fs/cgroup/freezer/agent-test-%d", getpid());
	if (mkdir(dir, 0755)) {
		skip("a frozen process", "there is no freezer (cgroup v1)");
		return;
	}
	v = victim_start(two, NULL);
	sprintf(pid_text, "%d", v.pid);
	snprintf(path, sizeof(path), "%s/freezer.state", dir);
	if (!write_text(dir, "cgroup.procs", pid_text) || !write_text(dir, "freezer.state", "FROZEN"))
		bail("%s does not freeze", dir);
	for (bool there = false; !there;) {
		char *text = file_text(path);

		there = !strncmp(text, "FROZEN", 6);
		free(text);
	}
	is_i64(place(&v, NULL), -EAGAIN, "a frozen process gets no agent");
	write_text(dir, "freezer.state", "THAWED");
	is_i64(place(&v, NULL), 0, "thawed it does");
	is_i64(cure(&v, NULL), 0, "and is cured");
	count = v.sh->count;
	await(v.sh->count != count);
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
	for (int i = 0; rmdir(dir) && i < 1000; i++)
		ms_sleep(1);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "executed"))
		for (;;)
			pause();
	tap_timeout(55);
	if (!realpath(argv[0], self_path))
		bail("realpath");
	missing();
	frozen();
	steps(CMD_FORK, "a fork");
	steps(CMD_EXIT, "the end");
	steps(CMD_EXEC, "an exec");
	return tap_done();
}
