/* SPDX-License-Identifier: GPL-2.0-only */
/* move_print: what `move` says, as text or as JSON, one object a line. */
#ifndef CLI_MOVE_PRINT_H
#define CLI_MOVE_PRINT_H

#include <stdbool.h>

#include "move/move.h"

struct move_print {
	bool json;
	bool bar;		/* draw one on stderr */
	uint64_t total_bytes;
	int64_t last_ms;	/* of the last progress that was told */
	bool drawn;
};

/* move_print_plan - what would be moved; with json also what stands in the way. */
void move_print_plan(const struct move_print *p, const struct move_plan *plan);
/* move_print_issues - what stands in the way, on stderr. */
void move_print_issues(const struct move_plan *plan);
void move_print_progress(struct move_print *p, uint64_t moved_bytes);
/* @status: that the program will exit with. */
void move_print_result(struct move_print *p, const struct move_plan *plan,
		       const struct move_result *result, int status);

#endif
