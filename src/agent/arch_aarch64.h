/* SPDX-License-Identifier: GPL-2.0-only */
/* arch_aarch64: how this architecture calls the kernel. Nothing here touches the FPU. */
#ifndef AGENT_ARCH_AARCH64_H
#define AGENT_ARCH_AARCH64_H

static inline long arch_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}

/*
 * clone(2) with a stack of the child's own, on which it calls @fn(@arg), which must not return.
 * The child finds both in registers: it has nothing else in common with this frame.
 */
static inline long arch_clone(unsigned long flags, void *stack, void (*fn)(void *), void *arg)
{
	register long x8 __asm__("x8") = __NR_clone;
	register long x0 __asm__("x0") = (long)flags;
	register void *x1 __asm__("x1") = stack;
	register long x2 __asm__("x2") = 0;
	register long x3 __asm__("x3") = 0;
	register long x4 __asm__("x4") = 0;
	register void *child_arg __asm__("x19") = arg;
	register void (*child_fn)(void *) __asm__("x20") = fn;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, xzr\n\t"
			 "mov x0, x19\n\t"
			 "blr x20\n\t"
			 "brk #0\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(child_arg), "r"(child_fn)
			 : "memory");
	return x0;
}

#endif
