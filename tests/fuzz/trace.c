// SPDX-License-Identifier: GPL-2.0-only
/*
 * The reader of traces under libFuzzer.  The input is a trace without its last record, which is made
 * here: else the digest would keep everything but the first lines of the reader out of reach.  What
 * is accepted has to come back the same when it is written and read again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/trace_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char fuzz_path[256];
static int fuzz_fd = -1;

static void fuzz_fini(void)
{
	unlinkat(fuzz_fd, "a", 0);
	unlinkat(fuzz_fd, "b", 0);
	rmdir(fuzz_path);
}

static void fuzz_init(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(fuzz_path, sizeof(fuzz_path), "%s/uffd-relocate-fuzz.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(fuzz_path))
		abort();
	fuzz_fd = open(fuzz_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fuzz_fd < 0)
		abort();
	atexit(fuzz_fini);
}

static void fuzz_write(const uint8_t *data, size_t len)
{
	/* Size of the record, and its one field: fixed64 with number 1. */
	uint8_t tail[13] = { 9, 0, 0, 0, 1 << 3 | 1 };
	uint64_t digest = trace_digest(TRACE_DIGEST_INIT, data, len);
	int fd = openat(fuzz_fd, "a", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	memcpy(tail + 5, &digest, sizeof(digest));
	if (fd < 0 || write(fd, data, len) != (ssize_t)len || write(fd, tail, 13) != 13)
		abort();
	close(fd);
}

static bool same(const struct order *a, const struct order *b)
{
	struct order_cursor c = { 0 }, d = { 0 };
	struct order_run x, y;

	if (!a || !b)
		return !a == !b;
	while (order_take(a, &c, UINT64_MAX, &x))
		if (!order_take(b, &d, UINT64_MAX, &y) || memcmp(&x.at, &y.at, sizeof(x.at)) ||
		    x.count != y.count)
			return false;
	return !order_take(b, &d, UINT64_MAX, &y);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct image_error err = { "" };
	struct trace *t = NULL, *u = NULL;

	if (fuzz_fd < 0)
		fuzz_init();
	fuzz_write(data, len);
	if (trace_load(fuzz_fd, "a", NULL, &t, &err)) {
		if (!*err.text || t)
			abort();
		return 0;
	}
	if (trace_save(t, fuzz_fd, "b", &err) || trace_load(fuzz_fd, "b", NULL, &u, &err) ||
	    trace_id_check(&t->id, &u->id, "b", &err) || trace_ntasks(t) != trace_ntasks(u))
		abort();
	for (uint32_t i = 0; i < trace_ntasks(t); i++) {
		uint32_t vpid = trace_vpid(t, i);

		if (vpid != trace_vpid(u, i) || !same(trace_order(t, vpid), trace_order(u, vpid)) ||
		    !same(trace_huge(t, vpid), trace_huge(u, vpid)))
			abort();
	}
	if (trace_merge(t, u))
		abort();
	trace_free(t);
	trace_free(u);
	return 0;
}
