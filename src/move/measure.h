/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * measure: what it costs on this kernel to get a page from one address to another, in our own
 * process: by copying, by UFFDIO_COPY, by UFFDIO_MOVE, by mremap(2).
 *
 * Each case is done a number of times, in rounds so that a disturbance does not fall on one case
 * alone; what counts is the fastest.  Times are only worth something beside each other.
 */
#ifndef MOVE_MEASURE_H
#define MOVE_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

#define MEASURE_CASES_MAX 16

struct measure_case {
	const char *key;	/* for programs */
	const char *what;	/* for people */
	uint64_t call_bytes;	/* bytes a call; 0: all in one */
	bool huge;		/* in huge pages */
	bool needs_move;	/* the kernel has to have UFFDIO_MOVE */
	int error;		/* -errno: could not be done; -ENODATA: no huge pages to be had */
	double page_ns;		/* nanoseconds per page of 4 KiB (or what the page size is) */
};

struct measure {
	struct measure_case list[MEASURE_CASES_MAX];
	unsigned int n;
	uint64_t page_size;
};

/*
 * measure_run - measure all cases on @bytes of memory (twice that is needed), a multiple of 2 MiB.
 */
int measure_run(uint64_t bytes, unsigned int rounds, struct measure *out);

#endif
