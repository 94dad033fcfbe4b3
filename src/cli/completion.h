/* SPDX-License-Identifier: GPL-2.0-only */
/* completion: the tables of verbs and options as a completion for bash(1). */
#ifndef CLI_COMPLETION_H
#define CLI_COMPLETION_H

#include "cli/cmd.h"

/* completion_print - write it to stdout. */
void completion_print(const struct cmd *const *verbs, unsigned int n);

#endif
