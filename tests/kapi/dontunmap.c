// SPDX-License-Identifier: GPL-2.0-only
/*
 * MREMAP_DONTUNMAP raises REMAP, and the old place stays mapped and registered: faults there are
 * told, and owe nothing but zeros.
 */
#include "tests/kapi/kapi.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static void body(int ch, uint8_t *mem)
{
	uint8_t *to = mremap(mem, page, page, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);

	say(ch, to == MAP_FAILED ? 0 : (uintptr_t)to);
	say(ch, peek(to, 0));
	say(ch, peek(mem, 0));
}

int main(void)
{
	const uint64_t features = UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_UNMAP |
				  UFFD_FEATURE_EVENT_REMOVE;
	struct target t = target_start(features, 1, body);
	struct uffd_msg msg;
	uint64_t to;

	is_i64(copy(t.uffd, addr_of(&t, 0), pattern(1, 4711), page, NULL), 0, "a page is put");
	target_go(&t);
	msg = take_msg(t.uffd);
	is_u64(msg.event, UFFD_EVENT_REMAP, "the event is REMAP");
	to = msg.arg.remap.to;
	is_u64(msg.arg.remap.from, addr_of(&t, 0), "from the old place");
	is_u64(hear(t.ch), to, "to where the target finds it");
	is_u64(hear(t.ch), 4711, "with its contents");
	/* No other event comes between: the next message is the fault. */
	take_fault(&t, t.uffd, 0, "a touch of the old place faults");
	is_i64(zeropage_settled(t.uffd, addr_of(&t, 0), page), 0, "ZEROPAGE answers it");
	is_u64(hear(t.ch), 0, "and zero is read");
	return target_done(&t);
}
