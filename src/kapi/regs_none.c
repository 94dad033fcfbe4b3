// SPDX-License-Identifier: GPL-2.0-only
/* regs_none: an architecture that has no file yet. regs_supported() says so before all else is asked. */
#ifndef __x86_64__
#include <errno.h>

#include "kapi/regs.h"

const uint8_t regs_syscall_insn[] = { 0 };
const size_t regs_syscall_insn_len = sizeof(regs_syscall_insn);

bool regs_supported(void)
{
	return false;
}

int regs_get(pid_t tid, struct regs *r)
{
	(void)tid;
	(void)r;
	return -ENOTSUP;
}

int regs_set(pid_t tid, const struct regs *r)
{
	(void)tid;
	(void)r;
	return -ENOTSUP;
}

bool regs_native(const struct regs *r)
{
	(void)r;
	return false;
}

void regs_for_call(struct regs *r, uint64_t insn, long nr, const uint64_t arg[6])
{
	(void)r;
	(void)insn;
	(void)nr;
	(void)arg;
}

void regs_for_run(struct regs *r, uint64_t ip, uint64_t sp, uint64_t arg)
{
	(void)r;
	(void)ip;
	(void)sp;
	(void)arg;
}

int64_t regs_result(const struct regs *r)
{
	(void)r;
	return -ENOTSUP;
}

void regs_set_result(struct regs *r, int64_t result)
{
	(void)r;
	(void)result;
}

uint64_t regs_ip(const struct regs *r)
{
	(void)r;
	return 0;
}

long regs_syscall_nr(const struct regs *r)
{
	(void)r;
	return -ENOSYS;
}

void regs_rewind(struct regs *r)
{
	(void)r;
}
#endif
