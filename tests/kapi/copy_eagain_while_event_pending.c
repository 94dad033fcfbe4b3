// SPDX-License-Identifier: GPL-2.0-only
/*
 * While an event waits to be read every COPY says EAGAIN, wherever it goes; the target stands in
 * its madvise(2) as long.  Once read, COPY works again, though not at once: the target must have
 * run.
 */
#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	say(ch, madvise(mem, page, MADV_DONTNEED));
	say(ch, peek(mem, 1));
}

int main(void)
{
	struct target t = target_start(UFFD_FEATURE_EVENT_REMOVE, 2, body);
	uint8_t *src = pattern(1, 4711);
	int64_t done = 0;
	struct uffd_msg msg;
	bool all = true;

	target_go(&t);
	await_readable(t.uffd);
	is_i64(copy(t.uffd, addr_of(&t, 1), src, page, &done), -EAGAIN, "COPY is refused");
	ok(done == -EAGAIN || done == 0, "its field is %" PRId64 " (0 before 6.15)", done);
	is_i64(zeropage(t.uffd, addr_of(&t, 1), page, NULL), -EAGAIN, "so is ZEROPAGE");
	for (int i = 0; i < 1000; i++)
		all &= copy(t.uffd, addr_of(&t, 1), src, page, NULL) == -EAGAIN;
	ok(all, "and stays so however often it is tried");
	msg = take_msg(t.uffd);
	is_u64(msg.event, UFFD_EVENT_REMOVE, "the event is REMOVE");
	is_i64(copy_settled(t.uffd, addr_of(&t, 1), src, page), 0, "after that COPY works");
	is_i64(hear(t.ch), 0, "the target's madvise returned");
	is_u64(hear(t.ch), 4711, "it reads the page");
	return target_done(&t);
}
