/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fdtable: the descriptors that a dead pager left in the table it shared with the keeper.
 *
 * Its epoll, its image files, its pidfds are of no use to anyone and would pile up.  What must
 * stay is named by the shared state; a uffd is not touched before the sessions are known again.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "kapi/uffd.h"
#include "pager/internal.h"
#include "util/log.h"

/* Call @fn for each open descriptor above stderr, except the one that lists them. */
static void fdtable_walk(void (*fn)(int fd, void *arg), void *arg)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int *list = NULL;
	size_t n = 0;

	if (!d) {
		log_warn("cannot list descriptors: %s", strerror(errno));
		return;
	}
	while ((e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (!isdigit(e->d_name[0]) || fd <= STDERR_FILENO || fd == dirfd(d))
			continue;
		int *more = realloc(list, (n + 1) * sizeof(*list));

		if (!more)
			break;
		list = more;
		list[n++] = fd;
	}
	closedir(d);
	for (size_t i = 0; i < n; i++)
		fn(list[i], arg);
	free(list);
}

struct sweep {
	struct state *st;
	int keeper_pidfd, state_fd;
};

static bool sweep_is_slot_fd(const struct state *st, int fd)
{
	for (uint32_t i = 0; i < st->nslots; i++)
		if ((state_slot_is(&st->session[i], SESSION_OPEN) && st->session[i].pidfd == fd) ||
		    (st->session[i].agent.life == AGENT_THERE && st->session[i].agent.chan_fd == fd))
			return true;
	return false;
}

/* A connection that was accepted and not yet noted: it is bound to criu's socket. */
static bool sweep_is_conn(int fd)
{
	struct sockaddr_un sa = { .sun_family = AF_UNSPEC };
	socklen_t len = sizeof(sa), on_len = sizeof(int);
	int listening = 1;

	if (getsockname(fd, (struct sockaddr *)&sa, &len) || sa.sun_family != AF_UNIX)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &on_len) || listening)
		return false;
	return len > offsetof(struct sockaddr_un, sun_path) &&
	       !strncmp(sa.sun_path, PAGER_LAZY_NAME, sizeof(PAGER_LAZY_NAME) - 1);
}

static void sweep_one(int fd, void *arg)
{
	struct sweep *sw = arg;
	struct state *st = sw->st;

	if (fd == st->listen_fd || fd == st->control_fd || fd == st->images_fd ||
	    fd == st->work_fd || fd == st->criu_pidfd || fd == st->conn_fd || fd == st->keep_fd ||
	    fd == st->progress_fd || fd == st->home_cgroup_fd ||
	    fd == st->status_fd || fd == st->hand_fd || fd == st->wire_fd ||
	    fd == wire_rx_fd(&st->wire_rx) ||
	    fd == sw->keeper_pidfd || fd == sw->state_fd ||
	    fd == log_fd() || fd == log_epoch_ckpt(st->epoch))
		return;
	if (sweep_is_slot_fd(st, fd) || uffd_is_uffd(fd))
		return;
	if (st->conn_fd < 0 && !st->restored && sweep_is_conn(fd)) {
		st->conn_fd = fd;
		return;
	}
	close(fd);
}

void fdtable_sweep(struct state *st, int keeper_pidfd, int state_fd)
{
	struct sweep sw = { .st = st, .keeper_pidfd = keeper_pidfd, .state_fd = state_fd };

	fdtable_walk(sweep_one, &sw);
	/* One restore a pager: the socket that was left listening between accept and close. */
	if (st->conn_fd >= 0 && st->listen_fd >= 0) {
		close(st->listen_fd);
		st->listen_fd = -1;
	}
}

static void sweep_uffd(int fd, void *arg)
{
	struct state *st = arg;

	if (!uffd_is_uffd(fd))
		return;
	for (uint32_t i = 0; i < st->nslots; i++)
		if (state_slot_is(&st->session[i], SESSION_OPEN) && st->session[i].uffd == fd)
			return;
	log_debug("uffd %d is of a session that is over", fd);
	close(fd);
}

void fdtable_sweep_uffds(struct state *st)
{
	fdtable_walk(sweep_uffd, st);
}

static void close_one(int fd, void *arg)
{
	if (fd != *(int *)arg && fd != log_fd())
		close(fd);
}

void fdtable_close_all(int keep)
{
	fdtable_walk(close_one, &keep);
}
