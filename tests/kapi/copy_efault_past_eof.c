// SPDX-License-Identifier: GPL-2.0-only
/*
 * COPY out of a mapped file from pages that were cut off says EFAULT, with what lay before done;
 * the faulting thread goes on waiting.
 */
#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	say(ch, peek(mem, 1));
}

int main(void)
{
	struct target t = target_start(0, 2, body);
	int fd = memfd_create("pages", MFD_CLOEXEC);
	int64_t done = 0;
	uint8_t *src;

	if (fd < 0 || ftruncate(fd, 2 * page))
		bail("no file: %s", strerror(errno));
	src = mmap(NULL, 2 * page, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (src == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	target_go(&t);
	take_fault(&t, t.uffd, 1, "the target waits for page 1");
	is_i64(ftruncate(fd, page), 0, "the file loses that page");
	is_i64(copy(t.uffd, addr_of(&t, 1), src + page, page, &done), -EFAULT, "COPY: EFAULT");
	is_i64(done, -EFAULT, "its field says so too");
	is_i64(copy(t.uffd, addr_of(&t, 0), src, 2 * page, &done), -EAGAIN, "both: EAGAIN");
	is_i64(done, page, "one was done");
	is_i64(copy(t.uffd, addr_of(&t, 1), pattern(1, 4711), page, NULL), 0, "another one helps");
	is_u64(hear(t.ch), 4711, "the target had waited for it");
	return target_done(&t);
}
