/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bounded SECONDS CMD...: run a command for at most that long, and leave none of it behind.
 *
 * It makes itself the reaper of its descendants.  When the command is late (or when this program
 * gets SIGTERM, SIGINT or SIGHUP) all of them are killed.  When it ended, descendants have two
 * seconds to follow; those that do not are named on standard error and killed.
 *
 * Exit status: the command's, 128 + signal when a signal ended it, 124 when it was late,
 * 123 when it ended well but left processes behind, 125 when it could not be run.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_PROCS 65536
#define GRACE_MS 2000

struct proc {
	pid_t pid, ppid;
	char state;
};

static struct proc procs[MAX_PROCS];

static int read_procs(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;
	int n = 0;

	while (dir && (d = readdir(dir)) && n < MAX_PROCS) {
		char path[300], buf[512], *p;
		FILE *f;

		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", d->d_name);
		f = fopen(path, "re");
		if (!f)
			continue;
		/* The name may hold anything: what follows its last ')' is well formed. */
		p = fgets(buf, sizeof(buf), f) ? strrchr(buf, ')') : NULL;
		procs[n].pid = atoi(d->d_name);
		if (p && sscanf(p + 1, " %c %d", &procs[n].state, &procs[n].ppid) == 2)
			n++;
		fclose(f);
	}
	if (dir)
		closedir(dir);
	return n;
}

static bool descends(int n, pid_t pid)
{
	for (int depth = 0; depth < 1000 && pid > 1; depth++) {
		int i = 0;

		if (pid == getpid())
			return true;
		while (i < n && procs[i].pid != pid)
			i++;
		if (i == n)
			return false;
		pid = procs[i].ppid;
	}
	return false;
}

static void print_name(pid_t pid)
{
	char path[64], buf[256];
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	f = fopen(path, "re");
	if (!f)
		return;
	len = fread(buf, 1, sizeof(buf) - 1, f);
	fclose(f);
	for (size_t i = 0; i + 1 < len; i++)
		if (!buf[i])
			buf[i] = ' ';
	buf[len] = 0;
	fprintf(stderr, "# left behind: %d %s\n", pid, buf);
}

/* Kill every descendant, as often as new ones turn up. */
static void kill_all(bool name_them)
{
	for (int round = 0; round < 1000; round++) {
		int n = read_procs(), found = 0;

		for (int i = 0; i < n; i++) {
			if (procs[i].pid == getpid() || !descends(n, procs[i].ppid))
				continue;
			found++;
			if (procs[i].state == 'Z')
				continue;
			if (name_them && !round)
				print_name(procs[i].pid);
			kill(procs[i].pid, SIGKILL);
		}
		while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
			;
		if (!found)
			return;
		usleep(10000);
	}
}

static unsigned long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000UL + ts.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
	unsigned long start = now_ms(), limit_ms, grace_end = 0;
	struct timespec tick = { 0, 50000000 };
	int status = 0, ret;
	bool ended = false;
	sigset_t set;
	pid_t cmd;

	if (argc < 3 || atoi(argv[1]) < 1) {
		fputs("usage: bounded SECONDS CMD...\n", stderr);
		return 125;
	}
	limit_ms = strtoul(argv[1], NULL, 10) * 1000;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	cmd = fork();
	if (!cmd) {
		sigprocmask(SIG_UNBLOCK, &set, NULL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[2], argv + 2);
		fprintf(stderr, "bounded: %s: %s\n", argv[2], strerror(errno));
		_exit(125);
	}
	if (cmd < 0) {
		perror("bounded: fork");
		return 125;
	}
	for (;;) {
		int sig = sigtimedwait(&set, NULL, &tick), st;
		pid_t pid;

		while ((pid = waitpid(-1, &st, WNOHANG | __WALL)) > 0) {
			if (pid != cmd)
				continue;
			status = st;
			ended = true;
			grace_end = now_ms() + GRACE_MS;
		}
		if (pid < 0 && ended)
			break;
		if (sig > 0 && sig != SIGCHLD) {
			kill_all(false);
			return 128 + sig;
		}
		if (!ended && now_ms() - start > limit_ms) {
			fprintf(stderr, "# late: not done after %lu s: %s\n", limit_ms / 1000,
				argv[2]);
			kill_all(true);
			return 124;
		}
		if (ended && now_ms() > grace_end) {
			kill_all(true);
			return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 123;
		}
	}
	ret = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return ret;
}
