// SPDX-License-Identifier: GPL-2.0-only
/* survey: what there is in a process, area by area, and how much of it could be moved. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kapi/maps.h"
#include "kapi/pageinfo.h"
#include "move/judge.h"
#include "move/move.h"

struct tally {
	uint64_t bytes[PAGE_KINDS];
};

static int count_run(void *ctx, enum page_kind kind, uint64_t addr, uint64_t len)
{
	struct tally *t = ctx;

	(void)addr;
	t->bytes[kind] += len;
	return 0;
}

static const char *human(uint64_t bytes, char (*buf)[16])
{
	if (bytes < 10 << 20)
		snprintf(*buf, sizeof(*buf), "%" PRIu64 "K", bytes >> 10);
	else
		snprintf(*buf, sizeof(*buf), "%" PRIu64 "M", bytes >> 20);
	return *buf;
}

/* Sums up the pages of an area that is of the right kind. */
static int judge_pages(const struct pageinfo *pi, const struct maps_vma *vma, struct move_area *area)
{
	struct tally t = { { 0 } };
	unsigned int kind;
	size_t n = 0;
	int ret = pageinfo_walk(pi, vma->start, vma->end - vma->start, count_run, &t);

	if (ret)
		return ret;
	area->movable_bytes = t.bytes[PAGE_OWN] + t.bytes[PAGE_SWAPPED];
	for (kind = PAGE_SHARED; kind < PAGE_KINDS; kind++) {
		char size[16];

		if (t.bytes[kind] && n < sizeof(area->why_not))
			n += (size_t)snprintf(area->why_not + n, sizeof(area->why_not) - n, "%s%s %s",
					      n ? ", " : "", human(t.bytes[kind], &size),
					      judge_page((enum page_kind)kind));
	}
	return 0;
}

static void perms_of(const struct maps_vma *vma, char *perms)
{
	perms[0] = vma->flags & MAPS_READ ? 'r' : '-';
	perms[1] = vma->flags & MAPS_WRITE ? 'w' : '-';
	perms[2] = vma->flags & MAPS_EXEC ? 'x' : '-';
	perms[3] = vma->flags & MAPS_SHARED ? 's' : 'p';
	perms[4] = '\0';
}

static int survey_area(const struct pageinfo *pi, struct maps_vma *vma, struct move_area *area)
{
	const char *why = judge_area(vma);

	*area = (struct move_area){
		.start = vma->start,
		.end = vma->end,
		.resident_bytes = vma->resident_bytes,
		.huge_bytes = vma->huge_bytes,
		.swapped_bytes = vma->swapped_bytes,
		.name = vma->name,
	};
	vma->name = NULL;	/* handed over */
	perms_of(vma, area->perms);
	if (why)
		snprintf(area->why_not, sizeof(area->why_not), "%s", why);
	else if (vma->resident_bytes || vma->swapped_bytes)
		return judge_pages(pi, vma, area);
	return 0;
}

int move_survey(pid_t pid, struct move_survey *out)
{
	struct pageinfo pi = { .pagemap_fd = -1, .flags_fd = -1 };
	struct maps maps;
	unsigned int i;
	int ret = maps_read(pid, &maps);

	*out = (struct move_survey){ 0 };
	if (ret)
		return ret;
	ret = pageinfo_open(pid, &pi);
	out->area = calloc(maps.n, sizeof(*out->area));
	if (!ret && !out->area)
		ret = -ENOMEM;
	for (i = 0; !ret && i < maps.n; i++) {
		ret = survey_area(&pi, &maps.vma[i], &out->area[i]);
		out->n = i + 1;
	}
	if (ret)
		move_survey_free(out);
	pageinfo_close(&pi);
	maps_free(&maps);
	return ret;
}

void move_survey_free(struct move_survey *survey)
{
	unsigned int i;

	for (i = 0; i < survey->n; i++)
		free(survey->area[i].name);
	free(survey->area);
	*survey = (struct move_survey){ 0 };
}
