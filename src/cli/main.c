// SPDX-License-Identifier: GPL-2.0-only
/* main: find the verb, run it. */
#include <stdio.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/completion.h"
#include "util/log.h"

static const struct cmd *const verbs[] = {
	&cmd_lazy_pages,
	&cmd_status,
	&cmd_wait,
	&cmd_trace,
	&cmd_check,
	&cmd_move,
	&cmd_maps,
	&cmd_bench,
};

#define NVERBS (sizeof(verbs) / sizeof(verbs[0]))

static void usage(FILE *to)
{
	unsigned int i;

	fprintf(to, "Usage: uffd-relocate VERB [options]\n\nVerbs:\n");
	for (i = 0; i < NVERBS; i++)
		fprintf(to, "  %-12s %s\n", verbs[i]->name, verbs[i]->summary);
	fprintf(to, "\n  -h, --help     show this text; after a verb, the verb's options\n"
		    "  -V, --version  show the version\n"
		    "      --completion  show a completion script for bash\n\nSee uffd-relocate(8).\n");
}

static const struct cmd *find(const char *name)
{
	unsigned int i;

	for (i = 0; i < NVERBS; i++)
		if (!strcmp(verbs[i]->name, name))
			return verbs[i];
	return NULL;
}

static int run(int argc, char **argv)
{
	const struct cmd *cmd;

	log_init("", LOG_WARN);
	if (argc < 2) {
		usage(stderr);
		return CMD_USAGE;
	}
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")) {
		usage(stdout);
		return CMD_DONE;
	}
	if (!strcmp(argv[1], "-V") || !strcmp(argv[1], "--version")) {
		cmd_version();
		return CMD_DONE;
	}
	if (!strcmp(argv[1], "--completion")) {
		completion_print(verbs, NVERBS);
		return CMD_DONE;
	}
	if (argv[1][0] == '-') {
		/* criu lets its action stand anywhere, and its callers know that. */
		log_init(cmd_lazy_pages.name, LOG_WARN);
		return cmd_lazy_pages.run(argc, argv);
	}
	cmd = find(argv[1]);
	if (!cmd) {
		log_err("there is no verb '%s'; uffd-relocate --help lists them", argv[1]);
		return CMD_USAGE;
	}
	log_init(cmd->name, LOG_WARN);
	return cmd->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	int status = run(argc, argv);

	if (status == CMD_DONE && (fflush(stdout) || ferror(stdout))) {
		log_err("cannot write to stdout");
		status = CMD_FAILED;
	}
	return status;
}
