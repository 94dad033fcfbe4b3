/* SPDX-License-Identifier: GPL-2.0-only */
/* arch_x86_64: how this architecture calls the kernel. Nothing here touches the FPU. */
#ifndef AGENT_ARCH_X86_64_H
#define AGENT_ARCH_X86_64_H

static inline long arch_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/*
 * clone(2) with a stack of the child's own, on which it calls @fn(@arg), which must not return.
 * The child finds both in registers: it has nothing else in common with this frame.
 */
static inline long arch_clone(unsigned long flags, void *stack, void (*fn)(void *), void *arg)
{
	register long tid_addr __asm__("r10") = 0;
	register long tls __asm__("r8") = 0;
	register void *child_arg __asm__("r12") = arg;
	register void (*child_fn)(void *) __asm__("r13") = fn;
	long ret;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r12, %%rdi\n\t"
			 "call *%%r13\n\t"
			 "ud2\n"
			 "1:"
			 : "=a"(ret)
			 : "0"((long)__NR_clone), "D"(flags), "S"(stack), "d"(0l), "r"(tid_addr), "r"(tls),
			   "r"(child_arg), "r"(child_fn)
			 : "rcx", "r11", "memory");
	return ret;
}

#endif
