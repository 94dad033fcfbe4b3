// SPDX-License-Identifier: GPL-2.0-only
/* cmd_lazy_pages: serve the pages of a lazy restore; a drop-in for `criu lazy-pages`. */
#include <stddef.h>

#include "cli/cmd.h"
#include "cli/lazy_opts.h"
#include "util/log.h"

static int lazy_pages_run(int argc, char **argv)
{
	struct lazy_opts o;
	int status = lazy_opts_parse(argc, argv, &o);

	if (!status && o.help) {
		cmd_help(&cmd_lazy_pages);
	} else if (!status && o.version) {
		cmd_version();
	} else if (!status) {
		log_init(cmd_lazy_pages.name, (enum log_level)o.log_level);
		status = pager_main(&o.pager);
	}
	lazy_opts_free(&o);
	return status;
}

const struct cmd cmd_lazy_pages = {
	.name = "lazy-pages",
	.summary = "serve the memory of processes that criu restore --lazy-pages brings back",
	.usage = "[-D DIR] [-W DIR] [options]",
	.text = "Takes the place of `criu lazy-pages`: same options, socket, images and exit status.\n"
		"Options also come from criu's configuration files.",
	.options = lazy_options,
	.run = lazy_pages_run,
};
