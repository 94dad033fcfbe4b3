// SPDX-License-Identifier: GPL-2.0-only
/* What is refused, with which error, and that the text names the file and the byte. */
#include <errno.h>

#include "image/image.h"
#include "tests/unit/image_writer.h"

#define BASE 0x7f0000000000ull

static uint64_t page;
static struct iw_dir dir;
static uint32_t pieces;
static bool beyond; /* a piece lay outside what is really there */

static uint64_t pg(uint64_t n)
{
	return BASE + n * page;
}

static const uint32_t pids[] = { 9 };

/* A good set: two VMAs and five pages, two of them (2, 3) to be had from the parent. */
static void good_set(void)
{
	const struct iw_vma vmas[] = {
		{ pg(0), pg(10), 0x22, 1 << 9 | 1, 0 },
		{ pg(10), pg(20), 0x22, 1 << 9 | 1, 0 },
		{ pg(30), pg(40), 0x2022, 1 << 9 | 1, 0 },
	};
	const struct iw_entry top[] = { { pg(0), 2, 6 }, { pg(2), 2, 3 }, { pg(12), 1, 6 } };
	const struct iw_entry low[] = { { pg(2), 1, 6 }, { pg(3), 5, 4 } };
	int fd;

	dir = iw_mkdir();
	iw_set(dir.fd, pids, 1);
	iw_task_mm(dir.fd, 9, vmas, 3);
	iw_task_pages(dir.fd, 9, 1, top, 3, IW_42);
	fd = iw_subdir(dir.fd, "real");
	iw_task_pages(fd, 9, 1, low, 2, IW_317);
	close(fd);
	if (symlinkat("real", dir.fd, "parent"))
		bail("no symlinks");
}

static int on_piece(const struct extent_view *p, void *arg)
{
	struct image_set *set = arg;

	pieces++;
	if (p->offset + range_len(p->at) > image_source_get(set, p->source)->size_bytes)
		beyond = true;
	return 0;
}

/*
 * Load the damaged set, expect @want and a text with both strings, and remove the set.
 * @where: usually the file; @what: usually the byte.
 */
static void refused(int want, const char *where, const char *what, const char *name)
{
	struct image_error err = { "" };
	struct image_set *set = NULL;
	int ret = image_open(dir.fd, false, &set, &err);

	pieces = 0;
	beyond = false;
	if (!ret)
		ret = image_load_task(set, 9, NULL, on_piece, set, &err);
	is_i64(ret, want, "%s", name);
	ok(!strncmp(err.text, where, strlen(where)) && strstr(err.text, what) &&
		   !strchr(err.text, '\n'),
	   "  says where: %s", err.text);
	ok(!beyond, "  and hands out nothing that is not there");
	image_close(set);
	iw_rmdir(&dir);
}

/* Replace pagemap-9.img by a head, entry bytes as given, and what a good one has. */
struct raw {
	struct iw_buf file;
	struct iw_buf msg;
};

static struct raw raw_pagemap(void)
{
	good_set();
	return (struct raw){ .file = iw_pagemap_head(1) };
}

static void raw_done(struct raw *r)
{
	iw_record(&r->file, &r->msg);
	iw_finish(&r->file, dir.fd, "pagemap-9.img");
	iw_free(&r->msg);
}

static void test_missing(void)
{
	good_set();
	unlinkat(dir.fd, "inventory.img", 0);
	refused(-ENOENT, "inventory.img: missing", "-D", "no inventory");
	good_set();
	unlinkat(dir.fd, "pstree.img", 0);
	refused(-ENOENT, "pstree.img: missing", "", "no list of tasks");
	good_set();
	unlinkat(dir.fd, "mm-9.img", 0);
	refused(-ENOENT, "mm-9.img: missing", "", "no mm image");
	good_set();
	unlinkat(dir.fd, "pagemap-9.img", 0);
	refused(-ENOENT, "pagemap-9.img: missing", "", "no pagemap");
	good_set();
	unlinkat(dir.fd, "pages-1.img", 0);
	refused(-ENOENT, "pages-1.img: missing", "pagemap-9.img", "no pages file");
	good_set();
	unlinkat(dir.fd, "parent", 0);
	refused(-ENOENT, "parent: missing", "pagemap-9.img", "no link to the parent");
	good_set();
	unlinkat(dir.fd, "parent", 0);
	if (symlinkat("gone", dir.fd, "parent"))
		bail("no symlinks");
	refused(-ENOENT, "parent: leads to gone", "pagemap-9.img", "no directory behind it");
	good_set();
	unlinkat(dir.fd, "parent", 0);
	if (symlinkat(".", dir.fd, "parent"))
		bail("no symlinks");
	refused(-ELOOP, "parent: leads back", "", "a parent of its own");
	good_set();
	unlinkat(dir.fd, "real/pagemap-9.img", 0);
	refused(-ENOENT, "parent/pagemap-9.img: missing", "pagemap-9.img says",
		"no parent pagemap");
	good_set();
	unlinkat(dir.fd, "real/pages-1.img", 0);
	refused(-ENOENT, "parent/pages-1.img: missing", "parent/pagemap-9.img", "no parent pages");
}

static void test_kinds(void)
{
	good_set();
	unlinkat(dir.fd, "mm-9.img", 0);
	if (mkfifoat(dir.fd, "mm-9.img", 0600))
		bail("no FIFOs");
	refused(-EBADMSG, "mm-9.img: not a regular file", "", "a FIFO is not waited for");
	good_set();
	unlinkat(dir.fd, "pages-1.img", 0);
	if (mkdirat(dir.fd, "pages-1.img", 0700))
		bail("no directories");
	refused(-EBADMSG, "pages-1.img: not a regular file", "", "a directory as pages file");
	good_set();
	iw_write(dir.fd, "mm-9.img", "", 0);
	refused(-EBADMSG, "mm-9.img: truncated at byte 0", "", "an empty file");
	good_set();
	iw_write(dir.fd, "mm-9.img", "\x19\x43\x56\x54\x20\x28\x49\x57", 8);
	refused(-EBADMSG, "mm-9.img: ends at byte 8", "", "magics alone, mm");
	good_set();
	iw_write(dir.fd, "pagemap-9.img", "\x19\x43\x56\x54\x25\x40\x08\x56", 8);
	refused(-EBADMSG, "pagemap-9.img: ends at byte 8", "", "magics alone, pagemap");
	good_set();
	iw_write(dir.fd, "pstree.img", "\x19\x43\x56\x54\x30\x30\x27\x50", 8);
	refused(-EBADMSG, "pstree.img: ends at byte 8", "", "magics alone, pstree");
	good_set();
	iw_write(dir.fd, "inventory.img", "\x16\x31\x31\x58", 4);
	refused(-EBADMSG, "inventory.img: ends at byte 4", "", "magic alone, inventory");
	good_set();
	iw_write(dir.fd, "pagemap-9.img", "\x19\x43\x56\x54\x20\x28\x49\x57", 8);
	refused(-EBADMSG, "pagemap-9.img: magic 0x57492820 at byte 4", "0x56084025",
		"another's magic");
	good_set();
	iw_write(dir.fd, "mm-9.img", "\x20\x28\x49\x57\x20\x28\x49\x57", 8);
	refused(-EBADMSG, "mm-9.img: magic 0x57492820 at byte 0", "0x54564319", "no common magic");
	good_set();
	iw_write(dir.fd, "mm-9.img", "\x19\x43\x56\x54\x20\x28\x49\x57\xff\xff\xff\xff\x00", 13);
	refused(-EBADMSG, "mm-9.img: truncated: the record at byte 8", "4294967295",
		"4 GiB of record");
}

static void test_inventory(void)
{
	struct iw_buf f;

	for (uint32_t version = 0; version < 5; version++) {
		if (version == 2)
			continue;
		good_set();
		f = iw_inventory(version);
		iw_finish(&f, dir.fd, "inventory.img");
		refused(version ? -ENOTSUP : -EBADMSG, "inventory.img: the record at byte 4",
			"version", "an image version that is not known");
	}
	good_set();
	f = iw_inventory(2);
	iw_u32(&f, 0);
	iw_finish(&f, dir.fd, "inventory.img");
	refused(-EBADMSG, "inventory.img: 4 bytes too many", "byte",
		"two records where one belongs");
	good_set();
	f = iw_pstree((const uint32_t[]){ 9, 8, 9 }, 3);
	iw_finish(&f, dir.fd, "pstree.img");
	refused(-EBADMSG, "pstree.img: lists task 9 twice", "byte", "a task twice");
	good_set();
	f = iw_pstree((const uint32_t[]){ 0 }, 1);
	iw_finish(&f, dir.fd, "pstree.img");
	refused(-EBADMSG, "pstree.img: the record at byte 8", "pid", "task 0");
	good_set();
	f = iw_pstree((const uint32_t[]){ 1, 0x80000000 }, 2);
	iw_finish(&f, dir.fd, "pstree.img");
	refused(-EBADMSG, "pstree.img: the record at byte ", "pid", "a negative task");
}

static void refuse_mm(const struct iw_vma *vmas, size_t n, const char *what, const char *name)
{
	good_set();
	iw_task_mm(dir.fd, 9, vmas, n);
	refused(-EBADMSG, "mm-9.img: VMA ", what, name);
}

static void test_mm(void)
{
	struct iw_vma v[2] = { { pg(0), pg(8), 0x22, 1 << 9, 0 },
			       { pg(8), pg(20), 0x22, 1 << 9, 0 } };

	v[1].start = pg(7);
	refuse_mm(v, 2, "before the end", "VMAs that overlap");
	v[1] = v[0];
	refuse_mm(v, 2, "before the end", "a VMA twice");
	v[1].start = v[1].end = pg(9);
	refuse_mm(v, 2, "no range", "an empty VMA");
	v[1].start = pg(10);
	refuse_mm(v, 2, "no range", "a VMA upside down");
	v[1].end = pg(20) + 1;
	refuse_mm(v, 2, "no range", "half a page");
	v[1].end = (1ull << 56) + page;
	refuse_mm(v, 2, "beyond", "a VMA beyond 2^56");
	v[1].status = 1 << 16;
	refuse_mm(v, 2, "beyond", "a guard beyond 2^56");
	good_set();
	iw_task_mm(dir.fd, 9, v, 0);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 14", "no VMA", "no VMAs at all");
}

static void test_entries(void)
{
	struct raw r;

	r = raw_pagemap();
	iw_entry(&r.file, &r.msg, &(struct iw_entry){ pg(0), 4, 6 }, IW_42);
	iw_field(&r.msg, 1, pg(3));
	iw_field(&r.msg, 2, 1);
	iw_field(&r.msg, 4, 6);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 3", "before the end", "an overlap");
	r = raw_pagemap();
	iw_field(&r.msg, 1, pg(0) + 8);
	iw_field(&r.msg, 2, 1);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 14", "not that of a page", "unaligned");
	r = raw_pagemap();
	iw_field(&r.msg, 2, 1);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 14", "address", "no address");
	r = raw_pagemap();
	iw_field(&r.msg, 1, pg(0));
	iw_field(&r.msg, 2, 0);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 14", "no pages", "no count");
	r = raw_pagemap();
	iw_field(&r.msg, 1, pg(0));
	iw_field(&r.msg, 2, 2);
	iw_field(&r.msg, 4, 6);
	iw_field(&r.msg, 5, 3);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 14", "two counts", "two counts");
	r = raw_pagemap();
	iw_field(&r.msg, 1, pg(0));
	iw_field(&r.msg, 2, 0);
	iw_field(&r.msg, 4, 6);
	iw_field(&r.msg, 5, UINT64_MAX / page + 2);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 14", "beyond", "a count that wraps");
	r = raw_pagemap();
	iw_field(&r.msg, 1, 1ull << 56);
	iw_field(&r.msg, 2, 1);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 14", "beyond", "an address of 2^56");
	r = raw_pagemap();
	iw_field(&r.msg, 1, -page);
	iw_field(&r.msg, 2, 1);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 14", "beyond", "the last page of all");
	r = raw_pagemap();
	iw_field(&r.msg, 1, pg(0));
	iw_field(&r.msg, 2, 1);
	iw_field(&r.msg, 4, 8 | 6);
	raw_done(&r);
	refused(-ENOTSUP, "pagemap-9.img: the entry at byte 14", "0x8", "a flag that is not known");
	r = raw_pagemap();
	iw_field(&r.msg, 1, pg(0));
	iw_field(&r.msg, 2, 1);
	iw_field(&r.msg, 4, 6);
	iw_field(&r.msg, 6, 100);
	raw_done(&r);
	refused(-ENOTSUP, "pagemap-9.img: the record at byte 14", "field 6",
		"a field that is not known");
	r = raw_pagemap();
	iw_field(&r.msg, 1, pg(0));
	iw_field(&r.msg, 2, 1);
	iw_field(&r.msg, 4, 7);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 14", "both", "here and in the parent");
	r = raw_pagemap();
	iw_field(&r.msg, 1, pg(0));
	iw_field(&r.msg, 2, 1);
	iw_field(&r.msg, 4, 2);
	raw_done(&r);
	refused(-ENOTSUP, "pagemap-9.img: the entry at byte 14", "page server", "a lazy dump");
	r = raw_pagemap();
	iw_field(&r.msg, 1, pg(9));
	iw_field(&r.msg, 2, 12);
	iw_field(&r.msg, 4, 6);
	raw_done(&r);
	iw_pages(dir.fd, 1, 12 * page);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 14", "no VMA", "an entry past its VMA");
	r = raw_pagemap();
	iw_field(&r.msg, 1, pg(30));
	iw_field(&r.msg, 2, 1);
	iw_field(&r.msg, 4, 6);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 14", "mm-9.img",
		"lazy in a locked VMA");
	r = raw_pagemap();
	iw_bytes(&r.msg, "\xff\xff\xff", 3);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the entry at byte 14", "damaged", "no message at all");
	r = raw_pagemap();
	for (uint32_t i = 0; i < 3000; i++)
		iw_field(&r.msg, 7, 1);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the record at byte 14", "6000", "a record too long");
	good_set();
	r = (struct raw){ .file = iw_pagemap_head(77) };
	iw_field(&r.msg, 1, pg(0));
	iw_field(&r.msg, 2, 1);
	iw_field(&r.msg, 4, 6);
	raw_done(&r);
	refused(-ENOENT, "pages-77.img: missing", "pagemap-9.img",
		"a pages file that is not there");
	good_set();
	r = (struct raw){ 0 };
	iw_u32(&r.file, IW_COMMON);
	iw_u32(&r.file, IW_PAGEMAP);
	raw_done(&r);
	refused(-EBADMSG, "pagemap-9.img: the head record at byte 8", "no pages file",
		"an empty head");
	good_set();
	r = (struct raw){ 0 };
	iw_u32(&r.file, IW_COMMON);
	iw_u32(&r.file, IW_PAGEMAP);
	iw_field(&r.msg, 1, 1);
	iw_field(&r.msg, 2, 1);
	raw_done(&r);
	refused(-ENOTSUP, "pagemap-9.img: the record at byte 8", "field 2",
		"a head that is not known");
}

static void test_lengths(void)
{
	char want[64];
	int fd;

	good_set();
	iw_pages(dir.fd, 1, 3 * page - 1);
	snprintf(want, sizeof(want), "accounts for %" PRIu64, 3 * page);
	refused(-EBADMSG, "pages-1.img: is ", want, "a byte too few");
	good_set();
	iw_pages(dir.fd, 1, page);
	refused(-EBADMSG, "pages-1.img: is ", want, "two pages too few");
	ok(!pieces, "nothing came of it");
	good_set();
	iw_pages(dir.fd, 1, 4 * page);
	refused(-EBADMSG, "pages-1.img: is ", want, "a page too many");
	good_set();
	iw_pages(dir.fd, 1, 0);
	refused(-EBADMSG, "pages-1.img: is 0 bytes", want, "an empty pages file");
	good_set();
	fd = openat(dir.fd, "real", O_RDONLY | O_DIRECTORY);
	iw_pages(fd, 1, 5 * page);
	close(fd);
	snprintf(want, sizeof(want), "accounts for %" PRIu64, 6 * page);
	refused(-EBADMSG, "parent/pages-1.img: is ", want, "a page too few in the parent");
}

/* What the parent lacks, in each way it may. */
static void test_parent(void)
{
	static const struct iw_entry low[][3] = {
		{ { BASE, 1, 4 } },		   /* ends too early */
		{ { BASE + (8ull << 30), 1, 4 } }, /* starts too late */
		{ { 2, 1, 4 } },		   /* first page only */
		{ { 2, 1, 4 }, { 4, 3, 4 } },	   /* a hole */
		{ { 2, 2, 2 } },		   /* at a page server */
		{ { 2, 2, 0 } },		   /* nowhere */
		{ { 2, 1, 4 }, { 3, 1, 2 } },
	};

	for (size_t i = 0; i < sizeof(low) / sizeof(low[0]); i++) {
		struct iw_entry e[3];
		size_t n = 0;
		char what[64];
		int fd;

		good_set();
		for (; n < 3 && low[i][n].npages; n++) {
			e[n] = low[i][n];
			if (e[n].vaddr < BASE)
				e[n].vaddr = pg(e[n].vaddr);
		}
		fd = openat(dir.fd, "real", O_RDONLY | O_DIRECTORY);
		iw_task_pages(fd, 9, 1, e, n, IW_42);
		close(fd);
		snprintf(what, sizeof(what), "0x%" PRIx64,
			 i == 2 || i == 3 || i == 6 ? pg(3) : pg(2));
		refused(-EBADMSG, "parent/pagemap-9.img: holds nothing", what,
			"the parent lacks it");
	}
	good_set();
	int fd = openat(dir.fd, "real", O_RDONLY | O_DIRECTORY);

	iw_task_pages(fd, 9, 1, (const struct iw_entry[]){ { pg(2), 2, 1 } }, 1, IW_42);
	close(fd);
	refused(-ENOENT, "parent/parent: missing", "parent/pagemap-9.img",
		"a parent without its own");
}

/* A record of a few bytes must not be worth a lot of memory. */
static void test_memory(void)
{
	struct iw_buf f = { 0 }, msg = { 0 }, none = { 0 };

	good_set();
	iw_u32(&f, IW_COMMON);
	iw_u32(&f, IW_MM);
	for (uint32_t i = 0; i < 2000000; i++)
		iw_field_bytes(&msg, 14, &none);
	iw_record(&f, &msg);
	iw_finish(&f, dir.fd, "mm-9.img");
	iw_free(&msg);
	refused(-EBADMSG, "mm-9.img: the record at byte 8", "damaged", "two million empty VMAs");
	good_set();
	f = (struct iw_buf){ 0 };
	iw_u32(&f, IW_COMMON);
	iw_u32(&f, IW_MM);
	iw_u32(&f, 0x7fffffff);
	iw_finish(&f, dir.fd, "mm-9.img");
	int fd = openat(dir.fd, "mm-9.img", O_WRONLY);

	if (fd < 0 || ftruncate(fd, 1ull << 32))
		bail("cannot extend");
	close(fd);
	refused(-EBADMSG, "mm-9.img: the record at byte 8", "67108864",
		"a record of 2 GiB that is there");
}

int main(void)
{
	struct image_error err = { "" };
	struct image_set *set;

	tap_timeout(120);
	page = sysconf(_SC_PAGESIZE);
	good_set();
	is_i64(image_open(dir.fd, false, &set, &err), 0, "the good set opens");
	is_i64(image_load_task(set, 9, NULL, on_piece, set, &err), 0, "and loads");
	is_u64(pieces, 3, "three pieces: %s", err.text);
	is_i64(image_load_task(set, 10, NULL, on_piece, set, &err), -ENOENT, "no such task: %s",
	       err.text);
	image_close(set);
	iw_rmdir(&dir);
	is_i64(image_open(-1, false, &set, &err), -EBADF, "no directory: %s", err.text);
	test_missing();
	test_kinds();
	test_inventory();
	test_mm();
	test_entries();
	test_lengths();
	test_parent();
	test_memory();
	return tap_done();
}
