// SPDX-License-Identifier: GPL-2.0-only
/*
 * A FORK event brings a new descriptor, for the child's copy of the ranges.  What is placed in
 * the parent after the fork is missing in the child, and the other way round.
 */
#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	pid_t child = fork();

	if (!child) {
		say(ch, peek(mem, 0));
		_exit(0);
	}
	waitpid(child, NULL, 0);
	say(ch, peek(mem, 0));
}

int main(void)
{
	struct target t = target_start(UFFD_FEATURE_EVENT_FORK, 1, body);
	struct uffd_msg msg;
	int child;

	target_go(&t);
	msg = take_msg(t.uffd);
	if (!is_u64(msg.event, UFFD_EVENT_FORK, "the event is FORK"))
		return target_done(&t);
	child = msg.arg.fork.ufd;
	ok(fcntl(child, F_GETFD) >= 0, "it names a descriptor of the reader");
	ok(fcntl(child, F_GETFL) & O_NONBLOCK, "with the flags of the parent's");
	take_fault(&t, child, 0, "the child's touch is told there");
	ok(!readable(t.uffd), "and not on the parent's");
	is_i64(copy_settled(child, addr_of(&t, 0), pattern(1, 4711), page), 0, "it gets a page");
	is_u64(hear(t.ch), 4711, "and reads it");
	take_fault(&t, t.uffd, 0, "the same page is missing in the parent");
	is_i64(copy(t.uffd, addr_of(&t, 0), pattern(1, 815), page, NULL), 0, "which gets its own");
	is_u64(hear(t.ch), 815, "and reads that");
	close(child);
	return target_done(&t);
}
