/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * adopt: taking a restore over by hand, `uffd-relocate lazy-pages --adopt`.
 *
 * The keeper holds everything: the uffds, the sockets, the state memfd.  The one who takes over
 * (1) says so in the state, (2) ends the pager and waits until all its threads are gone, so that
 * nobody places or reads any more, (3) duplicates every descriptor of the keeper under the same
 * number, since the state names them by number, and (4) becomes a keeper itself, and says so
 * (st->handed) once nothing is left that could fail.  The old keeper keeps its descriptors until
 * then and goes on by itself when the new one dies or gives up before; afterwards it waits for the
 * new one and ends with its status: its caller sees one process from start to end.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "kapi/proc.h"
#include "kapi/uffd.h"
#include "pager/internal.h"
#include "pager/keeper.h"
#include "util/fd.h"
#include "util/log.h"

/* Our own descriptors must not stand where the keeper's go: they live at the table's end. */
#define ADOPT_FDS 64
static int adopt_fd_base;

static int adopt_aside(int fd)
{
	int moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, adopt_fd_base);

	if (fd >= 0)
		close(fd);
	return moved;
}

/* The process at the other end of the control socket: the keeper's table listens there. */
static pid_t adopt_find_keeper(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = PAGER_CONTROL_NAME };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return -errno;
	return cred.pid;
}

/* Which descriptor of @pid is the state? Return: its number or -errno. */
static int adopt_state_number(pid_t pid)
{
	char path[64], link[128];
	struct dirent *e;
	int found = -ENOENT;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	if (!d)
		return -errno;
	while (found < 0 && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);

		if (n < 0)
			continue;
		link[n] = '\0';
		if (strstr(link, "memfd:" STATE_MEMFD_NAME))
			found = atoi(e->d_name);
	}
	closedir(d);
	return found;
}

static int adopt_one(int pidfd, int number)
{
	int fd;

	if (number < 0)
		return 0;
	fd = proc_pidfd_getfd(pidfd, number);
	if (fd < 0)
		return fd;
	if (fd != number) {
		if (dup3(fd, number, O_CLOEXEC) < 0) {
			int err = -errno;

			close(fd);
			return err;
		}
		close(fd);
	}
	return 0;
}

/* Every descriptor of the keeper above stderr; numbers are what the state knows them by. */
static int adopt_all(int pidfd, pid_t pid)
{
	char path[64];
	struct dirent *e;
	int ret = 0;
	DIR *d;
	int dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = adopt_aside(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	d = dir < 0 ? NULL : fdopendir(dir);
	if (!d)
		return -errno;
	while (!ret && (e = readdir(d))) {
		int number = atoi(e->d_name);

		if (!isdigit(e->d_name[0]) || number <= STDERR_FILENO)
			continue;
		ret = number < adopt_fd_base ? adopt_one(pidfd, number) : -EMFILE;
	}
	closedir(d);
	return ret;
}

/* End the pager and wait until none of its threads can place or read. */
static int adopt_end_pager(struct state *st, pid_t keeper)
{
	pid_t pager = st->pager_pid;
	int pidfd = proc_pidfd_open(pager);

	if (pidfd < 0)
		return pidfd == -ESRCH ? 0 : pidfd;
	/* Dead and its pid reused?  One that is just being born will see st->handover. */
	if (proc_ppid(pager) != keeper) {
		close(pidfd);
		return 0;
	}
	proc_pidfd_kill(pidfd, SIGKILL);
	for (int i = 0; i < 500 && !proc_pidfd_exited(pidfd); i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	bool gone = proc_pidfd_exited(pidfd);

	close(pidfd);
	return gone ? 0 : -ETIMEDOUT;
}

int adopt_by_hand(const struct pager_opts *opts, struct state **out, int *state_fd)
{
	pid_t pid = opts->adopt_pid ? opts->adopt_pid : adopt_find_keeper();
	struct state *st;
	int number, ret;

	if (pid < 0) {
		log_err("no keeper answers on %s: %s; name it by its pid", PAGER_CONTROL_NAME,
			strerror(-pid));
		return pid;
	}
	/* Out of the way of the numbers that are to come. */
	adopt_fd_base = proc_raise_nofile() - ADOPT_FDS;
	int pidfd = adopt_aside(proc_pidfd_open(pid));

	number = pidfd < 0 ? -ESRCH : adopt_state_number(pid);
	if (number < 0) {
		log_err("process %d is no keeper: %s", pid, strerror(-number));
		return number;
	}
	ret = proc_pidfd_getfd(pidfd, number);
	if (ret >= 0) {
		int fd = ret;

		ret = state_attach(fd, &st);
		close(fd);
	}
	if (ret < 0) {
		log_err("the state of keeper %d cannot be used: %s", pid, strerror(-ret));
		return ret;
	}
	if (st->keeper_pid != pid) {
		/* The pager answered for a keeper that is gone and will take its place. */
		log_err("process %d is not the keeper now, %d is; try again", pid, st->keeper_pid);
		return -EAGAIN;
	}
	uint32_t other = st->handover;

	if (other && other != (uint32_t)pid && proc_ppid(other) >= 0) {
		log_err("process %u is taking over from keeper %d already", other, pid);
		return -EBUSY;
	}
	st->handed = 0;
	if (!atomic_compare_exchange_strong(&st->handover, &other, (uint32_t)getpid()))
		return -EBUSY;
	ret = adopt_end_pager(st, pid);
	if (!ret)
		ret = adopt_all(pidfd, pid);
	close(pidfd);
	if (ret) {
		st->handover = 0;
		log_err("cannot take over from keeper %d: %s", pid, strerror(-ret));
		return ret;
	}
	*out = st;
	*state_fd = number;
	log_info("taking over from keeper %d", pid);
	return 0;
}
