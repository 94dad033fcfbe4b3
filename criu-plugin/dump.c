/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dump: leave beside the images which memory was in huge pages.
 *
 * Theory of operation
 * -------------------
 * criu calls the exit function of a plugin in a dump when all images are written and before the
 * tasks are let go or ended: they stand still, their page tables are as they were, and criu is their
 * tracer, by which they are found.  (At init it has not looked at them yet, and the hooks in between
 * are for devices, or too new.)
 *
 * The program does the work, `uffd-relocate trace --frozen-by`: reading page tables and writing
 * traces is no business of a plugin.  It is started as the pager is, so criu sees no child, and is
 * waited for by a pipe that it holds open.  Nothing that goes wrong here is the dump's business.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugin.h"

/* The tasks stand still meanwhile; it takes some milliseconds. */
#define DUMP_WAIT_MS 10000
/* What spawn_pager() makes of the descriptors. */
#define DUMP_IMAGES "/proc/self/fd/3"

void dump_hint(const struct settings *set, int image_fd, char *const envp[])
{
	char path[PATH_MAX], criu[12];
	const char *argv[] = { path, "trace", "-D", DUMP_IMAGES, "--frozen-by", criu, NULL };
	int done[2], fds[2], err;
	struct pollfd wait;
	pid_t pid;

	if (image_fd < 0 || !plugin_look_for_pager(set, path) || pipe2(done, O_CLOEXEC))
		return;
	snprintf(criu, sizeof(criu), "%d", (int)getpid());
	fds[0] = image_fd;
	fds[1] = done[1];
	err = spawn_pager(path, (char *const *)argv, envp, fds, 2, &pid);
	close(done[1]);
	wait = (struct pollfd){ .fd = done[0], .events = POLLIN };
	/* Nothing is ever written: it has ended when the pipe has. */
	if (err)
		plugin_info("no hint of huge pages: cannot start %s: %s", path, strerror(-err));
	else if (poll(&wait, 1, DUMP_WAIT_MS) != 1)
		plugin_info("no hint of huge pages: %s takes too long", path);
	close(done[0]);
}
