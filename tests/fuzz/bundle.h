/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bundle: a whole image set of task 7 in one string of bytes, and what must hold when it is loaded.
 *
 * A bundle is what the fuzzer changes and what its corpus holds: files, one after the other, each
 *
 *	u8   file: index into bundle_names + 8 * level
 *	u16  length of what follows, little endian
 *	...  contents; for a pages file 8 bytes, its size, little endian
 *
 * up to the end or to the first that makes no sense; a file that comes twice is the later one.
 * Level 0 is the image directory, level n + 1 its parent's.  Every text that an error gives has to
 * name a file, every piece has to lie inside a VMA and inside its pages file.
 */
#ifndef TESTS_FUZZ_BUNDLE_H
#define TESTS_FUZZ_BUNDLE_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"

#define BUNDLE_LEVELS 4u
#define BUNDLE_FILES 7u
#define BUNDLE_PAGES 4u /* index of the first pages file */
#define BUNDLE_VPID 7u
#define BUNDLE_VMAS_MAX 4096u
#define BUNDLE_FN static inline __attribute__((unused))

static const char *const bundle_names[BUNDLE_FILES] = {
	"inventory.img", "pstree.img",	"mm-7.img",    "pagemap-7.img",
	"pages-1.img",	 "pages-2.img", "pages-3.img",
};

struct bundle_file {
	const uint8_t *data; /* NULL: not there */
	uint16_t len;
};

struct bundle {
	struct bundle_file file[BUNDLE_LEVELS][BUNDLE_FILES];
};

BUNDLE_FN void bundle_parse(struct bundle *b, const uint8_t *data, size_t len)
{
	memset(b, 0, sizeof(*b));
	while (len >= 3) {
		uint32_t level = data[0] / 8, file = data[0] % 8;
		uint16_t n = data[1] | data[2] << 8;

		if (level >= BUNDLE_LEVELS || file >= BUNDLE_FILES || n > len - 3)
			return;
		b->file[level][file] = (struct bundle_file){ data + 3, n };
		data += 3 + n;
		len -= 3 + n;
	}
}

BUNDLE_FN uint64_t bundle_pages_size(const struct bundle_file *f)
{
	uint64_t size = 0;

	for (uint32_t i = 0; i < 8 && i < f->len; i++)
		size |= (uint64_t)f->data[i] << (8 * i);
	return size & ((1ull << 40) - 1);
}

/* Directories 0, 1, 2, 3 below @root_fd. Return: whether that worked. */
BUNDLE_FN bool bundle_mkdirs(int root_fd)
{
	for (uint32_t l = 0; l < BUNDLE_LEVELS; l++) {
		char name[2] = { '0' + l, '\0' };

		if (mkdirat(root_fd, name, 0700) && errno != EEXIST)
			return false;
	}
	return true;
}

BUNDLE_FN void bundle_rmdirs(int root_fd)
{
	for (uint32_t l = 0; l < BUNDLE_LEVELS; l++) {
		char name[32];

		for (uint32_t i = 0; i < BUNDLE_FILES; i++) {
			snprintf(name, sizeof(name), "%u/%s", l, bundle_names[i]);
			unlinkat(root_fd, name, 0);
		}
		snprintf(name, sizeof(name), "%u/parent", l);
		unlinkat(root_fd, name, 0);
		snprintf(name, sizeof(name), "%u", l);
		unlinkat(root_fd, name, AT_REMOVEDIR);
	}
}

BUNDLE_FN bool bundle_put_file(int root_fd, const char *path, const struct bundle_file *f,
			       bool pages)
{
	bool good;
	int fd;

	unlinkat(root_fd, path, 0);
	if (!f->data)
		return true;
	fd = openat(root_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	if (pages)
		good = !ftruncate(fd, bundle_pages_size(f));
	else
		good = write(fd, f->data, f->len) == f->len;
	close(fd);
	return good;
}

/* Make or remove the link that leads to level @l, from the one in front of it. */
BUNDLE_FN bool bundle_put_link(int root_fd, uint32_t l, bool there)
{
	char path[32], link[8];

	snprintf(path, sizeof(path), "%u/parent", l - 1);
	snprintf(link, sizeof(link), "../%u", l);
	unlinkat(root_fd, path, 0);
	return !there || !symlinkat(link, root_fd, path);
}

/* Make the directories what the bundle says.  A level with any file gets a link to it. */
BUNDLE_FN bool bundle_put(const struct bundle *b, int root_fd)
{
	for (uint32_t l = 0; l < BUNDLE_LEVELS; l++) {
		bool any = false;
		char path[32];

		for (uint32_t i = 0; i < BUNDLE_FILES; i++) {
			snprintf(path, sizeof(path), "%u/%s", l, bundle_names[i]);
			any |= !!b->file[l][i].data;
			if (!bundle_put_file(root_fd, path, &b->file[l][i], i >= BUNDLE_PAGES))
				return false;
		}
		if (l && !bundle_put_link(root_fd, l, any))
			return false;
	}
	return true;
}

struct bundle_result {
	int ret;
	struct image_error err;
	const char *broken; /* a promise that was not kept, or NULL */
	uint32_t npieces;
	uint64_t nbytes;
	/* While it runs. */
	struct image_set *set;
	uint64_t page_size;
	uint64_t end;
	struct range vma[BUNDLE_VMAS_MAX];
	uint32_t nvmas;
};

static int bundle_on_vma(struct range at, uint64_t madv, void *arg)
{
	struct bundle_result *r = arg;

	(void)madv;
	if (r->npieces)
		r->broken = "a VMA after a piece";
	if (at.start.v >= at.end.v || (at.start.v | at.end.v) % r->page_size)
		r->broken = "a VMA that is no range of pages";
	if (r->nvmas && r->vma[r->nvmas - 1].end.v > at.start.v)
		r->broken = "VMAs that do not ascend";
	if (r->nvmas == BUNDLE_VMAS_MAX)
		return -E2BIG;
	r->vma[r->nvmas++] = at;
	return 0;
}

static int bundle_on_piece(const struct extent_view *p, void *arg)
{
	const struct image_source *src;
	struct bundle_result *r = arg;
	uint32_t in = 0;

	src = image_source_get(r->set, p->source);
	if (p->at.start.v >= p->at.end.v || (p->at.start.v | p->at.end.v) % r->page_size)
		r->broken = "a piece that is no range of pages";
	if (p->at.start.v < r->end)
		r->broken = "pieces that do not ascend";
	if (!src || src->fd < 0 || p->offset > src->size_bytes ||
	    range_len(p->at) > src->size_bytes - p->offset)
		r->broken = "a piece beyond the end of its pages file";
	while (in < r->nvmas && r->vma[in].end.v <= p->at.start.v)
		in++;
	if (in == r->nvmas || r->vma[in].start.v > p->at.start.v || r->vma[in].end.v < p->at.end.v)
		r->broken = "a piece that is not inside one lazy VMA";
	r->end = p->at.end.v;
	r->npieces++;
	r->nbytes += range_len(p->at);
	return 0;
}

/* Load what bundle_put() made. */
BUNDLE_FN void bundle_load(struct bundle_result *r, int root_fd, bool rdwr)
{
	int fd = openat(root_fd, "0", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	memset(r, 0, offsetof(struct bundle_result, vma));
	r->nvmas = 0;
	r->page_size = sysconf(_SC_PAGESIZE);
	r->ret = image_open(fd, rdwr, &r->set, &r->err);
	close(fd);
	if (!r->ret) {
		r->ret = image_load_task(r->set, BUNDLE_VPID, bundle_on_vma, bundle_on_piece, r,
					 &r->err);
		image_close(r->set);
	}
	if (r->ret > 0)
		r->broken = "a positive return value";
	if (r->ret && (!strlen(r->err.text) || strchr(r->err.text, '\n') ||
		       (!strstr(r->err.text, ".img") && !strstr(r->err.text, "parent:"))))
		r->broken = "an error that names no file";
}

#endif
