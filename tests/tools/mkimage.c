// SPDX-License-Identifier: GPL-2.0-only
/*
 * mkimage - write a criu image set from a few lines of text, see imgspec.h.
 *
 *	mkimage SPEC DIR	DIR is made; parents are DIR/parent, DIR/parent/parent, ...
 *	mkimage -b FILE...	print "FILE OFFSET" for the start of each record, and for the end
 */
#include "tests/tools/imgspec.h"

static struct spec spec;

static void write_pages(int dir, const struct spec_map *m, uint32_t id)
{
	uint64_t page[SPEC_PAGE / 8];
	char name[32];
	int fd;

	iw_pages(dir, id, m->stored * SPEC_PAGE);
	snprintf(name, sizeof(name), "pages-%u.img", id);
	fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		die("%s: %s", name, strerror(errno));
	for (uint64_t i = 0; i < m->stored; i += m->sparse) {
		for (int last = 0; last < 2; last++) {
			uint64_t p = last ? m->stored - 1 : i;

			if (last && i + m->sparse < m->stored)
				break;
			for (unsigned int w = 0; w < SPEC_PAGE / 8; w++)
				page[w] = spec_word(id, p * SPEC_PAGE + 8 * w);
			if (pwrite(fd, page, sizeof(page), p * SPEC_PAGE) != sizeof(page))
				die("%s: %s", name, strerror(errno));
		}
	}
	close(fd);
}

static void write_level(int dir, unsigned int level)
{
	uint32_t pids[SPEC_TASKS];

	for (unsigned int i = 0; i < spec.ntasks; i++)
		pids[i] = spec.task[i].vpid;
	iw_set(dir, pids, spec.ntasks);
	for (unsigned int i = 0; i < spec.ntasks; i++) {
		struct spec_task *t = &spec.task[i];
		struct spec_map *m = &t->level[level];
		uint32_t id = spec_pages_id(i, level);
		uint64_t stored;
		char name[32];

		if (t->zombie || (level && !m->n))
			continue;
		iw_task_mm(dir, t->vpid, t->vma, t->nvmas);
		struct iw_buf file = iw_pagemap(id, m->entry, m->n, m->style, &stored);

		snprintf(name, sizeof(name), "pagemap-%u.img", t->vpid);
		iw_finish(&file, dir, name);
		if (m->n)
			write_pages(dir, m, id);
		else
			iw_pages(dir, id, 0);
	}
}

/* Where records start: after one magic in inventory.img, after two in all others. */
static void borders(const char *path)
{
	FILE *f = fopen(path, "re");
	uint32_t word;
	long at = strstr(path, "inventory") ? 4 : 8;

	if (!f)
		die("%s: %s", path, strerror(errno));
	for (;;) {
		printf("%s %ld\n", path, at);
		if (fseek(f, at, SEEK_SET) || fread(&word, sizeof(word), 1, f) != 1)
			break;
		at += sizeof(word) + word;
	}
	fclose(f);
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "-b")) {
		for (int i = 2; i < argc; i++)
			borders(argv[i]);
		return 0;
	}
	if (argc != 3)
		die("usage: mkimage SPEC DIR | mkimage -b FILE...");
	spec_load(&spec, argv[1]);
	if (mkdir(argv[2], 0700))
		die("%s: %s", argv[2], strerror(errno));
	int dir = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (unsigned int level = 0; level < spec.nlevels; level++) {
		if (level) {
			int below = iw_subdir(dir, "parent");

			close(dir);
			dir = below;
		}
		write_level(dir, level);
	}
	return 0;
}
