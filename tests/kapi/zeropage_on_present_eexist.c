// SPDX-License-Identifier: GPL-2.0-only
/* ZEROPAGE onto a page that is there says EEXIST and takes nothing away. */
#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	say(ch, peek(mem, 0));
}

int main(void)
{
	struct target t = target_start(0, 1, body);
	int64_t done = 0;

	is_i64(copy(t.uffd, addr_of(&t, 0), pattern(1, 4711), page, NULL), 0, "a page is put");
	is_i64(zeropage(t.uffd, addr_of(&t, 0), page, &done), -EEXIST, "ZEROPAGE is refused");
	is_i64(done, -EEXIST, "its field says so too");
	target_go(&t);
	is_u64(hear(t.ch), 4711, "the target reads the page that was put");
	return target_done(&t);
}
