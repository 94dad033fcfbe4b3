// SPDX-License-Identifier: GPL-2.0-only
/* order: what the orders do. */
#include <linux/userfaultfd.h>

#include "agent/agent.h"
#include "kapi/uffd_abi.h"

/* How often a move is tried again, and the pause before that. */
#define MOVE_TRIES 32
#define MOVE_PAUSE_NS 20000

static bool in_staging(const struct agent *a, uint64_t offset, uint64_t len)
{
	return offset <= a->staging_len && len <= a->staging_len - offset;
}

static void fd_keep(int *held, int *fd)
{
	if (*held >= 0)
		sys_close(*held);
	*held = *fd;
	*fd = -1;
}

static int file_of(const struct agent *a, uint32_t file)
{
	return file < AGENT_FILES ? a->file[file] : -1;
}

static int do_file(struct agent *a, const struct agent_order *o, int *fd)
{
	if (*fd < 0)
		return -EBADF;
	if (o->op == AGENT_UFFD) {
		fd_keep(&a->uffd, fd);
		return 0;
	}
	if (o->file >= AGENT_FILES)
		return -EINVAL;
	fd_keep(&a->file[o->file], fd);
	return 0;
}

static int do_stage(struct agent *a, const struct agent_order *o, struct agent_answer *r)
{
	int fd = file_of(a, o->file);

	if (fd < 0)
		return -EBADF;
	for (r->at = 0; r->at < o->nranges; r->at++) {
		const struct agent_range *g = &o->range[r->at];
		uint64_t got = 0;

		if (!in_staging(a, g->dst, g->len))
			return -EINVAL;
		while (got < g->len) {
			long n = sys_pread(fd, a->staging + g->dst + got, g->len - got, g->src + got);

			if (n <= 0)
				return (int)n;
			got += (uint64_t)n;
			r->done += (uint64_t)n;
		}
	}
	return 0;
}

/*
 * Move one piece.  The kernel says EAGAIN after a part (go on from there), while an event is unread
 * (only who reads the uffd can end that) and for conflicts that pass; EBUSY while somebody holds
 * the source page, which passes, too, when that is the end of a direct read.
 */
static int move_piece(const struct agent *a, uint64_t dst, uint64_t src, uint64_t len, uint64_t mode,
		      uint64_t *done)
{
	unsigned int tries = 0;

	while (*done < len) {
		struct uffdio_move m = {
			.dst = dst + *done,
			.src = src + *done,
			.len = len - *done,
			.mode = mode,
		};
		long ret = sys_ioctl(a->uffd, UFFDIO_MOVE, &m);

		if (m.move > 0) {
			*done += (uint64_t)m.move;
			tries = 0;
		}
		if (!ret || (m.move > 0 && ret == -EAGAIN))
			continue;
		if ((ret != -EAGAIN && ret != -EBUSY) || ++tries > MOVE_TRIES)
			return (int)ret;
		sys_sleep_ns(MOVE_PAUSE_NS);
	}
	return 0;
}

static int do_move(struct agent *a, const struct agent_order *o, struct agent_answer *r)
{
	uint64_t start = sys_now_ns();
	int ret = 0;

	if (a->uffd < 0)
		return -EBADF;
	for (r->at = 0; r->at < o->nranges; r->at++) {
		const struct agent_range *g = &o->range[r->at];
		uint64_t src = g->src, done = 0;

		if (o->op == AGENT_MOVE) {
			if (!in_staging(a, g->src, g->len)) {
				ret = -EINVAL;
				break;
			}
			src += a->staging;
		}
		ret = move_piece(a, g->dst, src, g->len, o->flags, &done);
		r->done += done;
		if (ret)
			break;
	}
	r->value = sys_now_ns() - start;
	return ret;
}

static int do_fresh(const struct agent *a, const struct agent_order *o)
{
	if (o->slot > a->nslots)
		return -EINVAL;
	return (int)slot_map(a->staging + o->slot * (uint64_t)AGENT_HUGE_BYTES, AGENT_HUGE_BYTES,
			     o->slot < a->nslots);
}

static int do_open_uffd(struct agent *a, const struct agent_order *o, struct agent_answer *r,
			int *send_fd)
{
	struct uffdio_api api = { .api = UFFD_API, .features = o->range[0].src };
	int flags = (int)(o->flags & ~AGENT_F_SEND);
	long fd = o->file ? sys_ioctl(file_of(a, o->file - 1), USERFAULTFD_IOC_NEW,
				      (void *)(long)flags) :
			    sys_userfaultfd(flags);
	int new_fd = (int)fd;
	long ret;

	if (fd < 0)
		return (int)fd;
	ret = sys_ioctl(new_fd, UFFDIO_API, &api);
	if (ret) {
		sys_close(new_fd);
		return (int)ret;
	}
	fd_keep(&a->uffd, &new_fd);
	r->value = api.features;
	if (o->flags & AGENT_F_SEND)
		*send_fd = a->uffd;
	return 0;
}

static int do_register(const struct agent *a, const struct agent_order *o, struct agent_answer *r)
{
	struct uffdio_register reg = {
		.range = { .start = o->range[0].dst, .len = o->range[0].len },
		.mode = o->flags,
	};
	long ret;

	if (o->op == AGENT_UNREGISTER)
		return (int)sys_ioctl(a->uffd, UFFDIO_UNREGISTER, &reg.range);
	ret = sys_ioctl(a->uffd, UFFDIO_REGISTER, &reg);
	r->value = reg.ioctls;
	return (int)ret;
}

static int do_map(const struct agent_order *o, struct agent_answer *r)
{
	const struct agent_range *g = &o->range[0];
	long got = sys_mmap(g->dst, g->len, (int)o->flags,
			    MAP_PRIVATE | MAP_ANONYMOUS | (g->dst ? MAP_FIXED_NOREPLACE : 0));

	if (got < 0 && got > -4096)
		return (int)got;
	r->value = (uint64_t)got;
	return 0;
}

static int do_one(struct agent *a, const struct agent_order *o, struct agent_answer *r, int *fd,
		  int *send_fd)
{
	/* Orders of one range need one. */
	if (o->op >= AGENT_OPEN_UFFD && o->op != AGENT_MOVE_ADDR && o->op != AGENT_QUIT && !o->nranges)
		return -EINVAL;
	switch (o->op) {
	case AGENT_HELLO:
		r->done = AGENT_VERSION;
		r->value = (uint64_t)sys_getpid();
		return 0;
	case AGENT_UFFD:
	case AGENT_FILE:
		return do_file(a, o, fd);
	case AGENT_STAGE:
		return do_stage(a, o, r);
	case AGENT_MOVE:
	case AGENT_MOVE_ADDR:
		return do_move(a, o, r);
	case AGENT_FRESH:
		return do_fresh(a, o);
	case AGENT_OPEN_UFFD:
		return do_open_uffd(a, o, r, send_fd);
	case AGENT_REGISTER:
	case AGENT_UNREGISTER:
		return do_register(a, o, r);
	case AGENT_MAP:
		return do_map(o, r);
	case AGENT_UNMAP:
		return (int)sys_munmap(o->range[0].dst, o->range[0].len);
	case AGENT_ADVISE:
		return (int)sys_madvise(o->range[0].dst, o->range[0].len, (int)o->flags);
	case AGENT_QUIT:
		a->quit = true;
		return 0;
	}
	return -EINVAL;
}

void order_do(struct agent *a, const struct agent_order *o, struct agent_answer *r, int *fd,
	      int *send_fd)
{
	r->error = do_one(a, o, r, fd, send_fd);
}
