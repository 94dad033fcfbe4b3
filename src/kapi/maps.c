// SPDX-License-Identifier: GPL-2.0-only
/* maps: the memory areas of a process, as /proc/PID/smaps tells them. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kapi/maps.h"
#include "util/fd.h"

/* Words of the line VmFlags:, two letters each. */
static const struct {
	char word[3];
	uint32_t flag;
} words[] = {
	{ "rd", MAPS_READ },
	{ "wr", MAPS_WRITE },
	{ "ex", MAPS_EXEC },
	{ "sh", MAPS_SHARED },
	{ "io", MAPS_SPECIAL },
	{ "pf", MAPS_SPECIAL },
	{ "mm", MAPS_SPECIAL },
	{ "ht", MAPS_HUGETLB },
	{ "lo", MAPS_LOCKED },
	{ "ss", MAPS_SHADOW_STACK },
	{ "um", MAPS_UFFD },
	{ "uw", MAPS_UFFD },
	{ "ui", MAPS_UFFD },
	{ "hg", MAPS_HUGE_WANTED },
	{ "nh", MAPS_NO_HUGE },
};

static void read_words(struct maps_vma *vma, const char *text)
{
	unsigned int i;

	for (; isspace((unsigned char)*text); text++)
		;
	for (; text[0] && text[1] && !isspace((unsigned char)text[0]); text += 3) {
		for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (!strncmp(text, words[i].word, 2))
				vma->flags |= words[i].flag;
		if (!text[2])
			break;
	}
}

/* "[vdso]" and its like; the names that people give, "[anon:...]", stand for plain memory. */
static bool is_special_name(const char *name)
{
	static const char *const plain[] = { "[heap]", "[stack]", "[anon:", "[stack:" };
	unsigned int i;

	if (name[0] != '[')
		return false;
	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (!strncmp(name, plain[i], strlen(plain[i])))
			return false;
	return true;
}

/* The first line of an area. Return: false for a line of another kind. */
static bool read_head(struct maps_vma *vma, const char *line)
{
	uint64_t inode;
	char perms[5];
	int at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*x:%*x %" SCNu64 " %n", &vma->start,
		   &vma->end, perms, &inode, &at) != 4 || !at)
		return false;
	vma->name = strdup(line + at);
	if (!vma->name)
		return true;
	vma->name[strcspn(vma->name, "\n")] = '\0';
	if (perms[3] == 's')
		vma->flags |= MAPS_SHARED;
	if (inode && ((vma->flags & MAPS_SHARED) || strcmp(vma->name, "/dev/zero") != 0))
		vma->flags |= MAPS_FILE;
	else if (!inode && is_special_name(vma->name))
		vma->flags |= MAPS_SPECIAL;
	return true;
}

static void read_detail(struct maps_vma *vma, const char *line)
{
	static const struct {
		const char *key;
		size_t field;
	} sizes[] = {
		{ "Rss:", offsetof(struct maps_vma, resident_bytes) },
		{ "AnonHugePages:", offsetof(struct maps_vma, huge_bytes) },
		{ "Swap:", offsetof(struct maps_vma, swapped_bytes) },
	};
	unsigned int i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t len = strlen(sizes[i].key);

		if (!strncmp(line, sizes[i].key, len))
			*(uint64_t *)((char *)vma + sizes[i].field) =
				strtoull(line + len, NULL, 10) << 10;
	}
	if (!strncmp(line, "ProtectionKey:", 14))
		vma->pkey = atoi(line + 14);
	if (!strncmp(line, "VmFlags:", 8))
		read_words(vma, line + 8);
}

static int add(struct maps *maps, const struct maps_vma *vma)
{
	struct maps_vma *grown;

	if (!vma->name)
		return -ENOMEM;
	/* Doubled at each power of two. */
	if (!(maps->n & (maps->n - 1))) {
		grown = realloc(maps->vma, (maps->n ? 2 * maps->n : 1) * sizeof(*grown));
		if (!grown) {
			free(vma->name);
			return -ENOMEM;
		}
		maps->vma = grown;
	}
	maps->vma[maps->n++] = *vma;
	return 0;
}

int maps_read(pid_t pid, struct maps *out)
{
	cleanup_free char *line = NULL;
	size_t size = 0;
	char path[32];
	int ret = 0;
	FILE *f;

	*out = (struct maps){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	if (!f)
		return errno == ENOENT ? -ESRCH : -errno;
	errno = 0;
	while (!ret && getline(&line, &size, f) > 0) {
		struct maps_vma vma = { 0 };

		if (read_head(&vma, line))
			ret = add(out, &vma);
		else if (out->n)
			read_detail(&out->vma[out->n - 1], line);
	}
	if (!ret && ferror(f))
		ret = errno ? -errno : -EIO;
	fclose(f);
	/* A process that has ended, or is a kernel thread, shows an empty file. */
	if (!ret && !out->n)
		ret = -ESRCH;
	if (ret)
		maps_free(out);
	return ret;
}

void maps_free(struct maps *maps)
{
	unsigned int i;

	for (i = 0; i < maps->n; i++)
		free(maps->vma[i].name);
	free(maps->vma);
	*maps = (struct maps){ 0 };
}

const struct maps_vma *maps_next(const struct maps *maps, uint64_t addr)
{
	unsigned int low = 0, high = maps->n;

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;

		if (maps->vma[mid].end > addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low < maps->n ? &maps->vma[low] : NULL;
}

const struct maps_vma *maps_find(const struct maps *maps, uint64_t addr)
{
	const struct maps_vma *vma = maps_next(maps, addr);

	return vma && vma->start <= addr ? vma : NULL;
}
