/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * imgspec: what an image set made up for a test contains, in a few lines of text.
 *
 *	style old|317|42	how the counts of the following pagemaps are put down (default 42)
 *	sparse N		of the following pages files only each Nth page holds bytes, and
 *				the last one; the rest is a hole (default 1: all of them)
 *	task VPID		a task; what follows is its
 *	zombie VPID		a task without memory
 *	vma ADDR PAGES [FLAGS]	mapping flags, default private and anonymous
 *	level N			of the following entries: 0 the image, N its Nth parent
 *	entry ADDR PAGES WHAT	WHAT of the letters p(arent) l(azy) s(tored here)
 *	every STEP COUNT ADDR PAGES WHAT
 *				COUNT entries, STEP pages from start to start
 *
 * mkimage writes the set, restorer knows from the same text what every page has to be.  The bytes
 * of a pages file follow from its number and the offset, so none is like another.
 */
#ifndef TESTS_TOOLS_IMGSPEC_H
#define TESTS_TOOLS_IMGSPEC_H

#include <errno.h>
#include <stdarg.h>

#include "tests/unit/image_writer.h"

#define SPEC_LEVELS 8
#define SPEC_TASKS 16
#define SPEC_VMAS 64
#define SPEC_PAGE 4096ull

#define SPEC_PARENT 1u
#define SPEC_LAZY 2u
#define SPEC_STORED 4u

struct spec_map {
	struct iw_entry *entry;
	uint64_t *first;	/* page of the pages file at which each entry starts */
	size_t n;
	uint64_t stored;	/* pages of the pages file */
	enum iw_style style;
	uint64_t sparse;
};

struct spec_task {
	uint32_t vpid;
	bool zombie;
	struct iw_vma vma[SPEC_VMAS];
	unsigned int nvmas;
	struct spec_map level[SPEC_LEVELS];
};

struct spec {
	struct spec_task task[SPEC_TASKS];
	unsigned int ntasks;
	unsigned int nlevels;
};

TAP_FN TAP_PRINTF(1) __attribute__((noreturn)) void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

TAP_FN uint32_t spec_pages_id(unsigned int task, unsigned int level)
{
	return level * 1000 + task + 1;
}

TAP_FN uint64_t spec_word(uint32_t pages_id, uint64_t offset)
{
	uint64_t x = ((uint64_t)pages_id << 48 ^ offset) + 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (x ^ x >> 31) | 1;
}

/* Has this page of the pages file bytes, or is it a hole? */
TAP_FN bool spec_filled(const struct spec_map *m, uint64_t page)
{
	return page % m->sparse == 0 || page + 1 == m->stored;
}

TAP_FN void spec_add(struct spec_map *m, uint64_t vaddr, uint64_t npages, const char *what)
{
	uint32_t flags = 0;

	if (!(m->n & (m->n - 1))) {
		size_t room = m->n ? 2 * m->n : 1;

		m->entry = realloc(m->entry, room * sizeof(*m->entry));
		m->first = realloc(m->first, room * sizeof(*m->first));
		if (!m->entry || !m->first)
			die("no memory");
	}
	for (; *what && *what != '\n'; what++)
		flags |= *what == 'p' ? SPEC_PARENT : *what == 'l' ? SPEC_LAZY : SPEC_STORED;
	m->entry[m->n] = (struct iw_entry){ vaddr, npages, flags };
	m->first[m->n++] = m->stored;
	if (flags & SPEC_STORED)
		m->stored += npages;
}

TAP_FN void spec_load(struct spec *sp, const char *path)
{
	FILE *f = fopen(path, "re");
	struct spec_task *t = NULL;
	enum iw_style style = IW_42;
	unsigned long long a, b, c, d, sparse = 1;
	unsigned int level = 0;
	char line[256], what[16];

	memset(sp, 0, sizeof(*sp));
	if (!f)
		die("%s: %s", path, strerror(errno));
	sp->nlevels = 1;
	while (fgets(line, sizeof(line), f)) {
		struct spec_map *m = t ? &t->level[level] : NULL;

		if (line[0] == '\n' || line[0] == '#')
			continue;
		if (sscanf(line, "style %15s", what) == 1) {
			style = !strcmp(what, "old") ? IW_OLD : !strcmp(what, "317") ? IW_317 : IW_42;
		} else if (sscanf(line, "sparse %llu", &a) == 1) {
			sparse = a;
		} else if (sscanf(line, "task %llu", &a) == 1 ||
			   sscanf(line, "zombie %llu", &a) == 1) {
			if (sp->ntasks == SPEC_TASKS)
				die("too many tasks");
			t = &sp->task[sp->ntasks++];
			t->vpid = a;
			t->zombie = line[0] == 'z';
			level = 0;
		} else if (t && (b = IW_FLAGS_PRIVATE_ANON,
				 sscanf(line, "vma %lli %llu %lli", (long long *)&a, &c,
					(long long *)&b) >= 2)) {
			if (t->nvmas == SPEC_VMAS)
				die("too many VMAs");
			t->vma[t->nvmas++] = (struct iw_vma){ a, a + c * SPEC_PAGE, b,
							      IW_STATUS_PRIVATE_ANON, 0 };
		} else if (t && sscanf(line, "level %llu", &a) == 1 && a < SPEC_LEVELS) {
			level = a;
			if (a >= sp->nlevels)
				sp->nlevels = a + 1;
		} else if (t && sscanf(line, "entry %lli %llu %15s", (long long *)&a, &b,
				       what) == 3) {
			m->style = style;
			m->sparse = sparse;
			spec_add(m, a, b, what);
		} else if (t && sscanf(line, "every %llu %llu %lli %llu %15s", &c, &d,
				       (long long *)&a, &b, what) == 5) {
			m->style = style;
			m->sparse = sparse;
			for (; d; d--, a += c * SPEC_PAGE)
				spec_add(m, a, b, what);
		} else {
			die("%s: what is this: %s", path, line);
		}
	}
	fclose(f);
}

/* The entry of a level that has @addr, or NULL. */
TAP_FN const struct iw_entry *spec_find(const struct spec_map *m, uint64_t addr)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct iw_entry *e = &m->entry[mid];

		if (addr < e->vaddr)
			hi = mid;
		else if (addr >= e->vaddr + e->npages * SPEC_PAGE)
			lo = mid + 1;
		else
			return e;
	}
	return NULL;
}

/*
 * spec_page - what the lazy server owes at @addr: the number and offset of the pages file.
 * Return: false when it owes nothing there, so that the page reads as zeros.
 */
TAP_FN bool spec_page(const struct spec *sp, unsigned int task, uint64_t addr, uint32_t *pages_id,
		      uint64_t *offset)
{
	const struct spec_task *t = &sp->task[task];

	for (unsigned int level = 0; level < sp->nlevels; level++) {
		const struct spec_map *m = &t->level[level];
		const struct iw_entry *e = spec_find(m, addr);

		if (!e || (!level && !(e->flags & SPEC_LAZY)))
			return false;
		if (!(e->flags & SPEC_STORED))
			continue;
		uint64_t page = m->first[e - m->entry] + (addr - e->vaddr) / SPEC_PAGE;

		*pages_id = spec_pages_id(task, level);
		*offset = page * SPEC_PAGE;
		return spec_filled(m, page);
	}
	return false;
}

#endif
