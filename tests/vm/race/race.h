/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Races against UFFDIO_MOVE: rows 86 to 112 of the contract, and the oracle that judges them.
 *
 * A row runs in rounds of a few seconds.  Each round is a process of its own with a seed of its
 * own, so that what the kernel says at a process's end ("Bad rss-counter state") belongs to a
 * round, and a call that hangs can be told from a slow machine.  There are two kinds of row.
 *
 * In a shuttle (shuttle.c) pages travel between two areas, a and b: page i is at a + i or at b + i.
 * A mover claims a run of pages by their state words, moves it over and states where the pages are
 * now; what it finds there must be what it knows: number i, generation gen[i].  Meanwhile one
 * antagonist (antagonist.c, system.c) does to the whole of it what may not change any byte: pages
 * out, merges, migrates, collapses, forks.  A page that is lost, doubled, stale, torn or somebody
 * else's shows at the next claim, or at the end of the round, when every page is looked at.
 *
 * In a duel (duel.c) two calls begin at the same time on the same pages, of which one may win for
 * each page, and then the pages are looked at: each is in exactly one of the places where it may be.
 *
 * Results of calls are judged, too: a row states which errors its antagonist may cause.
 */
#ifndef RACE_H
#define RACE_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/userfaultfd.h>

#define PAGE	4096UL
#define HUGE	(2UL << 20)
#define HPAGES	(HUGE / PAGE)

/* What a round is about, and what it came to.  It is shared with the process that started it. */
struct round {
	unsigned int seed;
	int ms;
	long moves, pages, refused, against;	/* calls; pages moved; calls refused; antagonist's */
	char wrong[400];	/* "" or what was wrong first */
	char lacks[200];	/* "" or why the row cannot run here */
};

extern struct round *round_now;

/* Says what is wrong and ends the round's process. */
void wrong(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* Says what is missing and ends the round's process. */
void lacks(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* A generator a thread. */
struct rnd {
	uint64_t x;
};

uint32_t rnd_next(struct rnd *r);
uint32_t rnd_below(struct rnd *r, uint32_t n);
void rnd_seed(struct rnd *r, uint64_t seed);

/* memory.c */
int uffd_new(uint64_t features);
void uffd_add(int uffd, void *area, size_t len, uint64_t mode);
int uffd_move(int uffd, void *dst, void *src, size_t len, uint64_t mode, int64_t *moved);
void *area_new(size_t len, bool huge);
/* The words of a page follow from a number and a generation. */
void page_fill(void *page, uint32_t number, uint32_t gen);
bool page_is(const void *page, uint32_t number, uint32_t gen);
/* Says what a page is that is not what it should be. */
const char *page_tell(const void *page);
/* Is there a page, or a swap entry? */
bool page_there(const void *page);
/* The same of many, as /proc/self/pagemap says it: the two highest bits of an entry. */
void pages_there(const void *area, size_t npages, uint64_t *entries);
long smaps_sum(const void *start, size_t len, const char *field);
long now_ms(void);
long file_long(const char *path, long otherwise);
bool file_write(const char *path, const char *text);
bool swap_is_on(void);
/* Writes for the time of the round, and puts the old value back at its end. */
bool knob_set(const char *path, const char *text);
void knobs_restore(void);

/* shuttle.c */
enum { AT_A, AT_B, CLAIMED };

struct world {
	int uffd;
	size_t npages;
	char *a, *b;
	uint8_t *state;
	uint32_t *gen;
	unsigned int flags;
	bool peace, stop;	/* for the antagonist, for the movers */
};

#define W_HUGE		1	/* huge pages, as long as they last, and again when a mover collapses them */
#define W_TWINS		2	/* every four pages are the same, and nobody writes */
#define W_EINVAL	4	/* the mappings may not fit for a while */
#define W_SWAP		8	/* needs swap */
#define W_ONEWAY	16	/* EEXIST and ENOENT are legal: somebody else fills or empties slots */
#define W_BADFD		32	/* the descriptor is closed while they move */
#define W_FAULTS	64	/* the antagonist may touch empty slots */

/* One step of an antagonist; what it cannot do here, it tells by lacks(). */
typedef void (*step_fn)(struct world *w, struct rnd *r);

void shuttle_run(unsigned int flags, step_fn step);
/* A page of the world, present or not, wherever it is now. */
char *shuttle_any(struct world *w, struct rnd *r);
/* Both areas, one after the other. */
char *shuttle_area(struct world *w, struct rnd *r, size_t *len);

/* antagonist.c, system.c */
void step_none(struct world *w, struct rnd *r);
void step_pageout(struct world *w, struct rnd *r);
void step_swapoff(struct world *w, struct rnd *r);
void step_hog(struct world *w, struct rnd *r);
void step_fork(struct world *w, struct rnd *r);
void step_mprotect(struct world *w, struct rnd *r);
void step_register(struct world *w, struct rnd *r);
void step_migrate(struct world *w, struct rnd *r);
void step_collapse(struct world *w, struct rnd *r);
void step_split(struct world *w, struct rnd *r);
void step_ksm(struct world *w, struct rnd *r);
void step_gup(struct world *w, struct rnd *r);
void step_idle(struct world *w, struct rnd *r);
void step_wp(struct world *w, struct rnd *r);
void step_proc(struct world *w, struct rnd *r);
void step_offline(struct world *w, struct rnd *r);
void step_numa(struct world *w, struct rnd *r);

/* Rows of their own. */
void duel_same_src(void);
void duel_same_dst(void);
void duel_copy(void);
void duel_dontneed(void);
void duel_mremap(void);
void duel_pin(void);
void write_faults(void);
void event_pending(void);
void event_remove(void);
void kill_run(void);

#endif
