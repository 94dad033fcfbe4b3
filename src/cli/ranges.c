// SPDX-License-Identifier: GPL-2.0-only
/* ranges: what `move` is to move, from the command line and from files. */
#include "cli/ranges.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"
#include "util/fd.h"
#include "util/log.h"

/* "FILE:LINE: " of a range, or "". */
static const char *place(const struct ranges_origin *o, char (*buf)[320])
{
	**buf = '\0';
	if (o->file)
		snprintf(*buf, sizeof(*buf), "%.280s:%u: ", o->file, o->line);
	return *buf;
}

/* A number in decimal or, with 0x, hexadecimal, and a suffix if @suffixes. */
static int parse(const char *text, bool suffixes, uint64_t *out)
{
	static const char known[] = "KMGT";
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	unsigned int shift = 0;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	*out = strtoull(text, &end, hex ? 16 : 10);
	if (errno)
		return -ERANGE;
	if (*end && suffixes && strchr(known, *end)) {
		shift = 10 * (unsigned int)(strchr(known, *end) - known + 1);
		end++;
	}
	if (*end || (hex && end == text + 2))
		return -EINVAL;
	if (shift && *out > UINT64_MAX >> shift)
		return -ERANGE;
	*out <<= shift;
	return 0;
}

static int parse_word(const struct ranges_origin *origin, const char *what, const char *text,
		      bool suffixes, uint64_t *out)
{
	char at[320];
	int ret = parse(text, suffixes, out);

	if (ret)
		log_err("%s%s: '%s' is not %s", place(origin, &at), what, text,
			suffixes ? "a number of bytes (digits, then K, M, G or T; or 0x and digits)" :
				   "an address (0x and hexadecimal digits, or decimal ones)");
	return ret;
}

static int grow(struct ranges *r)
{
	size_t n = r->n ? 2 * (size_t)r->n : 1;
	void *range, *origin;

	if (r->n & (r->n - 1))
		return 0;
	range = realloc(r->range, n * sizeof(*r->range));
	if (range)
		r->range = range;
	origin = realloc(r->origin, n * sizeof(*r->origin));
	if (origin)
		r->origin = origin;
	if (range && origin)
		return 0;
	log_err("out of memory");
	return -ENOMEM;
}

int ranges_add(struct ranges *r, const char *src, const char *dst, const char *len,
	       struct ranges_origin origin)
{
	struct move_range one = { 0 };
	int ret = parse_word(&origin, "SRC", src, false, &one.src);

	if (!ret)
		ret = parse_word(&origin, "DST", dst, false, &one.dst);
	if (!ret)
		ret = parse_word(&origin, "LEN", len, true, &one.len);
	if (!ret)
		ret = grow(r);
	if (ret)
		return ret;
	r->range[r->n] = one;
	r->origin[r->n++] = origin;
	return 0;
}

static int add_line(struct ranges *r, char *line, struct ranges_origin origin)
{
	static const char blanks[] = " \t\r\n";
	char *save = NULL, *word[3], at[320];

	line[strcspn(line, "#")] = '\0';
	word[0] = strtok_r(line, blanks, &save);
	word[1] = strtok_r(NULL, blanks, &save);
	word[2] = strtok_r(NULL, blanks, &save);
	if (!word[0])
		return 0;
	if (!word[2] || strtok_r(NULL, blanks, &save)) {
		log_err("%sa line has three words: SRC DST LEN", place(&origin, &at));
		return -EINVAL;
	}
	return ranges_add(r, word[0], word[1], word[2], origin);
}

int ranges_read(struct ranges *r, const char *path)
{
	struct ranges_origin origin = { .file = path };
	cleanup_free char *line = NULL;
	size_t size = 0;
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	int ret = 0;

	if (!f) {
		ret = -errno;
		log_err("%s: %s", path, strerror(-ret));
		return ret;
	}
	while (!ret && getline(&line, &size, f) >= 0) {
		origin.line++;
		ret = add_line(r, line, origin);
	}
	if (!ret && ferror(f)) {
		ret = -EIO;
		log_err("%s: cannot be read", path);
	}
	if (f != stdin)
		fclose(f);
	return ret;
}

int ranges_check(const struct ranges *r)
{
	unsigned int at = 0;
	const char *why;
	char buf[320];

	if (!r->n) {
		log_err("nothing to move: SRC DST LEN, or --from-file");
		return -EINVAL;
	}
	why = move_check(r->range, r->n, &at);
	if (!why)
		return 0;
	log_err("%s%#llx %#llx %#llx: %s", place(&r->origin[at], &buf),
		(unsigned long long)r->range[at].src, (unsigned long long)r->range[at].dst,
		(unsigned long long)r->range[at].len, why);
	return -EINVAL;
}

void ranges_free(struct ranges *r)
{
	free(r->range);
	free(r->origin);
	*r = (struct ranges){ 0 };
}
