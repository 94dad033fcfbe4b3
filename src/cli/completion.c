// SPDX-License-Identifier: GPL-2.0-only
/*
 * completion: the tables of verbs and options as a completion for bash(1).
 *
 * The script needs nothing of the package bash-completion.  Bash breaks words at "=", so what
 * follows "--name=" comes as a word of its own, with "=" as the one before.
 */
#include "cli/completion.h"

#include <stdio.h>
#include <string.h>

static const char head[] =
	"# bash completion of uffd-relocate, made by uffd-relocate --completion\n"
	"_uffd_relocate()\n"
	"{\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb='' i\n"
	"\tlocal words='' kind=''\n"
	"\tCOMPREPLY=()\n"
	"\tif [ \"$cur\" = = ]; then\n"
	"\t\tcur=\n"
	"\telif [ \"$prev\" = = ]; then\n"
	"\t\tprev=${COMP_WORDS[COMP_CWORD - 2]}\n"
	"\tfi\n";

/* After an option with an argument comes that, else names. */
static const char tail[] =
	"\tcase $kind in\n"
	"\tDIR) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") ;;\n"
	"\tFILE) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	"\tPID) mapfile -t COMPREPLY < <(cd /proc && compgen -W \"$(echo [0-9]*)\" -- \"$cur\") ;;\n"
	"\t'') mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\") ;;\n"
	"\tesac\n"
	"}\n"
	"complete -F _uffd_relocate uffd-relocate\n";

static void print_words(const struct cmd_option *o)
{
	for (; o->name; o++) {
		if (o->letter)
			printf(" -%c", o->letter);
		printf(" --%s", o->name);
		if (o->negatable)
			printf(" --no-%s", o->name);
	}
}

/* Patterns of the options whose argument is a DIR, a FILE, and so on; the rest is left to people. */
static void print_kinds(const struct cmd_option *o)
{
	static const char *const known[] = { "DIR", "FILE", "PID" };
	unsigned int i;

	for (; o->name; o++) {
		const char *kind = "-";

		if (o->has_arg != CMD_ARG_REQUIRED)
			continue;
		for (i = 0; o->arg && i < sizeof(known) / sizeof(known[0]); i++)
			if (!strcmp(o->arg, known[i]))
				kind = known[i];
		printf("\t\t");
		if (o->letter)
			printf("-%c | ", o->letter);
		printf("--%s) kind=%s ;;\n", o->name, kind);
	}
}

void completion_print(const struct cmd *const *verbs, unsigned int n)
{
	unsigned int i;

	fputs(head, stdout);
	printf("\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tcase ${COMP_WORDS[i]} in\n\t\t");
	for (i = 0; i < n; i++)
		printf("%s%s", i ? " | " : "", verbs[i]->name);
	printf(") verb=${COMP_WORDS[i]}; break ;;\n\t\tesac\n\tdone\n");
	printf("\tcase $verb in\n");
	for (i = 0; i < n; i++) {
		printf("\t%s)\n\t\twords='", verbs[i]->name);
		print_words(verbs[i]->options);
		printf("'\n\t\tcase $prev in\n");
		print_kinds(verbs[i]->options);
		printf("\t\tesac\n\t\t;;\n");
	}
	printf("\t*) words='-h --help -V --version --completion");
	for (i = 0; i < n; i++)
		printf(" %s", verbs[i]->name);
	printf("' ;;\n\tesac\n");
	fputs(tail, stdout);
}
