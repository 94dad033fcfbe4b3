// SPDX-License-Identifier: GPL-2.0-only
/*
 * A thread whose every register means something, vector registers and flags among them, is borrowed
 * many times; and so is one in a restartable sequence, which must be aborted, not left unprotected.
 */
#include <stddef.h>

#include "tests/agent/agent.h"

#define ROUNDS 150

#ifdef __x86_64__

static bool has_avx(void)
{
	return __builtin_cpu_supports("avx");
}

/*
 * Load all, then compare in a loop until something differs or the word at @stop is set.  The
 * direction flag is set all the while.  Return: 0, or the number of what differed.
 */
static __attribute__((noinline)) long hold(volatile uint32_t *stop, volatile uint64_t *count, long avx)
{
	uint64_t arg[] = { (uintptr_t)stop, (uintptr_t)count, (uint64_t)avx };
	long bad;

	__asm__ volatile(
		/* Not into the red zone. */
		"sub $128, %%rsp\n\t"
		"push %%rbp\n\t"
		"push 16(%%rax)\n\t"
		"push 8(%%rax)\n\t"
		"push (%%rax)\n\t"
		"mov $0x1111111111111111, %%rbx\n\t"
		"mov $0x2222222222222222, %%rcx\n\t"
		"mov $0x3333333333333333, %%rdx\n\t"
		"mov $0x4444444444444444, %%rsi\n\t"
		"mov $0x5555555555555555, %%rdi\n\t"
		"mov $0x6666666666666666, %%rbp\n\t"
		"mov $0x7777777777777777, %%r8\n\t"
		"mov $0x8888888888888888, %%r9\n\t"
		"mov $0x9999999999999999, %%r10\n\t"
		"mov $0xaaaaaaaaaaaaaaaa, %%r11\n\t"
		"mov $0xbbbbbbbbbbbbbbbb, %%r12\n\t"
		"mov $0xcccccccccccccccc, %%r13\n\t"
		"mov $0xdddddddddddddddd, %%r14\n\t"
		"mov $0xeeeeeeeeeeeeeeee, %%r15\n\t"
		"movq %%rbx, %%xmm0\n\t"
		"movq %%r15, %%xmm15\n\t"
		"fldpi\n\t"
		"cmpq $0, 16(%%rsp)\n\t"
		"je 1f\n\t"
		"vmovq %%r14, %%xmm7\n\t"
		"vinsertf128 $1, %%xmm7, %%ymm7, %%ymm7\n\t"
		"1:\n\t"
		"std\n\t"
		"2:\n\t"
#define SAME(reg, value, n)                   \
	"mov $" value ", %%rax\n\t"           \
	"cmp %%rax, %%" reg "\n\t"            \
	"mov $" n ", %%eax\n\t"               \
	"jne 9f\n\t"
		SAME("rbx", "0x1111111111111111", "1")
		SAME("rcx", "0x2222222222222222", "2")
		SAME("rdx", "0x3333333333333333", "3")
		SAME("rsi", "0x4444444444444444", "4")
		SAME("rdi", "0x5555555555555555", "5")
		SAME("rbp", "0x6666666666666666", "6")
		SAME("r8", "0x7777777777777777", "7")
		SAME("r9", "0x8888888888888888", "8")
		SAME("r10", "0x9999999999999999", "9")
		SAME("r11", "0xaaaaaaaaaaaaaaaa", "10")
		SAME("r12", "0xbbbbbbbbbbbbbbbb", "11")
		SAME("r13", "0xcccccccccccccccc", "12")
		SAME("r14", "0xdddddddddddddddd", "13")
		SAME("r15", "0xeeeeeeeeeeeeeeee", "14")
		"movq %%xmm0, %%rax\n\t"
		"cmp %%rax, %%rbx\n\t"
		"mov $15, %%eax\n\t"
		"jne 9f\n\t"
		"movq %%xmm15, %%rax\n\t"
		"cmp %%rax, %%r15\n\t"
		"mov $16, %%eax\n\t"
		"jne 9f\n\t"
		"pushf\n\t"
		"pop %%rax\n\t"
		"test $0x400, %%eax\n\t"
		"mov $17, %%eax\n\t"
		"je 9f\n\t"
		"cmpq $0, 16(%%rsp)\n\t"
		"je 3f\n\t"
		"vextractf128 $1, %%ymm7, %%xmm8\n\t"
		"vmovq %%xmm8, %%rax\n\t"
		"cmp %%rax, %%r14\n\t"
		"mov $18, %%eax\n\t"
		"jne 9f\n\t"
		"3:\n\t"
		"mov 8(%%rsp), %%rax\n\t"
		"incq (%%rax)\n\t"
		"mov (%%rsp), %%rax\n\t"
		"cmpl $0, (%%rax)\n\t"
		"je 2b\n\t"
		"fldpi\n\t"
		"fcomip %%st(1), %%st\n\t"
		"mov $19, %%eax\n\t"
		"jne 9f\n\t"
		"xor %%eax, %%eax\n\t"
		"9:\n\t"
		"cld\n\t"
		"fstp %%st(0)\n\t"
		"add $24, %%rsp\n\t"
		"pop %%rbp\n\t"
		"add $128, %%rsp\n\t"
		: "=a"(bad)
		: "0"(arg)
		: "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
		  "xmm0", "xmm7", "xmm8", "xmm15", "memory", "cc");
	return bad;
}

static void full(struct shared *sh, void *arg)
{
	(void)arg;
	sh->ready = 1;
	sh->bad = (uint64_t)hold(&sh->stop, &sh->count, has_avx());
	sh->word[0] = 1;
	while (!sh->stop)
		usleep(1000);
	/* For the test to read. */
	_exit((int)sh->bad);
}

/* ---- restartable sequences ---- */

/* struct rseq_cs and struct rseq, which are an ABI. */
struct cs {
	uint32_t version;
	uint32_t flags;
	uint64_t start_ip;
	uint64_t post_commit_offset;
	uint64_t abort_ip;
} __attribute__((aligned(32)));

extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

/*
 * A sequence that never commits: it counts until it is aborted; aborts are counted, too, and it
 * begins anew.  What would run on in it with the kernel no longer knowing would not be aborted
 * by the next interruption.
 */
static void in_sequence(struct shared *sh, void *arg)
{
	char *rseq = (char *)__builtin_thread_pointer() + __rseq_offset;

	(void)arg;
	sh->ready = 1;
	__asm__ volatile(
		".pushsection .data.rel.rw, \"aw\"\n\t"
		".balign 32\n\t"
		"cs_%=:\n\t"
		".long 0, 0\n\t"
		".quad start_%=, post_%= - start_%=, abort_%=\n\t"
		".popsection\n\t"
		"jmp again_%=\n\t"
		/* The signature that glibc registers with. */
		".long 0x53053053\n\t"
		"abort_%=:\n\t"
		"incq (%[aborts])\n\t"
		"again_%=:\n\t"
		"lea cs_%=(%%rip), %%rax\n\t"
		"mov %%rax, 8(%[rseq])\n\t"
		"start_%=:\n\t"
		"incq (%[count])\n\t"
		"cmpl $0, (%[stop])\n\t"
		"je start_%=\n\t"
		"post_%=:\n\t"
		"movq $0, 8(%[rseq])\n\t"
		:
		: [aborts] "r"(&sh->word[0]), [count] "r"(&sh->count), [stop] "r"(&sh->stop), [rseq] "r"(rseq)
		: "rax", "memory", "cc");
	_exit(0);
}

/* Until it is in its sequence again, not before it. */
static void run_on(const struct victim *v)
{
	uint64_t count = v->sh->count;

	await(v->sh->count > count + 100);
}

static void sequences(void)
{
	struct victim v;
	uint64_t missed = 0;

	if (!&__rseq_size || !__rseq_size) {
		skip("restartable sequences", "libc registers none");
		return;
	}
	v = victim_start(in_sequence, NULL);
	await(v.sh->count > 1000);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t aborts = v.sh->word[0];

		if (place(&v, NULL))
			bail("nothing to go on with");
		run_on(&v);
		missed += v.sh->word[0] == aborts;
		aborts = v.sh->word[0];
		if (cure(&v, NULL))
			bail("nothing to go on with");
		run_on(&v);
		missed += v.sh->word[0] == aborts;
	}
	is_u64(missed, 0, "a sequence that is interrupted is aborted, %d times out of %d", ROUNDS, ROUNDS);
	is_i64(victim_stop(&v), 0, "the target ends as it would have");
}

static void registers(void)
{
	struct victim v = victim_start(full, NULL);

	await(v.sh->count > 1000);
	for (int i = 0; i < ROUNDS && !v.sh->word[0]; i++) {
		uint64_t count = v.sh->count;

		if (place(&v, NULL) || cure(&v, NULL))
			bail("nothing to go on with");
		await(v.sh->count != count || v.sh->word[0]);
	}
	if (!has_avx())
		skip("upper halves of vector registers", "no AVX");
	is_i64(victim_stop(&v), 0, "registers, flags and vectors are the same after %d rounds", ROUNDS);
}

int main(void)
{
	tap_timeout(55);
	registers();
	sequences();
	return tap_done();
}

#else

int main(void)
{
	skip_all("it has code for x86-64 only");
}

#endif
