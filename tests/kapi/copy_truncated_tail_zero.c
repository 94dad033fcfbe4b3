// SPDX-License-Identifier: GPL-2.0-only
/*
 * COPY out of a mapped file whose last page was cut in the middle succeeds, with zeros behind the
 * cut.  Only the file's size tells.
 */
#include <sys/stat.h>

#include "tests/kapi/kapi.h"

static void body(int ch, uint8_t *mem)
{
	say(ch, peek(mem, 0));
	say(ch, *(volatile uint64_t *)(mem + page - 8));
}

int main(void)
{
	struct target t = target_start(0, 1, body);
	int fd = memfd_create("pages", MFD_CLOEXEC);
	uint64_t tail = 99;
	uint8_t *src;

	if (fd < 0 || ftruncate(fd, page) || pwrite(fd, &tail, 8, 0) != 8 ||
	    pwrite(fd, &tail, 8, page - 8) != 8)
		bail("no file: %s", strerror(errno));
	src = mmap(NULL, page, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (src == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	is_u64(*(volatile uint64_t *)(src + page - 8), 99, "the mapping has the last bytes");
	is_i64(ftruncate(fd, page / 2), 0, "the file loses half of its last page");
	is_i64(copy(t.uffd, addr_of(&t, 0), src, page, NULL), 0, "COPY out of it succeeds");
	target_go(&t);
	is_u64(hear(t.ch), 99, "with the bytes before the cut");
	is_u64(hear(t.ch), 0, "and zeros behind it");
	return target_done(&t);
}
