/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * victim_tree DIR [-m MIB] [-n TASKS] [-z]: a process tree with memory shared copy-on-write.
 *
 * The root task fills a region of MIB MiB and forks; every second task is a child of the root,
 * the others are children of the task before.  Task t then gives every (t + 2)th page its next
 * generation and leaves the rest shared.  With -z the root also has a zombie child.
 *
 * Commands go to the root, which passes them on through pipes and adds the answers up:
 *	verify		all tasks check all of their memory at the same time
 *	rewrite		every task gives a third of its pages another generation
 *	zombie		is the zombie still there, and nothing else to be waited for?
 *	exit		all leave; status 1 when any word was ever wrong anywhere
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "victim/victim.h"

#define MAX_TASKS 32

static char *mem;
static uint64_t npages, *keys;
static unsigned int ntasks = 5, self;
static int to_task[MAX_TASKS][2], from_task[MAX_TASKS][2];
static pid_t zombie;

static void rewrite_every(unsigned int step, unsigned int first)
{
	for (uint64_t i = first; i < npages; i += step) {
		keys[i] = key_next_gen(keys[i]);
		page_fill(mem + i * PAGE, keys[i]);
	}
}

static uint64_t verify(void)
{
	uint64_t bad = 0;

	victim_reports = 0;
	/* Tasks walk in different directions, so that they do not fault in step. */
	for (uint64_t i = 0; i < npages; i++) {
		uint64_t at = self & 1 ? npages - 1 - i : i;

		bad += page_check(mem + at * PAGE, keys[at]);
	}
	return bad;
}

static uint64_t obey(char cmd)
{
	if (cmd == 'v')
		return verify();
	if (cmd == 'r')
		rewrite_every(3, self % 3);
	return 0;
}

/* Every task but the root: a command byte in, a count of wrong words out. */
__attribute__((noreturn))
static void serve(void)
{
	for (;;) {
		uint64_t bad;
		char cmd;

		if (read(to_task[self][0], &cmd, 1) != 1 || cmd == 'x')
			_exit(victim_bad != 0);
		bad = obey(cmd);
		if (write(from_task[self][1], &bad, sizeof(bad)) != sizeof(bad))
			_exit(97);
	}
}

static void fork_task(unsigned int t)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (pid)
		return;
	self = t;
	rewrite_every(t + 2, t);
	/* The next task, when it has an odd number, hangs below this one. */
	if (t % 2 == 0 && t + 1 < ntasks)
		fork_task(t + 1);
	if (self == t) {
		uint64_t ok = 0;

		if (write(from_task[self][1], &ok, sizeof(ok)) != sizeof(ok))
			_exit(97);
	}
	serve();
}

/* Return: the number of tasks whose memory was all right; adds their wrong words to @bad. */
static unsigned int collect(uint64_t *bad)
{
	unsigned int good = 0;

	for (unsigned int t = 1; t < ntasks; t++) {
		uint64_t b;

		if (read(from_task[t][0], &b, sizeof(b)) != sizeof(b))
			fail("task %u is gone", t);
		*bad += b;
		good += !b;
	}
	return good;
}

static void tell(char cmd)
{
	for (unsigned int t = 1; t < ntasks; t++)
		if (write(to_task[t][1], &cmd, 1) != 1)
			fail("task %u does not listen", t);
}

static void do_zombie(void)
{
	siginfo_t si = { 0 };

	if (!zombie) {
		answer("zombie none");
		return;
	}
	/* WNOWAIT leaves it as it is. */
	if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT))
		fail("waitid: %s", strerror(errno));
	answer("zombie %s status=%d", si.si_pid == zombie ? "there" : "missing", si.si_status);
}

int main(int argc, char **argv)
{
	uint64_t mib = 32, bad = 0;
	bool with_zombie = false;
	int opt;

	while ((opt = getopt(argc, argv, "m:n:z")) != -1) {
		if (opt == 'm')
			mib = strtoul(optarg, NULL, 0);
		else if (opt == 'n')
			ntasks = strtoul(optarg, NULL, 0);
		else if (opt == 'z')
			with_zombie = true;
		else
			optind = argc + 1;
	}
	if (optind != argc - 1 || !mib || !ntasks || ntasks > MAX_TASKS) {
		fputs("usage: victim_tree DIR [-m MIB] [-n TASKS] [-z]\n", stderr);
		return 2;
	}
	victim_open(argv[optind]);
	npages = mib * MIB / PAGE;
	mem = mmap(NULL, npages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	keys = mmap(NULL, npages * sizeof(*keys), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED || keys == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	for (uint64_t i = 0; i < npages; i++) {
		keys[i] = key_make(2, 1, i);
		page_fill(mem + i * PAGE, keys[i]);
	}
	for (unsigned int t = 1; t < ntasks; t++)
		if (pipe(to_task[t]) || pipe(from_task[t]))
			fail("pipe: %s", strerror(errno));
	if (with_zombie) {
		zombie = fork();
		if (!zombie)
			_exit(42);
	}
	for (unsigned int t = 1; t < ntasks; t++)
		if (t % 2 == 0 || t == 1)
			fork_task(t);
	collect(&bad);
	if (zombie) {
		siginfo_t si;

		waitid(P_PID, zombie, &si, WEXITED | WNOWAIT);
	}
	answer("ready pid=%d pages=%lu tasks=%u", getpid(), npages, ntasks);
	for (;;) {
		char line[64];
		unsigned int good;

		victim_read(line, sizeof(line));
		bad = 0;
		if (!strcmp(line, "verify")) {
			tell('v');
			bad = verify();
			good = !bad + collect(&bad);
			answer("verify bad=%lu tasks=%u pages=%lu", bad, good, npages * ntasks);
		} else if (!strcmp(line, "rewrite")) {
			tell('r');
			obey('r');
			collect(&bad);
			answer("rewrite tasks=%u", ntasks);
		} else if (!strcmp(line, "zombie")) {
			do_zombie();
		} else if (!strcmp(line, "spoil")) {
			mem[100] ^= 1;
			answer("spoil");
		} else if (!strcmp(line, "exit")) {
			int status;
			pid_t pid;

			tell('x');
			bad = victim_bad;
			while ((pid = wait(&status)) > 0)
				bad += pid != zombie && status;
			answer("exit bad=%lu", bad);
			return bad != 0;
		} else {
			answer("unknown %s", line);
		}
	}
}
