// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damaged image sets: every file missing, cut at every byte, with every bit flipped, with bytes too
 * many, with random bytes.
 *
 * What must hold each time is in bundle.h: it loads or it fails with a text that names a file, and
 * nothing is handed out that the pages file does not hold or that no lazy VMA covers.  On top of
 * that, what was cut must be told by the name of the file, or have cost nothing.
 *
 * The sets are those of the fuzz corpus, two of which real criu made, and some that are made here;
 * "image_damage --write DIR" puts the latter into DIR as bundles for the corpus.
 */
#include <errno.h>

#include "tests/fuzz/bundle.h"
#include "tests/unit/image_writer.h"

#define BASE 0x7f0000000000ull
#define SETS_MAX 64u

struct set {
	char name[64];
	struct iw_buf bytes;
};

static struct set sets[SETS_MAX];
static uint32_t nsets;
static uint64_t page;
static struct iw_dir dir;
static struct bundle_result result;

static uint64_t pg(uint64_t n)
{
	return BASE + n * page;
}

/* Append a file to a bundle and free it. */
static void put(struct iw_buf *b, uint32_t level, uint32_t file, struct iw_buf *data)
{
	uint8_t head[3] = { level * 8 + file, data->len, data->len >> 8 };

	iw_bytes(b, head, sizeof(head));
	iw_bytes(b, data->data, data->len);
	iw_free(data);
}

static void put_pagemap(struct iw_buf *b, uint32_t level, uint32_t pages_id,
			const struct iw_entry *e, size_t n, enum iw_style style)
{
	struct iw_buf size = { 0 }, file;
	uint64_t npages;

	file = iw_pagemap(pages_id, e, n, style, &npages);
	put(b, level, 3, &file);
	iw_u32(&size, npages * page);
	iw_u32(&size, (npages * page) >> 32);
	put(b, level, BUNDLE_PAGES - 1 + pages_id, &size);
}

static struct iw_buf *new_set(const char *name, const struct iw_vma *vmas, size_t nvmas)
{
	const uint32_t pids[] = { 7, 12, 300 };
	struct set *s = &sets[nsets++];
	struct iw_buf file;

	snprintf(s->name, sizeof(s->name), "%s", name);
	file = iw_inventory(2);
	put(&s->bytes, 0, 0, &file);
	file = iw_pstree(pids, 3);
	put(&s->bytes, 0, 1, &file);
	file = iw_mm(vmas, nvmas);
	put(&s->bytes, 0, 2, &file);
	return &s->bytes;
}

static void make_sets(void)
{
	const struct iw_vma vmas[] = {
		{ pg(0), pg(10), 0x22, 1 << 9 | 1, 0 },
		{ pg(10), pg(20), 0x22, 1 << 9 | 1, 1 << 18 },
		{ pg(30), pg(40), 0x2022, 1 << 9 | 1, 0 },
		{ pg(8), pg(12), 0x22, 1 << 16 | 1, 0 },
	};
	const struct iw_entry plain[] = { { pg(0), 2, 6 }, { pg(4), 1, 4 }, { pg(5), 12, 6 } };
	const struct iw_entry top[] = { { pg(0), 2, 6 }, { pg(2), 4, 3 }, { pg(12), 1, 6 } };
	const struct iw_entry mid[] = { { pg(2), 1, 6 }, { pg(3), 2, 1 }, { pg(5), 1, 4 } };
	const struct iw_entry low[] = { { pg(3), 2, 4 } };
	struct iw_buf *b;

	b = new_set("made-3.17", vmas, 3);
	put_pagemap(b, 0, 1, plain, 3, IW_317);
	b = new_set("made-4.2-guard", vmas, 4);
	put_pagemap(b, 0, 2, plain, 3, IW_42);
	b = new_set("made-parents", vmas, 3);
	put_pagemap(b, 0, 1, top, 3, IW_42);
	put_pagemap(b, 1, 3, mid, 3, IW_317);
	put_pagemap(b, 2, 1, low, 1, IW_OLD);
}

static void read_corpus(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		struct set *s = &sets[nsets];
		uint8_t buf[65536];
		ssize_t n;
		int fd;

		/* Those that are made here are here already. */
		if (e->d_name[0] == '.' || !strncmp(e->d_name, "made-", 5) || nsets == SETS_MAX)
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));
		if (n <= 0)
			bail("cannot read %s/%s", path, e->d_name);
		close(fd);
		snprintf(s->name, sizeof(s->name), "%.60s", e->d_name);
		iw_bytes(&s->bytes, buf, n);
		nsets++;
	}
	if (d)
		closedir(d);
}

/* One kind of damage to one file. */
struct tally {
	char what[192];
	uint32_t runs;
	uint32_t loaded;
	uint32_t bad;
};

static struct tally tally(const char *set, uint32_t level, uint32_t file, const char *what)
{
	struct tally t = { .runs = 0 };

	snprintf(t.what, sizeof(t.what), "%.63s: level %u %s %s", set, level, bundle_names[file],
		 what);
	return t;
}

static void tally_bad(struct tally *t, const char *why, uint64_t at)
{
	if (!t->bad++)
		note("%s, at %" PRIu64 ": %s (%d %s)", t->what, at, why, result.ret,
		     result.err.text);
}

/* Put the damaged file, load, and check what holds always. @at: names the case in a message. */
static void run(struct tally *t, uint32_t level, uint32_t file, const struct bundle_file *f,
		uint64_t at)
{
	char path[32];

	snprintf(path, sizeof(path), "%u/%s", level, bundle_names[file]);
	if (!bundle_put_file(dir.fd, path, f, file >= BUNDLE_PAGES))
		bail("cannot write %s", path);
	bundle_load(&result, dir.fd, false);
	t->runs++;
	t->loaded += !result.ret;
	if (result.broken)
		tally_bad(t, result.broken, at);
	if (result.ret && !strstr(result.err.text, bundle_names[file]))
		tally_bad(t, "the text does not name the file", at);
}

static void tally_done(const struct tally *t)
{
	ok(!t->bad && t->runs, "%s: %u runs, %u still load", t->what, t->runs, t->loaded);
}

static void test_cut(const char *set, uint32_t level, uint32_t file, const struct bundle_file *good,
		     uint64_t owed)
{
	struct tally t = tally(set, level, file, "cut at every byte");
	struct bundle_file f = *good;

	for (uint32_t len = 0; len < good->len; len++) {
		f.len = len;
		run(&t, level, file, &f, len);
		if (!result.ret && result.nbytes != owed)
			tally_bad(&t, "bytes are lost without a word", len);
		/* A record of these says how long it is; of the list of tasks only the last are
		 * lost. */
		if (!result.ret && file != 1 && file != 3)
			tally_bad(&t, "half a file loads", len);
	}
	tally_done(&t);
}

static void test_flip(const char *set, uint32_t level, uint32_t file,
		      const struct bundle_file *good)
{
	struct tally t = tally(set, level, file, "with every bit flipped");
	uint8_t *bytes = malloc(good->len);
	struct bundle_file f = { bytes, good->len };

	memcpy(bytes, good->data, good->len);
	for (uint32_t bit = 0; bit < 8u * good->len; bit++) {
		bytes[bit / 8] ^= 1 << bit % 8;
		run(&t, level, file, &f, bit);
		bytes[bit / 8] ^= 1 << bit % 8;
	}
	free(bytes);
	tally_done(&t);
}

static void test_tail(const char *set, uint32_t level, uint32_t file,
		      const struct bundle_file *good)
{
	struct tally t = tally(set, level, file, "with bytes too many");
	uint8_t *bytes = calloc(1, good->len + 8);
	struct bundle_file f = { bytes, good->len };

	memcpy(bytes, good->data, good->len);
	for (uint32_t i = 1; i <= 8; i++) {
		f.len++;
		bytes[f.len - 1] = 0xff;
		run(&t, level, file, &f, i);
		if (!result.ret)
			tally_bad(&t, "it loads", i);
	}
	free(bytes);
	tally_done(&t);
}

static void test_random(const char *set, uint32_t level, uint32_t file,
			const struct bundle_file *good)
{
	struct tally t = tally(set, level, file, "with random bytes");
	uint8_t *bytes = malloc(good->len);
	struct bundle_file f = { bytes, good->len };
	uint64_t state = 1;

	for (uint32_t i = 0; i < 500; i++) {
		memcpy(bytes, good->data, good->len);
		for (uint32_t n = 1 + i % 6; n; n--) {
			state = state * 6364136223846793005ull + 1442695040888963407ull;
			bytes[(state >> 40) % good->len] = state >> 32;
		}
		run(&t, level, file, &f, i);
	}
	free(bytes);
	tally_done(&t);
}

static void test_pages(const char *set, uint32_t level, uint32_t file,
		       const struct bundle_file *good)
{
	struct tally t = tally(set, level, file, "of another length");
	uint64_t size = bundle_pages_size(good);
	const uint64_t sizes[] = { 0,	     1,	       page,	    size / 2, size - page,
				   size - 1, size + 1, size + page, 2 * size, 1ull << 39 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t raw[8];
		struct bundle_file f = { raw, 8 };

		if (sizes[i] == size)
			continue;
		for (int k = 0; k < 8; k++)
			raw[k] = sizes[i] >> (8 * k);
		run(&t, level, file, &f, sizes[i]);
		if (!result.ret)
			tally_bad(&t, "it loads", sizes[i]);
	}
	tally_done(&t);
}

static void test_file(const char *set, uint32_t level, uint32_t file,
		      const struct bundle_file *good, uint64_t owed)
{
	struct tally t = tally(set, level, file, "missing");

	run(&t, level, file, &(struct bundle_file){ 0 }, 0);
	if (result.ret != -ENOENT)
		tally_bad(&t, "it loads", 0);
	tally_done(&t);
	if (file >= BUNDLE_PAGES) {
		test_pages(set, level, file, good);
		return;
	}
	test_cut(set, level, file, good, owed);
	test_flip(set, level, file, good);
	test_tail(set, level, file, good);
	test_random(set, level, file, good);
}

static void test_set(struct set *s)
{
	struct bundle b;
	uint64_t owed;

	bundle_parse(&b, s->bytes.data, s->bytes.len);
	if (!bundle_put(&b, dir.fd))
		bail("cannot write %s", s->name);
	bundle_load(&result, dir.fd, false);
	owed = result.nbytes;
	if (strncmp(s->name, "made-", 5) && strncmp(s->name, "criu-", 5)) {
		/* An input that the fuzzer left behind. */
		ok(!result.broken, "%s keeps all promises: %s", s->name, result.err.text);
		return;
	}
	ok(!result.ret && !result.broken && owed, "%s owes %" PRIu64 " bytes in %u pieces", s->name,
	   owed, result.npieces);
	for (uint32_t l = 0; l < BUNDLE_LEVELS; l++) {
		for (uint32_t i = 0; i < BUNDLE_FILES; i++) {
			char path[32];

			if (!b.file[l][i].data)
				continue;
			test_file(s->name, l, i, &b.file[l][i], owed);
			snprintf(path, sizeof(path), "%u/%s", l, bundle_names[i]);
			if (!bundle_put_file(dir.fd, path, &b.file[l][i], i >= BUNDLE_PAGES))
				bail("cannot write %s", path);
		}
	}
}

int main(int argc, char **argv)
{
	char corpus[512];
	uint32_t real = 0;

	tap_timeout(300);
	page = sysconf(_SC_PAGESIZE);
	make_sets();
	if (argc == 3 && !strcmp(argv[1], "--write")) {
		int fd = open(argv[2], O_RDONLY | O_DIRECTORY);

		for (uint32_t i = 0; i < nsets; i++)
			iw_write(fd, sets[i].name, sets[i].bytes.data, sets[i].bytes.len);
		return 0;
	}
	snprintf(corpus, sizeof(corpus), "%s/tests/fuzz/corpus",
		 getenv("TOP") ? getenv("TOP") : ".");
	read_corpus(corpus);
	dir = iw_mkdir();
	if (!bundle_mkdirs(dir.fd))
		bail("no directories");
	for (uint32_t i = 0; i < nsets; i++) {
		real += !strncmp(sets[i].name, "criu-", 5);
		if (page == 4096 || strncmp(sets[i].name, "criu-", 5))
			test_set(&sets[i]);
		iw_free(&sets[i].bytes);
	}
	ok(real >= 2, "%u of %u sets are from criu itself (in %s)", real, nsets, corpus);
	iw_rmdir(&dir);
	return tap_done();
}
