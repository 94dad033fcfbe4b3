/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pager: what the command line hands to the engine.
 *
 * pager_main() is the whole of `uffd-relocate lazy-pages` after option parsing: it binds the
 * socket, becomes (or starts) the keeper, and returns the exit status of the process that the
 * caller waits for.  See keeper.c for who holds what, and fault.c, drain.c for how pages travel.
 */
#ifndef PAGER_PAGER_H
#define PAGER_PAGER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum pager_thp {
	PAGER_THP_AUTO,		/* huge pages for memory that was advised to have them, or as the system
				 * does by default, or that had them at the dump */
	PAGER_THP_ALWAYS,
	PAGER_THP_NEVER,
};

struct pager_opts {
	const char *images_dir;		/* -D, default "." */
	const char *work_dir;		/* -W, default images_dir */
	const char *log_file;		/* -o, relative to work_dir; NULL or "-" = stderr */
	int verbosity;			/* -v[N] */
	bool daemonize;			/* -d */
	const char *pidfile;		/* relative to work_dir */
	int status_fd;			/* -1: none; gets one 0 byte when the socket listens */
	const char *action_script;	/* NULL: none */
	int listen_fd;			/* -1: bind our own; else an already listening socket */
	int wire_fd;			/* -1: none; else the plugin in criu, see abi/wire.h */
	int criu_pidfd;			/* -1: none; else end when this process ends early */
	int progress_fd;		/* -1: none; one JSON object a line */
	bool progress_bar;		/* draw one on stderr */
	bool auto_dedup;
	bool drain;			/* false: --no-drain */
	uint64_t rate_bytes_per_s;	/* 0: no limit */
	unsigned int drain_cpu_percent;	/* 1..100 */
	unsigned int lost_after_s;	/* --lost-after */
	const char *keeper_cgroup;	/* directory of a cgroup for the keeper; NULL: none */
	const char *trace_file;		/* relative to images_dir; NULL: the name that it has there */
	bool trace;			/* false: --no-trace */
	bool record;
	bool record_once;		/* only when there is no record yet */
	uint64_t hot_us, hot_bytes;	/* --hot-budget, one of them; both 0: nothing before the rest */
	bool agent;			/* an agent in the target moves pages, where possible */
	enum pager_thp thp;
	bool collapse;			/* what was touched too early is made huge in the end */
	unsigned int agent_slots;	/* of 2 MiB, in each target */
	uint64_t staging_bytes;		/* in all targets together */
	bool adopt;			/* --adopt: take over from a keeper */
	pid_t adopt_pid;		/* 0: the one that serves work_dir */
};

/* Defaults for every field. */
void pager_opts_init(struct pager_opts *opts);

/* Return: exit status, 0 when every target got all it was owed or is gone, 1 on any error. */
int pager_main(const struct pager_opts *opts);

/* The name, in the work directory, of the socket that status, wait and --adopt connect to. */
#define PAGER_CONTROL_NAME "uffd-relocate.socket"
/* The name, in the work directory, of the socket that criu restore connects to. */
#define PAGER_LAZY_NAME "lazy-pages.socket"

/*
 * Control protocol, one request and one answer a connection.  Request: a line, "status" (answered
 * at once) or "wait" (answered with the last status when the server ends).
 * Answer: one JSON object and a newline, see doc/status-json.md for its keys.
 * The plugin in criu says something else here, see abi/wire.h.
 */

#endif
