// SPDX-License-Identifier: GPL-2.0-only
/* regs_x86_64: the registers of a stopped thread on x86-64. */
#ifdef __x86_64__
#include <elf.h>
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "kapi/regs.h"

#define CS_64BIT 0x33
/* Interrupts on, and nothing else: no direction, no single step, no alignment check. */
#define EFLAGS_PLAIN 0x202

_Static_assert(sizeof(struct user_regs_struct) <= sizeof(((struct regs *)0)->word), "struct regs");

const uint8_t regs_syscall_insn[] = { 0x0f, 0x05 };
const size_t regs_syscall_insn_len = sizeof(regs_syscall_insn);

static struct user_regs_struct *user(struct regs *r)
{
	return (struct user_regs_struct *)r->word;
}

static const struct user_regs_struct *user_const(const struct regs *r)
{
	return (const struct user_regs_struct *)r->word;
}

bool regs_supported(void)
{
	return true;
}

int regs_get(pid_t tid, struct regs *r)
{
	struct iovec iov = { r->word, sizeof(r->word) };

	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov))
		return -errno;
	r->len = iov.iov_len;
	return 0;
}

int regs_set(pid_t tid, const struct regs *r)
{
	struct iovec iov = { (void *)r->word, r->len };

	return ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &iov) ? -errno : 0;
}

bool regs_native(const struct regs *r)
{
	return r->len == sizeof(struct user_regs_struct) && user_const(r)->cs == CS_64BIT;
}

/* No number of a system call: the kernel is not to restart one. */
static void detach_from_syscall(struct user_regs_struct *u)
{
	u->orig_rax = (unsigned long long)-1;
	u->eflags = EFLAGS_PLAIN;
}

void regs_for_call(struct regs *r, uint64_t insn, long nr, const uint64_t arg[6])
{
	struct user_regs_struct *u = user(r);

	detach_from_syscall(u);
	u->rip = insn;
	u->rax = (unsigned long long)nr;
	u->rdi = arg[0];
	u->rsi = arg[1];
	u->rdx = arg[2];
	u->r10 = arg[3];
	u->r8 = arg[4];
	u->r9 = arg[5];
}

void regs_for_run(struct regs *r, uint64_t ip, uint64_t sp, uint64_t arg)
{
	struct user_regs_struct *u = user(r);

	detach_from_syscall(u);
	u->rip = ip;
	u->rax = 0;
	u->rbp = 0;
	u->rdi = arg;
	/* As if it had been called. */
	u->rsp = (sp & ~15ull) - 8;
}

int64_t regs_result(const struct regs *r)
{
	return (int64_t)user_const(r)->rax;
}

void regs_set_result(struct regs *r, int64_t result)
{
	user(r)->rax = (unsigned long long)result;
}

uint64_t regs_ip(const struct regs *r)
{
	return user_const(r)->rip;
}

long regs_syscall_nr(const struct regs *r)
{
	return (long)user_const(r)->orig_rax;
}

void regs_rewind(struct regs *r)
{
	struct user_regs_struct *u = user(r);

	u->rip -= sizeof(regs_syscall_insn);
	u->rax = u->orig_rax;
	u->orig_rax = (unsigned long long)-1;
}
#endif
