// SPDX-License-Identifier: GPL-2.0-only
/* The image parsers under libFuzzer: see bundle.h for the input and for what must hold. */
#include "tests/fuzz/bundle.h"

#define FUZZ_FILE_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
size_t LLVMFuzzerMutate(uint8_t *data, size_t len, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max, unsigned int seed);

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

/* bundle_put(), for those files that are not as the run before left them: most are. */
static bool fuzz_put(const struct bundle *b)
{
	static uint8_t bytes[BUNDLE_LEVELS][BUNDLE_FILES][UINT16_MAX];
	static struct bundle_file there[BUNDLE_LEVELS][BUNDLE_FILES];
	bool any[BUNDLE_LEVELS] = { false }, had[BUNDLE_LEVELS] = { false };

	for (uint32_t i = 0; i < BUNDLE_LEVELS * BUNDLE_FILES; i++) {
		uint32_t l = i / BUNDLE_FILES, k = i % BUNDLE_FILES;
		const struct bundle_file *new = &b->file[l][k];
		struct bundle_file *old = &there[l][k];
		char path[32];

		any[l] |= !!new->data;
		had[l] |= !!old->data;
		if (!new->data == !old->data &&new->len == old->len &&
		    (!new->data || !memcmp(new->data, old->data, new->len)))
			continue;
		snprintf(path, sizeof(path), "%u/%s", l, bundle_names[k]);
		if (!bundle_put_file(fuzz_fd, path, new, k >= BUNDLE_PAGES))
			return false;
		*old = (struct bundle_file){ new->data ? bytes[l][k] : NULL, new->len };
		if (new->data)
			memcpy(bytes[l][k], new->data, new->len);
	}
	for (uint32_t l = 1; l < BUNDLE_LEVELS; l++)
		if (any[l] != had[l] && !bundle_put_link(fuzz_fd, l, any[l]))
			return false;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct bundle_result result;
	struct bundle b;

	if (fuzz_fd < 0)
		fuzz_init();
	bundle_parse(&b, data, len);
	if (!fuzz_put(&b))
		return -1;
	bundle_load(&result, fuzz_fd, false);
	if (result.broken) {
		fprintf(stderr, "broken: %s (%s)\n", result.broken, result.err.text);
		abort();
	}
	return 0;
}

static uint32_t fuzz_rnd(unsigned int *state, uint32_t n)
{
	*state = *state * 1664525u + 1013904223u;
	return (*state >> 8) % n;
}

/* Change @file, mostly without moving what is in it, so that the sizes of records stay right. */
static uint16_t fuzz_change(uint8_t *file, uint16_t len, unsigned int *state)
{
	if (!len || !fuzz_rnd(state, 4))
		return LLVMFuzzerMutate(file, len, FUZZ_FILE_MAX);
	for (uint32_t n = 1 + fuzz_rnd(state, 4); n; n--) {
		uint32_t at = fuzz_rnd(state, len), from = fuzz_rnd(state, len);
		uint32_t run = 1 + fuzz_rnd(state, 8);

		switch (fuzz_rnd(state, 3)) {
		case 0:
			file[at] ^= 1 << fuzz_rnd(state, 8);
			break;
		case 1:
			file[at] = fuzz_rnd(state, 256);
			break;
		case 2:
			if (run <= len - (at > from ? at : from))
				memmove(file + at, file + from, run);
			break;
		}
	}
	return len;
}

/* One file of the bundle changes, the others stay whole. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max, unsigned int seed)
{
	static uint8_t out[1u << 20], changed[FUZZ_FILE_MAX];
	uint32_t pick, level, file;
	unsigned int state = seed;
	struct bundle_file *f;
	struct bundle b;
	size_t n = 0;

	bundle_parse(&b, data, len);
	pick = fuzz_rnd(&state, BUNDLE_LEVELS * BUNDLE_FILES);
	for (uint32_t i = 0; i < BUNDLE_LEVELS * BUNDLE_FILES; i++, pick++) {
		level = pick / BUNDLE_FILES % BUNDLE_LEVELS;
		file = pick % BUNDLE_FILES;
		if (b.file[level][file].data)
			break;
	}
	f = &b.file[level][file];
	if (!f->data || f->len > FUZZ_FILE_MAX || !fuzz_rnd(&state, 50))
		return LLVMFuzzerMutate(data, len, max);
	memcpy(changed, f->data, f->len);
	*f = (struct bundle_file){ changed, fuzz_change(changed, f->len, &state) };
	for (uint32_t i = 0; i < BUNDLE_LEVELS * BUNDLE_FILES; i++) {
		f = &b.file[i / BUNDLE_FILES][i % BUNDLE_FILES];
		if (!f->data || n + 3 + f->len > max || n + 3 + f->len > sizeof(out))
			continue;
		out[n++] = i / BUNDLE_FILES * 8 + i % BUNDLE_FILES;
		out[n++] = f->len;
		out[n++] = f->len >> 8;
		memcpy(out + n, f->data, f->len);
		n += f->len;
	}
	memcpy(data, out, n);
	return n;
}
