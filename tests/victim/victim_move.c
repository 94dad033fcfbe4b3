/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * victim_move DIR: areas of memory whose pages somebody moves from outside, and threads at work.
 *
 * Areas have numbers; pages count from 0 within an area.  Commands (see victim.h):
 *	map I PAGES [FLAG]...	a new area I, aligned to 2 MiB: huge (MADV_HUGEPAGE; the others get
 *				MADV_NOHUGEPAGE), odd (one page behind such a border), ro, rx, rwx,
 *				shared, file, zero (/dev/zero), locked, dontneed (locked, but empty).
 *				Answer: addr
 *	drop I			munmap the area
 *	fill I [A N]		give the pages their next pattern
 *	discard I A N		MADV_DONTNEED
 *	take I A J B N		pages A.. of I are now pages B.. of J: that is where they must be
 *	verify			every word of every page that has a pattern
 *	empty I A N		how many of these pages are present or in swap (looks, touches nothing)
 *	pfns I A N		a sum over the page frame numbers, in order, and how many there are
 *	hugekb I		AnonHugePages of the area
 *	threads N		N threads check and rewrite random pages that are not parked, until
 *	halt			answer: ops, bad
 *	park I A N / unpark I A N
 *	write I			one thread writes to one word of every page of I, round and round, until
 *	unwrite I J		every write must be found, in I or in page by page the same place of J.
 *				Answer: bad, moved (pages that are in J), writes
 *	fork / unfork		a child that keeps all memory shared
 *	pin I P / unpin		page P as a fixed buffer of io_uring
 *	merge I A N		fill these pages all alike, and MADV_MERGEABLE; they leave the oracle
 *	ksmkb I			how much of the area KSM has merged
 *	guard I P		MADV_GUARD_INSTALL
 *	split I P		an area of its own (for the kernel) begins at page P
 *	watch I / unwatch	the area is registered with a userfaultfd of our own
 *	churn I			one thread unmaps and maps the area I again and again, until
 *	unchurn
 *	future			mlockall(MCL_FUTURE)
 *	remap I J BYTES		mremap all of I to J in pieces of BYTES. Answer: ns
 *	spoil I P		change one bit: the next verify must say bad=1
 *	exec			sleep(1) takes the place of the program
 *	exit			status 1 when any word was ever wrong
 */
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "victim/victim.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define MAX_AREAS 16
#define MAX_THREADS 16
#define HUGE_BYTES (2 * MIB)

struct area {
	char *mem;
	uint64_t npages;
	uint64_t *keys;		/* 0: nobody says what the page holds */
	uint8_t *parked;
	int prot, flags;
};

static struct area areas[MAX_AREAS];
/* Threads that only read it must not keep out who wants to change it. */
static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static pthread_t threads[MAX_THREADS], writer, churner;
static unsigned int nthreads;
static bool stop_threads, stop_writer, stop_churn;
static uint64_t thread_ops, thread_bad, writes, *written, *moved_at;
static uint64_t churns;
static pid_t child;
static int ring_fd = -1, watch_fd = -1;

static struct area *area_of(const char *word)
{
	unsigned long i = word ? strtoul(word, NULL, 10) : MAX_AREAS;

	if (i >= MAX_AREAS || !areas[i].mem)
		fail("no area %s", word ? word : "given");
	return &areas[i];
}

static char *addr_of(const struct area *a, uint64_t page)
{
	return a->mem + page * PAGE;
}

static uint64_t number(char **save)
{
	char *word = strtok_r(NULL, " ", save);

	if (!word)
		fail("a number is missing");
	return strtoull(word, NULL, 0);
}

static void check_range(const struct area *a, uint64_t first, uint64_t n)
{
	if (first + n > a->npages)
		fail("pages %lu+%lu of %lu", (unsigned long)first, (unsigned long)n,
		     (unsigned long)a->npages);
}

/* ---- areas ---- */

static void do_map(char **save)
{
	char *word = strtok_r(NULL, " ", save), *at;
	unsigned long i = word ? strtoul(word, NULL, 10) : MAX_AREAS;
	struct area a = { .prot = PROT_READ | PROT_WRITE, .flags = MAP_PRIVATE | MAP_ANONYMOUS };
	bool huge = false, locked = false, dontneed = false;
	uint64_t odd = 0, bytes;
	int fd = -1;

	if (i >= MAX_AREAS || areas[i].mem)
		fail("map: no free area %s", word ? word : "given");
	a.npages = number(save);
	bytes = a.npages * PAGE;
	while ((word = strtok_r(NULL, " ", save))) {
		huge |= !strcmp(word, "huge");
		dontneed |= !strcmp(word, "dontneed");
		locked |= dontneed || !strcmp(word, "locked");
		if (!strcmp(word, "odd"))
			odd = PAGE;
		if (!strcmp(word, "ro"))
			a.prot = PROT_READ;
		if (!strcmp(word, "rx"))
			a.prot = PROT_READ | PROT_EXEC;
		if (!strcmp(word, "rwx"))
			a.prot |= PROT_EXEC;
		if (!strcmp(word, "shared"))
			a.flags = MAP_SHARED | MAP_ANONYMOUS;
		if (!strcmp(word, "zero"))
			fd = open("/dev/zero", O_RDWR);
		if (!strcmp(word, "file")) {
			fd = memfd_create("victim", 0);
			if (fd < 0 || ftruncate(fd, bytes))
				fail("memfd: %s", strerror(errno));
		}
	}
	if (fd >= 0)
		a.flags = MAP_PRIVATE;
	/* Room for the alignment, and nobody to merge with. */
	at = mmap(NULL, bytes + 2 * HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		  -1, 0);
	if (at == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	at = (char *)(((uintptr_t)at + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1)) + odd;
	a.mem = mmap(at, bytes, a.prot, a.flags | MAP_FIXED, fd, 0);
	if (a.mem == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	madvise(a.mem, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	if (locked && mlock(a.mem, bytes))
		fail("mlock: %s", strerror(errno));
	if (dontneed && madvise(a.mem, bytes, MADV_DONTNEED_LOCKED))
		fail("MADV_DONTNEED_LOCKED: %s", strerror(errno));
	a.keys = calloc(a.npages, sizeof(*a.keys));
	a.parked = calloc(a.npages, 1);
	if (!a.keys || !a.parked)
		fail("out of memory");
	areas[i] = a;
	answer("map addr=%#lx", (unsigned long)a.mem);
}

static void do_drop(struct area *a)
{
	munmap(a->mem, a->npages * PAGE);
	free(a->keys);
	free(a->parked);
	*a = (struct area){ 0 };
	answer("drop");
}

static void do_fill(struct area *a, char **save)
{
	char *word = strtok_r(NULL, " ", save);
	uint64_t first = word ? strtoull(word, NULL, 0) : 0, n = word ? number(save) : a->npages;

	check_range(a, first, n);
	for (uint64_t p = first; p < first + n; p++) {
		a->keys[p] = a->keys[p] ? key_next_gen(a->keys[p]) :
					  key_make(1 + (unsigned int)(a - areas), 1, p);
		page_fill(addr_of(a, p), a->keys[p]);
	}
	answer("fill n=%lu", (unsigned long)n);
}

static void do_take(char **save)
{
	struct area *from = area_of(strtok_r(NULL, " ", save)), *to;
	uint64_t a = number(save), b, n;

	to = area_of(strtok_r(NULL, " ", save));
	b = number(save);
	n = number(save);
	check_range(from, a, n);
	check_range(to, b, n);
	pthread_rwlock_wrlock(&table_lock);
	memmove(to->keys + b, from->keys + a, n * sizeof(*to->keys));
	memset(from->keys + a, 0, n * sizeof(*to->keys));
	pthread_rwlock_unlock(&table_lock);
	answer("take");
}

static void do_verify(void)
{
	uint64_t bad = 0, n = 0;

	pthread_rwlock_wrlock(&table_lock);
	for (struct area *a = areas; a < areas + MAX_AREAS; a++)
		for (uint64_t p = 0; a->mem && p < a->npages; p++)
			if (a->keys[p]) {
				bad += page_check(addr_of(a, p), a->keys[p]);
				n++;
			}
	pthread_rwlock_unlock(&table_lock);
	answer("verify bad=%lu pages=%lu", (unsigned long)bad, (unsigned long)n);
}

/* ---- what the kernel says about them ---- */

static void do_pagemap(const char *name, const struct area *a, char **save)
{
	uint64_t first = number(save), n = number(save), sum = 0, there = 0, present = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	check_range(a, first, n);
	for (uint64_t p = first; p < first + n; p++) {
		uint64_t entry = 0;

		if (pread(fd, &entry, 8, (uintptr_t)addr_of(a, p) / PAGE * 8) != 8)
			fail("pagemap: %s", strerror(errno));
		there += entry >> 62 != 0;
		present += entry >> 63;
		sum = mix64(sum + (entry & ((1UL << 55) - 1)));
	}
	close(fd);
	if (!strcmp(name, "empty"))
		answer("empty there=%lu", (unsigned long)there);
	else
		answer("pfns sum=%lx present=%lu", (unsigned long)sum, (unsigned long)present);
}

/* The sum of @key over the parts of the area. */
static void do_smaps(const char *name, const struct area *a, const char *key)
{
	unsigned long start, end, kb, total = 0, in = 0;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			in = start >= (uintptr_t)a->mem && end <= (uintptr_t)addr_of(a, a->npages);
		else if (in && !strncmp(line, key, strlen(key)) &&
			 sscanf(line + strlen(key), " %lu", &kb) == 1)
			total += kb;
	}
	if (f)
		fclose(f);
	answer("%s kb=%lu", name, total);
}

/* ---- threads ---- */

/* Random pages of all areas that somebody has filled: check, give the next generation. */
static void *worker(void *arg)
{
	uint64_t x = (uintptr_t)arg * 7919, ops = 0, bad = 0;

	while (!__atomic_load_n(&stop_threads, __ATOMIC_RELAXED)) {
		struct area *a = &areas[mix64(++x) % MAX_AREAS];
		uint64_t p;

		pthread_rwlock_rdlock(&table_lock);
		p = a->mem ? mix64(x * 31) % a->npages / nthreads * nthreads + (uintptr_t)arg : 0;
		/* Each thread has pages of its own. */
		if (a->mem && p < a->npages && a->keys[p] && !a->parked[p] && (a->prot & PROT_WRITE)) {
			bad += page_check(addr_of(a, p), a->keys[p]);
			a->keys[p] = key_next_gen(a->keys[p]);
			page_fill(addr_of(a, p), a->keys[p]);
			ops++;
		}
		pthread_rwlock_unlock(&table_lock);
	}
	__atomic_fetch_add(&thread_ops, ops, __ATOMIC_RELAXED);
	__atomic_fetch_add(&thread_bad, bad, __ATOMIC_RELAXED);
	return NULL;
}

static void do_threads(uint64_t n)
{
	if (nthreads || !n || n > MAX_THREADS)
		fail("threads %lu", (unsigned long)n);
	stop_threads = false;
	thread_ops = thread_bad = 0;
	nthreads = n;
	for (uintptr_t i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, worker, (void *)i))
			fail("pthread_create");
	answer("threads n=%u", nthreads);
}

static void do_halt(void)
{
	__atomic_store_n(&stop_threads, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < nthreads; i++)
		pthread_join(threads[i], NULL);
	nthreads = 0;
	answer("halt bad=%lu ops=%lu", (unsigned long)thread_bad, (unsigned long)thread_ops);
}

static void do_park(struct area *a, char **save, bool parked)
{
	uint64_t first = number(save), n = number(save);

	check_range(a, first, n);
	pthread_rwlock_wrlock(&table_lock);
	memset(a->parked + first, parked, n);
	pthread_rwlock_unlock(&table_lock);
	answer("%s", parked ? "park" : "unpark");
}

/*
 * The last word of each page counts the writes to it.  An exchange tells what the page at that
 * address held in this very moment: the count before, or 0 in a fresh page, which means that the
 * page with the count before was taken away, and with exactly that count.
 */
static void *write_loop(void *arg)
{
	struct area *a = arg;

	while (!__atomic_load_n(&stop_writer, __ATOMIC_RELAXED))
		for (uint64_t p = 0; p < a->npages; p++) {
			uint64_t *word = (uint64_t *)addr_of(a, p) + PAGE_WORDS - 1;
			uint64_t now = written[p] + 1, old;

			old = __atomic_exchange_n(word, now, __ATOMIC_SEQ_CST);
			if (!old && written[p] && !moved_at[p])
				moved_at[p] = written[p];
			else if (old != written[p])
				__atomic_fetch_add(&victim_bad, 1, __ATOMIC_RELAXED);
			written[p] = now;
			writes++;
		}
	return NULL;
}

static void do_write(struct area *a)
{
	written = calloc(a->npages, sizeof(*written));
	moved_at = calloc(a->npages, sizeof(*moved_at));
	stop_writer = false;
	writes = 0;
	/* One round before the answer, so that every page has its count. */
	for (uint64_t p = 0; p < a->npages; p++)
		((uint64_t *)addr_of(a, p))[PAGE_WORDS - 1] = written[p] = 1;
	if (!written || !moved_at || pthread_create(&writer, NULL, write_loop, a))
		fail("write");
	answer("write");
}

static void do_unwrite(struct area *a, struct area *to)
{
	uint64_t bad, moved = 0;

	__atomic_store_n(&stop_writer, true, __ATOMIC_RELAXED);
	pthread_join(writer, NULL);
	bad = victim_bad;
	for (uint64_t p = 0; p < a->npages; p++) {
		uint64_t *at = (uint64_t *)addr_of(to, p), *old = (uint64_t *)addr_of(a, p);
		/* Moved, with or without a write to the old address since. */
		uint64_t want = moved_at[p] ? moved_at[p] : written[p];
		bool is_moved = moved_at[p] || !old[PAGE_WORDS - 1];

		moved += is_moved;
		if (is_moved && at[PAGE_WORDS - 1] != want)
			bad++;
		if (moved_at[p] && old[PAGE_WORDS - 1] != written[p])
			bad++;
		if (!is_moved && (old[PAGE_WORDS - 1] != written[p] || at[PAGE_WORDS - 1]))
			bad++;
		/* The rest of the page goes where its count goes. */
		for (unsigned int i = 0; is_moved && a->keys[p] && i < PAGE_WORDS - 1; i++)
			if (at[i] != page_word(a->keys[p], i) || old[i])
				bad++;
	}
	answer("unwrite bad=%lu moved=%lu writes=%lu", (unsigned long)bad, (unsigned long)moved,
	       (unsigned long)writes);
	free(written);
	free(moved_at);
}

static void *churn_loop(void *arg)
{
	struct area *a = arg;
	uint64_t bytes = a->npages * PAGE;

	while (!__atomic_load_n(&stop_churn, __ATOMIC_RELAXED)) {
		munmap(a->mem, bytes);
		if (mmap(a->mem, bytes, a->prot, a->flags | MAP_FIXED_NOREPLACE, -1, 0) != a->mem)
			fail("churn: %s", strerror(errno));
		churns++;
	}
	return NULL;
}

static void do_churn(struct area *a)
{
	stop_churn = false;
	churns = 0;
	memset(a->keys, 0, a->npages * sizeof(*a->keys));
	if (pthread_create(&churner, NULL, churn_loop, a))
		fail("churn");
	answer("churn");
}

static void do_unchurn(void)
{
	__atomic_store_n(&stop_churn, true, __ATOMIC_RELAXED);
	pthread_join(churner, NULL);
	answer("unchurn n=%lu", (unsigned long)churns);
}

/* ---- what keeps pages from being moved ---- */

static void do_fork(void)
{
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	if (child < 0)
		fail("fork: %s", strerror(errno));
	answer("fork pid=%d", child);
}

static void do_unfork(void)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	answer("unfork");
}

static void do_pin(struct area *a, uint64_t p)
{
	struct io_uring_params params = { 0 };
	struct iovec iov = { addr_of(a, p), PAGE };
	int error = 0;

	ring_fd = syscall(SYS_io_uring_setup, 1, &params);
	if (ring_fd < 0 ||
	    syscall(SYS_io_uring_register, ring_fd, IORING_REGISTER_BUFFERS, &iov, 1) < 0)
		error = errno;
	answer("pin error=%d", error);
}

static void do_unpin(void)
{
	if (ring_fd >= 0)
		syscall(SYS_io_uring_register, ring_fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	close(ring_fd);
	ring_fd = -1;
	answer("unpin");
}

static void do_watch(struct area *a)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)a->mem, a->npages * PAGE },
				       .mode = UFFDIO_REGISTER_MODE_WP };

	watch_fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (ioctl(watch_fd, UFFDIO_API, &api) || ioctl(watch_fd, UFFDIO_REGISTER, &reg))
		fail("userfaultfd: %s", strerror(errno));
	answer("watch");
}

/* ---- the other way to move ---- */

static void do_remap(struct area *from, struct area *to, uint64_t step)
{
	uint64_t bytes = from->npages * PAGE, t = now_ns(), at;

	for (at = 0; at < bytes; at += step)
		if (mremap(from->mem + at, step, step, MREMAP_MAYMOVE | MREMAP_FIXED, to->mem + at) ==
		    MAP_FAILED)
			fail("mremap: %s", strerror(errno));
	t = now_ns() - t;
	memcpy(to->keys, from->keys, from->npages * sizeof(*to->keys));
	memset(from->keys, 0, from->npages * sizeof(*to->keys));
	if (mmap(from->mem, bytes, from->prot, from->flags | MAP_FIXED, -1, 0) != from->mem)
		fail("mmap: %s", strerror(errno));
	answer("remap ns=%lu", (unsigned long)t);
}

static void advise(const char *name, struct area *a, uint64_t p, uint64_t n, int advice)
{
	int error;

	check_range(a, p, n);
	error = madvise(addr_of(a, p), n * PAGE, advice) ? errno : 0;
	if (!error && (advice == MADV_DONTNEED || advice == MADV_GUARD_INSTALL))
		memset(a->keys + p, 0, n * sizeof(*a->keys));
	answer("%s error=%d", name, error);
}

static void on_area(const char *name, struct area *a, char **save)
{
	if (!strcmp(name, "drop"))
		return do_drop(a);
	if (!strcmp(name, "fill"))
		return do_fill(a, save);
	if (!strcmp(name, "empty") || !strcmp(name, "pfns"))
		return do_pagemap(name, a, save);
	if (!strcmp(name, "hugekb"))
		return do_smaps(name, a, "AnonHugePages:");
	if (!strcmp(name, "ksmkb"))
		return do_smaps(name, a, "KSM:");
	if (!strcmp(name, "park") || !strcmp(name, "unpark"))
		return do_park(a, save, *name == 'p');
	if (!strcmp(name, "write"))
		return do_write(a);
	if (!strcmp(name, "unwrite"))
		return do_unwrite(a, area_of(strtok_r(NULL, " ", save)));
	if (!strcmp(name, "churn"))
		return do_churn(a);
	if (!strcmp(name, "pin"))
		return do_pin(a, number(save));
	if (!strcmp(name, "watch"))
		return do_watch(a);
	if (!strcmp(name, "split")) {
		uint64_t first = number(save);

		return advise(name, a, first, a->npages - first, MADV_DONTDUMP);
	}
	if (!strcmp(name, "merge")) {
		uint64_t first = number(save), n = number(save);

		check_range(a, first, n);
		memset(addr_of(a, first), 0x5a, n * PAGE);
		memset(a->keys + first, 0, n * sizeof(*a->keys));
		return advise(name, a, first, n, MADV_MERGEABLE);
	}
	if (!strcmp(name, "guard"))
		return advise(name, a, number(save), 1, MADV_GUARD_INSTALL);
	if (!strcmp(name, "discard")) {
		uint64_t first = number(save);

		return advise(name, a, first, number(save), MADV_DONTNEED);
	}
	if (!strcmp(name, "remap")) {
		struct area *to = area_of(strtok_r(NULL, " ", save));

		return do_remap(a, to, number(save));
	}
	if (!strcmp(name, "spoil")) {
		addr_of(a, number(save))[99] ^= 4;
		return answer("spoil");
	}
	fail("unknown command %s", name);
}

static void command(char *line)
{
	char *save = NULL, *name = strtok_r(line, " ", &save);

	if (!name)
		return answer("empty");
	if (!strcmp(name, "map"))
		return do_map(&save);
	if (!strcmp(name, "take"))
		return do_take(&save);
	if (!strcmp(name, "verify"))
		return do_verify();
	if (!strcmp(name, "threads"))
		return do_threads(number(&save));
	if (!strcmp(name, "halt"))
		return do_halt();
	if (!strcmp(name, "unchurn"))
		return do_unchurn();
	if (!strcmp(name, "fork"))
		return do_fork();
	if (!strcmp(name, "unfork"))
		return do_unfork();
	if (!strcmp(name, "unpin"))
		return do_unpin();
	if (!strcmp(name, "future"))
		return answer("future error=%d", mlockall(MCL_FUTURE) ? errno : 0);
	if (!strcmp(name, "unwatch")) {
		close(watch_fd);
		return answer("unwatch");
	}
	if (!strcmp(name, "exec")) {
		execlp("sleep", "sleep", "1000", NULL);
		fail("exec: %s", strerror(errno));
	}
	if (!strcmp(name, "exit"))
		_exit(victim_bad ? 1 : 0);
	on_area(name, area_of(strtok_r(NULL, " ", &save)), &save);
}

int main(int argc, char **argv)
{
	char line[512];

	if (argc != 2)
		fail("usage: victim_move DIR");
	victim_open(argv[1]);
	answer("ready pid=%d", getpid());
	for (;;) {
		victim_read(line, sizeof(line));
		command(line);
	}
}
