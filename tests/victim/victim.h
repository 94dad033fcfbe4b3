/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * victim: what the test targets share: an oracle for their own memory, and a command line.
 *
 * Theory of operation
 * -------------------
 * Every page of a victim has a 64-bit key.  A pattern key (top bit set) names region, generation
 * and page number; each of the page's words follows from it.  The other keys say that the page
 * must read as zeros, must fault, or is not mapped.  No key is 0: if the memory that holds the
 * keys is itself lost and reads as zeros, that is a wrong byte too, not a match.
 *
 * Commands are lines read from the FIFO DIR/cmd, answers are lines written to DIR/ans; the test
 * holds both open, so a command may be queued while the victim does not exist.  A wrong word is
 * reported on a line that starts with "wrong:" (address, wanted, found) before the answer, whose
 * "bad=" counts wrong words.  Nothing is written anywhere else: criu insists that files written
 * to have the size they had at dump.
 */
#ifndef VICTIM_H
#define VICTIM_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define PAGE_WORDS (PAGE / 8)
#define MIB (1024UL * 1024UL)

#define KEY_ZERO 1UL
#define KEY_GUARD 2UL
#define KEY_ABSENT 3UL
#define KEY_PATTERN (1UL << 63)
#define KEY_MAYBE_ZERO (1UL << 62)	/* MADV_FREE: the pattern or zeros */

#define VICTIM_MAX_REPORTS 8

static int victim_cmd_fd = -1, victim_ans_fd = -1;
static uint64_t victim_bad;		/* wrong words in all of this process's life */
static unsigned int victim_reports;

__attribute__((unused, format(printf, 1, 2)))
static void answer(const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (len > (int)sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len++] = '\n';
	/* At most PIPE_BUF: one write, never mixed with another process's line. */
	if (write(victim_ans_fd, line, len) != len)
		_exit(98);
}

__attribute__((unused, format(printf, 1, 2), noreturn))
static void fail(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (victim_ans_fd >= 0)
		answer("failed: %s", line);
	else
		fprintf(stderr, "victim: %s\n", line);
	_exit(99);
}

static inline uint64_t key_make(unsigned int region, unsigned int gen, uint64_t page)
{
	return KEY_PATTERN | (uint64_t)(region & 0xff) << 48 | (uint64_t)(gen & 0xffff) << 32 |
	       (page & 0xffffffffUL);
}

static inline uint64_t key_next_gen(uint64_t key)
{
	return key + (1UL << 32);
}

static inline uint64_t mix64(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x7fb5d329728ea185UL;
	x ^= x >> 27;
	x *= 0x81dadef4bc2dd44dUL;
	return x ^ x >> 33;
}

#define WORD_STEP 0x9e3779b97f4a7c15UL

static inline uint64_t page_word(uint64_t key, unsigned int word)
{
	return mix64(key) + word * WORD_STEP;
}

__attribute__((unused))
static void page_fill(void *addr, uint64_t key)
{
	uint64_t *w = addr, v = mix64(key);

	for (unsigned int i = 0; i < PAGE_WORDS; i++, v += WORD_STEP)
		w[i] = v;
}

__attribute__((unused))
static void report_wrong(const volatile uint64_t *at, uint64_t key, uint64_t want, uint64_t found)
{
	if (__atomic_fetch_add(&victim_reports, 1, __ATOMIC_RELAXED) < VICTIM_MAX_REPORTS)
		answer("wrong: addr=%#lx key=%#lx want=%#lx found=%#lx pid=%d", (unsigned long)at,
		       (unsigned long)key, (unsigned long)want, (unsigned long)found, getpid());
}

/* Compare a whole page with what its key says. Return: the number of wrong words. */
__attribute__((unused))
static uint64_t page_check(const void *addr, uint64_t key)
{
	const volatile uint64_t *w = addr;
	uint64_t want = mix64(key), step = WORD_STEP, bad = 0;

	if (key == KEY_GUARD || key == KEY_ABSENT)
		return 0;
	if ((key & KEY_MAYBE_ZERO) && !w[0])
		key = KEY_ZERO;
	else if (key & KEY_MAYBE_ZERO)
		want = mix64(key & ~KEY_MAYBE_ZERO);
	if (key == KEY_ZERO)
		want = step = 0;
	else if (!(key & KEY_PATTERN))
		want = 0xdead, bad++;	/* the key itself is lost */
	for (unsigned int i = 0; i < PAGE_WORDS; i++, want += step) {
		uint64_t found = w[i];

		if (__builtin_expect(found == want, 1))
			continue;
		if (!bad++)
			report_wrong(w + i, key, want, found);
	}
	if (bad)
		__atomic_fetch_add(&victim_bad, bad, __ATOMIC_RELAXED);
	return bad;
}

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

/*
 * A permutation of [0, n) that needs no table (a table would itself be missing memory):
 * a four-round Feistel network on the next even number of bits, walked until it lands below n.
 */
__attribute__((unused))
static uint64_t permute(uint64_t i, uint64_t n, uint64_t seed)
{
	unsigned int half = 1;
	uint64_t mask;

	while (1UL << (2 * half) < n)
		half++;
	mask = (1UL << half) - 1;
	do {
		uint64_t l = i >> half, r = i & mask;

		for (unsigned int round = 0; round < 4; round++) {
			uint64_t t = l ^ (mix64(r + seed * 4 + round + 1) & mask);

			l = r;
			r = t;
		}
		i = l << half | r;
	} while (i >= n);
	return i;
}

/* Open DIR/cmd and DIR/ans; both for reading and writing, so that neither end is ever gone. */
__attribute__((unused))
static void victim_open(const char *dir)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/ans", dir);
	victim_ans_fd = open(path, O_RDWR);
	if (victim_ans_fd < 0)
		fail("%s: %s", path, strerror(errno));
	snprintf(path, sizeof(path), "%s/cmd", dir);
	victim_cmd_fd = open(path, O_RDWR);
	if (victim_cmd_fd < 0)
		fail("%s: %s", path, strerror(errno));
}

/* Read one command line into @line. Byte by byte: what follows may be for another process. */
__attribute__((unused))
static void victim_read(char *line, size_t size)
{
	size_t n = 0;

	for (;;) {
		char c;
		ssize_t r = read(victim_cmd_fd, &c, 1);

		if (r < 0 && errno == EINTR)
			continue;
		if (r != 1)
			fail("command: %s", r ? strerror(errno) : "end of file");
		if (c == '\n')
			break;
		if (n < size - 1)
			line[n++] = c;
	}
	line[n] = 0;
}

#endif
