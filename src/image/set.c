// SPDX-License-Identifier: GPL-2.0-only
/* set: the directories of an image set and the pages files found in them so far. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image/set.h"
#include "util/fd.h"

static void set_prefix(struct set_level *level, uint32_t index)
{
	char *at = level->prefix;

	if (index > 8) {
		snprintf(at, sizeof(level->prefix), "(parent %" PRIu32 " levels up)/", index);
		return;
	}
	*at = '\0';
	while (index--)
		at += sprintf(at, "parent/");
}

/* Fill *@err for a parent that cannot be opened: what the link says is what has to be put back. */
static int set_no_parent(const struct set_level *below, const char *why, int code,
			 struct image_error *err)
{
	char target[256];
	ssize_t n = readlinkat(below->dir_fd, "parent", target, sizeof(target) - 1);

	if (n < 0 && code == ENOENT)
		return image_error_set(
			err, ENOENT,
			"%sparent: missing, but %s says that bytes are in the parent "
			"images: put the link to the directory of the earlier dump back",
			below->prefix, why);
	if (n < 0)
		return image_error_set(err, code, "%sparent: cannot open: %s", below->prefix,
				       strerror(code));
	target[n] = '\0';
	return image_error_set(
		err, code,
		"%sparent: leads to %s, which cannot be opened (%s), but %s says that bytes "
		"are there: bring that directory back",
		below->prefix, target, strerror(code), why);
}

int set_level_open(struct image_set *set, uint32_t index, int dir_fd, const char *why,
		   struct image_error *err)
{
	const struct set_level *below = index ? &set->levels[index - 1] : NULL;
	struct set_level level = { 0 }, *more;
	struct stat st;
	cleanup_fd int fd = -1;

	if (index < set->nlevels)
		return 0;
	if (index >= SET_LEVEL_MAX)
		return image_error_set(err, ELOOP, "%sparent: more than %u levels of parents",
				       below->prefix, SET_LEVEL_MAX);
	fd = openat(below ? below->dir_fd : dir_fd, below ? "parent" : ".",
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && below)
		return set_no_parent(below, why, errno, err);
	if (fd < 0 || fstat(fd, &st))
		return image_error_set(err, errno, "image directory: cannot open: %s",
				       strerror(errno));
	for (uint32_t i = 0; i < set->nlevels; i++)
		if (set->levels[i].dev == st.st_dev && set->levels[i].ino == st.st_ino)
			return image_error_set(err, ELOOP,
					       "%sparent: leads back into the same image set",
					       below->prefix);
	more = realloc(set->levels, (index + 1) * sizeof(*more));
	if (!more)
		return image_error_set(err, ENOMEM, "image directory: no memory for level %" PRIu32,
				       index);
	set->levels = more;
	set_prefix(&level, index);
	level.dev = st.st_dev;
	level.ino = st.st_ino;
	level.dir_fd = fd_take(&fd);
	set->levels[set->nlevels++] = level;
	return 0;
}

/* Add a file that is open already; takes the descriptor over when it succeeds. */
static int set_source_add(struct image_set *set, int fd, uint64_t size, const char *name,
			  uint32_t *index, struct image_error *err)
{
	struct set_source **more, *src;
	struct stat st;

	if (fstat(fd, &st))
		return image_error_set(err, errno, "%s: cannot stat: %s", name, strerror(errno));
	for (uint32_t i = 0; i < set->nsources; i++) {
		if (set->sources[i]->dev == st.st_dev && set->sources[i]->ino == st.st_ino) {
			close(fd);
			*index = i;
			return 0;
		}
	}
	src = calloc(1, sizeof(*src));
	more = realloc(set->sources, (set->nsources + 1) * sizeof(*more));
	if (more)
		set->sources = more;
	if (!src || !more) {
		free(src);
		return image_error_set(err, ENOMEM, "%s: no memory to open it", name);
	}
	src->pub.fd = fd;
	src->pub.size_bytes = size;
	snprintf(src->pub.name, sizeof(src->pub.name), "%s", name);
	src->dev = st.st_dev;
	src->ino = st.st_ino;
	*index = set->nsources;
	set->sources[set->nsources++] = src;
	return 0;
}

static void set_pages_name(const struct set_level *level, uint32_t pages_id, char file[32],
			   char name[RECORD_NAME_MAX])
{
	snprintf(file, 32, "pages-%" PRIu32 ".img", pages_id);
	snprintf(name, RECORD_NAME_MAX, "%s%s", level->prefix, file);
}

int set_pages_size(struct image_set *set, uint32_t level, uint32_t pages_id, uint64_t *size,
		   char name[RECORD_NAME_MAX], struct image_error *err)
{
	const struct set_level *at = &set->levels[level];
	char file[32];
	int fd;

	set_pages_name(at, pages_id, file, name);
	fd = record_open_file(at->dir_fd, file, name, O_RDONLY, size, err);
	if (fd == -ENOENT)
		*size = 0;
	else if (fd < 0)
		return fd;
	else
		close(fd);
	return 0;
}

int set_source_open(struct image_set *set, uint32_t level, uint32_t pages_id, const char *why,
		    uint32_t *index, struct image_error *err)
{
	const struct set_level *at = &set->levels[level];
	char file[32], name[RECORD_NAME_MAX];
	uint64_t size;
	int fd, ret;

	set_pages_name(at, pages_id, file, name);
	fd = record_open_file(at->dir_fd, file, name, set->rdwr ? O_RDWR : O_RDONLY, &size, err);
	if (fd == -ENOENT)
		return image_error_set(err, ENOENT,
				       "%s: missing, but %s names it: copy the whole image "
				       "directory",
				       name, why);
	if (set->rdwr && (fd == -EROFS || fd == -EACCES || fd == -EPERM))
		return image_error_set(err, -fd,
				       "%s: cannot open for writing (%s), as --auto-dedup "
				       "needs: make it writable or leave that option out",
				       name, strerror(-fd));
	if (fd < 0)
		return fd;
	ret = set_source_add(set, fd, size, name, index, err);
	if (ret)
		close(fd);
	return ret;
}

void set_close(struct image_set *set)
{
	for (uint32_t i = 0; i < set->nsources; i++) {
		close(set->sources[i]->pub.fd);
		free(set->sources[i]);
	}
	for (uint32_t i = 0; i < set->nlevels; i++)
		close(set->levels[i].dir_fd);
	free(set->sources);
	free(set->levels);
	free(set->vpids);
	*set = (struct image_set){ 0 };
}
