// SPDX-License-Identifier: GPL-2.0-only
/*
 * A read gives faults before events, whichever came first: the event that says that a page was
 * discarded can follow a fault that is newer.  So all messages are read before one is acted upon.
 */
#include <pthread.h>

#include "tests/kapi/kapi.h"

static void *discard(void *mem)
{
	madvise(mem, page, MADV_DONTNEED);
	return NULL;
}

static void body(int ch, uint8_t *mem)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, discard, mem))
		_exit(9);
	hear(ch);
	say(ch, peek(mem, 1));
	pthread_join(thread, NULL);
	say(ch, 0);
}

int main(void)
{
	struct target t = target_start(UFFD_FEATURE_EVENT_REMOVE, 2, body);
	char path[64], line[256] = "";
	struct uffd_msg msg[4];
	FILE *f;
	int n;

	target_go(&t);
	await_readable(t.uffd);
	ok(true, "an event waits");
	say(t.ch, 0);
	/* The descriptor's fdinfo counts the faults that wait. */
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", t.uffd);
	do {
		f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f) && strncmp(line, "pending:", 8))
			;
		if (!f || strncmp(line, "pending:", 8))
			bail("fdinfo of a uffd has no count of faults");
		fclose(f);
	} while (strtoul(line + 8, NULL, 10) == 0);
	ok(true, "then a fault does, too");
	n = read(t.uffd, msg, sizeof(msg)) / (ssize_t)sizeof(msg[0]);
	if (is_i64(n, 2, "one read gives both")) {
		is_u64(msg[0].event, UFFD_EVENT_PAGEFAULT, "the fault first");
		is_u64(msg[1].event, UFFD_EVENT_REMOVE, "the event second");
	}
	is_i64(copy_settled(t.uffd, addr_of(&t, 1), pattern(1, 4711), page), 0, "COPY");
	is_u64(hear(t.ch), 4711, "the target reads the page");
	hear(t.ch);
	return target_done(&t);
}
