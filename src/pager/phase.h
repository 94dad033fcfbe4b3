/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * phase: named points at which a test can stop or kill the pager.
 *
 * UFFD_RELOCATE_FAULT="NAME[@N]=kill|hold:PATH[,...]" arms them, as CRIU_FAULT does in criu.
 * Without it a phase costs one test of a flag.  "@N" means the Nth time that any pager of this
 * restore comes by (counted in the shared state, so that a successor does not fall into the same
 * hole); without it: kill the first time, hold every time.
 *
 * hold: open FIFO PATH.up for writing, write the phase's name, then read FIFO PATH.down to its
 * end.
 */
#ifndef PAGER_PHASE_H
#define PAGER_PHASE_H

#include <stdbool.h>

struct state;

extern bool phase_armed;

/* phase_init - read the environment. Return: 0 or -EINVAL, logged. */
int phase_init(struct state *st);
void phase_hit(const char *name);

static inline void phase_reach(const char *name)
{
	if (__builtin_expect(phase_armed, 0))
		phase_hit(name);
}

#endif
