// SPDX-License-Identifier: GPL-2.0-only
/*
 * meter FILE CMD...: run CMD and measure it with all its descendants.
 * meter --exec CMD...: become CMD, as the subreaper of its descendants.
 *
 * A pager may be several processes: one that the caller waits for, others that it forks, waits for
 * or leaves behind.  The meter is the subreaper of them all, so none escapes the account.  When
 * the last one has ended it writes to FILE, one "key=value" a line:
 *
 *	status		exit status of CMD, or 128 + the signal that ended it
 *	ended		when CMD ended, ns of CLOCK_REALTIME
 *	last		when the last descendant ended, the same
 *	cpu		user + system time of CMD and all descendants, ns
 *
 * and exits 0.  CMD is killed when the meter dies.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t tv_ns(struct timeval tv)
{
	return (uint64_t)tv.tv_sec * 1000000000 + (uint64_t)tv.tv_usec * 1000;
}

static int die(const char *what)
{
	dprintf(STDERR_FILENO, "meter: %s: %s\n", what, strerror(errno));
	return 125;
}

int main(int argc, char **argv)
{
	uint64_t ended = 0, last = 0, cpu = 0;
	int status = 0, st, fd;
	struct rusage ru;
	pid_t child, pid;

	if (argc < 3) {
		dprintf(STDERR_FILENO, "usage: meter FILE CMD... | meter --exec CMD...\n");
		return 2;
	}
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		return die("PR_SET_CHILD_SUBREAPER");
	if (!strcmp(argv[1], "--exec")) {
		execvp(argv[2], argv + 2);
		return die(argv[2]);
	}
	fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return die(argv[1]);
	child = fork();
	if (child < 0)
		return die("fork");
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[2], argv + 2);
		_exit(die(argv[2]));
	}
	/* The descriptors for CMD are CMD's alone: its caller may wait for their end of file. */
	close_range(3, (unsigned int)fd - 1, 0);
	close_range((unsigned int)fd + 1, ~0U, 0);

	/* What a process has waited for itself is in its own account, so nothing counts twice. */
	while ((pid = wait4(-1, &st, __WALL, &ru)) > 0) {
		last = now_ns();
		cpu += tv_ns(ru.ru_utime) + tv_ns(ru.ru_stime);
		if (pid == child) {
			ended = last;
			status = WIFSIGNALED(st) ? 128 + WTERMSIG(st) : WEXITSTATUS(st);
		}
	}
	dprintf(fd, "status=%d\nended=%" PRIu64 "\nlast=%" PRIu64 "\ncpu=%" PRIu64 "\n", status,
		ended, last, cpu);
	return 0;
}
