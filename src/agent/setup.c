// SPDX-License-Identifier: GPL-2.0-only
/*
 * setup: what a borrowed thread of the target runs to get an agent.
 *
 * Its registers are not its own, all its signals are blocked, and its tracer waits for the word in
 * args->state.  It is one go instead of a stop for each system call, and it ends in a wait in the
 * kernel, from which the tracer takes the thread back.
 *
 * Descriptors: the clone shares the target's table for a moment (CLONE_FILES) and leaves it by
 * close_range(CLOSE_RANGE_UNSHARE), which gives it an empty one.  So the target's descriptors are
 * neither copied nor closed, and nothing appears in its table that a fork could catch.
 */
#include "agent/agent.h"

void agent_setup(struct agent_args *args);

/*
 * Memory that the target may have asked to be locked as it is mapped (mlockall(MCL_FUTURE)) would be
 * filled on the spot, all of it.  So it comes without access, is unlocked, and only then opened.
 */
long slot_map(uint64_t addr, uint64_t len, bool huge)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
	long ret = sys_mmap(addr, len, PROT_NONE, flags);

	if (ret < 0)
		return ret;
	ret = sys_munlock(addr, len);
	if (!ret)
		ret = sys_mprotect(addr, len, PROT_READ | PROT_WRITE);
	if (!ret)
		ret = sys_madvise(addr, len, MADV_DONTFORK);
	if (!ret)
		ret = sys_madvise(addr, len, MADV_DONTDUMP);
	if (ret)
		return ret;
	/* Kernels without huge pages or without KSM refuse, and have no need of it. */
	sys_madvise(addr, len, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	sys_madvise(addr, len, MADV_UNMERGEABLE);
	return 0;
}

static long staging_map(struct agent_args *args)
{
	uint64_t huge = args->nslots * (uint64_t)AGENT_HUGE_BYTES;
	uint64_t len = huge + AGENT_HUGE_BYTES;
	long got = sys_mmap(0, len + AGENT_HUGE_BYTES, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	uint64_t begin, end, staging;
	long ret;

	if (got < 0 && got > -4096)
		return got;
	begin = (uint64_t)got;
	end = begin + len + AGENT_HUGE_BYTES;
	staging = (begin + AGENT_HUGE_BYTES - 1) & ~(uint64_t)(AGENT_HUGE_BYTES - 1);
	if (staging > begin)
		sys_munmap(begin, staging - begin);
	if (end > staging + len)
		sys_munmap(staging + len, end - (staging + len));
	ret = slot_map(staging, huge, true);
	if (!ret)
		ret = slot_map(staging + huge, AGENT_HUGE_BYTES, false);
	if (ret) {
		sys_munmap(staging, len);
		return ret;
	}
	args->staging = staging;
	return 0;
}

static long areas_prepare(const struct agent_args *args)
{
	long ret = sys_madvise(args->areas, args->areas_len, MADV_DONTFORK);

	if (!ret)
		ret = sys_madvise(args->areas, args->areas_len, MADV_DONTDUMP);
	if (!ret)
		ret = sys_munlock(args->areas, args->areas_len);
	sys_madvise(args->areas, args->areas_len, MADV_UNMERGEABLE);
	return ret;
}

static long setup(struct agent_args *args)
{
	long ret;

	args->what = AGENT_STEP_ARGS;
	if (args->magic != AGENT_MAGIC || args->version != AGENT_VERSION || !args->nslots ||
	    args->nslots > AGENT_SLOTS_MAX)
		return -EINVAL;
	args->what = AGENT_STEP_ADVISE;
	ret = areas_prepare(args);
	if (ret)
		return ret;
	args->what = AGENT_STEP_STAGING;
	ret = staging_map(args);
	if (ret)
		return ret;
	args->what = AGENT_STEP_CLONE;
	args->parent_nspid = sys_getpid();
	/* The exit signal is 0: the target is not told, and wait calls without __WALL pass it by. */
	ret = arch_clone(CLONE_VM | CLONE_FILES | args->clone_flags, (void *)args->stack, agent_main,
			 args);
	if (ret < 0) {
		sys_munmap(args->staging,
			   (args->nslots + 1) * (uint64_t)AGENT_HUGE_BYTES);
		return ret;
	}
	args->agent_nspid = (int)ret;
	return 0;
}

__attribute__((section(".text.entry"), noreturn, used)) void agent_setup(struct agent_args *args)
{
	long ret = setup(args);

	args->error = (int)ret;
	__atomic_store_n(&args->state, ret ? AGENT_FAILED : AGENT_PLACED, __ATOMIC_RELEASE);
	for (;;)
		sys_wait_forever();
}
