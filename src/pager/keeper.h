/* SPDX-License-Identifier: GPL-2.0-only */
/* keeper: the process that outlives pagers. */
#ifndef PAGER_KEEPER_H
#define PAGER_KEEPER_H

#include "pager/pager.h"
#include "pager/state.h"

/*
 * keeper_serve - start pagers until one of them ends in good order.
 * Call it with one thread.  May return in another process than it was called in: a pager whose
 * keeper died takes its place.
 * Return: exit status.
 */
int keeper_serve(struct state *st, const struct pager_opts *opts, int state_fd);

/* keeper_pidfile - write our pid. @first: it must not exist yet. Return: 0 or -errno, logged. */
int keeper_pidfile(const char *path, bool first);

/*
 * adopt_by_hand - take a restore over from another keeper (--adopt).
 * The current directory is the work directory.
 * Return: 0, *@st and *@state_fd are ours and all descriptors are in our table; -errno, logged.
 */
int adopt_by_hand(const struct pager_opts *opts, struct state **st, int *state_fd);

#endif
