// SPDX-License-Identifier: GPL-2.0-only
/*
 * victim: the process that the benchmarks dump and restore, and the stop-watch inside it.
 *
 * Theory of operation
 *
 * `victim fill DIR PAGES RUN GAP [huge]` maps private anonymous memory of PAGES populated pages in
 * runs of RUN pages with GAP untouched pages after each run, so that GAP > 0 gives PAGES / RUN
 * extents in the images; with "huge" it is aligned and advised to have huge pages.  Each 8-byte word
 * holds a value made from its page and its place.  Then it creates
 * DIR/ready and waits to be dumped.
 *
 * Everything that the victim itself needs (text, stack, the random order of pages, the latencies)
 * is touched and mlocked before the data is mapped: criu restores locked areas before it resumes
 * the task, so the data is all that is lazy and no fault of the victim's own enters a figure.
 *
 * It waits in rt_sigtimedwait(), which has no restart: a task that was dumped in it comes back with
 * EINTR at its first instruction after the restore.  So the work starts upon resume, without a
 * message from outside.  What to do stands in DIR/job, read at that moment:
 *
 *	idle					nothing
 *	touch COUNT EVERY_NS SEED spin|sleep	first touches of random pages, one every EVERY_NS
 *	storm SEED				one pass over all pages in random order
 *	reads COUNT SEED			nothing; random words once all is in, see below
 *
 * After the job it waits for SIGUSR1, makes the random reads if that is the job, compares every byte
 * of the data (and that the gaps read zero), writes DIR/report with one "key=value" a line and exits:
 *
 *	resumed_real		when the task ran again, ns of CLOCK_REALTIME, the clock that it
 *				shares with others: criu gives it a time namespace of its own
 *	resumed begin end	when the task ran again, when the job began and ended, ns of
 *				CLOCK_MONOTONIC
 *	touches slow		touches made, and those of more than SLOW_NS
 *	p50 p99 max sum		of the slow ones, ns
 *	reads			what the random reads took, ns
 *	huge			bytes of the data that huge pages map, before the comparison
 *	children		CPU time of children that ended: an agent's, ns
 *	bad			words that differ, over the touches and the comparison
 *
 * `victim prewarm MIB` touches that much memory and exits: a virtual machine that has reported
 * free pages to its host pays for them again at the next use, which is no property of a pager.
 *
 * `victim read FILE REPORT` reads the file into fresh huge memory, 2 MiB a call, and reports how long
 * that took: nobody who puts the same bytes into huge pages by copying can be much faster.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLOW_NS 4000
#define MAX_TOUCHES 65536
#define HUGE (2ul << 20)
#define WORDS_MAX 8192 /* 64 KiB pages */

static uint8_t *data;
static uint64_t npages, run_npages, gap_npages;
static bool want_huge;
static size_t page_size, words;
static uint32_t *order;
static uint64_t slow_ns[MAX_TOUCHES];
static uint64_t word_key[WORDS_MAX];
static char text[4096];
static char dir[1024];

static void die(const char *what)
{
	dprintf(STDERR_FILENO, "victim: %s: %s\n", what, strerror(errno));
	_exit(2);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * 0x2545f4914f6cdd1dULL;
}

static volatile uint64_t *page_addr(uint64_t page)
{
	uint64_t run = page / run_npages;

	return (volatile uint64_t *)(data + (page + run * gap_npages) * page_size);
}

static uint64_t page_key(uint64_t page)
{
	return (page + 1) * 0x9e3779b97f4a7c15ULL;
}

static void fill(void)
{
	for (uint64_t page = 0; page < npages; page++) {
		uint64_t *at = (uint64_t *)page_addr(page);
		uint64_t key = page_key(page);

		for (size_t w = 0; w < words; w++)
			at[w] = key ^ word_key[w];
	}
}

/* Return: words that differ, in populated pages and in gaps. */
static uint64_t compare(void)
{
	uint64_t bad = 0;

	for (uint64_t page = 0; page < npages; page++) {
		const uint64_t *at = (const uint64_t *)page_addr(page);
		uint64_t key = page_key(page), differ = 0;

		for (size_t w = 0; w < words; w++)
			differ |= at[w] ^ key ^ word_key[w];
		if (differ)
			for (size_t w = 0; w < words; w++)
				bad += at[w] != (key ^ word_key[w]);
		if (!gap_npages || (page + 1) % run_npages)
			continue;
		at += words;
		for (uint64_t w = 0; w < gap_npages * words; w++)
			bad += at[w] != 0;
	}
	return bad;
}

/* In place and without malloc, unlike qsort(). */
static void sort_slow(uint64_t *v, size_t n)
{
	for (size_t gap = n / 2; gap; gap /= 2)
		for (size_t i = gap; i < n; i++)
			for (size_t j = i; j >= gap && v[j - gap] > v[j]; j -= gap) {
				uint64_t t = v[j];

				v[j] = v[j - gap];
				v[j - gap] = t;
			}
}

static uint64_t percentile(const uint64_t *v, size_t n, unsigned int percent)
{
	return n ? v[(n - 1) * percent / 100] : 0;
}

struct job {
	char name[16], pace[16];
	uint64_t count, every_ns, seed;
	uint64_t resumed_real, resumed, begin, end;
	uint64_t touches, slow, max, sum, bad, huge, reads;
};

/* Return: false when there is no job (the dump failed and the task runs on). */
static bool job_read(struct job *job)
{
	char path[sizeof(dir) + 8];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/job", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = 0;
	if (sscanf(text, "touch %lu %lu %lu %15s", &job->count, &job->every_ns, &job->seed,
		   job->pace) == 4)
		strcpy(job->name, "touch");
	else if (sscanf(text, "storm %lu", &job->seed) == 1)
		strcpy(job->name, "storm");
	else if (sscanf(text, "reads %lu %lu", &job->count, &job->seed) == 2)
		strcpy(job->name, "reads");
	else
		strcpy(job->name, "idle");
	if (job->count > MAX_TOUCHES)
		job->count = MAX_TOUCHES;
	return true;
}

static void wait_until(uint64_t when, bool sleeps)
{
	struct timespec ts = { .tv_sec = (time_t)(when / 1000000000),
			       .tv_nsec = (long)(when % 1000000000) };

	if (sleeps)
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	else
		while (now_ns() < when)
			;
}

static void job_touch(struct job *job)
{
	bool sleeps = !strcmp(job->pace, "sleep");
	uint64_t due = now_ns();

	for (uint64_t i = 0; i < job->count && i < npages; i++) {
		uint64_t page = order[(job->seed + i) % npages];
		size_t w = page % words;
		volatile uint64_t *at = page_addr(page) + w;
		uint64_t t0, t1, value;

		wait_until(due, sleeps);
		t0 = now_ns();
		value = *at;
		t1 = now_ns();
		job->touches++;
		job->bad += value != (page_key(page) ^ word_key[w]);
		if (t1 - t0 > SLOW_NS) {
			slow_ns[job->slow++] = t1 - t0;
			job->sum += t1 - t0;
			if (t1 - t0 > job->max)
				job->max = t1 - t0;
		}
		/* A touch that waited long does not make a burst of the ones after it. */
		due += job->every_ns;
		if (due < t1)
			due = t1 + job->every_ns;
	}
}

static void job_storm(struct job *job)
{
	for (uint64_t i = 0; i < npages; i++) {
		uint64_t page = order[(job->seed + i) % npages];
		size_t w = page % words;

		job->bad += page_addr(page)[w] != (page_key(page) ^ word_key[w]);
		job->touches++;
	}
}

/* Bytes of the data that huge pages map. */
static uint64_t huge_bytes(void)
{
	uint64_t end = (uintptr_t)data + npages * page_size, sum = 0;
	unsigned long from = 0, start, to, kb;
	char line[256];
	FILE *f = fopen("/proc/self/smaps", "re");

	if (!f)
		die("/proc/self/smaps");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &to) == 2) {
			from = start;
			continue;
		}
		if (from >= (uintptr_t)data && from < end &&
		    sscanf(line, "AnonHugePages: %lu kB", &kb) == 1)
			sum += kb << 10;
	}
	fclose(f);
	return sum;
}

/* Each address depends on the word read before, so that the reads wait for each other. */
static void job_reads(struct job *job)
{
	uint64_t x = job->seed | 1, start = now_ns();

	for (uint64_t i = 0; i < job->count; i++) {
		uint64_t page, word;

		x = x * 6364136223846793005ul + 1442695040888963407ul;
		page = (x >> 20) % npages;
		word = page_addr(page)[(x >> 11) % words];
		x ^= word & 1;
	}
	job->reads = now_ns() - start;
	/* The chain must not be thought away. */
	job->seed = x;
}

static void report(struct job *job)
{
	struct rusage children;

	char tmp[sizeof(dir) + 16], path[sizeof(dir) + 16];
	int fd, n;

	getrusage(RUSAGE_CHILDREN, &children);
	sort_slow(slow_ns, job->slow);
	n = snprintf(
		text, sizeof(text),
		"job=%s\nresumed_real=%lu\nresumed=%lu\nbegin=%lu\nend=%lu\ntouches=%lu\nslow=%lu\n"
		"p50=%lu\np99=%lu\nmax=%lu\nsum=%lu\nbad=%lu\nhuge=%lu\nreads=%lu\nchildren=%lu\n",
		job->name, job->resumed_real, job->resumed, job->begin, job->end, job->touches,
		job->slow, percentile(slow_ns, job->slow, 50), percentile(slow_ns, job->slow, 99),
		job->max, job->sum, job->bad, job->huge, job->reads,
		(children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1000000000ul +
			(children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1000ul);
	snprintf(tmp, sizeof(tmp), "%s/report.tmp", dir);
	snprintf(path, sizeof(path), "%s/report", dir);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, (size_t)n) != n || close(fd) || rename(tmp, path))
		die(path);
}

static void *locked_area(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (at == MAP_FAILED)
		die("mmap");
	return at;
}

static void setup(void)
{
	uint64_t span = npages + npages / run_npages * gap_npages;
	uint64_t state = 0x5eed;

	order = locked_area(npages * sizeof(*order));
	for (uint64_t i = 0; i < npages; i++)
		order[i] = (uint32_t)i;
	for (uint64_t i = npages - 1; i; i--) {
		uint64_t j = random_next(&state) % (i + 1);
		uint32_t t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
	for (size_t w = 0; w < words; w++)
		word_key[w] = (w + 1) * 0xd1b54a32d192ed03ULL;
	if (mlockall(MCL_CURRENT))
		die("mlockall");

	data = mmap(NULL, span * page_size + HUGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (data == MAP_FAILED)
		die("mmap");
	data += -(uintptr_t)data % HUGE;
	if (want_huge && madvise(data, span * page_size, MADV_HUGEPAGE))
		die("madvise");
	if (gap_npages)
		madvise(data, span * page_size, MADV_NOHUGEPAGE);
	fill();
}

static int serve(void)
{
	char path[sizeof(dir) + 8];
	struct job job = { 0 };
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	setup();
	snprintf(path, sizeof(path), "%s/ready", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || close(fd))
		die(path);

	do {
		/* The raw call: a library may loop over EINTR. */
		if (syscall(SYS_rt_sigtimedwait, &set, NULL, NULL, 8) >= 0)
			_exit(3);
		job.resumed_real = clock_ns(CLOCK_REALTIME);
		job.resumed = now_ns();
	} while (!job_read(&job));

	job.begin = now_ns();
	if (!strcmp(job.name, "touch"))
		job_touch(&job);
	else if (!strcmp(job.name, "storm"))
		job_storm(&job);
	job.end = now_ns();

	while (syscall(SYS_rt_sigtimedwait, &set, NULL, NULL, 8) != SIGUSR1)
		;
	job.huge = huge_bytes();
	if (!strcmp(job.name, "reads"))
		job_reads(&job);
	job.bad += compare();
	report(&job);
	return job.bad ? 1 : 0;
}

static int prewarm(uint64_t mib)
{
	size_t size = mib << 20;
	volatile uint8_t *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		die("mmap");
	madvise((void *)at, size, MADV_HUGEPAGE);
	for (size_t i = 0; i < size; i += page_size)
		at[i] = 1;
	return 0;
}

static int read_all(const char *path, const char *to)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), out;
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END), done = 0;
	uint64_t begin;
	char *at;

	if (size <= 0 || lseek(fd, 0, SEEK_SET))
		die(path);
	at = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		die("mmap");
	at += -(uintptr_t)at % HUGE;
	if (madvise(at, size, MADV_HUGEPAGE))
		die("madvise");
	begin = now_ns();
	while (done < size) {
		ssize_t n = read(fd, at + done, HUGE);

		if (n <= 0)
			die(path);
		done += n;
	}
	begin = now_ns() - begin;
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out < 0 || dprintf(out, "read=%lu\n", begin) < 0)
		die(to);
	return 0;
}

int main(int argc, char **argv)
{
	page_size = (size_t)sysconf(_SC_PAGESIZE);
	words = page_size / sizeof(uint64_t);
	if (argc == 3 && !strcmp(argv[1], "prewarm"))
		return prewarm(strtoull(argv[2], NULL, 10));
	if (argc == 4 && !strcmp(argv[1], "read"))
		return read_all(argv[2], argv[3]);
	want_huge = argc == 7 && !strcmp(argv[6], "huge");
	if ((argc != 6 && !want_huge) || strcmp(argv[1], "fill") || words > WORDS_MAX)
		goto usage;
	snprintf(dir, sizeof(dir), "%s", argv[2]);
	npages = strtoull(argv[3], NULL, 10);
	run_npages = strtoull(argv[4], NULL, 10);
	gap_npages = strtoull(argv[5], NULL, 10);
	if (npages && run_npages && npages <= UINT32_MAX)
		return serve();
usage:
	dprintf(STDERR_FILENO, "usage: victim fill DIR PAGES RUN GAP [huge] | victim prewarm MIB |\n"
			       "       victim read FILE REPORT\n");
	return 2;
}
