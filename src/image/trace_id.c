// SPDX-License-Identifier: GPL-2.0-only
/* trace_id: which images a trace is of. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/pagemap.h"
#include "image/trace_int.h"
#include "util/fd.h"

uint64_t trace_digest(uint64_t digest, const void *data, size_t len)
{
	const uint8_t *byte = data;

	for (size_t i = 0; i < len; i++)
		digest = (digest ^ byte[i]) * 0x100000001b3ull;
	return digest;
}

/* A file's name, length and bytes.  One that is not there (a zombie has none) counts as empty. */
static int id_file(struct image_set *set, const char *file, uint64_t *digest,
		   struct image_error *err)
{
	cleanup_free char *buf = malloc(1 << 16);
	uint64_t size = 0;
	ssize_t n = 1;

	if (!buf)
		return image_error_set(err, ENOMEM, "%s: no memory to read it", file);
	cleanup_fd int fd = record_open_file(set->levels[0].dir_fd, file, file, O_RDONLY, &size,
					     err);

	if (fd < 0 && fd != -ENOENT)
		return fd;
	*digest = trace_digest(*digest, file, strlen(file) + 1);
	*digest = trace_digest(*digest, &size, sizeof(size));
	while (fd >= 0 && n > 0) {
		n = fd_read_full(fd, buf, 1 << 16);
		if (n < 0)
			return image_error_set(err, -n, "%s: cannot read: %s", file, strerror(-n));
		*digest = trace_digest(*digest, buf, n);
	}
	return 0;
}

static int id_add_pages(struct image_set *set, struct trace_id *id, uint32_t pages_id,
			struct image_error *err)
{
	struct trace_pages *p = &id->pages[id->npages];
	char name[RECORD_NAME_MAX];
	int ret = set_pages_size(set, 0, pages_id, &p->size_bytes, name, err);

	if (ret)
		return ret;
	snprintf(p->name, sizeof(p->name), "pages-%" PRIu32 ".img", pages_id);
	id->npages++;
	return 0;
}

static int id_task(struct image_set *set, struct trace_id *id, uint32_t vpid,
		   struct image_error *err)
{
	char file[32];
	int ret;

	snprintf(file, sizeof(file), "mm-%" PRIu32 ".img", vpid);
	ret = id_file(set, file, &id->digest, err);
	snprintf(file, sizeof(file), "pagemap-%" PRIu32 ".img", vpid);
	if (!ret)
		ret = id_file(set, file, &id->digest, err);
	if (ret || id->npages == TRACE_PAGES_MAX)
		return ret;
	struct pagemap pm;

	ret = pagemap_open(&pm, set->levels[0].dir_fd, "", vpid, set->page_size, err);
	if (!ret)
		ret = id_add_pages(set, id, pm.pages_id, err);
	pagemap_close(&pm);
	return ret == -ENOENT ? 0 : ret;
}

int trace_id_read(struct image_set *set, struct trace_id *out, struct image_error *err)
{
	int ret;

	*out = (struct trace_id){ .stamped = true, .digest = TRACE_DIGEST_INIT };
	out->pages = calloc(set->nvpids + 1, sizeof(*out->pages));
	if (!out->pages)
		return image_error_set(err, ENOMEM, "trace: no memory");
	ret = id_file(set, "inventory.img", &out->digest, err);
	if (!ret)
		ret = id_file(set, "pstree.img", &out->digest, err);
	for (uint32_t i = 0; !ret && i < set->nvpids; i++)
		ret = id_task(set, out, set->vpids[i], err);
	if (ret)
		trace_id_free(out);
	return ret;
}

void trace_id_free(struct trace_id *id)
{
	free(id->pages);
	*id = (struct trace_id){ 0 };
}

static const struct trace_pages *id_pages(const struct trace_id *id, const char *name)
{
	for (uint32_t i = 0; i < id->npages; i++)
		if (!strcmp(id->pages[i].name, name))
			return &id->pages[i];
	return NULL;
}

int trace_id_check(const struct trace_id *is, const struct trace_id *want, const char *name,
		   struct image_error *err)
{
	if (!is->stamped || !want->stamped)
		return 0;
	for (uint32_t i = 0; i < want->npages; i++) {
		const struct trace_pages *w = &want->pages[i], *p = id_pages(is, w->name);

		if (!p)
			return image_error_set(err, ESTALE,
					       "%s: is of other images: it knows no %s", name,
					       w->name);
		if (p->size_bytes != w->size_bytes)
			return image_error_set(err, ESTALE,
					       "%s: is of other images: %s had %" PRIu64
					       " bytes there and has %" PRIu64 " here",
					       name, w->name, p->size_bytes, w->size_bytes);
	}
	if (is->npages != want->npages)
		return image_error_set(err, ESTALE,
				       "%s: is of other images: they had %" PRIu32
				       " pages files, there are %" PRIu32 " here",
				       name, is->npages, want->npages);
	if (is->digest != want->digest)
		return image_error_set(err, ESTALE,
				       "%s: is of other images: their inventory, pstree, mm or "
				       "pagemap files differ",
				       name);
	return 0;
}
