// SPDX-License-Identifier: GPL-2.0-only
/*
 * COPY over several pages stops before one that is there: EAGAIN and the bytes done, not EEXIST.
 * Only a second call, from where the first one stopped, says EEXIST.
 */
#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	for (int i = 0; i < 4; i++)
		say(ch, peek(mem, i));
}

int main(void)
{
	struct target t = target_start(0, 4, body);
	uint8_t *src = pattern(4, 100);
	int64_t done = 0;

	is_i64(copy(t.uffd, addr_of(&t, 2), pattern(1, 4711), page, NULL), 0, "page 2 is there");
	is_i64(copy(t.uffd, addr_of(&t, 0), src, 4 * page, &done), -EAGAIN, "COPY of 0..3: EAGAIN");
	is_i64(done, 2 * page, "two pages were done");
	is_i64(copy(t.uffd, addr_of(&t, 2), src + 2 * page, 2 * page, &done), -EEXIST,
	       "from page 2 on: EEXIST");
	is_i64(copy(t.uffd, addr_of(&t, 3), src + 3 * page, page, &done), 0, "behind it: done");
	target_go(&t);
	is_u64(hear(t.ch), 100, "page 0");
	is_u64(hear(t.ch), 101, "page 1");
	is_u64(hear(t.ch), 4711, "page 2 kept its contents");
	is_u64(hear(t.ch), 103, "page 3");
	return target_done(&t);
}
