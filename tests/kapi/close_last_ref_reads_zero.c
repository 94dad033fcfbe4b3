// SPDX-License-Identifier: GPL-2.0-only
/*
 * When the last descriptor of a userfaultfd is closed, who waits for a page gets zeros, and so
 * does every later touch, without an error.  This is the hole that the keeper closes.
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

	target_go(&t);
	await_readable(t.uffd);
	ok(true, "the target waits for a page");
	close(t.uffd);
	t.uffd = -1;
	is_u64(hear(t.ch), 0, "it goes on with a zero");
	is_u64(hear(t.ch), 0, "and gets another one at the next page");
	return target_done(&t);
}
