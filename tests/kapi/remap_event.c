// SPDX-License-Identifier: GPL-2.0-only
/*
 * mremap(2) raises REMAP with old place, new place and length.  Faults come at the new place and
 * COPY goes there; the old place is ENOENT.
 */
#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	uint8_t *to = mmap(NULL, 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	say(ch, (uintptr_t)to);
	to = mremap(mem, 2 * page, 2 * page, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	say(ch, (uintptr_t)to);
	say(ch, peek(to, 0));
	say(ch, peek(to, 1));
}

int main(void)
{
	struct target t = target_start(UFFD_FEATURE_EVENT_REMAP, 2, body);
	uint8_t *src = pattern(2, 4711);
	struct uffd_msg msg;
	uint64_t to;

	is_i64(copy(t.uffd, addr_of(&t, 0), src, page, NULL), 0, "page 0 is there, page 1 missing");
	target_go(&t);
	to = hear(t.ch);
	msg = take_msg(t.uffd);
	is_u64(msg.event, UFFD_EVENT_REMAP, "mremap raises REMAP");
	is_u64(msg.arg.remap.from, addr_of(&t, 0), "from");
	is_u64(msg.arg.remap.to, to, "to");
	is_u64(msg.arg.remap.len, 2 * page, "len");
	is_u64(hear(t.ch), to, "mremap returns");
	is_u64(hear(t.ch), 4711, "page 0 went along");
	msg = take_msg(t.uffd);
	ok(msg.event == UFFD_EVENT_PAGEFAULT &&
		   (msg.arg.pagefault.address & ~(page - 1)) == to + page,
	   "page 1 faults at its new place");
	is_i64(copy_settled(t.uffd, addr_of(&t, 1), src + page, page), -ENOENT, "old: ENOENT");
	is_i64(copy_settled(t.uffd, to + page, src + page, page), 0, "COPY goes to the new one");
	is_u64(hear(t.ch), 4712, "and is read there");
	return target_done(&t);
}
