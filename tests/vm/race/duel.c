// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two calls at the same time on the same pages; then each page is looked for.
 *
 * A bout: the areas are set up, both sides are let go at once, each makes its call, and the
 * referee, alone again, counts.  How long one side waits before its call is drawn anew each time,
 * so that each call has its chance of being in the middle of the other.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "race.h"

#define N	64	/* pages of a bout */

struct bout {
	int uffd;
	char *src, *src2, *dst, *dst2;	/* N pages each, dst and dst2 registered */
	size_t n;			/* pages of this bout */
	int kind;			/* drawn */
	int ret[2];
	int64_t moved[2];
};

typedef void (*side_fn)(struct bout *b);

struct corner {
	pthread_t id;
	struct bout *b;
	side_fn fight;
	pthread_barrier_t *begin, *end;
	unsigned int *ready, *wait;
	bool *stop;
	int cpu;
};

static void *corner_main(void *arg)
{
	struct corner *c = arg;
	cpu_set_t set;
	unsigned int i;

	CPU_ZERO(&set);
	CPU_SET(c->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (;;) {
		pthread_barrier_wait(c->begin);
		if (*c->stop)
			return NULL;
		/* Both are awake, each on its CPU, before either goes on. */
		__atomic_sub_fetch(c->ready, 1, __ATOMIC_ACQ_REL);
		while (__atomic_load_n(c->ready, __ATOMIC_ACQUIRE))
			sched_yield();
		for (i = 0; i < *c->wait; i++)
			__atomic_signal_fence(__ATOMIC_SEQ_CST);
		c->fight(c->b);
		pthread_barrier_wait(c->end);
	}
}

static void register_dst(struct bout *b)
{
	uffd_add(b->uffd, b->dst, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	uffd_add(b->uffd, b->dst2, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
}

static void look_around(struct bout *b);

/* Bouts until the round's time is up. */
static void duel(side_fn left, side_fn right, void (*judge)(struct bout *b), bool second)
{
	struct bout b = { .uffd = uffd_new(0) };
	unsigned int ready, wait[2];
	pthread_barrier_t begin, finish;
	struct corner c[2];
	bool stop = false;
	long end = now_ms() + round_now->ms;
	struct rnd r;
	size_t i;

	rnd_seed(&r, round_now->seed);
	b.src = area_new(N * PAGE, false);
	b.src2 = area_new(N * PAGE, false);
	b.dst = area_new(N * PAGE, false);
	b.dst2 = area_new(N * PAGE, false);
	register_dst(&b);
	pthread_barrier_init(&begin, NULL, 3);
	pthread_barrier_init(&finish, NULL, 3);
	for (i = 0; i < 2; i++) {
		c[i] = (struct corner){
			.b = &b, .fight = i ? right : left, .begin = &begin, .end = &finish,
			.ready = &ready, .wait = &wait[i], .stop = &stop, .cpu = i,
		};
		if (pthread_create(&c[i].id, NULL, corner_main, &c[i]))
			wrong("pthread_create");
	}
	while (now_ms() < end) {
		b.n = 1 + rnd_below(&r, N);
		b.kind = rnd_next(&r) % 1000;
		for (i = 0; i < b.n; i++) {
			page_fill(b.src + i * PAGE, i, 1);
			if (second)
				page_fill(b.src2 + i * PAGE, i, 2);
		}
		wait[0] = rnd_below(&r, 2) ? 0 : rnd_below(&r, 3000);
		wait[1] = rnd_below(&r, 2) ? 0 : rnd_below(&r, 3000);
		ready = 2;
		pthread_barrier_wait(&begin);
		pthread_barrier_wait(&finish);
		look_around(&b);
		judge(&b);
		round_now->against++;
		madvise(b.src, N * PAGE, MADV_DONTNEED);
		madvise(b.src2, N * PAGE, MADV_DONTNEED);
		madvise(b.dst, N * PAGE, MADV_DONTNEED);
		madvise(b.dst2, N * PAGE, MADV_DONTNEED);
	}
	stop = true;
	pthread_barrier_wait(&begin);
	pthread_join(c[0].id, NULL);
	pthread_join(c[1].id, NULL);
}

/* What the page tables say of all areas after a bout. */
static uint64_t entries[4][N];

static void look_around(struct bout *b)
{
	pages_there(b->src, N, entries[0]);
	pages_there(b->src2, N, entries[1]);
	pages_there(b->dst, N, entries[2]);
	pages_there(b->dst2, N, entries[3]);
}

/* Is there something in slot i of place? */
static bool there(struct bout *b, char *place, size_t i)
{
	size_t k = place == b->src ? 0 : place == b->src2 ? 1 : place == b->dst ? 2 : 3;

	return entries[k][i] >> 62;
}

/* Is page i at place, and as it was filled? */
static bool is_at(struct bout *b, char *place, size_t i, uint32_t gen, const char *name)
{
	if (!there(b, place, i))
		return false;
	if (!page_is(place + i * PAGE, i, gen))
		wrong("page %zu of generation %u at %s is %s", i, gen, name,
		      page_tell(place + i * PAGE));
	return true;
}

static bool one_of(int ret, const int *legal)
{
	for (; *legal; legal++)
		if (ret == -*legal)
			return true;
	return !ret;
}

static void legal(struct bout *b, int side, const int *errors)
{
	if (!one_of(b->ret[side], errors))
		wrong("UFFDIO_MOVE of side %d: %s", side, strerror(-b->ret[side]));
}

static void move_left(struct bout *b)
{
	b->ret[0] = uffd_move(b->uffd, b->dst, b->src, b->n * PAGE, 0, &b->moved[0]);
}

/* ---- 86: one source ---- */

static void move_same_src(struct bout *b)
{
	b->ret[1] = uffd_move(b->uffd, b->dst2, b->src, b->n * PAGE, 0, &b->moved[1]);
}

static void judge_same_src(struct bout *b)
{
	static const int errors[] = { ENOENT, EAGAIN, EBUSY, 0 };
	size_t i;

	legal(b, 0, errors);
	legal(b, 1, errors);
	for (i = 0; i < b->n; i++) {
		int at = is_at(b, b->src, i, 1, "src") + is_at(b, b->dst, i, 1, "dst") +
			 is_at(b, b->dst2, i, 1, "dst2");

		if (at != 1)
			wrong("page %zu is in %d places", i, at);
	}
}

void duel_same_src(void)
{
	duel(move_left, move_same_src, judge_same_src, false);
}

/* ---- 87: one destination ---- */

static void move_same_dst(struct bout *b)
{
	b->ret[1] = uffd_move(b->uffd, b->dst, b->src2, b->n * PAGE, 0, &b->moved[1]);
}

static void judge_same_dst(struct bout *b)
{
	static const int errors[] = { EEXIST, EAGAIN, EBUSY, 0 };
	size_t i;

	legal(b, 0, errors);
	legal(b, 1, errors);
	for (i = 0; i < b->n; i++) {
		bool first = is_at(b, b->src, i, 1, "src"), second = is_at(b, b->src2, i, 2, "src2");

		if (first && second) {
			if (there(b, b->dst, i))
				wrong("page %zu: neither was moved, and dst is %s", i,
				      page_tell(b->dst + i * PAGE));
			continue;
		}
		if (!first && !second)
			wrong("page %zu: both sources were moved to one place", i);
		if (!is_at(b, b->dst, i, first ? 2 : 1, "dst"))
			wrong("page %zu left its source and is not at dst", i);
	}
}

void duel_same_dst(void)
{
	duel(move_left, move_same_dst, judge_same_dst, true);
}

/* ---- 90: UFFDIO_COPY and UFFDIO_ZEROPAGE ---- */

static void copy_right(struct bout *b)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)b->dst, .src = (uintptr_t)b->src2, .len = b->n * PAGE,
	};
	struct uffdio_zeropage zero = {
		.range = { .start = (uintptr_t)b->dst, .len = b->n * PAGE },
	};

	if (b->kind % 2)
		ioctl(b->uffd, UFFDIO_COPY, &copy);
	else
		ioctl(b->uffd, UFFDIO_ZEROPAGE, &zero);
}

static void judge_copy(struct bout *b)
{
	static const int errors[] = { EEXIST, EAGAIN, EBUSY, 0 };
	size_t i;

	legal(b, 0, errors);
	for (i = 0; i < b->n; i++) {
		char *dst = b->dst + i * PAGE;
		uint64_t zero[2] = { 0, 0 };

		if (!is_at(b, b->src, i, 1, "src")) {
			if (!is_at(b, b->dst, i, 1, "dst"))
				wrong("page %zu left its source and is not at dst", i);
			continue;
		}
		if (!there(b, b->dst, i) || (b->kind % 2 && page_is(dst, i, 2)) ||
		    (!(b->kind % 2) && !memcmp(dst, zero, sizeof(zero))))
			continue;
		wrong("page %zu was not moved, and dst is %s", i, page_tell(dst));
	}
}

void duel_copy(void)
{
	duel(move_left, copy_right, judge_copy, true);
}

/* ---- 92: MADV_DONTNEED ---- */

static void discard(struct bout *b)
{
	madvise(b->kind % 2 ? b->src : b->dst, b->n * PAGE, MADV_DONTNEED);
}

static void judge_discard(struct bout *b)
{
	static const int errors[] = { ENOENT, EAGAIN, EBUSY, 0 };
	size_t i;

	legal(b, 0, errors);
	for (i = 0; i < b->n; i++) {
		bool src = is_at(b, b->src, i, 1, "src"), dst = is_at(b, b->dst, i, 1, "dst");

		if (src && dst)
			wrong("page %zu is in two places", i);
		if (src && b->kind % 2)
			wrong("page %zu was discarded, and is there", i);
	}
}

void duel_dontneed(void)
{
	duel(move_left, discard, judge_discard, false);
}

/* ---- 97: mremap, munmap ---- */

static void remap(struct bout *b)
{
	int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	switch (b->kind % 3) {
	case 0:	/* dst2 is what it moves to: its registration is gone then */
		mremap(b->src, N * PAGE, N * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, b->dst2);
		break;
	case 1:
		munmap(b->src, N * PAGE);
		break;
	case 2:
		munmap(b->dst, N * PAGE);
		break;
	}
	if (b->kind % 3 < 2)
		mmap(b->src, N * PAGE, prot, flags, -1, 0);
	else
		mmap(b->dst, N * PAGE, prot, flags, -1, 0);
}

static void judge_remap(struct bout *b)
{
	static const int errors[] = { ENOENT, EINVAL, EAGAIN, EBUSY, 0 };
	size_t i;

	legal(b, 0, errors);
	for (i = 0; i < b->n; i++) {
		int at = is_at(b, b->src, i, 1, "src") + is_at(b, b->dst, i, 1, "dst") +
			 is_at(b, b->dst2, i, 1, "dst2");

		if (at > 1 || (at == 0 && b->kind % 3 == 0))
			wrong("page %zu is in %d places (kind %d)", i, at, b->kind % 3);
	}
	if (b->kind % 3 == 0) {
		munmap(b->dst2, N * PAGE);
		mmap(b->dst2, N * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
	madvise(b->src, N * PAGE, MADV_NOHUGEPAGE);
	register_dst(b);
}

void duel_mremap(void)
{
	duel(move_left, remap, judge_remap, false);
}
