// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rows 98 to 100: the events of the userfaultfd itself, and its end.
 */
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "race.h"

#define N	2048	/* pages: a call that takes a while */

struct scene {
	int uffd;
	char *src, *dst;
	pthread_barrier_t begin, end;
	bool moved;		/* the move of this bout has returned */
	int ret;
	int64_t done;
	bool stop;
};

static void *mover_main(void *arg)
{
	struct scene *s = arg;

	for (;;) {
		pthread_barrier_wait(&s->begin);
		if (s->stop)
			return NULL;
		s->ret = uffd_move(s->uffd, s->dst, s->src, N * PAGE, 0, &s->done);
		__atomic_store_n(&s->moved, true, __ATOMIC_RELEASE);
		pthread_barrier_wait(&s->end);
	}
}

static void *reader_main(void *arg)
{
	struct scene *s = arg;
	struct pollfd p = { .fd = s->uffd, .events = POLLIN };
	struct uffd_msg msg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED))
		if (poll(&p, 1, 10) == 1 &&
		    read(s->uffd, &msg, sizeof(msg)) == sizeof(msg) &&
		    msg.event == UFFD_EVENT_PAGEFAULT)
			wrong("a fault where nobody reads");
	return NULL;
}

static void scene_open(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	s->uffd = uffd_new(UFFD_FEATURE_EVENT_REMOVE);
	pthread_barrier_init(&s->begin, NULL, 2);
	pthread_barrier_init(&s->end, NULL, 2);
	s->src = area_new(N * PAGE, false);
	s->dst = area_new(N * PAGE, false);
	uffd_add(s->uffd, s->dst, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
}

static void fill(struct scene *s)
{
	size_t i;

	for (i = 0; i < N; i++)
		page_fill(s->src + i * PAGE, i, 1);
}

/*
 * A move has begun (its first page is there) when dst is discarded; it makes no second call.  So
 * nothing of it may be there when both are done: what it moved before was discarded, and after it
 * had no business to go on.
 */
void event_remove(void)
{
	static uint64_t entries[N];
	long end = now_ms() + round_now->ms;
	pthread_t mover, reader;
	struct scene s;
	size_t i;

	scene_open(&s);
	if (pthread_create(&mover, NULL, mover_main, &s) ||
	    pthread_create(&reader, NULL, reader_main, &s))
		wrong("pthread_create");
	while (now_ms() < end) {
		bool begun;

		fill(&s);
		s.moved = false;
		pthread_barrier_wait(&s.begin);
		while (!(begun = page_there(s.dst)) && !__atomic_load_n(&s.moved, __ATOMIC_ACQUIRE))
			;
		/* It has met the move in its middle, then. */
		round_now->against += !__atomic_load_n(&s.moved, __ATOMIC_ACQUIRE);
		if (madvise(s.dst, N * PAGE, MADV_DONTNEED))
			wrong("madvise: %s", strerror(errno));
		pthread_barrier_wait(&s.end);
		if (s.ret && s.ret != -EAGAIN)
			wrong("UFFDIO_MOVE: %s", strerror(-s.ret));
		pages_there(s.dst, N, entries);
		for (i = 0; i < N; i++)
			if (begun && entries[i] >> 62)
				wrong("page %zu came back after MADV_DONTNEED had returned", i);
		madvise(s.src, N * PAGE, MADV_DONTNEED);
		madvise(s.dst, N * PAGE, MADV_DONTNEED);
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	pthread_barrier_wait(&s.begin);
	pthread_join(mover, NULL);
	pthread_join(reader, NULL);
}

static void *discard_main(void *arg)
{
	struct scene *s = arg;

	for (;;) {
		pthread_barrier_wait(&s->begin);
		if (s->stop)
			return NULL;
		madvise(s->dst, N * PAGE, MADV_DONTNEED);
		pthread_barrier_wait(&s->end);
	}
}

/* While nobody reads the event, no page moves, and the field says why. */
void event_pending(void)
{
	long end = now_ms() + round_now->ms;
	pthread_t discarder;
	struct uffd_msg msg;
	struct scene s;

	scene_open(&s);
	if (pthread_create(&discarder, NULL, discard_main, &s))
		wrong("pthread_create");
	page_fill(s.src, 0, 1);
	while (now_ms() < end) {
		struct pollfd p = { .fd = s.uffd, .events = POLLIN };
		int64_t moved;
		int ret, i;

		pthread_barrier_wait(&s.begin);
		if (poll(&p, 1, 60000) != 1)
			wrong("no event came");
		for (i = 0; i < 50; i++) {
			ret = uffd_move(s.uffd, s.dst, s.src, PAGE, 0, &moved);
			if (ret != -EAGAIN || moved != -EAGAIN)
				wrong("with an event pending: %d, move = %lld", ret,
				      (long long)moved);
		}
		if (!page_is(s.src, 0, 1))
			wrong("the source page is %s", page_tell(s.src));
		if (read(s.uffd, &msg, sizeof(msg)) != sizeof(msg) || msg.event != UFFD_EVENT_REMOVE)
			wrong("the event is another one");
		pthread_barrier_wait(&s.end);
		round_now->against++;
	}
	s.stop = true;
	pthread_barrier_wait(&s.begin);
	pthread_join(discarder, NULL);
}
