// SPDX-License-Identifier: GPL-2.0-only
/* record: an image file as a stream of records. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/record.h"
#include "util/fd.h"

#define RECORD_BUF_LEN (32u << 10)
#define RECORD_MAGIC_COMMON 0x54564319u

int record_open_file(int dir_fd, const char *file, const char *name, int flags, uint64_t *size,
		     struct image_error *err)
{
	cleanup_fd int fd = openat(dir_fd, file, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return image_error_set(err, ENOENT, "%s: missing: copy the whole image directory",
				       name);
	if (fd < 0)
		return image_error_set(err, errno, "%s: cannot open: %s", name, strerror(errno));
	if (fstat(fd, &st))
		return image_error_set(err, errno, "%s: cannot stat: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return image_error_set(err, EBADMSG, "%s: not a regular file", name);
	/* Non-blocking was for the open alone; some readers heed it on regular files too. */
	if (fcntl(fd, F_SETFL, 0) < 0)
		return image_error_set(err, errno, "%s: cannot set flags: %s", name,
				       strerror(errno));
	*size = st.st_size;
	return fd_take(&fd);
}

/* Make [first, first + want) available.  Return: 0, or -errno with the report. */
static int record_fill(struct record_file *f, size_t want, struct image_error *err)
{
	ssize_t n;

	if (f->end - f->first >= want)
		return 0;
	memmove(f->buf, f->buf + f->first, f->end - f->first);
	f->end -= f->first;
	f->first = 0;
	if (want > f->room) {
		uint8_t *more = realloc(f->buf, want);

		if (!more)
			return image_error_set(err, ENOMEM,
					       "%s: no memory for a record of %zu bytes", f->name,
					       want);
		f->buf = more;
		f->room = want;
	}
	n = fd_read_full(f->fd, f->buf + f->end, f->room - f->end);
	if (n < 0)
		return image_error_set(err, -n, "%s: cannot read near byte %" PRIu64 ": %s",
				       f->name, f->next, strerror(-n));
	f->end += n;
	if (f->end < want)
		return image_error_set(err, EBADMSG,
				       "%s: shrank while it was read, at byte %" PRIu64, f->name,
				       f->next);
	return 0;
}

static int record_word(struct record_file *f, uint32_t *word, struct image_error *err)
{
	uint32_t raw;
	int ret;

	if (f->size - f->next < sizeof(raw))
		return image_error_set(err, EBADMSG,
				       "%s: truncated at byte %" PRIu64
				       ", in the middle of a word: "
				       "copy the file again",
				       f->name, f->size);
	ret = record_fill(f, sizeof(raw), err);
	if (ret)
		return ret;
	memcpy(&raw, f->buf + f->first, sizeof(raw));
	f->first += sizeof(raw);
	f->next += sizeof(raw);
	*word = le32toh(raw);
	return 0;
}

static int record_magic(struct record_file *f, uint32_t magic, struct image_error *err)
{
	uint64_t at = f->next;
	uint32_t word = 0;
	int ret = record_word(f, &word, err);

	if (ret)
		return ret;
	if (word != magic)
		return image_error_set(err, EBADMSG,
				       "%s: magic 0x%08x at byte %" PRIu64
				       " where 0x%08x belongs: damaged, or "
				       "not a criu image of this name",
				       f->name, word, at, magic);
	return 0;
}

int record_open(struct record_file *f, int dir_fd, const char *prefix, const char *file,
		uint32_t magic, bool common, struct image_error *err)
{
	int ret;

	*f = (struct record_file)RECORD_FILE_INIT;
	snprintf(f->name, sizeof(f->name), "%s%s", prefix, file);
	f->fd = record_open_file(dir_fd, file, f->name, O_RDONLY, &f->size, err);
	if (f->fd < 0)
		return f->fd;
	f->buf = malloc(RECORD_BUF_LEN);
	if (!f->buf)
		return image_error_set(err, ENOMEM, "%s: no memory to read it", f->name);
	f->room = RECORD_BUF_LEN;
	ret = common ? record_magic(f, RECORD_MAGIC_COMMON, err) : 0;
	return ret ? ret : record_magic(f, magic, err);
}

void record_close(struct record_file *f)
{
	cleanup_fd_put(&f->fd);
	free(f->buf);
	*f = (struct record_file)RECORD_FILE_INIT;
}

int record_next(struct record_file *f, uint32_t max, const uint8_t **data, uint32_t *len,
		struct image_error *err)
{
	int ret;

	f->at = f->next;
	if (f->next == f->size)
		return 0;
	ret = record_word(f, len, err);
	if (ret)
		return ret;
	if (*len > f->size - f->next)
		return image_error_set(err, EBADMSG,
				       "%s: truncated: the record at byte %" PRIu64 " says %" PRIu32
				       " bytes, %" PRIu64 " are left",
				       f->name, f->at, *len, f->size - f->next);
	if (*len > max)
		return image_error_set(err, EBADMSG,
				       "%s: the record at byte %" PRIu64 " says %" PRIu32
				       " bytes, more than the %" PRIu32
				       " that such a record may have",
				       f->name, f->at, *len, max);
	ret = record_fill(f, *len, err);
	if (ret)
		return ret;
	*data = f->buf + f->first;
	f->first += *len;
	f->next += *len;
	return 1;
}

int record_expect_end(struct record_file *f, struct image_error *err)
{
	if (f->next == f->size)
		return 0;
	return image_error_set(err, EBADMSG,
			       "%s: %" PRIu64 " bytes too many after byte %" PRIu64
			       ", where the only record ends",
			       f->name, f->size - f->next, f->next);
}
