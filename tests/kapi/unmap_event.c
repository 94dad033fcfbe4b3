// SPDX-License-Identifier: GPL-2.0-only
/* munmap(2) raises UNMAP with the range, and waits; COPY there is ENOENT, beside it works. */
#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	say(ch, munmap(mem + page, 2 * page));
	say(ch, peek(mem, 3));
}

int main(void)
{
	struct target t = target_start(UFFD_FEATURE_EVENT_UNMAP, 4, body);
	uint8_t *src = pattern(4, 4711);
	struct uffd_msg msg;

	target_go(&t);
	msg = take_msg(t.uffd);
	is_u64(msg.event, UFFD_EVENT_UNMAP, "munmap raises UNMAP");
	is_u64(msg.arg.remove.start, addr_of(&t, 1), "from its start");
	is_u64(msg.arg.remove.end, addr_of(&t, 3), "to its end");
	is_i64(hear(t.ch), 0, "munmap returns");
	is_i64(copy_settled(t.uffd, addr_of(&t, 1), src, page), -ENOENT, "nothing goes there");
	take_fault(&t, t.uffd, 3, "the page behind it is still served");
	is_i64(copy_settled(t.uffd, addr_of(&t, 3), src, page), 0, "COPY works");
	is_u64(hear(t.ch), 4711, "and is read");
	return target_done(&t);
}
