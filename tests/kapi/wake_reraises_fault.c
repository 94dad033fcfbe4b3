// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fault whose message was read by somebody who then died is told again after UFFDIO_WAKE: the
 * thread wakes, finds the page still missing, and faults anew.
 */
#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	say(ch, peek(mem, 0));
}

int main(void)
{
	struct target t = target_start(0, 1, body);
	pid_t self = getpid(), server = fork();
	int status;

	if (!server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != self)
			_exit(9);
		take_msg(t.uffd);
		raise(SIGKILL);
	}
	target_go(&t);
	ok(waitpid(server, &status, 0) == server && WIFSIGNALED(status),
	   "a server is killed after it has read the fault");
	ok(!readable(t.uffd), "its message is gone");
	is_i64(wake(t.uffd, addr_of(&t, 0), page), 0, "WAKE");
	take_fault(&t, t.uffd, 0, "the fault is told again");
	is_i64(copy(t.uffd, addr_of(&t, 0), pattern(1, 4711), page, NULL), 0, "and answered");
	is_u64(hear(t.ch), 4711, "the target reads the page");
	return target_done(&t);
}
