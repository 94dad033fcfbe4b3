// SPDX-License-Identifier: GPL-2.0-only
/*
 * remote: a thread of another process, stopped, and made to do things for us.
 *
 * What a thread must not notice, and how it does not:
 *
 * Restarted system calls.  A thread that is stopped in one returns from it with a code that makes
 * the kernel call again (-ERESTARTSYS and its kin), or give EINTR to the program if a signal is
 * handled first.  Which of them is decided when it leaves the last stop, and only if that is one of
 * the stops on the way to signal delivery.  So the last stop is always one of those (remote_land()),
 * with its own registers in it, and the kernel decides as it would have.
 *
 * System calls that the kernel never restarts (epoll_wait, semop..., see signal(7)): they have
 * already failed with EINTR because of us.  They are made again, unless a signal waits for the
 * thread, which would have interrupted them anyway (remote_fix()).
 *
 * Sleeps go on for what is left of them by a system call of their own, restart_syscall, which the
 * thread has never made and its seccomp filter may punish.  Under a filter the first call is made
 * again instead, with all of its time-out: too long a sleep is better than a kill.
 *
 * Signals: all that can be blocked are, but those that a fault of the code that is run would raise:
 * forcing one that is blocked resets the handler of the process.  One that was sent by somebody is
 * blocked when it comes, and then the kernel itself queues it again.  A SIGSTOP cannot be blocked;
 * it is taken and sent once more at the end.
 *
 * sigsuspend(), ppoll() and their like run with another mask for a while.  The kernel shows the mask
 * that they will leave behind, and puts the other one in force again when it restarts them.
 *
 * Restartable sequences: the kernel forgets the one that a thread is in when it sees it elsewhere.
 * The pointer is put back, so that the sequence is aborted, as after any interruption.
 *
 * The FPU: neither the kernel's calls nor our code use it.
 */
#include <errno.h>
#include <sched.h>
#include <linux/wait.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kapi/procmem.h"
#include "kapi/remote.h"
#include "kapi/task.h"
#include "util/fd.h"

#define VDSO_MIN 4096		/* bytes that any vDSO has */
#define SEARCH_MAX (1u << 20)	/* bytes of one mapping that are looked through */
/* What an interrupted system call returns to be restarted: shown to tracers, in no header. */
#define ERESTARTNOINTR 513
#define ERESTART_RESTARTBLOCK 516
/* Offset of rseq_cs in struct rseq, which is an ABI. */
#define RSEQ_CS_OFFSET 8

static uint64_t bit(int sig)
{
	return 1ull << (sig - 1);
}

static uint64_t faults(void)
{
	return bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGFPE) | bit(SIGTRAP) | bit(SIGSYS);
}

/* ---- choosing ---- */

static uint64_t find_in(int mem_fd, uint64_t start, uint64_t len)
{
	cleanup_free uint8_t *buf = malloc(len);
	const uint8_t *hit;

	if (!buf || procmem_read(mem_fd, start, buf, len))
		return 0;
	hit = memmem(buf, len, regs_syscall_insn, regs_syscall_insn_len);
	return hit ? start + (uint64_t)(hit - buf) : 0;
}

static int find_in_map(const struct procmem_map *m, void *ctx)
{
	struct remote *r = ctx;
	uint64_t len = m->end - m->start;

	if (m->prot[0] != 'r' || m->prot[2] != 'x' || !strcmp(m->name, "[vsyscall]"))
		return 0;
	r->insn = find_in(r->mem_fd, m->start, len < SEARCH_MAX ? len : SEARCH_MAX);
	return r->insn ? 1 : 0;
}

/*
 * In the vDSO, which is there even if nothing of the program's own is; else in any of its code.
 * Should what the auxiliary vector says be wrong, the first call faults and nothing has happened.
 */
static int find_insn(struct remote *r)
{
	uint64_t vdso = task_vdso(r->tid);
	int ret;

	if (vdso)
		r->insn = find_in(r->mem_fd, vdso, VDSO_MIN);
	if (r->insn)
		return 0;
	ret = procmem_each(r->tid, find_in_map, r);
	if (ret < 0)
		return ret;
	return ret ? 0 : -ENOEXEC;
}

int remote_open(struct remote *r, pid_t pid)
{
	pid_t any, tid = task_pick(pid, &any);
	int ret;

	*r = (struct remote){ .pid = pid, .tid = tid, .mem_fd = -1 };
	if (tid < 0)
		return tid;
	r->mem_fd = procmem_open(tid);
	if (r->mem_fd < 0)
		return r->mem_fd == -ENOENT ? -ESRCH : r->mem_fd;
	ret = find_insn(r);
	if (ret)
		remote_close(r);
	return ret;
}

void remote_close(struct remote *r)
{
	if (r->mem_fd >= 0)
		close(r->mem_fd);
	r->mem_fd = -1;
}

/* ---- stops ---- */

static unsigned int base_options(const struct remote *r)
{
	return PTRACE_OPT_SYSGOOD | (r->no_seccomp ? PTRACE_OPT_NO_SECCOMP : 0);
}

/*
 * A stop that is not the one that is waited for: say with what signal to go on.
 * Return: 0 and *@sig, or -errno.
 */
static int pass(struct remote *r, const struct ptrace_stop *stop, int *sig)
{
	siginfo_t info;
	int ret;

	*sig = 0;
	switch (stop->kind) {
	case PTRACE_STOP_GONE:
		r->stopped = false;
		return -ESRCH;
	case PTRACE_STOP_GROUP:
		r->grouped = true;
		return 0;
	case PTRACE_STOP_CLONE:
		return ptrace_cloned(r->tid, &r->cloned);
	case PTRACE_STOP_SIGNAL:
		break;
	default:
		return 0;
	}
	if (stop->sig == SIGSTOP) {
		r->stop_owed = true;
		return 0;
	}
	ret = ptrace_signal(r->tid, &info);
	if (ret)
		return ret;
	if (bit(stop->sig) & faults() && info.si_code > 0)
		return -EFAULT;
	uint64_t mask;

	ret = ptrace_get_mask(r->tid, &mask);
	if (!ret)
		ret = ptrace_set_mask(r->tid, mask | bit(stop->sig));
	*sig = stop->sig;
	return ret;
}

/*
 * Let it go on until a stop of the kind @want.  There is no time-out: once it is not itself it has to
 * be waited for, be it that its control group is frozen just now.
 */
static int advance(struct remote *r, enum ptrace_how how, enum ptrace_stop_kind want)
{
	int sig = 0;

	for (;;) {
		struct ptrace_stop stop;
		int ret = r->running ? 0 : ptrace_go(r->tid, how, sig);

		r->running = false;
		if (!ret)
			ret = ptrace_wait(r->tid, &stop, PTRACE_FOR_EVER);
		if (ret)
			return ret;
		/* In a group stop an interruption looks like another of its kind. */
		r->at_event = stop.kind == PTRACE_STOP_EVENT || stop.kind == PTRACE_STOP_GROUP;
		if (stop.kind == want || (want == PTRACE_STOP_EVENT && r->at_event))
			return 0;
		ret = pass(r, &stop, &sig);
		if (ret)
			return ret;
	}
}

/* Bring it to a stop on the way to signal delivery, without an instruction of its own. */
static int land(struct remote *r)
{
	int ret;

	if (r->at_event)
		return 0;
	ret = ptrace_interrupt(r->tid);
	return ret ? ret : advance(r, PTRACE_GO, PTRACE_STOP_EVENT);
}

static int first_stop(struct remote *r, unsigned int timeout_ms)
{
	struct ptrace_stop stop;
	int ret = ptrace_seize(r->tid, base_options(r));

	if (ret)
		return ret;
	ret = ptrace_interrupt(r->tid);
	while (!ret) {
		ret = ptrace_wait(r->tid, &stop, timeout_ms);
		if (ret)
			return ret;
		if (stop.kind == PTRACE_STOP_EVENT || stop.kind == PTRACE_STOP_GROUP)
			break;
		if (stop.kind == PTRACE_STOP_GONE)
			return -ESRCH;
		/* A signal came first; it is the thread's own, and so is the code that handles it. */
		ret = ptrace_go(r->tid, PTRACE_GO, stop.kind == PTRACE_STOP_SIGNAL ? stop.sig : 0);
	}
	r->at_event = true;
	r->grouped = stop.kind == PTRACE_STOP_GROUP;
	return ret;
}

int remote_stop(struct remote *r, unsigned int timeout_ms)
{
	uint64_t rseq;
	int ret = r->lent ? 0 : first_stop(r, timeout_ms);

	if (ret)
		return ret;
	r->stopped = true;
	ret = regs_get(r->tid, &r->regs);
	if (!ret && !regs_native(&r->regs))
		ret = -ENOTSUP;
	if (!ret)
		ret = ptrace_get_mask(r->tid, &r->mask);
	if (!ret)
		ret = ptrace_rseq(r->tid, &rseq);
	if (ret) {
		remote_release(r);
		return ret;
	}
	r->rseq_cs_addr = rseq ? rseq + RSEQ_CS_OFFSET : 0;
	/* Not readable: a missing page of a userfaultfd, so the thread has not written there. */
	if (!rseq || procmem_read(r->mem_fd, r->rseq_cs_addr, &r->rseq_cs, sizeof(r->rseq_cs)))
		r->rseq_cs = 0;
	return 0;
}

int remote_begin(struct remote *r, unsigned int options)
{
	int ret = ptrace_set_options(r->tid, base_options(r) | PTRACE_OPT_EXITKILL | options);

	if (ret)
		return ret;
	r->begun = true;
	return ptrace_set_mask(r->tid, ~faults() | r->mask);
}

/* ---- what it is made to do ---- */

int remote_call(struct remote *r, long nr, const uint64_t arg[6], int64_t *result)
{
	struct regs regs = r->regs;
	int ret;

	regs_for_call(&regs, r->insn, nr, arg);
	ret = regs_set(r->tid, &regs);
	if (!ret)
		ret = advance(r, PTRACE_GO_SYSCALL, PTRACE_STOP_SYSCALL);
	if (!ret)
		ret = advance(r, PTRACE_GO_SYSCALL, PTRACE_STOP_SYSCALL);
	if (!ret)
		ret = regs_get(r->tid, &regs);
	if (!ret)
		*result = regs_result(&regs);
	return ret;
}

int remote_run(struct remote *r, uint64_t ip, uint64_t sp, uint64_t arg, uint64_t flag,
	       uint32_t *word)
{
	struct regs regs = r->regs;
	struct timespec pause = { 0, 20000 };
	int ret, sig = 0, spins = 0;

	*word = 0;
	regs_for_run(&regs, ip, sp, arg);
	ret = regs_set(r->tid, &regs);
	if (!ret)
		ret = ptrace_go(r->tid, PTRACE_GO, 0);
	r->at_event = false;
	r->running = !ret;
	while (!ret) {
		struct ptrace_stop stop;

		ret = ptrace_poll(r->tid, &stop);
		if (ret > 0) {
			r->running = false;
			ret = pass(r, &stop, &sig);
			if (!ret)
				ret = ptrace_go(r->tid, PTRACE_GO, sig);
			r->running = !ret;
			continue;
		}
		if (!ret)
			ret = procmem_read(r->mem_fd, flag, word, sizeof(*word));
		if (ret || *word)
			break;
		/* As ptrace_wait(): often first. */
		if (++spins > 200)
			nanosleep(&pause, NULL);
		else
			sched_yield();
	}
	return ret ? ret : land(r);
}

int remote_write(struct remote *r, uint64_t addr, const void *data, uint64_t len)
{
	int ret = procmem_write(r->mem_fd, addr, data, len);

	/* /proc/PID/mem can be switched off for writing (proc_mem.force_override). */
	return ret == -EIO || ret == -EACCES ? ptrace_poke(r->tid, addr, data, len) : ret;
}

static int64_t call4(struct remote *r, long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	const uint64_t arg[6] = { a, b, c, d, (uint64_t)-1, 0 };
	int64_t result = 0;
	int ret = remote_call(r, nr, arg, &result);

	return ret ? ret : result;
}

int64_t remote_mmap(struct remote *r, uint64_t len, int prot)
{
	return call4(r, SYS_mmap, 0, len, (uint64_t)prot, MAP_PRIVATE | MAP_ANONYMOUS);
}

int64_t remote_mprotect(struct remote *r, uint64_t addr, uint64_t len, int prot)
{
	return call4(r, SYS_mprotect, addr, len, (uint64_t)prot, 0);
}

int64_t remote_munmap(struct remote *r, uint64_t addr, uint64_t len)
{
	return call4(r, SYS_munmap, addr, len, 0, 0);
}

int64_t remote_kill(struct remote *r, pid_t nspid)
{
	return call4(r, SYS_kill, (uint64_t)nspid, SIGKILL, 0, 0);
}

int64_t remote_reap(struct remote *r, pid_t nspid)
{
	return call4(r, SYS_wait4, (uint64_t)nspid, 0, WNOHANG | __WALL, 0);
}

/* ---- giving it back ---- */

/* System calls that fail with EINTR for ever so short an interruption, see signal(7). */
static bool never_restarted(long nr)
{
	switch (nr) {
#ifdef SYS_epoll_wait
	case SYS_epoll_wait:
#endif
#ifdef SYS_epoll_wait_old
	case SYS_epoll_wait_old:
#endif
	case SYS_epoll_pwait:
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_rt_sigtimedwait:
	case SYS_io_getevents:
#ifdef SYS_io_pgetevents
	case SYS_io_pgetevents:
#endif
	case SYS_io_uring_enter:
	/* Sockets with a time-out (SO_RCVTIMEO, SO_SNDTIMEO), and files of some drivers. */
	case SYS_accept:
	case SYS_accept4:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_connect:
	case SYS_read:
	case SYS_readv:
	case SYS_write:
	case SYS_writev:
		return true;
	}
	return false;
}

/* The registers to give back: its own, or those that make an interrupted system call again. */
static struct regs regs_own(const struct remote *r)
{
	uint8_t insn[8];
	struct task_status st;
	struct regs own = r->regs;

	if (r->no_seccomp && regs_result(&own) == -ERESTART_RESTARTBLOCK &&
	    regs_syscall_nr(&own) != SYS_restart_syscall)
		regs_set_result(&own, -ERESTARTNOINTR);
	if (r->lent || regs_result(&own) != -EINTR || !never_restarted(regs_syscall_nr(&own)) ||
	    procmem_read(r->mem_fd, regs_ip(&own) - regs_syscall_insn_len, insn,
			 regs_syscall_insn_len) ||
	    memcmp(insn, regs_syscall_insn, regs_syscall_insn_len))
		return own;
	if (task_status(r->pid, r->tid, &st))
		return own;
	st.blocked = r->mask;
	if (!task_signal_now(&st))
		regs_rewind(&own);
	return own;
}

int remote_end(struct remote *r)
{
	struct regs own;
	int ret = land(r);

	if (ret)
		return ret;
	own = regs_own(r);
	ret = regs_set(r->tid, &own);
	if (!ret && r->rseq_cs)
		ret = procmem_write(r->mem_fd, r->rseq_cs_addr, &r->rseq_cs, sizeof(r->rseq_cs));
	if (!ret)
		ret = ptrace_set_mask(r->tid, r->mask);
	if (!ret && r->stop_owed)
		ret = kill(r->pid, SIGSTOP) ? -errno : 0;
	return ret;
}

void remote_release(struct remote *r)
{
	if (!r->stopped)
		return;
	if (r->begun)
		ptrace_set_options(r->tid, base_options(r));
	r->begun = false;
	if (r->lent)
		ptrace_take(r->tid);
	else
		ptrace_go(r->tid, PTRACE_GO_FREE, 0);
	r->stopped = false;
}
