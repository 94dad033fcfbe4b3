// SPDX-License-Identifier: GPL-2.0-only
/* COPY onto a page that is there says EEXIST, in errno and in its field, and changes nothing. */
#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	poke(mem, 0, 1111);
	say(ch, 0);
	hear(ch);
	say(ch, peek(mem, 0));
}

int main(void)
{
	struct target t = target_start(0, 1, body);
	uint8_t *src = pattern(1, 4711);
	int64_t done = 0;

	target_go(&t);
	take_fault(&t, t.uffd, 0, "the target's write faults");
	is_i64(zeropage(t.uffd, addr_of(&t, 0), page, NULL), 0, "a zero page answers it");
	hear(t.ch);
	is_i64(copy(t.uffd, addr_of(&t, 0), src, page, &done), -EEXIST, "COPY is refused");
	is_i64(done, -EEXIST, "its field says so too");
	say(t.ch, 0);
	is_u64(hear(t.ch), 1111, "the target reads what it wrote");
	return target_done(&t);
}
