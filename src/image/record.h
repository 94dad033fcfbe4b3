/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * record: an image file as a stream of records.
 *
 * A file starts with one magic word (inventory.img) or two (all others); then follow records, each
 * a 32-bit size and that many bytes, until the end of the file.  Nothing is read ahead of need but
 * one buffer, and no size in the file is believed before the file is known to be that long.
 */
#ifndef IMAGE_RECORD_H
#define IMAGE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image_error.h"

#define RECORD_NAME_MAX 256

struct record_file {
	int fd;
	char name[RECORD_NAME_MAX]; /* for messages */
	uint64_t size;		    /* of the file, bytes */
	uint64_t at;		    /* where the record last returned starts (its size word) */
	uint64_t next;		    /* where the next one starts */
	uint8_t *buf;
	size_t room;  /* of buf */
	size_t first; /* the unread bytes of buf are [first, end) */
	size_t end;
};

#define RECORD_FILE_INIT \
	{                \
		.fd = -1 \
	}

/*
 * record_open_file - open a regular file, never waiting for a writer of a FIFO.
 * @name: how messages call it.
 * Return: descriptor, or -errno with *@err filled.
 */
int record_open_file(int dir_fd, const char *file, const char *name, int flags, uint64_t *size,
		     struct image_error *err);

/*
 * record_open - open @dir_fd/@file and check its magic.
 * @prefix: stands before @file in messages ("" or "parent/").
 * @common: the file has the common magic word before its own.
 * Return: 0 or -errno with *@err filled; call record_close() in both cases.
 */
int record_open(struct record_file *f, int dir_fd, const char *prefix, const char *file,
		uint32_t magic, bool common, struct image_error *err);
void record_close(struct record_file *f);

/*
 * record_next - the next record.
 * @max: a longer one is refused.
 * Return: 1 with *@data (valid until the next call) and *@len; 0 at the end; -errno with *@err.
 */
int record_next(struct record_file *f, uint32_t max, const uint8_t **data, uint32_t *len,
		struct image_error *err);

/* record_expect_end - Return: 0 when no bytes are left, -EBADMSG with *@err when some are. */
int record_expect_end(struct record_file *f, struct image_error *err);

#endif
