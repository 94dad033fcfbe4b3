/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * agent_abi: what the agent and those who give it orders say to each other.
 *
 * The agent is a process that lives in the target's address space (clone(CLONE_VM)) and does there
 * what the kernel lets nobody do from outside: it reads bytes into a staging area and moves the
 * pages into place with UFFDIO_MOVE.  It is built apart from everything else, so this file is all
 * they share: fixed widths, little endian as the machine is, no pointers.
 *
 * Channel: a SOCK_SEQPACKET pair, one order a packet, one answer a packet, in order.  The agent
 * works off one order after the other and answers each as soon as it is done, so several may be
 * sent ahead: AGENT_MOVE of a slot that is full and AGENT_STAGE of the next, say.  Descriptors come
 * with the order that names them (SCM_RIGHTS).
 *
 * Nothing that the agent says is trusted: it shares its memory with the target.  An answer may be
 * late, wrong, forged or never come.
 *
 * When the other end of the channel is gone without AGENT_QUIT, the agent stays, silent, with the
 * uffd open: as long as it lives, the target's missing pages block instead of reading as zeros.  It
 * holds both ends, so whoever comes next can take the other one from it (inject_channel()), with
 * what answers still lie there.
 */
#ifndef ABI_AGENT_ABI_H
#define ABI_AGENT_ABI_H

#include <stdint.h>

#define AGENT_MAGIC 0x61676e74u
#define AGENT_VERSION 1u
#define AGENT_BUDGET 4096u	/* bytes of code at most, see agent.lds */

#define AGENT_FILES 64u		/* files that the agent may hold at once */
#define AGENT_RANGES 16u	/* pieces of one order */
#define AGENT_HUGE_BYTES (2u << 20)

/*
 * The staging area: nslots slots of AGENT_HUGE_BYTES each, aligned to that, which get huge pages
 * where the kernel gives them; behind them one slot of the same size that never does, for pages
 * that are to be moved one by one.
 */
#define AGENT_SLOTS_MAX 8u

enum agent_op {
	AGENT_HELLO = 1,	/* answer: done = AGENT_VERSION, value = the agent's pid as it sees it */
	AGENT_UFFD,		/* with a descriptor: the target's uffd, in place of one held before */
	AGENT_FILE,		/* with a descriptor: becomes file number @file, in place of one before */
	AGENT_STAGE,		/* read: range[i].len bytes of file @file at range[i].src to offset
				 * range[i].dst of the staging area; done = bytes, stops at the first
				 * short read (error 0, done short) or error */
	AGENT_MOVE,		/* UFFDIO_MOVE range[i].len bytes from offset range[i].src of the staging
				 * area to address range[i].dst of the target; @flags = its mode.
				 * Tried again here while the kernel says EAGAIN without an event or
				 * EBUSY, a bounded number of times.  done = bytes of all pieces;
				 * stops at the first error; at = number of that piece;
				 * value = nanoseconds that the ioctls took */
	AGENT_FRESH,		/* map slot @slot anew (a split leaves a page table behind, and then
				 * no huge page comes there any more) */
	AGENT_OPEN_UFFD,	/* make a uffd of this address space and hold it as by AGENT_UFFD; @flags
				 * as for userfaultfd(2); @file: 0, or 1 + the number of a file that is
				 * /dev/userfaultfd, to be asked instead: what may be done then depends
				 * on who opened that, not on the target's privileges.
				 * range[0].src = features for UFFDIO_API; value = features granted.
				 * The answer carries the descriptor when AGENT_F_SEND is set */
	AGENT_REGISTER,		/* range[0]: dst, len; @flags = UFFDIO_REGISTER mode; value = ioctls */
	AGENT_UNREGISTER,	/* range[0]: dst, len */
	AGENT_MOVE_ADDR,	/* as AGENT_MOVE, but range[i].src is an address too */
	AGENT_MAP,		/* mmap private anonymous memory, range[0]: dst (0: anywhere; else that
				 * very place, which must be free), len; @flags = PROT_ bits;
				 * value = address */
	AGENT_UNMAP,		/* munmap range[0]: dst, len */
	AGENT_ADVISE,		/* madvise range[0]: dst, len; @flags = advice */
	AGENT_QUIT,		/* answer, close everything, end */
};

#define AGENT_F_SEND 0x80000000u	/* AGENT_OPEN_UFFD: send the descriptor along */

struct agent_range {
	uint64_t dst;
	uint64_t src;
	uint64_t len;	/* bytes */
};

struct agent_order {
	uint32_t op;		/* enum agent_op */
	uint32_t seq;		/* comes back in the answer */
	uint32_t flags;
	uint32_t file;		/* AGENT_FILE, AGENT_STAGE */
	uint32_t slot;		/* AGENT_FRESH */
	uint32_t nranges;
	struct agent_range range[AGENT_RANGES];
};

struct agent_answer {
	uint32_t op;
	uint32_t seq;
	int32_t error;		/* 0 or -errno of the call that stopped it */
	uint32_t at;		/* which piece that was */
	uint64_t done;		/* bytes */
	uint64_t value;
};

/*
 * The blob begins with the code that sets all this up: the injector lets a thread of the target run
 * it, with a pointer to struct agent_args, at the start of the data area.  It maps the staging area,
 * clones the agent, waits for it to be ready, and says so in @state; it never returns, the injector
 * takes the thread back from where it waits.  What fails is undone by it, but for code and data.
 */
struct agent_args {
	uint32_t magic;
	uint32_t version;
	uint32_t nslots;	/* huge slots; the base slot follows them */
	uint32_t page_size;
	uint64_t stack;		/* top of the agent's */
	uint64_t clone_flags;	/* CLONE_ flags to add */
	uint64_t areas;		/* code and data: begin */
	uint64_t areas_len;

	/* answers */
	uint64_t staging;	/* address, aligned to AGENT_HUGE_BYTES */
	int32_t agent_nspid;	/* as the target sees it */
	int32_t parent_nspid;	/* PR_SET_PDEATHSIG is void if the parent died before */
	uint32_t state;		/* enum agent_state */
	int32_t error;		/* AGENT_FAILED: -errno */
	uint32_t what;		/* AGENT_FAILED: enum agent_step, what failed */
	uint32_t ready;		/* set by the agent once its channel is there */
};

enum agent_state {
	AGENT_STARTING = 0,
	AGENT_PLACED,
	AGENT_FAILED,
};

enum agent_step {
	AGENT_STEP_ARGS = 1,	/* what the injector wrote is not what this blob understands */
	AGENT_STEP_STAGING,
	AGENT_STEP_ADVISE,
	AGENT_STEP_CLONE,
};

/* The agent's own descriptor table holds both ends of its channel, so that it never sees an end. */
#define AGENT_FD_OWN 0
#define AGENT_FD_OURS 1

_Static_assert(sizeof(struct agent_range) == 24, "struct agent_range");
_Static_assert(sizeof(struct agent_order) == 24 + AGENT_RANGES * 24, "struct agent_order");
_Static_assert(sizeof(struct agent_answer) == 32, "struct agent_answer");
_Static_assert(sizeof(struct agent_args) == 80, "struct agent_args");

#endif
