/* SPDX-License-Identifier: GPL-2.0-only */
/* settings: "key = value" lines of a file, then the environment. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

#define SETTINGS_FILE "/etc/uffd-relocate/plugin.conf"
#define SETTINGS_FILE_ENV "UFFD_RELOCATE_CONFIG"
#define SETTINGS_ENV "UFFD_RELOCATE_"
#define SETTINGS_LOG "uffd-relocate.log"
#define SETTINGS_VERBOSITY 2
#define SETTINGS_VERBOSITY_MAX 5

/* Keeps the first error only: later ones tend to follow from it. */
static void __attribute__((format(printf, 2, 3)))
settings_fail(struct settings *set, const char *fmt, ...)
{
	va_list ap;

	if (*set->error)
		return;
	va_start(ap, fmt);
	vsnprintf(set->error, sizeof(set->error), fmt, ap);
	va_end(ap);
}

/* Each setter returns NULL, or what a good value looks like. */

static const char *settings_set_path(char *to, const char *value)
{
	if (strlen(value) >= PATH_MAX)
		return "a shorter path";
	strcpy(to, value);
	return NULL;
}

static const char *settings_set_pager(struct settings *set, const char *value)
{
	if (*value != '/')
		return "an absolute path";
	return settings_set_path(set->pager, value);
}

static const char *settings_set_log(struct settings *set, const char *value)
{
	return settings_set_path(set->log, strcmp(value, "none") ? value : "");
}

static const char *settings_set_lazy(struct settings *set, const char *value)
{
	if (!strcmp(value, "auto"))
		set->lazy = SETTINGS_LAZY_AUTO;
	else if (!strcmp(value, "yes"))
		set->lazy = SETTINGS_LAZY_YES;
	else if (!strcmp(value, "no"))
		set->lazy = SETTINGS_LAZY_NO;
	else {
		set->lazy_bad |= !*set->error;
		return "auto, yes or no";
	}
	return NULL;
}

static const char *settings_set_drain(struct settings *set, const char *value)
{
	if (strcmp(value, "yes") && strcmp(value, "no"))
		return "yes or no";
	set->drain = *value == 'y';
	return NULL;
}

static const char *settings_set_agent(struct settings *set, const char *value)
{
	if (strcmp(value, "yes") && strcmp(value, "no"))
		return "yes or no";
	set->agent = *value == 'y';
	return NULL;
}

static const char *settings_set_thp(struct settings *set, const char *value)
{
	if (strcmp(value, "auto") && strcmp(value, "always") && strcmp(value, "never"))
		return "auto, always or never";
	strcpy(set->thp, value);
	return NULL;
}

static const char *settings_set_verbosity(struct settings *set, const char *value)
{
	if (*value < '0' || *value > '0' + SETTINGS_VERBOSITY_MAX || value[1])
		return "a number from 0 to 5";
	set->verbosity = *value - '0';
	return NULL;
}

static const char *settings_set_rate(struct settings *set, const char *value)
{
	size_t digits = strspn(value, "0123456789");

	if (!digits || digits > 15 || (value[digits] && !strchr("KMGT", value[digits])) ||
	    (value[digits] && value[digits + 1]))
		return "bytes per second, perhaps with K, M, G or T";
	strcpy(set->rate, value);
	return NULL;
}

static const char *settings_set_drain_cpu(struct settings *set, const char *value)
{
	size_t digits = strspn(value, "0123456789");
	int percent = digits && digits <= 3 && !value[digits] ? atoi(value) : 0;

	if (percent < 1 || percent > 100)
		return "a number from 1 to 100";
	strcpy(set->drain_cpu, value);
	return NULL;
}

static const char *settings_set_lost_after(struct settings *set, const char *value)
{
	size_t digits = strspn(value, "0123456789");

	if (!digits || digits > 7 || value[digits])
		return "a number of seconds";
	strcpy(set->lost_after, value);
	return NULL;
}

static const char *settings_set_trace(struct settings *set, const char *value)
{
	if (strcmp(value, "yes") && strcmp(value, "no"))
		return "yes or no";
	set->trace = *value == 'y';
	return NULL;
}

static const char *settings_set_record(struct settings *set, const char *value)
{
	if (!strcmp(value, "yes"))
		set->record = "--record";
	else if (!strcmp(value, "once"))
		set->record = "--record=once";
	else if (!strcmp(value, "no"))
		set->record = NULL;
	else
		return "yes, no or once";
	return NULL;
}

static const char *settings_set_hot_budget(struct settings *set, const char *value)
{
	size_t digits = strspn(value, "0123456789");
	const char *unit = value + digits;

	if (!digits || digits > 15 || strlen(unit) > 2 ||
	    (*unit && strcmp(unit, "ms") && strcmp(unit, "s") && (!strchr("KMGT", *unit) || unit[1])))
		return "bytes, perhaps with K, M, G or T, or a time with ms or s";
	strcpy(set->hot_budget, value);
	return NULL;
}

static const struct {
	const char *key;
	const char *(*set)(struct settings *set, const char *value);
} settings_keys[] = {
	{ "pager", settings_set_pager },
	{ "lazy", settings_set_lazy },
	{ "verbosity", settings_set_verbosity },
	{ "log", settings_set_log },
	{ "drain", settings_set_drain },
	{ "agent", settings_set_agent },
	{ "thp", settings_set_thp },
	{ "rate", settings_set_rate },
	{ "drain-cpu", settings_set_drain_cpu },
	{ "lost-after", settings_set_lost_after },
	{ "trace", settings_set_trace },
	{ "record", settings_set_record },
	{ "hot-budget", settings_set_hot_budget },
};
#define SETTINGS_NKEYS (sizeof(settings_keys) / sizeof(*settings_keys))

static char *settings_trim(char *text)
{
	size_t len;

	text += strspn(text, " \t\r\n");
	len = strlen(text);
	while (len && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return text;
}

static void settings_read_line(struct settings *set, const char *path, unsigned int nr, char *line)
{
	char *key = settings_trim(line), *eq = strchr(key, '='), *value;
	const char *good;

	if (!*key || *key == '#')
		return;
	if (!eq) {
		settings_fail(set, "%s:%u: not a \"key = value\" line: %.80s", path, nr, key);
		return;
	}
	*eq = '\0';
	value = settings_trim(eq + 1);
	key = settings_trim(key);
	for (size_t i = 0; i < SETTINGS_NKEYS; i++) {
		if (strcmp(key, settings_keys[i].key))
			continue;
		good = settings_keys[i].set(set, value);
		if (good)
			settings_fail(set, "%s:%u: %s: \"%.80s\" is not %s", path, nr, key, value,
				      good);
		return;
	}
	settings_fail(set, "%s:%u: unknown setting \"%.80s\"", path, nr, key);
}

static void settings_read_file(struct settings *set, const char *path, bool must_exist)
{
	unsigned int nr = 0;
	char *line = NULL;
	size_t room = 0;
	FILE *file = fopen(path, "re");

	if (!file) {
		if (errno != ENOENT || must_exist)
			settings_fail(set, "%s: %m", path);
		return;
	}
	while (getline(&line, &room, file) >= 0)
		settings_read_line(set, path, ++nr, line);
	if (ferror(file))
		settings_fail(set, "%s: cannot be read: %m", path);
	free(line);
	fclose(file);
}

static void settings_read_env(struct settings *set)
{
	for (size_t i = 0; i < SETTINGS_NKEYS; i++) {
		char name[64] = SETTINGS_ENV, *to = name + strlen(SETTINGS_ENV);
		const char *value, *good;

		for (const char *from = settings_keys[i].key; *from; from++)
			*to++ = *from == '-' ? '_' : toupper((unsigned char)*from);
		value = getenv(name);
		if (!value)
			continue;
		good = settings_keys[i].set(set, value);
		if (good)
			settings_fail(set, "environment: %s: \"%.80s\" is not %s", name, value,
				      good);
	}
}

void settings_load(struct settings *set)
{
	const char *path = getenv(SETTINGS_FILE_ENV);

	*set = (struct settings){ .drain = true, .agent = true, .trace = true,
				  .verbosity = SETTINGS_VERBOSITY, .log = SETTINGS_LOG };
	settings_read_file(set, path ? path : SETTINGS_FILE, path != NULL);
	settings_read_env(set);
}
