// SPDX-License-Identifier: GPL-2.0-only
/* When the target is dead every placement says ESRCH; the descriptor is not readable then. */
#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	say(ch, peek(mem, 0));
}

int main(void)
{
	struct target t = target_start(UFFD_FEATURE_EVENT_UNMAP, 2, body);
	uint8_t *src = pattern(1, 4711);

	target_go(&t);
	take_fault(&t, t.uffd, 0, "the target runs");
	is_i64(copy(t.uffd, addr_of(&t, 0), src, page, NULL), 0, "and is served");
	is_u64(hear(t.ch), 4711, "it reads the page");
	ok(waitpid(t.pid, NULL, 0) == t.pid, "it exits");
	is_i64(copy(t.uffd, addr_of(&t, 1), src, page, NULL), -ESRCH, "COPY: ESRCH");
	is_i64(zeropage(t.uffd, addr_of(&t, 1), page, NULL), -ESRCH, "ZEROPAGE: ESRCH");
	ok(!readable(t.uffd), "exit raises no event");
	close(t.uffd);
	return tap_done();
}
