// SPDX-License-Identifier: GPL-2.0-only
/*
 * While anybody holds the userfaultfd a target waits, although the process that served it was
 * killed; the other holder can go on serving.
 */
#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	say(ch, peek(mem, 0));
	say(ch, peek(mem, 1));
}

int main(void)
{
	struct target t = target_start(0, 2, body);
	uint8_t *src = pattern(2, 4711);
	pid_t self = getpid(), server = fork();
	int status;

	if (!server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != self)
			_exit(9);
		/* Serve one fault, then die over the second one with its message unread. */
		take_msg(t.uffd);
		if (copy(t.uffd, addr_of(&t, 0), src, page, NULL))
			_exit(9);
		await_readable(t.uffd);
		raise(SIGKILL);
	}
	target_go(&t);
	is_u64(hear(t.ch), 4711, "the first holder serves a page");
	ok(waitpid(server, &status, 0) == server && WIFSIGNALED(status) &&
	   WTERMSIG(status) == SIGKILL, "and is killed while the target waits for the next");
	take_fault(&t, t.uffd, 1, "the target still waits: the second holder reads its fault");
	is_i64(copy(t.uffd, addr_of(&t, 1), src + page, page, NULL), 0, "and answers it");
	is_u64(hear(t.ch), 4712, "the target got the page, not zeros");
	return target_done(&t);
}
