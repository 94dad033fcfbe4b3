/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * files: pages files as agents may hold them.
 *
 * An agent reads the pages file by itself, so it is given a descriptor, and whoever is root in the
 * target can reopen any descriptor of the agent by /proc, for writing, too.  So the hand opens the
 * files anew through a mount that allows no writing.  Where there is no such mount no agent reads.
 *
 * Each file may be had twice, buffered and with O_DIRECT; a key names one of them.
 */
#ifndef PAGER_FILES_H
#define PAGER_FILES_H

#include <stdbool.h>
#include <stdint.h>

struct pager;
struct hand_answer;

static inline uint32_t files_key(uint32_t source, bool direct)
{
	return source << 1 | direct;
}

void files_init(struct pager *p);
void files_free(struct pager *p);

/*
 * files_get - the descriptor for a key. Any thread.
 * Return: it; -EAGAIN: it is being asked for; -ENOENT: it cannot be had.
 */
int files_get(struct pager *p, uint32_t key);

/* files_spoil - reading by this key does not work. */
void files_spoil(struct pager *p, uint32_t key);

/* files_look - ask the hand for what is wanted. Control thread. */
void files_look(struct pager *p);
/* files_answered - HAND_READONLY has been answered; takes over @fd. Control thread. */
void files_answered(struct pager *p, const struct hand_answer *a, int fd);

#endif
