// SPDX-License-Identifier: GPL-2.0-only
/* ptrace: the requests of ptrace(2), on threads that were seized. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kapi/proc.h"
#include "kapi/ptrace.h"

/* glibc's header has its own names for these and cannot be had together with the kernel's. */
#define REQ_SEIZE ((enum __ptrace_request)0x4206)
#define REQ_INTERRUPT ((enum __ptrace_request)0x4207)
#define REQ_GETSIGMASK ((enum __ptrace_request)0x420a)
#define REQ_SETSIGMASK ((enum __ptrace_request)0x420b)
#define REQ_GET_RSEQ ((enum __ptrace_request)0x420f)
#define EVENT_STOP 128

struct rseq_configuration {
	uint64_t address;
	uint32_t size;
	uint32_t signature;
	uint32_t flags;
	uint32_t pad;
};

static unsigned long native_options(unsigned int options)
{
	return (options & PTRACE_OPT_SYSGOOD ? PTRACE_O_TRACESYSGOOD : 0) |
	       (options & PTRACE_OPT_CLONE ? PTRACE_O_TRACECLONE : 0) |
	       (options & PTRACE_OPT_EXITKILL ? PTRACE_O_EXITKILL : 0) |
	       (options & PTRACE_OPT_NO_SECCOMP ? PTRACE_O_SUSPEND_SECCOMP : 0);
}

static int request(enum __ptrace_request req, pid_t tid, unsigned long addr, void *data)
{
	return ptrace(req, tid, addr, data) < 0 ? -errno : 0;
}

int ptrace_seize(pid_t tid, unsigned int options)
{
	return request(REQ_SEIZE, tid, 0, (void *)native_options(options));
}

int ptrace_set_options(pid_t tid, unsigned int options)
{
	return request(PTRACE_SETOPTIONS, tid, 0, (void *)native_options(options));
}

int ptrace_interrupt(pid_t tid)
{
	return request(REQ_INTERRUPT, tid, 0, NULL);
}

int ptrace_go(pid_t tid, enum ptrace_how how, int sig)
{
	static const enum __ptrace_request req[] = {
		[PTRACE_GO] = PTRACE_CONT,
		[PTRACE_GO_SYSCALL] = PTRACE_SYSCALL,
		[PTRACE_GO_FREE] = PTRACE_DETACH,
	};

	return request(req[how], tid, 0, (void *)(long)sig);
}

/* @code: the signal, and above it the event, if it is one. */
static void classify(int code, struct ptrace_stop *stop)
{
	int event = code >> 8;

	*stop = (struct ptrace_stop){ .sig = code & 0xff };
	if (event == EVENT_STOP)
		stop->kind = stop->sig == SIGTRAP ? PTRACE_STOP_EVENT : PTRACE_STOP_GROUP;
	else if (event)
		stop->kind = PTRACE_STOP_CLONE;
	else if (stop->sig == (SIGTRAP | 0x80))
		stop->kind = PTRACE_STOP_SYSCALL;
	else
		stop->kind = PTRACE_STOP_SIGNAL;
}

/*
 * Looks only.  A stop that nobody took is over when the thread goes on; and of a thread that has
 * ended, its parent hears only after its tracer did, so that has to be taken, but not if we are both:
 * then it is for whoever waits for that child.
 */
int ptrace_poll(pid_t tid, struct ptrace_stop *stop)
{
	siginfo_t si = { .si_pid = 0 };
	int ret = waitid(P_PID, (id_t)tid, &si, WEXITED | WNOHANG | WNOWAIT | __WALL);

	*stop = (struct ptrace_stop){ .kind = PTRACE_STOP_GONE };
	/* ECHILD: another thread has executed a program and taken the place of this one. */
	if (ret)
		return errno == EINTR ? 0 : errno == ECHILD ? 1 : -errno;
	if (!si.si_pid)
		return 0;
	if (si.si_code == CLD_TRAPPED || si.si_code == CLD_STOPPED)
		classify(si.si_status, stop);
	else if (proc_ppid(tid) != getpid())
		waitpid(tid, NULL, WNOHANG | __WALL);
	return 1;
}

void ptrace_take(pid_t tid)
{
	siginfo_t si;

	/* Asked for the one thing that a stopped thread does not report, waitid() takes the stop. */
	waitid(P_PID, (id_t)tid, &si, WCONTINUED | WNOHANG | __WALL);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/*
 * A stop is microseconds away as a rule, and a wait that sleeps costs an interrupt to a CPU that may
 * have been halted: so look often first, and less often the longer it takes.
 */
int ptrace_wait(pid_t tid, struct ptrace_stop *stop, unsigned int timeout_ms)
{
	uint64_t start = now_us(), waited = 0;

	while (timeout_ms == PTRACE_FOR_EVER || waited <= (uint64_t)timeout_ms * 1000) {
		int ret = ptrace_poll(tid, stop);

		if (ret)
			return ret < 0 ? ret : 0;
		if (waited < 200) {
			sched_yield();
		} else {
			struct timespec pause = { 0, waited < 20000 ? 20000 : 1000000 };

			nanosleep(&pause, NULL);
		}
		waited = now_us() - start;
	}
	return -ETIMEDOUT;
}

int ptrace_get_mask(pid_t tid, uint64_t *mask)
{
	return request(REQ_GETSIGMASK, tid, sizeof(*mask), mask);
}

int ptrace_set_mask(pid_t tid, uint64_t mask)
{
	return request(REQ_SETSIGMASK, tid, sizeof(mask), &mask);
}

int ptrace_signal(pid_t tid, siginfo_t *info)
{
	return request(PTRACE_GETSIGINFO, tid, 0, info);
}

int ptrace_cloned(pid_t tid, pid_t *pid)
{
	unsigned long msg = 0;
	int ret = request(PTRACE_GETEVENTMSG, tid, 0, &msg);

	*pid = (pid_t)msg;
	return ret;
}

int ptrace_rseq(pid_t tid, uint64_t *addr)
{
	struct rseq_configuration conf = { .size = 0 };
	long ret = ptrace(REQ_GET_RSEQ, tid, sizeof(conf), &conf);

	*addr = ret < 0 ? 0 : conf.address;
	/* A kernel that cannot tell (before 5.13, or without rseq). */
	if (ret < 0 && (errno == EIO || errno == EINVAL))
		return 0;
	return ret < 0 ? -errno : 0;
}

int ptrace_poke(pid_t tid, uint64_t addr, const void *data, uint64_t len)
{
	const char *from = data;
	int ret = 0;

	for (uint64_t at = 0; !ret && at < len; at += sizeof(long)) {
		long word;

		memcpy(&word, from + at, sizeof(word));
		ret = request(PTRACE_POKEDATA, tid, addr + at, (void *)word);
	}
	return ret;
}
