/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sys: the system calls that the agent makes.  It has no libc: a libc would come with data,
 * relocations, thread-local state, all of which belongs to the target here.
 *
 * All return what the kernel does: a result, or -errno.
 */
#ifndef AGENT_SYS_H
#define AGENT_SYS_H

#include <asm/unistd.h>
#include <linux/types.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include "agent/arch_x86_64.h"
#elif defined(__aarch64__)
#include "agent/arch_aarch64.h"
#else
#error "the agent has no file for this architecture, see arch_x86_64.h"
#endif

#define EPERM 1
#define EAGAIN 11
#define EBUSY 16
#define EINVAL 22
#define EBADF 9

#define PROT_NONE 0
#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_PRIVATE 0x02
#define MAP_FIXED 0x10
#define MAP_ANONYMOUS 0x20
#define MAP_NORESERVE 0x4000
#define MAP_FIXED_NOREPLACE 0x100000
#define MADV_DONTFORK 10
#define MADV_UNMERGEABLE 13
#define MADV_HUGEPAGE 14
#define MADV_NOHUGEPAGE 15
#define MADV_DONTDUMP 16

#define CLONE_VM 0x00000100
#define CLONE_FILES 0x00000400
#define CLOSE_RANGE_UNSHARE (1u << 1)
#define PR_SET_PDEATHSIG 1
#define PR_SET_SECCOMP 22
#define PR_SET_NO_NEW_PRIVS 38
#define SIGKILL 9
#define SCHED_OTHER 0
#define SCHED_FIFO 1
#define SCHED_RR 2
#define SCHED_DEADLINE 6
#define CLOCK_MONOTONIC 1

#define AF_UNIX 1
#define SOCK_SEQPACKET 5
#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_NOSIGNAL 0x4000
#define MSG_CMSG_CLOEXEC 0x40000000
#define O_CLOEXEC 02000000

struct sys_iovec {
	void *base;
	size_t len;
};

struct sys_msghdr {
	void *name;
	int namelen;
	struct sys_iovec *iov;
	size_t iovlen;
	void *control;
	size_t controllen;
	unsigned int flags;
};

/* A control message with one descriptor. */
struct sys_fdmsg {
	size_t len;
	int level;
	int type;
	int fd;
	int pad;
};
#define SYS_FDMSG_LEN offsetof(struct sys_fdmsg, pad)

struct sys_timespec {
	long sec;
	long nsec;
};

static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	return arch_syscall(nr, a, b, c, d, e, f);
}

#define sys_call(nr, a, b, c, d, e, f) \
	sys6((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static inline long sys_mmap(uint64_t addr, uint64_t len, int prot, int flags)
{
	return sys_call(__NR_mmap, addr, len, prot, flags, -1, 0);
}

static inline long sys_munmap(uint64_t addr, uint64_t len)
{
	return sys_call(__NR_munmap, addr, len, 0, 0, 0, 0);
}

static inline long sys_mprotect(uint64_t addr, uint64_t len, int prot)
{
	return sys_call(__NR_mprotect, addr, len, prot, 0, 0, 0);
}

static inline long sys_munlock(uint64_t addr, uint64_t len)
{
	return sys_call(__NR_munlock, addr, len, 0, 0, 0, 0);
}

static inline long sys_madvise(uint64_t addr, uint64_t len, int advice)
{
	return sys_call(__NR_madvise, addr, len, advice, 0, 0, 0);
}

static inline long sys_ioctl(int fd, unsigned long request, void *arg)
{
	return sys_call(__NR_ioctl, fd, request, arg, 0, 0, 0);
}

static inline long sys_pread(int fd, uint64_t addr, uint64_t len, uint64_t pos)
{
	return sys_call(__NR_pread64, fd, addr, len, pos, 0, 0);
}

static inline long sys_close(int fd)
{
	return sys_call(__NR_close, fd, 0, 0, 0, 0, 0);
}

static inline long sys_close_range(unsigned int first, unsigned int last, unsigned int flags)
{
	return sys_call(__NR_close_range, first, last, flags, 0, 0, 0);
}

static inline long sys_socketpair(int domain, int type, int *fds)
{
	return sys_call(__NR_socketpair, domain, type, 0, fds, 0, 0);
}

static inline long sys_sendmsg(int fd, const struct sys_msghdr *msg, int flags)
{
	return sys_call(__NR_sendmsg, fd, msg, flags, 0, 0, 0);
}

static inline long sys_recvmsg(int fd, struct sys_msghdr *msg, int flags)
{
	return sys_call(__NR_recvmsg, fd, msg, flags, 0, 0, 0);
}

static inline long sys_userfaultfd(int flags)
{
	return sys_call(__NR_userfaultfd, flags, 0, 0, 0, 0, 0);
}

static inline long sys_prctl(int op, unsigned long a, unsigned long b)
{
	return sys_call(__NR_prctl, op, a, b, 0, 0, 0);
}

static inline int sys_getpid(void)
{
	return (int)sys_call(__NR_getpid, 0, 0, 0, 0, 0, 0);
}

static inline int sys_getppid(void)
{
	return (int)sys_call(__NR_getppid, 0, 0, 0, 0, 0, 0);
}

static inline int sys_getscheduler(void)
{
	return (int)sys_call(__NR_sched_getscheduler, 0, 0, 0, 0, 0, 0);
}

static inline long sys_setscheduler(int policy, int priority)
{
	return sys_call(__NR_sched_setscheduler, 0, policy, &priority, 0, 0, 0);
}

static inline long sys_setsid(void)
{
	return sys_call(__NR_setsid, 0, 0, 0, 0, 0, 0);
}

static inline void sys_sleep_ns(long ns)
{
	struct sys_timespec ts = { 0, ns };

	sys_call(__NR_nanosleep, &ts, 0, 0, 0, 0, 0);
}

static inline uint64_t sys_now_ns(void)
{
	struct sys_timespec ts = { 0, 0 };

	sys_call(__NR_clock_gettime, CLOCK_MONOTONIC, &ts, 0, 0, 0, 0);
	return (uint64_t)ts.sec * 1000000000u + (uint64_t)ts.nsec;
}

static inline void sys_wait_forever(void)
{
	sys_call(__NR_ppoll, 0, 0, 0, 0, 0, 0);
}

static inline __attribute__((noreturn)) void sys_exit(int status)
{
	for (;;)
		sys_call(__NR_exit_group, status, 0, 0, 0, 0, 0);
}

#endif
