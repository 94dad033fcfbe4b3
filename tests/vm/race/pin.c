// SPDX-License-Identifier: GPL-2.0-only
/*
 * A page that is pinned stays where it was pinned.
 *
 * io_uring's fixed buffers are pins that last.  A bout: one thread moves a page away, the other
 * registers the buffer at the same address.  Whichever came first, what the kernel then reads into
 * the buffer has to be seen at the address that was registered.
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "race.h"

struct ring {
	int fd;
	struct io_uring_params p;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
};

static void ring_open(struct ring *g)
{
	memset(g, 0, sizeof(*g));
	g->fd = syscall(SYS_io_uring_setup, 2, &g->p);
	if (g->fd < 0)
		lacks("CONFIG_IO_URING");
	g->sq = mmap(NULL, g->p.sq_off.array + g->p.sq_entries * 4, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE, g->fd, IORING_OFF_SQ_RING);
	g->cq = mmap(NULL, g->p.cq_off.cqes + g->p.cq_entries * sizeof(struct io_uring_cqe),
		     PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, g->fd, IORING_OFF_CQ_RING);
	g->sqes = mmap(NULL, g->p.sq_entries * sizeof(*g->sqes), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, g->fd, IORING_OFF_SQES);
	if (g->sq == MAP_FAILED || g->cq == MAP_FAILED || g->sqes == MAP_FAILED)
		wrong("mmap of a ring");
}

/* Reads from the file into the pinned page, and waits for it. */
static int ring_read_fixed(struct ring *g, int file, void *addr)
{
	unsigned int *tail = (void *)(g->sq + g->p.sq_off.tail), *head, mask, result;
	unsigned int *array = (void *)(g->sq + g->p.sq_off.array);
	struct io_uring_cqe *cqes = (void *)(g->cq + g->p.cq_off.cqes);
	unsigned int slot = *tail & *(unsigned int *)(g->sq + g->p.sq_off.ring_mask);

	memset(&g->sqes[slot], 0, sizeof(g->sqes[slot]));
	g->sqes[slot].opcode = IORING_OP_READ_FIXED;
	g->sqes[slot].fd = file;
	g->sqes[slot].addr = (uintptr_t)addr;
	g->sqes[slot].len = PAGE;
	array[slot] = slot;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, g->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -1;
	head = (void *)(g->cq + g->p.cq_off.head);
	mask = *(unsigned int *)(g->cq + g->p.cq_off.ring_mask);
	while (__atomic_load_n((unsigned int *)(g->cq + g->p.cq_off.tail), __ATOMIC_ACQUIRE) ==
	       *head)
		sched_yield();
	result = cqes[*head & mask].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}

struct pin_bout {
	int uffd;
	char *src, *dst;
	pthread_barrier_t begin, end;
	bool stop;
	int ret;
};

static void *mover_main(void *arg)
{
	struct pin_bout *b = arg;
	int64_t moved;

	for (;;) {
		pthread_barrier_wait(&b->begin);
		if (b->stop)
			return NULL;
		b->ret = uffd_move(b->uffd, b->dst, b->src, PAGE, 0, &moved);
		pthread_barrier_wait(&b->end);
	}
}

void duel_pin(void)
{
	struct pin_bout b = { .uffd = uffd_new(0) };
	int file = memfd_create("pin", MFD_CLOEXEC), i;
	char *page = area_new(PAGE, false);
	long end = now_ms() + round_now->ms;
	pthread_t mover;
	struct ring g;
	struct rnd r;

	rnd_seed(&r, round_now->seed);
	b.src = area_new(PAGE, false);
	b.dst = area_new(PAGE, false);
	uffd_add(b.uffd, b.dst, PAGE, UFFDIO_REGISTER_MODE_MISSING);
	ring_open(&g);
	page_fill(page, 5, 5);
	if (file < 0 || write(file, page, PAGE) != (ssize_t)PAGE)
		lacks("CONFIG_MEMFD_CREATE");
	pthread_barrier_init(&b.begin, NULL, 2);
	pthread_barrier_init(&b.end, NULL, 2);
	if (pthread_create(&mover, NULL, mover_main, &b))
		wrong("pthread_create");
	while (now_ms() < end) {
		struct iovec iov = { .iov_base = b.src, .iov_len = PAGE };

		page_fill(b.src, 1, 1);
		pthread_barrier_wait(&b.begin);
		for (i = rnd_below(&r, 4) ? rnd_below(&r, 20000) : 0; i > 0; i--)
			__atomic_signal_fence(__ATOMIC_SEQ_CST);
		if (syscall(SYS_io_uring_register, g.fd, IORING_REGISTER_BUFFERS, &iov, 1))
			lacks("RLIMIT_MEMLOCK, for IORING_REGISTER_BUFFERS");
		pthread_barrier_wait(&b.end);
		if (b.ret && b.ret != -EBUSY && b.ret != -EAGAIN)
			wrong("UFFDIO_MOVE: %s", strerror(-b.ret));
		if (ring_read_fixed(&g, file, b.src) != (int)PAGE)
			wrong("IORING_OP_READ_FIXED failed");
		if (!page_is(b.src, 5, 5))
			wrong("what was read into the pinned page is not there: src is %s, dst is %s",
			      page_tell(b.src),
			      page_there(b.dst) ? page_tell(b.dst) : "nothing");
		if (b.ret == 0 && !page_is(b.dst, 1, 1))
			wrong("the moved page is %s", page_tell(b.dst));
		syscall(SYS_io_uring_register, g.fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
		madvise(b.src, PAGE, MADV_DONTNEED);
		madvise(b.dst, PAGE, MADV_DONTNEED);
		round_now->against++;
	}
	b.stop = true;
	pthread_barrier_wait(&b.begin);
	pthread_join(mover, NULL);
}
