/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * image_writer: criu image sets made up for tests.
 *
 * The encoding is done by hand, byte by byte, so that a mistake in proto/criu_images.proto cannot
 * hide behind the same mistake here.  For tests only: every failure ends the program.
 */
#ifndef TESTS_UNIT_IMAGE_WRITER_H
#define TESTS_UNIT_IMAGE_WRITER_H

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/tap.h"

#define IW_COMMON 0x54564319u
#define IW_INVENTORY 0x58313116u
#define IW_PSTREE 0x50273030u
#define IW_MM 0x57492820u
#define IW_PAGEMAP 0x56084025u

#define IW_FLAGS_PRIVATE_ANON 0x22u
#define IW_STATUS_PRIVATE_ANON (1u << 9 | 1u)

/* Bytes that grow. */
struct iw_buf {
	uint8_t *data;
	size_t len;
	size_t room;
};

TAP_FN void iw_bytes(struct iw_buf *b, const void *data, size_t len)
{
	if (b->len + len > b->room) {
		b->room = 2 * (b->len + len) + 64;
		b->data = realloc(b->data, b->room);
		if (!b->data)
			bail("no memory");
	}
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

TAP_FN void iw_u32(struct iw_buf *b, uint32_t v)
{
	uint8_t raw[4] = { v, v >> 8, v >> 16, v >> 24 };

	iw_bytes(b, raw, sizeof(raw));
}

TAP_FN void iw_varint(struct iw_buf *b, uint64_t v)
{
	do {
		uint8_t byte = (v & 0x7f) | (v > 0x7f ? 0x80 : 0);

		iw_bytes(b, &byte, 1);
		v >>= 7;
	} while (v);
}

/* A field that is a number. */
TAP_FN void iw_field(struct iw_buf *b, uint32_t tag, uint64_t v)
{
	iw_varint(b, (uint64_t)tag << 3);
	iw_varint(b, v);
}

/* A field that is a message or a string. */
TAP_FN void iw_field_bytes(struct iw_buf *b, uint32_t tag, const struct iw_buf *v)
{
	iw_varint(b, (uint64_t)tag << 3 | 2);
	iw_varint(b, v->len);
	iw_bytes(b, v->data, v->len);
}

/* A record of an image file; empties @msg. */
TAP_FN void iw_record(struct iw_buf *file, struct iw_buf *msg)
{
	iw_u32(file, msg->len);
	iw_bytes(file, msg->data, msg->len);
	msg->len = 0;
}

TAP_FN void iw_free(struct iw_buf *b)
{
	free(b->data);
	*b = (struct iw_buf){ 0 };
}

TAP_FN void iw_write(int dir_fd, const char *name, const void *data, size_t len)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		bail("cannot write %s", name);
	close(fd);
}

/* Write and free. */
TAP_FN void iw_finish(struct iw_buf *b, int dir_fd, const char *name)
{
	iw_write(dir_fd, name, b->data, b->len);
	iw_free(b);
}

/* A pages file that is one hole. */
TAP_FN void iw_pages(int dir_fd, uint32_t id, uint64_t size)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "pages-%u.img", id);
	fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, size))
		bail("cannot write %s", name);
	close(fd);
}

TAP_FN struct iw_buf iw_inventory(uint32_t version)
{
	struct iw_buf file = { 0 }, msg = { 0 }, ids = { 0 };

	iw_u32(&file, IW_INVENTORY);
	iw_field(&msg, 1, version);
	iw_field(&msg, 2, 1);
	for (uint32_t i = 1; i < 6; i++)
		iw_field(&ids, i, i);
	iw_field_bytes(&msg, 3, &ids);
	iw_field(&msg, 4, 1);
	iw_field(&msg, 6, 0);
	iw_record(&file, &msg);
	iw_free(&msg);
	iw_free(&ids);
	return file;
}

TAP_FN struct iw_buf iw_pstree(const uint32_t *pids, size_t n)
{
	struct iw_buf file = { 0 }, msg = { 0 };

	iw_u32(&file, IW_COMMON);
	iw_u32(&file, IW_PSTREE);
	for (size_t i = 0; i < n; i++) {
		iw_field(&msg, 1, pids[i]);
		iw_field(&msg, 2, i ? pids[0] : 0);
		iw_field(&msg, 3, pids[0]);
		iw_field(&msg, 4, pids[0]);
		iw_field(&msg, 5, pids[i]);
		iw_field(&msg, 5, pids[i] + 100);
		iw_record(&file, &msg);
	}
	iw_free(&msg);
	return file;
}

struct iw_vma {
	uint64_t start;
	uint64_t end;
	uint32_t flags;
	uint32_t status;
	uint64_t madv;
};

TAP_FN struct iw_buf iw_mm(const struct iw_vma *vmas, size_t n)
{
	struct iw_buf file = { 0 }, msg = { 0 }, one = { 0 };

	iw_u32(&file, IW_COMMON);
	iw_u32(&file, IW_MM);
	for (uint32_t i = 1; i <= 11; i++)
		iw_field(&msg, i, 0x400000 + i);
	iw_field(&msg, 12, 5);
	for (uint32_t i = 0; i < 40; i++)
		iw_field(&msg, 13, 0x7fff00000000 + i);
	for (size_t i = 0; i < n; i++) {
		one.len = 0;
		iw_field(&one, 1, vmas[i].start);
		iw_field(&one, 2, vmas[i].end);
		iw_field(&one, 3, 0);
		iw_field(&one, 4, 0);
		iw_field(&one, 5, 3);
		iw_field(&one, 6, vmas[i].flags);
		iw_field(&one, 7, vmas[i].status);
		iw_field(&one, 8, 1); /* -1, zigzag */
		if (vmas[i].madv)
			iw_field(&one, 9, vmas[i].madv);
		iw_field_bytes(&msg, 14, &one);
	}
	iw_field(&msg, 15, 1);
	iw_record(&file, &msg);
	iw_free(&msg);
	iw_free(&one);
	return file;
}

/* How an entry is put down. */
enum iw_style {
	IW_OLD, /* no flags: in_parent or nothing */
	IW_317, /* count in field 2, flags */
	IW_42,	/* field 2 zero, count in field 5, flags */
	IW_STYLES,
};

struct iw_entry {
	uint64_t vaddr;
	uint64_t npages;
	uint32_t flags;
};

TAP_FN void iw_entry(struct iw_buf *file, struct iw_buf *msg, const struct iw_entry *e,
		     enum iw_style style)
{
	iw_field(msg, 1, e->vaddr);
	iw_field(msg, 2, style == IW_42 ? 0 : e->npages);
	if (style == IW_OLD && (e->flags & 1))
		iw_field(msg, 3, 1);
	if (style != IW_OLD)
		iw_field(msg, 4, e->flags);
	if (style == IW_42)
		iw_field(msg, 5, e->npages);
	iw_record(file, msg);
}

TAP_FN struct iw_buf iw_pagemap_head(uint32_t pages_id)
{
	struct iw_buf file = { 0 }, msg = { 0 };

	iw_u32(&file, IW_COMMON);
	iw_u32(&file, IW_PAGEMAP);
	iw_field(&msg, 1, pages_id);
	iw_record(&file, &msg);
	iw_free(&msg);
	return file;
}

/* @*npages: pages that the pages file has to hold. */
TAP_FN struct iw_buf iw_pagemap(uint32_t pages_id, const struct iw_entry *e, size_t n,
				enum iw_style style, uint64_t *npages)
{
	struct iw_buf file = iw_pagemap_head(pages_id), msg = { 0 };

	*npages = 0;
	for (size_t i = 0; i < n; i++) {
		iw_entry(&file, &msg, &e[i], style);
		if ((e[i].flags & 4) || (style == IW_OLD && !(e[i].flags & 1)))
			*npages += e[i].npages;
	}
	iw_free(&msg);
	return file;
}

/* Pagemap and pages file of one task in one directory. */
TAP_FN void iw_task_pages(int dir_fd, uint32_t vpid, uint32_t pages_id, const struct iw_entry *e,
			  size_t n, enum iw_style style)
{
	uint64_t npages;
	struct iw_buf file = iw_pagemap(pages_id, e, n, style, &npages);
	char name[32];

	snprintf(name, sizeof(name), "pagemap-%u.img", vpid);
	iw_finish(&file, dir_fd, name);
	iw_pages(dir_fd, pages_id, npages * sysconf(_SC_PAGESIZE));
}

TAP_FN void iw_task_mm(int dir_fd, uint32_t vpid, const struct iw_vma *vmas, size_t n)
{
	struct iw_buf file = iw_mm(vmas, n);
	char name[32];

	snprintf(name, sizeof(name), "mm-%u.img", vpid);
	iw_finish(&file, dir_fd, name);
}

/* inventory.img and pstree.img. */
TAP_FN void iw_set(int dir_fd, const uint32_t *pids, size_t n)
{
	struct iw_buf file = iw_inventory(2);

	iw_finish(&file, dir_fd, "inventory.img");
	file = iw_pstree(pids, n);
	iw_finish(&file, dir_fd, "pstree.img");
}

/* A directory of its own; iw_rmdir() takes it away again. */
struct iw_dir {
	char path[64];
	int fd;
};

TAP_FN struct iw_dir iw_mkdir(void)
{
	struct iw_dir d = { .path = "/dev/shm/uffd-relocate-image.XXXXXX" };

	/* Thousands of small files: best in memory. */
	if (access("/dev/shm", W_OK))
		strcpy(d.path, "/tmp/uffd-relocate-image.XXXXXX");
	if (!mkdtemp(d.path))
		bail("no temporary directory");
	d.fd = open(d.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d.fd < 0)
		bail("cannot open %s", d.path);
	return d;
}

/* A directory inside; the caller closes. */
TAP_FN int iw_subdir(int dir_fd, const char *name)
{
	int fd;

	if (mkdirat(dir_fd, name, 0700))
		bail("cannot make %s", name);
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		bail("cannot open %s", name);
	return fd;
}

/* Remove what is in @fd, which is closed. */
TAP_FN void iw_empty(int fd)
{
	DIR *dir = fdopendir(fd);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		int sub;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (!unlinkat(dirfd(dir), e->d_name, 0))
			continue;
		sub = openat(dirfd(dir), e->d_name,
			     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			iw_empty(sub);
		unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR);
	}
	if (dir)
		closedir(dir);
}

TAP_FN void iw_rmdir(struct iw_dir *d)
{
	iw_empty(d->fd);
	rmdir(d->path);
	d->fd = -1;
}

#endif
