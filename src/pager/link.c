/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * link: criu's socket.
 *
 * criu restore connects once and sends, in any order of tasks, a 4-byte image pid and then one
 * byte that carries a uffd; a negative pid is a zombie and carries nothing.  When all tasks are in
 * place it sends LINK_RESTORED, before they run.  It never reads, so nothing is answered.
 *
 * A pager may die between any two system calls here.  What recvmsg(2) hands out therefore goes
 * into the shared state: the pid word and the control message that names the new descriptor.  Each
 * is read in one call that cannot come back half done (the length is peeked at first), so a
 * successor finds a message either in the socket or in the state.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "kapi/uffd.h"
#include "pager/internal.h"
#include "util/fd.h"
#include "util/log.h"

#define LINK_RESTORED 0x52535446

int link_accept(struct pager *p)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int fd = accept4(p->st->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return errno == EAGAIN || errno == ECONNABORTED ? 0 : -errno;
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		p->st->peer_pid = cred.pid;
	p->st->conn_fd = fd;
	log_info("restore (pid %d) has connected", p->st->peer_pid);
	/* One restore a pager, as criu's own; a second client is refused by the kernel. */
	int listening = p->st->listen_fd;

	p->st->listen_fd = -1;
	close(listening);
	return 0;
}

/* The descriptor in the control message, -1 when there is none. */
static int link_rx_fd(struct rx_slot *rx)
{
	struct msghdr msg = { .msg_control = rx->control.buf,
			      .msg_controllen = sizeof(rx->control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd;

	if (!c || c->cmsg_len != CMSG_LEN(sizeof(int)) || c->cmsg_level != SOL_SOCKET ||
	    c->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/*
 * The pid word goes first: a word without a descriptor would have a successor wait for one that
 * has come already.  A descriptor without a word is wiped by link_recover().
 */
static void link_rx_clear(struct rx_slot *rx)
{
	rx->vpid = 0;
	memset(rx->control.buf, 0, sizeof(rx->control.buf));
}

/* A task's uffd has come: a slot for it, its extents, and off it goes. */
static int link_session(struct pager *p, int vpid, int uffd)
{
	struct session_image img;
	struct session_slot *slot;
	struct session *s;
	int idx, ret;

	pthread_mutex_lock(&p->table_lock);
	idx = state_slot_take(p->st);
	if (idx >= 0) {
		slot = &p->st->session[idx];
		slot->birth = BIRTH_CRIU;
		slot->vpid = vpid;
		slot->root_vpid = vpid;
		slot->uffd = uffd;
		atomic_store_explicit(&slot->state, SESSION_OPEN, memory_order_release);
	}
	pthread_mutex_unlock(&p->table_lock);
	if (idx < 0) {
		log_err("more than %u address spaces in one restore", STATE_SESSIONS);
		return idx;
	}
	p->st->arrived++;
	link_rx_clear(&p->st->rx);
	phase_reach("session-open");

	ret = session_load(p, vpid, &img);
	if (ret) {
		/* Nothing may ever be read from it: an empty session that is to be killed. */
		img.owed = extent_tree_new();
		if (!img.owed)
			return -ENOMEM;
	}
	phase_reach("image-loaded");
	s = session_new_loaded(p, idx, &img);
	if (!s)
		return -ENOMEM;
	log_info("task %d: uffd %d, owed %llu bytes in %llu extents", vpid, uffd,
		 (unsigned long long)extent_pending(img.owed),
		 (unsigned long long)extent_count(img.owed));
	replay_attach(p, s);
	target_guess(p, s);
	if (ret) {
		session_kill(p, s, "its image cannot be used");
		/* Now: once all tasks are in place only a proof counts, and that takes pages. */
		target_kill(p, s);
	}
	session_publish(p, s);
	return ret;
}

static int link_task(struct pager *p)
{
	struct rx_slot *rx = &p->st->rx;
	int fd = link_rx_fd(rx), vpid = rx->vpid;

	if (fd < 0) {
		log_err("restore sent no userfaultfd for task %d", vpid);
		return -EPROTO;
	}
	if (!uffd_is_uffd(fd)) {
		log_err("what restore sent for task %d is no userfaultfd", vpid);
		link_rx_clear(rx);
		close(fd);
		return -EPROTO;
	}
	return link_session(p, vpid, fd);
}

static int link_done(struct pager *p)
{
	uint32_t want = p->images ? image_ntasks(p->images) : 0;

	struct session **list;

	if (p->st->arrived < want)
		log_warn("restore is complete after %u of %u tasks", p->st->arrived, want);
	log_info("all tasks are in place");
	unsigned int n = session_snapshot(p, &list);

	for (unsigned int i = 0; i < n; i++) {
		session_register(p, list[i]);
		session_put(list[i]);
	}
	free(list);
	replay_begin(p);
	p->restored_us = pager_now_us();
	p->st->restored = 1;
	link_rx_clear(&p->st->rx);
	pager_kick_drain(p);
	pager_kick(p->fault_kick);
	return 0;
}

/*
 * Enough bytes for one whole read? 1 yes, 0 not yet, -errno, -ENODATA at the end.  criu sends a
 * message in one call, so half of one is of somebody else, and waiting for the rest might be long.
 */
static int link_peek(int fd, size_t want)
{
	char drop[8];
	ssize_t n = recv(fd, drop, want, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n && (size_t)n < want)
		log_err("restore sent %zd of %zu bytes", n, want);
	return n == 0 ? -ENODATA : (size_t)n == want ? 1 : -EPROTO;
}

static int link_eof(struct pager *p)
{
	int fd = p->st->conn_fd;

	p->st->conn_fd = -1;
	close(fd);
	if (p->st->restored || p->condemned)
		return 1;
	log_err("criu restore went away before its tasks were in place");
	p->condemned = true;
	return -ECONNRESET;
}

static bool link_knows(struct pager *p, int32_t vpid)
{
	return vpid > 0 && (!p->images || image_has_task(p->images, vpid));
}

/*
 * The stream makes no sense any more.  Whatever uffd still comes along is kept open, so that its
 * owner blocks instead of reading zeros; it is let go when its owner has ended.
 * Return: 1 when something was received, 0 when there is nothing now, -ENODATA at the end.
 */
static int link_salvage(struct pager *p)
{
	struct rx_slot *rx = &p->st->rx;
	char drop[256];
	struct iovec iov = { drop, sizeof(drop) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = rx->control.buf,
			      .msg_controllen = sizeof(rx->control.buf) };

	link_rx_clear(rx);
	ssize_t n = recvmsg(p->st->conn_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -ENODATA;
	if (n == 0)
		return -ENODATA;
	int fd = link_rx_fd(rx);

	if (fd >= 0 && uffd_is_uffd(fd))
		link_session(p, 0, fd);
	else if (fd >= 0)
		close(fd);
	return 1;
}

/* One message. Return: 1 when there was one, 0 when none is whole yet, -errno, -ENODATA. */
static int link_step(struct pager *p)
{
	struct rx_slot *rx = &p->st->rx;
	int fd = p->st->conn_fd, ret;
	char dummy;

	if (p->link_broken)
		return link_salvage(p);
	if (!rx->vpid) {
		int32_t word;

		ret = link_peek(fd, sizeof(word));
		if (ret != 1)
			return ret;
		/* The kernel writes straight into the shared state. */
		if (read(fd, &rx->vpid, sizeof(word)) != sizeof(word))
			return -EPROTO;
		word = rx->vpid;
		if (word == LINK_RESTORED)
			return link_done(p) ?: 1;
		if (word < 0 && word != INT32_MIN && link_knows(p, -word)) {
			log_debug("task %d is a zombie", -word);
			p->st->arrived++;
			link_rx_clear(rx);
			return 1;
		}
		if (!link_knows(p, word)) {
			log_err("restore sent %#x, which is neither a task of this image nor the end",
				word);
			return -EPROTO;
		}
	}
	ret = link_peek(fd, 1);
	if (ret != 1)
		return ret;
	struct iovec iov = { &dummy, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = rx->control.buf,
			      .msg_controllen = sizeof(rx->control.buf) };

	if (recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != 1)
		return -EPROTO;
	ret = link_task(p);
	if (ret) {
		p->condemned = true;
		return ret == -EPROTO ? ret : 1;
	}
	return 1;
}

int link_readable(struct pager *p)
{
	int ret;

	do {
		ret = link_step(p);
		if ((ret == -EPROTO && !p->link_broken) ||
		    (ret < 0 && ret != -ENODATA && !p->condemned)) {
			/* Read on all the same: tasks whose uffd is still to come must be caught. */
			p->link_broken |= ret == -EPROTO;
			p->condemned = true;
			ret = 1;
		}
	} while (ret == 1);
	return ret == -ENODATA ? link_eof(p) : ret;
}

int link_recover(struct pager *p)
{
	struct rx_slot *rx = &p->st->rx;
	int32_t word = rx->vpid;
	int fd = link_rx_fd(rx);

	/* What the dead pager knew of a restore that failed. */
	if (!p->st->restored)
		p->condemned = p->st->failed || (p->st->conn_fd < 0 && p->st->listen_fd < 0);
	if (!word) {
		link_rx_clear(rx);
		return 0;
	}
	if (word == LINK_RESTORED)
		return link_done(p);
	if (word < 0) {
		/* Counted or not?  Too few is the worst that comes of it, and that is a warning. */
		link_rx_clear(rx);
		return 0;
	}
	if (fd < 0)
		return 0;
	for (uint32_t i = 0; i < p->st->nslots; i++)
		if (state_slot_is(&p->st->session[i], SESSION_OPEN) &&
		    p->st->session[i].uffd == fd) {
			link_rx_clear(rx);
			return 0;
		}
	if (link_task(p))
		p->condemned = true;
	return 0;
}
