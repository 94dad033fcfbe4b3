/* SPDX-License-Identifier: GPL-2.0-only */
/* regs: the registers of a stopped thread, as far as borrowing it needs. One .c file an architecture. */
#ifndef KAPI_REGS_H
#define KAPI_REGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct regs {
	uint64_t word[36];	/* as PTRACE_GETREGSET has them */
	size_t len;		/* bytes */
};

/* The instruction that calls the kernel. */
extern const uint8_t regs_syscall_insn[];
extern const size_t regs_syscall_insn_len;

/* regs_supported - is there a file for this architecture? */
bool regs_supported(void);

int regs_get(pid_t tid, struct regs *r);
int regs_set(pid_t tid, const struct regs *r);

/* regs_native - does it run code of our own kind (64 bit)? */
bool regs_native(const struct regs *r);

/* regs_for_call - make system call @nr with the instruction at @insn. */
void regs_for_call(struct regs *r, uint64_t insn, long nr, const uint64_t arg[6]);
/* regs_for_run - run the code at @ip on the stack below @sp with one argument. */
void regs_for_run(struct regs *r, uint64_t ip, uint64_t sp, uint64_t arg);
/* regs_result - what a system call returned. */
int64_t regs_result(const struct regs *r);
void regs_set_result(struct regs *r, int64_t result);
/* regs_ip, regs_syscall_nr: -1 when it is in none. */
uint64_t regs_ip(const struct regs *r);
long regs_syscall_nr(const struct regs *r);
/* regs_rewind - make the system call that has just returned again. */
void regs_rewind(struct regs *r);

#endif
