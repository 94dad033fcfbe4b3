// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random image sets against a model that knows one page at a time.
 *
 * The set is made page by page: which VMA a page is in, which level holds its bytes, where in that
 * level's pages file.  Entries are then drawn over those pages with random cuts, which must not
 * show in what comes out: the pieces, laid page by page, are the model, and no two neighbours
 * could have been one.
 */
#include <errno.h>

#include "image/image.h"
#include "tests/unit/image_writer.h"

#define NPAGES 600u
#define LEVELS_MAX 5u
#define ROUNDS 400u

static uint64_t page, base, rng_state;

static uint32_t rnd(uint32_t n)
{
	rng_state = rng_state * 6364136223846793005ull + 1442695040888963407ull;
	return (rng_state >> 33) % n;
}

struct model {
	uint32_t nlevels;
	int vma[NPAGES]; /* lazy VMA number, or -1 */
	bool guard[NPAGES];
	uint32_t flags[LEVELS_MAX][NPAGES]; /* of the level's pagemap; 0: no entry */
	/* The answer. */
	bool owed[NPAGES];
	uint32_t level[NPAGES];
	uint64_t file_page[NPAGES];
	/* What came. */
	uint32_t source_level[LEVELS_MAX];
	struct extent_view last;
	uint32_t next; /* no piece may start before this page */
	uint32_t wrong;
	struct image_set *set;
};

static void model_vmas(struct model *m, struct iw_vma *vmas, uint32_t *nvmas, uint32_t *nlazy)
{
	uint32_t at = 0, n = 0, lazy = 0;

	for (uint32_t i = 0; i < NPAGES; i++)
		m->vma[i] = -1;
	while (at < NPAGES) {
		uint32_t len = 1 + rnd(rnd(4) ? 20 : 150), kind = rnd(8);

		if (len > NPAGES - at)
			len = NPAGES - at;
		if (kind) {
			vmas[n++] = (struct iw_vma){ base + at * page, base + (at + len) * page,
						     kind == 1 ? 0x2022 : 0x22, 1 << 9 | 1, lazy };
			for (uint32_t i = 0; kind > 1 && i < len; i++)
				m->vma[at + i] = lazy;
			lazy += kind > 1;
		}
		at += len;
	}
	/* Guards, in any order and perhaps one over the other, at the end of the list. */
	for (uint32_t g = rnd(6); g; g--) {
		uint32_t from = rnd(NPAGES), len = 1 + rnd(15);

		if (from + len > NPAGES)
			continue;
		vmas[n++] = (struct iw_vma){ base + from * page, base + (from + len) * page, 0x22,
					     1 << 16 | 1, 0 };
		for (uint32_t i = 0; i < len; i++)
			m->guard[from + i] = true;
	}
	*nvmas = n;
	*nlazy = lazy;
}

/* Every page gets a kind, in runs, so that entries have something to be drawn over. */
static void model_levels(struct model *m)
{
	static const uint32_t top[] = { 0, 6, 6, 6, 4, 3, 3, 1 };

	for (uint32_t at = 0; at < NPAGES;) {
		uint32_t len = 1 + rnd(rnd(3) ? 4 : 40), flags = top[rnd(8)];

		for (; len && at < NPAGES; len--, at++) {
			uint32_t f = m->nlevels > 1 ? flags : flags & ~1u;

			if (f == 2)
				f = 6;
			/* What is not lazy-able is never marked lazy, unless a guard is over it. */
			if (m->vma[at] < 0 && !(m->guard[at] && rnd(2)))
				f &= ~2u;
			m->flags[0][at] = f;
		}
	}
	for (uint32_t l = 1; l < m->nlevels; l++) {
		uint32_t flags = 4;

		for (uint32_t at = 0; at < NPAGES; at++) {
			bool must = m->flags[l - 1][at] & 1;

			if (!rnd(5))
				flags = rnd(2) ? 4 : 1;
			if (l + 1 == m->nlevels)
				flags = 4;
			m->flags[l][at] = must || rnd(3) ? flags | (rnd(4) ? 0 : 2) : 0;
		}
	}
}

/* Entries over runs of equal flags, cut at random. */
static uint32_t model_entries(const struct model *m, uint32_t level, struct iw_entry *e)
{
	uint32_t n = 0;

	for (uint32_t at = 0; at < NPAGES; at++) {
		uint32_t f = m->flags[level][at];

		if (!f)
			continue;
		if (n && e[n - 1].flags == f && at && m->flags[level][at - 1] == f && rnd(10))
			e[n - 1].npages++;
		else
			e[n++] = (struct iw_entry){ base + at * page, 1, f };
	}
	return n;
}

static void model_answer(struct model *m)
{
	uint64_t file_page[LEVELS_MAX][NPAGES];

	for (uint32_t l = 0; l < m->nlevels; l++) {
		uint64_t sum = 0;

		for (uint32_t at = 0; at < NPAGES; at++) {
			file_page[l][at] = sum;
			sum += !!(m->flags[l][at] & 4);
		}
	}
	for (uint32_t at = 0; at < NPAGES; at++) {
		uint32_t l = 0;

		m->owed[at] = (m->flags[0][at] & 2) && !m->guard[at];
		if (!m->owed[at])
			continue;
		while (m->flags[l][at] & 1)
			l++;
		m->level[at] = l;
		m->file_page[at] = file_page[l][at];
	}
}

static void wrong(struct model *m, const char *what, uint32_t at)
{
	if (!m->wrong++)
		note("page %u: %s", at, what);
}

static int on_vma(struct range at, uint64_t madv, void *arg)
{
	struct model *m = arg;
	uint32_t first = (at.start.v - base) / page;

	if (m->vma[first] != (int)madv || (first && m->vma[first - 1] == (int)madv) ||
	    m->vma[(at.end.v - base) / page - 1] != (int)madv)
		wrong(m, "not the VMA that was made", first);
	return 0;
}

static int on_piece(const struct extent_view *p, void *arg)
{
	struct model *m = arg;
	uint32_t from = (p->at.start.v - base) / page, to = (p->at.end.v - base) / page;
	const struct image_source *src = image_source_get(m->set, p->source);

	if (p->at.start.v < base || p->at.end.v <= p->at.start.v || to > NPAGES || from < m->next) {
		wrong(m, "a piece that is out of order or out of bounds", from);
		return 0;
	}
	for (uint32_t at = m->next; at < from; at++)
		if (m->owed[at])
			wrong(m, "owed, but left out", at);
	if (m->last.at.end.v == p->at.start.v && m->last.source == p->source && from &&
	    m->last.offset + range_len(m->last.at) == p->offset && m->vma[from - 1] == m->vma[from])
		wrong(m, "a piece that continues the one before", from);
	if (!src || p->offset + range_len(p->at) > src->size_bytes)
		wrong(m, "beyond the end of its file", from);
	for (uint32_t at = from; at < to; at++) {
		if (!m->owed[at])
			wrong(m, "not owed", at);
		else if (m->vma[at] != m->vma[from])
			wrong(m, "in another VMA than the rest of its piece", at);
		else if (m->file_page[at] * page != p->offset + (at - from) * page)
			wrong(m, "at another offset", at);
		else if (p->source >= LEVELS_MAX)
			wrong(m, "a source too many", at);
		else if (m->source_level[p->source] == UINT32_MAX)
			m->source_level[p->source] = m->level[at];
		else if (m->source_level[p->source] != m->level[at])
			wrong(m, "in another file", at);
	}
	m->last = *p;
	m->next = to;
	return 0;
}

static uint32_t round_run(uint64_t seed)
{
	static struct iw_vma vmas[NPAGES + 8];
	static struct iw_entry entries[NPAGES];
	static struct model m;
	const uint32_t pids[] = { 7 };
	struct iw_dir d = iw_mkdir();
	struct image_error err = { "" };
	uint32_t nvmas, nlazy, owed = 0;
	int fd[LEVELS_MAX];

	memset(&m, 0, sizeof(m));
	memset(m.source_level, 0xff, sizeof(m.source_level));
	rng_state = seed;
	base = (uint64_t)rnd(1u << 30) << (12 + rnd(13));
	base = (base & ~(page - 1)) + page;
	m.nlevels = 1 + rnd(LEVELS_MAX);
	model_vmas(&m, vmas, &nvmas, &nlazy);
	model_levels(&m);
	model_answer(&m);
	for (uint32_t l = 0; l < m.nlevels; l++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", l);
		fd[l] = iw_subdir(d.fd, name);
		snprintf(name, sizeof(name), "../%u", l);
		if (l && symlinkat(name, fd[l - 1], "parent"))
			bail("no symlinks");
		iw_task_pages(fd[l], 7, 1 + rnd(3), entries, model_entries(&m, l, entries),
			      rnd(2) ? IW_317 : IW_42);
	}
	iw_set(fd[0], pids, 1);
	iw_task_mm(fd[0], 7, vmas, nvmas);
	if (image_open(fd[0], false, &m.set, &err) ||
	    image_load_task(m.set, 7, on_vma, on_piece, &m, &err))
		wrong(&m, err.text, 0);
	for (uint32_t at = m.next; at < NPAGES; at++)
		if (m.owed[at])
			wrong(&m, "owed, but left out at the end", at);
	for (uint32_t at = 0; at < NPAGES; at++)
		owed += m.owed[at];
	image_close(m.set);
	for (uint32_t l = 0; l < m.nlevels; l++)
		close(fd[l]);
	iw_rmdir(&d);
	ok(!m.wrong, "seed %" PRIu64 ": %u levels, %u lazy VMAs, %u pages owed", seed, m.nlevels,
	   nlazy, owed);
	return owed;
}

int main(void)
{
	uint64_t owed = 0;

	tap_timeout(120);
	page = sysconf(_SC_PAGESIZE);
	for (uint32_t i = 0; i < ROUNDS; i++)
		owed += round_run(i + 1);
	ok(owed > 100 * ROUNDS, "the sets owed %" PRIu64 " pages", owed);
	return tap_done();
}
