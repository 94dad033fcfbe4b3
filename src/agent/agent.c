// SPDX-License-Identifier: GPL-2.0-only
/* agent: takes orders from its channel and answers them, one after the other. */
#include "agent/agent.h"

/* Wait for an order. Return: its length, or -errno; *@fd: what came along, or -1. */
static long order_take(struct agent_order *o, int *fd)
{
	struct sys_iovec iov = { o, sizeof(*o) };
	struct sys_fdmsg c = { .len = 0 };
	struct sys_msghdr msg = {
		.iov = &iov,
		.iovlen = 1,
		.control = &c,
		.controllen = SYS_FDMSG_LEN,
	};
	long n = sys_recvmsg(AGENT_FD_OWN, &msg, MSG_CMSG_CLOEXEC);

	*fd = -1;
	if (n >= 0 && msg.controllen >= SYS_FDMSG_LEN && c.level == SOL_SOCKET && c.type == SCM_RIGHTS)
		*fd = c.fd;
	return n;
}

static void answer_send(const struct agent_answer *r, int fd)
{
	struct sys_iovec iov = { (void *)r, sizeof(*r) };
	struct sys_fdmsg c = { SYS_FDMSG_LEN, SOL_SOCKET, SCM_RIGHTS, fd, 0 };
	struct sys_msghdr msg = { .iov = &iov, .iovlen = 1 };

	if (fd >= 0) {
		msg.control = &c;
		msg.controllen = SYS_FDMSG_LEN;
	}
	sys_sendmsg(AGENT_FD_OWN, &msg, MSG_NOSIGNAL);
}

#ifdef MUTANT_hostile
#include "agent/hostile.h"
#else
#define lie_instead(a, o, r) false
#define lie_tell(a, o, r) false
#endif

static void serve(struct agent *a)
{
	while (!a->quit) {
		struct agent_order o;
		struct agent_answer r = { .op = 0 };
		int fd, send_fd = -1;
		long n = order_take(&o, &fd);

		if (n < 0)
			continue;
		if (n == sizeof(o) && o.nranges <= AGENT_RANGES) {
			r.op = o.op;
			r.seq = o.seq;
			if (!lie_instead(a, &o, &r))
				order_do(a, &o, &r, &fd, &send_fd);
		} else {
			r.error = -EINVAL;
		}
		if (!lie_tell(a, &o, &r))
			answer_send(&r, send_fd);
		if (fd >= 0)
			sys_close(fd);
	}
}

void agent_main(void *p)
{
	struct agent_args *args = p;
	struct agent a = {
		.args = args,
		.staging = args->staging,
		.staging_len = (args->nslots + 1) * (uint64_t)AGENT_HUGE_BYTES,
		.nslots = args->nslots,
		.uffd = -1,
	};
	int fds[2];

	for (unsigned int i = 0; i < AGENT_FILES; i++)
		a.file[i] = -1;
	if (sys_close_range(0, ~0u, CLOSE_RANGE_UNSHARE))
		sys_exit(1);
	/* The address space must not outlive the target. */
	sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0);
	if (sys_getppid() != args->parent_nspid)
		sys_exit(1);
	sys_setsid();
	if (sys_socketpair(AF_UNIX, SOCK_SEQPACKET | O_CLOEXEC, fds) || fds[0] != AGENT_FD_OWN ||
	    fds[1] != AGENT_FD_OURS)
		sys_exit(1);
	/* A kernel without filters has none to offer; a filter of the target's may forbid its own kind. */
	jail();
	__atomic_store_n(&args->ready, 1, __ATOMIC_RELEASE);
	serve(&a);
	sys_exit(0);
}
