// SPDX-License-Identifier: GPL-2.0-only
/*
 * plan: look what a move would find, and cut it into what the kernel takes.
 *
 * UFFDIO_MOVE wants all of its source in one area, and all of its destination.  So source and
 * destination of a range are walked along side by side, and a piece ends where an area ends on
 * either side.  What is wrong with an area is told once, what is wrong with pages is summed up by
 * range and reason.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kapi/maps.h"
#include "kapi/pageinfo.h"
#include "move/judge.h"
#include "move/move.h"

#define HUGE_BYTES (2ull << 20)

/* Makes room for one more element of an array that is doubled at each power of two. */
static int grow(void *array, unsigned int n, size_t size)
{
	void **p = array, *grown;

	if (n & (n - 1))
		return 0;
	grown = realloc(*p, (n ? 2 * (size_t)n : 1) * size);
	if (!grown)
		return -ENOMEM;
	*p = grown;
	return 0;
}

/* Issues of one reason in one range are one issue. */
static int add_issue(struct move_plan *p, const struct move_issue *issue)
{
	unsigned int i;
	int ret;

	for (i = p->nissues; i > 0 && p->issue[i - 1].range == issue->range; i--) {
		struct move_issue *old = &p->issue[i - 1];

		if (old->at_dst == issue->at_dst && !strcmp(old->why, issue->why)) {
			old->bytes += issue->bytes;
			return 0;
		}
	}
	ret = grow(&p->issue, p->nissues, sizeof(*p->issue));
	if (!ret)
		p->issue[p->nissues++] = *issue;
	return ret;
}

/* ---- areas ---- */

static int add_gap(struct move_plan *p, const struct maps_vma *src, uint64_t start, uint64_t len)
{
	struct move_gap gap = { .start = start, .len = len, .advice = -1 };
	int ret = grow(&p->gap, p->ngaps, sizeof(*p->gap));

	if (ret)
		return ret;
	if (src->flags & MAPS_READ)
		gap.prot |= PROT_READ;
	if (src->flags & MAPS_WRITE)
		gap.prot |= PROT_WRITE;
	if (src->flags & MAPS_EXEC)
		gap.prot |= PROT_EXEC;
	if (src->flags & MAPS_HUGE_WANTED)
		gap.advice = MADV_HUGEPAGE;
	if (src->flags & MAPS_NO_HUGE)
		gap.advice = MADV_NOHUGEPAGE;
	gap.locked = src->flags & MAPS_LOCKED;
	p->gap[p->ngaps++] = gap;
	return 0;
}

static int add_to_hull(struct move_plan *p, const struct maps_vma *dst, uint64_t start, uint64_t len)
{
	unsigned int i;
	int ret;

	for (i = p->nhulls; i > 0; i--) {
		struct move_hull *hull = &p->hull[i - 1];

		if (hull->area != dst->start)
			continue;
		if (start < hull->start)
			hull->start = start;
		if (start + len > hull->end)
			hull->end = start + len;
		return 0;
	}
	ret = grow(&p->hull, p->nhulls, sizeof(*p->hull));
	if (!ret)
		p->hull[p->nhulls++] = (struct move_hull){ dst->start, start, start + len };
	return ret;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Why can nothing be moved from @src to @dst (NULL: not mapped)? @at_dst: whose fault it is. */
static const char *judge_piece(const struct move_plan *p, const struct maps_vma *src,
			       const struct maps_vma *dst, bool *at_dst)
{
	const char *why = src ? judge_area(src) : "no memory is mapped there";

	*at_dst = !why;
	if (why)
		return why;
	if (!dst && !(p->flags & MOVE_MAP_DST))
		return "no memory is mapped there (--map-dst maps it)";
	if (!dst)
		return src->pkey ? "the source has a protection key, newly mapped memory has none" :
				   NULL;
	why = judge_area(dst);
	if (!why && (dst->flags & MAPS_UFFD))
		why = "registered with a userfaultfd of the process's own";
	return why ? why : judge_pair(src, dst);
}

/* The area at @addr, or NULL, and in *@len not more than what is left of it or of the gap. */
static const struct maps_vma *area_at(const struct maps *maps, uint64_t addr, uint64_t *len)
{
	const struct maps_vma *vma = maps_next(maps, addr);
	bool inside = vma && vma->start <= addr;

	if (vma)
		*len = min_u64(*len, (inside ? vma->end : vma->start) - addr);
	return inside ? vma : NULL;
}

/* The piece that begins at offset @at of a range. Return: 0 and its length, or -errno. */
static int plan_step(struct move_plan *p, const struct maps *maps, unsigned int range, uint64_t at,
		     uint64_t *step)
{
	const struct move_range *r = &p->range[range];
	struct move_piece piece = { r->src + at, r->dst + at, r->len - at, range, NULL };
	const struct maps_vma *src = area_at(maps, piece.src, &piece.len);
	const struct maps_vma *dst = area_at(maps, piece.dst, &piece.len);
	struct move_issue issue = { .range = range, .bytes = piece.len };
	int ret = 0;

	piece.why = issue.why = judge_piece(p, src, dst, &issue.at_dst);
	issue.addr = issue.at_dst ? piece.dst : piece.src;
	*step = piece.len;
	if (issue.why)
		ret = add_issue(p, &issue);
	else if (dst)
		ret = add_to_hull(p, dst, piece.dst, piece.len);
	else
		ret = add_gap(p, src, piece.dst, piece.len);
	if (!ret)
		ret = grow(&p->piece, p->npieces, sizeof(*p->piece));
	if (!ret)
		p->piece[p->npieces++] = piece;
	return ret;
}

/* ---- pages ---- */

struct look {
	struct move_plan *plan;
	struct move_issue issue;
};

static int look_src(void *ctx, enum page_kind kind, uint64_t addr, uint64_t len)
{
	struct look *l = ctx;

	if (kind == PAGE_HOLE)
		l->plan->hole_bytes += len;
	if (kind == PAGE_SWAPPED)
		l->plan->swapped_bytes += len;
	l->issue.why = judge_page(kind);
	if (!l->issue.why || (kind == PAGE_HOLE && (l->plan->flags & MOVE_HOLES)))
		return 0;
	if (kind == PAGE_HOLE)
		l->issue.why = "never touched (--holes leaves such pages out)";
	l->issue.addr = addr;
	l->issue.bytes = len;
	return add_issue(l->plan, &l->issue);
}

static int look_dst(void *ctx, enum page_kind kind, uint64_t addr, uint64_t len)
{
	struct look *l = ctx;

	if (kind == PAGE_HOLE)
		return 0;
	l->issue.why = "not empty";
	l->issue.addr = addr;
	l->issue.bytes = len;
	return add_issue(l->plan, &l->issue);
}

static int plan_pages(struct move_plan *p, const struct pageinfo *pi, const struct move_piece *piece)
{
	struct look src = { p, { .range = piece->range } };
	struct look dst = { p, { .range = piece->range, .at_dst = true } };
	uint64_t huge = 0;
	int ret = pageinfo_walk(pi, piece->src, piece->len, look_src, &src);

	if (!ret)
		ret = pageinfo_walk(pi, piece->dst, piece->len, look_dst, &dst);
	if (ret)
		return ret;
	if (pageinfo_huge(pi, piece->src, piece->len, &huge))
		huge = 0;	/* the kernel cannot tell */
	p->huge_bytes += huge;
	if ((piece->src ^ piece->dst) % HUGE_BYTES)
		p->split_bytes += huge;
	return 0;
}

int move_plan_make(pid_t pid, const struct move_range *range, unsigned int n, unsigned int flags,
		   struct move_plan *out)
{
	struct pageinfo pi = { .pagemap_fd = -1, .flags_fd = -1 };
	struct maps maps;
	unsigned int i;
	int ret = maps_read(pid, &maps);

	*out = (struct move_plan){
		.pid = pid, .flags = flags, .page_size = (uint64_t)sysconf(_SC_PAGESIZE),
		.range = range, .nranges = n,
	};
	if (ret)
		return ret;
	for (i = 0; !ret && i < n; i++) {
		uint64_t at, step = 0;

		for (at = 0; !ret && at < range[i].len; at += step)
			ret = plan_step(out, &maps, i, at, &step);
		out->total_bytes += range[i].len;
	}
	if (!ret)
		ret = pageinfo_open(pid, &pi);
	for (i = 0; !ret && i < out->npieces; i++)
		if (!out->piece[i].why)
			ret = plan_pages(out, &pi, &out->piece[i]);
	pageinfo_close(&pi);
	maps_free(&maps);
	if (ret)
		move_plan_free(out);
	return ret;
}

void move_plan_free(struct move_plan *plan)
{
	free(plan->piece);
	free(plan->hull);
	free(plan->gap);
	free(plan->issue);
	*plan = (struct move_plan){ 0 };
}

/* ---- ranges for themselves ---- */

struct span {
	uint64_t start, end;
	unsigned int range;
	bool dst;
};

static int by_start(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static const char *check_one(const struct move_range *r)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	if (!r->len)
		return "the length is 0";
	if (r->len % page)
		return "the length is not a multiple of the page size";
	if (r->src % page)
		return "the source does not begin at a page";
	if (r->dst % page)
		return "the destination does not begin at a page";
	if (r->src + r->len < r->src)
		return "the source goes beyond the end of the address space";
	if (r->dst + r->len < r->dst)
		return "the destination goes beyond the end of the address space";
	return NULL;
}

const char *move_check(const struct move_range *range, unsigned int n, unsigned int *at)
{
	struct span *span;
	const char *why = NULL;
	unsigned int i;

	for (*at = 0; *at < n; (*at)++) {
		why = check_one(&range[*at]);
		if (why)
			return why;
	}
	span = calloc(n, 2 * sizeof(*span));
	*at = 0;
	if (!span)
		return "out of memory";
	for (i = 0; i < n; i++) {
		span[2 * i] = (struct span){ range[i].src, range[i].src + range[i].len, i, false };
		span[2 * i + 1] = (struct span){ range[i].dst, range[i].dst + range[i].len, i, true };
	}
	qsort(span, 2 * (size_t)n, sizeof(*span), by_start);
	for (i = 1; !why && i < 2 * n; i++) {
		const struct span *a = &span[i - 1], *b = &span[i];

		if (b->start >= a->end)
			continue;
		why = a->dst != b->dst ? "a source and a destination overlap" :
		      a->dst ? "two destinations overlap" : "two sources overlap";
		*at = a->range > b->range ? a->range : b->range;
	}
	free(span);
	return why;
}
