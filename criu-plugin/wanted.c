/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wanted: does this restore use lazy pages?
 *
 * Theory of operation
 * -------------------
 * criu does not tell a plugin.  Its option lies in a private struct that changes with every
 * version, so we look where criu looked:
 *
 *	/etc/criu/default.conf and $HOME/.criu/default.conf, if neither --config nor
 *	--no-default-config is given
 *	the file that $CRIU_CONFIG_FILE names
 *	the file that --config names
 *	the command line, in /proc/self/cmdline
 *
 * There is no --no-lazy-pages: one mention anywhere is a yes.  When criu is driven by RPC
 * (criu swrk, criu service: runc, libcriu) the request is out of reach, and with it the option and
 * the configuration file that it may name: `lazy = yes` in our settings is for that case.
 *
 * criu's parser has accepted everything we see, so a word that begins an option can be taken for
 * that option; all there is to know of the others is which of them have the next word for their
 * value, or the file name in `-o --lazy-pages` would count.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugin.h"

/* Options that take their value from the next word, of criu 3.17.1 to 4.2. */
static const char *const wanted_valued[] = {
	"action-script", "address", "cgroup-dump-controller", "cgroup-props",
	"cgroup-props-file", "cgroup-root", "cgroup-yard", "close", "config", "empty-ns",
	"enable-fs", "ext-mount-map", "external", "feature", "file-validation", "freeze-cgroup",
	"ghost-limit", "images-dir", "inherit-fd", "irmap-scan-path", "join-ns", "libdir",
	"log-file", "lsm-mount-context", "lsm-profile", "network-lock", "pidfile", "port",
	"pre-dump-mode", "prev-images-dir", "ps-socket", "root", "skip-mnt", "status-fd",
	"timeout", "tls-cacert", "tls-cacrl", "tls-cert", "tls-key", "tree", "veth-pair",
	"work-dir",
};
#define WANTED_VALUED_SHORT "tDorJWLM"
#define WANTED_MAYBE_VALUED_SHORT "vx"

#define WANTED_OPTION "lazy-pages"
/* "l" begins nine options, "la" only this one. */
#define WANTED_SHORTEST 2

static bool wanted_is_lazy(const char *word)
{
	size_t len = strlen(word);

	return len >= WANTED_SHORTEST && !strncmp(word, WANTED_OPTION, len);
}

/* @name: a long option, without its dashes.  Is the next word its value? */
static bool wanted_takes_next(const char *name)
{
	size_t len = strlen(name);

	/* A switch of its own although four others begin with it. */
	if (strchr(name, '=') || !strcmp(name, "tls"))
		return false;
	for (size_t i = 0; i < sizeof(wanted_valued) / sizeof(*wanted_valued); i++)
		if (!strncmp(name, wanted_valued[i], len))
			return true;
	return false;
}

/* @letters: a word of short options, without its dash.  Is the next word the value of the last? */
static bool wanted_letters_take_next(const char *letters)
{
	for (; *letters; letters++) {
		if (strchr(WANTED_MAYBE_VALUED_SHORT, *letters))
			return false;
		if (strchr(WANTED_VALUED_SHORT, *letters))
			return !letters[1];
	}
	return false;
}

/* The whole of /proc/self/cmdline; NUL after each word and one more at the end. */
static char *wanted_cmdline(size_t *len)
{
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	size_t room = 4096, have = 0;
	char *buf = NULL;

	if (fd < 0)
		return NULL;
	for (;;) {
		char *more = realloc(buf, room + 1);
		ssize_t n;

		if (!more)
			goto fail;
		buf = more;
		n = read(fd, buf + have, room - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			goto fail;
		if (!n)
			break;
		have += n;
		if (have == room)
			room *= 2;
	}
	close(fd);
	buf[have] = '\0';
	*len = have;
	return buf;
fail:
	free(buf);
	close(fd);
	return NULL;
}

/*
 * A file of criu's: each line is an option without its dashes, perhaps a value, perhaps a comment.
 * @explicit: somebody named this file, so that not finding it is worth a word.
 */
static bool wanted_by_file(const char *path, bool explicit)
{
	char *line = NULL, *word, full[PATH_MAX];
	const char *pwd = getenv("PWD");
	size_t room = 0;
	bool found = false;
	FILE *file;

	/* criu opened it before it went to the work directory. */
	if (*path != '/' && pwd && *pwd == '/') {
		if (snprintf(full, sizeof(full), "%s/%s", pwd, path) < (int)sizeof(full))
			path = full;
	}
	file = fopen(path, "re");
	if (!file) {
		if (explicit)
			plugin_info("cannot read %s: %m; whether it asks for --" WANTED_OPTION
				    " is unknown (lazy = yes in the settings says so)", path);
		return false;
	}
	while (!found && getline(&line, &room, file) >= 0) {
		word = line + strspn(line, " \t");
		word[strcspn(word, " \t\r\n#")] = '\0';
		found = wanted_is_lazy(word);
	}
	free(line);
	fclose(file);
	return found;
}

bool wanted_lazy(void)
{
	const char *config = NULL, *env = getenv("CRIU_CONFIG_FILE"), *home = getenv("HOME");
	bool defaults = true, found = false, value = false, options = true;
	char path[PATH_MAX];
	size_t len = 0;
	char *line = wanted_cmdline(&len);

	/* The program's name is not an option, whatever it is. */
	for (char *word = line ? line + strlen(line) + 1 : NULL; word && word < line + len;
	     word += strlen(word) + 1) {
		/* criu looks for these two everywhere, values and what follows -- included. */
		if (!strcmp(word, "--no-default-config")) {
			defaults = false;
		} else if (!strcmp(word, "--config") && word + strlen(word) + 1 < line + len) {
			config = word + strlen(word) + 1;
			defaults = false;
		} else if (!strncmp(word, "--config=", strlen("--config="))) {
			config = word + strlen("--config=");
			defaults = false;
		}
		if (value || !options) {
			value = false;
			continue;
		}
		if (!strcmp(word, "--"))
			options = false;
		else if (!strncmp(word, "--", 2) && wanted_is_lazy(word + 2))
			found = true;
		else if (!strncmp(word, "--", 2))
			value = wanted_takes_next(word + 2);
		else if (*word == '-')
			value = wanted_letters_take_next(word + 1);
	}
	if (!found && defaults)
		found = wanted_by_file("/etc/criu/default.conf", false);
	if (!found && defaults && home &&
	    snprintf(path, sizeof(path), "%s/.criu/default.conf", home) < (int)sizeof(path))
		found = wanted_by_file(path, false);
	if (!found && env)
		found = wanted_by_file(env, true);
	if (!found && config)
		found = wanted_by_file(config, true);
	free(line);
	return found;
}
