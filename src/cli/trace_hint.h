/* SPDX-License-Identifier: GPL-2.0-only */
/* trace_hint: note which memory of processes is in huge pages. */
#ifndef CLI_TRACE_HINT_H
#define CLI_TRACE_HINT_H

#include <sys/types.h>

#include "image/trace.h"

/*
 * hint_take - add what processes have in huge pages, under the pids that their images will have.
 * @from:      this process and all below it, or 0.
 * @frozen_by: all that are traced by this one, or 0.
 * Return: 0; -ESRCH when there is no such process, logged; -errno.
 */
int hint_take(struct trace *t, pid_t from, pid_t frozen_by);

#endif
