/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tap: what a C test program needs to print TAP.
 *
 *	int main(void)
 *	{
 *		tap_timeout(20);
 *		ok(!thing_open(&t), "a thing opens");
 *		is_u64(thing_size(t), 4096, "it has one page");
 *		return tap_done();
 *	}
 *
 * Checks count themselves, tap_done() prints the plan, so a program that stops early has none
 * and is seen to have failed.  A name must not contain '#'.  For one file of one program only.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned int tap_count, tap_failed;

#define TAP_FN static inline __attribute__((unused))
#define TAP_PRINTF(n) __attribute__((format(printf, n, n + 1)))

/* A line that is no result. */
TAP_FN TAP_PRINTF(1) void note(const char *fmt, ...)
{
	va_list ap;

	fputs("# ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	fputc('\n', stdout);
	fflush(stdout);
}

TAP_FN bool tap_result(bool good, const char *file, int line, const char *fmt, va_list ap)
{
	tap_count++;
	printf("%sok %u - ", good ? "" : "not ", tap_count);
	vprintf(fmt, ap);
	fputc('\n', stdout);
	if (!good) {
		tap_failed++;
		printf("# at %s:%d\n", file, line);
	}
	/* Whoever forks must not find anything to print twice. */
	fflush(stdout);
	return good;
}

TAP_FN TAP_PRINTF(4) bool tap_ok(bool good, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap_result(good, file, line, fmt, ap);
	va_end(ap);
	return good;
}

TAP_FN TAP_PRINTF(5) bool tap_is_u64(uint64_t got, uint64_t want, const char *file, int line,
				     const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap_result(got == want, file, line, fmt, ap);
	va_end(ap);
	if (got != want)
		note("got %" PRIu64 " (%#" PRIx64 "), want %" PRIu64 " (%#" PRIx64 ")", got, got,
		     want, want);
	return got == want;
}

TAP_FN TAP_PRINTF(5) bool tap_is_i64(int64_t got, int64_t want, const char *file, int line,
				     const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap_result(got == want, file, line, fmt, ap);
	va_end(ap);
	if (got != want)
		note("got %" PRId64 ", want %" PRId64 "%s%s", got, want,
		     got < 0 && got > -4096 ? ": " : "",
		     got < 0 && got > -4096 ? strerror(-got) : "");
	return got == want;
}

/* All three return whether the check held. */
#define ok(cond, ...) tap_ok(cond, __FILE__, __LINE__, __VA_ARGS__)
#define is_u64(got, want, ...) tap_is_u64(got, want, __FILE__, __LINE__, __VA_ARGS__)
#define is_i64(got, want, ...) tap_is_i64(got, want, __FILE__, __LINE__, __VA_ARGS__)

/* skip - one check that cannot be made here; say what is missing. */
TAP_FN TAP_PRINTF(2) void skip(const char *name, const char *fmt, ...)
{
	va_list ap;

	printf("ok %u - %s # SKIP ", ++tap_count, name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	fputc('\n', stdout);
	fflush(stdout);
}

/* skip_all - nothing in this program can be checked here.  Call it before any check. */
TAP_FN TAP_PRINTF(1) __attribute__((noreturn)) void skip_all(const char *fmt, ...)
{
	va_list ap;

	fputs("1..0 # SKIP ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	fputc('\n', stdout);
	exit(0);
}

/* bail - the program cannot go on, and that is a failure. */
TAP_FN TAP_PRINTF(1) __attribute__((noreturn)) void bail(const char *fmt, ...)
{
	va_list ap;

	fputs("Bail out! ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	fputc('\n', stdout);
	exit(1);
}

TAP_FN void tap_on_alarm(int sig)
{
	static const char text[] = "Bail out! timed out\n";

	(void)sig;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(2);
	_exit(1);
}

/*
 * tap_timeout - end the program with a failure after @seconds, from now.  Children are the
 * program's own care: PR_SET_PDEATHSIG, or a process group.
 */
TAP_FN void tap_timeout(unsigned int seconds)
{
	signal(SIGALRM, tap_on_alarm);
	alarm(seconds);
}

/* tap_done - print the plan. Return: the exit status, 0 when every check held, 1 when not. */
TAP_FN int tap_done(void)
{
	printf("1..%u\n", tap_count);
	if (tap_failed)
		printf("# failed %u of %u\n", tap_failed, tap_count);
	fflush(stdout);
	return tap_failed ? 1 : 0;
}

#endif
