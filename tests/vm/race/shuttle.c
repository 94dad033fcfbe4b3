// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that travel between two areas while an antagonist does what may not change them.
 *
 * state[i] says where page i is.  Whoever has put CLAIMED there may look at the page, write to it
 * and move it; nobody else does.  A claimed page is where it was, so its other slot is empty, and
 * EEXIST or ENOENT is wrong.  EBUSY and EAGAIN are legal at all times: a page may be pinned or
 * shared for a moment, an event may wait.  After EBUSY the claimant writes to the page, as the
 * manual says, which breaks sharing and brings swapped pages in.
 */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "race.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define MOVERS		2
#define RUN_MOST	64

static uint32_t number_of(struct world *w, size_t i)
{
	return w->flags & W_TWINS ? i / 4 : i;
}

static char *place(struct world *w, size_t i, int side)
{
	return (side == AT_A ? w->a : w->b) + i * PAGE;
}

/* Claims up to n pages from i on that are on the same side as the first; how many. */
static size_t claim(struct world *w, size_t i, size_t n, int *side)
{
	size_t got;

	for (got = 0; got < n && i + got < w->npages; got++) {
		uint8_t *state = &w->state[i + got], at = __atomic_load_n(state, __ATOMIC_RELAXED);

		if (at == CLAIMED || (got && at != *side))
			break;
		if (!__atomic_compare_exchange_n(state, &at, CLAIMED, false, __ATOMIC_ACQUIRE,
						 __ATOMIC_RELAXED))
			break;
		*side = at;
	}
	return got;
}

static void release(struct world *w, size_t i, size_t n, int side)
{
	while (n--)
		__atomic_store_n(&w->state[i++], side, __ATOMIC_RELEASE);
}

static void look(struct world *w, size_t i, int side)
{
	char *page = place(w, i, side);

	if (!page_is(page, number_of(w, i), w->gen[i]))
		wrong("page %zu (generation %u) at %c is %s", i, w->gen[i], "ab"[side],
		      page_tell(page));
}

static void rewrite(struct world *w, size_t i, int side)
{
	if (w->flags & W_TWINS)
		return;
	w->gen[i]++;
	page_fill(place(w, i, side), i, w->gen[i]);
}

/* A write that changes nothing. */
static void touch(char *page)
{
	__atomic_fetch_or((uint64_t *)page, 0, __ATOMIC_RELAXED);
}

static bool may_be(struct world *w, int ret)
{
	switch (-ret) {
	case 0:
	case EAGAIN:
	case EBUSY:
		return true;
	case EINVAL:
		return w->flags & (W_EINVAL | W_BADFD);
	case EEXIST:
	case ENOENT:
		return w->flags & W_ONEWAY;
	case EBADF:
		return w->flags & W_BADFD;
	}
	return false;
}

/* Moves claimed pages over, as far as they go, and releases them. */
static void move_over(struct world *w, size_t i, size_t n, int side, struct rnd *r)
{
	int other = side == AT_A ? AT_B : AT_A, tries = 0, ret;
	int64_t moved;

	while (n && tries < 50) {
		ret = uffd_move(w->uffd, place(w, i, other), place(w, i, side), n * PAGE,
				rnd_next(r) % 2 ? UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES : 0, &moved);
		if (!may_be(w, ret))
			wrong("pages %zu+%zu from %c: UFFDIO_MOVE: %s", i, n, "ab"[side],
			      strerror(-ret));
		if (moved > 0) {
			size_t done = moved / PAGE;

			release(w, i, done, other);
			i += done;
			n -= done;
			continue;
		}
		if (ret == -EBADF)
			break;
		if (ret == -EBUSY)
			touch(place(w, i, side));
		if (ret == -EAGAIN || ret == -EINVAL)
			sched_yield();
		tries++;
	}
	release(w, i, n, side);
}

/* A whole huge page's worth: made huge again when it can be. */
static void move_huge(struct world *w, struct rnd *r)
{
	size_t i = rnd_below(r, w->npages / HPAGES) * HPAGES, n;
	int side = AT_A;

	n = claim(w, i, HPAGES, &side);
	if (n == HPAGES) {
		if (rnd_next(r) % 4 == 0)
			madvise(place(w, i, side), HUGE, MADV_COLLAPSE);
		look(w, i + rnd_below(r, HPAGES), side);
		move_over(w, i, n, side, r);
	} else {
		release(w, i, n, side);
	}
}

static void mover_step(struct world *w, struct rnd *r)
{
	size_t i, k, n = 1;
	int side = AT_A;

	if (w->flags & W_HUGE && rnd_next(r) % 4 == 0) {
		move_huge(w, r);
		return;
	}
	if (rnd_next(r) % 2)
		n = 1 + rnd_below(r, RUN_MOST);
	i = rnd_below(r, w->npages);
	n = claim(w, i, n, &side);
	if (!n)
		return;
	k = rnd_below(r, n);
	look(w, i + k, side);
	if (rnd_next(r) % 2)
		rewrite(w, i + k, side);
	move_over(w, i, n, side, r);
}

/*
 * Reads the uffd.  Nobody touches an empty slot, but for antagonists that look at pages without a
 * claim (W_FAULTS): they sleep until a mover brings the page back.
 */
static void *faults_main(void *arg)
{
	struct world *w = arg;
	struct pollfd p = { .fd = w->uffd, .events = POLLIN };
	struct uffd_msg msg;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		uintptr_t addr;

		if (poll(&p, 1, 50) != 1 || read(w->uffd, &msg, sizeof(msg)) != sizeof(msg) ||
		    msg.event != UFFD_EVENT_PAGEFAULT)
			continue;
		addr = msg.arg.pagefault.address & ~(PAGE - 1);
		if (msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
			struct uffdio_writeprotect off = {
				.range = { .start = addr, .len = PAGE },
			};

			ioctl(w->uffd, UFFDIO_WRITEPROTECT, &off);
		} else if (!(w->flags & W_FAULTS)) {
			size_t i = (addr - (uintptr_t)w->a) / PAGE, side = AT_A;

			if (i >= w->npages) {
				i = (addr - (uintptr_t)w->b) / PAGE;
				side = AT_B;
			}
			wrong("page %zu is missing at %c", i, "ab"[side]);
		}
	}
	return NULL;
}

struct thread {
	pthread_t id;
	struct world *w;
	struct rnd rnd;
	step_fn step;
	bool *stop;
	int cpu;
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(t->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	while (!__atomic_load_n(t->stop, __ATOMIC_RELAXED)) {
		if (t->step == mover_step) {
			mover_step(t->w, &t->rnd);
			continue;
		}
		t->step(t->w, &t->rnd);
		__atomic_add_fetch(&round_now->against, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Every page once, in its place, with its contents; and counted right. */
static void judge(struct world *w)
{
	size_t i, len = w->npages * PAGE;
	uint64_t *at[2];
	long kb;

	/* Before they are read: a page that is swapped out is one of VmSwap. */
	kb = smaps_sum(w->a, len, "Anonymous:") + smaps_sum(w->a, len, "Swap:") +
	     smaps_sum(w->b, len, "Anonymous:") + smaps_sum(w->b, len, "Swap:");
	if (kb != (long)len / 1024)
		wrong("smaps counts %ld KiB for %zu", kb, len / 1024);
	for (i = 0; i < 2; i++) {
		at[i] = calloc(w->npages, sizeof(*at[i]));
		pages_there(i == AT_A ? w->a : w->b, w->npages, at[i]);
	}
	for (i = 0; i < w->npages; i++) {
		int side = w->state[i];

		if (side == CLAIMED)
			wrong("page %zu is still claimed", i);
		if (at[!side][i] >> 62)
			wrong("page %zu is at %c, and something is in its other slot", i,
			      "ab"[side]);
		if (!(at[side][i] >> 62))
			wrong("page %zu is lost: nothing is at %c", i, "ab"[side]);
		look(w, i, side);
	}
	free(at[0]);
	free(at[1]);
}

void shuttle_run(unsigned int flags, step_fn step)
{
	struct world w = { .flags = flags };
	struct thread threads[MOVERS + 1];
	pthread_t faults;
	long end;
	size_t i;
	int t;

	if (flags & W_SWAP && !swap_is_on())
		lacks("CONFIG_SWAP and a swap device that is on");
	w.npages = flags & W_HUGE ? 3 * HPAGES : 256;
	w.uffd = uffd_new(0);
	w.a = area_new(w.npages * PAGE, flags & W_HUGE);
	w.b = area_new(w.npages * PAGE, flags & W_HUGE);
	w.state = calloc(w.npages, sizeof(*w.state));
	w.gen = calloc(w.npages, sizeof(*w.gen));
	for (i = 0; i < w.npages; i++)
		page_fill(w.a + i * PAGE, number_of(&w, i), 0);
	uffd_add(w.uffd, w.a, w.npages * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	uffd_add(w.uffd, w.b, w.npages * PAGE, UFFDIO_REGISTER_MODE_MISSING);

	for (t = 0; t <= MOVERS; t++) {
		threads[t] = (struct thread){
			.w = &w, .step = t < MOVERS ? mover_step : step, .cpu = t % 2,
			.stop = t < MOVERS ? &w.stop : &w.peace,
		};
		rnd_seed(&threads[t].rnd, round_now->seed * 16ULL + t);
		if (t == MOVERS && step == step_none)
			continue;
		if (pthread_create(&threads[t].id, NULL, thread_main, &threads[t]))
			wrong("pthread_create");
	}
	if (pthread_create(&faults, NULL, faults_main, &w))
		wrong("pthread_create");
	for (end = now_ms() + round_now->ms; now_ms() < end; usleep(10000))
		;
	/* First the antagonist, which may be waiting for a page that a mover will bring. */
	__atomic_store_n(&w.peace, true, __ATOMIC_RELAXED);
	if (step != step_none)
		pthread_join(threads[MOVERS].id, NULL);
	if (flags & W_BADFD)
		close(w.uffd);
	__atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
	for (t = 0; t < MOVERS; t++)
		pthread_join(threads[t].id, NULL);
	pthread_join(faults, NULL);
	judge(&w);
}

char *shuttle_any(struct world *w, struct rnd *r)
{
	return place(w, rnd_below(r, w->npages), rnd_next(r) % 2);
}

char *shuttle_area(struct world *w, struct rnd *r, size_t *len)
{
	*len = w->npages * PAGE;
	return rnd_next(r) % 2 ? w->a : w->b;
}
