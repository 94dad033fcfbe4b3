/* SPDX-License-Identifier: GPL-2.0-only */
/* state: what must outlive a pager. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pager/state.h"
#include "util/fd.h"

struct state *state_create(int *fd)
{
	cleanup_fd int mem = memfd_create(STATE_MEMFD_NAME, MFD_CLOEXEC);
	struct state *st;

	if (mem < 0 || ftruncate(mem, sizeof(*st)))
		return NULL;
	st = mmap(NULL, sizeof(*st), PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	if (st == MAP_FAILED)
		return NULL;
	/*
	 * The kernel must never find a page of the log missing when it hands out an event.  Where
	 * locking is not allowed the pages are at least present.
	 */
	memset(st->log, 0, sizeof(st->log));
	if (mlock(st->log, sizeof(st->log)))
		errno = 0;
	st->magic = STATE_MAGIC;
	st->version = STATE_VERSION;
	st->size = sizeof(*st);
	st->result = -1;
	st->conn_fd = -1;
	st->home_cgroup_fd = -1;
	st->status_fd = -1;
	st->hand_fd = -1;
	st->wire_fd = -1;
	st->epoch = log_epoch_make(0, -1, 0);
	*fd = fd_take(&mem);
	return st;
}

int state_attach(int fd, struct state **out)
{
	struct stat sb;
	struct state *st;

	if (fstat(fd, &sb))
		return -errno;
	if (sb.st_size != sizeof(*st))
		return -EPROTO;
	st = mmap(NULL, sizeof(*st), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (st == MAP_FAILED)
		return -errno;
	if (st->magic != STATE_MAGIC || st->version != STATE_VERSION || st->size != sizeof(*st)) {
		munmap(st, sizeof(*st));
		return -EPROTO;
	}
	if (mlock(st->log, sizeof(st->log)))
		errno = 0;
	*out = st;
	return 0;
}

int state_slot_take(struct state *st)
{
	for (uint32_t i = 0; i < STATE_SESSIONS; i++) {
		struct session_slot *slot = &st->session[i];

		if (!state_slot_is(slot, SESSION_FREE))
			continue;
		memset(slot, 0, sizeof(*slot));
		slot->uffd = -1;
		slot->pidfd = -1;
		slot->agent.chan_fd = -1;
		if (st->nslots <= i)
			st->nslots = i + 1;
		return i;
	}
	return -ENOSPC;
}

int source_slot_fill(int fd, struct source_slot *out)
{
	struct stat sb;

	if (fstat(fd, &sb))
		return -errno;
	out->dev = sb.st_dev;
	out->ino = sb.st_ino;
	out->size_bytes = sb.st_size;
	out->mtime_ns = sb.st_mtim.tv_sec * 1000000000ll + sb.st_mtim.tv_nsec;
	return 0;
}
