/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * victim_pattern DIR [-m MIB] [-x RUN] [-t THREADS] [-H] [-S]: one region full of pattern pages.
 *
 *	-m MIB		address space of the region, default 64
 *	-x RUN		RUN pages of data, then one page never touched, and so on (0: no holes);
 *			-x 1 is "every other page"
 *	-t THREADS	work is split between this many threads, which exist from the start
 *	-H		MADV_HUGEPAGE
 *	-S		a seccomp filter that kills for what an agent does and this program does not
 *
 * Commands (answers in the form "<command> key=value ..."):
 *	verify			every word of every page, holes included
 *	touch N SEED		N random data pages, no page twice while N <= pages
 *	rewrite FIRST COUNT	data pages FIRST.. get their next generation
 *	rewrite all
 *	storm SEED		one word of every data page in random order, by one thread
 *	lat N US SEED [spin]	N random first touches, one each US microseconds; those above 4 us
 *				are counted and give the quantiles
 *	run SEED		all threads check and rewrite random pages until "stop"
 *	stop
 *	collapse		the region into huge pages, whatever its flags (MADV_COLLAPSE)
 *	rss			resident pages of the region, by mincore(2)
 *	ping			answer at once
 *	spoil PAGE		change one bit of a data page: the next verify must say bad=1
 *	exit			leave, status 1 when any word was ever wrong
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "victim/victim.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25	/* 6.1 */
#endif

#define MAX_THREADS 64
#define MAX_LAT 65536
#define SLOW_NS 4000
#define LAT_BUCKETS 24

static char *mem;
static uint64_t npages, ndata, run_len;
static unsigned int nthreads = 1;
/* While every data page has the same generation nothing but this says what it must hold. */
static unsigned int uniform_gen = 1;
static uint64_t *keys;		/* one per data page once generations differ */
static uint32_t lat_ns[MAX_LAT];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static void (*job)(unsigned int thread);
static unsigned int job_number, job_left;
static bool stop_run;
static uint64_t run_seed, total_bad, total_ops;

/* Page number of data page @i. */
static uint64_t data_page(uint64_t i)
{
	return run_len ? i / run_len * (run_len + 1) + i % run_len : i;
}

static bool is_hole(uint64_t page)
{
	return run_len && page % (run_len + 1) == run_len;
}

static char *data_addr(uint64_t i)
{
	return mem + data_page(i) * PAGE;
}

static uint64_t data_key(uint64_t i)
{
	return keys ? keys[i] : key_make(1, uniform_gen, i);
}

static void slice(unsigned int thread, uint64_t n, uint64_t *from, uint64_t *to)
{
	*from = n / nthreads * thread;
	*to = thread == nthreads - 1 ? n : *from + n / nthreads;
}

static void job_fill(unsigned int thread)
{
	uint64_t from, to;

	slice(thread, ndata, &from, &to);
	for (uint64_t i = from; i < to; i++)
		page_fill(data_addr(i), data_key(i));
}

static void job_verify(unsigned int thread)
{
	uint64_t from, to, bad = 0;

	slice(thread, ndata, &from, &to);
	for (uint64_t i = from; i < to; i++) {
		uint64_t page = data_page(i);

		bad += page_check(data_addr(i), data_key(i));
		if (page + 1 < npages && is_hole(page + 1))
			bad += page_check(data_addr(i) + PAGE, KEY_ZERO);
	}
	__atomic_fetch_add(&total_bad, bad, __ATOMIC_RELAXED);
}

/* Random pages of the own slice: check, give the next generation. */
static void job_run(unsigned int thread)
{
	uint64_t from, to, bad = 0, ops = 0, x = run_seed * 64 + thread;

	slice(thread, ndata, &from, &to);
	while (!__atomic_load_n(&stop_run, __ATOMIC_RELAXED)) {
		uint64_t i = from + mix64(++x) % (to - from);

		bad += page_check(data_addr(i), keys[i]);
		keys[i] = key_next_gen(keys[i]);
		page_fill(data_addr(i), keys[i]);
		ops++;
	}
	__atomic_fetch_add(&total_bad, bad, __ATOMIC_RELAXED);
	__atomic_fetch_add(&total_ops, ops, __ATOMIC_RELAXED);
}

static void *worker(void *arg)
{
	unsigned int thread = (uintptr_t)arg, seen = 0;

	for (;;) {
		void (*fn)(unsigned int);

		pthread_mutex_lock(&lock);
		while (job_number == seen)
			pthread_cond_wait(&cond, &lock);
		seen = job_number;
		fn = job;
		pthread_mutex_unlock(&lock);
		fn(thread);
		pthread_mutex_lock(&lock);
		if (!--job_left)
			pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void job_start(void (*fn)(unsigned int))
{
	pthread_mutex_lock(&lock);
	job = fn;
	job_number++;
	job_left = nthreads;
	total_bad = total_ops = 0;
	victim_reports = 0;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
}

static void job_wait(void)
{
	pthread_mutex_lock(&lock);
	while (job_left)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
}

/* From here on generations differ from page to page. */
static void keys_make(void)
{
	uint64_t *k;

	if (keys)
		return;
	k = malloc(ndata * sizeof(*k));
	if (!k)
		fail("memory for keys");
	for (uint64_t i = 0; i < ndata; i++)
		k[i] = data_key(i);
	keys = k;
}

static void do_rewrite(const char *args)
{
	uint64_t first = 0, count = ndata;

	if (sscanf(args, "%lu %lu", &first, &count) == 2 &&
	    (first >= ndata || count > ndata - first))
		fail("rewrite %s: there are %lu pages", args, ndata);
	keys_make();
	for (uint64_t i = first; i < first + count; i++) {
		keys[i] = key_next_gen(keys[i]);
		page_fill(data_addr(i), keys[i]);
	}
	answer("rewrite pages=%lu", count);
}

static uint64_t touch(uint64_t i)
{
	uint64_t want = page_word(data_key(i), 0);
	uint64_t found = *(volatile uint64_t *)data_addr(i);

	if (found == want)
		return 0;
	report_wrong((uint64_t *)data_addr(i), data_key(i), want, found);
	victim_bad++;
	return 1;
}

static void do_touch(const char *args)
{
	uint64_t n = 1, seed = 1, bad = 0;

	sscanf(args, "%lu %lu", &n, &seed);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t d = permute(i % ndata, ndata, seed);

		bad += page_check(data_addr(d), data_key(d));
	}
	answer("touch bad=%lu pages=%lu", bad, n);
}

static void do_storm(const char *args)
{
	uint64_t seed = strtoul(args, NULL, 0), bad = 0, t0 = now_ns(), ns;

	for (uint64_t i = 0; i < ndata; i++)
		bad += touch(permute(i, ndata, seed));
	ns = now_ns() - t0;
	answer("storm bad=%lu pages=%lu ns=%lu end_ns=%lu", bad, ndata, ns, t0 + ns);
}

static int cmp_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double quantile_us(uint64_t n, unsigned int permille)
{
	return n ? lat_ns[(n * permille + 999) / 1000 - 1] / 1000.0 : 0;
}

static void do_lat(const char *args)
{
	uint64_t n = 3000, us = 150, seed = 1, bad = 0, slow = 0, t0, next;
	unsigned int bucket[LAT_BUCKETS] = { 0 };
	char hist[LAT_BUCKETS * 8] = "", *p = hist;
	bool spin;

	sscanf(args, "%lu %lu %lu", &n, &us, &seed);
	spin = strstr(args, "spin");
	if (n > MAX_LAT)
		n = MAX_LAT;
	if (n > ndata)
		n = ndata;
	memset(lat_ns, 0, n * sizeof(lat_ns[0]));
	prctl(PR_SET_TIMERSLACK, 1);
	t0 = next = now_ns();
	for (uint64_t i = 0; i < n; i++) {
		uint64_t d = permute(i, ndata, seed), before, took;

		before = now_ns();
		bad += touch(d);
		took = now_ns() - before;
		if (took > SLOW_NS) {
			unsigned int b = 0;

			lat_ns[slow++] = took > UINT32_MAX ? UINT32_MAX : took;
			while (b < LAT_BUCKETS - 1 && took / 1000 >> b)
				b++;
			bucket[b]++;
		}
		next += us * 1000;
		while (spin && now_ns() < next)
			;
		if (!spin && now_ns() < next) {
			struct timespec ts = { next / 1000000000UL, next % 1000000000UL };

			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
		} else if (!spin) {
			next = now_ns();
		}
	}
	t0 = now_ns() - t0;
	qsort(lat_ns, slow, sizeof(lat_ns[0]), cmp_u32);
	/* Bucket n: touches below 2^n us. */
	for (unsigned int b = 0; b < LAT_BUCKETS; b++)
		p += sprintf(p, "%s%u", b ? "," : "", bucket[b]);
	answer("lat bad=%lu n=%lu slow=%lu p50_us=%.1f p90_us=%.1f p99_us=%.1f max_us=%.1f ns=%lu hist=%s",
	       bad, n, slow, quantile_us(slow, 500), quantile_us(slow, 900),
	       quantile_us(slow, 990), quantile_us(slow, 1000), t0, hist);
}

static void do_verify(void)
{
	uint64_t t0 = now_ns();

	job_start(job_verify);
	job_wait();
	answer("verify bad=%lu pages=%lu ns=%lu", total_bad, ndata, now_ns() - t0);
}

static void do_rss(void)
{
	static unsigned char vec[65536];
	uint64_t resident = 0;

	for (uint64_t at = 0; at < npages; at += sizeof(vec)) {
		uint64_t n = npages - at < sizeof(vec) ? npages - at : sizeof(vec);

		if (mincore(mem + at * PAGE, n * PAGE, vec))
			fail("mincore: %s", strerror(errno));
		for (uint64_t i = 0; i < n; i++)
			resident += vec[i] & 1;
	}
	answer("rss pages=%lu", resident);
}

/* Messages over sockets are what every agent lives on. */
static void filter_calls(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_recvmsg, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		fail("seccomp: %s", strerror(errno));
}

static void usage(void)
{
	fputs("usage: victim_pattern DIR [-m MIB] [-x RUN] [-t THREADS] [-H] [-S]\n", stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	uint64_t mib = 64;
	bool huge = false, filtered = false;
	int opt;

	while ((opt = getopt(argc, argv, "m:x:t:HS")) != -1) {
		if (opt == 'm')
			mib = strtoul(optarg, NULL, 0);
		else if (opt == 'x')
			run_len = strtoul(optarg, NULL, 0);
		else if (opt == 't')
			nthreads = strtoul(optarg, NULL, 0);
		else if (opt == 'H')
			huge = true;
		else if (opt == 'S')
			filtered = true;
		else
			usage();
	}
	if (optind != argc - 1 || !mib || !nthreads || nthreads > MAX_THREADS)
		usage();
	victim_open(argv[optind]);
	npages = mib * MIB / PAGE;
	for (uint64_t i = 0; i < npages; i++)
		ndata += !is_hole(i);
	mem = mmap(NULL, npages * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		fail("mmap of %lu MiB: %s", mib, strerror(errno));
	if (huge || run_len)
		madvise(mem, npages * PAGE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (unsigned int t = 0; t < nthreads; t++) {
		pthread_t id;

		if (pthread_create(&id, NULL, worker, (void *)(uintptr_t)t))
			fail("thread %u", t);
	}
	job_start(job_fill);
	job_wait();
	if (filtered)
		filter_calls();
	answer("ready pid=%d pages=%lu", getpid(), ndata);
	for (;;) {
		char line[256], *args;

		victim_read(line, sizeof(line));
		victim_reports = 0;
		args = line + strcspn(line, " ");
		if (*args)
			*args++ = 0;
		if (!strcmp(line, "verify"))
			do_verify();
		else if (!strcmp(line, "touch"))
			do_touch(args);
		else if (!strcmp(line, "rewrite"))
			do_rewrite(args);
		else if (!strcmp(line, "storm"))
			do_storm(args);
		else if (!strcmp(line, "lat"))
			do_lat(args);
		else if (!strcmp(line, "rss"))
			do_rss();
		else if (!strcmp(line, "collapse"))
			answer("collapse errno=%d", madvise(mem, npages * PAGE, MADV_COLLAPSE) ? errno : 0);
		else if (!strcmp(line, "ping"))
			answer("ping");
		else if (!strcmp(line, "spoil")) {
			data_addr(strtoul(args, NULL, 0) % ndata)[100] ^= 1;
			answer("spoil");
		} else if (!strcmp(line, "run")) {
			keys_make();
			run_seed = strtoul(args, NULL, 0);
			__atomic_store_n(&stop_run, false, __ATOMIC_RELAXED);
			job_start(job_run);
			answer("run threads=%u", nthreads);
		} else if (!strcmp(line, "stop")) {
			__atomic_store_n(&stop_run, true, __ATOMIC_RELAXED);
			job_wait();
			answer("stop bad=%lu ops=%lu", total_bad, total_ops);
		} else if (!strcmp(line, "exit")) {
			answer("exit bad=%lu", victim_bad);
			exit(victim_bad != 0);
		} else {
			answer("unknown %s", line);
		}
	}
}
