// SPDX-License-Identifier: GPL-2.0-only
/* The image parsers under libFuzzer: see bundle.h for the input and for what must hold. */
#include "tests/fuzz/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char fuzz_path[256];
static int fuzz_fd = -1;

static void fuzz_fini(void)
{
	bundle_rmdirs(fuzz_fd);
	rmdir(fuzz_path);
}

static void fuzz_init(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(fuzz_path, sizeof(fuzz_path), "%s/uffd-relocate-fuzz.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(fuzz_path))
		abort();
	fuzz_fd = open(fuzz_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fuzz_fd < 0 || !bundle_mkdirs(fuzz_fd))
		abort();
	atexit(fuzz_fini);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct bundle_result result;
	struct bundle b;

	if (fuzz_fd < 0)
		fuzz_init();
	bundle_parse(&b, data, len);
	if (!bundle_put(&b, fuzz_fd))
		return -1;
	bundle_load(&result, fuzz_fd, false);
	if (result.broken) {
		fprintf(stderr, "broken: %s (%s)\n", result.broken, result.err.text);
		abort();
	}
	return 0;
}
