/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wire: the plugin's socket.
 *
 * The plugin's task stands still until it has its answer, and criu with it; so nothing that can be
 * done afterwards is done before.  Only hot pages (replay.c) are waited for.
 *
 * As with criu's socket (link.c), what recvmsg(2) hands out goes straight into the shared state and
 * stays there until it has been answered: a successor finds the message, and the agent's channel
 * with it, either in the socket or in the state, and deals with it once more.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "abi/wire.h"
#include "kapi/proc.h"
#include "pager/agent.h"
#include "pager/internal.h"
#include "pager/trace.h"
#include "util/fdpass.h"
#include "util/log.h"

/* So long after all tasks are in place the plugin may speak of one. */
#define WIRE_EXPECT_US 2000000

_Static_assert(sizeof(struct inject_record) == WIRE_RECORD_BYTES, "wire.h has its size");

int wire_rx_fd(const struct wire_rx *rx)
{
	struct msghdr msg = { .msg_control = (void *)rx->control.buf,
			      .msg_controllen = sizeof(rx->control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd;

	if (!c || c->cmsg_len != CMSG_LEN(sizeof(int)) || c->cmsg_level != SOL_SOCKET ||
	    c->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

bool wire_expects(struct pager *p, struct session *s)
{
	return p->st->wire_fd >= 0 && !s->told && s->shm->birth == BIRTH_CRIU &&
	       pager_now_us() - p->restored_us < WIRE_EXPECT_US;
}

int wire_take(struct pager *p, int fd)
{
	if (p->st->wire_fd >= 0)
		return -EBUSY;
	if (p->st->restored)
		return -EALREADY;
	p->st->wire_fd = fd;
	log_info("the plugin in criu has come");
	return 0;
}

/* The message is done with. */
static void wire_over(struct pager *p)
{
	struct wire_rx *rx = &p->st->wire_rx;

	memset(rx->control.buf, 0, sizeof(rx->control.buf));
	rx->msg.op = 0;
	bool over = p->wire_op != WIRE_WANTED;

	p->wire_op = 0;
	if (!p->wire_session)
		return;
	p->wire_session->held = false;
	p->wire_session->told |= over;
	session_put(p->wire_session);
	p->wire_session = NULL;
}

/* criu's process is gone, or does not want to be heard any more. */
static void wire_close(struct pager *p)
{
	int fd = p->st->wire_fd, channel = wire_rx_fd(&p->st->wire_rx);

	p->st->wire_fd = -1;
	close(fd);
	/* Of a message that nobody has dealt with. */
	if (channel >= 0 && !p->wire_op)
		close(channel);
	wire_over(p);
}

/* The session of a task that criu calls @pid, with a reference, or NULL. */
static struct session *wire_find(struct pager *p, pid_t pid, pid_t vpid)
{
	struct session *s, *found = NULL;

	pthread_mutex_lock(&p->sessions_lock);
	TAILQ_FOREACH(s, &p->sessions, link)
		if (s->shm->birth == BIRTH_CRIU && s->shm->vpid == vpid)
			found = s;
	if (found)
		session_get(found);
	pthread_mutex_unlock(&p->sessions_lock);
	if (!found)
		return NULL;
	if (!found->guess) {
		found->guess_fd = proc_pidfd_open(pid);
		found->guess = found->guess_fd < 0 ? 0 : pid;
	}
	return found;
}

/* What is to be answered to the message in the state. */
static enum wire_op wire_handle(struct pager *p, struct wire_rx *rx)
{
	struct session *s = wire_find(p, rx->msg.pid, rx->msg.vpid);
	struct inject_record rec;
	int channel = wire_rx_fd(rx);

	p->wire_session = s;
	if (s)
		s->held = true;
	switch (rx->msg.op) {
	case WIRE_ASK:
		return s && s->hope == HOPE_SOON ? WIRE_WANTED : WIRE_RESUME;
	case WIRE_PLACED:
		memcpy(&rec, rx->msg.record, sizeof(rec));
		if (channel >= 0 && s && rec.pid == rx->msg.pid)
			return agent_arrived(p, s, &rec, channel) ? WIRE_UNDO : WIRE_RESUME;
		if (channel >= 0)
			close(channel);
		return WIRE_UNDO;
	case WIRE_REFUSED:
		rx->msg.text[sizeof(rx->msg.text) - 1] = '\0';
		/* The hand can do what criu's hook cannot: be an agent's tracer for good. */
		if (s)
			agent_refused(p, s, rx->msg.text, true);
		return WIRE_RESUME;
	default:
		return WIRE_UNDO;
	}
}

/* Receive into the state. Return: 1 when a message stands there, 0: none yet, -errno: no more. */
static int wire_receive(struct pager *p)
{
	struct wire_rx *rx = &p->st->wire_rx;
	struct iovec iov = { &rx->msg, sizeof(rx->msg) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = rx->control.buf,
			      .msg_controllen = sizeof(rx->control.buf) };
	ssize_t n;

	if (rx->msg.op)
		return 1;
	n = recvmsg(p->st->wire_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ENODATA;
	if (n != sizeof(rx->msg) || rx->msg.magic != WIRE_MAGIC ||
	    rx->msg.version != WIRE_VERSION || !rx->msg.op)
		return -EPROTO;
	phase_reach("wire-received");
	return 1;
}

static int wire_answer(struct pager *p)
{
	const struct wire_rx *rx = &p->st->wire_rx;
	struct wire_msg answer = { .magic = WIRE_MAGIC,
				   .version = WIRE_VERSION,
				   .op = p->wire_op,
				   .pid = rx->msg.pid,
				   .seq = rx->msg.seq,
				   .nslots = p->opts->agent_slots };
	int ret = fdpass_send(p->st->wire_fd, &answer, sizeof(answer), NULL, 0);

	log_debug("process %d: the plugin said %u, the answer is %u", rx->msg.pid, rx->msg.op,
		  answer.op);
	return ret;
}

void wire_readable(struct pager *p)
{
	struct wire_rx *rx = &p->st->wire_rx;
	int ret;

	while ((ret = wire_receive(p)) == 1) {
		if (!p->wire_op) {
			/* criu had sent all tasks before it called the plugin. */
			if (p->st->conn_fd >= 0 && link_readable(p) < 0)
				p->condemned = true;
			p->wire_op = wire_handle(p, rx);
			phase_reach("wire-handled");
		}
		if (p->wire_op != WIRE_WANTED && p->wire_session &&
		    !replay_over(p, p->wire_session))
			return;
		ret = wire_answer(p);
		wire_over(p);
		if (ret)
			break;
	}
	if (ret == 0)
		return;
	if (ret == -EPROTO)
		log_err("what the plugin in criu says is not understood; is it of another version?");
	wire_close(p);
}
