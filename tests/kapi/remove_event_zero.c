// SPDX-License-Identifier: GPL-2.0-only
/*
 * MADV_DONTNEED raises REMOVE with the range.  A touch afterwards faults again, and a ZEROPAGE
 * answers it.  The page itself goes after the event was read, not before.
 */
#include "tests/kapi/kapi.h"

/* Is page @i of the target there?  By pagemap: a read of its memory could wait for ourselves. */
static bool present(const struct target *t, uint64_t i)
{
	uint64_t entry = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", t->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, &entry, 8, addr_of(t, i) / page * 8) != 8)
		bail("no pagemap: %s", strerror(errno));
	close(fd);
	return entry >> 63;
}

static void body(int ch, uint8_t *mem)
{
	say(ch, peek(mem, 1));
	say(ch, madvise(mem + page, 2 * page, MADV_DONTNEED));
	say(ch, peek(mem, 1));
	say(ch, peek(mem, 3));
}

int main(void)
{
	struct target t = target_start(UFFD_FEATURE_EVENT_REMOVE, 4, body);
	struct uffd_msg msg;

	is_i64(copy(t.uffd, addr_of(&t, 0), pattern(4, 4711), 4 * page, NULL), 0, "pages are put");
	target_go(&t);
	is_u64(hear(t.ch), 4712, "the target reads them");
	await_readable(t.uffd);
	ok(present(&t, 1), "while the event is unread the page is still there");
	msg = take_msg(t.uffd);
	is_u64(msg.event, UFFD_EVENT_REMOVE, "MADV_DONTNEED raises REMOVE");
	is_u64(msg.arg.remove.start, addr_of(&t, 1), "from its start");
	is_u64(msg.arg.remove.end, addr_of(&t, 3), "to its end");
	is_i64(hear(t.ch), 0, "madvise returns");
	ok(!present(&t, 1), "and the page is gone");
	take_fault(&t, t.uffd, 1, "the next touch faults although the page was placed once");
	is_i64(zeropage_settled(t.uffd, addr_of(&t, 1), page), 0, "ZEROPAGE answers it");
	is_u64(hear(t.ch), 0, "the target reads zero");
	is_u64(hear(t.ch), 4714, "and what it kept");
	return target_done(&t);
}
