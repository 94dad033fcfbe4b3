// SPDX-License-Identifier: GPL-2.0-only
/* task: what /proc tells about a thread that is to be borrowed. */
#include <ctype.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kapi/task.h"
#include "util/fd.h"

static uint64_t field(const char *text, const char *key, int base)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, base) : 0;
}

int task_status(pid_t pid, pid_t tid, struct task_status *st)
{
	char path[48];
	cleanup_free char *text = NULL;
	cleanup_fd int fd = -1;
	const char *state, *features;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	ret = fd_slurp(fd, 1 << 16, &text, NULL);
	if (ret)
		return ret;
	state = strstr(text, "\nState:\t");
	if (!state)
		return -ESRCH;
	st->state = state[8];
	st->tracer = (pid_t)field(text, "\nTracerPid:", 10);
	st->seccomp = (unsigned int)field(text, "\nSeccomp:", 10);
	st->pending = field(text, "\nSigPnd:", 16) | field(text, "\nShdPnd:", 16);
	st->blocked = field(text, "\nSigBlk:", 16);
	st->ignored = field(text, "\nSigIgn:", 16);
	st->caught = field(text, "\nSigCgt:", 16);
	features = strstr(text, "\nx86_Thread_features:");
	st->shadow_stack = features && memmem(features, strcspn(features + 1, "\n"), "shstk", 5);
	return 0;
}

/* Can it be stopped? Tracing stops are for others to judge. */
static bool stoppable(char state)
{
	return strchr("SRtTI", state);
}

pid_t task_pick(pid_t pid, pid_t *any)
{
	char path[32];
	struct task_status st;
	struct dirent *e;
	pid_t found = 0;
	DIR *d;

	/*
	 * The leader is the thread that lives longest, as a rule, and an agent dies with the thread
	 * that cloned it.
	 */
	*any = 0;
	if (task_status(pid, pid, &st))
		return -ESRCH;
	if (stoppable(st.state))
		return *any = pid;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && !found && (e = readdir(d))) {
		pid_t tid = isdigit(e->d_name[0]) ? atoi(e->d_name) : 0;

		if (!tid || task_status(pid, tid, &st) || st.state == 'Z' || st.state == 'X')
			continue;
		*any = tid;
		if (stoppable(st.state))
			found = tid;
	}
	if (d)
		closedir(d);
	if (found)
		return found;
	return *any ? -EAGAIN : -ESRCH;
}

/* The auxiliary vector. Return: number of words read, or -errno. */
static ssize_t read_auxv(pid_t tid, uint64_t *words, size_t max)
{
	char path[32];
	cleanup_fd int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/auxv", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = fd_read_full(fd, words, max * sizeof(*words));
	return n < 0 ? n : n / (ssize_t)sizeof(*words);
}

int task_native(pid_t tid)
{
	uint64_t key;
	ssize_t n = read_auxv(tid, &key, 1);

	/*
	 * The vector is pairs of words of the program's own size, and the first key is a small number:
	 * read as 64 bits it stays small only if that is the size of the words.
	 */
	return n < 0 ? (int)n : n == 1 && key < 4096;
}

uint64_t task_vdso(pid_t tid)
{
	uint64_t words[128];
	ssize_t n = read_auxv(tid, words, 128);

	for (ssize_t i = 0; i + 1 < n; i += 2)
		if (words[i] == AT_SYSINFO_EHDR)
			return words[i + 1];
	return 0;
}

int task_same_mm(pid_t a, pid_t b)
{
	long ret = syscall(SYS_kcmp, a, b, KCMP_VM, 0, 0);

	return ret < 0 ? -errno : !ret;
}

bool task_signal_now(const struct task_status *st)
{
	/* Ignored by default; a stop or the end of the process count as well. */
	uint64_t quiet = 1ull << (SIGCHLD - 1) | 1ull << (SIGCONT - 1) | 1ull << (SIGURG - 1) |
			 1ull << (SIGWINCH - 1);
	uint64_t ignored = st->ignored | (quiet & ~st->caught);

	return st->pending & ~st->blocked & ~ignored;
}
