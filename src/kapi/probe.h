/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * probe: what this kernel, this user and the installed criu allow.
 *
 * Every question is answered by trying it, never by a version number: on throw-away descriptors,
 * on scratch pages of our own, on a child made for the purpose, by running criu.  An answer that
 * is no comes with its cause and, where there is one, a remedy.
 */
#ifndef KAPI_PROBE_H
#define KAPI_PROBE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum probe_side {
	PROBE_KERNEL,
	PROBE_USER,
	PROBE_CRIU,
	PROBE_LIMIT,	/* what no machine allows (yet) */
};

enum probe_need {
	PROBE_REQUIRED,	/* lazy-pages cannot work without it */
	PROBE_OPTIONAL,	/* it works, with less */
	PROBE_NOTE,	/* a fact to know */
};

enum probe_answer {
	PROBE_YES,
	PROBE_NO,
	PROBE_UNKNOWN,	/* could not be tried; the cause says why */
};

struct probe_item {
	enum probe_side side;
	enum probe_need need;
	enum probe_answer answer;
	const char *key;	/* for programs: "uffd.move" */
	const char *what;	/* for people: "pages can be moved (UFFDIO_MOVE)" */
	char value[160];	/* detail of a yes, or the fact of a note; may be empty */
	char cause[256];	/* of what is not a yes */
	char remedy[256];	/* may be empty */
};

#define PROBE_ITEMS_MAX 48

struct probe {
	struct probe_item item[PROBE_ITEMS_MAX];
	unsigned int nitems;
	uint64_t uffd_features;		/* UFFDIO_API, 0: could not be asked */
	uint64_t uffd_range_ioctls;	/* UFFDIO_REGISTER on a private anonymous page */
};

/*
 * probe_run - ask everything.
 * @criu: program to run ("criu" is looked up in PATH and the sbin directories), NULL: leave it out.
 * Call it with one thread only; it forks.
 */
void probe_run(struct probe *p, const char *criu);

/* probe_lacks - is something required missing on that side? Return: the first such item, or NULL. */
const struct probe_item *probe_lacks(const struct probe *p, enum probe_side side);

/* probe_pidfd_open - hold a process. Return: a descriptor (close-on-exec), or -errno. */
int probe_pidfd_open(pid_t pid);

#endif
