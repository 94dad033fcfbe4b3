/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cmd: a verb of the command line, and the one parser and help writer that all verbs share.
 *
 * A verb is a file cmd_<verb>.c that exports one struct cmd; main.c lists them.  The table of
 * options drives getopt_long(3) and --help, and tests compare it with the man page, so an option
 * cannot exist in one place only.
 */
#ifndef CLI_CMD_H
#define CLI_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses, the same for every verb. */
enum cmd_exit {
	CMD_DONE = 0,
	CMD_FAILED = 1,		/* and whatever it was about is as it was */
	CMD_USAGE = 2,
	CMD_NO_KERNEL = 3,	/* the kernel lacks something; the text names it */
	CMD_PARTIAL = 4,	/* failed, and it is not as it was; the text says how to go on */
};

/* The values of getopt's has_arg. */
enum cmd_arg {
	CMD_ARG_NONE = 0,
	CMD_ARG_REQUIRED = 1,
	CMD_ARG_OPTIONAL = 2,
};

struct cmd_option {
	const char *name;	/* long name; NULL ends a table */
	char letter;		/* short name, 0: none */
	bool negatable;		/* --no-NAME exists as well, without argument */
	enum cmd_arg has_arg;
	int id;			/* what the verb knows it by; several names may share one */
	const char *arg;	/* what --help calls the argument */
	const char *help;	/* NULL: accepted and ignored, --help only lists the name */
};

/* Options that every table ends with. */
#define CMD_ID_HELP 1
#define CMD_ID_VERSION 2
#define CMD_ID_FIRST 16		/* of a verb's own ids */
#define CMD_COMMON_OPTIONS                                                                        \
	{ .name = "help", .letter = 'h', .id = CMD_ID_HELP, .help = "show this text" },           \
	{ .name = "version", .letter = 'V', .id = CMD_ID_VERSION, .help = "show the version" },   \
	{ .name = NULL }

struct cmd {
	const char *name;
	const char *summary;	/* one line */
	const char *usage;	/* what follows "uffd-relocate NAME " */
	const char *text;	/* paragraph for --help, lines broken by hand; may be NULL */
	const struct cmd_option *options;
	/* argv[0] is the verb (or the program, see main.c); returns an exit status */
	int (*run)(int argc, char **argv);
};

extern const struct cmd cmd_lazy_pages;
extern const struct cmd cmd_status;
extern const struct cmd cmd_wait;
extern const struct cmd cmd_trace;
extern const struct cmd cmd_check;
extern const struct cmd cmd_move;
extern const struct cmd cmd_maps;
extern const struct cmd cmd_bench;

/*
 * cmd_parse - walk the options of an argument vector.
 * @where: stands in front of messages ("/etc/criu/default.conf:3: "), "" for the command line.
 * @set:   called for each option; @neg says that it was --no-NAME.  Returns 0 or -errno, having
 *         logged why.
 * The vector is permuted so that operands come last.
 * Return: index of the first operand, or -EINVAL (logged), or what @set returned.
 */
int cmd_parse(const struct cmd_option *options, int argc, char **argv, const char *where,
	      int (*set)(void *ctx, const struct cmd_option *option, bool neg, const char *arg),
	      void *ctx);

/* cmd_help - write the help of a verb to stdout. */
void cmd_help(const struct cmd *cmd);
/* cmd_version - write name and version to stdout. */
void cmd_version(void);

/*
 * cmd_start - parse the command line of a verb without operands; answer --help and --version.
 * @set: as for cmd_parse(), called for the verb's own options only.
 * Return: true when the verb is to run; else false, and *@status is what it exits with.
 */
bool cmd_start(const struct cmd *cmd, int argc, char **argv,
	       int (*set)(void *ctx, const struct cmd_option *option, bool neg, const char *arg),
	       void *ctx, int *status);

/* cmd_start_operands - the same for a verb with operands; argv[*@first] is the first of them. */
bool cmd_start_operands(const struct cmd *cmd, int argc, char **argv,
			int (*set)(void *ctx, const struct cmd_option *option, bool neg,
				   const char *arg),
			void *ctx, int *status, int *first);

/*
 * cmd_number - a decimal number of an option, from @min to @max.
 * Return: 0 and *@out; -EINVAL or -ERANGE, logged under the name @what.
 */
int cmd_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out);

/*
 * cmd_bytes - a number of bytes with an optional suffix K, M, G or T (powers of 1024).
 * Return: as cmd_number().
 */
int cmd_bytes(const char *what, const char *text, uint64_t *out);

struct json_object;
/* cmd_print_json - write @o to stdout as one line, and drop it. */
void cmd_print_json(struct json_object *o);

/* cmd_human - a number of bytes in four characters or five, "1.5G". Return: @buf. */
const char *cmd_human(uint64_t bytes, char (*buf)[16]);

#endif
