/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * log: one place where words leave the program.
 *
 * A line goes to the log file (stderr until log_open() names one) when its level is at most the
 * verbosity, and log_err() lines go to stderr as well when the log is a file, so that whoever
 * started us reads the reason without having to look for it.  The first frame that knows the
 * what (pid, address, path) logs, once; frames above it only return.
 *
 * Lines are made in a buffer on the stack and written with a single write(2): no allocation,
 * no stdio, usable by any thread and after a raw clone(2).
 */
#ifndef UTIL_LOG_H
#define UTIL_LOG_H

/* One less than criu's -v: -v1 errors, -v2 warnings, -v3 info, -v4 debug, from -v5 on trace. */
enum log_level {
	LOG_ERR = 0,
	LOG_WARN = 1,
	LOG_INFO = 2,
	LOG_DEBUG = 3,
	LOG_TRACE = 4,
};

/*
 * log_init - name the program part that speaks and how much it says.
 * @verb:  stands in "uffd-relocate: <verb>: ..."; not copied.
 * @level: highest level that is written.
 */
void log_init(const char *verb, enum log_level level);

/*
 * log_open - send lines to a file, made anew (0600), relative to the current directory.
 * Return: 0 or -errno.
 */
int log_open(const char *path);

/*
 * log_role - name the part of the program that this process is ("keeper", "pager"); it stands in
 * front of every line of the log file.  Not copied.
 */
void log_role(const char *role);

/* The file descriptor that lines go to; belongs to log. */
int log_fd(void);

enum log_level log_level(void);

void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...) log_at(LOG_ERR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_trace(...) log_at(LOG_TRACE, __VA_ARGS__)

#endif
