// SPDX-License-Identifier: GPL-2.0-only
#include "cli/criu_conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/fd.h"
#include "util/log.h"

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t\r\n\v\f");
}

static size_t word_len(const char *p)
{
	return strcspn(p, " \t\r\n\v\f");
}

/* Return: the text between the quotes, unescaped (caller frees), or NULL with errno. */
static char *quoted(const char *p)
{
	char *out = malloc(strlen(p) + 1);
	size_t n = 0;

	if (!out)
		return NULL;
	for (p++; *p && *p != '"'; p++) {
		if (p[0] == '\\' && p[1] == '"')
			p++;
		out[n++] = *p;
	}
	if (!*p) {
		free(out);
		errno = EINVAL;
		return NULL;
	}
	out[n] = '\0';
	return out;
}

/*
 * Take one line apart.
 * Return: 1 (*@line filled), 0 (nothing on it), -EINVAL (a quote is not closed) or -ENOMEM.
 */
static int parse_line(const char *p, struct criu_conf_line *line)
{
	size_t len;

	p = skip_blanks(p);
	if (!*p || *p == '#')
		return 0;
	len = word_len(p);
	if (asprintf(&line->option, "--%.*s", (int)len, p) < 0)
		return -ENOMEM;

	p = skip_blanks(p + len);
	line->arg = NULL;
	if (!*p || *p == '#')
		return 1;
	line->arg = *p == '"' ? quoted(p) : strndup(p, word_len(p));
	if (!line->arg) {
		free(line->option);
		return -errno;
	}
	return 1;
}

static int append(struct criu_conf *conf, struct criu_conf_line line)
{
	struct criu_conf_line *lines;

	lines = reallocarray(conf->lines, conf->nlines + 1, sizeof(*lines));
	if (!lines)
		return -ENOMEM;
	lines[conf->nlines++] = line;
	conf->lines = lines;
	return 0;
}

int criu_conf_read(const char *path, struct criu_conf *conf)
{
	cleanup_free char *text = NULL;
	unsigned int number = 0;
	size_t size = 0;
	int err, ret = 0;
	FILE *file = fopen(path, "re");

	if (!file && (errno == ENOENT || errno == ENOTDIR || errno == EACCES))
		return 0;
	if (!file) {
		ret = -errno;
		log_err("%s: %s", path, strerror(-ret));
		return ret;
	}
	while (errno = 0, getline(&text, &size, file) >= 0) {
		struct criu_conf_line line = { .path = path, .number = ++number };

		ret = parse_line(text, &line);
		if (ret > 0)
			ret = append(conf, line);
		if (ret < 0) {
			log_err("%s:%u: %s", path, number,
				ret == -EINVAL ? "a quote is not closed" : strerror(-ret));
			break;
		}
	}
	err = errno;
	if (!ret && ferror(file)) {
		ret = err ? -err : -EIO;
		log_err("%s: %s", path, strerror(-ret));
	}
	fclose(file);
	return ret;
}

void criu_conf_free(struct criu_conf *conf)
{
	unsigned int i;

	for (i = 0; i < conf->nlines; i++) {
		free(conf->lines[i].option);
		free(conf->lines[i].arg);
	}
	free(conf->lines);
	*conf = (struct criu_conf){ 0 };
}
