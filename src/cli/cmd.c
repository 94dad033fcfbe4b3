// SPDX-License-Identifier: GPL-2.0-only
#include "cli/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/fd.h"
#include "util/log.h"

#ifndef UFFD_RELOCATE_VERSION
#define UFFD_RELOCATE_VERSION "unknown"
#endif

/* Values that getopt_long() hands back for row n of a table. */
#define VAL_LONG 0x1000
#define VAL_NEGATED 0x2000
#define VAL_ROW 0x0fff

static unsigned int count_rows(const struct cmd_option *options)
{
	unsigned int n = 0;

	while (options[n].name)
		n++;
	return n;
}

/* The tables that getopt_long() wants: two long names a row at most, three letters a row. */
static void fill_getopt(const struct cmd_option *options, struct option *longs, char (*no)[48],
			char *shorts)
{
	unsigned int row;

	*shorts++ = ':';
	for (row = 0; options[row].name; row++) {
		const struct cmd_option *o = &options[row];

		*longs++ = (struct option){ o->name, (int)o->has_arg, NULL, (int)(VAL_LONG | row) };
		if (o->negatable) {
			snprintf(no[row], sizeof(no[row]), "no-%s", o->name);
			*longs++ = (struct option){ no[row], no_argument, NULL,
						    (int)(VAL_NEGATED | row) };
		}
		if (o->letter) {
			*shorts++ = o->letter;
			if (o->has_arg != CMD_ARG_NONE)
				*shorts++ = ':';
			if (o->has_arg == CMD_ARG_OPTIONAL)
				*shorts++ = ':';
		}
	}
	*shorts = '\0';
	*longs = (struct option){ 0 };
}

static const struct cmd_option *by_letter(const struct cmd_option *options, int letter)
{
	for (; options->name; options++)
		if (options->letter == letter)
			return options;
	return NULL;
}

/* getopt refused argv[optind - 1], or a letter inside it. */
static void complain(const struct cmd_option *options, int opt, char **argv, const char *where)
{
	const char *word = argv[optind - 1];
	bool letter = optopt > 0 && optopt < VAL_LONG && word && strncmp(word, "--", 2) != 0;

	if (opt == ':' && letter)
		log_err("%soption '-%c' needs an argument", where, optopt);
	else if (opt == ':')
		log_err("%soption '--%s' needs an argument", where, options[optopt & VAL_ROW].name);
	else if (letter)
		log_err("%sunknown option '-%c'", where, optopt);
	else if (optopt >= VAL_LONG)
		log_err("%soption '--%s%s' takes no argument", where,
			optopt & VAL_NEGATED ? "no-" : "", options[optopt & VAL_ROW].name);
	else
		log_err("%sunknown or ambiguous option '%s'", where, word);
}

int cmd_parse(const struct cmd_option *options, int argc, char **argv, const char *where,
	      int (*set)(void *ctx, const struct cmd_option *option, bool neg, const char *arg),
	      void *ctx)
{
	unsigned int n = count_rows(options);
	cleanup_free struct option *longs = calloc(2 * n + 1, sizeof(*longs));
	cleanup_free char(*no)[48] = calloc(n + 1, sizeof(*no));
	cleanup_free char *shorts = calloc(n + 1, 3);
	int opt, ret;

	if (!longs || !no || !shorts) {
		log_err("out of memory");
		return -ENOMEM;
	}
	fill_getopt(options, longs, no, shorts);

	optind = 0;
	opterr = 0;
	while ((opt = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct cmd_option *option;

		if (opt == '?' || opt == ':') {
			complain(options, opt, argv, where);
			return -EINVAL;
		}
		option = opt >= VAL_LONG ? &options[opt & VAL_ROW] : by_letter(options, opt);
		ret = set(ctx, option, opt >= VAL_NEGATED, optarg);
		if (ret)
			return ret;
	}
	return optind;
}

static void help_option(const struct cmd_option *o)
{
	char left[64];
	int n = 0;

	if (o->letter)
		n += snprintf(left + n, sizeof(left) - n, "-%c, ", o->letter);
	n += snprintf(left + n, sizeof(left) - n, "--%s%s", o->negatable ? "[no-]" : "", o->name);
	if (o->has_arg == CMD_ARG_REQUIRED)
		snprintf(left + n, sizeof(left) - n, " %s", o->arg);
	else if (o->has_arg == CMD_ARG_OPTIONAL)
		snprintf(left + n, sizeof(left) - n, "[=%s]", o->arg);
	printf("  %-28s %s\n", left, o->help);
}

/* The names that are accepted and ignored, as one paragraph. */
static void help_ignored(const struct cmd_option *o)
{
	unsigned int column = 0;

	for (; o->name; o++) {
		char word[64];
		int n = 0;

		if (o->help)
			continue;
		if (o->letter)
			n = snprintf(word, sizeof(word), "-%c, ", o->letter);
		n += snprintf(word + n, sizeof(word) - n, "--%s%s", o->negatable ? "[no-]" : "",
			      o->name);
		if (!column)
			printf("\nAccepted because criu's parser accepts them, without effect here:\n");
		if (!column || column + n + 2 > 78) {
			printf("%s ", column ? "\n" : "");
			column = 1;
		}
		printf(" %s", word);
		column += n + 1;
	}
	if (column)
		printf("\n");
}

void cmd_help(const struct cmd *cmd)
{
	const struct cmd_option *o;

	printf("Usage: uffd-relocate %s %s\n\n%s\n", cmd->name, cmd->usage, cmd->summary);
	if (cmd->text)
		printf("\n%s\n", cmd->text);
	printf("\nOptions:\n");
	for (o = cmd->options; o->name; o++)
		if (o->help)
			help_option(o);
	help_ignored(cmd->options);
	printf("\nSee uffd-relocate-%s(8).\n", cmd->name);
}

void cmd_version(void)
{
	printf("uffd-relocate %s\n", UFFD_RELOCATE_VERSION);
}

struct start {
	int (*set)(void *ctx, const struct cmd_option *option, bool neg, const char *arg);
	void *ctx;
	bool help;
	bool version;
};

static int start_set(void *ctx, const struct cmd_option *option, bool neg, const char *arg)
{
	struct start *s = ctx;

	switch (option->id) {
	case CMD_ID_HELP:
		s->help = true;
		return 0;
	case CMD_ID_VERSION:
		s->version = true;
		return 0;
	default:
		return s->set(s->ctx, option, neg, arg);
	}
}

bool cmd_start_operands(const struct cmd *cmd, int argc, char **argv,
			int (*set)(void *ctx, const struct cmd_option *option, bool neg,
				   const char *arg),
			void *ctx, int *status, int *first)
{
	struct start s = { .set = set, .ctx = ctx };

	*first = cmd_parse(cmd->options, argc, argv, "", start_set, &s);
	*status = CMD_USAGE;
	if (*first < 0)
		return false;
	if (s.help || s.version) {
		s.help ? cmd_help(cmd) : cmd_version();
		*status = CMD_DONE;
		return false;
	}
	return true;
}

bool cmd_start(const struct cmd *cmd, int argc, char **argv,
	       int (*set)(void *ctx, const struct cmd_option *option, bool neg, const char *arg),
	       void *ctx, int *status)
{
	int first;

	if (!cmd_start_operands(cmd, argc, argv, set, ctx, status, &first))
		return false;
	if (first < argc) {
		log_err("'%s' is one argument too many", argv[first]);
		return false;
	}
	return true;
}

/* Digits and nothing else up to *@end. */
static int parse_digits(const char *text, char **end, uint64_t *out)
{
	unsigned long long v;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	v = strtoull(text, end, 10);
	if (errno)
		return -ERANGE;
	*out = v;
	return 0;
}

int cmd_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	char *end;
	int ret = parse_digits(text, &end, &v);

	if (ret == -EINVAL || (!ret && *end)) {
		log_err("--%s: '%s' is not a number", what, text);
		return -EINVAL;
	}
	if (ret || v < min || v > max) {
		log_err("--%s: %s is not between %llu and %llu", what, text, (unsigned long long)min,
			(unsigned long long)max);
		return -ERANGE;
	}
	*out = v;
	return 0;
}

int cmd_bytes(const char *what, const char *text, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	uint64_t v = 0;
	unsigned int shift = 0;
	char *end;
	int ret = parse_digits(text, &end, &v);

	if (!ret && *end) {
		const char *at = strchr(suffixes, *end);

		if (at && !end[1])
			shift = 10 * (unsigned int)(at - suffixes + 1);
		else
			ret = -EINVAL;
	}
	if (!ret && shift && v > UINT64_MAX >> shift)
		ret = -ERANGE;
	if (ret) {
		log_err("--%s: '%s' is not a number of bytes (digits, then K, M, G or T)", what, text);
		return ret;
	}
	*out = v << shift;
	return 0;
}

void cmd_print_json(struct json_object *o)
{
	const int flags = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;

	puts(json_object_to_json_string_ext(o, flags));
	json_object_put(o);
}

const char *cmd_human(uint64_t bytes, char (*buf)[16])
{
	static const char unit[] = "BKMGTPE";
	unsigned int u = 0;
	double v = (double)bytes;

	while (v >= 1000 && u + 2 < sizeof(unit)) {
		v /= 1024;
		u++;
	}
	snprintf(*buf, sizeof(*buf), u && v < 10 ? "%.1f%c" : "%.0f%c", v, unit[u]);
	return *buf;
}
