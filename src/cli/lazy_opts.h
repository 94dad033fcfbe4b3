/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lazy_opts: the options of `lazy-pages`, from criu's configuration files and the command line.
 *
 * criu has one parser for all its actions, so callers may hand `lazy-pages` any option of a dump
 * or a restore (a shared default.conf does).  All names of criu 3.17.1, 4.1.1 and 4.2 are taken;
 * those that say nothing about lazy pages have no effect.  As in criu, later ones win:
 *
 *	/etc/criu/default.conf, $HOME/.criu/default.conf	unless --config or --no-default-config
 *	the file that $CRIU_CONFIG_FILE names
 *	--config FILE
 *	the command line
 */
#ifndef CLI_LAZY_OPTS_H
#define CLI_LAZY_OPTS_H

#include "cli/cmd.h"
#include "cli/criu_conf.h"
#include "pager/pager.h"

extern const struct cmd_option lazy_options[];

/* What the parser keeps besides the result; owns the strings that came from files. */
struct lazy_opts {
	struct pager_opts pager;
	struct criu_conf conf;
	char *home_conf;
	int log_level;		/* enum log_level that -v asks for */
	bool help;
	bool version;
	/* what is only known by the end */
	bool page_server;
	bool exec_cmd;
	bool stream;
	int bar;		/* -1: as the terminal says */
	const char *refused;	/* an option of the command line that is not served yet */
};

/*
 * lazy_opts_parse - read everything and check it.
 * @argv: argv[0] is "lazy-pages", or anything else when "lazy-pages" stands among the operands.
 * Return: CMD_DONE, CMD_FAILED (asks for what is not served) or CMD_USAGE; logged.  Call
 * lazy_opts_free() in any case, but not while o->pager is in use.
 */
int lazy_opts_parse(int argc, char **argv, struct lazy_opts *o);
void lazy_opts_free(struct lazy_opts *o);

#endif
