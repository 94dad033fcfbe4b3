/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * set: the directories of an image set and the pages files found in them so far.
 *
 * Level 0 is the directory that was given, level n + 1 what the `parent` link of level n leads to.
 * Levels are opened when something asks for them and stay open.
 */
#ifndef IMAGE_SET_H
#define IMAGE_SET_H

#include "image/image_error.h"
#include "image/record.h"

/* Chains are as long as a user made pre-dumps; past this it is a mistake. */
#define SET_LEVEL_MAX 1024u

struct set_level {
	int dir_fd;
	dev_t dev; /* identity of the directory */
	ino_t ino;
	char prefix[128]; /* stands before file names in messages */
};

struct set_source {
	struct image_source pub;
	dev_t dev; /* identity of the file */
	ino_t ino;
};

struct image_set {
	bool rdwr;
	uint64_t page_size;
	uint32_t *vpids; /* ascending */
	uint32_t nvpids;
	struct set_level *levels;
	uint32_t nlevels;
	struct set_source **sources; /* each of its own, so that addresses stay */
	uint32_t nsources;
};

/*
 * set_level_open - make level @index (0, or one whose predecessor is open) usable.
 * @dir_fd: for level 0 the directory, else unused.
 * @why:    names what asks for it, for the message when there is none.
 * Return: 0 or -errno with *@err filled.
 */
int set_level_open(struct image_set *set, uint32_t index, int dir_fd, const char *why,
		   struct image_error *err);

/*
 * set_source_open - the number of pages-<pages_id>.img of a level.
 * Return: 0 and *@index, or -errno with *@err filled.
 */
int set_source_open(struct image_set *set, uint32_t level, uint32_t pages_id, const char *why,
		    uint32_t *index, struct image_error *err);

/*
 * set_pages_size - how long pages-<pages_id>.img of a level is, 0 when there is none; it does not
 * become a source.
 * Return: 0 and *@size, and its name for messages in @name; or -errno with *@err filled.
 */
int set_pages_size(struct image_set *set, uint32_t level, uint32_t pages_id, uint64_t *size,
		   char name[RECORD_NAME_MAX], struct image_error *err);

/* set_close - close all that was opened and free the lists. */
void set_close(struct image_set *set);

#endif
