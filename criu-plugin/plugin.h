/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plugin: what the files of the plugin share.
 *
 * Everything here is hidden: criu is linked so that plugins see its symbols, and one of the same
 * name would take the place of ours.
 */
#ifndef PLUGIN_H
#define PLUGIN_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

/* Where criu restore connects to, in its work directory. */
#define PLUGIN_SOCKET "lazy-pages.socket"
/* Name of the pager's program. */
#define PLUGIN_PAGER "uffd-relocate"

/* plugin_error - one line, without its newline, to criu's log (stderr if there is none). */
void plugin_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* plugin_info - as plugin_error(), seen from criu -v3 on; nowhere if criu has no log for us. */
void plugin_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

enum settings_lazy {
	SETTINGS_LAZY_AUTO,
	SETTINGS_LAZY_YES,
	SETTINGS_LAZY_NO,
};

struct settings {
	enum settings_lazy lazy;
	bool drain;
	bool agent;
	unsigned int verbosity;
	char pager[PATH_MAX];	/* absolute; "" = look for it */
	char log[PATH_MAX];	/* relative to the work directory; "" = none */
	char rate[32];		/* as the pager's option takes it; "" = its default */
	char thp[8];		/* likewise */
	char drain_cpu[8];	/* likewise */
	char lost_after[12];	/* likewise */
	char hot_budget[24];	/* likewise */
	bool trace;		/* false: no use of traces, and no hint at dump */
	const char *record;	/* the pager's option, NULL: nothing is recorded */
	bool lazy_bad;		/* the first error leaves it open whether lazy pages are wanted */
	char error[PATH_MAX + 256]; /* the first error, one line; "" = none */
};

/*
 * settings_load - read the settings file, then the environment, which has the last word.
 * What cannot be read keeps its default and leaves a line in @set->error; nothing is printed, for
 * a restore without lazy pages has no use for it.
 */
void settings_load(struct settings *set);

/*
 * wanted_lazy - was criu asked for --lazy-pages, by its command line or its configuration files?
 * See wanted.c for what can be known.
 */
bool wanted_lazy(void);

/* plugin_look_for_pager - @path: PATH_MAX bytes. Return: whether there is a program. */
bool plugin_look_for_pager(const struct settings *set, char *path);

/*
 * dump_hint - at the end of a dump: note beside the images what was in huge pages.
 * @image_fd: the image directory.
 */
void dump_hint(const struct settings *set, int image_fd, char *const envp[]);

/*
 * spawn_pager - execute @path, not as a child of ours.
 * @argv, @envp: as for execve(2).
 * @fds: @nfds descriptors, at most SPAWN_FDS_MAX; they become 3, 4 and so on.
 * 0, 1 and 2 are /dev/null, all others are closed.
 * Return: 0 and *@pid once the program runs, or -errno; -ENOENT, -EACCES, -ENOEXEC and such are
 * execve's own.
 */
int spawn_pager(const char *path, char *const argv[], char *const envp[], const int fds[], int nfds,
		pid_t *pid);

#define SPAWN_FDS_MAX 8

/* wire_pair - make the wire. Return: the pager's end, the caller's to close, or -errno. */
int wire_pair(void);
/* wire_dial - make it with a pager that runs already, if that is one of ours. */
void wire_dial(void);
/*
 * wire_resume - task @pid, which is stopped and complete, is about to run: place an agent, and wait
 * for the pager's word.
 * @vpid: the same in its own namespace.
 * Return: 0: it may; -EPIPE: the pager is gone.
 */
int wire_resume(const struct settings *set, int pid, int vpid);
void wire_close(void);

#pragma GCC visibility pop

#endif
