// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process that shares its descriptor table with a child (CLONE_FILES) owns what the child's
 * read of a FORK event installed, even if the child is killed right after.  With a forked child,
 * which has a table of its own, the descriptor dies, and the target's child reads zeros.
 */
#include <sched.h>

#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	pid_t child = fork();

	if (!child) {
		say(ch, peek(mem, 0));
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

/* Let a child made with @flags read the FORK event and be killed. Return: the event. */
static struct uffd_msg read_and_die(int uffd, int flags)
{
	struct uffd_msg *seen = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				     -1, 0);
	pid_t self = getpid(), pid;
	int status;

	if (seen == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != self)
			_exit(9);
		*seen = take_msg(uffd);
		raise(SIGKILL);
	}
	ok(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
	   "the reader was killed after it had read the event");
	is_u64(seen->event, UFFD_EVENT_FORK, "which was FORK");
	return *seen;
}

int main(void)
{
	struct target t = target_start(UFFD_FEATURE_EVENT_FORK, 1, body);
	struct uffd_msg msg;
	int child;

	target_go(&t);
	msg = read_and_die(t.uffd, CLONE_FILES);
	child = msg.arg.fork.ufd;
	if (ok(fcntl(child, F_GETFD) >= 0, "shared table: the new descriptor is ours")) {
		take_fault(&t, child, 0, "the fault of the target's child comes there");
		is_i64(copy_settled(child, addr_of(&t, 0), pattern(1, 4711), page), 0, "COPY");
		is_u64(hear(t.ch), 4711, "it reads the page");
		close(child);
	}
	target_end(&t);

	t = target_start(UFFD_FEATURE_EVENT_FORK, 1, body);
	target_go(&t);
	msg = read_and_die(t.uffd, 0);
	ok(fcntl(msg.arg.fork.ufd, F_GETFD) < 0, "table of its own: no such descriptor here");
	is_u64(hear(t.ch), 0, "the target's child reads zeros");
	return target_done(&t);
}
