/* SPDX-License-Identifier: GPL-2.0-only */
/* proc: what /proc and pidfds tell about other processes. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kapi/proc.h"
#include "util/fd.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

pid_t proc_clone_files(void)
{
	/* glibc's fork() has no way to share the table, and its clone() wants a stack of its own. */
	long pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	return pid < 0 ? -errno : pid;
}

int proc_pidfd_open(pid_t pid)
{
	int fd = syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

int proc_pidfd_kill(int pidfd, int sig)
{
	return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) ? -errno : 0;
}

int proc_pidfd_getfd(int pidfd, int fd)
{
	int got = syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	return got < 0 ? -errno : got;
}

bool proc_pidfd_exited(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static int proc_children_of_thread(pid_t pid, const char *tid, pid_t *out, int max)
{
	char path[64];
	char *text = NULL;
	int n = 0, ret;
	cleanup_fd int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = fd_slurp(fd, 1 << 20, &text, NULL);
	if (ret)
		return ret;
	for (char *p = text, *end; n < max; p = end) {
		long v = strtol(p, &end, 10);

		if (end == p)
			break;
		out[n++] = v;
	}
	free(text);
	return n;
}

int proc_children(pid_t pid, pid_t *out, int max)
{
	char path[32];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	if (!d)
		return -errno;
	while (n < max && (e = readdir(d))) {
		if (!isdigit(e->d_name[0]))
			continue;
		int got = proc_children_of_thread(pid, e->d_name, out + n, max - n);

		if (got > 0)
			n += got;
	}
	closedir(d);
	return n;
}

int proc_all(pid_t *out, int max)
{
	struct dirent *e;
	int n = 0;
	DIR *d = opendir("/proc");

	if (!d)
		return -errno;
	while (n < max && (e = readdir(d)))
		if (isdigit(e->d_name[0]))
			out[n++] = atoi(e->d_name);
	closedir(d);
	return n;
}

/* Opens /proc/PID/@name for reading; returns the descriptor or -errno. */
static int proc_open(pid_t pid, const char *name)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The numbers after "@key:" in /proc/PID/status; the last one counts. */
static long proc_status_last(pid_t pid, const char *key)
{
	char *text = NULL;
	long v = -ESRCH;
	cleanup_fd int fd = proc_open(pid, "status");
	int ret;

	if (fd < 0)
		return fd;
	ret = fd_slurp(fd, 1 << 16, &text, NULL);
	if (ret)
		return ret;
	char *line = strstr(text, key);

	if (line) {
		line += strlen(key);
		for (char *end;; line = end) {
			while (*line == '\t' || *line == ' ')
				line++;
			if (!isdigit(*line))
				break;
			v = strtol(line, &end, 10);
		}
	}
	free(text);
	return v;
}

pid_t proc_nspid(pid_t pid)
{
	return proc_status_last(pid, "\nNSpid:");
}

pid_t proc_ppid(pid_t pid)
{
	return proc_status_last(pid, "\nPPid:");
}

pid_t proc_tracer(pid_t pid)
{
	return proc_status_last(pid, "\nTracerPid:");
}

/*
 * One field of /proc/PID/stat, counted from 1 as in proc(5) and at least 3: the name in field 2 may
 * hold anything, so counting begins behind it.
 * Return: its number and *@nthreads (field 20) where asked for, or -errno.
 */
static int64_t proc_stat_field(pid_t pid, int want, long *nthreads)
{
	char text[1024];
	cleanup_fd int fd = proc_open(pid, "stat");
	ssize_t n;

	if (fd < 0)
		return fd;
	n = fd_read_full(fd, text, sizeof(text) - 1);
	if (n < 0)
		return n;
	text[n] = '\0';
	char *p = strrchr(text, ')');

	for (int field = 2; p && field < want; field++) {
		p = strchr(p + 1, ' ');
		if (p && field + 1 == 20 && nthreads)
			*nthreads = strtol(p, NULL, 10);
	}
	return p ? strtoll(p, NULL, 10) : -ESRCH;
}

uint64_t proc_start_time(pid_t pid)
{
	int64_t ticks = proc_stat_field(pid, 22, NULL);

	return ticks < 0 ? 0 : ticks;
}

int proc_cpu_of(pid_t pid, long *nthreads)
{
	return proc_stat_field(pid, 39, nthreads);
}

static int proc_set_cpus(int cpu, bool only)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (cpu < 0 || (i == cpu) == only)
			CPU_SET(i, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

int proc_pin(int cpu)
{
	return proc_set_cpus(cpu, true);
}

int proc_avoid(int cpu)
{
	return proc_set_cpus(cpu, false);
}

int proc_boost(pid_t pid, bool on)
{
	struct sched_param param = { .sched_priority = on };

	if (sched_getscheduler(pid) != (on ? SCHED_OTHER : SCHED_RR))
		return -EINVAL;
	return sched_setscheduler(pid, on ? SCHED_RR : SCHED_OTHER, &param) ? -errno : 0;
}

bool proc_boosted(pid_t pid)
{
	return sched_getscheduler(pid) == SCHED_RR;
}

int proc_pagemap_open(pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int proc_pagemap_read(int fd, uint64_t addr, uint64_t page_size, unsigned int n, uint64_t *entries)
{
	ssize_t want = n * sizeof(*entries);
	ssize_t got = pread(fd, entries, want, addr / page_size * sizeof(*entries));

	if (got < 0)
		return -errno;
	return got == want ? 0 : -ESRCH;
}

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

bool proc_has_guards(void)
{
	long size = sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool has;

	if (page == MAP_FAILED)
		return true; /* looking for them in vain costs little */
	has = !madvise(page, size, MADV_GUARD_INSTALL);
	munmap(page, size);
	return has;
}

uint64_t proc_raise_nofile(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim))
		return 0;
	struct rlimit more = { .rlim_cur = 1 << 20, .rlim_max = 1 << 20 };

	if (lim.rlim_max < more.rlim_max && !setrlimit(RLIMIT_NOFILE, &more))
		return more.rlim_cur;
	lim.rlim_cur = lim.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &lim) && getrlimit(RLIMIT_NOFILE, &lim))
		return 0;
	return lim.rlim_cur;
}

int proc_protect_from_oom(void)
{
	cleanup_fd int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fd_write_full(fd, "-1000", 5);
}
