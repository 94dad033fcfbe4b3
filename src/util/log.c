/* SPDX-License-Identifier: GPL-2.0-only */
/* log: lines to a file or to stderr, one write(2) each. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/log.h"

#define LOG_LINE_MAX 1024

static const char *log_verb = "";
static const char *log_who = "";
static enum log_level log_max = LOG_WARN;
static int log_to_fd = STDERR_FILENO;

void log_init(const char *verb, enum log_level level)
{
	log_verb = verb;
	log_max = level;
}

void log_role(const char *role)
{
	log_who = role;
}

int log_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	log_to_fd = fd;
	return 0;
}

int log_fd(void)
{
	return log_to_fd;
}

enum log_level log_level(void)
{
	return log_max;
}

static void log_put(int fd, const char *head, const char *text)
{
	char line[LOG_LINE_MAX + 96];
	int n = snprintf(line, sizeof(line), "%s%s\n", head, text);

	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	/* Nobody is left to tell when this fails. */
	if (n > 0 && write(fd, line, n) < 0)
		return;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	char text[LOG_LINE_MAX], head[80];
	int saved = errno;
	va_list ap;

	if (level > log_max)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);

	if (log_to_fd != STDERR_FILENO) {
		struct timespec now;

		clock_gettime(CLOCK_MONOTONIC, &now);
		snprintf(head, sizeof(head), "(%05lld.%06ld) %s%s%s", (long long)now.tv_sec,
			 now.tv_nsec / 1000, log_who, *log_who ? ": " : "",
			 level == LOG_ERR ? "Error: " : level == LOG_WARN ? "Warn: " : "");
		log_put(log_to_fd, head, text);
	}
	if (log_to_fd == STDERR_FILENO || level == LOG_ERR) {
		snprintf(head, sizeof(head), "uffd-relocate: %s%s", log_verb, *log_verb ? ": " : "");
		log_put(STDERR_FILENO, head, text);
	}
	errno = saved;
}
