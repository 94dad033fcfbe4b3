/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * victim_events DIR [-r REGIONS] [-m MIB] [-b GIB]: changes its own address space on command.
 *
 *	-r REGIONS	regions 0.. of MIB MiB each, full of pattern pages, default 4
 *	-m MIB		default 16
 *	-b GIB		one more region of GIB GiB with a pattern page in every 1024
 *
 * R is a region, F its first page and C a count of pages.  Commands:
 *	verify			every page of every region (of the big one: data and neighbours)
 *	check R F C		those pages only
 *	rewrite R F C		next generation
 *	dontneed R F C		must read zeros from now on
 *	discard_rewrite R F C	dontneed, then the next generation
 *	free R F C		MADV_FREE: pattern or zeros
 *	unmap R F C		must fault, if nothing else is there
 *	move R F C		to a new address: a new region, whose number is in the answer
 *	move_over R F C R2 F2	mremap(MREMAP_FIXED) over other pages
 *	dontunmap R F C		mremap(MREMAP_DONTUNMAP): a new region, zeros in the old place
 *	grow R PAGES		mremap to that many more pages; those read zeros
 *	shrink R PAGES		mremap to that many fewer pages
 *	guard R F C		MADV_GUARD_INSTALL: access must fault
 *	unguard R F C		MADV_GUARD_REMOVE: what was a guard reads zeros
 *	wipeonfork R		children find zeros
 *	threads N		N new threads check all regions between them and end
 *	churn SEED N		N random ones of these, with checks, forks and moves there and back
 *	shuffle R N		all of R away and back again N times, with hardly a look at it
 *	fork SLOT		a child, which obeys what "child SLOT COMMAND" says and inherits slots
 *	child SLOT COMMAND	any command, done and answered by that child (or its child)
 *	reap			wait for one child that ended
 *	exec			the same program again in this process: answers "ready" again
 *	spoil R PAGE		change a bit, so that verify must complain
 *	exit			status 1 when any word was ever wrong
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "victim/victim.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define MAX_REGIONS 64
#define MAX_SLOTS 8
#define BIG_STRIDE 1024
#define MAX_MOVE_PAGES 512

struct region {
	char *at;
	uint64_t npages;
	uint64_t *keys;		/* one per page, room for twice as many */
	uint64_t stride;	/* above 1: only pages next to multiples of it are looked at */
	bool wipe;		/* MADV_WIPEONFORK */
};

static struct region regions[MAX_REGIONS];
static unsigned int nregions;
static int slot_pipe[MAX_SLOTS][2];
static char **start_argv;
static sigjmp_buf segv_jmp;
static volatile sig_atomic_t segv_expected;

/* Address space with a page to either side that nothing else is merged with. */
static char *reserve(uint64_t npages)
{
	char *p = mmap(NULL, (npages + 2) * PAGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		fail("address space for %lu pages: %s", npages, strerror(errno));
	return p + PAGE;
}

static unsigned int region_add(char *at, uint64_t npages, uint64_t stride)
{
	struct region *r = &regions[nregions];

	if (nregions == MAX_REGIONS)
		fail("too many regions");
	r->at = at;
	r->npages = npages;
	r->stride = stride;
	r->keys = mmap(NULL, 2 * npages * sizeof(*r->keys), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->keys == MAP_FAILED)
		fail("memory for keys");
	return nregions++;
}

static void region_new(uint64_t npages, uint64_t stride)
{
	char *at = reserve(npages);
	unsigned int id;
	struct region *r;

	if (mmap(at, npages * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != at)
		fail("region of %lu pages: %s", npages, strerror(errno));
	if (stride > 1)
		madvise(at, npages * PAGE, MADV_NOHUGEPAGE);
	id = region_add(at, npages, stride);
	r = &regions[id];
	for (uint64_t i = 0; i < npages; i++) {
		r->keys[i] = i % stride ? KEY_ZERO : key_make(id + 1, 1, i);
		if (i % stride == 0)
			page_fill(at + i * PAGE, r->keys[i]);
	}
}

static void on_segv(int sig, siginfo_t *si, void *ctx)
{
	(void)sig, (void)ctx;
	if (segv_expected)
		siglongjmp(segv_jmp, 1);
	answer("wrong: addr=%#lx fault where none belongs pid=%d", (unsigned long)si->si_addr,
	       getpid());
	_exit(96);
}

/* Return: whether reading @at faults. */
static bool faults(const volatile char *at)
{
	bool yes = true;

	segv_expected = 1;
	if (!sigsetjmp(segv_jmp, 1)) {
		(void)*at;
		yes = false;
	}
	segv_expected = 0;
	return yes;
}

static uint64_t check_page(const struct region *r, uint64_t page)
{
	const char *at = r->at + page * PAGE;

	if (r->keys[page] == KEY_GUARD) {
		if (faults(at))
			return 0;
		report_wrong((const uint64_t *)at, KEY_GUARD, KEY_GUARD, *(const uint64_t *)at);
		victim_bad++;
		return 1;
	}
	return page_check(at, r->keys[page]);
}

/* Return: wrong words in pages [first, first + count) of @r. */
static uint64_t check(const struct region *r, uint64_t first, uint64_t count)
{
	uint64_t bad = 0;

	for (uint64_t i = first; i < first + count; i++) {
		uint64_t in = i % r->stride;

		if (in <= 1 || in == r->stride - 1)
			bad += check_page(r, i);
	}
	return bad;
}

static uint64_t verify(void)
{
	uint64_t bad = 0;

	for (unsigned int i = 0; i < nregions; i++)
		bad += check(&regions[i], 0, regions[i].npages);
	return bad;
}

static void set_keys(struct region *r, uint64_t first, uint64_t count, uint64_t key)
{
	for (uint64_t i = first; i < first + count; i++)
		r->keys[i] = key;
}

static void advise(struct region *r, uint64_t first, uint64_t count, int advice)
{
	if (madvise(r->at + first * PAGE, count * PAGE, advice))
		fail("madvise %d: %s", advice, strerror(errno));
}

/* The key of what is written next to a page. */
static uint64_t key_after(const struct region *r, uint64_t page, uint64_t key)
{
	if (key & KEY_PATTERN)
		return key_next_gen(key & ~KEY_MAYBE_ZERO);
	/* What was discarded starts a life of its own, far from older generations. */
	return key_make(0x80 | (r - regions), 1000, page);
}

static void rewrite(struct region *r, uint64_t first, uint64_t count)
{
	for (uint64_t i = first; i < first + count; i++) {
		r->keys[i] = key_after(r, i, r->keys[i]);
		page_fill(r->at + i * PAGE, r->keys[i]);
	}
}

static void discard_rewrite(struct region *r, uint64_t first, uint64_t count)
{
	uint64_t old[MAX_MOVE_PAGES];

	for (uint64_t i = 0; i < count; i += MAX_MOVE_PAGES) {
		uint64_t n = count - i < MAX_MOVE_PAGES ? count - i : MAX_MOVE_PAGES;

		memcpy(old, r->keys + first + i, n * sizeof(old[0]));
		advise(r, first + i, n, MADV_DONTNEED);
		for (uint64_t j = 0; j < n; j++) {
			uint64_t page = first + i + j;

			r->keys[page] = key_after(r, page, old[j]);
			page_fill(r->at + page * PAGE, r->keys[page]);
		}
	}
}

/* mremap(2) of pages to @to, which must be mapped or reserved; keys are the caller's. */
static void move_pages_to(char *from, char *to, uint64_t count, int flags)
{
	if (mremap(from, count * PAGE, count * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) !=
	    to)
		fail("mremap: %s", strerror(errno));
}

static unsigned int move_to_new(struct region *r, uint64_t first, uint64_t count, int flags)
{
	char *to = reserve(count);
	unsigned int id = region_add(to, count, r->stride);

	memcpy(regions[id].keys, r->keys + first, count * sizeof(*r->keys));
	move_pages_to(r->at + first * PAGE, to, count, flags);
	set_keys(r, first, count, flags & MREMAP_DONTUNMAP ? KEY_ZERO : KEY_ABSENT);
	return id;
}

static void move_over(struct region *r, uint64_t first, uint64_t count, struct region *to,
		      uint64_t to_first)
{
	if (to_first > to->npages || count > to->npages - to_first)
		fail("move_over: beyond the end");
	memcpy(to->keys + to_first, r->keys + first, count * sizeof(*r->keys));
	move_pages_to(r->at + first * PAGE, to->at + to_first * PAGE, count, 0);
	set_keys(r, first, count, KEY_ABSENT);
}

static void resize(struct region *r, uint64_t npages)
{
	char *at;

	if (npages > 2 * r->npages)
		fail("grow: not beyond twice the size");
	at = mremap(r->at, r->npages * PAGE, npages * PAGE, MREMAP_MAYMOVE);
	if (at == MAP_FAILED)
		fail("mremap: %s", strerror(errno));
	r->at = at;
	if (npages > r->npages)
		set_keys(r, r->npages, npages - r->npages, KEY_ZERO);
	r->npages = npages;
}

static void *thread_verify(void *arg)
{
	uint64_t bad = 0;
	unsigned int nth = (uintptr_t)arg >> 16, of = (uintptr_t)arg & 0xffff;

	for (unsigned int i = nth; i < nregions; i += of)
		bad += check(&regions[i], 0, regions[i].npages);
	return (void *)(uintptr_t)bad;
}

static uint64_t threads(unsigned int n)
{
	pthread_t id[64];
	uint64_t bad = 0;

	if (n > 64)
		n = 64;
	for (unsigned int i = 0; i < n; i++)
		if (pthread_create(&id[i], NULL, thread_verify, (void *)(uintptr_t)(i << 16 | n)))
			fail("thread");
	for (unsigned int i = 0; i < n; i++) {
		void *ret;

		pthread_join(id[i], &ret);
		bad += (uintptr_t)ret;
	}
	return bad;
}

/* A child that looks at pages [first, first + count) and ends. Return: wrong words. */
static uint64_t fork_check(const struct region *r, uint64_t first, uint64_t count)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (!pid)
		_exit(check(r, first, count) != 0);
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid: %s", strerror(errno));
	return status != 0;
}

/* Are these pages all there, as memory that may be read and written? */
static bool plain(const struct region *r, uint64_t first, uint64_t count)
{
	for (uint64_t i = first; i < first + count; i++)
		if (r->keys[i] != KEY_ZERO && !(r->keys[i] & KEY_PATTERN))
			return false;
	return true;
}

/* Away and back, page by page: one page never lies in two VMAs, whatever happened before. */
static void move_there_and_back(struct region *r, uint64_t first, uint64_t count)
{
	char *away = reserve(count), *at = r->at + first * PAGE;

	for (uint64_t i = 0; i < count; i++)
		move_pages_to(at + i * PAGE, away + i * PAGE, 1, 0);
	for (uint64_t i = 0; i < count; i++)
		move_pages_to(away + i * PAGE, at + i * PAGE, 1, 0);
	munmap(away - PAGE, (count + 2) * PAGE);
}

/* Moving present pages takes its time, in which a placement may be about to look for its VMA. */
static void shuffle(struct region *r, uint64_t times)
{
	char *away = reserve(r->npages + 1);

	for (uint64_t i = 0; i < times; i++) {
		/* The drain follows what is read. */
		check_page(r, mix64(i) % r->npages);
		move_pages_to(r->at, away, r->npages, 0);
		check_page(&(struct region){ away, r->npages, r->keys, 1, false },
			   mix64(~i) % r->npages);
		move_pages_to(away, r->at, r->npages, 0);
	}
}

static uint64_t churn(uint64_t seed, uint64_t n)
{
	uint64_t bad = 0, x = seed << 32;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t rnd = mix64(++x), first, count;
		struct region *r = &regions[rnd % nregions];

		rnd = mix64(++x);
		count = 8 + rnd % 40;
		if (r->stride > 1 || r->npages <= count || r->wipe)
			continue;
		first = (rnd >> 8) % (r->npages - count);
		if (!plain(r, first, count))
			continue;
		bad += check(r, first, 1);
		switch ((rnd >> 40) % 12) {
		case 0:
			advise(r, first, count, MADV_DONTNEED);
			set_keys(r, first, count, KEY_ZERO);
			break;
		case 1:
		case 2:
			discard_rewrite(r, first, count);
			break;
		case 3:
			move_there_and_back(r, first, count % 8 + 1);
			break;
		case 4:
			bad += fork_check(r, first, count);
			break;
		case 5:
			rewrite(r, first, count);
			break;
		case 6:
			/* Anew in the same place. */
			if (munmap(r->at + first * PAGE, count * PAGE) ||
			    mmap(r->at + first * PAGE, count * PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
				 -1, 0) != r->at + first * PAGE)
				fail("unmap and map: %s", strerror(errno));
			set_keys(r, first, count, KEY_ZERO);
			break;
		default:
			break;
		}
		bad += check(r, first, count);
	}
	return bad;
}

/* After this only the system calls of a command wait for anybody, not the command's own memory. */
static void warm(void)
{
	volatile char stack[16 * PAGE];
	uint64_t n = 0;

	for (size_t i = 0; i < sizeof(stack); i += PAGE)
		stack[i] = 0;
	for (unsigned int i = 0; i < nregions; i++)
		for (uint64_t j = 0; j < regions[i].npages; j += PAGE / sizeof(uint64_t))
			n += *(volatile uint64_t *)&regions[i].keys[j] & 1;
	answer("warm %lu", n);
}

static void do_fork(unsigned int slot)
{
	pid_t pid;

	if (slot >= MAX_SLOTS)
		fail("slot");
	pid = fork();
	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (!pid) {
		victim_cmd_fd = slot_pipe[slot][0];
		return;
	}
	answer("fork pid=%d", pid);
}

static void do_reap(void)
{
	int status = 0;
	pid_t pid = wait(&status);

	answer("reap pid=%d status=%d signal=%d", pid, WEXITSTATUS(status),
	       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

/* Commands whose arguments are a region and pages. Return: false when @cmd is none of them. */
static bool do_pages(const char *cmd, const char *args)
{
	static const struct {
		const char *name;
		int advice;
		uint64_t key;
	} advices[] = {
		{ "dontneed", MADV_DONTNEED, KEY_ZERO },
		{ "guard", MADV_GUARD_INSTALL, KEY_GUARD },
		{ "unguard", MADV_GUARD_REMOVE, KEY_ZERO },
	};
	unsigned long ri = 0, first = 0, count = 0, r2 = 0, first2 = 0;
	int n = sscanf(args, "%lu %lu %lu %lu %lu", &ri, &first, &count, &r2, &first2);
	struct region *r = &regions[ri % MAX_REGIONS];

	if (n < 3)
		return false;
	if (ri >= nregions || r2 >= nregions || first > r->npages || count > r->npages - first)
		fail("%s %s: no such pages", cmd, args);
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		if (strcmp(cmd, advices[i].name))
			continue;
		advise(r, first, count, advices[i].advice);
		set_keys(r, first, count, advices[i].key);
		answer("%s pages=%lu", cmd, count);
		return true;
	}
	if (!strcmp(cmd, "check")) {
		answer("check bad=%lu pages=%lu", check(r, first, count), count);
	} else if (!strcmp(cmd, "rewrite")) {
		rewrite(r, first, count);
		answer("rewrite pages=%lu", count);
	} else if (!strcmp(cmd, "discard_rewrite")) {
		discard_rewrite(r, first, count);
		answer("discard_rewrite pages=%lu", count);
	} else if (!strcmp(cmd, "free")) {
		advise(r, first, count, MADV_FREE);
		for (uint64_t i = first; i < first + count; i++)
			if (r->keys[i] & KEY_PATTERN)
				r->keys[i] |= KEY_MAYBE_ZERO;
		answer("free pages=%lu", count);
	} else if (!strcmp(cmd, "unmap")) {
		if (munmap(r->at + first * PAGE, count * PAGE))
			fail("munmap: %s", strerror(errno));
		set_keys(r, first, count, KEY_ABSENT);
		answer("unmap pages=%lu", count);
	} else if (!strcmp(cmd, "move")) {
		answer("move region=%u", move_to_new(r, first, count, 0));
	} else if (!strcmp(cmd, "dontunmap")) {
		answer("dontunmap region=%u", move_to_new(r, first, count, MREMAP_DONTUNMAP));
	} else if (!strcmp(cmd, "move_over") && n == 5) {
		move_over(r, first, count, &regions[r2], first2);
		answer("move_over pages=%lu", count);
	} else {
		return false;
	}
	return true;
}

static bool do_region(const char *cmd, const char *args)
{
	unsigned long ri = 0, count = 0;
	int n = sscanf(args, "%lu %lu", &ri, &count);
	struct region *r = &regions[ri % MAX_REGIONS];

	if (n < 1 || ri >= nregions)
		return false;
	if (!strcmp(cmd, "grow") && n == 2) {
		resize(r, r->npages + count);
	} else if (!strcmp(cmd, "shrink") && n == 2 && count < r->npages) {
		resize(r, r->npages - count);
	} else if (!strcmp(cmd, "shuffle") && n == 2) {
		shuffle(r, count);
	} else if (!strcmp(cmd, "wipeonfork")) {
		advise(r, 0, r->npages, MADV_WIPEONFORK);
		r->wipe = true;
		answer("wipeonfork");
		return true;
	} else if (!strcmp(cmd, "wiped")) {
		/* For a child: what its parent marked before the fork. */
		set_keys(r, 0, r->npages, KEY_ZERO);
		answer("wiped");
		return true;
	} else if (!strcmp(cmd, "spoil") && n == 2 && count < r->npages) {
		r->at[count * PAGE + 100] ^= 1;
		answer("spoil");
		return true;
	} else {
		return false;
	}
	answer("%s pages=%lu", cmd, r->npages);
	return true;
}

static void obey(const char *cmd, const char *args)
{
	unsigned long a = 0, b = 0;
	int at = 0;

	if (!strcmp(cmd, "verify")) {
		answer("verify bad=%lu regions=%u pid=%d", verify(), nregions, getpid());
	} else if (!strcmp(cmd, "threads")) {
		answer("threads bad=%lu", threads(strtoul(args, NULL, 0)));
	} else if (!strcmp(cmd, "churn") && sscanf(args, "%lu %lu", &a, &b) == 2) {
		answer("churn bad=%lu", churn(a, b));
	} else if (!strcmp(cmd, "fork")) {
		do_fork(strtoul(args, NULL, 0));
	} else if (!strcmp(cmd, "child") && sscanf(args, "%lu %n", &a, &at) == 1 && at &&
		   a < MAX_SLOTS) {
		dprintf(slot_pipe[a][1], "%s\n", args + at);	/* the child answers */
	} else if (!strcmp(cmd, "reap")) {
		do_reap();
	} else if (!strcmp(cmd, "warm")) {
		warm();
	} else if (!strcmp(cmd, "ping")) {
		answer("ping pid=%d", getpid());
	} else if (!strcmp(cmd, "exec")) {
		for (int fd = 3; fd < 64; fd++)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
		execv("/proc/self/exe", start_argv);
		fail("exec: %s", strerror(errno));
	} else if (!strcmp(cmd, "exit")) {
		answer("exit bad=%lu", victim_bad);
		exit(victim_bad != 0);
	} else if (!do_pages(cmd, args) && !do_region(cmd, args)) {
		answer("unknown %s %s", cmd, args);
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_NODEFER };
	uint64_t n = 4, mib = 16, gib = 0;
	int opt;

	start_argv = argv;
	while ((opt = getopt(argc, argv, "r:m:b:")) != -1) {
		uint64_t *to = opt == 'r' ? &n : opt == 'm' ? &mib : opt == 'b' ? &gib : NULL;

		if (to)
			*to = strtoul(optarg, NULL, 0);
		else
			optind = argc + 1;
	}
	if (optind != argc - 1 || n > 16 || !mib) {
		fputs("usage: victim_events DIR [-r REGIONS] [-m MIB] [-b GIB]\n", stderr);
		return 2;
	}
	victim_open(argv[optind]);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	for (unsigned int i = 0; i < MAX_SLOTS; i++)
		if (pipe(slot_pipe[i]))
			fail("pipe: %s", strerror(errno));
	for (unsigned int i = 0; i < n; i++)
		region_new(mib * MIB / PAGE, 1);
	if (gib)
		region_new(gib * 1024 * MIB / PAGE, BIG_STRIDE);
	answer("ready pid=%d regions=%u", getpid(), nregions);
	for (;;) {
		char line[256], *args;

		victim_read(line, sizeof(line));
		victim_reports = 0;
		args = line + strcspn(line, " ");
		if (*args)
			*args++ = 0;
		obey(line, args);
	}
}
