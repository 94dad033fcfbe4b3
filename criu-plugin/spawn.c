/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * spawn: start the pager so that criu does not notice.
 *
 * Theory of operation
 * -------------------
 * While criu restores, any child of its that ends is taken for a task gone wrong and the restore
 * is given up; and a fork of criu would copy a large page table and hold its descriptors.  So the
 * pager is a grandchild, made with two vforks:
 *
 *	criu      clone(CLONE_VM | CLONE_VFORK, no exit signal)      waits until the middle is gone
 *	 middle   clone(CLONE_VM | CLONE_VFORK, SIGCHLD), _exit      waits until the pager executes
 *	  pager   descriptors, session, signals, execve
 *
 * The middle process has no exit signal: no SIGCHLD reaches criu, and it is waited for with
 * __WALL right here.  The pager is then a child of init or of the nearest subreaper, as a daemon
 * would be.  Memory is shared, so that a failed execve reports by a plain store; nothing else is
 * written by the children but their own stacks.  All signals are blocked on the way, for a
 * handler of criu's that runs in a child would work on criu's memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"

/* Each; nothing below calls anything deep. */
#define SPAWN_STACK (64u << 10)
/* Above every descriptor that the pager gets, so that a dup2() hits none still needed. */
#define SPAWN_FD_ASIDE 16

struct spawn {
	const char *path;
	char *const *argv;
	char *const *envp;
	int null_fd;
	const int *fds;		/* become 3, 4, ... */
	int nfds;
	char *pager_stack;	/* its top */
	pid_t pid;
	int error;		/* errno of whatever failed */
};

static int spawn_place_fds(const struct spawn *sp)
{
	int from[SPAWN_FDS_MAX + 3], n = sp->nfds + 3;

	for (int i = 0; i < n; i++) {
		from[i] = fcntl(i < 3 ? sp->null_fd : sp->fds[i - 3], F_DUPFD_CLOEXEC,
				SPAWN_FD_ASIDE);
		if (from[i] < 0)
			return -1;
	}
	for (int i = 0; i < n; i++)
		if (dup2(from[i], i) < 0)
			return -1;
	closefrom(n);
	return 0;
}

static int spawn_run_pager(void *arg)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	struct spawn *sp = arg;
	sigset_t none;

	/* Not all numbers are signals that may be set; those that may not are default. */
	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	umask(077);
	if (setsid() < 0 || spawn_place_fds(sp) || sigprocmask(SIG_SETMASK, &none, NULL))
		goto fail;
	execve(sp->path, sp->argv, sp->envp);
fail:
	sp->error = errno;
	_exit(127);
}

static int spawn_run_middle(void *arg)
{
	struct spawn *sp = arg;

	sp->pid = clone(spawn_run_pager, sp->pager_stack, CLONE_VM | CLONE_VFORK | SIGCHLD, sp);
	if (sp->pid < 0)
		sp->error = errno;
	else if (sp->error)
		waitpid(sp->pid, NULL, 0);
	_exit(0);
}

int spawn_pager(const char *path, char *const argv[], char *const envp[], const int fds[], int nfds,
		pid_t *pid)
{
	struct spawn sp = {
		.path = path, .argv = argv, .envp = envp, .fds = fds, .nfds = nfds, .pid = -1
	};
	int reaper = 0, middle;
	sigset_t all, old;
	char *stacks;

	if (nfds > SPAWN_FDS_MAX)
		return -EINVAL;
	sp.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (sp.null_fd < 0)
		return -errno;
	stacks = mmap(NULL, 2 * SPAWN_STACK, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stacks == MAP_FAILED) {
		sp.error = errno;
		goto out_null;
	}
	sp.pager_stack = stacks + 2 * SPAWN_STACK;

	/* As a subreaper criu would get the pager back as a child. */
	prctl(PR_GET_CHILD_SUBREAPER, &reaper);
	if (reaper)
		prctl(PR_SET_CHILD_SUBREAPER, 0);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);

	middle = clone(spawn_run_middle, stacks + SPAWN_STACK, CLONE_VM | CLONE_VFORK, &sp);
	if (middle < 0)
		sp.error = errno;
	else
		waitpid(middle, NULL, __WALL);

	sigprocmask(SIG_SETMASK, &old, NULL);
	if (reaper)
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	munmap(stacks, 2 * SPAWN_STACK);
out_null:
	close(sp.null_fd);
	if (sp.error)
		return -sp.error;
	*pid = sp.pid;
	return 0;
}
