// SPDX-License-Identifier: GPL-2.0-only
/*
 * jail: what the agent may still do.
 *
 * It has the credentials that the target had when it was placed, and its stack lies in memory that
 * the target can write.  A target that gives up privileges later must not find them here again: so
 * the agent makes no system call but those that its orders take, on descriptors that it was sent.
 * What others there are fails with EPERM.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "agent/agent.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define REFUSE BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define GRANT BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
/* Jump over the @n statements behind it, to the last one. */
#define TAKE(nr, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##nr, n, 0)

static const struct sock_filter rules[] = {
	LOAD(arch),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
	REFUSE,
	LOAD(nr),
	TAKE(recvmsg, 17),
	TAKE(sendmsg, 16),
	TAKE(ioctl, 15),
	TAKE(pread64, 14),
	TAKE(clock_gettime, 13),
	TAKE(close, 12),
	TAKE(mmap, 11),
	TAKE(munmap, 10),
	TAKE(mprotect, 9),
	TAKE(madvise, 8),
	TAKE(munlock, 7),
	TAKE(nanosleep, 6),
	TAKE(restart_syscall, 5),
	TAKE(userfaultfd, 4),
	TAKE(getpid, 3),
	TAKE(exit_group, 2),
	TAKE(exit, 1),
	REFUSE,
	GRANT,
};

long jail(void)
{
	const struct sock_filter *where = rules;
	struct sock_fprog prog = { .len = sizeof(rules) / sizeof(rules[0]) };
	int policy = sys_getscheduler();

	/* Known only now: a constant with an address in it would have to be relocated. */
	__asm__("" : "+r"(where));
	prog.filter = (struct sock_filter *)where;
	/* A target with a real-time priority needs it; bulk copying beside it does not. */
	if (policy == SCHED_FIFO || policy == SCHED_RR || policy == SCHED_DEADLINE)
		sys_setscheduler(SCHED_OTHER, 0);
	sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0);
	return sys_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (unsigned long)&prog);
}
