/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu_conf: criu's configuration files, one option a line.
 *
 *	# comment
 *	work-dir "/a directory/with \"quotes\""
 *	no-daemon		# negations work as on the command line
 *
 * The option stands without its dashes, its argument after blanks; an argument in double quotes may
 * contain blanks, and \" for a quote.  What stands after the argument is ignored.
 */
#ifndef CLI_CRIU_CONF_H
#define CLI_CRIU_CONF_H

struct criu_conf_line {
	const char *path;	/* of the file, for messages; belongs to the caller of read */
	unsigned int number;	/* from 1 */
	char *option;		/* with dashes: "--work-dir" */
	char *arg;		/* NULL: none */
};

struct criu_conf {
	struct criu_conf_line *lines;
	unsigned int nlines;
};

/*
 * criu_conf_read - append the options of one file.
 * @path: must outlive @conf.
 * Return: 0 (also when there is no such file, as criu does), or -errno, logged.
 */
int criu_conf_read(const char *path, struct criu_conf *conf);
void criu_conf_free(struct criu_conf *conf);

#endif
