/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * serve: from options to a keeper: directories, log, sockets, daemon, readiness.
 *
 * In criu's order, so that whoever starts `criu lazy-pages` can start us: the work directory is
 * the current one, the socket listens before the daemon's parent returns, the action script runs
 * and the status descriptor gets its byte once it does.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kapi/proc.h"
#include "pager/agent.h"
#include "pager/internal.h"
#include "pager/keeper.h"
#include "util/fd.h"
#include "util/log.h"

void pager_opts_init(struct pager_opts *opts)
{
	*opts = (struct pager_opts){
		.images_dir = ".",
		.verbosity = LOG_WARN,
		.status_fd = -1,
		.listen_fd = -1,
		.criu_pidfd = -1,
		.wire_fd = -1,
		.progress_fd = -1,
		.drain = true,
		.drain_cpu_percent = 100,
		.lost_after_s = 60,
		.trace = true,
		.hot_us = 200000,
		.agent = true,
		.collapse = true,
		.agent_slots = AGENT_SLOTS_DEFAULT,
		.staging_bytes = AGENT_STAGING_DEFAULT,
	};
}

static int serve_listen(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = PAGER_LAZY_NAME };
	socklen_t len = offsetof(struct sockaddr_un, sun_path) + strlen(sa.sun_path);
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	unlink(sa.sun_path);
	if (bind(fd, (struct sockaddr *)&sa, len) || listen(fd, 10))
		return -errno;
	return fd_take(&fd);
}

static int serve_dirs(const struct pager_opts *opts, struct state *st)
{
	const char *work = opts->work_dir ? opts->work_dir : opts->images_dir;

	st->images_fd = open(opts->images_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (st->images_fd < 0) {
		log_err("images directory %s: %s", opts->images_dir, strerror(errno));
		return -errno;
	}
	st->work_fd = open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (st->work_fd < 0 || fchdir(st->work_fd)) {
		log_err("work directory %s: %s", work, strerror(errno));
		return -errno;
	}
	return 0;
}

static int serve_sockets(const struct pager_opts *opts, struct state *st)
{
	st->listen_fd = opts->listen_fd >= 0 ? opts->listen_fd : serve_listen();
	if (st->listen_fd < 0) {
		log_err("cannot listen on %s: %s", PAGER_LAZY_NAME, strerror(-st->listen_fd));
		return st->listen_fd;
	}
	/* One that was handed to us may block and be inherited. */
	fcntl(st->listen_fd, F_SETFL, O_NONBLOCK);
	fcntl(st->listen_fd, F_SETFD, FD_CLOEXEC);
	st->control_fd = control_listen();
	if (st->control_fd < 0) {
		log_err("cannot listen on %s: %s", PAGER_CONTROL_NAME, strerror(-st->control_fd));
		return st->control_fd;
	}
	return 0;
}

extern char **environ;

static int serve_script(const struct pager_opts *opts)
{
	char *argv[] = { "sh", "-c", (char *)opts->action_script, NULL };
	int status, ret;
	pid_t pid;

	setenv("CRTOOLS_SCRIPT_ACTION", "status-ready", 1);
	setenv("CRTOOLS_IMAGE_DIR", opts->images_dir, 1);
	ret = posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ);
	if (ret) {
		log_err("action script %s: %s", opts->action_script, strerror(ret));
		return -ret;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	unsetenv("CRTOOLS_SCRIPT_ACTION");
	unsetenv("CRTOOLS_IMAGE_DIR");
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		log_err("action script %s: status %#x", opts->action_script, status);
		return -ECANCELED;
	}
	return 0;
}

/* The status descriptor gets its byte from the first pager that has read the images' inventory. */
static int serve_ready(const struct pager_opts *opts)
{
	if (opts->action_script) {
		int ret = serve_script(opts);

		if (ret)
			return ret;
	}
	return 0;
}

/* Return: 0 in the daemon (the parent has exited); -errno; 1 when the error has been told. */
static int serve_daemonize(struct state *st, const struct pager_opts *opts)
{
	int up[2];
	char ok;

	if (pipe2(up, O_CLOEXEC))
		return -errno;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid) {
		close(up[1]);
		/* The daemon says when its pidfile stands; it is the one who knows its pid. */
		_exit(fd_read_full(up[0], &ok, 1) == 1 ? 0 : 1);
	}
	close(up[0]);
	setsid();
	/* Whoever hands over waits for the process named there: that is us now. */
	uint32_t parent = getppid();

	if (opts->adopt &&
	    !atomic_compare_exchange_strong(&st->handover, &parent, (uint32_t)getpid()))
		return -ECANCELED;
	if (opts->pidfile && keeper_pidfile(opts->pidfile, !opts->adopt))
		return 1;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		for (int fd = 0; fd <= 2; fd++)
			dup2(null, fd);
		close(null);
	}
	return fd_write_full(up[1], "", 1) | close(up[1]);
}

int pager_main(const struct pager_opts *opts)
{
	struct state *st;
	int state_fd, ret;

	if (opts->adopt) {
		const char *work = opts->work_dir ? opts->work_dir : opts->images_dir;

		if (chdir(work)) {
			log_err("work directory %s: %s", work, strerror(errno));
			return 1;
		}
		if (adopt_by_hand(opts, &st, &state_fd))
			return 1;
	} else {
		st = state_create(&state_fd);
		if (!st) {
			log_err("cannot make the shared state: %s", strerror(errno));
			return 1;
		}
		st->keep_fd = -1;
		st->criu_pidfd = opts->criu_pidfd;
		st->progress_fd = opts->progress_fd;
		st->status_fd = opts->status_fd;
		st->wire_fd = opts->wire_fd;
		if (serve_dirs(opts, st))
			return 1;
	}
	if (opts->log_file && strcmp(opts->log_file, "-")) {
		ret = log_open(opts->log_file);
		if (ret) {
			log_err("log file %s: %s", opts->log_file, strerror(-ret));
			return 1;
		}
	}
	if (phase_init(st))
		return 1;
	if (!opts->adopt && serve_sockets(opts, st))
		return 1;
	/* Best effort: a process group's leader cannot, and then the pager alone has its own. */
	if (!opts->daemonize && opts->listen_fd >= 0)
		setsid();
	if (opts->daemonize) {
		ret = serve_daemonize(st, opts);
		if (ret < 0)
			log_err("cannot become a daemon: %s", strerror(-ret));
		if (ret)
			return 1;
	} else if (opts->pidfile && keeper_pidfile(opts->pidfile, !opts->adopt)) {
		return 1;
	}
	if (serve_ready(opts))
		return 1;
	return keeper_serve(st, opts, state_fd);
}
